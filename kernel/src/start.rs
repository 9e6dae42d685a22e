//! From mapped memory to a running system: the second half of the boot (BOOT-07).
//!
//! Order, each step consuming or needing the result of the previous one: descriptors and zones
//! (`bootmem_init`), free memory to the allocator (`mem_init`), interrupts and tasks, swap, the
//! first program.
//!
//! At its end the boot task moves to a stack like that of any other task, and the boot's large one
//! becomes programs' memory.
//!
//! **Data.** The memory of the crate's tables, taken from memblock permanently. **Owner.** The boot
//! task. **Lock.** None: one CPU, one task.

mod disks;

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use boot::dtb::{Gic, Span};
use boot::image;
use mm_reclaim::env::TaskFlags;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::memblock::{Direction, Region};
use mm_reclaim::swap::Slot;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn, PhysAddr};
use mm_reclaim::zone::FrameRange;
use mm_reclaim::{Config, Mm, Plan};

use crate::arch::mmu::{self, MapError};
use crate::arch::{cpu, paging, trap};
use crate::bootargs::BootArgs;
use crate::drivers::gic::{self, Controller};
use crate::drivers::timer;
use crate::early::{self, Machine, MappedMemory};
use crate::exec::{self, ExecError};
use crate::filedisk::{self, blocks::words_for};
use crate::glue::{self, KernelEnv, KernelMm};
use crate::ramdisk::extents::Extents;
use crate::syscall::hooks;
use crate::task::TaskId;
use crate::task::fair::Class;
use crate::task::family::Which;
use crate::{files, monitor, mount, println, ramdisk, smp, task};

/// Ranges of memory that the zones can be made of.
const MAX_RANGES: usize = 64;

/// The rate of the timer if neither register nor device tree gives it: the Raspberry Pi 4's.
const LIKELY_RATE: u32 = 54_000_000;

/// The RAM disk's place, how much of it is swap, and the memory for its slots.
struct SwapSpace {
    place: Extents,
    swap_blocks: u32,
    slots: &'static mut [MaybeUninit<Slot>],
    /// The bits of the blocks of files.
    words: &'static mut [u64],
}

