//! Which UART is the console: the one that `stdout-path` names, and what to try instead.
//!
//! A path may be missing, name nothing, or name a device that the kernel does not drive or that is
//! disabled. There is output nevertheless if the tree has any UART that is known and enabled:
//! [`Summary::uarts`](super::Summary::uarts) lists them, the best first. One with a device attached
//! (a node below it, such as the Bluetooth chip of a Raspberry Pi) comes after those without.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use super::node::{Compatible, bytes, number};
use super::{List, Span};

/// UARTs that are tried.
pub const MAX_UARTS: usize = 4;
/// The rate of a console without options in its `stdout-path`.
const DEFAULT_BAUD: u32 = 115_200;
/// Nodes deeper than this are not searched for clocks.
const MAX_DEPTH: usize = 4;

/// A UART that the kernel drives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum UartKind {
    /// Arm's PL011.
    #[default]
    Pl011,
    /// The small one in the auxiliary block of Broadcom's chips, called mini-UART.
    Mini,
}

/// Where a UART is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Uart {
    /// Its kind.
    pub kind: UartKind,
    /// Its registers.
    pub registers: Span,
    /// The rate of its clock in Hz, if the tree has a fixed one; on a Raspberry Pi it has none, as
    /// the firmware sets it.
    pub clock: Option<u32>,
}

/// The UARTs of a tree, by their suitability as the console.
pub(super) struct Uarts<'a> {
    /// The name of the node that `stdout-path` names.
    stdout: Option<&'a str>,
    chosen: Option<Found>,
    /// Without and with a device attached.
    others: [List<Found, MAX_UARTS>; 2],
}

#[derive(Clone, Copy, Default)]
struct Found {
    kind: UartKind,
    registers: Span,
    /// The phandle of its first clock.
    clock: Option<u32>,
}

impl<'a> Uarts<'a> {
    pub(super) fn new(root: &FdtNode<'a>, stdout_path: Option<&'a str>) -> Self {
        let stdout = stdout_path.and_then(|path| console_node(root, path));
        Self { stdout, chosen: None, others: [List::new(), List::new()] }
    }

    /// Adds `node` if it is a known UART, with its registers at `registers`.
    pub(super) fn offer(
        &mut self,
        node: &FdtNode<'a>,
        compatible: Compatible<'a>,
        registers: impl FnOnce() -> Option<Span>,
    ) {
        let kind = match () {
            () if compatible.is_any(&["arm,pl011"]) => UartKind::Pl011,
            () if compatible.is_any(&["brcm,bcm2835-aux-uart"]) => UartKind::Mini,
            () => return,
        };
        let Some(registers) = registers() else { return };
        let clock = bytes(node, "clocks").and_then(|cells| cells.get(..4)).map(number);
        let found = Found { kind, registers, clock: clock.map(|phandle| phandle as u32) };
        if self.stdout == Some(node.name()) {
            self.chosen = Some(found);
        } else {
            let attached = node.children().next().is_some();
            // A fifth of a kind would hardly be tried.
            let _ = self.others[usize::from(attached)].push(found);
        }
    }

    /// All UARTs found, the best first.
    pub(super) fn best_first(&self, tree: Fdt<'_>) -> List<Uart, MAX_UARTS> {
        let mut list = List::new();
        let [plain, attached] = &self.others;
        for found in self.chosen.iter().chain(plain.iter()).chain(attached.iter()) {
            let Found { kind, registers, clock } = *found;
            let clock = clock.and_then(|phandle| fixed_clock(&tree.root(), phandle, 0));
            if list.push(Uart { kind, registers, clock }).is_err() {
                break;
            }
        }
        list
    }
}

/// The rate that a `stdout-path` gives after its colon, as in `serial1:115200n8`.
pub(super) fn baud(stdout_path: Option<&str>) -> u32 {
    let options = stdout_path.and_then(|path| path.split_once(':')).map_or("", |(_, rest)| rest);
    let digits = options.bytes().take_while(u8::is_ascii_digit).count();
    let baud = options[..digits].parse().unwrap_or(DEFAULT_BAUD);
    if baud == 0 { DEFAULT_BAUD } else { baud }
}

/// The name of the node that a `stdout-path` means: options are cut off, and an alias is looked up.
/// Node names with their unit addresses are assumed to be unique.
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

/// The rate of the fixed clock with that phandle, at or below `node`.
fn fixed_clock(node: &FdtNode<'_>, phandle: u32, depth: usize) -> Option<u32> {
    if depth == MAX_DEPTH {
        return None;
    }
    node.children().find_map(|child| {
        let is_it = bytes(&child, "phandle") == Some(&phandle.to_be_bytes());
        if is_it && Compatible::new(bytes(&child, "compatible")).is_any(&["fixed-clock"]) {
            let rate = bytes(&child, "clock-frequency").filter(|rate| rate.len() == 4)?;
            return Some(number(rate) as u32).filter(|rate| *rate != 0);
        }
        fixed_clock(&child, phandle, depth + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_stands_after_the_colon() {
        assert_eq!(baud(Some("serial1:9600n8")), 9600);
        for path in [None, Some("serial0"), Some("serial0:"), Some("a:n8"), Some("a:0n8")] {
            assert_eq!(baud(path), 115_200, "{path:?}");
        }
        assert_eq!(baud(Some("a:99999999999")), 115_200);
    }
}
