//! The simulator keeps every promise of the environment's traits: the list that the suite in the
//! kernel runs as well. An environment that breaks one is detected.

mod rude;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use conformance::{Broken, COUNT, LastWords, Rig, checks};
use mm_reclaim::env::{Clock, Env, FrameMemory, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, Pfn, SpaceId};
use rude::{Fault, Rude};
use simulator::{Hardware, TaskSpec, World};

/// The frames of a machine.
const FRAMES: u32 = 64;

/// The waker's requests.
const ORDERS: WaitKey = WaitKey(0xca11);

type Orders = Mutex<Vec<(WaitKey, Nanos)>>;

/// A task that wakes keys on request.
fn waker(world: &World, orders: &Orders) {
    loop {
        let end = world
            .wait_until(ORDERS, WaitMode::UNTIL_READY, &mut || !orders.lock().unwrap().is_empty());
        assert_eq!(end, WaitEnd::Ready);
        let (key, after) = orders.lock().unwrap().remove(0);
        sleep(world, after);
        world.wake(key);
    }
}

fn sleep(world: &World, time: Nanos) {
    let mode = WaitMode { timeout: Some(time), killable: false };
    assert_eq!(world.wait_until(WaitKey(0), mode, &mut || false), WaitEnd::TimedOut);
}

/// Runs `words` in a task that is killed while it runs.
fn kill_during<E: Env + Send>(
    env: E,
    world: &World,
    after: Nanos,
    words: LastWords<E>,
) -> Result<(), Broken> {
    let space = SpaceId::from_bits(0x51c);
    let said = Mutex::new(None);
    let victim = || {
        world.sched.act_for(Some(space));
        let result = words(&env);
        *said.lock().unwrap() = Some(result);
    };
    let killer = || {
        sleep(world, after);
        world.kill_for_memory(space);
    };
    world.sched.together(vec![
        TaskSpec::new("victim", TaskFlags::empty(), victim),
        TaskSpec::new("killer", TaskFlags::KERNEL, killer),
    ]);
    world.sched.forget_kill(space);
    said.into_inner().unwrap().expect("the words were said")
}

/// Runs one check on a machine and in the environment that is made of it. `Ok` has the number of
/// frames that it did not free.
fn run<E: Env + Send>(number: usize, world: &World, env: E) -> Result<usize, Broken> {
    let orders = Orders::default();
    let daemon = TaskSpec::new("waker", TaskFlags::KERNEL, || waker(world, &orders));
    let main = || {
        let free = Mutex::new((0..FRAMES).map(Pfn).collect::<Vec<_>>());
        let mut rig = Rig {
            env: &env,
            take: &mut || {
                let frame = free.lock().unwrap().pop().expect("a frame that is not in use");
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
            kill_during: &mut |after, words| kill_during(env, world, after, words),
        };
        checks()[number].1(&mut rig)?;
        assert_eq!(world.arena.spoilt_poison(), None);
        Ok(FRAMES as usize - free.into_inner().unwrap().len())
    };
    world.sched.run(main, vec![daemon])
}

fn small(seed: u64) -> Hardware {
    Hardware { memory: std::iter::once(0..FRAMES).collect(), seed, ..Hardware::default() }
}

/// Every promise holds, however flags are kept, on one CPU and on four.
#[test]
fn the_simulator_keeps_every_promise() {
    for (number, (name, _)) in checks::<&World>().iter().enumerate() {
        for (sets_flags, cpus, preempt_every, seed) in [(false, 1, 0, 0), (true, 4, 3, 7)] {
            let hardware = Hardware { sets_flags, cpus, preempt_every, ..small(seed) };
            let world = World::new(&hardware);
            match run(number, &world, &world) {
                Ok(kept) => assert_eq!(kept, 0, "{name} kept frames"),
                Err(broken) => panic!("{name}: {broken}"),
            }
        }
    }
}

/// The result of a check in an environment with a fault; empty if it finds nothing.
fn found(number: usize, fault: Fault) -> String {
    let hardware = Hardware { cpus: 4, preempt_every: 3, ..small(0) };
    let world = World::new(&hardware);
    let locked = AtomicBool::new(false);
    let rude = Rude { world: &world, fault, locked: &locked };
    match catch_unwind(AssertUnwindSafe(|| run(number, &world, rude))) {
        Ok(Ok(_)) => String::new(),
        Ok(Err(broken)) => broken.promise.to_string(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => (*other.downcast::<&str>().expect("a panic with words")).into(),
        },
    }
}

/// Each fault, and what some check must report for it.
#[test]
fn an_environment_that_breaks_a_promise_is_found_out() {
    let table = [
        (Fault::AsksAgain, "a condition that was true is not asked again"),
        (Fault::TimeFirst, "a condition that was true ends the wait as ready"),
        (Fault::KillFirst, "a condition that was true ends the wait as ready"),
        (Fault::NeverAsks, "the condition is asked at least once"),
        (Fault::AlwaysReady, "a wait ends as ready only if its condition was true"),
        (Fault::LosesWakes, "it does so at once, not when the time is up"),
        (Fault::LocksAround, "the task waits for its own lock"),
        (Fault::KillsAll, "a kill does not end a wait that is not killable"),
        (Fault::KillsNone, "nobody can ever run again"),
    ];
    for (fault, said) in table {
        let all: Vec<String> = (0..COUNT).map(|number| found(number, fault)).collect();
        let told = all.iter().any(|text| text.contains(said));
        assert!(told, "{fault:?} is not found out: {all:#?}");
    }
}

/// The clock of a machine that only waits advances in virtual time, not in the host's.
#[test]
fn an_hour_passes_in_no_time() {
    let world = World::new(&Hardware::default());
    let hour = Nanos::from_millis(3_600_000);
    let mode = WaitMode { timeout: Some(hour), killable: false };
    let end = world.sched.run(|| world.wait_until(WaitKey(1), mode, &mut || false), Vec::new());
    assert_eq!(end, WaitEnd::TimedOut);
    assert!(world.sched.now() >= hour);
}
