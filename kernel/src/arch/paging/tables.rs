//! One address space's translation tables.
//!
//! **Data.** The root's frame and the tables below it; caches of the last tables that a walk
//! found. **Owner.** The address space. **Lock.** The crate's page-table lock, which `&mut self`
//! stands for; the hardware walker reads, and may set flags, concurrently.
//!
//! **The walk.** Neighbouring pages share a leaf table (2 MiB), and faults, reclaim and exit mostly
//! go from neighbour to neighbour: the cache makes most walks one comparison. Other walks begin at
//! the middle table (1 GiB) found last. Only `unlink_tables` and `release` remove tables, and both
//! clear the caches.

use core::arch::asm;
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::{Asid, Mapping, NoTable, PageEntry, PageTables, Prot, Pte, TlbEntry};
use mm_reclaim::units::{PAGE_SIZE, Pfn, Vpn};

use super::{pte, tlb};
use crate::arch::frames;

/// Entries in a table.
const ENTRIES: u32 = 512;
/// Pages below one entry of the root.
const ROOT_SPAN: u32 = ENTRIES * ENTRIES;
/// Pages that the tables can translate.
const END: u32 = ENTRIES * ROOT_SPAN;
/// In the caches: no table is known.
const NO_TABLE: u64 = u32::MAX as u64;

/// Translation tables of three levels.
pub struct Tables {
    root: Pfn,
    asid: Asid,
    frames: u32,
    /// The leaf table found last: `vpn / 512` below, its frame above.
    last: Cell<u64>,
    /// The middle table found last: the index in the root below, its frame above.
    last_middle: Cell<u64>,
}

/// A table as the kernel sees it.
type Table = [AtomicU64; ENTRIES as usize];

#[inline(always)]
fn table_in(frame: Pfn) -> &'static Table {
    // SAFETY: the frame is a table of living tables, which is owned by them, lies in the
    // linear map, and is accessed as atomic words only.
    unsafe { &*frames::frame_address(frame).cast::<Table>() }
}

/// The indices of `vpn` in the root, the middle and the leaf table.
#[inline(always)]
const fn indices(vpn: Vpn) -> (usize, usize, usize) {
    let n = vpn.0 as usize;
    (n >> 18, (n >> 9) & 511, n & 511)
}

#[inline(always)]
fn next_table(entry: &AtomicU64) -> Option<&'static Table> {
    let bits = entry.load(Relaxed);
    if bits & pte::VALID == 0 { None } else { Some(table_in(pte::frame_of(bits))) }
}

impl Tables {
    /// Empty tables whose top level is `root`, a zeroed frame.
    pub fn new(root: Pfn) -> Self {
        Self {
            root,
            asid: tlb::take_asid(),
            frames: 1,
            last: Cell::new(NO_TABLE),
            last_middle: Cell::new(NO_TABLE),
        }
    }

    /// The value of TTBR0 while a task of this space runs; constant for the space's life.
    pub fn ttbr0(&self) -> u64 {
        u64::from(self.asid.0) << 48 | self.root.addr().0
    }

