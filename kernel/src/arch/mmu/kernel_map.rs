//! The kernel map, guarded by its lock.
//!
//! Device registers and stacks are mapped at any time; the caller supplies frames for new tables,
//! because it knows whether memblock or the page allocator is in use, and allocates them
//! beforehand: the page allocator takes locks and may sleep, which must not happen under this map's
//! lock.

use core::arch::asm;
use core::ops::Range;

use boot::Handover;
use boot::descriptor::Access;
use boot::dtb::{DtbError, check_address, total_size};
use boot::image;
use boot::layout::{DEVICE_BASE, FIXMAP_BASE, KIMAGE_BASE, LINEAR_BASE, PAGE_SIZE};
use mm_reclaim::units::{Pfn, PhysAddr};

use super::audit::Audit;
use super::linear;
use super::memory::KernelTables;
use super::slots::{STACK_SIZE, Slots};
use super::table::{self, MapError, Piece, SpareFrames, TableFrames, Translation};
use crate::arch::lock::IrqLock;

/// Bytes of the region for device registers: up to the end of the address space, less the
/// last block, so that no address overflows.
const DEVICE_SIZE: u64 = u64::MAX - DEVICE_BASE - (2 << 20);

static MAP: IrqLock<KernelMap> = IrqLock::new(KernelMap {
    tables: KernelTables::new(),
    image: PhysAddr(0),
    root: PhysAddr(0),
    devices: 0,
    stacks: Slots::new(),
});

struct KernelMap {
    tables: KernelTables,
    /// The address of the image.
    image: PhysAddr,
    /// The level-1 table.
    root: PhysAddr,
    /// Bytes of the device region that are allocated.
    devices: u64,
    stacks: Slots,
}

impl KernelMap {
    fn map(&mut self, piece: Piece, frames: TableFrames<'_>) -> Result<(), MapError> {
        table::map(&mut self.tables, self.root, piece, frames)
    }

    fn map_stack(
        &mut self,
        bottom: u64,
        stack: [Pfn; 4],
        spare: SpareFrames<'_>,
    ) -> Result<(), MapError> {
        for (va, frame) in (bottom..).step_by(PAGE_SIZE as usize).zip(stack) {
            let access = Access::ReadWrite;
            let piece = Piece { va, pa: frame.addr().0, size: PAGE_SIZE, access };
            self.map(piece, &mut || take(spare))?;
        }
        Ok(())
    }

    fn unmap_stack(&mut self, bottom: u64) -> [Option<PhysAddr>; 4] {
        [0, 1, 2, 3]
            .map(|page| table::unmap(&mut self.tables, self.root, bottom + page * PAGE_SIZE))
    }
}

/// A closure for mappings whose tables exist already.
fn no_frames() -> Option<Pfn> {
    None
}

/// Takes the tables over from the entry code. Must be called first.
pub fn init(handover: Handover) {
    let mut map = MAP.lock();
    map.image = PhysAddr(handover.image_base);
    map.root = PhysAddr(handover.image_base + image::kernel_root_offset());
    let (image, root) = (map.image, map.root);
    let size = image::all().end - image::all().start;
    map.tables.init(image, size, root);
}

/// The physical addresses of the whole kernel image.
pub fn image_frames() -> Range<PhysAddr> {
    let range = physical(MAP.lock().image, &image::all());
    PhysAddr(range.start)..PhysAddr(range.end)
}

fn physical(base: PhysAddr, range: &Range<u64>) -> Range<u64> {
    base.0 + (range.start - KIMAGE_BASE)..base.0 + (range.end - KIMAGE_BASE)
}

/// Maps the device tree at physical address `dtb` in its slot, read-only and permanently, except for
/// what [`cut_dtb`] cuts off, and returns its bytes. To be called once.
///
/// # Errors
/// [`DtbError`], when there is no device tree there. Memory that does not exist at all
/// ends in an exception.
///
/// # Panics
/// When called again.
pub fn map_dtb(dtb: u64) -> Result<&'static [u8], DtbError<'static>> {
    check_address(dtb)?;
    let first = dtb / PAGE_SIZE * PAGE_SIZE;
    let start = (FIXMAP_BASE + (dtb - first)) as *const u8;
    show_dtb(first, 0..PAGE_SIZE);
    // SAFETY: the page is mapped, and the address is a multiple of 8, so that 8 bytes lie
    // within it. The tree is never written to.
    let head = unsafe { start.cast::<[u8; 8]>().read() };
    let size = total_size(head)?;
    let end = (dtb - first + size as u64).next_multiple_of(PAGE_SIZE);
    show_dtb(first, PAGE_SIZE..end);
    // SAFETY: all its pages are mapped now. They are not written to while a reference to them is
    // used: there is no allocator yet, and by then the frames that stay mapped are reserved.
    Ok(unsafe { core::slice::from_raw_parts(start, size) })
}

