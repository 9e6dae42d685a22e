//! The files, and their transfers.

use core::slice;

use mm_reclaim::block::{Direction, IoError};
use mm_reclaim::env::{BlockDevice, DeviceId, FrameMemory, Run, StoreError};
use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::blocks::Blocks;
use super::place::{Extent, Place};
use crate::arch::frames::{self, LinearFrames};
use crate::arch::lock::IrqLock;
use crate::ramdisk;

/// Files that can exist at once.
const MOST_FILES: usize = 256;
/// Extents of a file: a frame full.
const EXTENTS: usize = PAGE_SIZE / size_of::<Extent>();

/// A file, or a place for one.
#[derive(Clone, Copy)]
struct Stored {
    /// The frame with its extents, which stays for the next file.
    table: Option<Pfn>,
    /// Extents in use.
    extents: u16,
    is_used: bool,
}

struct State {
    device: DeviceId,
    /// The first block of the device that belongs to files.
    first: u32,
    blocks: Blocks,
    files: [Stored; MOST_FILES],
}

static STATE: IrqLock<State> = IrqLock::new(State {
    device: DeviceId(0),
    first: 0,
    blocks: Blocks::none(),
    files: [Stored { table: None, extents: 0, is_used: false }; MOST_FILES],
});

/// There is no room for another file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl State {
    /// Runs `act` on the extents of a file.
    fn with_place<R>(
        &mut self,
        file: u64,
        act: impl FnOnce(&mut Place<'_>, &mut Blocks) -> R,
    ) -> R {
        let stored = &mut self.files[file as usize];
        let table = stored.table.expect("a file that was created");
        let first = frames::frame_address(table).cast::<Extent>();
        // SAFETY: the frame was given to the store by `create`, and is reached only here, under the
        // lock; any bytes are extents, and those in use were written as such.
        let list = unsafe { slice::from_raw_parts_mut(first, EXTENTS) };
        let mut place = Place::new(list, stored.extents.into());
        let done = act(&mut place, &mut self.blocks);
        stored.extents = place.len() as u16;
        done
    }
}

/// The blocks `first..first + count` of a device are for files. `words` has zeroes for their bits.
pub fn init(device: DeviceId, first: u32, count: u32, words: &'static mut [u64]) {
    let mut state = STATE.lock();
    (state.device, state.first) = (device, first);
    state.blocks = Blocks::new(count, words);
}

/// Blocks that no file uses.
pub fn free_blocks() -> u32 {
    STATE.lock().blocks.free()
}

/// Makes an empty file; returns its number. `frame` supplies a frame of zeroes for its extents, and is
/// called without a lock.
///
/// # Errors
/// If there are as many as there can be, or there is no memory.
pub fn create(frame: impl FnOnce() -> Option<Pfn>) -> Result<u64, NoRoom> {
    let place = {
        let mut state = STATE.lock();
        let place = state.files.iter().position(|stored| !stored.is_used).ok_or(NoRoom)?;
        state.files[place].is_used = true;
        place
    };
    let table = STATE.lock().files[place].table;
    let Some(table) = table.or_else(frame) else {
        STATE.lock().files[place].is_used = false;
        return Err(NoRoom);
    };
    let mut state = STATE.lock();
    state.files[place] = Stored { table: Some(table), extents: 0, is_used: true };
    Ok(place as u64)
}

/// Starts the transfers of a run: see [`mm_reclaim::env::FileStore::start`].
pub fn start(run: &mut Run<'_>, disk: &impl BlockDevice) {
    let (file, direction) = (run.file(), run.direction());
    disk.plug();
    // What is being moved keeps its block: the extent of one page is good for the next ones.
    let (mut device, mut extent) = (DeviceId(0), Extent::default());
    while let Some(page) = run.next() {
        if page.index().wrapping_sub(extent.page) >= extent.len {
            let mut state = STATE.lock();
            let found = state.with_place(file, |place, _| place.extent(page.index()));
            extent = found.unwrap_or_default();
            extent.block += state.first;
            device = state.device;
        }
        let behind = page.index().wrapping_sub(extent.page);
        let block = (behind < extent.len).then(|| extent.block + behind);
        let ended = match (block, direction) {
            (Some(block), _) => disk.submit(page.on(device, block)),
            (None, Direction::Read) => {
                LinearFrames::new().zero(page.frame());
                Some(page.complete(Ok(())))
            }
            // What is dirty was reserved.
            (None, Direction::Write) => Some(page.complete(Err(IoError))),
        };
        if let Some(end) = ended {
            run.end(end);
        }
    }
    disk.unplug();
}

/// Makes sure that a page has a block, whose contents are zeroes if it is new.
///
/// # Errors
/// If the disk is full, or the file has too many pieces.
pub fn reserve(file: u64, page: u32) -> Result<(), StoreError> {
    let mut state = STATE.lock();
    let taken = state.with_place(file, |place, blocks| {
        if place.block(page).is_some() {
            return Ok(None);
        }
        let block = blocks.take(place.goal(page), || place.run()).ok_or(StoreError::NoSpace)?;
        place.add(page, block).map_err(|_| {
            blocks.give(block, 1);
            StoreError::NoSpace
        })?;
        Ok(Some(block))
    });
    if let Some(block) = taken? {
        // Nothing of the file that had it before is ever read.
        ramdisk::zero(state.device, state.first + block);
    }
    Ok(())
}

/// Whether a page has a block.
pub fn has_block(file: u64, page: u32) -> bool {
    STATE.lock().with_place(file, |place, _| place.block(page).is_some())
}

/// Pages of a file are no longer needed.
pub fn discard(file: u64, first: u32, pages: u32) {
    let mut state = STATE.lock();
    let end = first.saturating_add(pages);
    // At most one piece is cut in its middle.
    let mut kept = 0..0;
    state.with_place(file, |place, blocks| {
        place.cut(first, end, |at, len| blocks.give(at, len), |at, len| kept = at..at + len);
    });
    let (device, base) = (state.device, state.first);
    drop(state);
    // Nobody reads them meanwhile, nor gives the file others: the caller keeps readers and writers away.
    kept.for_each(|block| ramdisk::zero(device, base + block));
}

/// A file is gone.
pub fn evict(file: u64) {
    discard(file, 0, u32::MAX);
    STATE.lock().files[file as usize].is_used = false;
}
