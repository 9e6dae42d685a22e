//! Tasks and time: one task runs at a time, chosen by a seed.
//!
//! Every task is a thread that waits for the *baton*. The one that holds it runs until it waits,
//! yields, ends, or is preempted when it switches preemption on again; then the seed picks the next
//! of the ready tasks, and the CPU on which it continues. No two tasks ever run at once, so a seed
//! and a program give one history: a failure is replayed by its seed.
//!
//! **Time** is virtual. Each task switch costs [`SLICE`]; if no task is ready, time jumps to the
//! first moment at which one will be. If there is no such moment, no task can ever run again: the
//! machine stops and prints what each task waits for. A machine that exceeds its [`Limits`] is
//! assumed to run in circles.
//!
//! **Rules that are asserted here:** a task that waits or yields holds no lock (preemption
//! is on), and preemption is switched on as often as off.
//!
//! **The end.** When the main task is done, or any task has failed, the others are unwound
//! from where they wait. That is the only moment at which several threads run at once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mm_reclaim::env::{Clock, TaskFlags, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, SpaceId};

use crate::cores::Core;
use crate::current;
pub use crate::tasks::Limits;
use crate::tasks::{Baton, End, State, TaskState};

/// What a change of task costs, in nanoseconds.
pub const SLICE: u64 = 1_000;

/// The keys that the end of a task wakes: this plus its number.
const ENDED: u64 = 0x51ed_0000_0000_0000;

/// A task to be started.
pub struct TaskSpec<'t> {
    /// What reports call it.
    pub name: String,
    /// What it is.
    pub flags: TaskFlags,
    /// What it does.
    pub body: Box<dyn FnOnce() + Send + 't>,
}

impl<'t> TaskSpec<'t> {
    /// A task with this name and body.
    pub fn new(name: &str, flags: TaskFlags, body: impl FnOnce() + Send + 't) -> Self {
        Self { name: name.into(), flags, body: Box::new(body) }
    }
}

/// The scheduler of one machine.
#[derive(Debug)]
pub struct Sched {
    now: AtomicU64,
    state: Mutex<State>,
}

/// The payload that unwinds a task whose machine has come to its end.
struct MachineEnded;

