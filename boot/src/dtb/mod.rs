//! What the kernel needs from the device tree, as plain data.
//!
//! Data: a [`Summary`] that borrows its strings from the blob. Owner: the caller; no locks and no
//! allocation. Order: [`check_address`] on what the firmware passed, then [`total_size`] on the
//! first bytes, then [`Summary::read`] on exactly that many bytes.
//!
//! A blob is untrusted. `dtoolkit` validates its structure; this module bounds the rest (depth,
//! cell counts, list sizes), and every refusal is a [`DtbError`] that carries its evidence. Nothing
//! is dropped silently: a list that is full is an error.
//!
//! Left out: interrupt maps, and dynamic `/reserved-memory`: children without `reg` request memory
//! at any place. Linux would choose the place and, if the node is `reusable` as `linux,cma` is, use
//! the memory itself in the meantime; here no driver needs it, so it stays ordinary memory.

mod bus;
mod cpus;
mod devices;
mod error;
mod list;
mod memory;
mod node;
mod read;
mod uart;

use core::fmt;

pub use error::DtbError;
pub use list::List;
pub use uart::{MAX_UARTS, Uart, UartKind};

use crate::layout::{DTB_MAX, PHYSICAL_END};

/// The most memory ranges, or reservations of one kind, that a [`Summary`] holds.
pub const MAX_RANGES: usize = 64;

/// The most CPUs that a [`Summary`] holds; further ones are ignored.
pub const MAX_CPUS: usize = 8;

/// The most places for virtio devices that a [`Summary`] holds; further ones are ignored. QEMU's
/// `virt` has as many.
pub const MAX_VIRTIO: usize = 32;

/// The first word of a device tree blob.
const MAGIC: u32 = 0xd00d_feed;
/// Bytes of its header.
const HEADER: usize = 40;

/// Physical addresses from `base` on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// The first address.
    pub base: u64,
    /// Bytes; `base + size` does not overflow.
    pub size: u64,
}

impl Span {
    /// The first address beyond.
    pub const fn end(self) -> u64 {
        self.base + self.size
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// A child of `/reserved-memory` with a fixed address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reserved {
    /// The range.
    pub span: Span,
    /// It must not be mapped.
    pub no_map: bool,
}

/// How to call the firmware's PSCI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// By the HVC instruction.
    Hvc,
    /// By the SMC instruction.
    Smc,
}

/// The registers of an interrupt controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gic {
    /// A GICv2.
    V2 {
        /// The distributor.
        distributor: Span,
        /// The CPU interface.
        cpu_interface: Span,
    },
    /// A GICv3.
    V3 {
        /// The distributor.
        distributor: Span,
        /// The first region of redistributors.
        redistributors: Span,
    },
}

impl Gic {
    /// The register blocks and what they are.
    pub const fn parts(self) -> [(&'static str, Span); 2] {
        match self {
            Self::V2 { distributor, cpu_interface } => {
                [("interrupt distributor", distributor), ("CPU interface", cpu_interface)]
            }
            Self::V3 { distributor, redistributors } => {
                [("interrupt distributor", distributor), ("redistributors", redistributors)]
            }
        }
    }
}

/// How a CPU is started (BOOT-06).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EnableMethod {
    /// By PSCI's `CPU_ON`.
    #[default]
    Psci,
    /// It spins until an address is written to `release`.
    SpinTable {
        /// The physical address.
        release: u64,
    },
}

/// A CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuNode {
    /// The affinity bits of its `MPIDR_EL1`.
    pub affinity: u64,
    /// How it is started; `None` if the tree names no known method.
    pub enable: Option<EnableMethod>,
}

/// A place for a virtio device (`virtio,mmio`): only its registers say whether there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VirtioPlace {
    base: u64,
    size: u32,
    /// The interrupt number (INTID).
    pub interrupt: u32,
}

impl VirtioPlace {
    /// The registers.
    pub const fn registers(self) -> Span {
        Span { base: self.base, size: self.size as u64 }
    }
}

/// Register blocks of the BCM2711, the Raspberry Pi 4's chip.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bcm2711 {
    /// The functions and pulls of the pins.
    pub gpio: Option<Span>,
    /// Power management: the watchdog, which can reset the board.
    pub power: Option<Span>,
}

