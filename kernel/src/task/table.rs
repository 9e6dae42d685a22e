//! The scheduler's state: the tasks, which are ready, which wait for what.
//!
//! **Data.** [`Sched`], all of it. **Owner and lock.** One value guarded by the scheduler lock,
//! which interrupt handlers take too. **Order.** The lock is a leaf: no other lock is taken under
//! it. Pure, and so tested on the host.
//!
//! **States.** A task is `Ready` (on its CPU's queue), `Running`, `Blocked` or, after its
//! exit, `Exited` until its CPU has left its stack, then `Zombie` until its parent has waited for
//! it. Apart from that it may *wait*: it is in the bucket of its key, still running, while it tests
//! its condition, and `Blocked` only afterwards, in [`Sched::leave`], and only if no wakeup removed
//! it from the bucket in the meantime. Preemption during the test makes it `Ready` like any other
//! and does not affect the wait.
//!
//! **The order** is decided by [`super::fair`] and maintained in `run`: the table has each task's
//! virtual time and account, and a floor for each CPU. A task uses another's account only while
//! that one lives on the same CPU: the account changes at a wakeup, and when its owner exits, its
//! users get accounts of their own.

mod run;

use super::fair::{Class, Pace, VirtualTime};
use super::family::Family;
use super::queue::{Link, Queue};
use super::{CPUS, MAX_TASKS, TaskId};

/// Buckets of the wait table.
pub const BUCKETS: usize = 64;

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The slot holds no task.
    Free,
    /// The task is being made, or has not run yet.
    New,
    /// It is ready to run.
    Ready,
    /// It runs.
    Running,
    /// It waits for a wake-up.
    Blocked,
    /// It has exited, and its CPU may still be on its stack.
    Exited,
    /// Only its exit status is left.
    Zombie,
}

/// How the running task leaves the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// It stays ready.
    Ready,
    /// It stays ready, but lets the next one run first.
    Yielding,
    /// It waits, unless it was woken in the meantime.
    Blocked,
    /// It never runs again.
    Exited,
}

/// A task's wait.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// It is in the bucket of `key`.
    queued: bool,
    killable: bool,
    key: u64,
    /// In counter ticks.
    deadline: u64,
}

impl Wait {
    const NONE: Self = Self { queued: false, killable: false, key: 0, deadline: u64::MAX };
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    cpu: u8,
    /// It runs no user program.
    kernel: bool,
    class: Class,
    /// The task whose virtual time grows while this one runs: itself, or, for a server, the one
    /// that it serves.
    account: TaskId,
    time: VirtualTime,
    wait: Wait,
}

impl Slot {
    const FREE: Self = Self::new(State::Free, TaskId(0), 0, true);

    const fn new(state: State, id: TaskId, cpu: u8, kernel: bool) -> Self {
        let (class, time) = (Class::Own, VirtualTime::START);
        Self { state, cpu, kernel, class, account: id, time, wait: Wait::NONE }
    }
}

/// The running and the ready tasks of a CPU.
#[derive(Clone, Copy, Debug)]
struct RunQueue {
    /// Tasks that come before all others.
    urgent: Queue,
    ready: Queue,
    running: TaskId,
    idle: TaskId,
    /// The account of the running task.
    account: TaskId,
    /// When that task's time was last counted, in counter ticks.
    counted: u64,
    /// The least virtual time of the runnable tasks, when it was last needed; it only grows.
    floor: VirtualTime,
}

impl RunQueue {
    const EMPTY: Self = Self {
        urgent: Queue::EMPTY,
        ready: Queue::EMPTY,
        running: TaskId(0),
        idle: TaskId(0),
        account: TaskId(0),
        counted: 0,
        floor: VirtualTime::START,
    };
}

/// CPUs that should check their run queues: bit n is CPU n.
pub type Pokes = u32;

