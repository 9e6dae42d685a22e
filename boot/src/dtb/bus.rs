//! Addresses of devices as the CPU sees them: through the `ranges` of the buses above. And how much
//! memory the devices of a bus can reach, by its `dma-ranges`.

use dtoolkit::fdt::FdtNode;

use super::Span;
use super::node::{Cells, all_bytes, bytes, number};

/// A bus: the node above a device, and the buses above that.
pub(super) struct Bus<'p, 'a> {
    /// `None` for the root, whose addresses are the CPU's.
    parent: Option<&'p Bus<'p, 'a>>,
    cells: Option<Cells>,
    /// `None`: nothing below is reachable. Empty: addresses pass through unchanged.
    ranges: Option<&'a [u8]>,
    /// `None` or empty: the devices' addresses pass through unchanged.
    dma_ranges: Option<&'a [u8]>,
}

impl<'p, 'a> Bus<'p, 'a> {
    /// The bus of the root node.
    pub(super) fn root(root: &FdtNode<'a>) -> Self {
        Self { parent: None, cells: Cells::of(root), ranges: Some(&[]), dma_ranges: None }
    }

    /// The bus `node`, whose parent is `self`.
    pub(super) fn below<'c>(&'c self, node: &FdtNode<'a>) -> Bus<'c, 'a> {
        let names = ["#address-cells", "#size-cells", "ranges", "dma-ranges"];
        let [address, size, ranges, dma_ranges] = all_bytes(node, names);
        Bus { parent: Some(self), cells: Cells::from(address, size), ranges, dma_ranges }
    }

    /// The first address beyond the memory that devices of this bus can reach; `None` if the
    /// bus itself sets no limit. PCI's buses, whose addresses have three cells, set none.
    pub(super) fn dma_end(&self) -> Option<u64> {
        let (parent, child) = (self.parent?, self.cells?);
        let above = parent.cells?.address * 4;
        let (near, far) = (child.address * 4, child.address * 4 + above);
        let windows = self.dma_ranges?.chunks_exact(far + child.size * 4);
        windows
            .filter_map(|window| {
                let (base, size) = (number(&window[near..far]), number(&window[far..]));
                parent.dma_translate(base, size)?.checked_add(size)
            })
            .max()
    }

    /// The memory address for the address `base` of a device of this bus.
    fn dma_translate(&self, base: u64, size: u64) -> Option<u64> {
        let windows = self.dma_ranges.filter(|windows| !windows.is_empty());
        let (Some(parent), Some(windows)) = (self.parent, windows) else { return Some(base) };
        let moved = self.moved(parent, windows, base, size)?;
        parent.dma_translate(moved, size)
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
        parent.translate(self.moved(parent, ranges, base, size)?, size)
    }

    /// The address to which the first of `ranges` that holds `size` bytes from `base` on translates
    /// them.
    fn moved(&self, parent: &Bus<'_, '_>, ranges: &[u8], base: u64, size: u64) -> Option<u64> {
        let child = self.cells?;
        let above = parent.cells?.address * 4;
        let (near, far) = (child.address * 4, child.address * 4 + above);
        ranges.chunks_exact(far + child.size * 4).find_map(|range| {
            let offset = base.checked_sub(number(&range[..near]))?;
            let inside = offset.checked_add(size)? <= number(&range[far..]);
            number(&range[near..far]).checked_add(offset).filter(|_| inside)
        })
    }
}