impl Bcm2711 {
    /// The register blocks and what they are.
    const fn parts(self) -> [(&'static str, Option<Span>); 2] {
        [("pins", self.gpio), ("watchdog", self.power)]
    }
}

/// The contents of the device tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary<'a> {
    /// The root's `model`, or an empty string.
    pub model: &'a str,
    /// The usable ranges of every memory node, in the tree's order. At least one.
    pub memory: List<Span, MAX_RANGES>,
    /// The `/memreserve/` entries.
    pub memreserve: List<Span, MAX_RANGES>,
    /// The fixed ranges of `/reserved-memory`.
    pub reserved: List<Reserved, MAX_RANGES>,
    /// `/chosen` `bootargs`, or an empty string.
    pub bootargs: &'a str,
    /// `/chosen` `linux,initrd-start` and `-end`.
    pub initrd: Option<Span>,
    /// `/chosen` `stdout-path`, with its options after a colon.
    pub stdout_path: Option<&'a str>,
    /// The UARTs that can be the console, the best first: the one that `stdout-path` names.
    pub uarts: List<Uart, MAX_UARTS>,
    /// The interrupt controller, if it is a known one.
    pub gic: Option<Gic>,
    /// The interrupt number (INTID) of the virtual timer.
    pub virtual_timer: Option<u32>,
    /// The interrupt number (INTID) of the non-secure physical timer.
    pub physical_timer: Option<u32>,
    /// The rate of the timers' counter in Hz, if the tree gives it because the firmware does not
    /// set the register.
    pub timer_rate: Option<u32>,
    /// The first address beyond what every device can reach, if any bus sets a limit.
    pub dma_end: Option<u64>,
    /// What only the Raspberry Pi 4's chip has.
    pub bcm2711: Bcm2711,
    /// The places for virtio devices, in the tree's order.
    pub virtio: List<VirtioPlace, MAX_VIRTIO>,
    /// How to call PSCI, if there is one.
    pub psci: Option<Conduit>,
    /// The CPUs that are not disabled, in the tree's order.
    pub cpus: List<CpuNode, MAX_CPUS>,
}

impl Summary<'_> {
    /// How many bytes of `blob`, which it was read from, it still refers to: those up to the end of
    /// its last text. Most of a tree of QEMU's is room to grow: 8 KiB of a mebibyte are used.
    pub fn extent(&self, blob: &[u8]) -> usize {
        let texts = [Some(self.model), Some(self.bootargs), self.stdout_path];
        let end = |text: &str| text.as_bytes().as_ptr_range().end.addr();
        // An empty text may be none of the blob's.
        let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
        let end = texts.map(end).max();
        end.map_or(0, |end| end - blob.as_ptr().addr())
    }

    /// The rate at which the console is to run.
    pub fn baud(&self) -> u32 {
        uart::baud(self.stdout_path)
    }

    /// The rate of the timers' counter in Hz, given what the register CNTFRQ_EL0 holds: the
    /// firmware must write it, and if it did not, the tree may give the rate instead.
    pub fn counter_rate(&self, register: u32) -> Option<u32> {
        [Some(register), self.timer_rate].into_iter().flatten().find(|rate| *rate != 0)
    }
}

/// Checks what the firmware passed as the tree's physical address.
///
/// # Errors
/// [`DtbError::Missing`] for zero, [`DtbError::Misaligned`] if it is not a multiple of 8,
/// [`DtbError::OutOfReach`] beyond what a translation can reach.
pub fn check_address(dtb: u64) -> Result<(), DtbError<'static>> {
    match dtb {
        0 => Err(DtbError::Missing),
        _ if !dtb.is_multiple_of(8) => Err(DtbError::Misaligned { address: dtb }),
        _ if dtb >= PHYSICAL_END - DTB_MAX => Err(DtbError::OutOfReach { address: dtb }),
        _ => Ok(()),
    }
}

/// The size of the whole blob, from its first eight bytes.
///
/// # Errors
/// [`DtbError::BadMagic`], or [`DtbError::BadSize`] below a header's or above [`DTB_MAX`].
pub fn total_size(start: [u8; 8]) -> Result<usize, DtbError<'static>> {
    let [magic, size] = [0, 4]
        .map(|at| u32::from_be_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]));
    if magic != MAGIC {
        return Err(DtbError::BadMagic { found: magic });
    }
    if (size as usize) < HEADER || u64::from(size) > DTB_MAX {
        return Err(DtbError::BadSize { size });
    }
    Ok(size as usize)
}
