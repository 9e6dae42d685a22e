//! Pools of objects: handles, chunks that come and go, and what a stale handle leads to.

use core::cell::Cell;

use std::vec::Vec;

use proptest::prelude::*;

use super::{Handle, LINES, Pool, Window};
use crate::base::sync::{AtomicU32, Ordering};
use crate::base::units::Pfn;
use crate::page::memmap::MemMap;
use crate::page::{Page, PageRef};
use crate::tests::{Memory, TestCpu, cases, descriptors};

/// Frames for pools, and their descriptors.
pub(crate) struct Grounds {
    memory: Memory,
    pages: Vec<Page>,
    /// Frames that have not been used yet.
    fresh: Cell<u32>,
}

impl Grounds {
    /// So many frames.
    pub(crate) fn new(frames: u32) -> Self {
        let pages = descriptors(frames, |_| 0);
        for page in &pages {
            page.unreserve();
        }
        Self { memory: Memory::new(frames as usize), pages, fresh: Cell::new(0) }
    }

    fn map(&self) -> MemMap<'_> {
        MemMap::new(&self.pages, Pfn(0x100))
    }

    pub(crate) fn window(&self) -> Window<'_> {
        Window::new(self.memory.first())
    }

    /// A pool without chunks.
    pub(crate) fn pool<T, const KIND: u32>(&self) -> Pool<'_, TestCpu, T, KIND> {
        Pool::new(self.map(), self.window())
    }

    /// A free frame with one reference.
    fn frame(&self) -> (Pfn, PageRef<'_>) {
        let at = self.pages.iter().position(|page| page.refs() == 0).expect("a free frame");
        self.fresh.set(self.fresh.get().max(at as u32 + 1));
        self.pages[at].own();
        (Pfn(0x100 + at as u32), PageRef::adopt(&self.pages[at]))
    }

    /// Frees a frame.
    pub(crate) fn take_back(&self, surplus: Option<PageRef<'_>>) {
        if let Some(page) = surplus {
            let page = page.leak();
            if page.put() {
                assert!(page.prepare_free(), "{page:?} is still marked");
            }
        }
    }

    fn frames_used(&self) -> usize {
        self.pages.iter().filter(|page| page.refs() > 0).count()
    }
}

/// An object, for which the pool may need a frame.
pub(crate) fn grow<'m, T, const KIND: u32>(
    grounds: &'m Grounds,
    pool: &Pool<'m, TestCpu, T, KIND>,
    blank: impl Fn() -> T,
) -> &'m T {
    loop {
        if let Some((_, object)) = pool.take() {
            return object;
        }
        let (pfn, page) = grounds.frame();
        grounds.take_back(pool.add_chunk(pfn, page, &blank));
    }
}

type Numbers<'m> = Pool<'m, TestCpu, AtomicU32, 7>;

fn number() -> AtomicU32 {
    AtomicU32::new(0)
}

proptest! {
    #![proptest_config(cases(64))]

    /// BUDY-12: an object has one owner at a time and keeps its handle; there are as many frames as
    /// the objects need, and one more at most.
    #[test]
    fn objects_are_unique_and_frames_follow_their_number(
        ops in prop::collection::vec(any::<Option<prop::sample::Index>>(), 0..400),
    ) {
        let grounds = Grounds::new(12);
        let pool: Numbers<'_> = grounds.pool();
        let mut taken: Vec<Handle<7>> = Vec::new();
        for op in ops {
            match op {
                None => {
                    let object = grow(&grounds, &pool, number);
                    let handle = pool.handle_of(object);
                    prop_assert!(!taken.contains(&handle));
                    prop_assert!(core::ptr::eq(object, pool.at(handle)));
                    object.store(handle.raw(), Ordering::Relaxed);
                    taken.push(handle);
                }
                Some(index) if !taken.is_empty() => {
                    let handle = taken.swap_remove(index.index(taken.len()));
                    grounds.take_back(pool.give(handle));
                }
                Some(_) => {}
            }
            for handle in &taken {
                prop_assert_eq!(pool.at(*handle).load(Ordering::Relaxed), handle.raw());
            }
            prop_assert_eq!(pool.usage(), (taken.len() as u32, grounds.frames_used() as u32));
        }
        taken.drain(..).for_each(|handle| grounds.take_back(pool.give(handle)));
        prop_assert!(grounds.frames_used() <= 1);
        grounds.take_back(pool.trim());
        prop_assert_eq!(grounds.frames_used(), 0);
    }
}

