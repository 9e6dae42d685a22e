//! Isolating and putting back: a lruvec against plain queues.

use std::collections::VecDeque;
use std::vec::Vec;

use core::ops::Range;

use proptest::prelude::*;

use super::super::{LruSet, Lruvec, Relocation};
use super::{IsolateMode, IsolatedPages, Taken};
use crate::page::memmap::MemMap;
use crate::page::{IsolatedPage, ListChoice, LruList, Page, PageFlags, PageType};
use crate::tests::{TestCpu, cases, descriptors, nth, owned, panic_of, place};
use crate::zone::ZoneId;

/// Pages that the lists share.
const PAGES: u32 = 24;

const ANON: LruList = LruList::InactiveAnon;
const ANY: IsolateMode = IsolateMode::empty();

/// The lists of a zone, and the pages in it.
#[derive(Clone, Copy)]
struct World<'a, 'm> {
    vec: &'a Lruvec<'m, TestCpu>,
    map: MemMap<'m>,
}

fn with_world(body: impl for<'a, 'm> FnOnce(World<'a, 'm>)) {
    let pages = descriptors(PAGES, |_| 1);
    let map = owned(&pages);
    let lru = LruSet::new(map);
    body(World { vec: lru.in_zone(ZoneId::Dma32), map });
}

impl<'m> World<'_, 'm> {
    fn page(&self, number: u32) -> &'m Page {
        nth(self.map, number)
    }

    fn number(&self, page: &Page) -> u32 {
        place(self.map, page)
    }

    /// The numbers of a list's pages, head first.
    fn on(&self, list: LruList) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.vec.for_each(list, |page| numbers.push(self.number(page)));
        numbers
    }

    /// Lists new anonymous pages; the first one ends up at the tail.
    fn list(&self, numbers: Range<u32>) {
        let pages = numbers.map(|number| self.page(number));
        self.vec.add_new(pages.inspect(|page| page.set_swapbacked()));
    }

    fn isolate(&self, list: LruList, want: u32, mode: IsolateMode) -> Taken<'m> {
        let mut taken = Taken::nothing();
        self.vec.isolate(list, want, mode, &mut taken);
        taken
    }

    /// Puts back what was taken and returns the numbers of the freed pages.
    fn putback(&self, mut taken: Taken<'m>) -> Vec<u32> {
        let mut freed = Vec::new();
        self.vec.putback(&mut taken.pages, PageType::Anon, taken.taken, |page| {
            freed.push(self.number(page));
        });
        freed
    }

    /// Takes the tokens out, looks at them, and puts them in again.
    fn numbers(&self, taken: &mut Taken<'m>) -> Vec<u32> {
        let mut again = IsolatedPages::new();
        let mut numbers = Vec::new();
        while let Some(token) = taken.pages.pop() {
            numbers.push(self.number(token.page()));
            again.push(token);
        }
        taken.pages = again;
        numbers
    }
}

/// LRU-05: from the tail, at most as many as requested, each with a reference and counted as
/// isolated until it is put back.
#[test]
fn isolation_takes_the_asked_count_from_the_tail() {
    with_world(|world| {
        world.list(0..10);
        let mut taken = world.isolate(ANON, 4, ANY);
        assert_eq!(world.numbers(&mut taken), [0, 1, 2, 3]);
        assert_eq!((taken.scanned, taken.taken, taken.pages.len()), (4, 4, 4));
        assert_eq!((world.vec.size(ANON), world.vec.isolated(PageType::Anon)), (6, 4));
        assert_eq!(world.vec.isolated(PageType::File), 0);
        for number in 0..4 {
            let page = world.page(number);
            assert_eq!(page.refs(), 2);
            assert!(page.has(PageFlags::ISOLATED) && !page.has(PageFlags::LRU));
        }
        assert_eq!(world.putback(taken), []);
        assert_eq!((world.vec.size(ANON), world.vec.isolated(PageType::Anon)), (10, 0));
        assert_eq!(world.on(ANON), [3, 2, 1, 0, 9, 8, 7, 6, 5, 4]);
        assert!((0..10).all(|number| world.page(number).refs() == 1));
    });
}

