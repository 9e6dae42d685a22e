//! From the device tree to memory that can be used: the part of the boot before the page
//! allocator (BOOT-03, BOOT-04, BOOT-07, MEMB-01, MEMB-02).
//!
//! Data: what the device tree says ([`Machine`]), then memblock and the RAM disk's place
//! (`Memory`), then the same behind a linear map (`MappedMemory`). Owner: the boot CPU;
//! no locks. Order: each step consumes what the step before it made, so that a boot in
//! another order does not compile; the page allocator starts from a `MappedMemory`.
//!
//! What the device tree says is turned into sets of addresses by [`describe`], which is
//! portable and tested on a host.

use core::fmt;

use boot::dtb::{DtbError, EnableMethod, Span, Summary};
use boot::layout::{LINEAR_SIZE, MEGA_BLOCK, PAGE_SIZE};
use mm_reclaim::memblock::{Direction, Memblock, MemblockError, MemoryMap, Region, TableMemory};
use mm_reclaim::units::PhysAddr;
use mm_reclaim::zone::ZoneLimits;

use crate::arch::mmu::MapError;
use crate::bootargs::{BadWord, BootArgs};
use crate::ramdisk::extents::{Extents, NoExtent};

#[cfg(target_os = "none")]
pub use on_target::{MappedMemory, Memory, read_device_tree};

/// Why a boot cannot go on.
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
    /// Something that the kernel needs lies where there is no memory, or none is left by
    /// `mem=`.
    NotInMemory {
        /// What.
        what: &'static str,
        /// Where.
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

/// What the kernel knows before it has memory.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What the device tree says.
    pub tree: Summary<'static>,
    /// The command line.
    pub args: BootArgs<'static>,
    /// Where the kernel image lies.
    pub image: Region,
    /// Where the device tree lies.
    pub dtb: Region,
}

impl Machine {
    /// Where the initrd lies, if there is one.
    pub fn initrd(&self) -> Option<Region> {
        self.tree.initrd.map(region)
    }

    /// Where the lower zones end. Zone DMA ends where `zones=` says; else where the narrowest
    /// `dma-ranges` of the tree does, rounded up to a power of two, as in Linux; else where
    /// the crate says, at 1 GiB, which is also what the tree of a Raspberry Pi 4 comes to.
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

/// Tells memblock what is memory, what is taken and what must not be mapped, and carves
/// out the RAM disk. Returns the RAM disk's place.
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
        // Half a page at either end is memory too, but the linear map leaves it out.
        let holds = |r: Region| {
            let start = r.start.align_up(PAGE_SIZE);
            start.is_some_and(|start| start <= at.start) && at.end <= r.end.align_down(PAGE_SIZE)
        };
        if !memblock.mapped().any(holds) {
            return Err(EarlyError::NotInMemory { what, at });
        }
    }
    carve_ramdisk(memblock, args.ramdisk.size)
}

/// The page in which a CPU spins, with the code that it runs there, must be in `/memreserve/`.
/// Where a tree forgot that, nobody would find out why the CPU ran into something else.
fn reserve_spin_tables<'a, T: TableMemory<'a>>(
    memblock: &mut Memblock<'a, T>,
    tree: &Summary<'_>,
) -> Result<(), MemblockError> {
    for cpu in tree.cpus.iter() {
        let Some(EnableMethod::SpinTable { release }) = cpu.enable else { continue };
        let start = PhysAddr(release).align_down(PAGE_SIZE);
        memblock.reserve(Region::new(start, PAGE_SIZE)?)?;
    }
    Ok(())
}

