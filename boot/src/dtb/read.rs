//! Reservations, `/chosen`, and the whole summary.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use super::memory::Memory;
use super::node::{Cells, has, is_enabled, number, span, value};
use super::{Bcm2711, DtbError, Gic, List, MAX_RANGES, Reserved, Span, Summary, cpus, devices};

/// The bytes of a register; each access is one aligned word.
const WORD: u64 = 4;

impl<'a> Summary<'a> {
    /// Reads the tree in `blob`, which has exactly the [`total_size`](super::total_size)
    /// that its header says.
    ///
    /// # Errors
    /// [`DtbError`], with the evidence. It never panics, whatever the bytes are.
    pub fn read(blob: &'a [u8]) -> Result<Self, DtbError<'a>> {
        let tree = Fdt::new(blob).map_err(DtbError::Malformed)?;
        let root = tree.root();
        let chosen = child(&root, "chosen");
        let Memory { usable, all } = Memory::read(&root, chosen.as_ref())?;
        let mut summary = Summary {
            model: value(&root, "model")?.unwrap_or(""),
            memory: usable,
            memreserve: memreserve(tree, &root)?,
            reserved: reserved(&root)?,
            bootargs: "",
            initrd: None,
            stdout_path: None,
            uarts: List::new(),
            gic: None,
            virtual_timer: None,
            physical_timer: None,
            timer_rate: None,
            dma_end: None,
            bcm2711: Bcm2711::default(),
            virtio: List::new(),
            psci: None,
            cpus: cpus::read(&root),
        };
        if let Some(chosen) = chosen {
            summary.bootargs = value(&chosen, "bootargs")?.unwrap_or("");
            summary.initrd = initrd(&chosen)?;
            summary.stdout_path = value(&chosen, "stdout-path")?;
        }
        devices::find(tree, &mut summary);
        registers(&summary, &all)?;
        Ok(summary)
    }
}

/// The first child of that name, whatever its unit address.
fn child<'a>(node: &FdtNode<'a>, name: &str) -> Option<FdtNode<'a>> {
    node.children().find(|child| child.name_without_address() == name)
}

fn memreserve<'a>(
    tree: Fdt<'a>,
    root: &FdtNode<'a>,
) -> Result<List<Span, MAX_RANGES>, DtbError<'a>> {
    let mut list = List::new();
    for entry in tree.memory_reservations() {
        let span = span(root, entry.address(), entry.size())?;
        add(&mut list, span, "/memreserve/ entries")?;
    }
    Ok(list)
}

/// The children of `/reserved-memory` with a fixed address; the others reserve nothing yet.
fn reserved<'a>(root: &FdtNode<'a>) -> Result<List<Reserved, MAX_RANGES>, DtbError<'a>> {
    let mut list = List::new();
    let Some(parent) = child(root, "reserved-memory") else { return Ok(list) };
    let cells = Cells::of_memory(&parent)?;
    for node in parent.children().filter(is_enabled) {
        let no_map = has(&node, "no-map");
        for (base, size) in cells.ranges(&node, "reg")?.into_iter().flatten() {
            let span = span(&node, base, size)?;
            if span.size != 0 {
                push(&mut list, Reserved { span, no_map }, "/reserved-memory ranges")?;
            }
        }
    }
    Ok(list)
}

fn initrd<'a>(chosen: &FdtNode<'a>) -> Result<Option<Span>, DtbError<'a>> {
    let start = address(chosen, "linux,initrd-start")?;
    let end = address(chosen, "linux,initrd-end")?;
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    match end.checked_sub(start) {
        Some(0) => Ok(None),
        Some(size) => Ok(Some(Span { base: start, size })),
        None => Err(DtbError::BadEnds { node: chosen.name(), start, end }),
    }
}

/// An address of one or two cells, as boot loaders write it.
fn address<'a>(node: &FdtNode<'a>, property: &'static str) -> Result<Option<u64>, DtbError<'a>> {
    match value::<&'a [u8]>(node, property)? {
        None => Ok(None),
        Some(bytes) if matches!(bytes.len(), 4 | 8) => Ok(Some(number(bytes))),
        Some(_) => {
            let why = dtoolkit::error::PropertyError::InvalidLength;
            Err(DtbError::BadProperty { node: node.name(), property, why })
        }
    }
}

/// Checks what the kernel will write to: a wrong address in `memory`, usable or not, would
/// overwrite the contents, the kernel itself at worst.
fn registers(summary: &Summary<'_>, memory: &[Span]) -> Result<(), DtbError<'static>> {
    let consoles = summary.uarts.iter().map(|uart| ("console", uart.registers));
    let gic = summary.gic.map(Gic::parts).into_iter().flatten();
    let broadcom = summary.bcm2711.parts().into_iter().filter_map(|(what, at)| Some((what, at?)));
    let virtio = summary.virtio.iter().map(|place| ("virtio device", place.registers()));
    for (what, at) in consoles.chain(gic).chain(broadcom).chain(virtio) {
        let overlaps = |ram: &Span| ram.base < at.end() && at.base < ram.end();
        if !at.base.is_multiple_of(WORD) || memory.iter().any(overlaps) {
            return Err(DtbError::BadRegisters { what, at });
        }
    }
    Ok(())
}

fn add<'a>(
    list: &mut List<Span, MAX_RANGES>,
    span: Span,
    what: &'static str,
) -> Result<(), DtbError<'a>> {
    if span.size == 0 { Ok(()) } else { push(list, span, what) }
}

fn push<'a, T: Copy + Default>(
    list: &mut List<T, MAX_RANGES>,
    entry: T,
    what: &'static str,
) -> Result<(), DtbError<'a>> {
    list.push(entry).map_err(|_| DtbError::TooMany { what, capacity: MAX_RANGES })
}
