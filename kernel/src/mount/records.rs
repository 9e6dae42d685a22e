//! Blocks of records: parts of the pages of the file that is the device.
//!
//! A page may hold records and, next to them, blocks that belong to files: those have their own pages,
//! and what is here in their place is old. So only blocks that were changed here are written, and which
//! those are is a bit for each: the page's private data. It is set under the page's lock, with no write of
//! the page under way, and cleared when the write begins.

use ext2::IoError;
use mm_reclaim::block::Direction;
use mm_reclaim::env::{DeviceId, FrameMemory, Run};
use mm_reclaim::units::{PAGE_SHIFT, PAGE_SIZE, Pfn};

use super::bits::Bits;
use crate::arch::frames::{LinearFrames, frame_address};
use crate::disk::{self, Part, SECTOR};
use crate::drivers::timer;
use crate::glue::{self, File};

/// The records of a file system.
pub struct Records {
    /// The device, as a file.
    pub(super) file: File,
    pub(super) device: DeviceId,
    /// The binary logarithm of the bytes of a block.
    pub(super) block_bits: u32,
    /// Blocks of the file system.
    pub(super) blocks: u32,
    /// Records that are not written yet.
    pub(super) dirty: Bits<'static>,
    /// Blocks of files that were never written.
    pub(super) fresh: Bits<'static>,
    /// Seconds since 1970 at the start of the clock, as far as anybody knows.
    pub(super) epoch: u32,
}

/// What a call does with a page, once.
fn once<R>(act: impl FnOnce(*mut u8) -> R, out: &mut Option<R>) -> impl FnMut(Pfn) {
    let mut act = Some(act);
    move |frame| {
        if let Some(act) = act.take() {
            *out = Some(act(frame_address(frame)));
        }
    }
}

impl Records {
    /// The page that a block is in, and its place there.
    fn place(&self, block: u32) -> (u32, usize) {
        let bits = PAGE_SHIFT - self.block_bits;
        let within = block & ((1 << bits) - 1);
        (block >> bits, (within as usize) << self.block_bits)
    }

    fn block_bytes(&self) -> usize {
        1 << self.block_bits
    }

    /// Blocks of a page of the device.
    fn blocks_of(&self, page: u32) -> core::ops::Range<u32> {
        let bits = PAGE_SHIFT - self.block_bits;
        let first = page << bits;
        first.min(self.blocks)..first.saturating_add(1 << bits).min(self.blocks)
    }

    /// Whether every record of a page is on the disk, as far as the page goes.
    pub(super) fn is_clean(&self, page: u32) -> bool {
        self.blocks_of(page).all(|block| !self.dirty.get(block))
    }

    /// The page of records leaves the cache.
    pub(super) fn forget_page(&self, page: u32) {
        self.blocks_of(page).for_each(|block| _ = self.dirty.take(block));
    }

    /// Starts the transfers of pages of the device.
    pub(super) fn start(&self, run: &mut Run<'_>) {
        let direction = run.direction();
        while let Some(mut page) = run.next() {
            let blocks = self.blocks_of(page.index());
            let mut parts = [Part { sector: 0, offset: 0, bytes: 0 }; 4];
            let mut count = 0;
            for block in blocks {
                let (_, offset) = self.place(block);
                if direction == Direction::Write && !self.dirty.take(block) {
                    continue;
                }
                parts[count] = self.part(block, offset);
                count += 1;
            }
            if direction == Direction::Read {
                let there = count << self.block_bits;
                if there < PAGE_SIZE {
                    LinearFrames::new().zero(page.frame());
                }
                if self.block_bytes() < PAGE_SIZE {
                    page.mark_private();
                }
            }
            let ended = match count {
                0 => Some(page.complete(Ok(()))),
                _ => disk::submit_parts(page, self.device, &parts[..count]),
            };
            if let Some(end) = ended {
                run.end(end);
            }
        }
    }

    /// A block of the disk, as a part of a page.
    pub(super) fn part(&self, block: u32, offset: usize) -> Part {
        let sectors = (self.block_bytes() / SECTOR) as u64;
        Part {
            sector: u64::from(block) * sectors,
            offset: offset as u16,
            bytes: self.block_bytes() as u16,
        }
    }
}

impl ext2::Disk for &Records {
    fn look<R>(&self, block: u32, look: impl FnOnce(&[u8]) -> R) -> Result<R, IoError> {
        let (page, offset) = self.place(block);
        let (mut out, len) = (None, self.block_bytes());
        let look = |bytes: *mut u8| {
            // SAFETY: the frame is a page of the device's file, whose lock is held by `look_at_page`
            // until the call returns, as it is by whoever changes it; the block lies within it.
            look(unsafe { core::slice::from_raw_parts(bytes.wrapping_add(offset), len) })
        };
        let done = glue::mm().look_at_page(&self.file, page, &mut once(look, &mut out));
        done.ok().and(out).ok_or(IoError)
    }

    fn change<R>(&self, block: u32, change: impl FnOnce(&mut [u8]) -> R) -> Result<R, IoError> {
        let (page, offset) = self.place(block);
        let mut out = None;
        let change = |bytes| self.change_in(block, bytes, offset, change);
        let done = glue::mm().change_page(&self.file, page, &mut once(change, &mut out));
        done.ok().and(out).ok_or(IoError)
    }

    fn begin(&self, block: u32, fill: impl FnOnce(&mut [u8])) -> Result<(), IoError> {
        if self.block_bytes() < PAGE_SIZE {
            // The other blocks of the page must be read.
            return self.change(block, fill);
        }
        let (page, offset) = self.place(block);
        let mut out = None;
        let fill = |bytes| self.change_in(block, bytes, offset, fill);
        let done = glue::mm().begin_page(&self.file, page, &mut once(fill, &mut out));
        done.ok().and(out).ok_or(IoError)
    }

    fn settle(&self, block: u32) -> Result<(), IoError> {
        glue::mm().write_page(&self.file, self.place(block).0).map_err(|_| IoError)?;
        disk::flush(self.device).map_err(|_| IoError)
    }

    fn forget(&self, first: u32, count: u32) {
        for block in first..first.saturating_add(count).min(self.blocks) {
            self.fresh.take(block);
            self.dirty.take(block);
        }
        if self.file.is_being_written() {
            let last = self.place(first.saturating_add(count.saturating_sub(1))).0;
            for page in self.place(first).0..=last {
                glue::mm().wait_for_page_write(&self.file, page);
            }
        }
    }

    fn now(&self) -> u32 {
        self.epoch.saturating_add((timer::now().0 / 1_000_000_000) as u32)
    }
}

impl Records {
    /// Changes a block in its page, which is locked and not being written.
    fn change_in<R>(
        &self,
        block: u32,
        page: *mut u8,
        offset: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        if block < self.blocks {
            self.dirty.set(block);
        }
        let len = self.block_bytes();
        // SAFETY: as for a look; and whoever looks or changes holds the lock of the page, so that this
        // is the only use of the bytes. The device does not read them, as no write is under way.
        change(unsafe { core::slice::from_raw_parts_mut(page.wrapping_add(offset), len) })
    }
}
