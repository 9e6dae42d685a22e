//! Tests of the table: states, waits, and scheduling.

use super::*;

/// CPU 0 of a machine, and a clock that the test advances.
pub(super) struct Machine {
    pub(super) sched: Box<Sched>,
    pub(super) now: u64,
}

impl Machine {
    /// With an idle task that runs.
    pub(super) fn new() -> Self {
        let mut sched = Box::new(Sched::new());
        let idle = sched.create(0, true).unwrap();
        sched.set_idle(0, idle);
        sched.adopt(0, idle);
        Self { sched, now: 1_000_000 }
    }

    /// A program without a parent, ready to run.
    pub(super) fn program(&mut self) -> TaskId {
        let id = self.sched.create(0, false).unwrap();
        self.sched.start(id, None, self.now);
        id
    }

    /// A kernel task that sleeps until `key` is woken.
    pub(super) fn server(&mut self, class: Class, key: u64) -> TaskId {
        let id = self.sched.create(0, true).unwrap();
        self.sched.serve(id, class);
        self.sched.begin_wait(id, key, u64::MAX, false);
        self.sched.slots[id.index()].state = State::Blocked;
        id
    }

    pub(super) fn running(&self) -> TaskId {
        self.sched.cpus[0].running
    }

    /// The running task runs for `us` microseconds.
    pub(super) fn run(&mut self, us: u64) {
        self.now += us * 1000;
    }

    /// The running task leaves the CPU, if it may.
    pub(super) fn leave(&mut self, how: Leave) -> bool {
        self.sched.leave(self.running(), how, self.now)
    }

    /// The running task leaves the CPU; returns the next one.
    pub(super) fn switch(&mut self, how: Leave) -> TaskId {
        assert!(self.leave(how), "it need not wait");
        self.sched.pick_after(self.running())
    }

    /// The running task sleeps until `key` is woken; returns the next one.
    pub(super) fn sleep(&mut self, key: u64) -> TaskId {
        self.sched.begin_wait(self.running(), key, u64::MAX, false);
        self.switch(Leave::Blocked)
    }

    /// The running task wakes `key`; returns the number of woken tasks and the CPUs to poke.
    pub(super) fn wake(&mut self, key: u64) -> (u32, Pokes) {
        self.sched.wake(key, Some(self.running()), self.now)
    }
}

/// CPU 0 with an idle task and `users` user tasks, of which the first runs.
fn machine(users: usize) -> (Machine, Vec<TaskId>) {
    let mut machine = Machine::new();
    let tasks: Vec<_> = (0..users).map(|_| machine.program()).collect();
    machine.switch(Leave::Ready);
    (machine, tasks)
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

/// A task that was preempted during its exit is still in a queue: it must not be cleaned up.
#[test]
#[should_panic(expected = "is buried alive")]
fn a_task_that_can_still_run_is_not_buried() {
    let (mut machine, tasks) = machine(2);
    assert!(machine.leave(Leave::Ready));
    machine.sched.finish_exit(tasks[0], true);
}

/// PAGE-01: a wakeup between the test of the condition and the sleep is not lost.
#[test]
fn a_task_woken_before_it_sleeps_does_not_sleep() {
    let (mut machine, tasks) = machine(1);
    machine.sched.begin_wait(tasks[0], 42, u64::MAX, false);
    assert_eq!(machine.wake(42).0, 1);
    assert!(!machine.leave(Leave::Blocked));
    assert_eq!(machine.sched.state(tasks[0]), State::Running);
}

/// PAGE-01: a task that is preempted while it tests its condition still runs, and is still woken.
#[test]
fn preemption_during_the_look_is_not_sleep() {
    let (mut machine, tasks) = machine(2);
    machine.sched.begin_wait(tasks[0], 42, u64::MAX, false);
    machine.run(5_000);
    assert_eq!(machine.switch(Leave::Ready), tasks[1]);
    assert_eq!(machine.wake(42).0, 1);
    machine.run(2_000);
    assert_eq!(machine.switch(Leave::Ready), tasks[0]);
    assert!(!machine.leave(Leave::Blocked));
}

/// PAGE-01: only the waiters of the key are woken, all of them, in order.
#[test]
fn a_wake_up_reaches_all_waiters_of_its_key_and_no_others() {
    let (mut machine, tasks) = machine(4);
    // 64 buckets: among 65 keys two collide; the test takes any colliding pair.
    let other = (1..).find(|k| bucket_of(*k) == bucket_of(0)).unwrap();
    for (task, key) in tasks.iter().zip([0, other, 0, other]) {
        machine.sched.begin_wait(*task, key, u64::MAX, false);
        machine.switch(Leave::Blocked);
    }
    assert_eq!(machine.wake(0), (2, 1));
    assert_eq!(machine.switch(Leave::Ready), tasks[0]);
    assert_eq!(machine.switch(Leave::Exited), tasks[2]);
    assert_eq!(machine.sched.state(tasks[1]), State::Blocked);
}

/// SHRZ-08: a sleep ends at its deadline, not before, and the next deadline is tracked.
#[test]
fn waits_end_at_their_times() {
    let (mut machine, tasks) = machine(2);
    for (task, deadline) in tasks.iter().zip([100, 200]) {
        machine.sched.begin_wait(*task, 7, deadline, false);
        machine.switch(Leave::Blocked);
    }
    let mut left = 0;
    assert_eq!(machine.sched.expire(99, &mut |_| left += 1), 0);
    assert_ne!(machine.sched.expire(100, &mut |_| left += 1), 0);
    assert_eq!((left, machine.sched.next_deadline()), (1, 200));
    assert_eq!(machine.sched.state(tasks[0]), State::Ready);
    assert_eq!(machine.sched.state(tasks[1]), State::Blocked);
}

/// BUDY-10: a kill ends a killable wait and leaves any other alone.
#[test]
fn a_kill_ends_killable_waits_only() {
    let (mut machine, tasks) = machine(2);
    for (task, killable) in tasks.iter().zip([true, false]) {
        machine.sched.begin_wait(*task, 7, u64::MAX, killable);
        machine.switch(Leave::Blocked);
    }
    assert_eq!(machine.sched.wake_killed(tasks[0], 0), (Some(bucket_of(7)), 1));
    assert_eq!(machine.sched.wake_killed(tasks[1], 0), (None, 0));
    assert_eq!(machine.sched.state(tasks[1]), State::Blocked);
}

/// A full table refuses another task.
#[test]
fn a_full_table_refuses_and_a_freed_slot_is_used_again() {
    let (mut machine, tasks) = machine(1);
    while machine.sched.create(0, false).is_some() {}
    machine.leave(Leave::Exited);
    machine.sched.finish_exit(tasks[0], true);
    assert_eq!(machine.sched.create(0, false), None);
    machine.sched.free(tasks[0]);
    assert_eq!(machine.sched.create(0, false), Some(tasks[0]));
}
