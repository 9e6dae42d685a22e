//! Blocks that are smaller than pages: what the store keeps with each page that it has read.
//!
//! A page of a file consists of four blocks of 1 KiB. Once [`Files::keep_blocks`] is on, each page that
//! is read carries the state of its blocks as private data: which of them are dirty. A store to the
//! page makes all of them dirty, a write of the page all of them clean. A test may also have the store
//! write single blocks by itself, as a journal does ([`World::commit`]), and make it refuse what reclaim
//! asks for.
//!
//! The store checks the crate's obligations: whatever is released, dropped or dirtied has such data,
//! and the frame of a page that it still uses is not freed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::Pfn;

use crate::arena::WORDS;
use crate::files::Files;
use crate::world::World;

/// Blocks of a page.
pub const BLOCKS: usize = 4;
const ALL_DIRTY: u8 = (1 << BLOCKS) - 1;

/// The private data of all pages.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Pages that are read get such data.
    on: bool,
    /// For each page of a file that has some: its dirty blocks.
    dirty: BTreeMap<(u64, u32), u8>,
    /// Frames in use whose pages have lost their files.
    orphans: BTreeSet<Pfn>,
    /// The store uses every page.
    busy: bool,
    /// What the data of a page takes.
    bytes: u64,
    /// With which rights releases were asked for.
    asked: Vec<Gfp>,
}

impl Blocks {
    /// A page is being read; whether it carries private data from then on.
    pub(crate) fn note_read(&mut self, file: u64, index: u32) -> bool {
        if self.on {
            self.dirty.insert((file, index), 0);
        }
        self.on
    }

    /// A page as a whole is being written.
    pub(crate) fn note_write(&mut self, file: u64, index: u32) {
        if let Some(dirty) = self.dirty.get_mut(&(file, index)) {
            *dirty = 0;
        }
    }

    pub(crate) fn note_dirtied(&mut self, file: u64, index: u32) {
        let dirty = self.dirty.get_mut(&(file, index));
        *dirty.expect("a page that carries private data") = ALL_DIRTY;
    }

    pub(crate) fn state(&self, file: u64, index: u32) -> Option<(bool, bool)> {
        self.dirty.get(&(file, index)).map(|dirty| (*dirty != 0, false))
    }

    pub(crate) fn release(&mut self, file: u64, index: u32, gfp: Gfp) -> bool {
        self.asked.push(gfp);
        let dirty = *self.dirty.get(&(file, index)).expect("a page that carries private data");
        let is_free = !self.busy && dirty == 0;
        if is_free {
            self.dirty.remove(&(file, index));
        }
        is_free
    }

    pub(crate) fn drop_page(&mut self, file: u64, index: u32, frame: Pfn) -> bool {
        self.dirty.remove(&(file, index)).expect("a page that carries private data");
        if self.busy {
            assert!(self.orphans.insert(frame), "{frame:?} lost two files");
        }
        !self.busy
    }

    pub(crate) fn release_orphan(&mut self, frame: Pfn, gfp: Gfp) -> bool {
        self.asked.push(gfp);
        assert!(self.orphans.contains(&frame), "{frame:?} is no orphan");
        if !self.busy {
            self.orphans.remove(&frame);
        }
        !self.busy
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.dirty.len() as u64 * self.bytes
    }
}

impl Files {
    /// Pages that are read carry the state of their blocks from now on, of so many bytes.
    pub fn keep_blocks(&self, bytes: u64) {
        let blocks = &mut self.state().blocks;
        (blocks.on, blocks.bytes) = (true, bytes);
    }

    /// The store uses all pages that carry private data, or none.
    pub fn set_busy(&self, busy: bool) {
        self.state().blocks.busy = busy;
    }

    /// Pages that carry private data.
    pub fn private_pages(&self) -> usize {
        self.state().blocks.dirty.len()
    }

    /// Pages that the store uses, and that no file has any more.
    pub fn orphans(&self) -> usize {
        self.state().blocks.orphans.len()
    }

    /// How often a release was asked for with just these rights.
    pub fn asked_with(&self, gfp: Gfp) -> usize {
        self.state().blocks.asked.iter().filter(|asked| **asked == gfp).count()
    }
}

impl World {
    /// The store writes some blocks of a page by itself, from the frame.
    ///
    /// # Panics
    /// If the page carries no private data or has no block on the disk.
    pub fn commit(&self, file: u64, index: u32, frame: Pfn, blocks: Range<usize>) {
        let mut state = self.files.state();
        let (device, block) = state.note_written(file, index).expect("a page that was reserved");
        let dirty = state.blocks.dirty.get_mut(&(file, index)).expect("private data");
        blocks.clone().for_each(|block| *dirty &= !(1 << block));
        let words = WORDS / BLOCKS;
        let range = blocks.start * words..blocks.end * words;
        self.disks.patch(device, block, range, &self.arena.save_frame(frame));
    }
}
