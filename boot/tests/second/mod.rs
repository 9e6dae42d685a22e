//! The crate `fdt` as a second reader: its results must equal ours. It does not know about usable
//! ranges, so it reads the properties, and their ranges are combined here.

use fdt::Fdt;
use fdt::node::FdtNode;

/// Ranges: (base, size).
pub type Ranges = Vec<(u64, u64)>;

/// The usable memory, range by range.
pub fn memory(tree: &Fdt<'_>) -> Ranges {
    let root = tree.find_node("/").unwrap();
    let limits = tree
        .find_node("/chosen")
        .and_then(|chosen| ranges(&chosen, "linux,usable-memory-range", root));
    let nodes = root.children().filter(|node| is(node, "device_type", "memory"));
    let enabled = nodes.filter(|node| node.property("status").is_none());
    let named = enabled.flat_map(|node| {
        let usable = ranges(&node, "linux,usable-memory", root);
        usable.or_else(|| ranges(&node, "reg", root)).unwrap_or_default()
    });
    named.flat_map(|range| within(range, limits.as_deref())).filter(|&(_, size)| size > 0).collect()
}

fn is(node: &FdtNode<'_, '_>, property: &str, value: &str) -> bool {
    node.property(property).and_then(|p| p.as_str()) == Some(value)
}

/// The ranges of a property, in the cells of `root`.
fn ranges(node: &FdtNode<'_, '_>, property: &str, root: FdtNode<'_, '_>) -> Option<Ranges> {
    let value = node.property(property)?.value;
    let cells = root.cell_sizes();
    let split = 4 * cells.address_cells;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let pairs = value.chunks_exact(split + 4 * cells.size_cells);
    Some(pairs.map(|pair| (number(&pair[..split]), number(&pair[split..]))).collect())
}

fn within((base, size): (u64, u64), limits: Option<&[(u64, u64)]>) -> Ranges {
    let Some(limits) = limits else { return vec![(base, size)] };
    let cut = |&(start, length): &(u64, u64)| {
        let (first, end) = (base.max(start), (base + size).min(start + length));
        (first, end.saturating_sub(first))
    };
    limits.iter().map(cut).collect()
}
