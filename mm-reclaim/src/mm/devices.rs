//! Devices: swap taken into use and out of it, and the ends of all transfers.

use core::mem::MaybeUninit;

use super::Mm;
use crate::base::units::PAGE_SIZE;
use crate::block::{Completion, DeviceId};
use crate::env::Env;
use crate::fault::SwapOffError;
use crate::swap::map::words_for;
use crate::swap::{Slot, SwapOnError};

impl<'m, E: Env> Mm<'m, E> {
    /// Words of memory that [`Mm::swapon`] needs for a device of `blocks` pages.
    pub const fn swap_words(blocks: u32) -> usize {
        words_for(blocks)
    }

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
        self.swap.swapon(device, blocks, header, memory, priority)
    }

    /// Takes a device into use again after [`Mm::swapoff`], with its place and its memory
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
        self.swap.swapon_again(device, header, priority)
    }

    /// Takes a device out of use. Its place and its memory for slots stay its own:
    /// [`Mm::swapon_again`].
    ///
    /// # Errors
    /// If it is not in use or its pages cannot all be read in; those that were stay in memory, the
    /// others on the device, which is in use as before.
    pub fn swapoff(&self, device: DeviceId) -> Result<(), SwapOffError> {
        self.faults.swapoff(device)
    }

    /// Whether a device is in use for swap; one that is being taken out of use still is.
    pub fn is_swap_in_use(&self, device: DeviceId) -> bool {
        self.swap.is_in_use(device)
    }

    /// All and free swap slots of the devices that are on.
    pub fn swap_pages(&self) -> (u32, u32) {
        self.swap.pages()
    }

    /// Ends a transfer and notifies the owner of its page. Called by the device's task, or inline
    /// for a synchronous device.
    ///
    /// # Panics
    /// If no page waits for it: the request was one of [`Bio::for_test`].
    ///
    /// [`Bio::for_test`]: crate::block::Bio::for_test
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a completion is proof of a transfer's end: it must be used up"
    )]
    pub fn complete(&self, end: Completion) {
        assert!(end.is_real(), "a test's request has ended: {end:?}");
        let (page, ok) = (self.map.page(end.frame), end.result.is_ok());
        self.writeback.while_ending(|| {
            let held = page.get();
            match page.file_page() {
                Some(at) => self.files.ended(&end, page, at),
                None => self.swap.ended(end.direction, page, ok),
            }
            self.lru.put(held);
        });
    }

    /// Base pages under write-back.
    pub fn pages_under_writeback(&self) -> u32 {
        self.writeback.pages()
    }

    /// The most pages that a swap-in reads, as a power of two; 0 for just the one it needs.
    pub fn set_page_cluster(&self, cluster: u8) {
        self.swap.set_page_cluster(cluster);
    }
}
