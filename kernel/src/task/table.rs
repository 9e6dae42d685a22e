//! The scheduler's state: which tasks there are, which are ready, which wait for what.
//!
//! **Data.** [`Sched`], all of it. **Owner and lock.** One value behind the scheduler lock,
//! which interrupt handlers take too. **Order.** The lock is a leaf: nothing is locked and
//! nothing is called under it. Pure, and so tested on the host.
//!
//! **States.** A task is `Ready` (on its CPU's queue), `Running`, `Blocked` or, after its
//! exit, `Exited` until its CPU has left its stack, then `Zombie` until its parent has asked.
//! Apart from that it may *wait*: it is in the bucket of its key, still running, while it
//! looks at its condition, and `Blocked` only afterwards, in [`Sched::leave`], and only if
//! no wake-up took it out of the bucket meanwhile. Preemption while it looks makes it `Ready`
//! like any other and does not touch the wait.
//!
//! **Who goes first.** Round robin; but a kernel task that is woken while a user task runs
//! goes to the front and takes the CPU: kswapd has to run when it is woken and not a time
//! slice later, or every allocation until then reclaims by itself. A kernel task that is
//! woken by a kernel task queues up like all others, so that two which wake each other
//! cannot keep the rest from running.

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
    /// The task is being made, or runs for the first time soon.
    New,
    /// It could run.
    Ready,
    /// It runs.
    Running,
    /// It waits for a wake-up.
    Blocked,
    /// It has exited, and its CPU may still be on its stack.
    Exited,
    /// It is gone but for its exit status.
    Zombie,
}

/// How the running task leaves the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// It could go on.
    Ready,
    /// It waits, unless it was woken meanwhile.
    Blocked,
    /// It never comes back.
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
    wait: Wait,
}

/// CPUs that should look at their run queues: bit n is CPU n.
pub type Pokes = u32;

