//! The descriptor under random sequences of legal transitions, and the tokens.

use proptest::prelude::*;

use super::{CHECK_AT_FREE, MAPCOUNT_MAX, Page, PageFlags, PageLock};
use crate::base::sync::{AtomicBool, AtomicU32, Ordering};
use crate::base::units::Order;
use crate::page::ListChoice;
use crate::tests::{cases, descriptors, nth, owned, panic_of};

/// The highest zone, so that a lost zone bit shows.
const ZONE: u8 = 2;

fn new_page() -> Page {
    let page = Page::reserved(ZONE, true);
    page.unreserve();
    page
}

fn owned_page() -> Page {
    let page = new_page();
    page.own();
    page
}

/// Every operation of the crate on the flags of an anonymous page.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lock,
    Unlock,
    EnterLru,
    LeaveLru,
    Isolate,
    PutBack,
    Choose { active: bool, unevictable: bool },
    Dirty,
    Clean,
    EnterCache(u32),
    LeaveCache,
    BeginWriteback,
    EndWriteback,
    MarkReclaim,
    MarkReferenced,
    TakeReferenced,
    Mlock(bool),
    AnnounceWaiter,
    TakeWaiters,
    EndRead(bool),
    MarkWorkingset,
    FreeAndTakeAgain(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let place = any::<(bool, bool)>();
    prop_oneof![
        Just(Step::Lock),
        Just(Step::Unlock),
        Just(Step::EnterLru),
        Just(Step::LeaveLru),
        Just(Step::Isolate),
        Just(Step::PutBack),
        place.prop_map(|(active, unevictable)| Step::Choose { active, unevictable }),
        Just(Step::Dirty),
        Just(Step::Clean),
        (1..u32::MAX).prop_map(Step::EnterCache),
        Just(Step::LeaveCache),
        Just(Step::BeginWriteback),
        Just(Step::EndWriteback),
        Just(Step::MarkReclaim),
        Just(Step::MarkReferenced),
        Just(Step::TakeReferenced),
        any::<bool>().prop_map(Step::Mlock),
        Just(Step::AnnounceWaiter),
        Just(Step::TakeWaiters),
        any::<bool>().prop_map(Step::EndRead),
        Just(Step::MarkWorkingset),
        (0..=Order::MAX.get()).prop_map(Step::FreeAndTakeAgain),
    ]
}

/// A page, the flags that it should have, and the lock if it is held.
struct Driven<'p> {
    page: &'p Page,
    want: PageFlags,
    entry: u32,
    lock: Option<PageLock<'p>>,
}

impl<'p> Driven<'p> {
    fn new(page: &'p Page) -> Self {
        page.init_anon(1, 2);
        let want = PageFlags::UPTODATE | PageFlags::SWAPBACKED;
        Self { page, want, entry: 0, lock: None }
    }

    /// Whether the rules of the descriptor's docs allow the step now.
    fn is_legal(&self, step: Step) -> bool {
        let has = |flag| self.want.contains(flag);
        let locked = has(PageFlags::LOCKED);
        let held = PageFlags::LRU | PageFlags::ISOLATED;
        let busy = held | PageFlags::LOCKED | PageFlags::SWAPCACHE | PageFlags::WRITEBACK;
        match step {
            Step::Unlock => locked,
            Step::EnterLru => !self.want.intersects(held),
            Step::LeaveLru | Step::Isolate => has(PageFlags::LRU),
            Step::PutBack => has(PageFlags::ISOLATED),
            Step::EnterCache(_) => locked && !has(PageFlags::SWAPCACHE),
            Step::LeaveCache => locked && has(PageFlags::SWAPCACHE) && !has(PageFlags::WRITEBACK),
            Step::BeginWriteback => {
                locked && has(PageFlags::SWAPCACHE) && !has(PageFlags::WRITEBACK)
            }
            Step::EndWriteback => has(PageFlags::WRITEBACK),
            Step::FreeAndTakeAgain(_) => !self.want.intersects(busy),
            _ => true,
        }
    }

    fn had(&mut self, flags: PageFlags, on: bool) -> bool {
        let had = self.want.intersects(flags);
        self.want.set(flags, on);
        had
    }

