//! From the device tree to usable memory: the part of the boot before the page allocator (BOOT-03,
//! BOOT-04, BOOT-07, MEMB-01, MEMB-02).
//!
//! Data: the contents of the device tree ([`Machine`]), then memblock and the RAM disk's place
//! (`Memory`), then the same with a linear map (`MappedMemory`). Owner: the boot CPU; no locks.
//! Order: each step consumes the result of the previous one, so that a boot in another order does
//! not compile; the page allocator starts from a `MappedMemory`.
//!
//! [`describe`] turns the device tree into sets of addresses; it is portable and tested on a host.

use core::fmt;

use boot::dtb::{CpuNode, DtbError, EnableMethod, Span, Summary};
use boot::layout::{LINEAR_SIZE, MEGA_BLOCK, PAGE_SIZE};
use mm_reclaim::memblock::{Direction, Memblock, MemblockError, MemoryMap, Region, TableMemory};
use mm_reclaim::units::PhysAddr;
use mm_reclaim::zone::{FrameRange, ZoneLimits};

use crate::arch::mmu::MapError;
use crate::bootargs::{BadWord, BootArgs};
use crate::ramdisk::extents::{Extents, NoExtent};

#[cfg(target_os = "none")]
mod steps;
#[cfg(target_os = "none")]
pub use steps::{MappedMemory, Memory, machine, read_device_tree};

/// Why a boot cannot continue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EarlyError {
    /// The device tree was refused.
    DeviceTree(DtbError<'static>),
    /// The command line was refused.
    BootArgs(BadWord<'static>),
    /// Memblock refused.
    Memblock(MemblockError),
    /// The kernel map refused.
    Map(MapError),
    /// The free memory is too scattered for the RAM disk.
    Scattered(NoExtent),
    /// Something that the kernel needs is where there is no memory, or `mem=` cuts it off.
    NotInMemory {
        /// Its name.
        what: &'static str,
        /// Its place.
        at: Region,
    },
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceTree(error) => error.fmt(f),
            Self::BootArgs(error) => error.fmt(f),
            Self::Memblock(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
            Self::Scattered(NoExtent(piece)) => {
                write!(f, "the RAM disk would need one more piece at {piece:?}")
            }
            Self::NotInMemory { what, at } => write!(f, "the {what} at {at:?} is not in memory"),
        }
    }
}

impl core::error::Error for EarlyError {}

impl From<DtbError<'static>> for EarlyError {
    fn from(error: DtbError<'static>) -> Self {
        Self::DeviceTree(error)
    }
}

impl From<BadWord<'static>> for EarlyError {
    fn from(error: BadWord<'static>) -> Self {
        Self::BootArgs(error)
    }
}

impl From<MemblockError> for EarlyError {
    fn from(error: MemblockError) -> Self {
        Self::Memblock(error)
    }
}

impl From<MapError> for EarlyError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

/// The machine's description before memory is set up.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The contents of the device tree.
    pub tree: Summary<'static>,
    /// The command line.
    pub args: BootArgs<'static>,
    /// The range of the kernel image.
    pub image: Region,
    /// The range of what is used of the device tree.
    pub dtb: Region,
}

impl Machine {
    /// The range of the initrd, if there is one.
    pub fn initrd(&self) -> Option<Region> {
        self.tree.initrd.map(region)
    }

    /// The whole frames of the initrd, which may be freed once the program in it has been loaded;
    /// `None` if something else that is reserved lies in them.
    pub fn initrd_frames(&self) -> Option<FrameRange> {
        let frames = self.initrd()?.frames()?;
        let within = Region { start: frames.start.addr(), end: frames.end.addr() };
        let Summary { memreserve, reserved, cpus, .. } = &self.tree;
        let spans = memreserve.iter().copied().chain(reserved.iter().map(|reserved| reserved.span));
        let spin_tables = cpus.iter().filter_map(spin_table).flatten();
        let others = spans.map(region).chain(spin_tables).chain([self.image, self.dtb]);
        let apart = others.map(|other| other.intersection(within)).all(Region::is_empty);
        apart.then_some(FrameRange { start: frames.start, end: frames.end })
    }

    /// Where the lower zones end. Zone DMA ends at the limit of `zones=`; else at that of the
    /// narrowest `dma-ranges` of the tree, rounded up to a power of two, as in Linux; else at the
    /// crate's default, 1 GiB, which is also the result for the tree of a Raspberry Pi 4.
    pub fn zone_limits(&self) -> ZoneLimits {
        let ZoneLimits { dma_end, dma32_end } = ZoneLimits::default();
        let reach = self.tree.dma_end.and_then(u64::checked_next_power_of_two).map(PhysAddr);
        let by_tree = ZoneLimits { dma_end: reach.unwrap_or(dma_end).min(dma32_end), dma32_end };
        let by_word = self.args.zones;
        by_word.map_or(by_tree, |ends| ZoneLimits { dma_end: ends.dma, dma32_end: ends.dma32 })
    }
}

