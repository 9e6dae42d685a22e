//! `Mm`: the machine's memory, as one value that owns every part and forwards calls.
//!
//! There is no global state: a kernel has one `Mm`, a test may have many. Each part is a type in a
//! folder of its own; it holds references to the parts below that it needs, and none to those
//! above, so that a call upwards does not compile. The parts lie in the block of memory that the
//! boot code hands over, in this order:
//!
//! ```text
//!   zones <- lru <- cache <- files <- swap <- rmap <- reclaim <- alloc <- filemap <- faults <- mmap
//!               spaces <-----------/    \- oom <------/
//! ```
//!
//! `Mm` adds no lock and decides nothing. Its methods are the kernel's interface, by subject:
//! frames (`memory.rs`), programs (`programs.rs`), swap devices (`devices.rs`), counters, knobs and
//! checks (`state.rs`).

mod damage;
mod devices;
mod files;
mod layout;
mod memory;
mod programs;
mod state;

use core::mem::MaybeUninit;

use crate::alloc::Alloc;
use crate::base::stat::VmEvents;
use crate::base::storage::Storage;
use crate::base::sync::AtomicU64;
use crate::block::writeback::Writeback;
use crate::boot::plan::Plan;
use crate::cache::Cache;
use crate::env::{Env, FrameMemory};
use crate::fault::Faults;
use crate::file::Files;
use crate::filemap::Filemap;
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::mmap::Mmap;
use crate::oom::Oom;
use crate::page::Page;
use crate::page::memmap::MemMap;
use crate::page::pool::Window;
use crate::reclaim::Reclaim;
use crate::rmap::Rmap;
use crate::space::Spaces;
use crate::swap::Swap;
use crate::zone::Zones;

/// The machine's memory.
pub struct Mm<'m, E: Env> {
    pub(crate) env: E,
    pub(crate) map: MemMap<'m>,
    pub(crate) zones: &'m Zones<'m, E>,
    pub(crate) lru: &'m Lru<'m, E>,
    pub(crate) writeback: &'m Writeback<E>,
    pub(crate) files: &'m Files<'m, E>,
    pub(crate) swap: &'m Swap<'m, E>,
    pub(crate) spaces: &'m Spaces<'m, E>,
    pub(crate) rmap: &'m Rmap<'m, E>,
    pub(crate) reclaim: &'m Reclaim<'m, E>,
    pub(crate) oom: &'m Oom<'m, E>,
    pub(crate) alloc: &'m Alloc<'m, E>,
    pub(crate) filemap: &'m Filemap<'m, E>,
    pub(crate) faults: &'m Faults<'m, E>,
    pub(crate) mmap: &'m Mmap<'m, E>,
    pub(crate) events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Mm<'m, E> {
    /// Zones, zonelists and descriptors for `plan` (`bootmem_init`): everything is
    /// reserved until [`Mm::free_bootmem`] hands it over.
    ///
    /// `block` has the size that [`Plan::storage_layout`] returned.
    ///
    /// # Panics
    /// If `block` is too small.
    pub fn new(env: E, plan: Plan<'_>, block: &'m mut [MaybeUninit<u8>]) -> Self {
        let mut storage = Storage::new(block);
        let map = new_map(&plan, &mut storage);
        let places = storage.cut(plan.spaces, |_| AtomicU64::new(0));
        let events: &VmEvents<E::Cpu> = storage.one(VmEvents::new());
        let zones = Zones::new(env, map, &plan, &mut storage);
        let zones = storage.one(zones);
        let lru = storage.one(Lru::new(zones, events));
        let turnover = storage.one(Turnover::new());
        let writeback = storage.one(Writeback::new(env));
        let cache = storage.one(Cache::new(lru, writeback, turnover));
        let window = Window::new(env.frames().linear_map(map.base()));
        let files = storage.one(Files::new(cache, window));
        let swap = storage.one(Swap::new(files));
        let spaces = storage.one(Spaces::new(files, window, places));
        let rmap = storage.one(Rmap::new(lru, swap, spaces));
        let reclaim = storage.one(Reclaim::new(lru, writeback, files, swap, rmap, turnover));
        reclaim.set_swappiness(plan.config.swappiness);
        let oom = storage.one(Oom::new(lru, swap, spaces, rmap));
        let alloc = storage.one(Alloc::new(lru, writeback, reclaim, oom, turnover));
        let filemap = storage.one(Filemap::new(files, swap, rmap, alloc));
        let faults = storage.one(Faults::new(lru, swap, spaces, rmap, alloc, filemap));
        let mmap = Mmap::new(swap, spaces, rmap, reclaim, alloc, filemap, faults);
        let mmap = storage.one(mmap);
        Self {
            env,
            map,
            zones,
            lru,
            writeback,
            files,
            swap,
            spaces,
            rmap,
            reclaim,
            oom,
            alloc,
            filemap,
            faults,
            mmap,
            events,
        }
    }

    /// The environment.
    pub fn env(&self) -> &E {
        &self.env
    }
}

/// The descriptors of all frames, each reserved and of its zone.
fn new_map<'m>(plan: &Plan<'_>, storage: &mut Storage<'m>) -> MemMap<'m> {
    let runs = plan.runs().map(|run| {
        let page = move || Page::reserved(run.zone as u8, run.present);
        (run.frames.pages() as usize, page)
    });
    MemMap::new(storage.cut_runs(plan.span.pages() as usize, runs), plan.span.start)
}

#[cfg(test)]
mod tests;