    fn take(&mut self, step: Step) {
        let page = self.page;
        match step {
            Step::Lock => self.lock(),
            Step::Unlock => {
                let waiter = self.had(PageFlags::WAITERS, false);
                self.want -= PageFlags::LOCKED;
                let woken = self.lock.take().expect("held").unlock();
                assert_eq!(woken.is_some(), waiter);
            }
            Step::Dirty => assert_eq!(page.set_dirty(), !self.had(PageFlags::DIRTY, true)),
            Step::Clean => assert_eq!(page.clear_dirty(), self.had(PageFlags::DIRTY, false)),
            Step::EnterCache(entry) => {
                page.enter_swap_cache(entry);
                self.want |= PageFlags::SWAPCACHE | PageFlags::DIRTY;
                self.entry = entry;
            }
            Step::LeaveCache => {
                page.leave_cache();
                self.want -= PageFlags::SWAPCACHE;
                self.entry = 0;
            }
            Step::BeginWriteback => {
                page.begin_writeback(true);
                self.want |= PageFlags::WRITEBACK | PageFlags::RECLAIM;
            }
            Step::EndWriteback => {
                assert_eq!(page.end_writeback(), self.want);
                self.want -= PageFlags::WRITEBACK | PageFlags::RECLAIM;
            }
            Step::MarkReferenced => {
                page.mark_referenced();
                self.want |= PageFlags::REFERENCED;
            }
            Step::TakeReferenced => {
                assert_eq!(page.take_referenced(), self.had(PageFlags::REFERENCED, false));
            }
            Step::Mlock(on) => {
                assert_eq!(page.set_mlocked(on), self.had(PageFlags::MLOCKED, on));
            }
            Step::TakeWaiters => {
                assert_eq!(page.take_waiters(), self.had(PageFlags::WAITERS, false));
            }
            Step::EndRead(ok) => {
                page.end_read(ok);
                self.want |= if ok { PageFlags::UPTODATE } else { PageFlags::ERROR };
            }
            Step::FreeAndTakeAgain(order) => self.free_and_take_again(order),
            Step::AnnounceWaiter | Step::MarkReclaim | Step::MarkWorkingset => self.mark(step),
            placing => self.place(placing),
        }
    }

    fn mark(&mut self, step: Step) {
        let (mark, flag): (fn(&Page), _) = match step {
            Step::AnnounceWaiter => (Page::announce_waiter, PageFlags::WAITERS),
            Step::MarkReclaim => (Page::mark_reclaim, PageFlags::RECLAIM),
            _ => (Page::mark_workingset, PageFlags::WORKINGSET),
        };
        mark(self.page);
        self.want |= flag;
    }

    fn lock(&mut self) {
        let got = self.page.try_lock();
        assert_eq!(got.is_some(), self.lock.is_none(), "one holder at a time");
        if let Some(lock) = got {
            self.lock = Some(lock);
            self.want |= PageFlags::LOCKED;
        }
    }

    fn place(&mut self, step: Step) {
        let group = PageFlags::ACTIVE | PageFlags::UNEVICTABLE;
        match step {
            Step::EnterLru => {
                self.page.enter_lru();
                self.want |= PageFlags::LRU;
            }
            Step::LeaveLru => {
                self.page.leave_lru();
                self.want -= PageFlags::LRU | group;
            }
            Step::Isolate => {
                self.page.enter_isolation();
                self.want ^= PageFlags::LRU | PageFlags::ISOLATED;
            }
            Step::PutBack => {
                self.page.leave_isolation();
                self.want ^= PageFlags::LRU | PageFlags::ISOLATED;
            }
            Step::Choose { active, unevictable } => {
                self.page.choose_list(ListChoice::of(active, unevictable));
                self.want -= group;
                self.want.set(PageFlags::UNEVICTABLE, unevictable);
                self.want.set(PageFlags::ACTIVE, active && !unevictable);
            }
            other => unreachable!("{other:?} places nothing"),
        }
    }

