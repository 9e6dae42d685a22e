//! The simulator keeps every promise of the environment's traits: the list that the suite
//! in the kernel runs as well.

use std::sync::Mutex;

use conformance::{COUNT, Rig, checks};
use mm_reclaim::env::{Clock, FrameMemory, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, Pfn};
use simulator::{Hardware, TaskSpec, World};

/// Where the waker finds its orders.
const ORDERS: WaitKey = WaitKey(0xca11);

type Orders = Mutex<Vec<(WaitKey, Nanos)>>;

/// A task that wakes keys when it was asked to.
fn waker(world: &World, orders: &Orders) {
    loop {
        let end = world
            .wait_until(ORDERS, WaitMode::UNTIL_READY, &mut || !orders.lock().unwrap().is_empty());
        assert_eq!(end, WaitEnd::Ready);
        let (key, after) = orders.lock().unwrap().remove(0);
        let mode = WaitMode { timeout: Some(after), killable: false };
        assert_eq!(world.wait_until(WaitKey(0), mode, &mut || false), WaitEnd::TimedOut);
        world.wake(key);
    }
}

/// Runs one check on a machine; returns the frames that it did not give back.
fn run(number: usize, hardware: &Hardware) -> usize {
    let world = World::new(hardware);
    let orders = Orders::default();
    let daemon = TaskSpec::new("waker", TaskFlags::KERNEL, || waker(&world, &orders));
    let main = || {
        let free = Mutex::new((0..64).map(Pfn).collect::<Vec<_>>());
        let env = &world;
        let mut rig = Rig {
            env: &env,
            take: &mut || {
                let frame = free.lock().unwrap().pop().expect("more than 64 frames in use");
                world.arena.zero(frame);
                frame
            },
            give: &mut |frame| {
                world.arena.poison(frame);
                free.lock().unwrap().push(frame);
            },
            wake_later: &mut |key, after| {
                orders.lock().unwrap().push((key, after));
                world.wake(ORDERS);
            },
        };
        let (name, check) = checks()[number];
        check(&mut rig).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        assert_eq!(world.arena.spoilt_poison(), None);
        64 - free.into_inner().unwrap().len()
    };
    world.sched.run(main, vec![daemon])
}

/// Every promise holds, however flags are kept, on one CPU and on four.
#[test]
fn the_simulator_keeps_every_promise() {
    for number in 0..COUNT {
        for (sets_flags, cpus) in [(false, 1), (true, 4)] {
            let hardware = Hardware { sets_flags, cpus, ..Hardware::default() };
            assert_eq!(run(number, &hardware), 0, "check {number} kept frames");
        }
    }
}

/// The clock of a machine that only waits goes by virtual time, not by the host's.
#[test]
fn an_hour_passes_in_no_time() {
    let world = World::new(&Hardware::default());
    let hour = Nanos::from_millis(3_600_000);
    let mode = WaitMode { timeout: Some(hour), killable: false };
    let end = world.sched.run(|| world.wait_until(WaitKey(1), mode, &mut || false), Vec::new());
    assert_eq!(end, WaitEnd::TimedOut);
    assert!(world.sched.now() >= hour);
}
