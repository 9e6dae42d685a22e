//! The baton scheduler: one history per seed, no lost wakeup, no silent deadlock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, TryLockError};

use mm_reclaim::env::{Clock, Cpu, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, SpaceId};
use simulator::{Hardware, SimCpu, TaskSpec, World};

/// A value behind a lock of the kind that the crate uses: held with preemption off, and
/// each release a chance to be preempted.
struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        SimCpu::preempt_disable();
        let mut held = loop {
            match self.0.try_lock() {
                Ok(held) => break held,
                Err(TryLockError::WouldBlock) => SimCpu::relax(),
                Err(TryLockError::Poisoned(_)) => panic!("a task has failed with the lock"),
            }
        };
        let result = f(&mut held);
        drop(held);
        SimCpu::preempt_enable();
        result
    }
}

const KEY: WaitKey = WaitKey(7);
const USER: TaskFlags = TaskFlags::empty();

fn hardware(seed: u64) -> Hardware {
    Hardware { cpus: 2, preempt_every: 3, seed, ..Hardware::default() }
}

/// The panic message of `f`.
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it did not panic");
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()).expect("a text"))
}

/// Three tasks that take a lock, yield and nap: which did what, in order.
fn history(seed: u64) -> Vec<(u32, u64)> {
    let world = World::new(&hardware(seed));
    let log = Guarded::new(Vec::new());
    let worker = |id: u32| {
        let (world, log) = (&world, &log);
        TaskSpec::new("worker", USER, move || {
            for turn in 0..50 {
                log.with(|log| log.push((id, turn)));
                match turn % 10 {
                    3 => world.yield_now(),
                    7 => {
                        let timeout = Some(Nanos::from_millis(u64::from(id)));
                        let mode = WaitMode { timeout, killable: false };
                        assert_eq!(world.wait_until(KEY, mode, &mut || false), WaitEnd::TimedOut);
                    }
                    _ => {}
                }
            }
        })
    };
    world.sched.run(|| world.sched.together((0..3).map(worker).collect()), Vec::new());
    log.with(|log| log.clone())
}

/// The same seed gives the same history, another seed another one, and each task does all
/// of its work in its own order.
#[test]
fn a_seed_is_one_history() {
    let first = history(1);
    assert_eq!(first, history(1));
    assert_ne!(first, history(2));
    for id in 0..3 {
        assert!(first.iter().filter(|e| e.0 == id).map(|e| e.1).eq(0..50));
    }
}

/// If all tasks wait for what cannot happen, the run fails and names each wait.
#[test]
fn a_deadlock_is_a_failure_that_names_every_wait() {
    let world = World::new(&hardware(3));
    let text = panic_of(|| {
        let stuck = || {
            let _ = world.wait_until(WaitKey(0xabc), WaitMode::UNTIL_READY, &mut || false);
        };
        let tasks = vec![TaskSpec::new("stuck", USER, stuck)];
        world.sched.run(|| world.sched.together(tasks), Vec::new());
    });
    assert!(text.contains("nobody can ever run again"), "{text}");
    assert!(text.contains("stuck") && text.contains("abc"), "{text}");
}

/// A task that would sleep with a lock held is stopped, and so is one that takes a lock
/// twice.
#[test]
fn sleeping_with_a_lock_held_is_a_failure() {
    let world = World::new(&hardware(4));
    let lock = Guarded::new(());
    let text = panic_of(|| {
        world.sched.run(|| lock.with(|()| world.yield_now()), Vec::new());
    });
    assert!(text.contains("a yield with a lock held"), "{text}");
    let world = World::new(&hardware(4));
    let lock = Guarded::new(());
    let text = panic_of(|| {
        world.sched.run(|| lock.with(|()| lock.with(|()| ())), Vec::new());
    });
    assert!(text.contains("this task holds the lock itself"), "{text}");
}

/// A failed task ends the whole machine with its own message, whatever the others do.
#[test]
fn a_failing_task_fails_the_machine() {
    let world = World::new(&hardware(5));
    let text = panic_of(|| {
        let forever = || loop {
            world.yield_now();
        };
        let fails = || panic!("seven is not eight");
        let tasks =
            vec![TaskSpec::new("forever", USER, forever), TaskSpec::new("fails", USER, fails)];
        world.sched.run(|| world.sched.together(tasks), Vec::new());
    });
    assert_eq!(text, "task fails: seven is not eight");
}

/// Handing a value back and forth by wait and wake never loses a wakeup, for many seeds.
#[test]
fn no_wake_up_is_lost() {
    for seed in 0..50 {
        let world = World::new(&Hardware { preempt_every: 1, ..hardware(seed) });
        let turn = Guarded::new(0);
        let player = |parity: u32| {
            let (world, turn) = (&world, &turn);
            TaskSpec::new("player", USER, move || {
                for _ in 0..20 {
                    let mut mine = || turn.with(|turn| *turn % 2 == parity);
                    let end = world.wait_until(KEY, WaitMode::UNTIL_READY, &mut mine);
                    assert_eq!(end, WaitEnd::Ready);
                    turn.with(|turn| *turn += 1);
                    world.wake(KEY);
                }
            })
        };
        world.sched.run(|| world.sched.together(vec![player(0), player(1)]), Vec::new());
        assert_eq!(turn.with(|turn| *turn), 40, "seed {seed}");
    }
}

/// A kill ends a killable wait of the task that acts for the space, and no other wait.
#[test]
fn a_kill_ends_killable_waits_only() {
    let world = World::new(&hardware(6));
    let ends = Mutex::new(Vec::new());
    let sleeper = |space: u64, killable: bool| {
        let (world, ends) = (&world, &ends);
        TaskSpec::new("sleeper", USER, move || {
            world.sched.act_for(Some(SpaceId::from_bits(space)));
            let mode = WaitMode { timeout: Some(Nanos::from_millis(50)), killable };
            let end = world.wait_until(KEY, mode, &mut || false);
            let dying = world.flags().contains(TaskFlags::DYING | TaskFlags::OOM_VICTIM);
            ends.lock().unwrap().push((space, killable, end, dying));
        })
    };
    let killer = TaskSpec::new("killer", USER, || {
        let mode = WaitMode { timeout: Some(Nanos::from_millis(10)), killable: false };
        assert_eq!(world.wait_until(WaitKey(8), mode, &mut || false), WaitEnd::TimedOut);
        world.kill_for_memory(SpaceId::from_bits(1));
    });
    let tasks = vec![sleeper(1, true), sleeper(1, false), sleeper(2, true), killer];
    world.sched.run(|| world.sched.together(tasks), Vec::new());
    assert!(world.sched.now() >= Nanos::from_millis(50));
    let mut ends = ends.into_inner().unwrap();
    ends.sort_by_key(|&(space, killable, ..)| (space, killable));
    let expected = [
        (1, false, WaitEnd::TimedOut, true),
        (1, true, WaitEnd::Killed, true),
        (2, true, WaitEnd::TimedOut, false),
    ];
    assert_eq!(ends, expected);
}

/// Machines of several threads run concurrently, each with its own history.
#[test]
fn machines_do_not_disturb_each_other() {
    let alone: Vec<_> = (10..14).map(history).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (10..14).map(|seed| scope.spawn(move || history(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}