/// What a system that can run programs does.
pub type Body = fn(&'static Machine) -> !;

/// The bytes of the boot's stack that were never used: set before it is given back.
static SPARE: AtomicU64 = AtomicU64::new(0);

/// The whole boot; then `body`, on a stack of its own. The frames of the stack that the boot ran on
/// are programs' memory then.
///
/// # Panics
/// If the machine lacks something that the kernel needs; the message says what.
pub fn system(handover: boot::Handover, body: Body) -> ! {
    build(early::read_device_tree(handover));
    // SAFETY: this is the boot task. What lies on its stack is not used again: the machine's
    // description is not there, the memory management was moved to where it stays.
    let refused = unsafe { task::leave_boot_stack(settled, body as usize) };
    match refused {
        Err(error) => panic!("no stack for the first task: {error}"),
    }
}

/// The first code on the boot task's own stack.
extern "C" fn settled(body: usize) -> ! {
    cpu::irqs_on();
    SPARE.store(untouched(image::boot_stack()), Relaxed);
    // SAFETY: the boot task was the only one to run there, and has left it.
    let frames = unsafe { mmu::unmap_boot_stack() };
    let [start, end] = [frames.start, frames.end].map(|at| Pfn::of(at).expect("memory"));
    glue::mm().free_bootmem(FrameRange { start, end });
    // SAFETY: it is what `system` passed.
    let body = unsafe { core::mem::transmute::<usize, Body>(body) };
    body(early::machine())
}

/// The bytes of a stack that are still zero: below the deepest frame there ever was.
fn untouched(stack: Range<u64>) -> u64 {
    let zero = |at: &u64| {
        // SAFETY: the stack is mapped, and nobody writes to it any more.
        unsafe { (*at as *const u64).read() == 0 }
    };
    8 * stack.step_by(8).take_while(zero).count() as u64
}

/// The bytes of its stack that the boot did not use.
pub fn boot_stack_spare() -> u64 {
    SPARE.load(Relaxed)
}

fn build(machine: &Machine) {
    println!("{}, {} CPUs", machine.tree.model, machine.tree.cpus.len());
    for word in machine.args.unknown() {
        println!("warning: unknown bootargs word \"{word}\"");
    }
    println!("kernel image at {:?}, device tree at {:?}", machine.image, machine.dtb);
    let memory = machine.memory().unwrap_or_else(|error| panic!("{error}"));
    let memory = memory.map().unwrap_or_else(|error| panic!("{error}"));
    memory.memblock.memory().for_each(|range| println!("memory   {range:?}"));
    memory.memblock.reserved().for_each(|range| println!("reserved {range:?}"));
    memory.memblock.no_map().for_each(|range| println!("no-map   {range:?}"));
    if let Some(columns) = machine.args.columns {
        monitor::set_columns(columns);
    }
    if machine.args.test_hooks {
        hooks::allow();
        task::measure_stacks();
    }
    let (mm, swap_space) = memory_management(machine, memory);
    tasks(machine);
    smp::start_others(machine);
    if let Some(space) = swap_space {
        ram_disk(mm, space, &machine.args);
    }
    disks::start(&machine.tree.virtio);
}

/// Makes zones and descriptors, and gives free memory to the page allocator. Memblock is gone
/// afterwards.
///
/// # Panics
/// If the memory is too small or too scattered for descriptors.
#[inline(never)] // Its frame is the largest of the boot, and is needed only once.
fn memory_management(
    machine: &Machine,
    mut memory: MappedMemory,
) -> (&'static KernelMm, Option<SwapSpace>) {
    // The boot code becomes the first task of the table; earlier queries find it there.
    task::begin_as(0, TaskId(0));
    cpu::init(0);
    trap::install();
    let mut ranges = [FrameRange::default(); MAX_RANGES];
    let mut count = 0;
    for range in memory.memblock.memory_frames() {
        assert!(count < MAX_RANGES, "more than {MAX_RANGES} ranges of memory");
        ranges[count] = FrameRange { start: range.start, end: range.end };
        count += 1;
    }
    check_reserve(&machine.args, &ranges[..count]);
    let plan = Plan::new(&ranges[..count], config(machine)).unwrap_or_else(|e| panic!("{e}"));
    let block = take::<u8>(&mut memory, plan.storage_layout::<KernelEnv>());
    let swap_blocks = (early::whole_blocks(machine.args.ramdisk.size) / PAGE_SIZE as u64) as u32;
    let swap = memory.ramdisk.map(|place| SwapSpace {
        place,
        swap_blocks,
        slots: take(&mut memory, slots_layout(swap_blocks)),
        words: block_words(&mut memory, place.blocks() - swap_blocks),
    });
    let mm = glue::install(Mm::new(KernelEnv::new(), plan, block));
    if let Some(cluster) = machine.args.page_cluster {
        mm.set_page_cluster(cluster);
    }
    mm.set_laptop_mode(machine.args.laptop_mode);
    if let Some(rule) = machine.args.anon_rule {
        mm.set_reference_rule(rule);
    }
    for range in memory.memblock.hand_over().free_frames() {
        mm.free_bootmem(FrameRange { start: range.start, end: range.end });
    }
    monitor::print_zones(mm, plan.descriptor_bytes());
    (mm, swap)
}

/// Checks the requested reserve against the memory: programs get at least half of it.
///
/// # Panics
/// If it is more.
fn check_reserve(args: &BootArgs<'_>, ranges: &[FrameRange]) {
    let frames: u64 = ranges.iter().map(|range| u64::from(range.end.0 - range.start.0)).sum();
    let half = frames * PAGE_SIZE as u64 / 2048;
    if let Some(kbytes) = args.min_free_kbytes.filter(|kbytes| u64::from(*kbytes) > half) {
        panic!("min_free_kbytes={kbytes}: more than half of the memory, {half} KiB");
    }
}

fn config(machine: &Machine) -> Config {
    let (args, default) = (&machine.args, Config::default());
    Config {
        zone_limits: machine.zone_limits(),
        min_free_kbytes: args.min_free_kbytes,
        swappiness: args.swappiness.unwrap_or(default.swappiness),
        ..default
    }
}

fn slots_layout(blocks: u32) -> Layout {
    Layout::array::<Slot>(KernelMm::swap_words(blocks)).expect("slots that fit the address space")
}

/// Zeroes for the bits of so many blocks of files.
fn block_words(memory: &mut MappedMemory, blocks: u32) -> &'static mut [u64] {
    let layout = Layout::array::<u64>(words_for(blocks)).unwrap_or_else(|e| panic!("{e}"));
    let words = take::<u64>(memory, layout);
    words.fill(MaybeUninit::new(0));
    // SAFETY: all of them were just written.
    unsafe { words.assume_init_mut() }
}

