//! What tests share: tasks that run a test's functions, memory of their own for those, and the
//! final validation.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use kernel::arch::cpu;
use kernel::arch::lock::IrqLock;
use kernel::drivers::timer;
pub use kernel::early::machine;
use kernel::glue::{self, KernelMm};
use kernel::task::family::Which;
use kernel::task::{self, TaskId, exited_with};
use mm_reclaim::env::{Prot, TaskFlags, WaitKey, WaitMode};
use mm_reclaim::space::{AreaFlags, SpaceId};
use mm_reclaim::units::{Nanos, Vpn};
use mm_reclaim::{Census, Place};

/// Loads and stores.
pub const READ_WRITE: Prot = Prot::READ.union(Prot::WRITE);

/// How long a test waits for what must happen.
const PATIENCE_MS: u64 = 20_000;

const HANDED_OVER: WaitKey = WaitKey(0x7375_6974_6500_0001);

/// The memory management.
pub fn mm() -> &'static KernelMm {
    glue::mm()
}

/// Sleeps.
pub fn sleep_ms(ms: u64) {
    task::sleep(Nanos::from_millis(ms));
}

/// Milliseconds of the clock.
pub fn now_ms() -> u64 {
    timer::now().0 / 1_000_000
}

/// Waits until `happened` is true.
///
/// # Panics
/// If it takes too long.
#[track_caller]
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = now_ms();
    while !happened() {
        assert!(now_ms() - start < PATIENCE_MS, "this did not happen: {what}");
        sleep_ms(1);
    }
}

/// What a new task is to run, on its way there.
#[derive(Clone, Copy)]
enum Work {
    Kernel(fn(usize), usize),
    User(fn(usize) -> i32, usize),
}

static WORK: IrqLock<Option<Work>> = IrqLock::new(None);
static RUNNING: AtomicU32 = AtomicU32::new(0);

fn hand_over(work: Work) {
    let previous = WORK.lock().replace(work);
    assert!(previous.is_none(), "one task is started at a time");
}

fn await_hand_over() {
    let taken = &mut || WORK.lock().is_none();
    let _ = task::wait_until(HANDED_OVER, WaitMode::UNTIL_READY, taken);
}

fn take_over() -> Work {
    let work = WORK.lock().take().expect("work was handed over");
    task::wake(HANDED_OVER);
    work
}

/// Starts a kernel task that runs `body(argument)` and exits.
pub fn spawn(body: fn(usize), argument: usize) -> TaskId {
    RUNNING.fetch_add(1, Relaxed);
    hand_over(Work::Kernel(body, argument));
    let id = task::spawn_kernel("test", TaskFlags::empty(), run_work).expect("room for a task");
    await_hand_over();
    id
}

/// Starts a task with an address space of its own that runs `body(argument)`, in the kernel,
/// and exits with its value. Returns its process number.
pub fn spawn_with_space(body: fn(usize) -> i32, argument: usize) -> u32 {
    let space = mm().create_space().expect("room for an address space");
    hand_over(Work::User(body, argument));
    let pid = task::spawn_user(b"test", space, run_work).expect("room for a task");
    await_hand_over();
    pid
}

fn run_work() -> ! {
    match take_over() {
        Work::Kernel(body, argument) => {
            body(argument);
            RUNNING.fetch_sub(1, Relaxed);
            task::exit(0)
        }
        Work::User(body, argument) => task::exit(exited_with(body(argument))),
    }
}

/// Waits until every task that [`spawn`] started has finished.
pub fn join_kernel_tasks() {
    eventually("the kernel tasks finish", || RUNNING.load(Relaxed) == 0);
}

/// Waits for a process; its status as `wait4` encodes it.
pub fn join(pid: u32) -> i32 {
    loop {
        match task::wait_child(Which::Pid(pid), true) {
            Ok(Some((_, status))) => return status,
            Ok(None) => {}
            Err(_) => panic!("process {pid} has no parent"),
        }
    }
}

/// Runs `body(argument)` in a task with an address space, to its end.
///
/// # Panics
/// If it does not exit with status 0.
#[track_caller]
pub fn with_space(body: fn(usize) -> i32, argument: usize) {
    let status = join(spawn_with_space(body, argument));
    assert_eq!(status, 0, "the task with the address space ended so");
}

/// The address space of the running task.
pub fn own_space() -> SpaceId {
    task::current().space().expect("the task has an address space")
}

/// Maps new pages into the running task's address space.
pub fn map(pages: u32, prot: Prot) -> Range<Vpn> {
    let start =
        mm().mmap(own_space(), Place::Anywhere, pages, prot, AreaFlags::empty()).expect("room");
    start..start + pages
}

/// Validates, at a quiet moment.
///
/// # Panics
/// If a violation is found and stays.
#[track_caller]
pub fn books() -> Census {
    let look = |whatever_goes_on: bool| {
        cpu::preempt_disable();
        let found = (whatever_goes_on || mm().is_quiet()).then(|| mm().validate());
        cpu::preempt_enable();
        found
    };
    // The zero page comes with the first space and stays; what the tables of the crate keep for
    // the next one is freed.
    mm().create_space().and_then(|id| mm().destroy_space(id)).expect("memory for a space");
    mm().trim_tables();
    let start = now_ms();
    loop {
        let over = now_ms() - start >= 2_000;
        match look(over) {
            Some(Ok(census)) => return census,
            Some(Err(violation)) if over => panic!("validation failed: {violation}"),
            // A task that is at work has pages on their way.
            _ => sleep_ms(10),
        }
    }
}

/// Waits until the kernel owns as many pages, and programs as few, as at `before`, when
/// everything that a test started is gone.
///
/// # Panics
/// If it never does: something was leaked, or lost.
#[track_caller]
pub fn nothing_leaked_since(before: &Census) {
    let of = |census: &Census| (census.kernel, census.mappings, census.swap_entries);
    let start = now_ms();
    loop {
        let after = books();
        if of(&after) == of(before) {
            return;
        }
        assert!(now_ms() - start < 2_000, "leaked: {before:?} became {after:?}");
        sleep_ms(10);
    }
}
