//! Swap entries: which slot of which device, in 32 bits.

use core::fmt;

/// Devices that can be in use at once. The eighth position is reserved for entries that are not
/// swap's: migration entries.
pub const MAX_SWAP_DEVICES: usize = 7;
const SLOT_BITS: u32 = 29;
/// Slots that a device can have (2 TiB).
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;

/// The name of a swap slot, as page-table entries and descriptors carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SwapEntry(u32);

impl SwapEntry {
    /// Slot `slot` of the device at position `device`.
    pub(crate) const fn new(device: usize, slot: u32) -> Self {
        debug_assert!(device < MAX_SWAP_DEVICES && slot < MAX_SLOTS);
        Self((device as u32) << SLOT_BITS | slot)
    }

    /// The entry that [`SwapEntry::raw`] encoded.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The entry as a number.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The position of the device.
    pub const fn device(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    /// The slot on the device.
    pub const fn slot(self) -> u32 {
        self.0 & (MAX_SLOTS - 1)
    }
}

/// What a page-table entry that is not present means. All code that reads one decodes it, so that a
/// new meaning needs a new match arm wherever it matters.
#[doc(alias = "softleaf")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPresent {
    /// The page is in swap, or on its way there.
    Swap(SwapEntry),
}

impl NotPresent {
    /// What the 32 bits of an entry mean.
    #[inline(always)]
    pub const fn decode(word: u32) -> Self {
        Self::Swap(SwapEntry::from_raw(word))
    }

    /// The 32 bits of an entry.
    #[inline(always)]
    pub const fn encode(self) -> u32 {
        match self {
            Self::Swap(entry) => entry.raw(),
        }
    }
}

impl fmt::Debug for SwapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "swap {}:{}", self.device(), self.slot())
    }
}
