//! The test image: the kernel's boot, then one test in place of the first program.
//!
//! Each file here is a group of tests and ends in a table; [`GROUPS`] names them all. Those of
//! [`EARLY`] run before there is any memory management.
#![no_std]
#![no_main]

mod boot_order;
mod conform;
mod disks;
mod fatal;
mod flags;
mod harness;
mod locks;
mod memory;
mod mmu;
mod programs;
mod stacks;
mod support;
mod swap;
mod tasks;
mod tlb;
mod usercopy;
mod verdicts;
mod waits;
mod zones;

use core::fmt;

use kernel::drivers::exit;
use kernel::early::Machine;
use suite::{Request, Test};

/// Every test of the image.
const GROUPS: &[&[Test]] = &[
    harness::TESTS,
    EARLY,
    boot_order::TESTS,
    zones::TESTS,
    mmu::TESTS,
    fatal::TESTS,
    conform::TESTS,
    tasks::TESTS,
    waits::TESTS,
    locks::TESTS,
    memory::TESTS,
    stacks::TESTS,
    swap::TESTS,
    disks::TESTS,
    verdicts::TESTS,
    flags::TESTS,
    tlb::TESTS,
    usercopy::TESTS,
    programs::TESTS,
];

/// Tests that run once the device tree was read, and nothing else was done.
const EARLY: &[Test] = boot_order::EARLY;

boot::entry!(start, kernel::panic::early_trap);

fn start(handover: boot::Handover) -> ! {
    let mut buffer = [0; 512];
    match Request::parse(suite::words(&mut buffer)) {
        Ok(Request::Run(name)) if EARLY.iter().all(|test| test.name != name) => {
            kernel::start::system(handover, run)
        }
        // Which tests there are depends on the disks.
        Ok(Request::List(_)) => kernel::start::system(handover, run),
        _ => run(kernel::early::read_device_tree(handover)),
    }
}

fn run(_machine: &'static Machine) -> ! {
    let mut buffer = [0; 512];
    exit::exit(suite::main(suite::words(&mut buffer), GROUPS, &mut Console) as u8)
}

/// The kernel's console, as something to write to.
struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        kernel::print!("{text}");
        Ok(())
    }
}
