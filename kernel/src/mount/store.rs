//! The pages of files on the file system, as the memory management moves them.
//!
//! A page consists of one to four blocks, each with a place of its own or none. A block without a place
//! reads as zeroes; so does one that was reserved and never written. What is written is what has a place
//! and lies before the end of the file.

use core::ops::Range;

use ext2::{Error, InodeAt};
use mm_reclaim::block::{Direction, IoError, PageIo};
use mm_reclaim::env::{BlockDevice, DeviceId, FileStore, FrameMemory, Run, StoreError};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{PAGE_SHIFT, PAGE_SIZE, Pfn};

use super::mounted::{self, Mounted};
use super::places::{Held, Places};
use super::{Number, inodes};
use crate::arch::frames::LinearFrames;
use crate::disk::{self, Part};
use crate::glue::Disks;

fn store_error(error: Error) -> StoreError {
    match error {
        Error::NoSpace => StoreError::NoSpace,
        Error::TooLarge => StoreError::TooLarge,
        _ => StoreError::Io,
    }
}

impl Mounted {
    /// Moves pages of a file.
    fn move_file(&self, number: u32, run: &mut Run<'_>) {
        let (direction, size) = (run.direction(), run.file_size());
        let held = if direction == Direction::Read { Held::All } else { Held::Some };
        let Ok(mut places) = self.places(number, held) else { return };
        if direction == Direction::Write {
            self.note_size(places.run.at, size);
        }
        while let Some(page) = run.next() {
            let left = run.len() as u32 + 1;
            let ended = self.move_page(&mut places, page, direction, size, left);
            if let Some(end) = ended {
                run.end(end);
            }
        }
    }

    fn move_page(
        &self,
        places: &mut Places,
        page: PageIo,
        direction: Direction,
        size: u64,
        left: u32,
    ) -> Option<mm_reclaim::block::Completion> {
        let mut parts = [Part { sector: 0, offset: 0, bytes: 0 }; 4];
        let start = u64::from(page.index()) << PAGE_SHIFT;
        let bytes = size.saturating_sub(start).min(PAGE_SIZE as u64) as usize;
        let Some(blocks) = self.blocks(page.index(), &(0..bytes)) else {
            return Some(page.complete(Err(IoError)));
        };
        let (records, mut count) = (self.records(), 0);
        for (place, block) in blocks.enumerate() {
            let found = match self.block(places, block, left * self.per_page()) {
                Ok(found) => found,
                Err(error) => {
                    mounted::note(error);
                    return Some(page.complete(Err(IoError)));
                }
            };
            let Some(found) = found else { continue };
            let was_fresh = match direction {
                Direction::Read => records.fresh.get(found),
                Direction::Write => records.fresh.take(found),
            };
            if direction == Direction::Read && was_fresh {
                continue;
            }
            parts[count] = records.part(found, place << records.block_bits);
            count += 1;
        }
        if direction == Direction::Read && count < self.per_page() as usize {
            LinearFrames::new().zero(page.frame());
        }
        match count {
            0 => Some(page.complete(Ok(()))),
            _ => disk::submit_parts(page, records.device, &parts[..count]),
        }
    }

    /// The inode of a file that is being written learns how long the file is: under the writer, as a
    /// `truncate` meanwhile says it there, too. `size` is what it was when the writing began.
    fn note_size(&self, at: InodeAt, size: u64) {
        match self.fs.load(at) {
            Ok(inode) if inode.links > 0 && inode.size != size => {
                let mut writer = self.lock();
                // It may have been cut meanwhile, and its inode have heard of that.
                let size = inodes::live_size(at.number).unwrap_or(size);
                let done = self.fs.set_size(&mut writer, at, size);
                _ = self.check(done);
            }
            _ => {}
        }
    }
}

/// The store of these files, and of the device.
pub struct Store;

