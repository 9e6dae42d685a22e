//! The walk over the whole tree for the devices that the kernel drives.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use super::bus::Bus;
use super::node::{Compatible, all_bytes, bytes, enables, value};
use super::uart::Uarts;
use super::{Conduit, Gic, Span, Summary, VirtioPlace};

/// Nodes deeper than this are ignored: it bounds the recursion, and no device that is needed here
/// is deeper than four levels on known machines.
const MAX_DEPTH: usize = 8;

/// The types of a shared and of a private peripheral interrupt, and the INTID of the first of each.
const SPI: u32 = 0;
const FIRST_SPI: u32 = 32;
const PPI: u32 = 1;
const FIRST_PPI: u32 = 16;
/// Shared interrupts that a GIC can have.
const MAX_SPIS: u32 = 988;
/// The positions of the non-secure physical and of the virtual timer in `interrupts`.
const PHYSICAL: usize = 1;
const VIRTUAL: usize = 2;

/// Fills in what is found below the root.
pub(super) fn find<'a>(tree: Fdt<'a>, summary: &mut Summary<'a>) {
    let root = tree.root();
    let uarts = Uarts::new(&root, summary.stdout_path);
    let mut walk = Walk { summary, uarts };
    walk.children(&root, &Bus::root(&root), 0);
    walk.summary.uarts = walk.uarts.best_first(tree);
}

struct Walk<'s, 'a> {
    summary: &'s mut Summary<'a>,
    uarts: Uarts<'a>,
}

impl<'a> Walk<'_, 'a> {
    fn children(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        for child in node.children() {
            let [status, compatible] = all_bytes(&child, ["status", "compatible"]);
            if !enables(status) {
                continue;
            }
            self.device(&child, Compatible::new(compatible), bus);
            let below = bus.below(&child);
            self.dma(below.dma_end());
            self.children(&child, &below, depth + 1);
        }
    }

    fn device(&mut self, node: &FdtNode<'a>, compatible: Compatible<'a>, bus: &Bus<'_, 'a>) {
        self.uarts.offer(node, compatible, || bus.register(node, 0));
        if compatible.is_any(&["arm,cortex-a15-gic", "arm,gic-400"]) {
            self.gic(node, bus, |[distributor, cpu_interface]| Gic::V2 {
                distributor,
                cpu_interface,
            });
        } else if compatible.is_any(&["arm,gic-v3"]) {
            self.gic(node, bus, |[distributor, redistributors]| Gic::V3 {
                distributor,
                redistributors,
            });
        } else if compatible.is_any(&["arm,armv8-timer", "arm,armv7-timer"]) {
            self.summary.physical_timer = timer(node, PHYSICAL);
            self.summary.virtual_timer = timer(node, VIRTUAL);
            self.summary.timer_rate = value(node, "clock-frequency").ok().flatten();
        } else if compatible.is_any(&["arm,psci-0.2", "arm,psci-1.0"]) {
            self.summary.psci = conduit(node);
        } else if compatible.is_any(&["virtio,mmio"]) {
            self.virtio(node, bus);
        } else {
            self.broadcom(node, compatible, bus);
        }
    }

    fn broadcom(&mut self, node: &FdtNode<'a>, compatible: Compatible<'a>, bus: &Bus<'_, 'a>) {
        let blocks = &mut self.summary.bcm2711;
        let block = match () {
            () if compatible.is_any(&["brcm,bcm2711-gpio"]) => &mut blocks.gpio,
            () if compatible.is_any(&["brcm,bcm2711-pm", "brcm,bcm2835-pm-wdt"]) => {
                &mut blocks.power
            }
            () => return,
        };
        *block = bus.register(node, 0);
    }

    /// A place without registers of at most 4 GiB, or without an interrupt, is of no use.
    fn virtio(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>) {
        let registers =
            bus.register(node, 0).map(|Span { base, size }| (base, u32::try_from(size)));
        if let (Some((base, Ok(size))), Some(interrupt)) = (registers, shared_interrupt(node)) {
            // Places beyond those that fit are ignored.
            let _ = self.summary.virtio.push(VirtioPlace { base, size, interrupt });
        }
    }

    /// The narrowest window of all buses applies.
    fn dma(&mut self, end: Option<u64>) {
        let ends = [self.summary.dma_end, end];
        self.summary.dma_end = ends.into_iter().flatten().min();
    }

    fn gic(&mut self, node: &FdtNode<'a>, bus: &Bus<'_, 'a>, kind: fn([Span; 2]) -> Gic) {
        let (first, second) = (bus.register(node, 0), bus.register(node, 1));
        if let (Some(first), Some(second)) = (first, second) {
            self.summary.gic = Some(kind([first, second]));
        }
    }
}

/// The INTID of the `index`-th interrupt, which must be a private one.
fn timer(node: &FdtNode<'_>, index: usize) -> Option<u32> {
    let (kind, number) = interrupt(node, index)?;
    (kind == PPI && number < 16).then(|| number + FIRST_PPI)
}

/// The INTID of the first interrupt, which must be a shared one.
fn shared_interrupt(node: &FdtNode<'_>) -> Option<u32> {
    let (kind, number) = interrupt(node, 0)?;
    (kind == SPI && number < MAX_SPIS).then(|| number + FIRST_SPI)
}

/// The type and the number of the `index`-th interrupt, written in a GIC's three cells.
fn interrupt(node: &FdtNode<'_>, index: usize) -> Option<(u32, u32)> {
    let interrupt = bytes(node, "interrupts")?.chunks_exact(12).nth(index)?;
    let cell = |at: usize| {
        u32::from_be_bytes([interrupt[at], interrupt[at + 1], interrupt[at + 2], interrupt[at + 3]])
    };
    Some((cell(0), cell(4)))
}

fn conduit(node: &FdtNode<'_>) -> Option<Conduit> {
    match bytes(node, "method")? {
        b"hvc\0" => Some(Conduit::Hvc),
        b"smc\0" => Some(Conduit::Smc),
        _ => None,
    }
}