/// BUDY-12: taking and returning an object at a chunk boundary does not allocate a frame each time.
#[test]
fn one_empty_chunk_is_kept() {
    let grounds = Grounds::new(2);
    let pool: Numbers<'_> = grounds.pool();
    let first: Vec<Handle<7>> =
        (0..Numbers::CAPACITY).map(|_| pool.handle_of(grow(&grounds, &pool, number))).collect();
    let one_more = pool.handle_of(grow(&grounds, &pool, number));
    assert_eq!(grounds.frames_used(), 2);
    assert!(pool.give(one_more).is_none());
    let again = pool.take().map(|(handle, _)| pool.frame_of(handle));
    assert_eq!(again, Some(pool.frame_of(one_more)));
    assert!(pool.give(one_more).is_none());
    let surplus = first.iter().filter_map(|handle| pool.give(*handle)).collect::<Vec<_>>();
    assert_eq!(surplus.len(), 1);
    surplus.into_iter().for_each(|page| grounds.take_back(Some(page)));
    assert_eq!((grounds.frames_used(), pool.usage()), (1, (0, 1)));
}

/// BUDY-12: if two tasks both bring a frame for one object, one frame is returned.
#[test]
fn a_chunk_that_came_second_is_not_kept() {
    let grounds = Grounds::new(2);
    let pool: Numbers<'_> = grounds.pool();
    let frames = [grounds.frame(), grounds.frame()];
    for (pfn, page) in frames {
        grounds.take_back(pool.add_chunk(pfn, page, number));
    }
    assert_eq!((grounds.frames_used(), pool.usage()), (1, (0, 1)));
    assert!(pool.take().is_some());
}

/// A handle that outlived its object: the frame is held only while it is a chunk of this pool.
#[test]
fn a_stale_handle_is_held_only_while_its_frame_is_a_chunk() {
    let grounds = Grounds::new(2);
    let pool: Numbers<'_> = grounds.pool();
    let other: Pool<'_, TestCpu, AtomicU32, 8> = grounds.pool();
    let outside = Handle::new(LINES * 2 + 1).expect("not 0");
    assert!(matches!(pool.hold(outside), Err(None)), "outside the map");
    let handle = pool.handle_of(grow(&grounds, &pool, number));
    assert!(pool.give(handle).is_none());
    // The spare chunk: another object may lie there, but an object does.
    let Ok(held) = pool.hold(handle) else { panic!("a chunk is held") };
    match other.hold(Handle::new(handle.raw()).expect("not 0")) {
        Err(Some(page)) => grounds.take_back(Some(page)),
        _ => panic!("it is a chunk of another pool"),
    }
    // The pool drops the frame; a holder of the frame still finds an object.
    grounds.take_back(pool.trim());
    assert_eq!(grounds.frames_used(), 1);
    match pool.hold(handle) {
        Err(Some(page)) => grounds.take_back(Some(page)),
        _ => panic!("it is no longer a chunk"),
    }
    grounds.take_back(Some(held));
    assert_eq!(grounds.frames_used(), 0);
    assert!(matches!(pool.hold(handle), Err(None)), "the frame is free");
}

/// Takes an object and returns it, `rounds` times.
fn take_often(pool: &Numbers<'_>, rounds: u32) {
    for _ in 0..rounds {
        let Some((handle, value)) = pool.take() else { continue };
        assert_eq!(value.fetch_add(1, Ordering::Relaxed), 0, "the object of {handle:?} is shared");
        std::thread::yield_now();
        value.fetch_sub(1, Ordering::Relaxed);
        assert!(pool.give(handle).is_none(), "there is one chunk only");
    }
}

#[test]
fn takers_on_several_cpus_never_share_an_object() {
    let grounds = Grounds::new(1);
    let pool: Numbers<'_> = grounds.pool();
    let kept: Vec<Handle<7>> =
        (2..Numbers::CAPACITY).map(|_| pool.handle_of(grow(&grounds, &pool, number))).collect();
    let rounds = if cfg!(miri) { 20 } else { 2000 };
    let pool = &pool;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || take_often(pool, rounds));
        }
    });
    assert_eq!(pool.usage(), (kept.len() as u32, 1));
}
