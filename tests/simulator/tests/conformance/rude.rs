//! Environments that break one promise each, to prove that the checks find it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mm_reclaim::env::{Asid, Clock, Env, TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, Pfn, SpaceId};
use simulator::tables::SoftTables;
use simulator::{Sched, SimCpu, World};

/// How a wait goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The condition is evaluated again after it was true.
    AsksAgain,
    /// The timeout is checked last.
    TimeFirst,
    /// Whether the task was killed is checked last.
    KillFirst,
    /// If the task is killed already, or has no time left, the condition is not evaluated.
    NeverAsks,
    /// The condition is ignored: the wait always ends as ready.
    AlwaysReady,
    /// Wakeups between the check and the sleep are lost.
    LosesWakes,
    /// A lock that a wakeup takes is held around the condition.
    LocksAround,
    /// A kill ends every wait.
    KillsAll,
    /// A kill ends no wait.
    KillsNone,
}

/// The world with a fault.
#[derive(Clone, Copy)]
pub struct Rude<'w> {
    pub world: &'w World,
    pub fault: Fault,
    /// A condition is being evaluated.
    pub locked: &'w AtomicBool,
}

impl Rude<'_> {
    /// A wait that is right but for its last step.
    fn then(
        &self,
        (key, mode): (WaitKey, WaitMode),
        ready: &mut dyn FnMut() -> bool,
        last: impl FnOnce(WaitEnd, Nanos) -> WaitEnd,
    ) -> WaitEnd {
        let start = self.world.sched.now();
        let end = self.world.wait_until(key, mode, ready);
        last(end, Nanos(self.world.sched.now().0 - start.0))
    }

    fn is_dying(&self) -> bool {
        self.world.flags().contains(TaskFlags::DYING)
    }
}

impl Tasks for Rude<'_> {
    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        let what = (key, mode);
        match self.fault {
            Fault::AsksAgain => self.world.wait_until(key, mode, &mut || ready() && ready()),
            Fault::TimeFirst => self.then(what, ready, |end, took| {
                if mode.timeout.is_some_and(|time| took >= time) { WaitEnd::TimedOut } else { end }
            }),
            Fault::KillFirst => self.then(what, ready, |end, _| {
                if mode.killable && self.is_dying() { WaitEnd::Killed } else { end }
            }),
            Fault::NeverAsks if mode.killable && self.is_dying() => WaitEnd::Killed,
            Fault::NeverAsks if mode.timeout == Some(Nanos(0)) => WaitEnd::TimedOut,
            Fault::AlwaysReady => self.then(what, ready, |_, _| WaitEnd::Ready),
            Fault::LosesWakes if ready() => WaitEnd::Ready,
            Fault::LosesWakes => {
                let mut looked = true;
                self.world.wait_until(key, mode, &mut || !std::mem::take(&mut looked) && ready())
            }
            Fault::LocksAround => self.world.wait_until(key, mode, &mut || {
                self.locked.store(true, Relaxed);
                let is_ready = ready();
                self.locked.store(false, Relaxed);
                is_ready
            }),
            Fault::KillsAll => {
                self.world.wait_until(key, WaitMode { killable: true, ..mode }, ready)
            }
            Fault::KillsNone => {
                self.world.wait_until(key, WaitMode { killable: false, ..mode }, ready)
            }
            Fault::NeverAsks => self.world.wait_until(key, mode, ready),
        }
    }

    fn wake(&self, key: WaitKey) {
        assert!(!self.locked.load(Relaxed), "the task waits for its own lock");
        self.world.wake(key);
    }

    fn flags(&self) -> TaskFlags {
        self.world.flags()
    }

    fn set_memalloc(&self, on: bool) -> bool {
        self.world.set_memalloc(on)
    }

    fn yield_now(&self) {
        self.world.yield_now();
    }

    fn kill_for_memory(&self, space: SpaceId) -> bool {
        self.world.kill_for_memory(space)
    }
}

impl<'w> Env for Rude<'w> {
    type Cpu = SimCpu;
    type Frames = World;
    type Tables = SoftTables<'w>;
    type Tasks = Self;
    type Blocks = World;
    type Files = <&'w World as Env>::Files;
    type Clock = Sched;

    fn frames(&self) -> &World {
        self.world
    }

    fn tasks(&self) -> &Self {
        self
    }

    fn blocks(&self) -> &World {
        self.world
    }

    fn files(&self) -> &Self::Files {
        self.world.files()
    }

    fn clock(&self) -> &Sched {
        &self.world.sched
    }

    fn new_tables(&self, root: Pfn) -> SoftTables<'w> {
        self.world.new_tables(root)
    }

    fn flush_tlb(&self, stale: &[TlbEntry]) {
        self.world.flush_tlb(stale);
    }

    fn flush_tlb_space(&self, asid: Asid) {
        self.world.flush_tlb_space(asid);
    }
}
