//! The steps of the ladder that need no device: what each leaves behind, and its reason.

use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::reclaim::references::ReferenceRule;
use mm_reclaim::reclaim::{
    ActivateReason as Activate, CullReason, FreeReason, KeepReason as Keep, May, Reason,
    ScanRequest,
};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::map::Held;
use simulator::{DiskConfig, FIRST_DISK, Program};

use crate::bench::{
    HeldLock, HeldPage, anything, chill, cold, direct, frame, frames, half_way, has, hot,
    is_present, lock_behind_reclaim, look, on, on_list, page, pages, prove, slot, without,
};

const DISK: DiskConfig = DiskConfig::sync(64);
const WRITTEN: Reason = Reason::Free(FreeReason::Written);

/// SPL-01: a page locked elsewhere adds nothing to scan pressure, its neighbours do.
#[test]
fn a_page_locked_elsewhere_adds_no_pressure() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 2);
        let both = frames(machine, &program, area);
        let lock = HeldLock::of(machine, both[0]);
        assert_eq!(look(machine, &both[..1], anything()).pressure, 0);
        let seen = look(machine, &both, anything());
        let want = [(Reason::Keep(Keep::LockedElsewhere), 1), (Reason::Keep(Keep::Referenced), 1)];
        assert_eq!((seen.verdicts, seen.pressure), (want.to_vec(), 2));
        assert!(has(machine, both[0], PageFlags::LOCKED), "the lock is its holder's to give back");
        drop(lock);
        prove(machine);
    });
}

/// SPL-01: between any two pages another task may run.
#[test]
fn others_may_run_between_two_pages() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 20);
        let all = frames(machine, &program, area);
        let before = machine.world.sched.switches();
        look(machine, &all, anything());
        assert!(machine.world.sched.switches() - before >= 20);
        prove(machine);
    });
}

/// SPL-02: a culled page leaves swap and is found on the unevictable list.
#[test]
fn a_locked_page_is_culled_off_swap() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 1);
        look(machine, &[frame(machine, &program, area.start)], anything());
        program.check_all(area.clone());
        chill(&mut program, area.clone());
        let frame = frame(machine, &program, area.start);
        assert!(has(machine, frame, PageFlags::SWAPCACHE));
        lock_behind_reclaim(machine, &program, area.start, frame);
        let seen = look(machine, &[frame], anything());
        assert_eq!(seen.verdicts, [(Reason::Cull(CullReason::Unevictable), 1)]);
        assert!(!has(machine, frame, PageFlags::SWAPCACHE));
        assert_eq!(on_list(machine, LruList::Unevictable), 1);
        assert_eq!(machine.mm.event(VmEvent::UnevictablePgsCulled), 1);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-03: a mapped page that may not be unmapped counts once, and stays mapped.
#[test]
fn without_the_right_to_unmap_a_mapped_page_is_kept_and_counts_once() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let frame = frame(machine, &program, area.start);
        let seen = look(machine, &[frame], without(anything(), May::UNMAP));
        assert_eq!(seen.verdicts, [(Reason::Keep(Keep::MayNotUnmap), 1)]);
        assert_eq!(seen.pressure, 1);
        assert!(is_present(machine, &program, area.start));
        prove(machine);
    });
}

/// SPL-03: after that check, mapped pages and those in the swap cache count double.
#[test]
fn mapped_and_cached_pages_count_double() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 1);
        assert_eq!(look(machine, &[frame(machine, &program, area.start)], anything()).pressure, 2);
        let (other, _, cached) = half_way(machine);
        assert!(!page(machine, cached).is_mapped());
        assert_eq!(look(machine, &[cached], direct(Gfp::NOIO)).pressure, 2);
        prove(machine);
        drop(other);
    });
}

/// CTRL-06: of pages that were all used lately, the one after 64 is taken all the same, and the
/// count begins anew.
#[test]
fn after_64_referenced_pages_the_next_one_is_taken() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 140);
        let all = frames(machine, &program, area.clone());
        let seen = look(machine, &all, anything());
        let want = [(Reason::Keep(Keep::Referenced), 138), (Reason::Free(FreeReason::Overdue), 2)];
        assert_eq!(seen.verdicts, want);
        let gone = pages(area.clone()).filter(|vpn| !is_present(machine, &program, *vpn));
        let at: Vec<u32> = gone.map(|vpn| vpn - area.start).collect();
        assert_eq!(at[1] - at[0], 65, "{at:?}");
        prove(machine);
    });
}

