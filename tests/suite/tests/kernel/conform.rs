//! The AArch64 environment keeps the promises that the simulator keeps: the same list of
//! checks, each a test of its own.

use conformance::{Broken, COUNT, LastWords, Rig, checks};
use kernel::arch::lock::IrqLock;
use kernel::glue::KernelEnv;
use kernel::task::{self, killed_by, signal};
use mm_reclaim::env::{Env, Tasks, WaitKey};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::space::SpaceId;
use mm_reclaim::units::{Nanos, Order};
use suite::Test;

use crate::support::{
    books, eventually, join, join_kernel_tasks, mm, nothing_leaked_since, own_space, spawn,
    spawn_with_space,
};

macro_rules! tests {
    ($($number:literal)*) => {
        [$(Test::new(checks::<KernelEnv>()[$number].0, run::<$number>)),*]
    };
}

/// Every check there is: the array's length ensures it.
pub const TESTS: &[Test; COUNT] = &tests!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
    24 25 26 27 28);

/// Which key to wake, and when.
static ORDER: IrqLock<Option<(WaitKey, Nanos)>> = IrqLock::new(None);

fn wake_as_ordered(_: usize) {
    let (key, after) = ORDER.lock().take().expect("an order");
    task::sleep(after);
    task::wake(key);
}

/// What the task to be killed does, its space, and the result.
static WORDS: IrqLock<Option<LastWords<KernelEnv>>> = IrqLock::new(None);
static VICTIM: IrqLock<Option<SpaceId>> = IrqLock::new(None);
static SAID: IrqLock<Option<Result<(), Broken>>> = IrqLock::new(None);

fn say_last_words(_: usize) -> i32 {
    let words = WORDS.lock().take().expect("last words");
    *VICTIM.lock() = Some(own_space());
    let said = words(mm().env());
    *SAID.lock() = Some(said);
    task::exit_killed()
}

fn kill_during(after: Nanos, words: LastWords<KernelEnv>) -> Result<(), Broken> {
    *WORDS.lock() = Some(words);
    let pid = spawn_with_space(say_last_words, 0);
    eventually("the victim runs", || VICTIM.lock().is_some());
    task::sleep(after);
    let space = VICTIM.lock().take().expect("a victim");
    mm().env().tasks().kill_for_memory(space);
    assert_eq!(join(pid), killed_by(signal::SIGKILL));
    SAID.lock().take().expect("the words were said")
}

fn run<const NUMBER: usize>() {
    let before = books();
    let mut rig = Rig {
        env: mm().env(),
        take: &mut || mm().alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::ZERO).expect("a frame"),
        give: &mut |frame| mm().free_pages(frame, Order::ZERO),
        wake_later: &mut |key, after| {
            *ORDER.lock() = Some((key, after));
            spawn(wake_as_ordered, 0);
            eventually("the order is taken", || ORDER.lock().is_none());
        },
        kill_during: &mut kill_during,
    };
    let (name, check) = checks::<KernelEnv>()[NUMBER];
    check(&mut rig).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    join_kernel_tasks();
    nothing_leaked_since(&before);
}
