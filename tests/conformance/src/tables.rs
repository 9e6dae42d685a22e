//! The promises of [`PageTables`].

use mm_reclaim::env::{Env, Mapping, NoTable, PageTables, Prot, Pte};
use mm_reclaim::units::{Pfn, Vpn};

use crate::{Broken, Rig, keeps};

/// The last page of a 39-bit user half.
const LAST: Vpn = Vpn((1 << 27) - 1);

/// Pages on both sides of the borders of a 4 KiB table and of the table of those, and both
/// ends of the user half.
const BORDERS: [Vpn; 7] =
    [Vpn(0), Vpn(511), Vpn(512), Vpn((1 << 18) - 1), Vpn(1 << 18), Vpn(LAST.0 - 1), LAST];

/// More levels than any machine has.
const MOST_LEVELS: usize = 8;

/// Tables for the check, with every table frame freed afterwards.
fn with_tables<E: Env>(
    rig: &mut Rig<'_, E>,
    check: impl FnOnce(&mut Rig<'_, E>, &mut E::Tables) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let root = (rig.take)();
    let mut tables = rig.env.new_tables(root);
    let result = check(rig, &mut tables);
    let mut from = Vpn(0);
    while let Some((vpn, _)) = tables.next_entry(from, Vpn(LAST.0 + 1)) {
        tables.replace(vpn, Pte::None);
        from = vpn;
    }
    rig.env.flush_tlb_space(tables.asid());
    tables.release(&mut *rig.give);
    result
}

/// Writes an entry as the crate does: installs tables until it can be written.
fn write<E: Env>(
    rig: &mut Rig<'_, E>,
    tables: &mut E::Tables,
    vpn: Vpn,
    pte: Pte,
) -> Result<(), Broken> {
    for _ in 0..MOST_LEVELS {
        if tables.set(vpn, pte).is_ok() {
            return Ok(());
        }
        let table = (rig.take)();
        if let Some(unused) = tables.install_table(vpn, table) {
            (rig.give)(unused);
            return keeps(false, "set succeeds once no table is missing");
        }
    }
    keeps(false, "a few tables are enough for one entry")
}

fn mapping(pfn: Pfn, prot: Prot) -> Mapping {
    Mapping { pfn, prot, young: true, dirty: false }
}

pub(crate) fn begin_empty<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |_, tables| {
        for vpn in BORDERS {
            keeps(tables.get(vpn) == Pte::None, "an entry without a table reads as none")?;
        }
        let next = tables.next_entry(Vpn(0), Vpn(LAST.0 + 1));
        keeps(next.is_none(), "new tables have no entry")?;
        keeps(tables.table_frames() == 1, "new tables occupy the root alone")
    })
}

/// Tables without levels have none that could be missing.
pub(crate) fn a_missing_table_is_an_error<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |_, tables| {
        for vpn in BORDERS {
            let there = match tables.set(vpn, Pte::NotPresent(7)) {
                Ok(()) => Pte::NotPresent(7),
                Err(NoTable) => Pte::None,
            };
            keeps(tables.get(vpn) == there, "set writes the entry, or fails and changes nothing")?;
            keeps(tables.set(vpn, Pte::None).is_ok(), "writing none needs no table")?;
        }
        keeps(tables.table_frames() == 1, "set takes no frame")
    })
}

pub(crate) fn are_installed_level_by_level<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, tables| {
        let mut levels = 0;
        while tables.set(Vpn(5), Pte::NotPresent(1)).is_err() {
            let table = (rig.take)();
            let unused = tables.install_table(Vpn(5), table);
            keeps(unused.is_none(), "a table is taken while one is missing")?;
            levels += 1;
            keeps(tables.table_frames() == 1 + levels, "each table counts")?;
            keeps(levels <= MOST_LEVELS as u32, "a few tables are enough for one entry")?;
        }
        let spare = (rig.take)();
        let unused = tables.install_table(Vpn(6), spare);
        if let Some(spare) = unused {
            (rig.give)(spare);
        }
        keeps(unused == Some(spare), "a frame that is not needed comes back")?;
        keeps(tables.table_frames() == 1 + levels, "a frame that came back does not count")?;
        keeps(tables.set(Vpn(6), Pte::NotPresent(2)).is_ok(), "neighbours share their tables")?;
        keeps(tables.get(Vpn(5)) == Pte::NotPresent(1), "an entry survives install_table")
    })
}