/// SPL-08: referenced once is kept and remembered; referenced again it is activated; not referenced
/// again it is evicted.
#[test]
fn referenced_once_is_kept_and_twice_is_activated() {
    for sets_flags in [false, true] {
        let mut config = crate::bench::small(DISK);
        config.hardware.sets_flags = sets_flags;
        simulator::Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 2);
            let both = frames(machine, &program, area.clone());
            let seen = look(machine, &both, anything());
            assert_eq!(seen.verdicts, [(Reason::Keep(Keep::Referenced), 2)]);
            assert_eq!(seen.stat.ref_keep, 2);
            assert!(both.iter().all(|f| has(machine, *f, PageFlags::REFERENCED)));
            program.check(area.start).expect("alive");
            let seen = look(machine, &both, anything());
            let want = [(Reason::Activate(Activate::Referenced), 1), (WRITTEN, 1)];
            assert_eq!(seen.verdicts, want);
            assert_eq!(on_list(machine, LruList::ActiveAnon), 1);
            assert_eq!(machine.mm.event(VmEvent::PgActivate), 1);
            assert!(!has(machine, both[0], PageFlags::REFERENCED), "the look took the mark");
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SPL-08, RMAP-04: by the rule of 4.x one reference of an anonymous page activates it.
#[test]
fn the_old_rule_activates_at_the_first_reference() {
    on(DISK, |machine| {
        machine.mm.set_reference_rule(ReferenceRule::ActivateAnon);
        let (program, area) = hot(machine, 1);
        let seen = look(machine, &frames(machine, &program, area), anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::Referenced), 1)]);
        prove(machine);
    });
}

/// SPL-08: a reference through each of two mappings activates at the first scan.
#[test]
fn referenced_through_two_mappings_is_activated_at_once() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 1);
        let child = program.fork().expect("a child");
        child.check_all(area.clone());
        program.check_all(area.clone());
        let frame = frame(machine, &program, area.start);
        assert_eq!(page(machine, frame).mapcount(), 2);
        let seen = look(machine, &[frame], anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::Referenced), 1)]);
        prove(machine);
    });
}

/// SPL-08: forced reclaim does not check references.
#[test]
fn forced_reclaim_takes_a_page_in_use() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 3);
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(3));
        assert!(pages(area.clone()).all(|vpn| !is_present(machine, &program, vpn)));
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-09: a page without a slot needs the right to do I/O; one that has it gets a slot,
/// and without a free one it is activated.
#[test]
fn a_page_gets_a_slot_only_with_io_and_only_while_there_are_some() {
    on(DiskConfig::sync(2), |machine| {
        let (program, area) = cold(machine, 2);
        let both = frames(machine, &program, area.clone());
        for gfp in [Gfp::NOIO, Gfp::NOIO | Gfp::FS] {
            let seen = look(machine, &both[..1], direct(gfp));
            assert_eq!(seen.verdicts, [(Reason::Keep(Keep::NoIo), 1)], "{gfp:?}");
            assert!(!has(machine, both[0], PageFlags::SWAPCACHE));
        }
        let seen = look(machine, &both, anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::NoSlot), 1), (WRITTEN, 1)]);
        assert_eq!(seen.stat.activate, [1, 0]);
        assert!(is_present(machine, &program, area.start + 1), "it was not unmapped for nothing");
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-12: every mapping of the page becomes its swap entry, and the slot counts them.
#[test]
fn unmapping_leaves_the_same_slot_everywhere() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let (child, other) = (program.fork().expect("a child"), program.fork().expect("another"));
        let seen = look(machine, &[frame(machine, &program, area.start)], anything());
        assert_eq!(seen.verdicts, [(WRITTEN, 1)]);
        let entry = slot(machine, &program, area.start);
        assert_eq!(entry, slot(machine, &child, area.start));
        assert_eq!(entry, slot(machine, &other, area.start));
        assert_eq!(machine.mm.slot_state(entry).uses, 3);
        prove(machine);
        [&program, &child, &other].into_iter().for_each(|p| p.check_all(area.clone()));
        prove(machine);
    });
}

/// SPL-12: a page of a locked area is culled, stays mapped and frees its slot.
#[test]
fn a_locked_mapping_culls_instead_of_unmapping() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        machine.mm.mlock(program.space, area.clone()).expect("memory");
        let frame = frame(machine, &program, area.start);
        // As if the page had been isolated by another CPU when it was locked.
        page(machine, frame).corrupt_flags(PageFlags::MLOCKED);
        let seen = look(machine, &[frame], ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(Reason::Cull(CullReason::LockedMapping), 1)]);
        assert!(is_present(machine, &program, area.start));
        assert!(has(machine, frame, PageFlags::MLOCKED | PageFlags::UNEVICTABLE));
        assert_eq!(machine.mm.swap_pages(), (63, 63));
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-14, SPL-16: a page with another reference is kept with its cache entry, and not written; its
/// contents are used by the next fault; without the holder it is freed and leaves a shadow.
#[test]
fn a_page_is_freed_only_when_nobody_else_holds_it() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let frame = frame(machine, &program, area.start);
        let held = HeldPage::of(machine, frame);
        let seen = look(machine, &[frame], anything());
        assert_eq!(seen.verdicts, [(Reason::Keep(Keep::ExtraReference), 1)]);
        assert_eq!(page(machine, frame).refs(), 2, "the holder and the cache");
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 0, "it could not be freed anyway");
        let entry = slot(machine, &program, area.start);
        assert_eq!(machine.mm.slot_state(entry).held, Held::Page(frame));
        drop(held);
        let seen = look(machine, &[frame], anything());
        assert_eq!(seen.verdicts, [(WRITTEN, 1)]);
        assert_eq!(page(machine, frame).refs(), 0);
        assert!(matches!(machine.mm.slot_state(entry).held, Held::Shadow(_)));
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-17: with swap more than half full an activated page frees its slot, with less it keeps it.
#[test]
fn an_activated_page_gives_its_slot_back_when_swap_is_scarce() {
    for (others, keeps) in [(1, true), (3, false)] {
        on(DiskConfig::sync(5), |machine| {
            let (mut program, area) = cold(machine, 1);
            look(machine, &[frame(machine, &program, area.start)], anything());
            program.check_all(area.clone());
            let frame = frame(machine, &program, area.start);
            let (more, rest) = cold(machine, others);
            look(machine, &frames(machine, &more, rest), anything());
            look(machine, &[frame], anything());
            program.check_all(area.clone());
            let free = machine.mm.swap_pages().1;
            let seen = look(machine, &[frame], anything());
            assert_eq!(seen.verdicts, [(Reason::Activate(Activate::Referenced), 1)]);
            assert_eq!(has(machine, frame, PageFlags::SWAPCACHE), keeps, "{others} others");
            assert_eq!(machine.mm.swap_pages().1 - free, u32::from(!keeps));
            prove(machine);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            program.check_all(area);
        });
    }
}