/// In one piece if there is one that is large enough, from its top; else made of the largest
/// pieces that there are. Aligned to blocks of the linear map, so that its edges cost no
/// smaller mappings.
fn carve_ramdisk<'a, T: TableMemory<'a>>(
    memblock: &mut Memblock<'a, T>,
    size: u64,
) -> Result<Option<Extents>, EarlyError> {
    if size == 0 {
        return Ok(None);
    }
    let mut left = size.checked_next_multiple_of(MEGA_BLOCK).unwrap_or(u64::MAX);
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

/// The size of the largest free piece of whole blocks, if there is any.
fn largest_piece(map: &MemoryMap<'_>) -> Option<u64> {
    let blocks = |range: Region| {
        let start = range.start.align_up(MEGA_BLOCK)?;
        range.end.align_down(MEGA_BLOCK).0.checked_sub(start.0).filter(|size| *size > 0)
    };
    map.free_ranges().filter_map(blocks).max()
}

#[cfg(target_os = "none")]
mod on_target {
    use core::mem::MaybeUninit;

    use boot::Handover;
    use mm_reclaim::memblock::{StaticTables, Unreachable};
    use mm_reclaim::units::{PAGE_SIZE, Pfn};
    use spin::mutex::{SpinMutex, SpinMutexGuard};

    use super::*;
    use crate::arch::lock::Yield;
    use crate::arch::mmu;
    use crate::drivers::{console, exit, guess, watchdog};

    /// Where memblock's tables start.
    static TABLES: SpinMutex<StaticTables, Yield> = SpinMutex::new(StaticTables::new());

    /// Makes the device tree readable and learns from it what the machine is, what it was
    /// asked for, where the console is and how a run ends.
    ///
    /// Does not return without a usable device tree and command line: prints what is wrong
    /// and ends the run with [`exit::STATUS_CANNOT_BOOT`].
    #[inline(never)] // Its frame is of 20 KiB and must not lie below everything that follows.
    pub fn read_device_tree(handover: Handover) -> Machine {
        match Machine::read(handover) {
            Ok(machine) => machine,
            Err(error) => {
                console::print_urgently(format_args!("cannot boot: {error}\n"));
                exit::exit(exit::STATUS_CANNOT_BOOT)
            }
        }
    }

    impl Machine {
        fn read(handover: Handover) -> Result<Self, EarlyError> {
            guess::begin(handover.image_base);
            mmu::init(handover);
            let blob = mmu::map_dtb(handover.dtb)?;
            let tree = Summary::read(blob)?;
            let args = BootArgs::parse(tree.bootargs);
            let semihosting = BootArgs::asks_for_semihosting(tree.bootargs);
            let clock = args.as_ref().ok().and_then(|args| args.uart_clock);
            console::init(&tree, clock, semihosting)?;
            exit::init(semihosting, BootArgs::wanted_end(tree.bootargs), tree.psci);
            watchdog::init(tree.bcm2711.power)?;
            let image = mmu::image_frames();
            let dtb = Region::new(PhysAddr(handover.dtb), blob.len() as u64)?;
            let image = Region { start: image.start, end: image.end };
            Ok(Self { tree, args: args?, image, dtb })
        }

        /// Describes the machine's memory to memblock.
        ///
        /// # Errors
        /// As [`describe`].
        ///
        /// # Panics
        /// When called twice.
        pub fn memory(&self) -> Result<Memory, EarlyError> {
            let tables = TABLES.try_lock().expect("memory is described once");
            let mut memblock = Memblock::new(SpinMutexGuard::leak(tables), Unreachable);
            let ramdisk = describe(&mut memblock, self)?;
            Ok(Memory { memblock, ramdisk })
        }
    }

    /// Memory that is known but not mapped yet.
    pub struct Memory {
        memblock: Memblock<'static, Unreachable>,
        ramdisk: Option<Extents>,
    }

    impl Memory {
        /// Builds the linear map and ends the use of everything early: the window and the
        /// identity map.
        ///
        /// # Errors
        /// [`EarlyError::Map`], for want of frames for tables.
        pub fn map(self) -> Result<MappedMemory, EarlyError> {
            let Self { mut memblock, ramdisk } = self;
            let mut next = PhysAddr(0);
            // Allocating frames for tables changes what is reserved, never what is mapped.
            while let Some(ram) = memblock.mapped().find(|ram| ram.start >= next) {
                map_ram(ram, &mut memblock)?;
                next = ram.end;
            }
            for piece in ramdisk.iter().flat_map(Extents::regions) {
                map_ram(piece, &mut memblock)?;
            }
            mmu::finish();
            Ok(MappedMemory { memblock: memblock.with_table_memory(LinearMemory), ramdisk })
        }
    }

    fn map_ram(ram: Region, memblock: &mut Memblock<'static, Unreachable>) -> Result<(), MapError> {
        mmu::map_ram(ram.start..ram.end, &mut || table_frame(memblock))
    }

    /// A frame for a translation table, from memblock.
    fn table_frame<T: TableMemory<'static>>(memblock: &mut Memblock<'static, T>) -> Option<Pfn> {
        let page = PAGE_SIZE as u64;
        let frame = memblock.alloc(page, page, Region::ALL, Direction::TopDown).ok()?;
        Pfn::of(frame.start)
    }

    /// Memory, known and mapped: what the page allocator starts from.
    pub struct MappedMemory {
        /// Its tables grow by the linear map now.
        pub memblock: Memblock<'static, LinearMemory>,
        /// The RAM disk's place: mapped, but not part of memory.
        pub ramdisk: Option<Extents>,
    }

    impl MappedMemory {
        /// A frame for a translation table, while memblock is in charge.
        pub fn table_frame(&mut self) -> Option<Pfn> {
            table_frame(&mut self.memblock)
        }
    }

    /// Memory reached by the linear map.
    pub struct LinearMemory;

    impl TableMemory<'static> for LinearMemory {
        fn slots(&mut self, at: Region) -> Option<&'static mut [MaybeUninit<Region>]> {
            let first = (mmu::LINEAR_BASE + at.start.0) as *mut MaybeUninit<Region>;
            let count = at.size() as usize / size_of::<Region>();
            // SAFETY: memblock reserves the range for its table before it allocates again,
            // so nobody else has it; free memory is in the linear map.
            Some(unsafe { core::slice::from_raw_parts_mut(first, count) })
        }
    }
}

#[cfg(test)]
mod tests;