/// Memory from memblock, never freed.
fn take<T>(memory: &mut MappedMemory, layout: Layout) -> &'static mut [MaybeUninit<T>] {
    if layout.size() == 0 {
        return &mut [];
    }
    let size = (layout.size() as u64).next_multiple_of(PAGE_SIZE as u64);
    let align = (layout.align() as u64).max(PAGE_SIZE as u64);
    let at = memory
        .memblock
        .alloc(size, align, Region::ALL, Direction::TopDown)
        .unwrap_or_else(|error| panic!("no memory for the page descriptors: {error}"));
    let first = (mmu::LINEAR_BASE + at.start.0) as *mut MaybeUninit<T>;
    let count = layout.size() / size_of::<T>();
    // SAFETY: memblock has just handed the range out and never will again; it is in the linear map,
    // page-aligned, and uninitialised as the type says.
    unsafe { core::slice::from_raw_parts_mut(first, count) }
}

/// Interrupts, the timer and tasks: from here on the boot code is a task like any other.
///
/// # Panics
/// Without a supported interrupt controller, or memory for the first tasks.
fn tasks(machine: &Machine) {
    let controller = machine.tree.gic.expect("the device tree names no GICv2 and no GICv3");
    let controller = map_gic(controller);
    // SAFETY: the addresses come from the device tree and were mapped just now, for this.
    unsafe { gic::init(controller) };
    let rate = machine.tree.counter_rate(timer::rate_register()).unwrap_or_else(|| {
        println!("warning: nobody tells the timer's rate, taken for {LIKELY_RATE} Hz");
        LIKELY_RATE
    });
    timer::init(machine.tree.virtual_timer.unwrap_or(27), rate);
    paging::init(mmu::empty_root());
    task::adopt_boot_task(&files::ForTasks).unwrap_or_else(|error| panic!("no boot task: {error}"));
    cpu::irqs_on();
    let kswapd = || -> ! { glue::mm().kswapd() };
    task::spawn_server(Class::Serves, "kswapd0", TaskFlags::KSWAPD, kswapd)
        .unwrap_or_else(|error| panic!("no kswapd: {error}"));
    let flusher = || -> ! { glue::mm().flusher() };
    task::spawn_server(Class::Serves, "flusher", TaskFlags::empty(), flusher)
        .unwrap_or_else(|error| panic!("no flusher: {error}"));
    let reaper = || -> ! { glue::mm().oom_reaper() };
    // Class `First`: tasks wait for the memory that it frees, and it frees it at once.
    task::spawn_server(Class::First, "oom_reaper", TaskFlags::empty(), reaper)
        .unwrap_or_else(|error| panic!("no reaper: {error}"));
}

/// The most bytes mapped of one of the controller's register blocks: the redistributors of eight
/// CPUs, with virtual interrupts. Every other block is smaller.
const REGISTERS: u64 = 8 * 0x4_0000;

fn map_gic(gic: Gic) -> Controller {
    match gic {
        Gic::V2 { distributor, cpu_interface } => Controller::V2 {
            distributor: map_controller(distributor),
            cpu_interface: map_controller(cpu_interface),
        },
        Gic::V3 { distributor, redistributors } => Controller::V3 {
            distributor: map_controller(distributor),
            redistributors: map_controller(redistributors),
            bytes: redistributors.size.min(REGISTERS) as usize,
        },
    }
}