/// SPL-18: of a batch of all kinds every page gets one verdict, none stays locked or
/// isolated, activations are counted, and all bytes are still there.
#[test]
fn no_page_of_a_mixed_batch_is_lost_or_left_locked() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 24);
        let all = frames(machine, &program, area.clone());
        look(machine, &all[..8], anything());
        program.check_all(area.start..area.start + 8);
        chill(&mut program, area.start + 8..area.start + 16);
        let locks: Vec<_> = all[16..18].iter().map(|f| HeldLock::of(machine, *f)).collect();
        let held: Vec<_> = all[14..16].iter().map(|f| HeldPage::of(machine, *f)).collect();
        let activated = machine.mm.event(VmEvent::PgActivate);
        let seen = look(machine, &all, anything());
        let want = [
            (Reason::Keep(Keep::LockedElsewhere), 2),
            (Reason::Keep(Keep::Referenced), 6),
            (Reason::Keep(Keep::ExtraReference), 2),
            (Reason::Activate(Activate::Referenced), 8),
            (WRITTEN, 6),
        ];
        assert_eq!(seen.verdicts, want);
        assert_eq!(seen.stat.reclaimed, 6);
        assert_eq!(machine.mm.event(VmEvent::PgActivate) - activated, 8);
        drop((locks, held));
        assert!(all.iter().all(|f| !has(machine, *f, PageFlags::LOCKED)));
        assert!(all.iter().all(|f| !has(machine, *f, PageFlags::ISOLATED)));
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-18: what is freed is free at once, each page once.
#[test]
fn a_batch_gives_back_as_many_pages_as_it_reclaimed() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 32);
        let before = machine.mm.total_free();
        let seen = look(machine, &frames(machine, &program, area), anything());
        assert_eq!(seen.verdicts, [(WRITTEN, 32)]);
        assert_eq!(machine.mm.total_free() - before, 32);
        prove(machine);
    });
}

/// SPL-19: first whether the device may be entered, then whether writing is allowed; IO
/// alone is enough for a page in the swap cache.
#[test]
fn the_questions_before_a_write_come_in_their_order() {
    let no_write = |request| without(request, May::WRITEPAGE);
    let keep = |why| Reason::Keep(why);
    let table = [
        (direct(Gfp::NOIO), keep(Keep::MayNotEnter)),
        (no_write(direct(Gfp::NOIO)), keep(Keep::MayNotEnter)),
        (no_write(direct(Gfp::NOFS)), keep(Keep::MayNotWrite)),
        (no_write(anything()), keep(Keep::MayNotWrite)),
        (direct(Gfp::NOIO | Gfp::FS), WRITTEN),
        (direct(Gfp::NOFS), WRITTEN),
        (anything(), WRITTEN),
    ];
    for (request, want) in table {
        on(DISK, |machine| {
            let (program, area, frame) = half_way(machine);
            let seen = look(machine, &[frame], request);
            assert_eq!(seen.verdicts, [(want, 1)], "{request:?}");
            assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, u64::from(want == WRITTEN));
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SPL-19: a page that gets its slot in the same pass becomes dirty by that, and is swapped out
/// without the right to enter file systems.
#[test]
fn nofs_with_io_swaps() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let frame = frame(machine, &program, area.start);
        let seen = look(machine, &[frame], direct(Gfp::NOFS));
        assert_eq!(seen.verdicts, [(WRITTEN, 1)]);
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-11: memory that was only read has no page, and so takes no slot and no write.
#[test]
fn memory_that_was_only_read_takes_no_slot() {
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(4);
        program.check_all(area.clone());
        assert_eq!(machine.mm.space_stat(program.space).resident, 0);
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(0));
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 0);
        prove(machine);
        program.check_all(area);
    });
}