/// LRU-05: from a list shorter than requested, all pages are taken.
#[test]
fn isolation_ends_with_the_list() {
    with_world(|world| {
        world.list(0..3);
        let taken = world.isolate(ANON, 32, ANY);
        assert_eq!((taken.scanned, taken.taken), (3, 3));
        let nothing = world.isolate(ANON, 32, ANY);
        assert_eq!((nothing.scanned, nothing.taken), (0, 0));
        world.putback(taken);
    });
}

/// LRU-05: without `may_unmap` mapped pages stay, without `may_writepage` dirty ones and
/// those under write-back; they count as scanned and go to the head.
#[test]
fn pages_that_the_mode_leaves_are_scanned_and_stay() {
    let unmapped = IsolateMode::UNMAPPED;
    let clean = IsolateMode::CLEAN;
    let table = [
        (ANY, Vec::from([0, 1, 2, 3])),
        (unmapped, Vec::from([0, 2, 3])),
        (clean, Vec::from([0, 1])),
        (unmapped | clean, Vec::from([0])),
    ];
    for (mode, want) in table {
        with_world(|world| {
            world.list(0..6);
            world.page(1).add_mapping().expect("room for a mapping");
            world.page(2).set_dirty();
            world.page(3).begin_writeback(true);
            let mut taken = world.isolate(ANON, 4, mode);
            assert_eq!(world.numbers(&mut taken), want, "{mode:?}");
            assert_eq!((taken.scanned, taken.taken as usize), (4, want.len()));
            let left: Vec<u32> = (0..4).rev().filter(|number| !want.contains(number)).collect();
            assert_eq!(world.on(ANON), [left, Vec::from([5, 4])].concat());
            world.putback(taken);
        });
    }
}

/// LRU-05: a list of nothing but unwanted pages is scanned once, not endlessly.
#[test]
fn each_page_is_looked_at_once() {
    with_world(|world| {
        world.list(0..5);
        assert!((0..5).all(|number| world.page(number).set_dirty()));
        let taken = world.isolate(ANON, 32, IsolateMode::CLEAN);
        assert_eq!((taken.scanned, taken.taken, world.vec.size(ANON)), (5, 0, 5));
        assert_eq!(world.on(ANON), [4, 3, 2, 1, 0]);
        assert_eq!(world.vec.isolated(PageType::Anon), 0);
    });
}

/// LRU-05: a page that lost its last reference belongs to the task that put it.
#[test]
fn a_page_about_to_be_freed_is_not_isolated() {
    with_world(|world| {
        world.list(0..3);
        assert!(world.page(1).put());
        let mut taken = world.isolate(ANON, 3, ANY);
        assert_eq!(world.numbers(&mut taken), [0, 2]);
        assert_eq!((taken.scanned, taken.taken), (3, 2));
        world.vec.remove_freed(world.page(1));
        assert!(!world.page(1).is_linked() && world.page(1).flags() == PageFlags::SWAPBACKED);
        // Once more does nothing: it is on no list.
        world.vec.remove_freed(world.page(1));
        assert_eq!(world.vec.size(ANON), 0);
        world.putback(taken);
    });
}

/// LRU-06: each page goes to the head of the list that its flags name now; what became
/// active moves the workingset's clock.
#[test]
fn pages_return_to_the_head_of_the_list_that_their_flags_name() {
    with_world(|world| {
        world.list(0..6);
        let taken = world.isolate(ANON, 5, ANY);
        world.page(1).choose_list(ListChoice::Active);
        world.page(2).set_mlocked(true);
        world.page(3).choose_list(ListChoice::Active);
        let before = world.vec.clock.load(crate::base::sync::Ordering::Relaxed);
        assert_eq!(world.putback(taken), []);
        assert_eq!(world.on(ANON), [4, 0, 5]);
        assert_eq!(world.on(LruList::ActiveAnon), [3, 1]);
        assert_eq!(world.on(LruList::Unevictable), [2]);
        assert_eq!(LruList::ALL.map(|list| world.vec.size(list)), [3, 2, 0, 0, 1]);
        assert_eq!(world.vec.clock.load(crate::base::sync::Ordering::Relaxed) - before, 2);
    });
}

