//! How much memory the parts need.

use core::alloc::Layout;

use crate::alloc::Alloc;
use crate::base::stat::VmEvents;
use crate::base::storage::extend;
use crate::base::sync::{AtomicU8, AtomicU64};
use crate::block::writeback::Writeback;
use crate::boot::plan::Plan;
use crate::cache::Cache;
use crate::env::{Env, MAX_CPUS};
use crate::fault::Faults;
use crate::file::Files;
use crate::filemap::Filemap;
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::mmap::Mmap;
use crate::oom::Oom;
use crate::page::Page;
use crate::reclaim::Reclaim;
use crate::rmap::Rmap;
use crate::space::Spaces;
use crate::swap::Swap;
use crate::zone::{CpuLists, MAX_ZONES, Pageblock, Zones};

impl Plan<'_> {
    /// The memory that the descriptors and tables need, in one block.
    pub fn storage_layout<E: Env>(&self) -> Layout {
        let layout = extend::<Page>(Layout::new::<()>(), self.span.pages() as usize);
        let layout = extend::<AtomicU64>(layout, self.spaces);
        let layout = extend::<VmEvents<E::Cpu>>(layout, 1);
        let layout = (0..MAX_ZONES).fold(layout, |layout, zone| {
            let layout = extend::<AtomicU8>(layout, self.pageblocks(zone));
            let layout = extend::<Pageblock>(layout, self.pageblocks(zone));
            extend::<[CpuLists<'_>; MAX_CPUS]>(layout, 1)
        });
        parts::<E>(layout)
    }
}

/// In the order of [`Mm::new`](crate::Mm::new).
fn parts<E: Env>(layout: Layout) -> Layout {
    let layout = extend::<Zones<'_, E>>(layout, 1);
    let layout = extend::<Lru<'_, E>>(layout, 1);
    let layout = extend::<Turnover>(layout, 1);
    let layout = extend::<Writeback<E>>(layout, 1);
    let layout = extend::<Cache<'_, E>>(layout, 1);
    let layout = extend::<Files<'_, E>>(layout, 1);
    let layout = extend::<Swap<'_, E>>(layout, 1);
    let layout = extend::<Spaces<'_, E>>(layout, 1);
    let layout = extend::<Rmap<'_, E>>(layout, 1);
    let layout = extend::<Reclaim<'_, E>>(layout, 1);
    let layout = extend::<Oom<'_, E>>(layout, 1);
    let layout = extend::<Alloc<'_, E>>(layout, 1);
    let layout = extend::<Filemap<'_, E>>(layout, 1);
    let layout = extend::<Faults<'_, E>>(layout, 1);
    extend::<Mmap<'_, E>>(layout, 1)
}