    #[inline(always)]
    fn find(&self, vpn: Vpn) -> Option<&'static AtomicU64> {
        let last = self.last.get();
        if last as u32 == vpn.0 >> 9 {
            return Some(&table_in(Pfn((last >> 32) as u32))[vpn.0 as usize & 511]);
        }
        self.walk(vpn)
    }

    #[inline(always)]
    fn walk(&self, vpn: Vpn) -> Option<&'static AtomicU64> {
        let (top, middle, leaf) = indices(vpn);
        let last = self.last_middle.get();
        let table = match last as u32 == top as u32 {
            true => table_in(Pfn((last >> 32) as u32)),
            false => self.find_middle(top)?,
        };
        let bits = table[middle].load(Relaxed);
        if bits & pte::VALID == 0 {
            return None;
        }
        let frame = pte::frame_of(bits);
        self.last.set(u64::from(frame.0) << 32 | u64::from(vpn.0 >> 9));
        Some(&table_in(frame)[leaf])
    }

    #[cold]
    fn find_middle(&self, top: usize) -> Option<&'static Table> {
        let bits = table_in(self.root).get(top)?.load(Relaxed);
        if bits & pte::VALID == 0 {
            return None;
        }
        let frame = pte::frame_of(bits);
        self.last_middle.set(u64::from(frame.0) << 32 | top as u64);
        Some(table_in(frame))
    }

    /// Tables are about to go.
    fn forget(&self) {
        self.last.set(NO_TABLE);
        self.last_middle.set(NO_TABLE);
    }

    /// The first entry in `from..end` that is not empty, and its bits.
    fn scan(&self, from: Vpn, end: Vpn) -> Option<(Vpn, u64)> {
        let end = Vpn(end.0.min(END));
        let mut vpn = from;
        while vpn < end {
            let (top, middle, leaf) = indices(vpn);
            let Some(table) = next_table(&table_in(self.root)[top]) else {
                vpn = Vpn((vpn.0 / ROOT_SPAN + 1) * ROOT_SPAN);
                continue;
            };
            let leaf_end = Vpn((vpn.0 / ENTRIES + 1) * ENTRIES);
            if let Some(table) = next_table(&table[middle]) {
                let stop = (end.0.min(leaf_end.0) - vpn.0) as usize + leaf;
                let hit = (leaf..stop).find(|i| table[*i].load(Relaxed) != 0);
                if let Some(i) = hit {
                    return Some((vpn + (i - leaf) as u32, table[i].load(Relaxed)));
                }
            }
            vpn = leaf_end;
        }
        None
    }

    /// Unlinks leaf tables for `range`, which lies below one entry of the root, and then the middle
    /// table; returns where to continue if `take` is full.
    fn unlink_below(
        &mut self,
        range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Result<(), Vpn> {
        let top = &table_in(self.root)[(range.start.0 / ROOT_SPAN) as usize];
        let Some(middle) = next_table(top) else { return Ok(()) };
        for block in range.start.0 / ENTRIES..range.end.0.div_ceil(ENTRIES) {
            let entry = &middle[(block % ENTRIES) as usize];
            let frame = unlink(entry, block * ENTRIES, ENTRIES, free);
            // The same block again, if necessary: the middle table is still to come.
            self.hand_over(frame, range.start.max(Vpn(block * ENTRIES)), take)?;
        }
        let start = range.start.0 / ROOT_SPAN * ROOT_SPAN;
        self.hand_over(unlink(top, start, ROOT_SPAN, free), range.end, take)
    }

    /// Counts an unlinked table; `next` is where to continue if `take` has no room for another.
    fn hand_over(
        &mut self,
        frame: Option<Pfn>,
        next: Vpn,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Result<(), Vpn> {
        let Some(frame) = frame else { return Ok(()) };
        self.frames -= 1;
        if take(frame) { Ok(()) } else { Err(next) }
    }

    /// Break before make: the architecture forbids changing a translation from one frame to another
    /// while it may be cached.
    #[cold]
    fn break_entry(&self, vpn: Vpn, entry: &AtomicU64) {
        entry.store(0, Relaxed);
        tlb::flush(&[TlbEntry { asid: self.asid, vpn }]);
    }
}

/// An entry of a leaf table, for the holder of the page-table lock.
pub struct Entry<'t> {
    tables: &'t mut Tables,
    vpn: Vpn,
    entry: &'static AtomicU64,
}

impl PageEntry for Entry<'_> {
    #[inline(always)]
    fn get(&self) -> Pte {
        pte::decode(self.entry.load(Relaxed))
    }

    #[inline(always)]
    fn fill(self, mapping: Mapping) {
        debug_assert!(self.entry.load(Relaxed) & pte::VALID == 0, "{:?} is present", self.vpn);
        if mapping.prot.contains(Prot::EXEC) {
            show_to_fetch(mapping.pfn);
        }
        self.entry.store(pte::encode_mapping(mapping), Relaxed);
    }

    #[inline(always)]
    fn mark_accessed(self, write: bool) {
        let flags = if write { pte::ACCESSED | pte::DIRTY } else { pte::ACCESSED };
        let old = self.entry.fetch_or(flags, Relaxed);
        const CLEAN: u64 = pte::WRITABLE | pte::READ_ONLY;
        if write && old & CLEAN == CLEAN {
            self.entry.fetch_and(!pte::READ_ONLY, Relaxed);
            // A read-only translation may stay cached after the fault that it caused; one with
            // a clear access flag is never cached.
            if old & pte::ACCESSED != 0 {
                tlb::flush_page(TlbEntry { asid: self.tables.asid, vpn: self.vpn });
            }
        }
    }
}

impl PageTables for Tables {
    type Entry<'t> = Entry<'t>;