/// The state of all tasks.
pub struct Sched {
    slots: [Slot; MAX_TASKS],
    ready_links: [Link; MAX_TASKS],
    wait_links: [Link; MAX_TASKS],
    ready: [Queue; CPUS],
    buckets: [Queue; BUCKETS],
    running: [TaskId; CPUS],
    idle: [TaskId; CPUS],
    /// CPUs that run: bit n is CPU n.
    online: u32,
    /// No wait ends before, in counter ticks.
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
            slots: [Slot { state: State::Free, cpu: 0, kernel: true, wait: Wait::NONE }; MAX_TASKS],
            ready_links: [Link::NONE; MAX_TASKS],
            wait_links: [Link::NONE; MAX_TASKS],
            ready: [Queue::EMPTY; CPUS],
            buckets: [Queue::EMPTY; BUCKETS],
            running: [TaskId(0); CPUS],
            idle: [TaskId(0); CPUS],
            online: 1,
            next_deadline: u64::MAX,
            top: 0,
            family: Family::new(),
        }
    }

    /// A free slot becomes a task that belongs to `cpu` and does not run yet.
    pub fn create(&mut self, cpu: usize, kernel: bool) -> Option<TaskId> {
        let at = self.slots.iter().position(|s| s.state == State::Free)?;
        self.slots[at] = Slot { state: State::New, cpu: cpu as u8, kernel, wait: Wait::NONE };
        self.top = self.top.max(at + 1);
        Some(TaskId(at as u16))
    }

    /// The CPU for a new program, which it never leaves: the one with the fewest programs, and
    /// of those the last, since the first has the kernel's tasks.
    pub fn place(&self) -> usize {
        let mut programs = [0; CPUS];
        for slot in self.slots[..self.top].iter().filter(|s| !s.kernel) {
            let lives = !matches!(slot.state, State::Free | State::Exited | State::Zombie);
            programs[usize::from(slot.cpu)] += u32::from(lives);
        }
        let online = (0..CPUS).rev().filter(|cpu| self.online & (1 << cpu) != 0);
        online.min_by_key(|cpu| programs[*cpu]).unwrap_or(0)
    }

    /// `cpu` runs: tasks may be placed there.
    pub fn set_online(&mut self, cpu: usize) {
        self.online |= 1 << cpu;
    }

    /// The idle task of `cpu`.
    pub fn idle_of(&self, cpu: usize) -> TaskId {
        self.idle[cpu]
    }

    /// The slot of a task that was never started, or has been waited for, is free again.
    pub fn free(&mut self, id: TaskId) {
        debug_assert!(matches!(self.state(id), State::New | State::Exited | State::Zombie));
        self.slots[id.index()].state = State::Free;
        self.family.forget(id);
    }

    /// `id` is what runs on `cpu` now, without having been picked.
    pub fn adopt(&mut self, cpu: usize, id: TaskId) {
        self.slots[id.index()].state = State::Running;
        self.running[cpu] = id;
    }

    /// `id` runs on `cpu` when nothing else does.
    pub fn set_idle(&mut self, cpu: usize, id: TaskId) {
        self.slots[id.index()].state = State::Ready;
        self.idle[cpu] = id;
    }

    /// What the task is doing.
    pub fn state(&self, id: TaskId) -> State {
        self.slots[id.index()].state
    }

    /// The task now has, or has no longer, a user program.
    pub fn set_kernel(&mut self, id: TaskId, kernel: bool) {
        self.slots[id.index()].kernel = kernel;
    }

    /// The CPU on which `id` runs at this moment.
    pub fn cpu_running(&self, id: TaskId) -> Option<usize> {
        let cpu = usize::from(self.slots[id.index()].cpu);
        (self.running[cpu] == id).then_some(cpu)
    }

    /// Starts a new task.
    pub fn start(&mut self, id: TaskId) -> Pokes {
        debug_assert_eq!(self.state(id), State::New);
        self.make_ready(id)
    }

    fn make_ready(&mut self, id: TaskId) -> Pokes {
        let slot = &mut self.slots[id.index()];
        slot.state = State::Ready;
        let (cpu, kernel) = (usize::from(slot.cpu), slot.kernel);
        let running = self.running[cpu];
        let idle = running == self.idle[cpu];
        let first = kernel && !self.slots[running.index()].kernel;
        if first {
            self.ready[cpu].push_front(&mut self.ready_links, id);
        } else {
            self.ready[cpu].push_back(&mut self.ready_links, id);
        }
        if first || idle { 1 << cpu } else { 0 }
    }

    /// Another task of `cpu` could run.
    pub fn has_ready(&self, cpu: usize) -> bool {
        !self.ready[cpu].is_empty()
    }

    /// The running task `id` gives up the CPU; false if it need not, since what it was to
    /// wait for has happened.
    pub fn leave(&mut self, id: TaskId, how: Leave) -> bool {
        let slot = &mut self.slots[id.index()];
        let cpu = usize::from(slot.cpu);
        match how {
            Leave::Blocked if !slot.wait.queued => return false,
            Leave::Blocked => slot.state = State::Blocked,
            Leave::Exited => slot.state = State::Exited,
            Leave::Ready => {
                slot.state = State::Ready;
                if self.idle[cpu] != id {
                    self.ready[cpu].push_back(&mut self.ready_links, id);
                }
            }
        }
        true
    }

    /// Chooses what `cpu` runs next.
    pub fn pick(&mut self, cpu: usize) -> TaskId {
        let next = self.ready[cpu].pop(&mut self.ready_links).unwrap_or(self.idle[cpu]);
        self.adopt(cpu, next);
        next
    }

    /// Puts the running task into the bucket of `key`: from now on no wake-up is lost.
    pub fn begin_wait(&mut self, id: TaskId, key: u64, deadline: u64, killable: bool) {
        let wait = &mut self.slots[id.index()].wait;
        debug_assert!(!wait.queued, "a task waits for two things");
        *wait = Wait { queued: true, killable, key, deadline };
        self.buckets[bucket_of(key)].push_back(&mut self.wait_links, id);
        self.next_deadline = self.next_deadline.min(deadline);
    }

    /// Takes `id` out of its bucket; the bucket's number if it was in one.
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

    fn wake_one(&mut self, id: TaskId) -> Pokes {
        if self.state(id) == State::Blocked { self.make_ready(id) } else { 0 }
    }

    /// Wakes every waiter of `key`: how many, and the CPUs to poke.
    pub fn wake(&mut self, key: u64) -> (u32, Pokes) {
        let (mut woken, mut pokes) = (0, 0);
        let bucket = bucket_of(key);
        let mut at = self.buckets[bucket].first();
        while let Some(id) = at {
            at = Queue::after(&self.wait_links, id);
            if self.slots[id.index()].wait.key == key {
                self.end_wait(id);
                pokes |= self.wake_one(id);
                woken += 1;
            }
        }
        (woken, pokes)
    }

    /// Wakes `id` if it waits and a kill may end the wait. Returns its bucket.
    pub fn wake_killed(&mut self, id: TaskId) -> (Option<usize>, Pokes) {
        if !self.slots[id.index()].wait.killable {
            return (None, 0);
        }
        match self.end_wait(id) {
            Some(bucket) => (Some(bucket), self.wake_one(id)),
            None => (None, 0),
        }
    }

    /// When the next wait may end by its time, in counter ticks.
    pub fn next_deadline(&self) -> u64 {
        self.next_deadline
    }

    /// Wakes whoever waited until `now`; `left` is told the bucket of each.
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
            pokes |= self.wake_one(id);
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

    /// The CPU has left the stack of a task that exited. It stays a zombie while `wanted`.
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
mod tests {
    use super::*;

