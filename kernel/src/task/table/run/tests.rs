//! Tests of the scheduling order: shares over time, credit, accounts.

use super::super::tests::Machine;
use super::*;
use crate::task::CPUS;

/// The keys that the swapping program, kswapd and the disk's task wait for.
const PAGE: u64 = 1;
const KSWAPD: u64 = 2;
const DISK: u64 = 3;

const SLICE_US: u64 = fair::SLICE.0 / 1000;

/// A machine on which tasks compute, and the CPU time of each, in microseconds.
struct Load {
    machine: Machine,
    had: [u64; 32],
}

impl Load {
    fn new() -> Self {
        Self { machine: Machine::new(), had: [0; 32] }
    }

    /// `count` ready programs.
    fn programs(&mut self, count: usize) -> Vec<TaskId> {
        (0..count).map(|_| self.machine.program()).collect()
    }

    /// The running task computes for `us`.
    fn run(&mut self, us: u64) {
        self.had[self.machine.running().index()] += us;
        self.machine.run(us);
    }

    /// The running task computes to the end of its slice, and then the next one takes over.
    fn run_slice(&mut self) {
        self.run(SLICE_US);
        if self.machine.sched.another_is_due(0, self.machine.now) {
            self.machine.switch(Leave::Ready);
        }
    }

    /// Runs the schedule until `id` has computed for `us`.
    fn compute(&mut self, id: TaskId, us: u64) {
        let end = self.had[id.index()] + us;
        self.wait_for(id);
        while self.had[id.index()] + SLICE_US <= end {
            self.run_slice();
        }
        self.wait_for(id);
        self.run(end - self.had[id.index()]);
    }

    /// Runs the schedule until `id` runs.
    fn wait_for(&mut self, id: TaskId) {
        let turns = (0..1000).find(|_| {
            let waits = self.machine.running() != id;
            if waits {
                self.run_slice();
            }
            !waits
        });
        assert!(turns.is_some(), "{id:?} starves");
    }

    /// A woken task preempts, if it should.
    fn wake(&mut self, key: u64) {
        if self.machine.wake(key).1 != 0 {
            self.machine.switch(Leave::Ready);
        }
    }

    /// The share of the CPU in per mille.
    fn per_mille(&self, ids: &[TaskId]) -> u64 {
        let had: u64 = ids.iter().map(|id| self.had[id.index()]).sum();
        had * 1000 / self.had.iter().sum::<u64>()
    }
}

/// One page of a program that swaps: it computes, makes the disk read, and sleeps until that is
/// done.
fn swap_a_page(load: &mut Load, program: TaskId, disk: TaskId) {
    load.compute(program, 6);
    load.machine.sched.begin_wait(program, PAGE, u64::MAX, false);
    load.wake(DISK);
    assert_eq!(load.machine.running(), disk, "it comes first");
    load.run(4);
    load.wake(PAGE);
    load.machine.sleep(DISK);
}

/// TASK-01: with N others, a program and all that the disk does for it get a share of 1 in N + 1,
/// and so does each of the others.
#[test]
fn a_program_that_swaps_gets_its_part_beside_others_that_compute() {
    for others in [1, 3, 10] {
        let mut load = Load::new();
        let disk = load.machine.server(Class::First, DISK);
        let program = load.machine.program();
        let spinners = load.programs(others);
        load.machine.switch(Leave::Ready);
        for _ in 0..100_000 / (others + 1) {
            swap_a_page(&mut load, program, disk);
        }
        let part = 1000 / (others as u64 + 1);
        for part_of in [&[program, disk][..]].into_iter().chain(spinners.chunks(1)) {
            let got = load.per_mille(part_of);
            assert!(got.abs_diff(part) * 10 <= part, "{got} of {part} beside {others}");
        }
    }
}

/// CTRL-01, TASK-01: kswapd preempts the task that woke it, at that task's cost.
#[test]
fn reclaim_runs_at_once_and_takes_from_the_share_of_who_needs_it() {
    let mut load = Load::new();
    let kswapd = load.machine.server(Class::Serves, KSWAPD);
    let program = load.machine.program();
    let spinner = load.machine.program();
    load.machine.switch(Leave::Ready);
    for _ in 0..2_000 {
        load.compute(program, 200);
        load.wake(KSWAPD);
        load.compute(kswapd, 300);
        load.machine.sleep(KSWAPD);
    }
    let [mine, other] = [&[program, kswapd][..], &[spinner]].map(|ids| load.per_mille(ids));
    assert!(mine.abs_diff(other) < 20, "{mine} and {other} of 1000");
}

/// OOM-02: kernel tasks that wake each other do not keep the others from running.
#[test]
fn servers_that_wake_each_other_do_not_starve_the_others() {
    let mut load = Load::new();
    let kswapd = load.machine.server(Class::Serves, KSWAPD);
    let disk = load.machine.server(Class::First, DISK);
    let customer = load.machine.program();
    let spinner = load.machine.program();
    load.machine.switch(Leave::Ready);
    load.compute(customer, 10);
    load.wake(KSWAPD);
    for _ in 0..10_000 {
        load.compute(kswapd, 5);
        load.wake(DISK);
        assert_eq!(load.machine.running(), kswapd, "what it writes can wait until it sleeps");
        assert_eq!(load.machine.sleep(KSWAPD), disk);
        load.run(5);
        load.wake(KSWAPD);
        load.machine.sleep(DISK);
    }
    let (theirs, other) = (load.per_mille(&[kswapd, disk, customer]), load.per_mille(&[spinner]));
    assert!(theirs.abs_diff(other) < 100, "{theirs} and {other} of 1000");
}

