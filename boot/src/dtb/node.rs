//! Typed access to the properties of one node, with errors that name node and property.

use dtoolkit::fdt::{FdtNode, FdtProperty};
use dtoolkit::{FromPropertyValue, Node, Property};

use super::{DtbError, Span};

/// The device tree specification's default for a node without `#address-cells`.
const DEFAULT_ADDRESS_CELLS: u32 = 2;
/// The same for `#size-cells`.
const DEFAULT_SIZE_CELLS: u32 = 1;

/// How a node's children write addresses and sizes, in 32-bit cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cells {
    pub(super) address: usize,
    pub(super) size: usize,
}

impl Cells {
    /// The cells of `node`'s children; `None` if they are not memory-mapped (as below
    /// `/cpus`, whose sizes have no cells).
    pub(super) fn of(node: &FdtNode<'_>) -> Option<Self> {
        Self::from(bytes(node, "#address-cells"), bytes(node, "#size-cells"))
    }

    /// As [`Cells::of`], from the two properties.
    pub(super) fn from(address: Option<&[u8]>, size: Option<&[u8]>) -> Option<Self> {
        let address = plain(address, DEFAULT_ADDRESS_CELLS)?;
        let size = plain(size, DEFAULT_SIZE_CELLS)?;
        let usable = (1..=2).contains(&address) && (1..=2).contains(&size);
        usable.then_some(Self { address: address as usize, size: size as usize })
    }

    /// The cells of `node`'s children, which must have addresses of memory.
    pub(super) fn of_memory<'a>(node: &FdtNode<'a>) -> Result<Self, DtbError<'a>> {
        let address = cells(node, "#address-cells", DEFAULT_ADDRESS_CELLS)?;
        let size = cells(node, "#size-cells", DEFAULT_SIZE_CELLS)?;
        Ok(Self { address, size })
    }

    /// The pairs of a property such as `reg` as raw (address, size).
    pub(super) fn pairs<'v>(self, reg: &'v [u8]) -> impl Iterator<Item = (u64, u64)> + use<'v> {
        let split = self.address * 4;
        reg.chunks_exact(split + self.size * 4)
            .map(move |pair| (number(&pair[..split]), number(&pair[split..])))
    }

    /// Whether a property holds whole pairs.
    fn divides(self, ranges: &[u8]) -> bool {
        ranges.len().is_multiple_of((self.address + self.size) * 4)
    }

    /// The pairs of a property of `node`, which must be whole; `None` if it has no such property.
    pub(super) fn ranges<'a>(
        self,
        node: &FdtNode<'a>,
        property: &'static str,
    ) -> Result<Option<impl Iterator<Item = (u64, u64)> + use<'a>>, DtbError<'a>> {
        let Some(ranges) = value::<&'a [u8]>(node, property)? else { return Ok(None) };
        if self.divides(ranges) {
            return Ok(Some(self.pairs(ranges)));
        }
        let (size, chunk) = (ranges.len(), self.address + self.size);
        let why = dtoolkit::error::PropertyError::PropEncodedArraySizeMismatch { size, chunk };
        Err(DtbError::BadProperty { node: node.name(), property, why })
    }
}

/// A big-endian number of at most 8 bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| (n << 8) | u64::from(byte))
}

/// A span, unless it overflows.
pub(super) fn span<'a>(node: &FdtNode<'a>, base: u64, size: u64) -> Result<Span, DtbError<'a>> {
    match base.checked_add(size) {
        Some(_) => Ok(Span { base, size }),
        None => Err(DtbError::BadSpan { node: node.name(), base, size }),
    }
}

/// A property's value as a `T`; `None` if there is no such property.
pub(super) fn value<'a, T: FromPropertyValue<'a>>(
    node: &FdtNode<'a>,
    property: &'static str,
) -> Result<Option<T>, DtbError<'a>> {
    let Some(found) = property_of(node, property) else { return Ok(None) };
    match found.value_as::<T>() {
        Ok(value) => Ok(Some(value)),
        Err(why) => Err(DtbError::BadProperty { node: node.name(), property, why }),
    }
}

/// The property's raw bytes.
pub(super) fn bytes<'a>(node: &FdtNode<'a>, property: &str) -> Option<&'a [u8]> {
    property_of(node, property)?.value_as::<&'a [u8]>().ok()
}

/// Whether the node has the property.
pub(super) fn has(node: &FdtNode<'_>, property: &str) -> bool {
    property_of(node, property).is_some()
}

/// The raw bytes of the properties with these names, all found in one pass: most of the work of
/// looking for a property is to read the names of the others.
pub(super) fn all_bytes<'a, const N: usize>(
    node: &FdtNode<'a>,
    names: [&str; N],
) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    for property in node.properties() {
        if let Some(at) = names.iter().position(|name| *name == property.name()) {
            found[at] = found[at].or_else(|| property.value_as::<&[u8]>().ok());
        }
    }
    found
}

/// The names that a node lists in `compatible`.
#[derive(Clone, Copy)]
pub(super) struct Compatible<'a>(&'a [u8]);

impl<'a> Compatible<'a> {
    /// From the property, if there is one.
    pub(super) fn new(property: Option<&'a [u8]>) -> Self {
        Self(property.unwrap_or(&[]))
    }

    /// Whether one of `names` is among them.
    pub(super) fn is_any(self, names: &[&str]) -> bool {
        let mut listed = self.0.split_inclusive(|byte| *byte == 0);
        listed.any(|entry| {
            entry.split_last().is_some_and(|(end, entry)| {
                *end == 0 && names.iter().any(|name| name.as_bytes() == entry)
            })
        })
    }
}

/// Whether `status` is absent or says that the device is enabled.
pub(super) fn is_enabled(node: &FdtNode<'_>) -> bool {
    enables(bytes(node, "status"))
}

/// As [`is_enabled`], from the property.
pub(super) fn enables(status: Option<&[u8]>) -> bool {
    matches!(status, None | Some(b"okay\0" | b"ok\0"))
}

fn property_of<'a>(node: &FdtNode<'a>, name: &str) -> Option<FdtProperty<'a>> {
    node.properties().find(|property| property.name() == name)
}

fn plain(cells: Option<&[u8]>, default: u32) -> Option<u32> {
    let Some(cells) = cells else { return Some(default) };
    cells.try_into().ok().map(u32::from_be_bytes)
}

fn cells<'a>(
    node: &FdtNode<'a>,
    property: &'static str,
    default: u32,
) -> Result<usize, DtbError<'a>> {
    match value(node, property)?.unwrap_or(default) {
        cells @ (1 | 2) => Ok(cells as usize),
        cells => Err(DtbError::BadCells { node: node.name(), property, cells }),
    }
}
