//! What tasks need of the memory management, of the disk, and of files.

use core::ptr::NonNull;

use mm_reclaim::gfp::Gfp;
use mm_reclaim::space::{OpenSpace, SpaceError};
use mm_reclaim::units::{Order, Pfn, SpaceId};

use super::open;
use crate::glue::mm;
use crate::task::TaskId;
use crate::{disk, task};

/// The services for tasks.
pub struct ForTasks;

impl task::Services for ForTasks {
    fn frame(&self) -> Option<Pfn> {
        mm().alloc_pages(Gfp::KERNEL, Order::ZERO)
    }

    fn give_frame(&self, frame: Pfn) {
        mm().free_pages(frame, Order::ZERO);
    }

    fn fork_space(&self, space: SpaceId) -> Result<SpaceId, SpaceError> {
        mm().fork_space(space)
    }

    fn ttbr0(&self, space: SpaceId) -> u64 {
        mm().with_tables(space, |tables| tables.ttbr0())
    }

    fn open_space(&self, space: SpaceId) -> Result<NonNull<()>, SpaceError> {
        Ok(mm().open_space(space)?.into_raw())
    }

    fn close_space(&self, open: NonNull<()>) {
        // SAFETY: `open_space` returned it to the task, which closes it once, after its last fault.
        mm().close_space(unsafe { OpenSpace::from_raw(open) });
    }

    fn destroy_space(&self, space: SpaceId) -> Result<(), SpaceError> {
        mm().destroy_space(space)
    }

    fn inherit_files(&self, parent: TaskId, child: TaskId) -> bool {
        open::inherit(parent, child)
    }

    fn close_files(&self, task: TaskId) {
        open::close_all(task);
    }

    fn send_off(&self) {
        disk::send_off();
    }
}