    /// The page's life ends and another one begins.
    fn free_and_take_again(&mut self, order: u8) {
        self.page.choose_list(ListChoice::Inactive);
        assert!(self.page.remove_mapping(), "it was mapped once");
        assert!(!self.page.put() && self.page.put(), "the mapping and the batch held it");
        assert!(self.page.prepare_free(), "{:?}", self.page);
        assert_eq!((self.page.flags(), self.page.owner()), (PageFlags::empty(), 0));
        self.page.enter_buddy(Order::new(order).expect("an order"), 1);
        assert_eq!((self.page.flags(), self.page.private()), (PageFlags::BUDDY, order.into()));
        assert_eq!(self.page.flags().fault(), None);
        self.page.leave_buddy();
        assert_eq!((self.page.flags(), self.page.private()), (PageFlags::empty(), 0));
        assert_eq!((self.page.flags(), self.page.refs()), (PageFlags::empty(), 0));
        *self = Self::new(self.page);
    }

    fn check(&self) {
        let page = self.page;
        assert_eq!(page.flags(), self.want);
        assert_eq!(page.flags().fault(), None, "{page:?}");
        assert_eq!((page.zone_index(), page.private()), (ZONE.into(), self.entry));
        assert_eq!((page.refs(), page.mapcount()), (2, 1));
        assert_eq!((page.owner(), page.index()), (1, 2));
    }
}

proptest! {
    #![proptest_config(cases(512))]

    /// LRU-01, SPL-20: each transition changes its own flags and nothing else, and no legal
    /// sequence of them leads to flags that exclude each other.
    #[test]
    fn legal_transitions_never_lead_to_a_fault(
        steps in prop::collection::vec(step(), 0..if cfg!(miri) { 40 } else { 200 }),
    ) {
        let page = new_page();
        let mut driven = Driven::new(&page);
        for step in steps {
            if driven.is_legal(step) {
                driven.take(step);
                driven.check();
            }
        }
        if let Some(lock) = driven.lock.take() {
            lock.unlock();
        }
    }

    /// SPL-16: the count goes up and down by one, a freeze takes all of it or nothing, and no
    /// reference to a frozen or free page can be taken.
    #[test]
    fn the_reference_count_is_its_state_machine(
        steps in prop::collection::vec((0..5u8, 1..5u32), 0..100),
    ) {
        let page = owned_page();
        let (mut refs, mut frozen) = (1u32, false);
        for (step, n) in steps {
            match step {
                0 if refs > 0 => {
                    page.get().leak();
                    refs += 1;
                }
                1 => {
                    let got = page.get_unless_zero().map(super::PageRef::leak);
                    prop_assert_eq!(got.is_some(), refs > 0);
                    refs += u32::from(got.is_some());
                }
                2 if refs > 1 => {
                    prop_assert!(!page.put());
                    refs -= 1;
                }
                3 if !frozen => {
                    frozen = page.freeze(n);
                    prop_assert_eq!(frozen, refs == n);
                    refs = if frozen { 0 } else { refs };
                }
                4 if frozen => {
                    page.thaw(n);
                    (refs, frozen) = (n, false);
                }
                _ => {}
            }
            prop_assert_eq!(page.refs(), refs);
        }
    }
}

/// BUDY-01: each flag of a page in use keeps it from being freed, and is still there for
/// the report.
#[test]
fn a_page_that_is_still_in_use_is_not_prepared_for_freeing() {
    for flag in CHECK_AT_FREE.iter() {
        let page = owned_page();
        assert!(page.put());
        page.corrupt_flags(flag);
        assert!(!page.prepare_free(), "{flag:?}");
        assert_eq!(page.flags(), flag);
    }
    let page = owned_page();
    assert!(!page.prepare_free(), "a reference is held");
    assert!(page.put() && page.prepare_free());
    page.corrupt_counts(1, 0);
    assert!(!page.prepare_free(), "it is mapped");
}

/// RMAP-01: a page that has as many mappings as can be counted refuses another one and
/// still counts right.
#[test]
fn the_mapcount_refuses_at_its_maximum() {
    let page = owned_page();
    page.corrupt_counts(MAPCOUNT_MAX as i16 - 1, 0);
    assert_eq!(page.add_mapping(), Ok(()));
    assert_eq!(page.mapcount(), MAPCOUNT_MAX);
    for _ in 0..3 {
        assert_eq!(page.add_mapping(), Err(()));
        assert_eq!(page.mapcount(), MAPCOUNT_MAX);
    }
    assert!(!page.remove_mapping());
    assert_eq!(page.add_mapping(), Ok(()));
}

