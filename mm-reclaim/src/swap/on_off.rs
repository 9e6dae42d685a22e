//! Taking swap devices into use (`swapon`).
//!
//! Counterpart in Linux: `sys_swapon`. The reverse, `swapoff`, reads pages in like a fault and so
//! is in a layer above: [`crate::fault`].

use core::mem::MaybeUninit;

use super::entry::MAX_SWAP_DEVICES;
use super::header::{Header, HeaderError};
use super::map::{Slot, words_for};
use super::{Swap, SwapDevice};
use crate::base::sync::Ordering;
use crate::base::units::PAGE_SIZE;
use crate::block::DeviceId;
use crate::env::Env;

/// Why a device was not taken into use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapOnError {
    /// Its header is not valid.
    Header(HeaderError),
    /// Reading the header failed.
    Read,
    /// The maximum number of devices is in use.
    TooManyDevices,
    /// The device is in use, or was: `Mm::swapon_again` takes it into use again.
    Known,
    /// The device was never in use, or still is.
    NotOff,
    /// The memory for the slots holds fewer words than the device needs.
    TooLittleMemory {
        /// Words needed.
        need: usize,
        /// Words given.
        have: usize,
    },
}

impl<'m, E: Env> Swap<'m, E> {
    /// Takes a device of `blocks` pages into use, with the header page already read from
    /// its block 0. Returns the usable slots.
    ///
    /// # Errors
    /// If the header is wrong or there is no place; nothing has changed then.
    pub fn swapon(
        &self,
        device: DeviceId,
        blocks: u32,
        header: &[u8; PAGE_SIZE],
        memory: &'m mut [MaybeUninit<Slot>],
        priority: i16,
    ) -> Result<u32, SwapOnError> {
        let header = Header::parse(header, blocks).map_err(SwapOnError::Header)?;
        let pages = header.last_page + 1;
        let (need, have) = (words_for(pages), memory.len());
        if have < need {
            return Err(SwapOnError::TooLittleMemory { need, have });
        }
        let _one_at_a_time = self.on_off.lock();
        if self.devices().any(|(_, d)| d.id == device) {
            return Err(SwapOnError::Known);
        }
        let at = self.count.load(Ordering::Relaxed) as usize;
        if at == MAX_SWAP_DEVICES {
            return Err(SwapOnError::TooManyDevices);
        }
        let new = SwapDevice::new(device, priority, pages, memory, header.bad_pages());
        let usable = self.devices[at].call_once(|| new).usable();
        // Release pairs with the Acquire of `swap_devices`.
        self.count.store(at as u32 + 1, Ordering::Release);
        Ok(usable)
    }

    /// Takes a device into use again after `Mm::swapoff`, with its place and its memory
    /// for slots, and the header page that its block 0 has now. Returns the usable slots.
    ///
    /// # Errors
    /// If the header is wrong, the device is not off, or it has become larger than its
    /// memory for slots; nothing has changed then.
    pub fn swapon_again(
        &self,
        device: DeviceId,
        header: &[u8; PAGE_SIZE],
        priority: i16,
    ) -> Result<u32, SwapOnError> {
        let (_, known) = self.devices().find(|(_, d)| d.id == device).ok_or(SwapOnError::NotOff)?;
        let header = Header::parse(header, known.blocks()).map_err(SwapOnError::Header)?;
        match known.start(priority, header.last_page + 1, header.bad_pages()) {
            true => Ok(known.usable()),
            false => Err(SwapOnError::NotOff),
        }
    }
}
