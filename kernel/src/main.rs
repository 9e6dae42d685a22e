//! The kernel, as a story: from the device tree to the first program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
boot::entry!(main, kernel::panic::early_trap);

#[cfg(target_os = "none")]
fn main(handover: boot::Handover) -> ! {
    use kernel::arch::{exit, mmu};
    use kernel::{early, println};

    let machine = early::read_device_tree(handover);
    println!("{}, {} CPUs", machine.tree.model, machine.tree.cpus);
    for word in machine.args.unknown() {
        println!("warning: unknown bootargs word \"{word}\"");
    }
    println!("kernel image at {:?}, device tree at {:?}", machine.image, machine.dtb);

    let memory = machine.memory().unwrap_or_else(|error| panic!("{error}"));
    let memory = memory.map().unwrap_or_else(|error| panic!("{error}"));
    memory.memblock.memory().for_each(|range| println!("memory   {range:?}"));
    memory.memblock.reserved().for_each(|range| println!("reserved {range:?}"));
    memory.memblock.no_map().for_each(|range| println!("no-map   {range:?}"));

    let audit = mmu::audit();
    println!("{audit:x?}");
    exit::exit(u8::from(audit.findings != 0))
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("This program is a kernel: scripts/run boots it.");
}