/// The state of all tasks.
pub struct Sched {
    slots: [Slot; MAX_TASKS],
    ready_links: [Link; MAX_TASKS],
    wait_links: [Link; MAX_TASKS],
    cpus: [RunQueue; CPUS],
    pace: Pace,
    buckets: [Queue; BUCKETS],
    /// CPUs that run: bit n is CPU n.
    online: u32,
    /// No wait times out before this, in counter ticks.
    next_deadline: u64,
    /// Slots from here on were never used.
    top: usize,
    /// Parents, children and names.
    pub family: Family,
}

/// The bucket of a key, and its place in the table of waiter counts.
pub fn bucket_of(key: u64) -> usize {
    // Fibonacci hashing: the top six bits of the product.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

impl Sched {
    /// No tasks.
    pub const fn new() -> Self {
        Self {
            slots: [Slot::FREE; MAX_TASKS],
            ready_links: [Link::NONE; MAX_TASKS],
            wait_links: [Link::NONE; MAX_TASKS],
            cpus: [RunQueue::EMPTY; CPUS],
            pace: Pace::NANOS,
            buckets: [Queue::EMPTY; BUCKETS],
            online: 1,
            next_deadline: u64::MAX,
            top: 0,
            family: Family::new(),
        }
    }

    /// A free slot becomes a task that belongs to `cpu` and does not run yet.
    pub fn create(&mut self, cpu: usize, kernel: bool) -> Option<TaskId> {
        let at = self.slots.iter().position(|s| s.state == State::Free)?;
        let id = TaskId(at as u16);
        self.slots[at] = Slot::new(State::New, id, cpu as u8, kernel);
        self.top = self.top.max(at + 1);
        Some(id)
    }

    /// The CPU for a new program, which it never leaves: the one with the fewest programs, and
    /// among equals the last, since the first has the kernel's tasks.
    pub fn place(&self) -> usize {
        let mut programs = [0; CPUS];
        for slot in self.slots[..self.top].iter().filter(|s| !s.kernel) {
            let lives = !matches!(slot.state, State::Free | State::Exited | State::Zombie);
            programs[usize::from(slot.cpu)] += u32::from(lives);
        }
        let online = (0..CPUS).rev().filter(|cpu| self.online & (1 << cpu) != 0);
        online.min_by_key(|cpu| programs[*cpu]).unwrap_or(0)
    }

    /// Marks `cpu` as running: tasks may be placed there.
    pub fn set_online(&mut self, cpu: usize) {
        self.online |= 1 << cpu;
    }

    /// The idle task of `cpu`.
    pub fn idle_of(&self, cpu: usize) -> TaskId {
        self.cpus[cpu].idle
    }

    /// Frees the slot of a task that was never started, or has been waited for.
    pub fn free(&mut self, id: TaskId) {
        debug_assert!(matches!(self.state(id), State::New | State::Exited | State::Zombie));
        self.slots[id.index()].state = State::Free;
        self.family.forget(id);
    }

    /// Records that `id` runs on `cpu` now, without having been picked.
    pub fn adopt(&mut self, cpu: usize, id: TaskId) {
        let slot = &mut self.slots[id.index()];
        slot.state = State::Running;
        let queue = &mut self.cpus[cpu];
        (queue.running, queue.account) = (id, slot.account);
    }

    /// Makes `id` the idle task of `cpu`.
    pub fn set_idle(&mut self, cpu: usize, id: TaskId) {
        self.slots[id.index()].state = State::Ready;
        self.cpus[cpu].idle = id;
    }

    /// The state of the task.
    pub fn state(&self, id: TaskId) -> State {
        self.slots[id.index()].state
    }

    /// Sets whether the task is a kernel task.
    pub fn set_kernel(&mut self, id: TaskId, kernel: bool) {
        self.slots[id.index()].kernel = kernel;
    }

    /// The CPU on which `id` runs at this moment.
    pub fn cpu_running(&self, id: TaskId) -> Option<usize> {
        let cpu = self.cpu_of(id);
        (self.cpus[cpu].running == id).then_some(cpu)
    }

    fn cpu_of(&self, id: TaskId) -> usize {
        usize::from(self.slots[id.index()].cpu)
    }

    /// Puts the running task into the bucket of `key`: from now on no wakeup is lost.
    pub fn begin_wait(&mut self, id: TaskId, key: u64, deadline: u64, killable: bool) {
        let wait = &mut self.slots[id.index()].wait;
        debug_assert!(!wait.queued, "a task waits for two things");
        *wait = Wait { queued: true, killable, key, deadline };
        self.buckets[bucket_of(key)].push_back(&mut self.wait_links, id);
        self.next_deadline = self.next_deadline.min(deadline);
    }

    /// Removes `id` from its bucket; returns the bucket's number if it was in one.
    pub fn end_wait(&mut self, id: TaskId) -> Option<usize> {
        let wait = &mut self.slots[id.index()].wait;
        if !wait.queued {
            return None;
        }
        wait.queued = false;
        let bucket = bucket_of(wait.key);
        self.buckets[bucket].remove(&mut self.wait_links, id);
        Some(bucket)
    }

    fn wake_one(&mut self, id: TaskId, by: Option<TaskId>, now: u64) -> Pokes {
        if self.state(id) == State::Blocked { self.make_ready(id, by, now) } else { 0 }
    }

    /// Wakes every waiter of `key`, on behalf of `by` if it is a task; returns their number and the CPUs to poke.
    /// `now` is in counter ticks.
    pub fn wake(&mut self, key: u64, by: Option<TaskId>, now: u64) -> (u32, Pokes) {
        let (mut woken, mut pokes) = (0, 0);
        let bucket = bucket_of(key);
        let mut at = self.buckets[bucket].first();
        while let Some(id) = at {
            at = Queue::after(&self.wait_links, id);
            if self.slots[id.index()].wait.key == key {
                self.end_wait(id);
                pokes |= self.wake_one(id, by, now);
                woken += 1;
            }
        }
        (woken, pokes)
    }

    /// Wakes `id` if it waits and a kill may end the wait. Returns its bucket.
    pub fn wake_killed(&mut self, id: TaskId, now: u64) -> (Option<usize>, Pokes) {
        if !self.slots[id.index()].wait.killable {
            return (None, 0);
        }
        match self.end_wait(id) {
            Some(bucket) => (Some(bucket), self.wake_one(id, None, now)),
            None => (None, 0),
        }
    }

    /// When the next wait may time out, in counter ticks.
    pub fn next_deadline(&self) -> u64 {
        self.next_deadline
    }

    /// Wakes all tasks whose deadline is `now` or earlier; `left` is called with the bucket of
    /// each.
    pub fn expire(&mut self, now: u64, left: &mut dyn FnMut(usize)) -> Pokes {
        if now < self.next_deadline {
            return 0;
        }
        let (mut pokes, mut next) = (0, u64::MAX);
        for at in 0..self.top {
            let wait = self.slots[at].wait;
            if !wait.queued {
                continue;
            }
            if wait.deadline > now {
                next = next.min(wait.deadline);
                continue;
            }
            let id = TaskId(at as u16);
            if let Some(bucket) = self.end_wait(id) {
                left(bucket);
            }
            pokes |= self.wake_one(id, None, now);
        }
        self.next_deadline = next;
        pokes
    }

    /// Every task that exists, except zombies.
    pub fn living(&self) -> impl Iterator<Item = TaskId> + '_ {
        (0..self.top)
            .map(|n| TaskId(n as u16))
            .filter(|id| !matches!(self.state(*id), State::Free | State::Exited | State::Zombie))
    }

    /// The CPU has left the stack of a task that exited. It becomes a zombie if `wanted`.
    pub fn finish_exit(&mut self, id: TaskId, wanted: bool) {
        assert!(self.state(id) == State::Exited, "{id:?} is buried alive");
        if wanted {
            self.slots[id.index()].state = State::Zombie;
        } else {
            self.free(id);
        }
    }
}

impl Default for Sched {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
