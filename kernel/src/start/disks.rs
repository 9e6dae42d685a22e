//! The virtio disks: finding them, taking what `mkswap` has prepared for swap, and mounting the first
//! ext2.
//!
//! **Data.** None. **Owner.** The boot task. **Lock.** None.

use core::ptr::NonNull;

use boot::dtb::{Span, VirtioPlace};
use ext2::Mode;
use mm_reclaim::env::{DeviceId, TaskFlags};
use mm_reclaim::units::{Order, PAGE_SIZE};

use super::map_registers;
use crate::swap::Trim;
use crate::task::fair::Class;
use crate::{disk, glue, mount, println, swap, task};

/// The priority of swap on a disk: below that of the RAM disk, which is faster.
const PRIORITY: i16 = -1;

/// Takes all virtio disks into use. What is wrong with one is reported, and it is left out.
///
/// # Panics
/// If there is no task to serve them.
#[inline(never)]
pub(super) fn start(places: &[VirtioPlace]) {
    disk::init(glue::alloc_frames);
    let mut mapped = None;
    for place in places {
        attach(place, &mut mapped);
    }
    if !disk::is_any() {
        return;
    }
    let server = || -> ! { disk::serve(|completion| glue::mm().complete(completion)) };
    task::spawn_server(Class::First, "virtio-blk", TaskFlags::MEMALLOC, server)
        .unwrap_or_else(|error| panic!("no task to serve the disks: {error}"));
    find_partitions();
    virtio_devices().for_each(use_for_swap);
    virtio_devices().for_each(mount_ext2);
}

fn virtio_devices() -> impl Iterator<Item = DeviceId> {
    disk::devices().filter(|device| *device != DeviceId(0))
}

fn find_partitions() {
    let Some(frame) = glue::alloc_frames(Order::ZERO) else {
        return println!("no memory to look for partitions");
    };
    // Those that are added meanwhile are partitions.
    let disks = virtio_devices().count() as u8;
    (1..=disks).for_each(|number| disk::scan(DeviceId(number), frame));
    glue::free_frames(frame, Order::ZERO);
}

/// Takes one disk into use, if there is one. `mapped` is the page of registers that was mapped last,
/// and where: several places share a page.
#[inline(never)]
fn attach(place: &VirtioPlace, mapped: &mut Option<(u64, *mut u8)>) {
    let Span { base, size } = place.registers();
    let offset = base % PAGE_SIZE as u64;
    let page = match *mapped {
        Some((first, page)) if first == base - offset => page,
        _ => match map_registers(Span { base: base - offset, size: offset + size }) {
            Ok(page) => page,
            Err(error) => return println!("virtio device at {base:#x}: not mapped: {error}"),
        },
    };
    // Only one that lies within its page shares it.
    *mapped = (offset + size <= PAGE_SIZE as u64).then_some((base - offset, page));
    let registers = NonNull::new(page.wrapping_add(offset as usize)).expect("a mapped address");
    // SAFETY: these are the registers that the device tree names, mapped just now or with those of the
    // same page; nothing else drives virtio devices.
    match unsafe { disk::attach(registers, size as usize, place.interrupt) } {
        Ok(Some(device)) => describe(device),
        Ok(None) => {}
        Err(error) => println!("virtio device at {base:#x}: not used: {error}"),
    }
}

fn describe(device: DeviceId) {
    if let (Some(name), Some(sectors)) = (disk::name(device), disk::sectors(device)) {
        let kind = if disk::is_read_only(device) { ", read-only" } else { "" };
        println!("{name}: {} KiB{kind}", sectors / 2);
    }
}

/// Mounts the first ext2 that there is.
fn mount_ext2(device: DeviceId) {
    let Some(name) = disk::name(device) else { return };
    let mounted = match mount::mount(device) {
        Ok(None) => return,
        Ok(Some(mounted)) => mounted,
        Err(error) => return println!("ext2: {name} refused: {error}"),
    };
    let space = mounted.fs().space(&mounted.lock());
    let mode = match mounted.fs().mode() {
        Mode::Writable => "",
        Mode::ReadOnly | Mode::Features(_) => ", read-only",
    };
    let [blocks, free] = space.blocks;
    println!(
        "ext2: {name} at /mnt, {blocks} blocks of {} bytes, {free} free{mode}",
        space.block_bytes
    );
    if let Mode::Features(unknown) = mounted.fs().mode() {
        println!("ext2: {name} has features that only allow reading: {unknown}");
    }
    if !mounted.fs().was_clean() {
        println!("warning: {name} was not unmounted cleanly, or is damaged: run e2fsck");
    }
}

#[inline(never)]
fn use_for_swap(device: DeviceId) {
    let Some(name) = disk::name(device) else { return };
    match swap::on(device, PRIORITY, Trim::Nothing) {
        Ok(used) if used.slots + 1 < used.pages => {
            println!("swap: {name}, {} slots of {} pages", used.slots, used.pages);
        }
        Ok(used) => println!("swap: {name}, {} slots", used.slots),
        Err(error) if error.is_no_swap() => {}
        Err(error) => println!("swap: {name} refused: {error}"),
    }
}
