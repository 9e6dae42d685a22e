//! What the scheduler knows about its tasks: who is ready, who waits for what, who is next.
//!
//! Plain data under the scheduler's lock; the baton itself is passed in `sched`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use mm_reclaim::env::{TaskFlags, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, SpaceId};

use crate::rng::Rng;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tasks: Vec<Task>,
    pub(crate) running: usize,
    pub(crate) rng: Rng,
    pub(crate) cpus: u64,
    pub(crate) preempt_every: u64,
    pub(crate) switches: u64,
    pub(crate) limits: Limits,
    /// Address spaces whose owner is to die.
    pub(crate) killed: BTreeSet<SpaceId>,
    pub(crate) end: Option<End>,
}

/// What a machine may use up before it is taken to run in circles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Changes of task.
    pub switches: u64,
    /// The virtual time.
    pub until: Nanos,
}

impl Default for Limits {
    /// Three million changes of task, in whatever time.
    fn default() -> Self {
        Self { switches: 3_000_000, until: Nanos(u64::MAX) }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum End {
    Done,
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) flags: TaskFlags,
    /// The address space that the task acts for.
    pub(crate) space: Option<SpaceId>,
    pub(crate) state: TaskState,
    /// The key that a wait, begun but not yet asleep, is about; and whether it was woken.
    pub(crate) watching: Option<WaitKey>,
    pub(crate) woken: bool,
    pub(crate) baton: Arc<Baton>,
}

/// Where a task waits for the baton. It has a lock of its own, so that the task that passes the
/// baton on holds none that the next one needs.
#[derive(Debug, Default)]
pub(crate) struct Baton {
    here: Mutex<bool>,
    came: Condvar,
}

impl Baton {
    /// Wakes the task.
    pub(crate) fn pass(&self) {
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.came.notify_one();
    }

    /// Sleeps until the task was woken since it last slept.
    pub(crate) fn wait(&self) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        while !*here {
            here = self.came.wait(here).unwrap_or_else(PoisonError::into_inner);
        }
        *here = false;
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum TaskState {
    Ready,
    Waiting { deadline: Option<u64>, killable: bool },
    Done,
}

impl Task {
    /// Makes the task evaluate its condition again, whether it sleeps already or is about to.
    pub(crate) fn wake(&mut self) {
        self.woken = true;
        if matches!(self.state, TaskState::Waiting { .. }) {
            self.state = TaskState::Ready;
        }
    }
}

impl State {
    pub(crate) fn new(seed: u64, cpus: usize, preempt_every: u64) -> Self {
        Self {
            tasks: Vec::new(),
            running: 0,
            rng: Rng::new(seed),
            cpus: cpus as u64,
            preempt_every,
            switches: 0,
            limits: Limits::default(),
            killed: BTreeSet::new(),
            end: None,
        }
    }

    pub(crate) fn admit(&mut self, name: &str, flags: TaskFlags) -> usize {
        self.tasks.push(Task {
            name: name.into(),
            flags,
            space: None,
            state: TaskState::Ready,
            watching: None,
            woken: false,
            baton: Arc::default(),
        });
        self.tasks.len() - 1
    }

    /// The next task and the moment at which it runs, not before `now`.
    pub(crate) fn choose(&mut self, now: u64) -> Option<(usize, u64)> {
        let when = |task: &Task| match task.state {
            TaskState::Ready => Some(now),
            TaskState::Waiting { deadline, .. } => deadline.map(|d| d.max(now)),
            TaskState::Done => None,
        };
        let at = self.tasks.iter().filter_map(when).min()?;
        let mut due = Vec::new();
        for (id, task) in self.tasks.iter_mut().enumerate() {
            if when(task) == Some(at) {
                task.state = TaskState::Ready;
                due.push(id);
            }
        }
        Some((due[self.rng.below(due.len() as u64) as usize], at))
    }

    pub(crate) fn watch(&mut self, id: usize, key: Option<WaitKey>) {
        let task = &mut self.tasks[id];
        task.watching = key;
        task.woken = false;
    }

    /// How a wait ends now, if it does.
    pub(crate) fn verdict(
        &mut self,
        id: usize,
        is_ready: bool,
        mode: WaitMode,
        deadline: Option<u64>,
        now: u64,
    ) -> Option<WaitEnd> {
        let end = if is_ready {
            WaitEnd::Ready
        } else if mode.killable && self.is_dying(&self.tasks[id]) {
            WaitEnd::Killed
        } else if deadline.is_some_and(|d| d <= now) {
            WaitEnd::TimedOut
        } else {
            return None;
        };
        self.tasks[id].watching = None;
        Some(end)
    }

    pub(crate) fn is_dying(&self, task: &Task) -> bool {
        task.space.is_some_and(|space| self.killed.contains(&space))
    }

    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for task in &self.tasks {
            let Task { name, state, watching, space, .. } = task;
            let _ = write!(text, "\n  {name}: {state:?}, {watching:x?}, space {space:?}");
        }
        text
    }
}