/// Unmaps the pages of the device tree's slot behind the first `used` bytes of `tree`, which is what
/// [`map_dtb`] returned; returns those bytes.
///
/// # Safety
/// No reference to the others is used any more.
pub unsafe fn cut_dtb(tree: &'static [u8], used: usize) -> &'static [u8] {
    let used = &tree[..used];
    let end = |bytes: &[u8]| (bytes.as_ptr_range().end.addr() as u64).next_multiple_of(PAGE_SIZE);
    let mut map = MAP.lock();
    let KernelMap { tables, root, .. } = &mut *map;
    for va in (end(used)..end(tree)).step_by(PAGE_SIZE as usize) {
        table::unmap(tables, *root, va);
    }
    used
}

fn show_dtb(first: u64, pages: Range<u64>) {
    let (va, pa, size) = (FIXMAP_BASE + pages.start, first + pages.start, pages.end - pages.start);
    let piece = Piece { va, pa, size, access: Access::ReadOnly };
    MAP.lock().map(piece, &mut no_frames).expect("the slot has its tables and is empty");
}

/// Adds the RAM in `ram` (physical addresses) to the linear map. The image's text and
/// constants are read-only there too. `frames` is called under the map's lock.
///
/// # Errors
/// [`MapError::NoFrame`], or [`MapError::Occupied`] when ranges overlap.
pub fn map_ram(ram: Range<PhysAddr>, frames: TableFrames<'_>) -> Result<(), MapError> {
    let mut map = MAP.lock();
    let constant = physical(map.image, &(image::text().start..image::rodata().end));
    linear::pieces(ram.start.0..ram.end.0, &constant, |piece| map.map(piece, frames))
}

/// Ends the early phase: tables are accessed through the linear map from now on, the early window
/// is closed, and the identity map is removed, with its cached translations.
pub fn finish() {
    let mut map = MAP.lock();
    map.tables.use_linear_map();
    let empty = map.image.0 + image::empty_root_offset();
    // SAFETY: nothing runs or lies at identity addresses any more; the new table is empty
    // and stays so.
    unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) empty, options(nostack)) };
    // SAFETY: an invalidation only makes the walker read the tables again.
    unsafe { asm!("tlbi vmalle1", "dsb nsh", "isb", options(nostack)) };
}

/// The physical address of a level-1 table that maps nothing, for TTBR0.
pub fn empty_root() -> PhysAddr {
    PhysAddr(MAP.lock().image.0 + image::empty_root_offset())
}

/// Takes one of the spare frames.
fn take(spare: SpareFrames<'_>) -> Option<Pfn> {
    spare.iter_mut().find_map(Option::take)
}

/// Maps the device registers at `pa`, `size` bytes, permanently. Frames in `spare`
/// ([`most_tables`](super::most_tables) says how many are enough) become tables as needed; the
/// others stay the caller's.
///
/// The first 2 MiB of registers need no frame for a table, so that this works before there is any
/// allocator.
///
/// # Errors
/// [`MapError::NoSpace`], [`MapError::NoFrame`].
pub fn map_device(pa: PhysAddr, size: u64, spare: SpareFrames<'_>) -> Result<*mut u8, MapError> {
    let mut map = MAP.lock();
    let first = pa.align_down(PAGE_SIZE).0;
    let offset = pa.0 - first;
    let bytes = offset
        .checked_add(size)
        .and_then(|end| end.checked_next_multiple_of(PAGE_SIZE))
        .filter(|bytes| bytes.checked_add(map.devices).is_some_and(|end| end <= DEVICE_SIZE))
        .ok_or(MapError::NoSpace { size })?;
    let va = DEVICE_BASE + map.devices;
    map.devices += bytes;
    map.map(Piece { va, pa: first, size: bytes, access: Access::Device }, &mut || take(spare))?;
    Ok((va + offset) as *mut u8)
}

/// Maps four frames as a kernel stack with an unmapped guard below and returns its top. Tables are
/// taken from `spare`, as in [`map_device`].
///
/// # Errors
/// [`MapError::NoSpace`], [`MapError::NoFrame`]; the stack's frames stay the caller's.
pub fn map_stack(stack: [Pfn; 4], spare: SpareFrames<'_>) -> Result<u64, MapError> {
    let mut map = MAP.lock();
    let bottom = map.stacks.take().ok_or(MapError::NoSpace { size: STACK_SIZE })?;
    if let Err(error) = map.map_stack(bottom, stack, spare) {
        map.unmap_stack(bottom);
        map.stacks.give_back(bottom);
        return Err(error);
    }
    Ok(bottom + STACK_SIZE)
}

/// Undoes [`map_stack`], given the top that it returned. The frames are the caller's again, and no
/// CPU can reach them through the stack's addresses any more.
///
/// # Panics
/// If `top` is not that of a mapped stack.
pub fn unmap_stack(top: u64) -> [Pfn; 4] {
    let bottom = top.wrapping_sub(STACK_SIZE);
    let mut map = MAP.lock();
    assert!(map.stacks.give_back(bottom), "{top:#x} is not the top of a kernel stack");
    map.unmap_stack(bottom)
        .map(|frame| frame.and_then(Pfn::of).expect("a stack in use has its four frames"))
}

/// Unmaps the stack of the boot. Returns its frames and the one of its guard, which only the linear
/// map maps from now on.
///
/// # Safety
/// No CPU runs on that stack, and nothing refers to it.
pub unsafe fn unmap_boot_stack() -> Range<PhysAddr> {
    let stack = image::boot_stack();
    let mut map = MAP.lock();
    let KernelMap { tables, root, image, .. } = &mut *map;
    for va in stack.clone().step_by(PAGE_SIZE as usize) {
        table::unmap(tables, *root, va);
    }
    let frames = physical(*image, &(stack.start - PAGE_SIZE..stack.end));
    PhysAddr(frames.start)..PhysAddr(frames.end)
}

/// What a kernel address translates to.
pub fn translate(va: u64) -> Option<Translation> {
    if va < LINEAR_BASE {
        return None;
    }
    let mut map = MAP.lock();
    let root = map.root;
    table::translate(&mut map.tables, root, va)
}

/// Reads all kernel tables back.
pub fn audit() -> Audit {
    let mut map = MAP.lock();
    let root = map.root;
    Audit::of(&mut map.tables, root, LINEAR_BASE)
}
