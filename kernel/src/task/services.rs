//! What tasks ask of the layers above: memory, and that what a task holds back is sent off.
//!
//! **Data.** Who answers, said once by [`super::adopt_boot_task`], before there is any other
//! task. **Lock.** None.

use core::sync::atomic::Ordering::Relaxed;

use mm_reclaim::space::{SpaceError, SpaceId};
use mm_reclaim::units::Pfn;
use spin::once::Once;

use super::Task;
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
    /// As the memory management says.
    fn fork_space(&self, space: SpaceId) -> Result<SpaceId, SpaceError>;

    /// What TTBR0 is for an address space.
    fn ttbr0(&self, space: SpaceId) -> u64;

    /// Ends an address space.
    ///
    /// # Errors
    /// If there is none of that name.
    fn destroy_space(&self, space: SpaceId) -> Result<(), SpaceError>;

    /// Sends off the requests to block devices that lie there because tasks hold plugs.
    fn send_off(&self);
}

pub(super) fn install(services: &'static dyn Services) {
    SERVICES.call_once(|| services);
}

/// Who answers.
pub(super) fn services() -> &'static dyn Services {
    *SERVICES.get().expect("only the boot task is there before its adoption")
}

/// Sends off what `task` holds back, as it is about to leave the CPU; its plugs stay.
pub(super) fn send_off(task: &Task) {
    if task.plugs.load(Relaxed) != 0 {
        services().send_off();
    }
}