pub(crate) fn every_kind_of_entry_reads_back<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, tables| {
        for vpn in BORDERS {
            for value in [0, 1, 0x5555_5555, 0xaaaa_aaaa, 1 << 31, u32::MAX] {
                write(rig, tables, vpn, Pte::NotPresent(value))?;
                let same = tables.get(vpn) == Pte::NotPresent(value);
                keeps(same, "all 32 bits of a swap entry read back, zero included")?;
            }
            keeps(tables.set(vpn, Pte::None).is_ok(), "none can always be written")?;
            keeps(tables.get(vpn) == Pte::None, "none reads back")?;
        }
        Ok(())
    })
}

pub(crate) fn every_mapping_reads_back<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let pfn = (rig.take)();
    let result = with_tables(rig, |rig, tables| {
        for prot in [Prot::READ, Prot::READ | Prot::WRITE, Prot::READ | Prot::EXEC] {
            for flags in 0..4 {
                let (young, dirty) = (flags & 1 != 0, flags & 2 != 0);
                // A dirty page may well be read-only: fork leaves such.
                let pte = Pte::Present(Mapping { pfn, prot, young, dirty });
                write(rig, tables, Vpn(77), pte)?;
                keeps(tables.get(Vpn(77)) == pte, "frame, rights, young and dirty read back")?;
            }
        }
        Ok(())
    });
    (rig.give)(pfn);
    result
}

pub(crate) fn an_entry_has_no_effect_on_others<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, tables| {
        for (i, vpn) in BORDERS.into_iter().enumerate() {
            write(rig, tables, vpn, Pte::NotPresent(i as u32))?;
        }
        for (i, vpn) in BORDERS.into_iter().enumerate() {
            keeps(tables.get(vpn) == Pte::NotPresent(i as u32), "each entry keeps its own value")?;
        }
        keeps(tables.get(Vpn(1)) == Pte::None, "what was never written reads as none")?;
        tables.replace(Vpn(511), Pte::None);
        keeps(tables.get(Vpn(512)) == Pte::NotPresent(2), "taking one entry leaves its neighbour")
    })
}

pub(crate) fn replace_returns_the_old_entry<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let pfn = (rig.take)();
    let result = with_tables(rig, |rig, tables| {
        for flags in 0..4 {
            let (young, dirty) = (flags & 1 != 0, flags & 2 != 0);
            let prot = Prot::READ | Prot::WRITE;
            let old = Pte::Present(Mapping { pfn, prot, young, dirty });
            write(rig, tables, Vpn(600), old)?;
            let taken = tables.replace(Vpn(600), Pte::NotPresent(flags));
            keeps(taken == old, "replace returns the entry with its flags")?;
            keeps(tables.get(Vpn(600)) == Pte::NotPresent(flags), "replace leaves the new entry")?;
        }
        keeps(
            tables.replace(Vpn(600), Pte::None) == Pte::NotPresent(3),
            "a swap entry comes out whole",
        )?;
        keeps(tables.get(Vpn(600)) == Pte::None, "none can be left")
    });
    (rig.give)(pfn);
    result
}

pub(crate) fn young_is_tested_and_cleared<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let pfn = (rig.take)();
    let result = with_tables(rig, |rig, tables| {
        let fresh = Mapping { dirty: true, ..mapping(pfn, Prot::READ | Prot::WRITE) };
        write(rig, tables, Vpn(3), Pte::Present(fresh))?;
        keeps(tables.test_and_clear_young(Vpn(3)), "a young entry is reported as young")?;
        let old = Pte::Present(Mapping { young: false, ..fresh });
        keeps(tables.get(Vpn(3)) == old, "only the young flag is cleared")?;
        keeps(!tables.test_and_clear_young(Vpn(3)), "a cleared entry is not young")
    });
    (rig.give)(pfn);
    result
}

pub(crate) fn mark_accessed_sets_the_flags<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let pfn = (rig.take)();
    let result = with_tables(rig, |rig, tables| {
        let clean = Mapping { young: false, ..mapping(pfn, Prot::READ | Prot::WRITE) };
        write(rig, tables, Vpn(4), Pte::Present(clean))?;
        tables.mark_accessed(Vpn(4), false);
        let young = Mapping { young: true, ..clean };
        keeps(tables.get(Vpn(4)) == Pte::Present(young), "an access sets young and not dirty")?;
        tables.mark_accessed(Vpn(4), true);
        let dirty = Mapping { dirty: true, ..young };
        keeps(tables.get(Vpn(4)) == Pte::Present(dirty), "a store sets dirty")?;
        tables.test_and_clear_young(Vpn(4));
        tables.mark_accessed(Vpn(4), true);
        keeps(tables.get(Vpn(4)) == Pte::Present(dirty), "a store sets young as well")
    });
    (rig.give)(pfn);
    result
}