    #[inline(always)]
    fn entry(&mut self, vpn: Vpn) -> Option<Entry<'_>> {
        let entry = self.find(vpn)?;
        Some(Entry { tables: self, vpn, entry })
    }

    #[inline(always)]
    fn asid(&self) -> Asid {
        self.asid
    }

    #[inline(always)]
    fn get(&self, vpn: Vpn) -> Pte {
        match self.find(vpn) {
            Some(entry) => pte::decode(entry.load(Relaxed)),
            None => Pte::None,
        }
    }

    #[inline(always)]
    fn set(&mut self, vpn: Vpn, new: Pte) -> Result<(), NoTable> {
        let Some(entry) = self.find(vpn) else {
            return if new == Pte::None { Ok(()) } else { Err(NoTable) };
        };
        let new = pte::encode(new);
        let old = entry.load(Relaxed);
        if old & new & pte::VALID != 0 && (old ^ new) & pte::ADDRESS != 0 {
            self.break_entry(vpn, entry);
        }
        if pte::is_executable(new) {
            show_to_fetch(pte::frame_of(new));
        }
        entry.store(new, Relaxed);
        Ok(())
    }

    #[inline(always)]
    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte {
        let entry = self.find(vpn).expect("a present entry has a table");
        if let Pte::Present(mapping) = new
            && mapping.prot.contains(Prot::EXEC)
        {
            show_to_fetch(mapping.pfn);
        }
        let new = pte::encode(new);
        let old = entry.load(Relaxed);
        if old & new & pte::VALID != 0 && (old ^ new) & pte::ADDRESS != 0 {
            let old = entry.swap(0, Relaxed);
            self.break_entry(vpn, entry);
            entry.store(new, Relaxed);
            return pte::decode(old);
        }
        pte::decode(entry.swap(new, Relaxed))
    }

    #[inline(always)]
    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool {
        let Some(entry) = self.find(vpn) else { return false };
        let bits = entry.load(Relaxed);
        if bits & (pte::VALID | pte::ACCESSED) != pte::VALID | pte::ACCESSED {
            return false;
        }
        entry.fetch_and(!pte::ACCESSED, Relaxed) & pte::ACCESSED != 0
    }

    fn sets_young(&self) -> bool {
        tlb::sets_young()
    }

    fn mark_accessed(&mut self, vpn: Vpn, write: bool) {
        self.entry(vpn).expect("a present entry has a table").mark_accessed(write);
    }

    #[inline(always)]
    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)> {
        if from < end
            && let Some(entry) = self.find(from)
        {
            let bits = entry.load(Relaxed);
            if bits != 0 {
                return Some((from, pte::decode(bits)));
            }
        }
        self.scan(from, end).map(|(vpn, bits)| (vpn, pte::decode(bits)))
    }

    fn install_table(&mut self, vpn: Vpn, frame: Pfn) -> Option<Pfn> {
        assert!(vpn.0 < END, "{vpn:?} is no user page");
        let (top, middle, _) = indices(vpn);
        let top = &table_in(self.root)[top];
        let missing = match next_table(top) {
            None => top,
            Some(table) if next_table(&table[middle]).is_none() => &table[middle],
            Some(_) => return Some(frame),
        };
        // The table's zeroes must be visible before the table is.
        tlb::table_barrier();
        missing.store(pte::table(frame), Relaxed);
        self.frames += 1;
        None
    }

    fn unlink_tables(
        &mut self,
        range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        self.forget();
        let mut at = range.start;
        while at < range.end {
            let end = Vpn((at.0 / ROOT_SPAN + 1) * ROOT_SPAN);
            let full = self.unlink_below(at..range.end.min(end), free, take).err();
            if full.is_some() {
                return full.filter(|vpn| *vpn < range.end);
            }
            at = end;
        }
        None
    }

    fn table_frames(&self) -> u32 {
        self.frames
    }

    fn release(&mut self, give: &mut dyn FnMut(Pfn)) {
        self.forget();
        for top in table_in(self.root) {
            let Some(middle) = next_table(top) else { continue };
            for leaf in middle.iter().filter(|e| e.load(Relaxed) & pte::VALID != 0) {
                give(pte::frame_of(leaf.load(Relaxed)));
            }
            give(pte::frame_of(top.load(Relaxed)));
        }
        // Cached entries of the upper levels carry this ASID, which no CPU uses now, and none will
        // before the flush of a rollover.
        give(self.root);
        tlb::give_asid(self.asid);
    }
}

/// Unlinks the table that `entry` names, if the `pages` pages from `start` on that it translates
/// all lie in `free`; returns its frame.
fn unlink(entry: &AtomicU64, start: u32, pages: u32, free: &Range<Vpn>) -> Option<Pfn> {
    let table = next_table(entry)?;
    if start < free.start.0 || start + pages > free.end.0 {
        return None;
    }
    debug_assert!(table.iter().all(|entry| entry.load(Relaxed) == 0), "a table in use");
    let frame = pte::frame_of(entry.load(Relaxed));
    entry.store(0, Relaxed);
    Some(frame)
}

/// Makes the bytes of `frame` visible to instruction fetch: cleans the data cache to the point of
/// unification and invalidates the instruction cache.
#[cold]
fn show_to_fetch(frame: Pfn) {
    let ctr: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack)) };
    let data_line = 4usize << ((ctr >> 16) & 0xf);
    let fetch_line = 4usize << (ctr & 0xf);
    let start = frames::frame_address(frame).addr();
    for line in (start..start + PAGE_SIZE).step_by(data_line) {
        // SAFETY: it cleans a line of the linear map.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in (start..start + PAGE_SIZE).step_by(fetch_line) {
        // SAFETY: it invalidates a line of the linear map.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
