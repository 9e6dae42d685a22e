//! The primitives under loom: every execution of a few threads, with every value that the
//! memory model lets a load return. Protocols that need a whole machine are tested in
//! `tests/models`.
//!
//! Each model is named in `docs/concurrency.md`, with the protocol that depends on it.

use std::boxed::Box;

use ::loom::cell::UnsafeCell;
use ::loom::sync::{Arc, Condvar, Mutex};
use ::loom::thread;

use crate::base::sync::{AtomicBool, AtomicU32, Lock, Ordering, WordLock};
use crate::base::units::{Pfn, SpaceId};
use crate::base::wait::{CallWord, SleepLock};
use crate::env::{Cpu, DeviceId, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use crate::file::list::{Place, is_still_due};
use crate::page::{Page, PageFlags};
use crate::swap::map::{Held, SwapDevice, words_for};

/// A CPU that yields to the other threads while it waits for a lock.
struct LoomCpu;

impl Cpu for LoomCpu {
    fn preempt_disable() {}
    fn preempt_enable() {}
    fn current() -> usize {
        0
    }
    fn relax() {
        thread::yield_now();
    }
}

/// Tasks as a kernel guarantees them: a wakeup after the start of a wait is not lost.
struct LoomTasks {
    wakes: Mutex<u32>,
    changed: Condvar,
}

impl LoomTasks {
    fn new() -> Self {
        Self { wakes: Mutex::new(0), changed: Condvar::new() }
    }
}

impl Tasks for LoomTasks {
    fn flags(&self) -> TaskFlags {
        TaskFlags::empty()
    }

    fn set_memalloc(&self, _on: bool) -> bool {
        false
    }

    fn wait_until(&self, _: WaitKey, _: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        loop {
            let seen = *self.wakes.lock().expect("no thread panics with it");
            if ready() {
                return WaitEnd::Ready;
            }
            let mut wakes = self.wakes.lock().expect("no thread panics with it");
            while *wakes == seen {
                wakes = self.changed.wait(wakes).expect("no thread panics with it");
            }
        }
    }

    fn wake(&self, _key: WaitKey) {
        *self.wakes.lock().expect("no thread panics with it") += 1;
        self.changed.notify_all();
    }

    fn yield_now(&self) {
        thread::yield_now();
    }

    fn kill_for_memory(&self, _space: SpaceId) -> bool {
        false
    }
}

/// Something that only one holder may access at a time: loom fails the model otherwise.
struct Guarded(UnsafeCell<u32>);

#[allow(unsafe_code, reason = "whether two accesses may meet is what loom finds out")]
// SAFETY: loom runs one thread at a time and reports accesses that nothing orders.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    #[allow(unsafe_code, reason = "whether two accesses may meet is what loom finds out")]
    fn add(&self) {
        // SAFETY: as above; no two accesses overlap, since none yields.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }

    #[allow(unsafe_code, reason = "whether two accesses may meet is what loom finds out")]
    fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value })
    }
}

/// A page with one reference, all of whose atomics have been used once.
fn page() -> Page {
    let page = Page::reserved(0, true);
    page.unreserve();
    page.own();
    let _ = std::format!("{page:?}");
    page
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(model);
}

/// PAGE-01: the next holder of the page lock sees what the previous one did.
#[test]
fn the_page_lock_orders_its_holders() {
    check(|| {
        let shared = Arc::new((page(), Guarded::new()));
        let add = |shared: &(Page, Guarded)| {
            let lock = loop {
                match shared.0.try_lock() {
                    Some(lock) => break lock,
                    None => thread::yield_now(),
                }
            };
            shared.1.add();
            lock.unlock();
        };
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || add(&other));
        add(&shared);
        thread.join().expect("it ends");
        assert_eq!(shared.1.get(), 2);
    });
}

/// PAGE-01: a task that announces itself and then tests is woken, or need not be.
#[test]
fn an_unlock_wakes_whoever_announced_itself() {
    check(|| {
        let shared = Arc::new((page(), LoomTasks::new(), Guarded::new()));
        let lock = shared.0.try_lock().expect("it is free");
        let other = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let (page, tasks, data) = &*other;
            let mut got = None;
            let end = tasks.wait_until(WaitKey(0), WaitMode::UNTIL_READY, &mut || {
                page.announce_waiter();
                got = page.try_lock();
                got.is_some()
            });
            assert_eq!(end, WaitEnd::Ready);
            data.add();
            got.expect("it was waited for").unlock();
        });
        shared.2.add();
        if lock.unlock().is_some() {
            shared.1.wake(WaitKey(0));
        }
        waiter.join().expect("it ends");
        assert_eq!(shared.2.get(), 2);
    });
}

