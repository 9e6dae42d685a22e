//! The memory of the machine, and the part that the kernel may use (MEMB-01, MEMB-02).
//!
//! Memory nodes are those with `device_type = "memory"`, whatever their name. Two properties keep a
//! kernel, such as a crash-dump kernel, out of some of the memory: a memory node's
//! `linux,usable-memory` replaces its `reg`, and outside the ranges of chosen's
//! `linux,usable-memory-range` nothing is usable. Unusable memory never becomes memory of the
//! kernel: it is neither mapped nor allocated nor written.
//!
//! All is as in Linux's `early_init_dt_scan_memory` and `early_init_dt_check_for_usable_mem_range`,
//! with two differences, so that nothing is lost silently: a value that is not a list of whole
//! ranges is refused, and all ranges of chosen only limit, as their binding says, the second one
//! like the first.

use core::ffi::CStr;

use dtoolkit::Node;
use dtoolkit::error::PropertyError;
use dtoolkit::fdt::FdtNode;

use super::node::{Cells, has, is_enabled, span, value};
use super::{DtbError, List, MAX_RANGES, Span};

/// The property for a memory node's ranges.
const REG: &str = "reg";
/// The property that replaces it with the usable ranges.
const USABLE: &str = "linux,usable-memory";
/// The property of chosen: outside of these ranges nothing is usable.
const LIMITS: &str = "linux,usable-memory-range";

/// The contents of the memory nodes.
#[derive(Default)]
pub(super) struct Memory {
    /// The usable ranges. At least one.
    pub(super) usable: List<Span, MAX_RANGES>,
    /// Every range, usable or not: no device can be there.
    pub(super) all: List<Span, { 2 * MAX_RANGES }>,
}

impl Memory {
    /// The memory below `root`, whose usable part `chosen` may limit.
    ///
    /// # Errors
    /// [`DtbError`], also if nothing is usable.
    pub(super) fn read<'a>(
        root: &FdtNode<'a>,
        chosen: Option<&FdtNode<'a>>,
    ) -> Result<Self, DtbError<'a>> {
        let cells = Cells::of_memory(root)?;
        let limits = chosen.map_or(Ok(None), |chosen| limits(chosen, cells))?;
        let mut memory = Self::default();
        for node in root.children().filter(is_enabled) {
            if is_memory(&node)? {
                memory.add(&node, cells, limits.as_deref())?;
            }
        }
        match (memory.all.is_empty(), memory.usable.is_empty()) {
            (true, _) => Err(DtbError::NoMemory),
            (_, true) => Err(DtbError::NoUsableMemory),
            _ => Ok(memory),
        }
    }

    fn add<'a>(
        &mut self,
        node: &FdtNode<'a>,
        cells: Cells,
        limits: Option<&[Span]>,
    ) -> Result<(), DtbError<'a>> {
        let counts = if has(node, USABLE) { USABLE } else { REG };
        for property in [REG, USABLE] {
            for (base, size) in cells.ranges(node, property)?.into_iter().flatten() {
                let range = span(node, base, size)?;
                push(&mut self.all, range)?;
                if property == counts {
                    self.add_usable(range, limits)?;
                }
            }
        }
        Ok(())
    }

    fn add_usable(
        &mut self,
        range: Span,
        limits: Option<&[Span]>,
    ) -> Result<(), DtbError<'static>> {
        match limits {
            None => push(&mut self.usable, range),
            Some(limits) => {
                limits.iter().try_for_each(|limit| push(&mut self.usable, both(range, *limit)))
            }
        }
    }
}

/// Whether the node describes memory.
fn is_memory<'a>(node: &FdtNode<'a>) -> Result<bool, DtbError<'a>> {
    let property = "device_type";
    let Some(kind) = value::<&[u8]>(node, property)? else { return Ok(false) };
    match CStr::from_bytes_until_nul(kind) {
        Ok(kind) => Ok(kind == c"memory"),
        Err(_) => {
            let why = PropertyError::InvalidString;
            Err(DtbError::BadProperty { node: node.name(), property, why })
        }
    }
}

/// The ranges outside which nothing is usable, if any are given.
fn limits<'a>(
    chosen: &FdtNode<'a>,
    cells: Cells,
) -> Result<Option<List<Span, MAX_RANGES>>, DtbError<'a>> {
    let Some(ranges) = cells.ranges(chosen, LIMITS)? else { return Ok(None) };
    let mut list = List::new();
    for (base, size) in ranges {
        let limit = span(chosen, base, size)?;
        let full = DtbError::TooMany { what: "usable memory ranges", capacity: MAX_RANGES };
        list.push(limit).map_err(|_| full)?;
    }
    Ok(Some(list))
}

/// The intersection of two ranges; empty if they are disjoint.
fn both(a: Span, b: Span) -> Span {
    let base = a.base.max(b.base);
    Span { base, size: a.end().min(b.end()).saturating_sub(base) }
}

/// Adds a range, unless it is empty.
fn push<const N: usize>(list: &mut List<Span, N>, range: Span) -> Result<(), DtbError<'static>> {
    if range.size == 0 {
        return Ok(());
    }
    list.push(range).map_err(|_| DtbError::TooMany { what: "memory ranges", capacity: N })
}
