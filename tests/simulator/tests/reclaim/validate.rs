//! `validate()` itself: damage done to a machine in the middle of its work is reported by
//! its name.
//!
//! The machine has two programs that share pages, pages on every list that exists, in swap
//! and in the swap cache, and a compound page of the kernel.

use std::mem::discriminant;
use std::ops::Range;

use mm_reclaim::env::{PageTables, Pte};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, Page, PageFlags};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::SwapEntry;
use mm_reclaim::swap::map::{Held, SlotState};
use mm_reclaim::units::{Order, Pfn, Vpn};
use mm_reclaim::zone::ZoneId;
use mm_reclaim::{Census, Violation};
use simulator::{Config, DiskConfig, Machine, Program};

use crate::bench::{anything, frame, look, page, prove, slot, small};

/// A machine at work.
struct Busy<'m> {
    machine: Machine<'m>,
    parent: Program<'m>,
    _child: Program<'m>,
    /// Shared with the child.
    shared: Range<Vpn>,
    /// In swap.
    swapped: Range<Vpn>,
    /// Mapped and in the swap cache.
    cached: Range<Vpn>,
    /// The parent's own, on the inactive list.
    own: Range<Vpn>,
    /// A compound page of the kernel.
    kernel: Pfn,
}

impl<'m> Busy<'m> {
    fn new(machine: Machine<'m>) -> Self {
        let mut parent = Program::new(machine);
        let area = parent.map(100);
        let part = |n: u32| area.start + 10 * n..area.start + 10 * (n + 1);
        let (shared, swapped, cached, own) = (part(0), part(1), part(2), part(3));
        parent.write_all(shared.clone());
        let child = parent.fork().expect("a child");
        child.check_all(shared.clone());
        for range in [&swapped, &cached, &own] {
            parent.write_all(range.clone());
        }
        parent.advise(swapped.start..cached.end, Advice::PageOut).expect("an area");
        parent.check_all(cached.clone());
        look(machine, &[frame(machine, &parent, shared.start)], anything());
        let order = Order::new(3).expect("an order");
        let kernel = machine.mm.alloc_pages(Gfp::KERNEL, order).expect("memory");
        machine.mm.mlock(parent.space, part(4)).expect("memory");
        prove(machine);
        Self { machine, parent, _child: child, shared, swapped, cached, own, kernel }
    }

    fn page(&self, vpn: Vpn) -> &'m Page {
        page(self.machine, frame(self.machine, &self.parent, vpn))
    }

    fn shared(&self) -> &'m Page {
        self.page(self.shared.start)
    }

    fn own(&self) -> &'m Page {
        self.page(self.own.start)
    }

    fn cached(&self) -> &'m Page {
        self.page(self.cached.start)
    }

    fn kernel(&self) -> &'m Page {
        page(self.machine, self.kernel)
    }

    fn swapped(&self) -> SwapEntry {
        slot(self.machine, &self.parent, self.swapped.start)
    }

    fn change_slot(&self, entry: SwapEntry, change: impl FnOnce(SlotState) -> SlotState) {
        self.machine.mm.corrupt_slot(entry, change);
    }

    /// Some unused slot.
    fn free_slot(&self) -> SwapEntry {
        let mut slots = (1..).map(SwapEntry::from_raw);
        slots.find(|e| self.machine.mm.slot_state(*e).is_free()).expect("a free slot")
    }

    /// The head of some free block.
    fn free_block(&self) -> &'m Page {
        let map = self.machine.mm.memmap();
        let free = map.iter().find(|(_, page)| page.has(PageFlags::BUDDY));
        free.expect("a free block").1
    }
}

