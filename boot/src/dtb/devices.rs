//! The walk over the whole tree for the devices that the kernel drives.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use super::bus::Bus;
use super::node::{bytes, is_compatible, is_enabled};
use super::{Conduit, Gic, Span, Summary};

/// Nodes deeper than this are not looked at: it bounds the recursion, and no device that
/// is wanted here lies deeper than four levels on known machines.
const MAX_DEPTH: usize = 8;

/// The interrupt type of a private peripheral interrupt, and the INTID of the first.
const PPI: u32 = 1;
const FIRST_PPI: u32 = 16;
/// The positions of the non-secure physical and of the virtual timer in `interrupts`.
const PHYSICAL: usize = 1;
const VIRTUAL: usize = 2;

/// Fills in what is found below the root.
pub(super) fn find<'a>(tree: Fdt<'a>, summary: &mut Summary<'a>) {
    let root = tree.root();
    let stdout = summary.stdout_path.and_then(|path| console_node(&root, path));
    let mut walk = Walk { summary, stdout };
    walk.children(&root, &Bus::root(&root), 0);
}

struct Walk<'s, 'a> {
    summary: &'s mut Summary<'a>,
    /// The name of the node that `stdout-path` names.
    stdout: Option<&'a str>,
}

impl<'a> Walk<'_, 'a> {
    fn children(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        for child in node.children().filter(is_enabled) {
            self.device(&child, bus);
            self.children(&child, &bus.below(&child), depth + 1);
        }
    }

    fn device(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>) {
        if is_compatible(node, &["arm,pl011"]) {
            self.uart(node, bus);
        } else if is_compatible(node, &["arm,cortex-a15-gic", "arm,gic-400"]) {
            self.gic(node, bus, |[distributor, cpu_interface]| Gic::V2 {
                distributor,
                cpu_interface,
            });
        } else if is_compatible(node, &["arm,gic-v3"]) {
            self.gic(node, bus, |[distributor, redistributors]| Gic::V3 {
                distributor,
                redistributors,
            });
        } else if is_compatible(node, &["arm,armv8-timer", "arm,armv7-timer"]) {
            self.summary.physical_timer = timer(node, PHYSICAL);
            self.summary.virtual_timer = timer(node, VIRTUAL);
        } else if is_compatible(node, &["arm,psci-0.2", "arm,psci-1.0"]) {
            self.summary.psci = conduit(node);
        }
    }

    fn uart(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>) {
        let chosen = self.stdout == Some(node.name());
        if chosen || self.summary.pl011.is_none() {
            self.summary.pl011 = bus.register(node, 0).or(self.summary.pl011);
        }
    }

    fn gic(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>, kind: fn([Span; 2]) -> Gic) {
        let (first, second) = (bus.register(node, 0), bus.register(node, 1));
        if let (Some(first), Some(second)) = (first, second) {
            self.summary.gic = Some(kind([first, second]));
        }
    }
}

/// The name of the node that a `stdout-path` means: its options are cut off, and an alias
/// is looked up. Node names with their unit addresses are taken to be unique.
fn console_node<'a>(root: &FdtNode<'a>, path: &'a str) -> Option<&'a str> {
    let path = path.split(':').next()?;
    let path = if path.starts_with('/') { path } else { alias(root, path)? };
    path.rsplit('/').next()
}

fn alias<'a>(root: &FdtNode<'a>, name: &str) -> Option<&'a str> {
    let aliases = root.children().find(|node| node.name() == "aliases")?;
    let path = core::str::from_utf8(bytes(&aliases, name)?).ok()?;
    path.strip_suffix('\0')
}

/// The INTID of the `index`-th interrupt, written in a GIC's three cells.
fn timer(node: &FdtNode<'_>, index: usize) -> Option<u32> {
    let interrupt = bytes(node, "interrupts")?.chunks_exact(12).nth(index)?;
    let cell = |at: usize| {
        u32::from_be_bytes([interrupt[at], interrupt[at + 1], interrupt[at + 2], interrupt[at + 3]])
    };
    let number = cell(4);
    (cell(0) == PPI && number < 16).then(|| number + FIRST_PPI)
}

fn conduit(node: &FdtNode<'_>) -> Option<Conduit> {
    match bytes(node, "method")? {
        b"hvc\0" => Some(Conduit::Hvc),
        b"smc\0" => Some(Conduit::Smc),
        _ => None,
    }
}
