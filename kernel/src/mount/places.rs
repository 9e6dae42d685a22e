//! Where the blocks of files are: looked up, reserved, and taken away.

use core::ops::Range;

use ext2::{Error, Fresh, Mapped};
use mm_reclaim::units::{PAGE_SHIFT, PAGE_SIZE};

use super::mounted::Mounted;
use super::runs::Run;

/// Blocks that are looked up at least.
const AHEAD: u32 = 128;

/// Whether blocks of the file can be taken away meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// None can: the caller holds a lock of the file.
    All,
    /// Only those that are looked for stay: their pages are being written.
    Some,
}

/// The places of a file's blocks, remembered from one page to the next.
pub(super) struct Places {
    /// The latest run; an empty one at the start.
    pub run: Run,
    held: Held,
}

impl Mounted {
    /// Blocks of a page.
    pub(super) fn per_page(&self) -> u32 {
        1 << (PAGE_SHIFT - self.records().block_bits)
    }

    /// The blocks of a file that bytes `part` of a page lie in.
    pub(super) fn blocks(&self, index: u32, part: &Range<usize>) -> Option<Range<u32>> {
        let (first, bits) = (index.checked_mul(self.per_page())?, self.records().block_bits);
        let end = part.end.div_ceil(1 << bits) as u32;
        Some(first + (part.start >> bits) as u32..first.checked_add(end)?)
    }

    /// The places of an inode's blocks.
    pub(super) fn places(&self, number: u32, held: Held) -> Result<Places, Error> {
        if let Some(run) = self.runs.lock().get(number) {
            return Ok(Places { run, held });
        }
        let mapped = Mapped { block: None, len: 0 };
        Ok(Places { run: Run { at: self.fs.locate(number)?, first: 0, mapped }, held })
    }

    /// The place of a block of a file.
    pub(super) fn block(
        &self,
        places: &mut Places,
        block: u32,
        most: u32,
    ) -> Result<Option<u32>, Error> {
        let behind = block.wrapping_sub(places.run.first);
        if behind >= places.run.mapped.len {
            // What is not asked for yet soon will be, by who comes one block after the other.
            let is_next = behind == places.run.mapped.len && behind > 0;
            let most = if places.held == Held::All && is_next { most.max(AHEAD) } else { most };
            places.run.mapped = self.fs.map(places.run.at, block, most)?;
            places.run.first = block;
            if places.held == Held::All && places.run.mapped.block.is_some() {
                self.runs.lock().put(places.run);
            }
        }
        let within = block - places.run.first;
        Ok(places.run.mapped.block.map(|first| first + within))
    }

    /// Gives a file places for blocks that it will be asked for one page after the other. Who writes over
    /// what is there has them already.
    pub(super) fn expect_blocks(&self, number: u32, blocks: Range<u32>) -> Result<(), Error> {
        let mut places = self.places(number, Held::All)?;
        match self.block(&mut places, blocks.start, 1)? {
            Some(_) => Ok(()),
            None => self.reserve_blocks(number, blocks),
        }
    }

    /// Gives a file places for blocks.
    pub(super) fn reserve_blocks(&self, number: u32, blocks: Range<u32>) -> Result<(), Error> {
        let mut places = self.places(number, Held::All)?;
        let mut missing = blocks;
        while !missing.is_empty()
            && self.block(&mut places, missing.start, missing.len() as u32)?.is_some()
        {
            missing.start += 1;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (mut writer, at) = (self.lock(), places.run.at);
        while !missing.is_empty() {
            let (first, most) = (missing.start, missing.len() as u32);
            let (reserved, len) = self.fs.reserve_run(&mut writer, at, first, most)?;
            if let Fresh::New(block) = reserved {
                (block..block + len).for_each(|block| self.records().fresh.set(block));
            }
            let (Fresh::New(block) | Fresh::Old(block)) = reserved;
            self.runs.lock().put(Run { at, first, mapped: Mapped { block: Some(block), len } });
            missing.start += len;
        }
        Ok(())
    }

    /// Whether a file has a place for any of these blocks.
    pub(super) fn has_block(&self, number: u32, blocks: Range<u32>) -> Result<bool, Error> {
        let mut places = self.places(number, Held::All)?;
        for block in blocks.clone() {
            if self.block(&mut places, block, blocks.len() as u32)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes blocks away from a file, some at a time.
    pub(super) fn cut(&self, number: u32, blocks: Range<u32>) -> Result<(), Error> {
        /// Blocks that are taken away while nobody else can change anything.
        const STEP: u32 = 4096;
        let at = self.fs.locate(number)?;
        let used = self.fs.load(at)?.sectors / self.fs.geometry().sectors();
        let step = if used > STEP { STEP } else { u32::MAX };
        let mut from = blocks.start;
        while from < blocks.end {
            let end = from.saturating_add(step).min(blocks.end);
            let mut writer = self.lock();
            self.runs.lock().forget(number);
            self.fs.cut(&mut writer, at, from..end)?;
            from = end;
        }
        Ok(())
    }

    /// A file has another size; nothing is left of it behind that in its last page.
    pub(super) fn resize(&self, number: u32, size: u64) -> Result<(), Error> {
        let bits = self.records().block_bits;
        let end = size.div_ceil(PAGE_SIZE as u64) << (PAGE_SHIFT - bits);
        self.cut(number, clip(size.div_ceil(1 << bits))..clip(end))?;
        let at = self.fs.locate(number)?;
        let mut writer = self.lock();
        if self.fs.load(at)?.size == size {
            return Ok(());
        }
        self.fs.set_size(&mut writer, at, size)
    }
}

fn clip(block: u64) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX)
}