/// Damage, and an example of the violation that names it.
struct Row {
    what: &'static str,
    damage: fn(&Busy<'_>),
    name: Violation,
}

const PFN: Pfn = Pfn(0);
const LIST: LruList = LruList::InactiveAnon;
const WRONG_LIST: Violation = Violation::WrongList { pfn: PFN, on: LIST };
const STALE_FLAG: Violation = Violation::StaleLruFlag { list: LIST, flagged: 0, linked: 0 };
const BAD_FLAGS: Violation = Violation::BadFlags { pfn: PFN, why: "" };
const ISOLATION: Violation = Violation::LeakedIsolation { flagged: 0, counted: 0 };
const MAPCOUNT: Violation = Violation::WrongMapcount { pfn: PFN, counts: 0, found: 0 };
const REFS: Violation = Violation::WrongRefs { pfn: PFN, counts: 0, holders: 0 };
const ORPHAN: Violation = Violation::OrphanSlot(SwapEntry::from_raw(0));
const BAD_BLOCK: Violation = Violation::BadFreeBlock { pfn: PFN, order: Order::ZERO };
const SPACE_COUNTS: Violation = Violation::SpaceCounts {
    space: mm_reclaim::space::SpaceId::from_bits(0),
    counts: (0, 0),
    found: (0, 0),
};
const BAD_AREA: Violation =
    Violation::BadArea { space: mm_reclaim::space::SpaceId::from_bits(0), start: Vpn(0) };
const BAD_FAMILY: Violation =
    Violation::BadFamily { space: mm_reclaim::space::SpaceId::from_bits(0), start: Vpn(0) };
const LOST: Violation = Violation::LostObjects { kind: "", taken: 0, found: 0 };
const BROKEN_RMAP: Violation = Violation::BrokenRmap {
    space: mm_reclaim::space::SpaceId::from_bits(0),
    vpn: Vpn(0),
    pfn: PFN,
};

fn page_rows() -> Vec<Row> {
    let row = |what, name, damage| Row { what, damage, name };
    vec![
        row("a page on another list than its flags name", WRONG_LIST, |b| {
            b.own().corrupt_flags(PageFlags::ACTIVE);
        }),
        row("a listed page without the LRU flag", WRONG_LIST, |b| {
            b.own().corrupt_flags(PageFlags::LRU);
        }),
        row("an unlisted page with the LRU flag", STALE_FLAG, |b| {
            b.kernel().corrupt_flags(PageFlags::LRU);
        }),
        row("a head that is a tail", BAD_FLAGS, |b| {
            b.kernel().corrupt_flags(PageFlags::TAIL);
        }),
        row("a page in the swap cache that no swap backs", BAD_FLAGS, |b| {
            b.kernel().corrupt_flags(PageFlags::SWAPCACHE);
        }),
        row("a page left isolated", ISOLATION, |b| {
            b.kernel().corrupt_flags(PageFlags::ISOLATED);
        }),
        row("a lock left held", Violation::LeakedLock(PFN), |b| {
            b.own().corrupt_flags(PageFlags::LOCKED);
        }),
        row("a mapping too many counted", MAPCOUNT, |b| b.shared().corrupt_counts(1, 0)),
        row("a mapping not counted", REFS, |b| b.shared().corrupt_counts(-1, 0)),
        row("a reference too many", REFS, |b| b.own().corrupt_counts(0, 1)),
        row("a reference too few", REFS, |b| b.cached().corrupt_counts(0, -1)),
        row("a page without a holder", Violation::LostPage(PFN), |b| {
            b.kernel().corrupt_counts(0, -1);
        }),
        row("a page that names another family", BROKEN_RMAP, |b| {
            let page = b.own();
            page.corrupt_owner(page.owner() + 1, page.index());
        }),
        row("a page that names another place", BROKEN_RMAP, |b| {
            let page = b.own();
            page.corrupt_owner(page.owner(), page.index() + 1);
        }),
    ]
}

fn swap_rows() -> Vec<Row> {
    let row = |what, name, damage| Row { what, damage, name };
    vec![
        row("a slot that names a page that does not name it", ORPHAN, |b| {
            let pfn = frame(b.machine, &b.parent, b.own.start);
            b.change_slot(b.swapped(), |state| SlotState { held: Held::Page(pfn), ..state });
        }),
        row("a cached page whose slot does not name it", ORPHAN, |b| {
            let entry = SwapEntry::from_raw(b.cached().private());
            b.change_slot(entry, |s| SlotState { uses: s.uses, held: Held::Bad, ..s });
        }),
        row("a shadow in a slot without users", ORPHAN, |b| {
            b.change_slot(b.free_slot(), |s| SlotState { held: Held::Shadow(1), ..s });
        }),
        row(
            "an unused slot that an entry names",
            Violation::UnusedSlot(SwapEntry::from_raw(0)),
            |b| {
                b.change_slot(b.swapped(), |state| SlotState { uses: 0, ..state });
            },
        ),
        row("a use too many", Violation::SlotUses { counts: 0, found: 0 }, |b| {
            b.change_slot(b.swapped(), |state| SlotState { uses: state.uses + 1, ..state });
        }),
        row("a free slot less than counted", Violation::FreeSlots { kept: 0, counted: 0 }, |b| {
            b.change_slot(b.free_slot(), |state| SlotState { held: Held::Bad, ..state });
        }),
    ]
}

fn book_rows() -> Vec<Row> {
    let row = |what, name, damage| Row { what, damage, name };
    let list_size = Violation::ListSize { list: LIST, kept: 0, counted: 0 };
    let free_count = Violation::FreeCount { zone: ZoneId::Dma, kept: 0, counted: 0 };
    vec![
        row("a list that counts one page more", list_size, |b| {
            b.machine.mm.lru().of(b.own()).corrupt_counts(LIST, 1, 0);
        }),
        row("an isolation that was never taken back", ISOLATION, |b| {
            b.machine.mm.lru().of(b.own()).corrupt_counts(LIST, 0, 1);
        }),
        row("a zone that counts one free page more", free_count, |b| {
            b.machine.mm.zone(ZoneId::Dma).corrupt_free_count(1);
        }),
        row("a free block that is not marked", BAD_BLOCK, |b| {
            b.free_block().corrupt_flags(PageFlags::BUDDY);
        }),
        row("a free page with a reference", BAD_BLOCK, |b| b.free_block().corrupt_counts(0, 1)),
        row("a free page that is mapped", BAD_BLOCK, |b| b.free_block().corrupt_counts(1, 0)),
        row("an entry that vanished", SPACE_COUNTS, |b| {
            let take =
                |t: &mut simulator::tables::SoftTables<'_>| t.replace(b.own.start, Pte::None);
            b.machine.mm.with_tables(b.parent.space, take);
        }),
        row("an area turned inside out", BAD_AREA, |b| {
            let (at, space) = (b.own.start, b.parent.space);
            b.machine.mm.corrupt_area(space, at, b.own.end, b.own.start);
        }),
        row("an area that hides pages", SPACE_COUNTS, |b| {
            let (at, space) = (b.own.start, b.parent.space);
            b.machine.mm.corrupt_area(space, at, b.shared.start, b.own.start);
        }),
        row("an area without an owner", LOST, |b| b.machine.mm.corrupt_areas()),
        row("a family without a member", LOST, |b| b.machine.mm.corrupt_families()),
        row("a link without an owner", LOST, |b| b.machine.mm.corrupt_links()),
        row("a family that counts a member more", BAD_FAMILY, |b| {
            b.machine.mm.corrupt_family(b.parent.space, b.own.start, 1, 0);
        }),
        row("a family that counts a child less", LOST, |b| {
            b.machine.mm.corrupt_family(b.parent.space, b.own.start, 0, -1);
        }),
        row("more stolen than scanned", Violation::CounterIdentity(""), |b| {
            b.machine.mm.corrupt_event(VmEvent::PgStealDirect, 1_000_000);
        }),
        row("a scan of neither type", Violation::CounterIdentity(""), |b| {
            b.machine.mm.corrupt_event(VmEvent::PgScanKswapd, 1);
        }),
    ]
}

fn machine() -> Config {
    small(DiskConfig::sync(256))
}

/// What `validate()` says after `damage`.
fn said(damage: fn(&Busy<'_>)) -> Result<Census, Violation> {
    let mut said = None;
    let run = std::panic::AssertUnwindSafe(|| {
        Machine::run(&machine(), |machine| {
            let busy = Busy::new(machine);
            damage(&busy);
            said = Some(machine.mm.validate());
            // A damaged machine is not shut down in order.
            std::mem::forget(busy);
        });
    });
    std::panic::catch_unwind(run).expect("validate() reports and does not panic");
    said.expect("it was asked")
}

/// Each piece of damage is found, and by its name; what is not damaged is not blamed.
#[test]
fn each_piece_of_damage_is_reported_by_its_name() {
    said(|_| {}).expect("nothing is wrong before");
    let rows = page_rows().into_iter().chain(swap_rows()).chain(book_rows());
    for row in rows {
        let found = said(row.damage).expect_err(row.what);
        let is_named = discriminant(&found) == discriminant(&row.name);
        assert!(is_named, "{}: {found:?}", row.what);
    }
}

/// Every violation has a row above: each can occur.
#[test]
fn every_violation_can_be_provoked() {
    let rows: Vec<_> = page_rows().into_iter().chain(swap_rows()).chain(book_rows()).collect();
    let mut names: Vec<_> = Vec::new();
    for name in rows.iter().map(|row| discriminant(&row.name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    assert_eq!(names.len(), 21, "of the variants of `Violation`");
}