/// PAGE-01: the end of write-back wakes sleepers too, and orders the device's reads before it.
#[test]
fn the_end_of_writeback_wakes_whoever_announced_itself() {
    check(|| {
        let shared = Arc::new((page(), LoomTasks::new()));
        shared.0.begin_writeback(true);
        let other = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let (page, tasks) = &*other;
            let end = tasks.wait_until(WaitKey(0), WaitMode::UNTIL_READY, &mut || {
                page.announce_waiter();
                !page.has(PageFlags::WRITEBACK)
            });
            assert_eq!(end, WaitEnd::Ready);
        });
        shared.0.end_writeback();
        if shared.0.take_waiters() {
            shared.1.wake(WaitKey(0));
        }
        waiter.join().expect("it ends");
    });
}

/// SPL-16: the owner of a frozen page has it exclusively, sees what the former holders did, and a
/// task that gets a reference after the thaw sees what the owner did.
#[test]
fn freezing_excludes_whoever_gets_a_reference() {
    check(|| {
        let shared = Arc::new((page(), Guarded::new()));
        let other = Arc::clone(&shared);
        let getter = thread::spawn(move || {
            let (page, data) = &*other;
            if let Some(held) = page.get_unless_zero() {
                let _ = data.get();
                assert!(!held.leak().put(), "the other thread has one reference");
            }
        });
        let (page, data) = &*shared;
        if page.freeze(1) {
            data.add();
            page.thaw(1);
        }
        getter.join().expect("it ends");
        assert_eq!(page.refs(), 1);
    });
}

/// The last one to put its reference sees what all the others did.
#[test]
fn the_last_reference_sees_what_the_others_did() {
    check(|| {
        let shared = Arc::new((page(), Guarded::new(), Guarded::new()));
        shared.0.get().leak();
        let end = |shared: &(Page, Guarded, Guarded)| {
            if shared.0.put() {
                shared.1.add();
                shared.2.add();
            }
        };
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            other.1.add();
            end(&other);
        });
        shared.2.add();
        end(&shared);
        thread.join().expect("it ends");
        assert_eq!((shared.1.get(), shared.2.get()), (2, 2));
    });
}

/// A spin lock's data is exclusive to its holder.
#[test]
fn a_spin_lock_orders_its_holders() {
    check(|| {
        let lock = Arc::new(Lock::<LoomCpu, u32>::new(0));
        drop(lock.lock());
        let other = Arc::clone(&lock);
        let thread = thread::spawn(move || *other.lock() += 1);
        *lock.lock() += 1;
        thread.join().expect("it ends");
        assert_eq!(*lock.lock(), 2);
    });
}

/// BUDY-07: a holder of a lock that is only tried sees what the last holder did, and has it
/// exclusively.
#[test]
fn a_tried_lock_orders_its_holders() {
    check(|| {
        let shared = Arc::new(WordLock::new(Guarded::new()));
        assert_eq!(shared.number(), 0);
        let add = |shared: &WordLock<Guarded>| {
            let held = shared.try_hold();
            held.map_or(0, |mut held| {
                held.add();
                held.number += 1;
                1
            })
        };
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || add(&other));
        let added = add(&shared) + thread.join().expect("it ends");
        assert!(added > 0, "the first of them got it");
        let held = shared.try_hold().expect("it is free");
        assert_eq!((u64::from(held.get()), held.number), (added, added));
    });
}

/// The area lock: a sleeper that announces itself, and a holder that checks for sleepers, never
/// miss each other.
#[test]
fn a_sleeper_for_the_area_lock_is_woken() {
    check(|| {
        let shared = Arc::new((SleepLock::new(0), LoomTasks::new()));
        drop(shared.0.lock(&shared.1));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || *other.0.lock(&other.1) += 1);
        *shared.0.lock(&shared.1) += 1;
        thread.join().expect("it ends");
        assert_eq!(*shared.0.lock(&shared.1), 2);
    });
}

