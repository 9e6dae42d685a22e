//! The boot's order, and what the boot made of the machine.

use core::mem::size_of;

use kernel::arch::mmu;
use kernel::early::whole_blocks;
use kernel::exec::{self, ExecError};
use kernel::glue;
use kernel::task;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{Page, PageFlags};
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};
use suite::Test;

use crate::support::{machine, mm};

/// Tests that run before there is any memory management.
pub const EARLY: &[Test] = &[
    Test::fatal(
        "boot::a_page_allocation_before_mem_init_panics",
        "memory was asked for before the memory management was there",
        allocate_too_early,
    ),
    Test::fatal(
        "boot::an_exception_before_the_vectors_ends_the_run",
        "exception during early boot: ESR 0x2000000",
        early_exception,
    ),
];

/// The tests of this file that need the whole boot.
pub const TESTS: &[Test] = &[
    Test::new("boot::a_descriptor_has_32_bytes_at_most", descriptor_size),
    Test::new("boot::kswapd_and_the_boot_task_run", first_tasks),
    Test::new("boot::the_boot_stack_has_room_to_spare", boot_stack),
    Test::new("boot::the_device_tree_stays_readable", tree_is_readable),
    Test::new("boot::the_ram_disk_belongs_to_no_zone", ramdisk_is_apart),
    Test::new("boot::a_damaged_program_is_refused", damaged_programs),
    Test::fatal("boot::memory_is_described_once", "memory is described once", describe_again),
];

/// BOOT-07.
fn allocate_too_early() {
    glue::mm().alloc_pages(Gfp::KERNEL, Order::ZERO);
}

/// BOOT-05: the early vectors name the cause as well.
fn early_exception() {
    // SAFETY: the instruction is defined to be undefined; it changes nothing.
    unsafe { core::arch::asm!("udf #0", options(nostack)) };
}

/// ZONE-02: the type in use is what the memory map costs, on this machine too.
fn descriptor_size() {
    const { assert!(size_of::<Page>() <= 32) };
    let pages: Vec2 = mm().memmap().iter().take(2).map(|(_, page)| page).collect();
    let distance = core::ptr::from_ref(pages.1).addr() - core::ptr::from_ref(pages.0).addr();
    assert!(distance <= 32, "descriptors lie {distance} bytes apart");
}

/// The first two items of an iterator.
struct Vec2(&'static Page, &'static Page);

impl FromIterator<&'static Page> for Vec2 {
    fn from_iter<T: IntoIterator<Item = &'static Page>>(pages: T) -> Self {
        let mut pages = pages.into_iter();
        let mut next = || pages.next().expect("two pages");
        Self(next(), next())
    }
}

fn first_tasks() {
    let name = task::name_of(task::current_id());
    assert_eq!(&name[..5], b"main\0");
    assert!(task::count() >= 3, "main, idle and kswapd, but there are {}", task::count());
}

/// The whole boot ran on it, and left it: its frames are memory, and nothing maps them here.
fn boot_stack() {
    let stack = boot::image::boot_stack();
    let (size, spare) = (stack.end - stack.start, kernel::start::boot_stack_spare());
    kernel::println!("{} of {size} bytes were used", size - spare);
    assert!(spare >= 32 << 10, "only {spare} bytes are left");
    let page = PAGE_SIZE as u64;
    let guard = stack.start - page;
    for va in (guard..stack.end).step_by(PAGE_SIZE) {
        assert!(mmu::translate(va).is_none(), "{va:#x} is still mapped");
        let frame = machine().image.start.0 + (va - boot::image::all().start);
        let descriptor = mm().memmap().get(Pfn((frame / page) as u32));
        let reserved = descriptor.is_none_or(|page| page.has(PageFlags::RESERVED));
        assert!(!reserved, "{frame:#x} is still reserved");
    }
}

/// BOOT-03: the fixmap slot outlives the early boot.
fn tree_is_readable() {
    let tree = &machine().tree;
    let machines = ["virt", "Raspberry Pi 4"];
    assert!(machines.iter().any(|name| tree.model.contains(name)), "{}", tree.model);
    assert!(tree.bootargs.contains("semihosting"));
    let slot = mmu::translate(mmu::FIXMAP_BASE).expect("the slot is mapped");
    assert!(!slot.entry.is_writable() && !slot.entry.is_kernel_executable());
    // Its frames behind the last text are programs' memory.
    let dtb = machine().dtb;
    let page = PAGE_SIZE as u64;
    let pages = dtb.end.0.div_ceil(page) - dtb.start.0 / page;
    assert!(mmu::translate(mmu::FIXMAP_BASE + (pages - 1) * page).is_some());
    assert!(mmu::translate(mmu::FIXMAP_BASE + pages * page).is_none());
    let is_padded = tree.model.contains("virt");
    assert!(!is_padded || pages <= 4, "{pages} pages of the device tree stay");
}

/// SWAP-06: no descriptor of a frame in use stands for a block of the RAM disk.
fn ramdisk_is_apart() {
    let there: u64 = machine().tree.memory.iter().map(|span| span.size).sum();
    let total = machine().args.mem.map_or(there, |most| most.min(there));
    let (swap, _) = mm().swap_pages();
    let present: u32 = mm().zones().map(|zone| zone.present()).sum();
    assert!(swap > 0, "the test machine has swap");
    let files = whole_blocks(machine().args.files);
    // The header's block is no slot.
    let without_files = u64::from(present + swap + 1);
    assert_eq!(without_files + files / PAGE_SIZE as u64, total / PAGE_SIZE as u64);
}

/// The initrd is input from outside: each error in it has a name.
fn damaged_programs() {
    let good = initrd_copy();
    let elf = good.windows(4).position(|word| word == b"\x7fELF").expect("a program");
    let refused = |archive: &'static [u8], name: &'static str| exec::spawn(archive, name, "");
    assert!(matches!(refused(good, "absent"), Err(ExecError::Archive(_))));
    assert!(matches!(refused(&[], "hello"), Err(ExecError::Archive(_))));
    assert!(matches!(refused(&good[..700], "burst"), Err(ExecError::Archive(_))));
    // The machine of an ELF header, and its magic number.
    for (at, bad) in [(elf + 18, 0x3e), (elf, 0)] {
        let copy = initrd_copy();
        copy[at] = bad;
        let name = first_name(copy);
        assert!(matches!(refused(copy, name), Err(ExecError::Image(_))), "byte {at}");
    }
}

/// A copy of the initrd in memory that is never freed.
fn initrd_copy() -> &'static mut [u8] {
    let initrd = crate::programs::initrd();
    let pages = initrd.len().div_ceil(PAGE_SIZE) as u32;
    let order = Order::holding(pages).expect("the initrd fits a block");
    let block = mm().alloc_pages(Gfp::KERNEL, order).expect("a block for the copy");
    let at = kernel::arch::frames::frame_address(block);
    // SAFETY: the block is this function's alone, is never freed, and is as large as the slice.
    let copy = unsafe { core::slice::from_raw_parts_mut(at, initrd.len()) };
    copy.copy_from_slice(initrd);
    copy
}

fn first_name(archive: &'static [u8]) -> &'static str {
    let end = archive.iter().position(|byte| *byte == 0).expect("a name ends");
    core::str::from_utf8(&archive[..end]).expect("names are UTF-8")
}

/// MEMB-05: an allocation from memblock after the hand-over panics.
fn describe_again() {
    let _ = machine().memory();
}
