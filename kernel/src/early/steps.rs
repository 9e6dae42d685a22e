//! The steps on the machine: each consumes the result of the previous one.

use core::mem::MaybeUninit;

use boot::Handover;
use boot::dtb::Summary;
use mm_reclaim::memblock::{Direction, Memblock, Region, StaticTables, TableMemory, Unreachable};
use mm_reclaim::units::{PAGE_SIZE, Pfn, PhysAddr};
use spin::mutex::{SpinMutex, SpinMutexGuard};
use spin::once::Once;

use super::{EarlyError, Machine, describe};
use crate::arch::lock::Yield;
use crate::arch::mmu::{self, MapError};
use crate::bootargs::BootArgs;
use crate::drivers::{console, exit, guess, watchdog};
use crate::ramdisk::extents::Extents;

/// What the device tree says, from the first step on: it outlives the stack that the boot runs on.
static MACHINE: Once<Machine, Yield> = Once::new();

/// The initial memory of memblock's tables.
static TABLES: SpinMutex<StaticTables, Yield> = SpinMutex::new(StaticTables::new());

/// Maps the device tree and reads from it the machine's description, the command line, the console
/// and how a run ends.
///
/// If there is no usable device tree or command line, it does not return: it prints what is wrong
/// and ends the run with [`exit::STATUS_CANNOT_BOOT`].
#[inline(never)] // Its frame of 20 KiB must not stay on the stack during everything that follows.
pub fn read_device_tree(handover: Handover) -> &'static Machine {
    match MACHINE.try_call_once(|| Machine::read(handover)) {
        Ok(machine) => machine,
        Err(error) => {
            console::print_urgently(format_args!("cannot boot: {error}\n"));
            exit::exit(exit::STATUS_CANNOT_BOOT)
        }
    }
}

/// The machine that was read.
///
/// # Panics
/// Before [`read_device_tree`].
pub fn machine() -> &'static Machine {
    MACHINE.get().expect("the device tree is read first")
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
        // SAFETY: only the summary and the words on its command line still refer to the tree.
        let blob = unsafe { mmu::cut_dtb(blob, tree.extent(blob)) };
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
    /// Builds the linear map and ends the use of the early mappings: the window and the identity
    /// map.
    ///
    /// # Errors
    /// [`EarlyError::Map`], if there are no frames for tables.
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

/// Memory that is known and mapped: the input of the page allocator.
pub struct MappedMemory {
    /// Its tables grow through the linear map now.
    pub memblock: Memblock<'static, LinearMemory>,
    /// The RAM disk's place: mapped, but not part of memory.
    pub ramdisk: Option<Extents>,
}

impl MappedMemory {
    /// A frame for a translation table, while memblock is in use.
    pub fn table_frame(&mut self) -> Option<Pfn> {
        table_frame(&mut self.memblock)
    }
}

/// Memory accessed through the linear map.
pub struct LinearMemory;

impl TableMemory<'static> for LinearMemory {
    fn slots(&mut self, at: Region) -> Option<&'static mut [MaybeUninit<Region>]> {
        let first = (mmu::LINEAR_BASE + at.start.0) as *mut MaybeUninit<Region>;
        let count = at.size() as usize / size_of::<Region>();
        // SAFETY: memblock reserves the range for its table before it allocates again,
        // so it has no other user; free memory is in the linear map.
        Some(unsafe { core::slice::from_raw_parts_mut(first, count) })
    }
}
