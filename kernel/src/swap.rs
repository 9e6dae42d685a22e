//! Swap on devices that `mkswap` has prepared.
//!
//! **Data.** A bit for each device that is being taken into use; the memory management has the devices.
//! The memory for the slots of a device comes from the page allocator, in one block, and stays with the
//! device. **Owner.** A bit belongs to the task that set it. **Lock.** None; the bits are atomic.

use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Release},
};

use mm_reclaim::SwapOnError;
use mm_reclaim::block::IoError;
use mm_reclaim::env::{DeviceId, FrameMemory};
use mm_reclaim::swap::Slot;
use mm_reclaim::swap::header::{Header, HeaderError};
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};

use crate::arch::frames::LinearFrames;
use crate::glue::{KernelMm, alloc_frames, free_frames, mm};
use crate::{disk, println};

/// A bit for each device that a task takes into use: it sleeps, and would trim what another has begun to
/// use.
static COMING: AtomicU8 = AtomicU8::new(0);
/// The place of the number of the last page in a header.
const LAST_PAGE: usize = 1028;
/// The table of slots takes at most one in so many frames of memory.
const SHARE: u32 = 4;

/// Why a device is not used for swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapError {
    /// There is no memory to read the header into.
    NoMemory,
    /// The header could not be read.
    Read(IoError),
    /// The device cannot be written.
    ReadOnly,
    /// Something else that is in use has sectors of the device: a file system, or swap.
    Shared,
    /// There is no memory for the slots of even one page in eight.
    NoSlots {
        /// The pages of the device.
        pages: u32,
    },
    /// The memory management refused.
    Refused(SwapOnError),
}

impl SwapError {
    /// Whether the device only has other contents.
    pub fn is_no_swap(&self) -> bool {
        matches!(self, Self::Refused(SwapOnError::Header(HeaderError::BadMagic(_))))
    }
}

impl From<SwapOnError> for SwapError {
    fn from(error: SwapOnError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => write!(f, "no memory to read its header"),
            Self::Read(_) => write!(f, "its header cannot be read"),
            Self::ReadOnly => write!(f, "it cannot be written"),
            Self::Shared => write!(f, "its sectors are in use by something else"),
            Self::NoSlots { pages } => write!(f, "no memory for the slots of its {pages} pages"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SwapError {}

/// What is used of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Slots that can be used.
    pub slots: u32,
    /// Pages that its header speaks of.
    pub pages: u32,
}

/// What the device is told that it need not keep, before the first slot is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trim {
    /// Nothing.
    Nothing,
    /// All that its header speaks of, but the header.
    All,
}

/// Takes a device into use, for the first time or again. That it could not be trimmed is only reported,
/// as in Linux.
///
/// # Errors
/// [`SwapError`].
pub fn on(device: DeviceId, priority: i16, trim: Trim) -> Result<Used, SwapError> {
    let bit = 1u8.checked_shl(device.0.into()).unwrap_or(0);
    // Acquire pairs with the Release below.
    if COMING.fetch_or(bit, Acquire) & bit != 0 {
        return Err(SwapError::Refused(SwapOnError::Known));
    }
    let result = match disk::is_shared(device, |other| mm().is_swap_in_use(other)) {
        true => Err(SwapError::Shared),
        false => read_header_and_use(device, priority, trim),
    };
    COMING.fetch_and(!bit, Release);
    result
}

fn read_header_and_use(device: DeviceId, priority: i16, trim: Trim) -> Result<Used, SwapError> {
    let frame = alloc_frames(Order::ZERO).ok_or(SwapError::NoMemory)?;
    let result = read_and_use(device, priority, trim, frame);
    free_frames(frame, Order::ZERO);
    result
}

fn read_and_use(
    device: DeviceId,
    priority: i16,
    trim: Trim,
    frame: Pfn,
) -> Result<Used, SwapError> {
    disk::read_sectors(device, 0, frame, PAGE_SIZE).map_err(SwapError::Read)?;
    // SAFETY: the frame is the caller's and was just read; nothing else accesses it.
    let header =
        unsafe { LinearFrames::new().linear_map(frame).cast::<[u8; PAGE_SIZE]>().as_mut() };
    let blocks = disk::sectors(device).unwrap_or(0) / disk::SECTORS_PER_PAGE;
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    let pages = Header::parse(header, blocks).map_err(SwapOnError::Header)?.last_page + 1;
    if disk::is_read_only(device) {
        return Err(SwapError::ReadOnly);
    }
    // Nobody takes it into use meanwhile: see `COMING`.
    if trim == Trim::All && !mm().is_swap_in_use(device) {
        trim_behind_header(device, pages);
    }
    match mm().swapon_again(device, header, priority) {
        Err(SwapOnError::NotOff) => {}
        end => return Ok(Used { slots: end?, pages }),
    }
    let (first, order, fit) = slots_for(pages).ok_or(SwapError::NoSlots { pages })?;
    if fit < pages {
        header[LAST_PAGE..LAST_PAGE + 4].copy_from_slice(&(fit - 1).to_le_bytes());
    }
    let memory = LinearFrames::new().linear_map(first).cast::<MaybeUninit<Slot>>();
    let len = KernelMm::swap_words(fit);
    // SAFETY: the block was just allocated for this, and has room for them; it is freed only if the
    // memory management has refused it.
    let memory = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), len) };
    match mm().swapon(device, blocks, header, memory, priority) {
        Ok(slots) => Ok(Used { slots, pages }),
        Err(error) => {
            free_frames(first, order);
            Err(error.into())
        }
    }
}

#[cold]
fn trim_behind_header(device: DeviceId, pages: u32) {
    let header = disk::SECTORS_PER_PAGE;
    let trimmed = disk::trim(device, header, (u64::from(pages) - 1) * header);
    if let (Err(_), Some(name)) = (trimmed, disk::name(device)) {
        println!("swap: {name} could not be trimmed");
    }
}

/// A block of frames for the slots of so many pages, or of as many as there is memory for: its first
/// frame, its order, and the pages.
fn slots_for(pages: u32) -> Option<(Pfn, Order, u32)> {
    let most = mm().total_managed() / SHARE;
    let mut order = order_of(pages);
    loop {
        let room = (PAGE_SIZE << order.get()) / size_of::<Slot>();
        let fit = fitting(pages, room);
        if order.pages() <= most
            && let Some(first) = alloc_frames(order)
        {
            return Some((first, order, fit));
        }
        order = order.get().checked_sub(1).and_then(Order::new)?;
        if fitting(pages, room / 2) < pages / 8 {
            return None;
        }
    }
}

/// The smallest block that has room for the slots of so many pages, or the largest there is.
fn order_of(pages: u32) -> Order {
    let bytes = KernelMm::swap_words(pages) * size_of::<Slot>();
    let frames = bytes.div_ceil(PAGE_SIZE).next_power_of_two();
    Order::new(frames.trailing_zeros() as u8).unwrap_or(Order::MAX)
}

/// The most of `pages` whose slots fit `room` words: the words of the clusters are few.
fn fitting(pages: u32, room: usize) -> u32 {
    let mut fit = (pages as usize).min(room) as u32;
    while KernelMm::swap_words(fit) > room {
        fit -= (KernelMm::swap_words(fit) - room).min(fit as usize) as u32;
    }
    fit
}
