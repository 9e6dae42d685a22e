//! What tasks need from the layers above: memory, and submission of plugged requests.
//!
//! **Data.** The implementation, set once by [`super::adopt_boot_task`], before there is any other
//! task. **Lock.** None.

use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

use mm_reclaim::space::{SpaceError, SpaceId};
use mm_reclaim::units::Pfn;
use spin::once::Once;

use super::{Task, TaskId};
use crate::arch::lock::Yield;

static SERVICES: Once<&'static dyn Services, Yield> = Once::new();

/// The memory management and the block devices, as far as tasks need them.
pub trait Services: Sync {
    /// A frame for a kernel stack; may sleep.
    fn frame(&self) -> Option<Pfn>;

    /// Takes a frame back; must not sleep.
    fn give_frame(&self, frame: Pfn);

    /// A copy of an address space.
    ///
    /// # Errors
    /// Those of the memory management.
    fn fork_space(&self, space: SpaceId) -> Result<SpaceId, SpaceError>;

    /// The value of TTBR0 for an address space.
    fn ttbr0(&self, space: SpaceId) -> u64;

    /// Opens an address space for a task.
    ///
    /// # Errors
    /// If there is none of that name.
    fn open_space(&self, space: SpaceId) -> Result<NonNull<()>, SpaceError>;

    /// Closes what [`Services::open_space`] returned, once.
    fn close_space(&self, open: NonNull<()>);

    /// Ends an address space.
    ///
    /// # Errors
    /// If there is none of that name.
    fn destroy_space(&self, space: SpaceId) -> Result<(), SpaceError>;

    /// Gives a new task the open files of another; false without memory.
    fn inherit_files(&self, parent: TaskId, child: TaskId) -> bool;

    /// Closes the files of a task that ends; may sleep.
    fn close_files(&self, task: TaskId);

    /// Submits the requests to block devices that are held back by plugs.
    fn send_off(&self);
}

pub(super) fn install(services: &'static dyn Services) {
    SERVICES.call_once(|| services);
}

/// The implementation.
pub(super) fn services() -> &'static dyn Services {
    *SERVICES.get().expect("only the boot task is there before its adoption")
}

/// Submits what `task` holds back, when it is about to leave the CPU; its plugs stay.
pub(super) fn send_off(task: &Task) {
    if task.plugs.load(Relaxed) != 0 {
        services().send_off();
    }
}