pub(crate) fn next_entry_crosses_gaps<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, tables| {
        for (i, vpn) in BORDERS.into_iter().enumerate() {
            write(rig, tables, vpn, Pte::NotPresent(i as u32))?;
        }
        let mut from = Vpn(0);
        for (i, vpn) in BORDERS.into_iter().enumerate() {
            let next = tables.next_entry(from, Vpn(LAST.0 + 1));
            keeps(next == Some((vpn, Pte::NotPresent(i as u32))), "the next entry is the nearest")?;
            from = vpn + 1;
        }
        let beyond = tables.next_entry(from, Vpn(LAST.0 + 1));
        keeps(beyond.is_none(), "after the last entry there is none")?;
        let first = tables.next_entry(Vpn(512), Vpn(513));
        keeps(first == Some((Vpn(512), Pte::NotPresent(2))), "the start belongs to the range")?;
        let empty = tables.next_entry(Vpn(1), Vpn(511));
        keeps(empty.is_none(), "the end does not belong to the range")?;
        let hole = tables.next_entry(Vpn(513), Vpn((1 << 18) - 1));
        keeps(hole.is_none(), "missing tables are a gap")
    })
}

/// Installs the tables on the way to both ends of the user half; how many.
fn install_at_both_ends<E: Env>(
    rig: &mut Rig<'_, E>,
    tables: &mut E::Tables,
) -> Result<u32, Broken> {
    for vpn in [Vpn(0), LAST] {
        write(rig, tables, vpn, Pte::NotPresent(1))?;
    }
    Ok(tables.table_frames() - 1)
}

pub(crate) fn unlink_gives_what_is_not_needed<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, tables| {
        let installed = install_at_both_ends(rig, tables)?;
        let end = LAST + 1;
        tables.replace(Vpn(0), Pte::None);
        // All but the last page is free: what leads to that one stays.
        let mut given = 0;
        let rest = tables.unlink_tables(Vpn(0)..LAST, &(Vpn(0)..LAST), &mut |frame| {
            given += 1;
            (rig.give)(frame);
            true
        });
        keeps(rest.is_none(), "unlink_tables goes to the end while there is room")?;
        keeps(tables.table_frames() == 1 + installed - given, "what was unlinked counts no more")?;
        keeps(tables.get(LAST) == Pte::NotPresent(1), "an entry outside the free range stays")?;
        tables.replace(LAST, Pte::None);
        // Room for one frame at a time.
        let mut from = Vpn(0);
        for _ in 0..2 * MOST_LEVELS {
            let rest = tables.unlink_tables(from..end, &(Vpn(0)..end), &mut |frame| {
                (rig.give)(frame);
                false
            });
            let Some(next) = rest else { break };
            keeps(next >= from && next < end, "unlink_tables says from where to go on")?;
            from = next;
        }
        keeps(tables.table_frames() == 1, "all tables but the root go when no page is left")
    })
}

pub(crate) fn release_gives_back_every_frame<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    const ROOM: usize = 32;
    let mut taken = [Pfn(0); ROOM];
    let mut count = 1;
    taken[0] = (rig.take)();
    let mut tables = rig.env.new_tables(taken[0]);
    for vpn in BORDERS {
        while tables.set(vpn, Pte::NotPresent(1)).is_err() && count < ROOM {
            taken[count] = (rig.take)();
            keeps(tables.install_table(vpn, taken[count]).is_none(), "a missing table is taken")?;
            count += 1;
        }
        tables.replace(vpn, Pte::None);
    }
    keeps(tables.table_frames() as usize == count, "every installed frame counts")?;
    let mut given = [Pfn(0); ROOM];
    let mut back = 0;
    tables.release(&mut |pfn| {
        given[back.min(ROOM - 1)] = pfn;
        back += 1;
    });
    drop(tables);
    taken[..count].iter().for_each(|&pfn| (rig.give)(pfn));
    keeps(back == count, "as many frames come back as were installed")?;
    keeps(given[count - 1] == taken[0], "the root comes last")?;
    taken[..count].sort_unstable();
    given[..count].sort_unstable();
    keeps(taken[..count] == given[..count], "the very frames come back that were installed")
}

pub(crate) fn spaces_have_different_asids<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_tables(rig, |rig, a| {
        let asid = a.asid();
        with_tables(rig, |_, b| keeps(b.asid() != asid, "two address spaces have different ASIDs"))
    })
}