/// TASK-01: a task that slept for long runs at once, and ahead of the others for its credit.
#[test]
fn a_long_sleep_buys_a_credit_and_no_more() {
    let mut load = Load::new();
    let sleeper = load.machine.program();
    let spinner = load.machine.program();
    load.machine.switch(Leave::Ready);
    assert_eq!(load.machine.sleep(PAGE), spinner);
    (0..1000).for_each(|_| load.run_slice());
    load.wake(PAGE);
    assert_eq!(load.machine.running(), sleeper, "it is far behind");
    let before = load.had[sleeper.index()];
    while load.machine.running() == sleeper {
        load.run_slice();
    }
    let ahead = load.had[sleeper.index()] - before;
    assert!(ahead <= fair::CREDIT.0 / 1000 + SLICE_US, "it had {ahead} us before the other");
}

/// TASK-01: the same holds if the others slept as well when it woke, or if only the disk's task
/// interrupted them in between.
#[test]
fn a_task_that_wakes_on_an_idle_cpu_is_not_ahead_for_long() {
    let mut load = Load::new();
    let disk = load.machine.server(Class::First, DISK);
    let (sleeper, worker) = (load.machine.program(), load.machine.program());
    load.machine.switch(Leave::Ready);
    assert_eq!(load.machine.sleep(KSWAPD), worker);
    for _ in 0..10_000 {
        swap_a_page(&mut load, worker, disk);
    }
    load.machine.sleep(PAGE);
    assert_ne!(load.machine.running(), worker, "the CPU idles");
    load.wake(KSWAPD);
    assert_eq!(load.machine.running(), sleeper);
    load.machine.wake(PAGE);
    let before = load.had[sleeper.index()];
    load.compute(worker, 1);
    let ahead = load.had[sleeper.index()] - before;
    assert!(ahead <= fair::CREDIT.0 / 1000 + SLICE_US, "it had {ahead} us before the other");
}

/// TASK-01: a chain of children that each run for less than a slice gets no more than its share.
#[test]
fn a_chain_of_short_children_gets_no_more_than_one_program() {
    let mut load = Load::new();
    let spinner = load.machine.program();
    let mut link = load.machine.program();
    load.machine.switch(Leave::Ready);
    let mut chain = 0;
    for _ in 0..500 {
        load.compute(link, 2_000);
        let child = load.machine.sched.create(0, false).unwrap();
        load.machine.sched.start(child, Some(link), load.machine.now);
        load.machine.switch(Leave::Exited);
        load.machine.sched.finish_exit(link, false);
        chain += 2_000;
        link = child;
    }
    let other = load.had[spinner.index()];
    assert!(chain <= other + 2 * SLICE_US, "the chain had {chain} us, the other {other}");
}

/// TASK-01: when the customer is gone, its server continues with the same virtual time.
#[test]
fn an_account_ends_with_its_owner() {
    let mut load = Load::new();
    let kswapd = load.machine.server(Class::Serves, KSWAPD);
    let customer = load.machine.program();
    load.machine.switch(Leave::Ready);
    load.compute(customer, 1_000);
    assert_eq!(load.machine.wake(KSWAPD), (1, 1));
    let stood = load.machine.sched.time_of(customer);
    load.machine.switch(Leave::Exited);
    load.machine.sched.finish_exit(customer, false);
    let next = load.machine.program();
    assert_eq!(next, customer, "the place is reused");
    assert_eq!(load.machine.running(), kswapd);
    assert!(load.machine.sched.time_of(kswapd) >= stood);
    let other = load.machine.sched.time_of(next);
    load.run(100);
    load.machine.sched.count(0, load.machine.now);
    assert_eq!(load.machine.sched.time_of(next), other, "it pays for itself");
}

/// TASK-01: virtual times of two CPUs cannot be compared, so a server pays for itself then.
#[test]
fn a_customer_on_another_cpu_does_not_pay() {
    let mut load = Load::new();
    let kswapd = load.machine.server(Class::Serves, KSWAPD);
    let far = load.machine.sched.create(CPUS - 1, false).unwrap();
    load.machine.sched.start(far, None, load.machine.now);
    assert_eq!(load.machine.sched.wake(KSWAPD, Some(far), load.machine.now), (1, 1));
    assert_eq!(load.machine.sched.slots[kswapd.index()].account, kswapd);
}

/// A timeout has no customer: the server keeps its account.
#[test]
fn a_timeout_leaves_the_account_alone() {
    let mut load = Load::new();
    let disk = load.machine.server(Class::First, DISK);
    let (customer, spinner) = (load.machine.program(), load.machine.program());
    load.machine.switch(Leave::Ready);
    assert_eq!(load.machine.running(), customer);
    load.wake(DISK);
    load.machine.sched.begin_wait(disk, DISK, load.machine.now + 1, false);
    load.machine.switch(Leave::Blocked);
    load.machine.sleep(PAGE);
    assert_eq!(load.machine.running(), spinner);
    load.run(10);
    assert_eq!(load.machine.sched.expire(load.machine.now, &mut |_| {}), 1);
    assert_eq!(load.machine.sched.slots[disk.index()].account, customer);
}

/// `sched_yield` lets the next one run, even one that is ahead.
#[test]
fn who_yields_lets_the_next_one_run() {
    let mut load = Load::new();
    let (first, second) = (load.machine.program(), load.machine.program());
    load.machine.switch(Leave::Ready);
    load.run(SLICE_US + 10);
    assert_eq!(load.machine.switch(Leave::Ready), second);
    load.run(1_000);
    assert_eq!(load.machine.switch(Leave::Ready), first);
    assert_eq!(load.machine.switch(Leave::Yielding), second);
}
