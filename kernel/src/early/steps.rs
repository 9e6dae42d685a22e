//! The steps on the machine: each consumes what the one before it made.

use core::mem::MaybeUninit;

use boot::Handover;
use boot::dtb::Summary;
use mm_reclaim::memblock::{Direction, Memblock, Region, StaticTables, TableMemory, Unreachable};
use mm_reclaim::units::{PAGE_SIZE, Pfn, PhysAddr};
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::{EarlyError, Machine, describe};
use crate::arch::lock::Yield;
use crate::arch::mmu::{self, MapError};
use crate::bootargs::BootArgs;
use crate::drivers::{console, exit, guess, watchdog};
use crate::ramdisk::extents::Extents;

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
