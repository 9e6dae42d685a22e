//! Addresses of devices as the CPU sees them: through the `ranges` of the buses above.

use dtoolkit::fdt::FdtNode;

use super::Span;
use super::node::{Cells, bytes, number};

/// A bus: the node above a device, and the buses above that.
pub(super) struct Bus<'p, 'a> {
    /// `None` for the root, whose addresses are the CPU's.
    parent: Option<&'p Bus<'p, 'a>>,
    cells: Option<Cells>,
    /// `None`: nothing below is reachable. Empty: addresses pass through unchanged.
    ranges: Option<&'a [u8]>,
}

impl<'p, 'a> Bus<'p, 'a> {
    /// The bus that the root node is.
    pub(super) fn root(root: &FdtNode<'a>) -> Self {
        Self { parent: None, cells: Cells::of(root), ranges: Some(&[]) }
    }

    /// The bus `node`, which hangs off `self`.
    pub(super) fn below<'c>(&'c self, node: &FdtNode<'a>) -> Bus<'c, 'a> {
        Bus { parent: Some(self), cells: Cells::of(node), ranges: bytes(node, "ranges") }
    }

    /// The `index`-th entry of `node`'s `reg`, as CPU addresses. `None` if there is none,
    /// or if it is not reachable by the CPU.
    pub(super) fn register(&self, node: &FdtNode<'a>, index: usize) -> Option<Span> {
        let (base, size) = self.cells?.pairs(bytes(node, "reg")?).nth(index)?;
        base.checked_add(size)?;
        let base = self.translate(base, size)?;
        base.checked_add(size)?;
        Some(Span { base, size })
    }

    fn translate(&self, base: u64, size: u64) -> Option<u64> {
        let (Some(parent), ranges) = (self.parent, self.ranges?) else { return Some(base) };
        if ranges.is_empty() {
            return parent.translate(base, size);
        }
        let child = self.cells?;
        let above = parent.cells?.address * 4;
        let (near, far) = (child.address * 4, child.address * 4 + above);
        ranges.chunks_exact(far + child.size * 4).find_map(|range| {
            let start = number(&range[..near]);
            let offset = base.checked_sub(start)?;
            let inside = offset.checked_add(size)? <= number(&range[far..]);
            let moved = number(&range[near..far]).checked_add(offset)?;
            if inside { parent.translate(moved, size) } else { None }
        })
    }
}
