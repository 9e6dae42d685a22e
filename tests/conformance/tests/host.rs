//! How an environment is checked against the list on a host: that of the crate's example.
//!
//! For another kernel's host test, [`host`] becomes its own environment, and the [`Rig`] is made
//! of what it has for tasks.

#[path = "../../../mm-reclaim/examples/host.rs"]
mod host;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use conformance::{Broken, LastWords, Rig, checks};
use host::{Host, become_task};
use mm_reclaim::block::{Bio, Direction};
use mm_reclaim::env::{BlockDevice, DeviceId, FrameMemory, TaskFlags, Tasks, WaitKey};
use mm_reclaim::space::SpaceId;
use mm_reclaim::units::{Nanos, Pfn};

const FRAMES: u32 = 64;

type Machine = &'static Host;

fn sleep(time: Nanos) {
    thread::sleep(Duration::from_nanos(time.0));
}

fn wake_later(machine: Machine, key: WaitKey, after: Nanos) {
    thread::spawn(move || {
        sleep(after);
        machine.wake(key);
    });
}

/// Each victim is a new task: a killed task stays killed.
fn kill_during(machine: Machine, after: Nanos, words: LastWords<Machine>) -> Result<(), Broken> {
    static VICTIMS: AtomicUsize = AtomicUsize::new(1);
    let space = SpaceId::from_bits(VICTIMS.fetch_add(1, Relaxed) as u64);
    let victim = thread::spawn(move || {
        become_task(1, TaskFlags::empty(), Some(space));
        words(&machine)
    });
    sleep(after);
    machine.kill_for_memory(space);
    victim.join().expect("the victim does not panic")
}

/// The driver alone: what is written to a block is read from it, into any frame.
#[test]
fn the_disk_of_the_example_keeps_what_it_got() {
    let machine = Host::new(FRAMES);
    let transfer = |direction, block, frame| {
        let end = machine.submit(Bio::for_test(direction, DeviceId(0), block, frame));
        assert_eq!(end.expect("a synchronous disk").result(), Ok(()));
    };
    let numbers = [1_u8, 2, 3];
    for number in numbers {
        machine.write(Pfn(5), 4095, &[number]);
        transfer(Direction::Write, u32::from(number), Pfn(5));
    }
    for number in numbers {
        transfer(Direction::Read, u32::from(number), Pfn(6));
        let mut last = [0];
        machine.read(Pfn(6), 4095, &mut last);
        assert_eq!(last, [number]);
    }
}

/// Every promise is kept, and no frame is lost.
#[test]
fn the_example_keeps_every_promise() {
    let machine = Host::new(FRAMES);
    become_task(0, TaskFlags::KERNEL, None);
    for (name, check) in checks::<Machine>() {
        let free = RefCell::new((0..FRAMES).map(Pfn).collect::<Vec<_>>());
        let mut rig = Rig {
            env: &machine,
            take: &mut || {
                let frame = free.borrow_mut().pop().expect("few frames are in use");
                machine.zero(frame);
                frame
            },
            give: &mut |frame| free.borrow_mut().push(frame),
            wake_later: &mut |key, after| wake_later(machine, key, after),
            kill_during: &mut |after, words| kill_during(machine, after, words),
        };
        check(&mut rig).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        assert_eq!(free.borrow().len(), FRAMES as usize, "{name} kept frames");
    }
}