const fn region(span: Span) -> Region {
    Region { start: PhysAddr(span.base), end: PhysAddr(span.end()) }
}

/// Adds to memblock what is memory, what is reserved and what must not be mapped, and carves out
/// the RAM disk. Returns the RAM disk's place.
///
/// # Errors
/// [`EarlyError::Memblock`], [`EarlyError::NotInMemory`].
pub fn describe<'a, T: TableMemory<'a>>(
    memblock: &mut Memblock<'a, T>,
    machine: &Machine,
) -> Result<Option<Extents>, EarlyError> {
    let Machine { tree, args, .. } = machine;
    for &span in tree.memory.iter() {
        memblock.add(region(span))?;
    }
    memblock.truncate(PhysAddr(LINEAR_SIZE));
    if let Some(bytes) = args.mem {
        memblock.cap(bytes);
    }
    memblock.reserve(machine.dtb)?;
    for &span in tree.memreserve.iter() {
        memblock.reserve(region(span))?;
    }
    reserve_spin_tables(memblock, tree)?;
    for reserved in tree.reserved.iter() {
        match reserved.no_map {
            true => memblock.mark_nomap(region(reserved.span))?,
            false => memblock.reserve(region(reserved.span))?,
        }
    }
    let needed = [("kernel image", Some(machine.image)), ("initrd", machine.initrd())];
    for (what, at) in needed.into_iter().filter_map(|(what, at)| Some((what, at?))) {
        memblock.reserve(at)?;
        // A partial page at either end is memory too, but the linear map leaves it out.
        let holds = |r: Region| {
            let start = r.start.align_up(PAGE_SIZE);
            start.is_some_and(|start| start <= at.start) && at.end <= r.end.align_down(PAGE_SIZE)
        };
        if !memblock.mapped().any(holds) {
            return Err(EarlyError::NotInMemory { what, at });
        }
    }
    carve_ramdisk(memblock, args.ramdisk.size, args.files)
}

/// The page in which a CPU spins, with the code that it runs there, must be in `/memreserve/`.
/// If a tree omits that, the CPU would run into overwritten code.
fn reserve_spin_tables<'a, T: TableMemory<'a>>(
    memblock: &mut Memblock<'a, T>,
    tree: &Summary<'_>,
) -> Result<(), MemblockError> {
    tree.cpus.iter().filter_map(spin_table).try_for_each(|page| memblock.reserve(page?))
}

/// The page in which a CPU spins, if it does.
fn spin_table(cpu: &CpuNode) -> Option<Result<Region, MemblockError>> {
    let Some(EnableMethod::SpinTable { release }) = cpu.enable else { return None };
    Some(Region::new(PhysAddr(release).align_down(PAGE_SIZE), PAGE_SIZE))
}

/// Carves it in one piece, from the top of a range that is large enough; else out of the largest
/// pieces. Aligned to blocks of the linear map, so that its edges need no smaller mappings.
fn carve_ramdisk<'a, T: TableMemory<'a>>(
    memblock: &mut Memblock<'a, T>,
    swap: u64,
    files: u64,
) -> Result<Option<Extents>, EarlyError> {
    let mut left = whole_blocks(swap).saturating_add(whole_blocks(files));
    if left == 0 {
        return Ok(None);
    }
    let mut extents = Extents::new();
    while left > 0 {
        let whole = memblock.find(left, MEGA_BLOCK, Region::ALL, Direction::TopDown);
        let size = if whole.is_ok() { left } else { largest_piece(memblock).unwrap_or(left) };
        let piece = memblock.carve(size, MEGA_BLOCK, Region::ALL, Direction::TopDown)?;
        extents.push(piece).map_err(EarlyError::Scattered)?;
        left -= size;
    }
    Ok(Some(extents))
}

/// The size of a part of the RAM disk: whole blocks of the linear map.
pub fn whole_blocks(size: u64) -> u64 {
    size.checked_next_multiple_of(MEGA_BLOCK).unwrap_or(u64::MAX)
}

/// The size of the largest free piece of whole blocks, if there is any.
fn largest_piece(map: &MemoryMap<'_>) -> Option<u64> {
    let blocks = |range: Region| {
        let start = range.start.align_up(MEGA_BLOCK)?;
        range.end.align_down(MEGA_BLOCK).0.checked_sub(start.0).filter(|size| *size > 0)
    };
    map.free_ranges().filter_map(blocks).max()
}

#[cfg(test)]
mod tests;