/// Runs `act` for an inode of the file system.
fn for_inode<R>(file: u64, act: impl FnOnce(&Mounted, u32) -> R) -> Option<R> {
    match (Number::of(file), mounted::mounted()) {
        (Number::Inode(number), Some(mounted)) => Some(act(mounted, number)),
        _ => None,
    }
}

fn is_device(file: u64) -> bool {
    Number::of(file) == Number::Device
}

impl FileStore for Store {
    fn start(&self, run: &mut Run<'_>) {
        Disks.plug();
        match mounted::records() {
            Some(records) if is_device(run.file()) => records.start(run),
            _ => _ = for_inode(run.file(), |mounted, number| mounted.move_file(number, run)),
        }
        Disks.unplug();
    }

    fn reserve(&self, file: u64, index: u32, part: Range<usize>) -> Result<(), StoreError> {
        for_inode(file, |mounted, number| {
            let blocks = mounted.blocks(index, &part).ok_or(StoreError::TooLarge)?;
            mounted.check(mounted.reserve_blocks(number, blocks)).map_err(store_error)
        })
        .unwrap_or(Ok(()))
    }

    fn expect(&self, file: u64, first: u32, pages: u32) {
        for_inode(file, |mounted, number| {
            let per_page = mounted.per_page();
            let blocks = first.saturating_mul(per_page);
            let blocks = blocks..blocks.saturating_add(pages.saturating_mul(per_page));
            // What it does not get now, it asks for later.
            _ = mounted.check(mounted.expect_blocks(number, blocks));
        });
    }

    fn is_stored(&self, file: u64, index: u32, part: Range<usize>) -> Result<bool, StoreError> {
        for_inode(file, |mounted, number| {
            let Some(blocks) = mounted.blocks(index, &part) else { return Ok(false) };
            mounted.check(mounted.has_block(number, blocks)).map_err(store_error)
        })
        .unwrap_or(Ok(true))
    }

    fn block_bytes(&self, file: u64) -> usize {
        for_inode(file, |mounted, _| 1 << mounted.records().block_bits).unwrap_or(PAGE_SIZE)
    }

    fn resized(&self, file: u64, size: u64) {
        for_inode(file, |mounted, number| {
            _ = mounted.check(mounted.resize(number, size));
        });
    }

    fn discard(&self, file: u64, from: u32, pages: u32) {
        for_inode(file, |mounted, number| {
            let per_page = mounted.per_page();
            let end = from.saturating_add(pages).saturating_mul(per_page);
            let done = mounted.cut(number, from.saturating_mul(per_page)..end);
            _ = mounted.check(done);
        });
    }

    fn evict(&self, file: u64) {
        for_inode(file, |mounted, number| {
            if inodes::leave(number) {
                _ = mounted.check(mounted.end_if_unlinked(number));
            }
        });
    }

    fn may_write(&self, _file: u64, _index: u32) -> bool {
        // Finding the place of a page may need memory: the flusher does it.
        false
    }

    fn release_private(&self, file: u64, index: u32, _gfp: Gfp) -> bool {
        let records = mounted::records().filter(|_| is_device(file));
        records.is_none_or(|records| records.is_clean(index))
    }

    fn drop_private(&self, file: u64, index: u32, _frame: Pfn) -> bool {
        if let Some(records) = mounted::records().filter(|_| is_device(file)) {
            records.forget_page(index);
        }
        true
    }

    fn dirty_writeback(&self, file: u64, index: u32) -> Option<(bool, bool)> {
        let records = mounted::records().filter(|_| is_device(file))?;
        let is_idle = !records.file.is_being_written() && records.is_clean(index);
        is_idle.then_some((false, false))
    }

    fn device(&self, _file: u64) -> DeviceId {
        mounted::device()
    }

    fn is_congested(&self, file: u64) -> bool {
        disk::is_congested(self.device(file))
    }

    fn is_any_congested(&self) -> bool {
        disk::is_congested(self.device(0))
    }

    fn is_gone(&self, file: u64) -> bool {
        disk::is_gone(self.device(file))
    }
}
