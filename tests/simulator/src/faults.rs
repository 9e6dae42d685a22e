//! Fault injection: what may go wrong on a machine, and what is promised when it does.
//!
//! # The contract
//!
//! | fault | what is promised |
//! | --- | --- |
//! | a write fails | the page stays in memory, dirty and active; `SwapWriteError` counts it; its slot is retired once it is unused: not handed out again until the next `swapon` of the device; nothing else is lost |
//! | a read fails that a fault waits for | the faulting task dies of a bus error, one task for one such read; `SwapReadError` counts it; other users of the slot read it themselves |
//! | a read fails that was ahead of a fault | no task dies: a task that needs the page reads it again |
//! | an allocation fails | a fault ends in `Killed`, any other operation in an error, and then nothing has changed that a program could notice; read-ahead just stops |
//! | a device is slow, limited, congested, or its queue is full | everything takes longer; no task hangs |
//! | requests complete in another order | nothing |
//! | there is no slot, or no device | pages stay; programs are killed when memory ends |
//! | a table (spaces, areas, families, links) is full | as for an allocation |
//! | memory ends | one program for one shortage is killed; the others continue |
//!
//! *Always*: every page that was not on the failed request keeps its bytes; when all
//! programs are gone, every frame, every slot that is not retired and every table entry is
//! free again; `validate()` holds at every quiet moment; every operation comes to an end.
//!
//! # Not promised
//!
//! * Which of several tasks dies, and that a program survives an allocation that fails.
//! * Bytes that a device changes without saying so, and a request that never completes.
//! * That retired slots come back: a device whose every write fails is soon used up.
//! * That an allocation which must not fail (`NOFAIL`) is asked about: it never fails here.
//!
//! # The injectors
//!
//! A disk lets every n-th read and every n-th write fail (`DiskConfig::fail_read`,
//! `DiskConfig::fail_write`), in the order of their completion, and leaves junk behind.
//! [`AllocInjector`] lets page allocations fail as [`When`] says. Both may be changed while
//! the machine runs, and both decide by numbers and the seed alone: a run is replayed with
//! its faults.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::env::AllocFaults;
use mm_reclaim::units::Order;

use crate::rng::Rng;

/// What a failed transfer leaves behind, in the frame or in the block.
pub(crate) const JUNK: u64 = 0xbad0_bad0_bad0_bad0;

/// Whether `number` is an n-th one; none is if `n` is 0.
pub(crate) const fn is_nth(number: u64, n: u64) -> bool {
    n != 0 && number.is_multiple_of(n)
}

/// Which of the calls, counted from 1, fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Each whose number is a multiple of this; none if it is 0.
    Every(u64),
    /// This one alone.
    Only(u64),
    /// One in this many, at random by the machine's seed.
    OneIn(u64),
}

impl When {
    /// Whether call `number` fails.
    pub const fn fails(self, number: u64, rng: &mut Rng) -> bool {
        match self {
            Self::Every(n) => is_nth(number, n),
            Self::Only(n) => number == n,
            Self::OneIn(n) => rng.below(n) == 0,
        }
    }
}

/// What an injector has seen and done since it was last armed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Injected {
    /// Calls that could have failed.
    pub calls: u64,
    /// Those that did.
    pub failures: u64,
}

/// Makes page allocations fail, while it is armed.
#[derive(Debug)]
pub struct AllocInjector {
    armed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    when: When,
    rng: Rng,
    done: Injected,
}

impl AllocInjector {
    /// An injector that is not armed.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State { when: When::Every(0), rng: Rng::new(seed), done: Injected::default() };
        Self { armed: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets allocations fail from now on; the next is number 1.
    pub fn arm(&self, when: When) {
        let mut state = self.state();
        state.when = when;
        state.done = Injected::default();
        self.armed.store(true, Relaxed);
    }

    /// Lets no allocation fail any more; what was done while it was armed.
    pub fn disarm(&self) -> Injected {
        self.armed.store(false, Relaxed);
        self.state().done
    }

    /// The injector as the crate sees it: nothing unless it is armed.
    pub(crate) fn as_env(&self) -> Option<&dyn AllocFaults> {
        self.armed.load(Relaxed).then_some(self as &dyn AllocFaults)
    }
}

impl AllocFaults for AllocInjector {
    fn should_fail(&self, _order: Order) -> bool {
        let state = &mut *self.state();
        state.done.calls += 1;
        let fails = state.when.fails(state.done.calls, &mut state.rng);
        state.done.failures += u64::from(fails);
        fails
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers below 13 that fail.
    fn failing(when: When) -> Vec<u64> {
        let mut rng = Rng::new(1);
        (1..13).filter(|n| when.fails(*n, &mut rng)).collect()
    }

    #[test]
    fn each_choice_fails_the_calls_that_it_names() {
        assert_eq!(failing(When::Every(4)), [4, 8, 12]);
        assert_eq!(failing(When::Every(0)), []);
        assert_eq!(failing(When::Only(5)), [5]);
        let some = failing(When::OneIn(3)).len();
        assert!((1..12).contains(&some), "{some} of 12");
    }

    #[test]
    fn an_injector_counts_while_it_is_armed() {
        let injector = AllocInjector::new(1);
        assert!(injector.as_env().is_none());
        for _ in 0..2 {
            injector.arm(When::Every(2));
            let env = injector.as_env().expect("armed");
            let fails = [(); 5].map(|()| env.should_fail(Order::ZERO));
            assert_eq!(fails, [false, true, false, true, false]);
            assert_eq!(injector.disarm(), Injected { calls: 5, failures: 2 });
        }
        assert!(injector.as_env().is_none());
    }
}