    /// CPU 0 with an idle task and `users` user tasks, of which the first runs.
    fn machine(users: usize) -> (Box<Sched>, Vec<TaskId>) {
        let mut sched = Box::new(Sched::new());
        let idle = sched.create(0, true).unwrap();
        sched.set_idle(0, idle);
        sched.adopt(0, idle);
        let tasks: Vec<_> = (0..users).map(|_| sched.create(0, false).unwrap()).collect();
        for task in &tasks {
            sched.start(*task);
        }
        assert!(sched.leave(idle, Leave::Ready));
        sched.pick(0);
        (sched, tasks)
    }

    /// BOOT-06: programs are spread over the CPUs that run.
    #[test]
    fn programs_are_spread_over_the_cpus_that_run() {
        let mut sched = Box::new(Sched::new());
        assert_eq!(sched.place(), 0, "no other runs");
        (1..CPUS).for_each(|cpu| sched.set_online(cpu));
        let placed = [(); 2 * CPUS].map(|()| {
            let cpu = sched.place();
            sched.create(cpu, false).map(|_| cpu).unwrap()
        });
        assert_eq!(placed, [3, 2, 1, 0, 3, 2, 1, 0]);
    }

    /// A task that was preempted on its way out is in a queue still: it must not be buried.
    #[test]
    #[should_panic(expected = "is buried alive")]
    fn a_task_that_can_still_run_is_not_buried() {
        let (mut sched, tasks) = machine(2);
        assert!(sched.leave(tasks[0], Leave::Ready));
        sched.finish_exit(tasks[0], true);
    }

    /// PAGE-01: a wake-up between the look at the condition and the sleep is not lost.
    #[test]
    fn a_task_woken_before_it_sleeps_does_not_sleep() {
        let (mut sched, tasks) = machine(1);
        sched.begin_wait(tasks[0], 42, u64::MAX, false);
        assert_eq!(sched.wake(42).0, 1);
        assert!(!sched.leave(tasks[0], Leave::Blocked));
        assert_eq!(sched.state(tasks[0]), State::Running);
    }

    /// PAGE-01: a task that is preempted while it looks at its condition still runs, and
    /// still is woken.
    #[test]
    fn preemption_during_the_look_is_not_sleep() {
        let (mut sched, tasks) = machine(2);
        sched.begin_wait(tasks[0], 42, u64::MAX, false);
        assert!(sched.leave(tasks[0], Leave::Ready));
        assert_eq!(sched.pick(0), tasks[1]);
        assert_eq!(sched.wake(42).0, 1);
        assert!(sched.leave(tasks[1], Leave::Ready));
        assert_eq!(sched.pick(0), tasks[0]);
        assert!(!sched.leave(tasks[0], Leave::Blocked));
    }