/// The area lock, shared: the last shared holder to unlock wakes the writer, and a reader sees all
/// or nothing of what the writer changed.
#[test]
fn the_last_looker_wakes_the_changer() {
    check(|| {
        let shared = Arc::new((SleepLock::new(0), LoomTasks::new()));
        drop(shared.0.lock(&shared.1));
        drop(shared.0.lock_shared(&shared.1));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || *other.0.lock(&other.1) += 1);
        let seen = *shared.0.lock_shared(&shared.1);
        assert!(seen <= 1);
        thread.join().expect("it ends");
        assert_eq!(*shared.0.lock_shared(&shared.1), 1);
    });
}

/// CTRL-01: kswapd gets each caller's request, and sees what the caller saw, although only the
/// caller that found no pending request wakes it.
#[test]
fn a_call_is_taken_with_what_its_caller_saw() {
    check(|| {
        let shared =
            Arc::new((CallWord::new(), LoomTasks::new(), [Guarded::new(), Guarded::new()]));
        shared.0.take();
        let call = |shared: &(CallWord, LoomTasks, [Guarded; 2]), who: usize| {
            shared.2[who].add();
            if shared.0.raise(|word| word | 1 << who) {
                shared.1.wake(WaitKey(0));
            }
        };
        let (other, server) = (Arc::clone(&shared), Arc::clone(&shared));
        let caller = thread::spawn(move || call(&other, 0));
        let serve = move || {
            let (word, tasks, seen) = &*server;
            let mut served = 0;
            while served != 0b11 {
                let mut taken = 0;
                let _end = tasks.wait_until(WaitKey(0), WaitMode::UNTIL_READY, &mut || {
                    taken = word.take();
                    taken != 0
                });
                (0..2).filter(|who| taken & 1 << who != 0).for_each(|who| seen[who].add());
                served |= taken;
            }
        };
        let server = thread::spawn(serve);
        call(&shared, 1);
        caller.join().expect("it ends");
        server.join().expect("it ends");
    });
}

/// SWAP-04: a task that finds a page by its slot sees it initialised.
#[test]
fn a_slot_shows_its_page_complete() {
    check(|| {
        let memory = Box::leak(Box::new_uninit_slice(words_for(2)));
        let device =
            SwapDevice::<LoomCpu>::new(DeviceId(0), 0, 2, memory, core::iter::empty::<u32>());
        let slot = device.allocate(Pfn(1), 0, 0).expect("a free slot");
        assert!(device.add_use(slot));
        device.uncache(slot, Pfn(1), None, || {});
        let shared = Arc::new((page(), device));
        let other = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let (page, device) = &*other;
            if device.state(slot).held == Held::Page(Pfn(7)) {
                assert!(page.has(PageFlags::SWAPCACHE));
                assert_eq!(page.private(), slot);
            }
        });
        shared.0.enter_swap_cache(slot);
        shared.1.cache(slot, Pfn(7)).expect("a stored slot");
        reader.join().expect("it ends");
    });
}

/// DIRT-01: the flusher, which takes a file off the list of dirty files, and a task that dirties a page
/// of it: one of them finds that the file must be listed.
#[test]
fn a_dirty_file_is_listed() {
    check(|| {
        let shared = Arc::new((Place::none(), AtomicU32::new(0)));
        shared.0.say_listed(true);
        shared.1.load(Ordering::Relaxed);
        let other = Arc::clone(&shared);
        let flusher = thread::spawn(move || {
            other.0.say_listed(false);
            is_still_due(&other.1)
        });
        shared.1.fetch_add(1, Ordering::Relaxed);
        let lists = !shared.0.is_listed();
        let keeps = flusher.join().expect("it ends");
        assert!(lists || keeps, "nobody lists it");
    });
}

/// The models can fail: without ordering, loom finds an execution in which the store is not seen.
#[test]
#[should_panic(expected = "unseen")]
fn a_relaxed_flag_orders_nothing() {
    check(|| {
        let shared = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
        shared.0.load(Ordering::Relaxed);
        shared.1.load(Ordering::Relaxed);
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            other.0.store(true, Ordering::Relaxed);
            other.1.store(true, Ordering::Relaxed);
        });
        if shared.1.load(Ordering::Relaxed) {
            assert!(shared.0.load(Ordering::Relaxed), "unseen");
        }
        thread.join().expect("it ends");
    });
}
