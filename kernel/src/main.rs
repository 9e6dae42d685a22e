//! The sequence of the boot: from the device tree to the first program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
boot::entry!(main, kernel::panic::early_trap);

#[cfg(target_os = "none")]
fn main(handover: boot::Handover) -> ! {
    kernel::start::system(handover, run)
}

#[cfg(target_os = "none")]
fn run(machine: &'static kernel::early::Machine) -> ! {
    kernel::drivers::exit::exit(kernel::start::init(machine))
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("This program is a kernel: scripts/run boots it.");
}