/// LRU-06: a page whose last reference was dropped in the meantime is handed to the caller, on no
/// list and ready to be freed.
#[test]
fn a_page_that_nobody_holds_any_more_is_handed_over() {
    with_world(|world| {
        world.list(0..4);
        let taken = world.isolate(ANON, 4, ANY);
        for (number, active) in [(1, false), (2, true)] {
            world.page(number).choose_list(ListChoice::of(active, false));
            assert!(!world.page(number).put(), "the isolation holds the last reference");
        }
        assert_eq!(world.putback(taken), [1, 2]);
        assert_eq!(world.on(ANON), [3, 0]);
        assert_eq!(LruList::ALL.map(|list| world.vec.size(list)), [2, 0, 0, 0, 0]);
        assert_eq!(world.vec.isolated(PageType::Anon), 0);
        for number in [1, 2] {
            assert_eq!(world.page(number).refs(), 0);
            assert!(world.page(number).prepare_free(), "{:?}", world.page(number));
        }
    });
}

/// LRU-05: one page by name, whichever list it is on.
#[test]
fn a_single_page_is_isolated_from_wherever_it_is_listed() {
    with_world(|world| {
        world.list(0..3);
        assert!(world.vec.relocate(world.page(1), Relocation::Activate));
        let token = world.vec.isolate_page(world.page(1)).expect("it is listed");
        assert_eq!((world.page(1).refs(), world.vec.isolated(PageType::Anon)), (2, 1));
        assert!(world.vec.isolate_page(world.page(1)).is_none(), "one token for a page");
        assert!(world.vec.isolate_page(world.page(9)).is_none(), "it is on no list");
        let mut pages = IsolatedPages::new();
        pages.push(token);
        world.vec.putback(&mut pages, PageType::Anon, 1, |_| panic!("it is still held"));
        assert_eq!(world.on(LruList::ActiveAnon), [1]);
        assert_eq!((world.page(1).refs(), world.vec.isolated(PageType::Anon)), (1, 0));
    });
}

/// SPL-18: isolated pages that are neither freed nor put back are noticed.
#[test]
fn forgotten_pages_are_noticed() {
    with_world(|world| {
        world.list(0..2);
        let taken = world.isolate(ANON, 2, ANY);
        assert_eq!(panic_of(|| drop(taken)), "2 isolated pages were forgotten");
    });
}

/// Everything that moves pages between lists.
#[derive(Clone, Copy, Debug)]
enum Op {
    Add { number: u32, anon: bool },
    Isolate { list: LruList, want: u32, mode: IsolateMode },
    IsolatePage(u32),
    Choose { which: prop::sample::Index, active: bool, unevictable: bool },
    PutBack,
    Relocate(u32, Relocation),
    SetDirty(u32, bool),
    Put(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let number = 0..PAGES;
    let relocation = prop::sample::select(
        &[
            Relocation::Activate,
            Relocation::Deactivate,
            Relocation::InactiveTail,
            Relocation::LazyFree,
            Relocation::Unevictable,
            Relocation::Rescue,
        ][..],
    );
    let isolation = (prop::sample::select(&LruList::EVICTABLE[..]), 0..8u32, 0..4u8);
    prop_oneof![
        4 => (number.clone(), any::<bool>()).prop_map(|(number, anon)| Op::Add { number, anon }),
        3 => isolation.prop_map(|(list, want, mode)| {
            Op::Isolate { list, want, mode: IsolateMode::from_bits_truncate(mode) }
        }),
        1 => number.clone().prop_map(Op::IsolatePage),
        2 => any::<(prop::sample::Index, bool, bool)>()
            .prop_map(|(which, active, unevictable)| Op::Choose { which, active, unevictable }),
        2 => Just(Op::PutBack),
        3 => (number.clone(), relocation).prop_map(|(number, to)| Op::Relocate(number, to)),
        2 => (number.clone(), any::<bool>()).prop_map(|(n, dirty)| Op::SetDirty(n, dirty)),
        2 => number.prop_map(Op::Put),
    ]
}

/// The lists, what should be on each, and the tokens.
struct Driver<'a, 'm> {
    world: World<'a, 'm>,
    model: [VecDeque<u32>; LruList::COUNT],
    tokens: VecDeque<IsolatedPage<'m>>,
}

impl<'m> Driver<'_, 'm> {
    fn listed(&self, number: u32) -> Option<LruList> {
        LruList::ALL.into_iter().find(|list| self.model[*list as usize].contains(&number))
    }

