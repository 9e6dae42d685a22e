//! The test image: the kernel's boot story, then one test.
//!
//! Each file here is a group of tests and ends in a table; [`GROUPS`] names them all.
#![no_std]
#![no_main]

mod harness;

use core::fmt;

use kernel::arch::exit;
use suite::Test;

/// Every test of the image.
const GROUPS: &[&[Test]] = &[harness::TESTS];

boot::entry!(start, kernel::panic::early_trap);

fn start(handover: boot::Handover) -> ! {
    let machine = kernel::early::read_device_tree(handover);
    let memory = machine.memory().unwrap_or_else(|error| panic!("{error}"));
    let _mapped = memory.map().unwrap_or_else(|error| panic!("{error}"));
    exit::exit(tests() as u8)
}

/// What runs in place of a user program; its value is the machine's status.
fn tests() -> i32 {
    let mut buffer = [0; 512];
    suite::main(suite::words(&mut buffer), GROUPS, &mut Console)
}

/// The kernel's console, as something to write to.
struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        kernel::print!("{text}");
        Ok(())
    }
}
