//! The swap device goes out of use and comes back while its pages are in use.
//!
//! With more pages than RAM the device is refused and nothing is lost. With fewer, shared
//! with a child by `fork`, all come back; then the device serves again.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `device=` | ram0/vda/vda1 | the device (ram0) |
//! | `discard=` | 0/1 | whether the device is told then that it need not keep anything (0) |
//! | `rounds=` | 1 or more | how often the device goes and comes back (3) |
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::sys::{self, EBUSY, EINVAL, ENOENT, ENOMEM, Errno};
use programs::task::{self, End};
use programs::{FAILED, Machine, println};

programs::entry!(swapper);

fn swapper(args: &Args) -> i32 {
    let ram = Machine::new().ram;
    let disk = match args.text("device") {
        Some("vda") => c"/dev/vda",
        Some("vda1") => c"/dev/vda1",
        _ => c"/dev/ram0",
    };
    let flags = match args.number("discard", 0) {
        0 => 0,
        _ => sys::SWAP_FLAG_DISCARD | sys::SWAP_FLAG_DISCARD_ONCE | sys::SWAP_FLAG_DISCARD_PAGES,
    };
    let ends = [
        ("an absent device", sys::swapoff(c"/dev/ram7"), Err(ENOENT)),
        ("no device", sys::swapoff(c"swap"), Err(ENOENT)),
        ("a device in use", sys::swapon(disk, flags), Err(EBUSY)),
        ("unknown flags", sys::swapon(disk, flags | 1 << 20), Err(EINVAL)),
    ];
    let wrong = ends.iter().filter(|(what, end, wanted)| !is(what, *end, *wanted)).count();
    if wrong > 0 || !refuses(disk, ram + ram / 2) {
        return FAILED;
    }
    for version in 1..=args.number("rounds", 3) as u64 {
        if !goes_and_comes((disk, flags), ram / 3, ram, version) {
            return FAILED;
        }
    }
    println!("swapper: every page came back");
    0
}

fn is(what: &str, end: Result<(), Errno>, wanted: Result<(), Errno>) -> bool {
    if end != wanted {
        println!("swapper: {what}: {end:?} instead of {wanted:?}");
    }
    end == wanted
}

fn sound(result: Result<(), Damage>) -> bool {
    result.map_err(|damage| damage.report()).is_ok()
}

/// More pages than fit into memory: the device stays, and every page is as it was.
fn refuses(disk: &CStr, count: usize) -> bool {
    let mut pages = Pages::map(count);
    pages.write_all(1);
    is("too many pages", sys::swapoff(disk), Err(ENOMEM)) && sound(pages.check_all(1))
}

/// Pages are pushed out by another program, and brought back for the two that share them
/// while both use them.
fn goes_and_comes((disk, flags): (&CStr, usize), count: usize, ram: usize, version: u64) -> bool {
    let mut pages = Pages::map(count);
    pages.write_all(version);
    let other = task::start(|| {
        Pages::map(ram).write_all(7);
        0
    });
    if task::join(other) != End::Status(0) {
        return false;
    }
    let child = task::start(|| {
        let is_sound = (0..10).all(|_| sound(pages.check_all(version)));
        if is_sound { 0 } else { FAILED }
    });
    let went = is("swapon in use", sys::swapon(disk, flags), Err(EBUSY))
        && is("swapoff", sys::swapoff(disk), Ok(()))
        && is("swapoff twice", sys::swapoff(disk), Err(EINVAL))
        && sound(pages.check_all(version))
        && is("swapon", sys::swapon(disk, flags), Ok(()));
    task::join(child) == End::Status(0) && went
}
