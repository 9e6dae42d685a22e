//! The AArch64 environment keeps the promises that the simulator keeps: the same list of
//! checks, each a test of its own.

use conformance::{COUNT, Rig, checks};
use kernel::arch::lock::IrqLock;
use kernel::glue::KernelEnv;
use kernel::task;
use mm_reclaim::env::WaitKey;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Nanos, Order};
use suite::Test;

use crate::support::{books, join_kernel_tasks, mm, nothing_leaked_since, spawn};

macro_rules! tests {
    ($($number:literal)*) => {
        [$(Test::new(checks::<KernelEnv>()[$number].0, run::<$number>)),*]
    };
}

/// Every check there is: the array's length says so.
pub const TESTS: &[Test; COUNT] = &tests!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21);

/// Whom to wake, and when.
static ORDER: IrqLock<Option<(WaitKey, Nanos)>> = IrqLock::new(None);

fn wake_as_ordered(_: usize) {
    let (key, after) = ORDER.lock().take().expect("an order");
    task::sleep(after);
    task::wake(key);
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
        },
    };
    let (name, check) = checks::<KernelEnv>()[NUMBER];
    check(&mut rig).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    join_kernel_tasks();
    nothing_leaked_since(&before);
}