    /// PAGE-01: only the waiters of the key are woken, all of them, in order.
    #[test]
    fn a_wake_up_reaches_all_waiters_of_its_key_and_no_others() {
        let (mut sched, tasks) = machine(4);
        // 64 buckets: among 65 keys two collide; the test takes any colliding pair.
        let other = (1..).find(|k| bucket_of(*k) == bucket_of(0)).unwrap();
        for (task, key) in tasks.iter().zip([0, other, 0, other]) {
            sched.begin_wait(*task, key, u64::MAX, false);
            assert!(sched.leave(*task, Leave::Blocked));
            sched.pick(0);
        }
        let (woken, pokes) = sched.wake(0);
        assert_eq!((woken, pokes), (2, 1));
        assert_eq!(sched.pick(0), tasks[0]);
        assert!(sched.leave(tasks[0], Leave::Exited));
        assert_eq!(sched.pick(0), tasks[2]);
        assert_eq!(sched.state(tasks[1]), State::Blocked);
    }

    /// CTRL-01: kswapd, woken by a program, runs at once.
    #[test]
    fn a_woken_kernel_task_takes_the_cpu_from_a_user_task() {
        let (mut sched, tasks) = machine(3);
        let kswapd = sched.create(0, true).unwrap();
        assert_eq!(sched.start(kswapd), 1);
        assert!(sched.leave(tasks[0], Leave::Ready));
        assert_eq!(sched.pick(0), kswapd);
    }

    /// OOM-02: kernel tasks that wake each other do not starve the others.
    #[test]
    fn a_kernel_task_woken_by_a_kernel_task_queues_up() {
        let (mut sched, tasks) = machine(2);
        let (first, second) = (sched.create(0, true).unwrap(), sched.create(0, true).unwrap());
        sched.start(first);
        assert!(sched.leave(tasks[0], Leave::Ready));
        assert_eq!(sched.pick(0), first);
        assert_eq!(sched.start(second), 0);
        assert!(sched.leave(first, Leave::Exited));
        assert_eq!(sched.pick(0), tasks[1]);
    }

    /// SHRZ-08: a sleep ends at its time, not before, and the next deadline is kept.
    #[test]
    fn waits_end_at_their_times() {
        let (mut sched, tasks) = machine(2);
        for (task, deadline) in tasks.iter().zip([100, 200]) {
            sched.begin_wait(*task, 7, deadline, false);
            assert!(sched.leave(*task, Leave::Blocked));
            sched.pick(0);
        }
        let mut left = 0;
        assert_eq!(sched.expire(99, &mut |_| left += 1), 0);
        assert_ne!(sched.expire(100, &mut |_| left += 1), 0);
        assert_eq!((left, sched.next_deadline()), (1, 200));
        assert_eq!(sched.state(tasks[0]), State::Ready);
        assert_eq!(sched.state(tasks[1]), State::Blocked);
    }

    /// BUDY-10: a kill ends a killable wait and leaves any other alone.
    #[test]
    fn a_kill_ends_killable_waits_only() {
        let (mut sched, tasks) = machine(2);
        for (task, killable) in tasks.iter().zip([true, false]) {
            sched.begin_wait(*task, 7, u64::MAX, killable);
            assert!(sched.leave(*task, Leave::Blocked));
            sched.pick(0);
        }
        assert_eq!(sched.wake_killed(tasks[0]), (Some(bucket_of(7)), 1));
        assert_eq!(sched.wake_killed(tasks[1]), (None, 0));
        assert_eq!(sched.state(tasks[1]), State::Blocked);
    }

    /// The table ends, and says so.
    #[test]
    fn a_full_table_refuses_and_a_freed_slot_is_used_again() {
        let (mut sched, tasks) = machine(1);
        while sched.create(0, false).is_some() {}
        sched.leave(tasks[0], Leave::Exited);
        sched.finish_exit(tasks[0], true);
        assert_eq!(sched.create(0, false), None);
        sched.free(tasks[0]);
        assert_eq!(sched.create(0, false), Some(tasks[0]));
    }
}