/// Maps registers of the interrupt controller.
fn map_controller(registers: Span) -> usize {
    let base = registers.base;
    let mapped = map_registers(registers);
    mapped.unwrap_or_else(|error| panic!("the interrupt controller at {base:#x}: {error}")).addr()
}

/// Maps registers, with frames from the page allocator.
#[inline(never)]
fn map_registers(Span { base, size }: Span) -> Result<*mut u8, MapError> {
    let mm = glue::mm();
    let mut spare = [const { None }; mmu::most_tables(REGISTERS)];
    spare.fill_with(|| mm.alloc_pages(Gfp::KERNEL, Order::ZERO));
    let mapped = mmu::map_device(PhysAddr(base), size.min(REGISTERS), &mut spare);
    spare.into_iter().flatten().for_each(|frame| mm.free_pages(frame, Order::ZERO));
    mapped
}

/// Takes the RAM disk into use, for swap and for files.
///
/// # Panics
/// If it cannot be started; if its header is refused, that is reported and swap stays off.
fn ram_disk(mm: &'static KernelMm, space: SwapSpace, args: &BootArgs<'_>) {
    let SwapSpace { place, swap_blocks, slots, words } = space;
    let all = place.blocks();
    let server = || -> ! { ramdisk::serve(|completion| glue::mm().complete(completion)) };
    // SAFETY: memblock carved the pieces out for this; they are mapped and have no other user.
    let device = unsafe { ramdisk::start(place, swap_blocks, &args.ramdisk, server) }
        .unwrap_or_else(|error| panic!("no RAM disk: {error}"));
    filedisk::init(device, swap_blocks, all - swap_blocks, words);
    if all > swap_blocks {
        println!("files: {} blocks of the RAM disk at {place:?}", all - swap_blocks);
    }
    if swap_blocks == 0 {
        return;
    }
    let header = ramdisk::disk(device).expect("a disk that was started").header();
    match mm.swapon(device, swap_blocks, &header, slots, 0) {
        Ok(usable) => println!("swap: RAM disk at {place:?}, {usable} slots"),
        Err(error) => println!("swap: refused: {error}"),
    }
}

/// Runs the program that `init=` names to its end; returns the status of the run.
pub fn init(machine: &Machine) -> u8 {
    let Some(name) = machine.args.init else {
        println!("no program to run: init= names none");
        return 0;
    };
    // Allocated before the program starts: some programs compare free memory before and after, and
    // the monitor's stack is never freed.
    let monitor = monitor::prepare();
    let started = machine.initrd().ok_or(None).and_then(|initrd| {
        let (bytes, frames) = (initrd_bytes(initrd), machine.initrd_frames());
        // SAFETY: the frames are the initrd's alone, and reserved since the boot; nothing else reads
        // it, and no other program is run from it.
        unsafe { exec::spawn_only(bytes, name, machine.args.program, frames) }.map_err(Some)
    });
    match started {
        Ok(pid) => {
            let watch = monitor.watch(pid);
            let status = wait_for(pid);
            monitor::end_programs();
            mount::unmount();
            watch.finish(status)
        }
        Err(error) => complain(name, error),
    }
}

fn complain(name: &str, error: Option<ExecError>) -> u8 {
    match error {
        Some(error) => println!("cannot run {name}: {error}"),
        None => println!("cannot run {name}: there is no initrd"),
    }
    1
}

fn initrd_bytes(at: Region) -> &'static [u8] {
    let first = (mmu::LINEAR_BASE + at.start.0) as *const u8;
    // SAFETY: the initrd is reserved memory, mapped by the linear map, and not written before it is
    // freed, after its last use.
    unsafe { core::slice::from_raw_parts(first, at.size() as usize) }
}

/// The status with which the process ended, as `wait4` encodes it.
fn wait_for(pid: u32) -> i32 {
    loop {
        match task::wait_child(Which::Pid(pid), true) {
            Ok(Some((_, status))) => return status,
            Ok(None) => {}
            Err(_) => panic!("process {pid} has no parent"),
        }
    }
}