#[test]
fn the_last_mapping_is_told() {
    let page = owned_page();
    assert_eq!((page.add_mapping(), page.add_mapping()), (Ok(()), Ok(())));
    assert!(page.is_mapped() && !page.remove_mapping());
    assert!(page.is_mapped() && page.remove_mapping());
    assert!(!page.is_mapped());
    assert!(panic_of(|| page.remove_mapping()).contains("unmapping an unmapped Page {"));
}

/// BUDY-08: a head stands for its whole block, a tail names its head.
#[test]
fn heads_count_their_block_and_tails_name_their_head() {
    let pages = descriptors(2, |_| 0);
    let map = owned(&pages);
    let (head, tail) = (nth(map, 0), nth(map, 1));
    head.make_head();
    tail.make_tail(77);
    tail.set_compound_order(Order::PAGEBLOCK);
    assert_eq!((map.nr_pages(head), map.nr_pages(tail), tail.owner()), (512, 1, 77));
    assert_eq!((head.private(), tail.private()), (0, 9), "the head's is free for a swap entry");
    assert!(head.has(PageFlags::HEAD) && tail.has(PageFlags::TAIL));
    tail.clear_tail();
    assert_eq!((tail.flags(), tail.owner(), tail.private()), (PageFlags::empty(), 0, 0));
}

/// Gets and puts references until `done` is set.
fn get_often(page: &Page, frozen: &AtomicBool, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if let Some(held) = page.get_unless_zero() {
            let frozen = frozen.load(Ordering::Relaxed);
            let last = held.leak().put();
            assert!(!frozen && !last, "got a reference to a frozen page");
        }
        std::thread::yield_now();
    }
}

/// SPL-16: a page to which a reference was taken is never frozen at the same time.
#[test]
fn a_page_is_never_frozen_and_held_at_once() {
    let rounds = if cfg!(miri) { 40 } else { 20_000 };
    let page = owned_page();
    let (frozen, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let freezes = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| get_often(&page, &frozen, &done));
        }
        let mut freezes = 0;
        for _ in 0..rounds {
            if page.freeze(1) {
                frozen.store(true, Ordering::Relaxed);
                assert_eq!(page.refs(), 0);
                frozen.store(false, Ordering::Relaxed);
                page.thaw(1);
                freezes += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        freezes
    });
    assert!(freezes > 0);
    assert_eq!(page.refs(), 1);
}

/// Takes and releases the page lock `rounds` times, counting without an atomic addition.
fn lock_often(page: &Page, count: &AtomicU32, rounds: u32) {
    for _ in 0..rounds {
        let lock = loop {
            match page.try_lock() {
                Some(lock) => break lock,
                None => std::thread::yield_now(),
            }
        };
        let before = count.load(Ordering::Relaxed);
        std::hint::spin_loop();
        count.store(before + 1, Ordering::Relaxed);
        lock.unlock();
    }
}

/// The page lock has one holder at a time, and the next holder sees what the previous one did.
#[test]
fn the_page_lock_excludes_and_publishes() {
    let rounds = if cfg!(miri) { 20 } else { 5000 };
    let page = owned_page();
    let count = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| lock_often(&page, &count, rounds));
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 3 * rounds);
    assert!(!page.has(PageFlags::LOCKED));
}

/// A sleeper's announcement reaches the unlocker, once.
#[test]
fn an_unlock_tells_of_a_waiter_once() {
    let page = owned_page();
    let lock = page.try_lock().expect("free");
    page.announce_waiter();
    assert!(lock.unlock().is_some_and(|told| core::ptr::eq(told, &raw const page)));
    let lock = page.try_lock().expect("free");
    assert!(lock.unlock().is_none());
}

#[test]
fn a_report_shows_state_zone_counts_and_handles() {
    let page = owned_page();
    page.make_tail(5);
    let said = std::format!("{page:?}");
    for part in ["TAIL", "zone: 2", "refs: 1", "mapcount: 0", "owner: 5"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(PageFlags::all().bits() < 1 << 30, "the two bits at the top name the zone");
}