impl Sched {
    /// A machine with no task yet. A task is preempted on average at every
    /// `preempt_every`-th chance, never if that is 0.
    pub fn new(seed: u64, cpus: usize, preempt_every: u64) -> Arc<Self> {
        let state = State::new(seed, cpus, preempt_every);
        Arc::new(Self { now: AtomicU64::new(0), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a machine: `main` on this thread and the daemons next to it, until `main` is done.
    ///
    /// # Panics
    /// If a task panics, or no task can run any more.
    pub fn run<R>(self: &Arc<Self>, main: impl FnOnce() -> R, daemons: Vec<TaskSpec<'_>>) -> R {
        let _core = Core::take();
        let me = self.state().admit("main", TaskFlags::KERNEL);
        assert_eq!(me, 0, "a machine runs once");
        let result = thread::scope(|scope| {
            for spec in daemons {
                self.start(scope, spec);
            }
            let result = self.attached(me, main);
            self.end(End::Done);
            result
        });
        match (result, self.failure()) {
            (Ok(value), None) => value,
            (Err(payload), _) if !payload.is::<MachineEnded>() => resume_unwind(payload),
            (_, failure) => panic!("{}", failure.unwrap_or_default()),
        }
    }

    /// Runs tasks concurrently and returns when all of them are done.
    pub fn together(self: &Arc<Self>, specs: Vec<TaskSpec<'_>>) {
        current::assert_preemptible("a wait for tasks");
        thread::scope(|scope| {
            let ids: Vec<usize> = specs.into_iter().map(|s| self.start(scope, s)).collect();
            for id in ids {
                let key = WaitKey(ENDED + id as u64);
                let mut done = || self.state().tasks[id].state == TaskState::Done;
                let end = self.wait_until(key, WaitMode::UNTIL_READY, &mut done);
                assert_eq!(end, WaitEnd::Ready);
            }
        });
    }

    fn start<'s, 'e>(
        self: &Arc<Self>,
        scope: &'s thread::Scope<'s, 'e>,
        spec: TaskSpec<'s>,
    ) -> usize {
        let id = self.state().admit(&spec.name, spec.flags);
        let sched = Arc::clone(self);
        let body = spec.body;
        let thread = move || {
            let result = sched.attached(id, || {
                sched.wait_for_baton(id, sched.state());
                body();
            });
            sched.finish(id, result);
        };
        let builder = thread::Builder::new().name(spec.name);
        builder.spawn_scoped(scope, thread).expect("a thread");
        id
    }

    /// Runs `body` as this thread's task, and catches its panic.
    fn attached<R>(
        self: &Arc<Self>,
        id: usize,
        body: impl FnOnce() -> R,
    ) -> Result<R, Box<dyn Any + Send>> {
        let outer = current::attach(self, id);
        let result = catch_unwind(AssertUnwindSafe(body));
        current::restore(outer);
        result
    }

    fn finish(self: &Arc<Self>, id: usize, result: Result<(), Box<dyn Any + Send>>) {
        match result {
            Ok(()) => {}
            Err(payload) if payload.is::<MachineEnded>() => return,
            Err(payload) => {
                let name = self.state().tasks[id].name.clone();
                return self.end(End::Failed(format!("task {name}: {}", message(&*payload))));
            }
        }
        self.state().tasks[id].state = TaskState::Done;
        self.wake(WaitKey(ENDED + id as u64));
        let next = self.pass_baton(&mut self.state());
        next.pass();
    }

    /// Ends the machine, the first reason counts, and lets every thread find out.
    fn end(&self, end: End) {
        let mut state = self.state();
        state.end.get_or_insert(end);
        state.tasks.iter().for_each(|task| task.baton.pass());
    }

    fn failure(&self) -> Option<String> {
        match self.state().end.clone() {
            Some(End::Failed(why)) => Some(why),
            _ => None,
        }
    }

    /// Chooses the task that runs next, which is woken when the lock is free; ends the machine if
    /// no task ever can.
    fn pass_baton(&self, state: &mut State) -> Arc<Baton> {
        state.switches += 1;
        let now = self.now.fetch_add(SLICE, Relaxed) + SLICE;
        let chosen = match state.choose(now) {
            _ if state.switches > state.limits.switches || now > state.limits.until.0 => {
                Err("the machine runs in circles")
            }
            Some((id, at)) => {
                self.now.store(at, Relaxed);
                Ok(id)
            }
            None => Err("nobody can ever run again"),
        };
        match chosen {
            Ok(id) => state.running = id,
            Err(why) => {
                state.end.get_or_insert(End::Failed(format!("{why}{}", state.report())));
                state.tasks.iter().for_each(|task| task.baton.pass());
            }
        }
        Arc::clone(&state.tasks[state.running].baton)
    }

    fn wait_for_baton<'a>(&'a self, me: usize, mut state: MutexGuard<'a, State>) {
        let baton = Arc::clone(&state.tasks[me].baton);
        while state.running != me && state.end.is_none() {
            drop(state);
            baton.wait();
            state = self.state();
        }
        if state.end.is_some() {
            drop(state);
            resume_unwind(Box::new(MachineEnded));
        }
        let (cpus, every) = (state.cpus, state.preempt_every);
        let cpu = state.rng.below(cpus) as usize;
        let chances = if every == 0 { u64::MAX } else { 1 + state.rng.below(2 * every) };
        current::resume(cpu, chances);
    }

    /// Gives the baton away and comes back when this task is chosen again.
    fn switch(&self, me: usize, to: TaskState) {
        let mut state = self.state();
        if state.end.is_none() {
            state.tasks[me].state = to;
            let next = self.pass_baton(&mut state);
            if state.running != me {
                drop(state);
                next.pass();
                state = self.state();
            }
        }
        self.wait_for_baton(me, state);
    }

    /// Lets another task run, if the seed says so.
    pub fn yield_now(&self) {
        current::assert_preemptible("a yield");
        self.switch(current::task(), TaskState::Ready);
    }

    /// See [`mm_reclaim::env::Tasks::wait_until`].
    pub fn wait_until(
        &self,
        key: WaitKey,
        mode: WaitMode,
        ready: &mut dyn FnMut() -> bool,
    ) -> WaitEnd {
        current::assert_preemptible("a wait");
        let me = current::task();
        let deadline = mode.timeout.map(|t| self.now.load(Relaxed).saturating_add(t.0));
        loop {
            self.state().watch(me, Some(key));
            let is_ready = ready();
            current::assert_preemptible("a wait's condition");
            let now = self.now.load(Relaxed);
            let verdict = self.state().verdict(me, is_ready, mode, deadline, now);
            if let Some(end) = verdict {
                return end;
            }
            // Nothing can happen between this check and the sleep: no other task runs.
            if !self.is_woken(me) {
                self.switch(me, TaskState::Waiting { deadline, killable: mode.killable });
            }
        }
    }

    fn is_woken(&self, me: usize) -> bool {
        self.state().tasks[me].woken
    }

    /// See [`mm_reclaim::env::Tasks::wake`].
    pub fn wake(&self, key: WaitKey) {
        let mut state = self.state();
        for task in state.tasks.iter_mut().filter(|t| t.watching == Some(key)) {
            task.wake();
        }
    }

    /// What the calling task is.
    pub fn flags(&self) -> TaskFlags {
        let state = self.state();
        let task = &state.tasks[current::task()];
        if state.is_dying(task) {
            task.flags | TaskFlags::DYING | TaskFlags::OOM_VICTIM
        } else {
            task.flags
        }
    }

    /// Sets or clears a flag of the calling task; returns what it was.
    pub fn set_flag(&self, flag: TaskFlags, on: bool) -> bool {
        let mut state = self.state();
        let flags = &mut state.tasks[current::task()].flags;
        let was = flags.contains(flag);
        flags.set(flag, on);
        was
    }

    /// The calling task acts for an address space from now on; returns for which before.
    pub fn act_for(&self, space: Option<SpaceId>) -> Option<SpaceId> {
        let mut state = self.state();
        std::mem::replace(&mut state.tasks[current::task()].space, space)
    }

    /// Kills the task that acts for `space`.
    pub fn kill(&self, space: SpaceId) {
        let mut state = self.state();
        state.killed.insert(space);
        for task in state.tasks.iter_mut().filter(|t| t.space == Some(space)) {
            if matches!(task.state, TaskState::Waiting { killable: true, .. }) {
                task.wake();
            }
        }
    }

    /// Whether the owner of `space` was killed.
    pub fn is_killed(&self, space: SpaceId) -> bool {
        self.state().killed.contains(&space)
    }

    /// The space is gone, its number may be used again.
    pub fn forget_kill(&self, space: SpaceId) {
        self.state().killed.remove(&space);
    }

    /// What the machine may use from now on, in addition to what it has used.
    pub fn limit(&self, switches: u64, time: Nanos) {
        let mut state = self.state();
        let until = Nanos(self.now().0.saturating_add(time.0));
        state.limits = Limits { switches: state.switches.saturating_add(switches), until };
    }

    /// Changes of task so far.
    pub fn switches(&self) -> u64 {
        self.state().switches
    }
}

impl Clock for Sched {
    fn now(&self) -> Nanos {
        Nanos(self.now.load(Relaxed))
    }
}

/// The text of a panic.
fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "a panic without a text",
    }
}
