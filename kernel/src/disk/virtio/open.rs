//! Taking a virtio disk into use: features, size, ring.

use core::fmt;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal};

use super::discard::Discard;
use super::engine::{Engine, RING, Traits};
use super::pool::MOST_CHAINED;
use crate::disk::SECTOR;

/// The largest block of a disk: a page.
const LARGEST_BLOCK: u32 = 4096;
/// The most bytes of a stretch of memory: those of a whole chain.
const LONGEST: u32 = MOST_CHAINED as u32 * LARGEST_BLOCK;
/// How often the size is read until it holds still.
const SIZE_TRIES: usize = 8;

bitflags::bitflags! {
    /// The features that are used.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Features: u64 {
        /// The most bytes of a buffer are given.
        const SIZE_MAX = 1 << 1;
        /// The most buffers of a request are given.
        const SEG_MAX = 1 << 2;
        /// It cannot be written.
        const READ_ONLY = 1 << 5;
        /// The size of its blocks is given.
        const BLOCK_SIZE = 1 << 6;
        /// It has a cache that can be flushed.
        const FLUSH = 1 << 9;
        /// It can discard sectors.
        const DISCARD = 1 << 13;
        /// It follows the standard, version 1.
        const VERSION_1 = 1 << 32;
    }
}

/// The places of what is read in the device's configuration.
mod config {
    pub(super) const CAPACITY: usize = 0;
    pub(super) const SIZE_MAX: usize = 8;
    pub(super) const SEG_MAX: usize = 12;
    pub(super) const BLOCK_SIZE: usize = 20;
    pub(super) const MOST_DISCARDED: usize = 36;
    pub(super) const DISCARD_ALIGNMENT: usize = 44;
}

/// Why a disk cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// It did not accept the features.
    Features {
        /// Those that it offers.
        offered: u64,
    },
    /// Its configuration or its ring.
    Virtio(Error),
    /// Its size never held still.
    Size,
    /// Its blocks are not 512 bytes to a page, or no power of two.
    Block(u32),
    /// It takes less than a page at a time.
    Narrow {
        /// The most bytes of a buffer.
        bytes: u32,
        /// The most buffers of a request.
        buffers: u32,
    },
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Virtio(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features { offered } => {
                write!(f, "it did not accept any of the features {offered:#x} that it offers")
            }
            Self::Virtio(error) => error.fmt(f),
            Self::Size => write!(f, "its size changed {SIZE_TRIES} times while it was read"),
            Self::Block(bytes) => write!(f, "it has blocks of {bytes} bytes"),
            Self::Narrow { bytes, buffers } => {
                write!(f, "it takes only {buffers} buffers of {bytes} bytes at a time")
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl<H: Hal, T: Transport, O> Engine<H, T, O> {
    /// Takes the disk behind `transport` into use.
    ///
    /// # Errors
    /// [`OpenError`]; the device was reset, if dropping the transport does that.
    #[inline(never)]
    pub fn open(mut transport: T) -> Result<Self, OpenError> {
        let features = negotiate(&mut transport)?;
        let traits = read_traits(&transport, features)?;
        // Neither indirect descriptors, which would have to be allocated, nor event indices.
        let queue = VirtQueue::new(&mut transport, RING, false, false)?;
        let (physical, records) = H::dma_alloc(1, BufferDirection::Both);
        if physical == 0 {
            return Err(OpenError::Virtio(Error::DmaError));
        }
        transport.set_status(
            DeviceStatus::ACKNOWLEDGE
                | DeviceStatus::DRIVER
                | DeviceStatus::FEATURES_OK
                | DeviceStatus::DRIVER_OK,
        );
        Ok(Self::new(queue, transport, traits, records.cast()))
    }
}

/// Steps 1 to 6 of the standard's "Device Initialization" (3.1.1).
fn negotiate(transport: &mut impl Transport) -> Result<Features, OpenError> {
    let begun = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(DeviceStatus::empty());
    transport.set_status(begun);
    let offered = transport.read_device_features();
    let features = Features::from_bits_truncate(offered);
    transport.write_driver_features(features.bits());
    if transport.requires_legacy_layout() {
        transport.set_guest_page_size(virtio_drivers::PAGE_SIZE as u32);
        return Ok(features);
    }
    transport.set_status(begun | DeviceStatus::FEATURES_OK);
    let accepted = transport.get_status().contains(DeviceStatus::FEATURES_OK);
    if accepted && features.contains(Features::VERSION_1) {
        Ok(features)
    } else {
        Err(OpenError::Features { offered })
    }
}

fn read_traits(transport: &impl Transport, features: Features) -> Result<Traits, OpenError> {
    let read = |feature, at: usize, default: u32| match features.contains(feature) {
        true => transport.read_config_space::<u32>(at),
        false => Ok(default),
    };
    let block = read(Features::BLOCK_SIZE, config::BLOCK_SIZE, SECTOR as u32)?;
    if !(SECTOR as u32..=LARGEST_BLOCK).contains(&block) || !block.is_power_of_two() {
        return Err(OpenError::Block(block));
    }
    let bytes = read(Features::SIZE_MAX, config::SIZE_MAX, LONGEST)?;
    let buffers = read(Features::SEG_MAX, config::SEG_MAX, MOST_CHAINED as u32)?;
    // Some devices give 0 for no limit.
    let buffers = if buffers == 0 { MOST_CHAINED as u32 } else { buffers };
    if bytes < LARGEST_BLOCK {
        return Err(OpenError::Narrow { bytes, buffers });
    }
    let most = read(Features::DISCARD, config::MOST_DISCARDED, 0)?;
    let alignment = read(Features::DISCARD, config::DISCARD_ALIGNMENT, 0)?;
    let discard = Discard::new(most, alignment, block);
    Ok(Traits {
        sectors: read_size(transport)?,
        block,
        is_read_only: features.contains(Features::READ_ONLY),
        has_cache: features.contains(Features::FLUSH),
        discard: discard.filter(|_| features.contains(Features::DISCARD)),
        most_buffers: (buffers as usize).min(MOST_CHAINED),
        joins: bytes >= LONGEST,
    })
}

/// The sectors: two words, which the device may change meanwhile.
fn read_size(transport: &impl Transport) -> Result<u64, OpenError> {
    let word = |at| transport.read_config_space::<u32>(config::CAPACITY + at).map(u64::from);
    for _ in 0..SIZE_TRIES {
        let (high, low) = (word(4)?, word(0)?);
        if word(4)? == high && word(0)? == low {
            return Ok(high << 32 | low);
        }
    }
    Err(OpenError::Size)
}