    fn is_isolated(&self, number: u32) -> bool {
        self.tokens.iter().any(|token| self.world.number(token.page()) == number)
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Add { number, anon } => self.add(number, anon),
            Op::Isolate { list, want, mode } => self.isolate(list, want, mode),
            Op::IsolatePage(number) => self.isolate_page(number),
            Op::Choose { which, active, unevictable } if !self.tokens.is_empty() => {
                let token = &self.tokens[which.index(self.tokens.len())];
                token.page().choose_list(ListChoice::of(active, unevictable));
                token.page().set_mlocked(unevictable);
            }
            Op::Choose { .. } => {}
            Op::PutBack => self.put_back(),
            Op::Relocate(number, to) => self.relocate(number, to),
            Op::SetDirty(number, dirty) => {
                let page = self.world.page(number);
                let changed = if dirty { page.set_dirty() } else { page.clear_dirty() };
                assert!(!changed || page.has(PageFlags::DIRTY) == dirty);
            }
            Op::Put(number) => self.put(number),
        }
    }

    fn add(&mut self, number: u32, anon: bool) {
        let page = self.world.page(number);
        if page.refs() != 1 || self.listed(number).is_some() || self.is_isolated(number) {
            return;
        }
        page.wipe();
        if anon {
            page.set_swapbacked();
        }
        self.world.vec.add_new([page].into_iter());
        let list = if anon { LruList::InactiveAnon } else { LruList::InactiveFile };
        self.model[list as usize].push_front(number);
    }

    fn isolate(&mut self, list: LruList, want: u32, mode: IsolateMode) {
        let mut taken = self.world.isolate(list, want, mode);
        let queue = &mut self.model[list as usize];
        let looks = queue.len().min(want as usize);
        assert_eq!((taken.scanned as usize, taken.taken), (looks, taken.pages.len() as u32));
        for _ in 0..looks {
            let number = queue.pop_back().expect("a page for each look");
            if mode.contains(IsolateMode::CLEAN) && self.world.page(number).has(PageFlags::DIRTY) {
                queue.push_front(number);
                continue;
            }
            let token = taken.pages.pop().expect("a token for each page that is wanted");
            assert_eq!(self.world.number(token.page()), number);
            self.tokens.push_back(token);
        }
        assert!(taken.pages.is_empty());
    }

    fn isolate_page(&mut self, number: u32) {
        let from = self.listed(number);
        let got = self.world.vec.isolate_page(self.world.page(number));
        assert_eq!(got.is_some(), from.is_some());
        if let (Some(list), Some(token)) = (from, got) {
            self.model[list as usize].retain(|n| *n != number);
            self.tokens.push_back(token);
        }
    }

    /// Puts all tokens back, those of each type in one go.
    fn put_back(&mut self) {
        for kind in PageType::ALL {
            let mut pages = IsolatedPages::new();
            let mut gone = Vec::new();
            for _ in 0..self.tokens.len() {
                let Some(token) = self.tokens.pop_front() else { break };
                let page = token.page();
                if page.flags().page_type() != kind {
                    self.tokens.push_back(token);
                    continue;
                }
                if page.refs() == 1 {
                    gone.push(self.world.number(page));
                } else {
                    let list = page.lru_list() as usize;
                    self.model[list].push_front(self.world.number(page));
                }
                pages.push(token);
            }
            let (taken, mut freed) = (pages.len() as u32, Vec::new());
            let vec = self.world.vec;
            vec.putback(&mut pages, kind, taken, |page| freed.push(self.world.number(page)));
            assert_eq!(freed, gone);
            freed.into_iter().for_each(|number| self.reuse(number));
        }
    }

    fn relocate(&mut self, number: u32, to: Relocation) {
        let page = self.world.page(number);
        let from = self.listed(number);
        let was = page.flags();
        let moves = from.is_some_and(|list| match to {
            Relocation::Activate => list != LruList::Unevictable && !list.is_active(),
            Relocation::Deactivate => list.is_active(),
            Relocation::InactiveTail => {
                list != LruList::Unevictable && !was.contains(PageFlags::DIRTY)
            }
            Relocation::LazyFree => list.page_type() == Some(PageType::Anon),
            Relocation::Unevictable => list != LruList::Unevictable,
            Relocation::Rescue => list == LruList::Unevictable,
        });
        if moves && matches!(to, Relocation::Unevictable | Relocation::Rescue) {
            page.set_mlocked(to == Relocation::Unevictable);
        }
        assert_eq!(self.world.vec.relocate(page, to), moves, "{to:?} of {was:?}");
        let Some(from) = from.filter(|_| moves) else { return };
        self.model[from as usize].retain(|n| *n != number);
        let kind = was.page_type();
        match to {
            Relocation::Activate => self.model[kind.active() as usize].push_front(number),
            Relocation::Unevictable => {
                self.model[LruList::Unevictable as usize].push_front(number);
            }
            Relocation::InactiveTail => self.model[kind.inactive() as usize].push_back(number),
            Relocation::LazyFree => {
                self.model[LruList::InactiveFile as usize].push_front(number);
            }
            Relocation::Deactivate | Relocation::Rescue => {
                self.model[kind.inactive() as usize].push_front(number);
            }
        }
    }

    /// The owner drops its page: it leaves its list, unless an isolation still holds it.
    fn put(&mut self, number: u32) {
        let page = self.world.page(number);
        if page.refs() == 2 || page.refs() == 1 && !self.is_isolated(number) {
            let last = page.put();
            assert_eq!(last, !self.is_isolated(number));
            if last {
                self.world.vec.remove_freed(page);
                self.model.iter_mut().for_each(|queue| queue.retain(|n| *n != number));
                self.reuse(number);
            }
        }
    }

    fn reuse(&self, number: u32) {
        let page = self.world.page(number);
        assert!(page.prepare_free(), "{page:?}");
        page.own();
    }

    fn check(&self) {
        let vec = self.world.vec;
        for list in LruList::ALL {
            let on = self.world.on(list);
            assert!(on.iter().eq(&self.model[list as usize]), "{list:?}: {on:?}");
            assert_eq!(vec.size(list) as usize, on.len());
            assert!(on.iter().all(|number| self.world.page(*number).lru_list() == list));
        }
        for kind in PageType::ALL {
            let of_kind = |token: &&IsolatedPage<'_>| token.page().flags().page_type() == kind;
            let count = self.tokens.iter().filter(of_kind).count();
            assert_eq!(vec.isolated(kind) as usize, count);
        }
        assert!((0..PAGES).all(|number| self.world.page(number).flags().fault().is_none()));
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// LRU-01, LRU-05, LRU-06, LRU-07: the lists, their sizes and the isolated counts are
    /// those of plain queues, whatever is moved where.
    #[test]
    fn lists_are_what_plain_queues_say(ops in prop::collection::vec(op(), 0..150)) {
        with_world(|world| {
            let model = Default::default();
            let mut driver = Driver { world, model, tokens: VecDeque::new() };
            for op in ops {
                driver.step(op);
                driver.check();
            }
            driver.put_back();
            driver.check();
        });
    }
}
