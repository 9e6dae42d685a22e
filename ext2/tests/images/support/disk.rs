//! A block device with a cache above it, as the kernel's page cache is one: what is changed is written
//! some time later, in any order, unless it is settled or forgotten.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use ext2::layout::superblock::{BYTES, START, Superblock};
use ext2::{Disk, IoError, MountError};

use super::random::Rng;

/// What happened to the device.
#[derive(Clone, Debug)]
pub enum Event {
    /// The device was given a block.
    Write(u32, Rc<[u8]>),
    /// What was written before is stable from here on.
    Flush,
}

/// A block that is not on the device yet.
struct Dirty {
    bytes: Rc<[u8]>,
    /// It holds contents of a file, which the crate must not see.
    is_data: bool,
}

struct State {
    stable: Rc<Vec<u8>>,
    block_bytes: usize,
    dirty: BTreeMap<u32, Dirty>,
    now: u32,
    calls: u64,
    /// The calls that fail.
    failing: Range<u64>,
    /// Chooses when something is written back; never, without.
    writeback: Option<Rng>,
    /// In how many of a hundred calls.
    rate: u64,
    events: Option<Vec<Event>>,
}

/// The device and its cache.
pub struct Cache(RefCell<State>);

impl State {
    fn span(&self, block: u32) -> Result<Range<usize>, IoError> {
        let start = block as usize * self.block_bytes;
        let range = start..start + self.block_bytes;
        if range.end <= self.stable.len() { Ok(range) } else { Err(IoError) }
    }

    fn write(&mut self, block: u32) {
        let Some(dirty) = self.dirty.remove(&block) else { return };
        let range = self.span(block).expect("it was read");
        Rc::make_mut(&mut self.stable)[range].copy_from_slice(&dirty.bytes);
        if let Some(events) = &mut self.events {
            events.push(Event::Write(block, dirty.bytes));
        }
    }

    /// Counts a call, which may be one of those that fail.
    fn call(&mut self) -> Result<(), IoError> {
        self.tick();
        if self.failing.contains(&self.calls) { Err(IoError) } else { Ok(()) }
    }

    /// Writes some blocks that are dirty, now and then.
    fn tick(&mut self) {
        self.calls += 1;
        let Some(mut rng) = self.writeback.take() else { return };
        if rng.percent(self.rate) {
            for _ in 0..rng.below(4) + 1 {
                self.write_any(&mut rng);
            }
        }
        self.writeback = Some(rng);
    }

    fn write_any(&mut self, rng: &mut Rng) {
        let at = rng.index(self.dirty.len());
        if let Some(block) = self.dirty.keys().nth(at).copied() {
            self.write(block);
        }
    }

    fn write_all(&mut self) {
        let blocks: Vec<u32> = self.dirty.keys().copied().collect();
        blocks.into_iter().for_each(|block| self.write(block));
    }

    fn flush(&mut self) {
        if let Some(events) = &mut self.events {
            events.push(Event::Flush);
        }
    }

    /// The bytes of a block that is dirty from now on.
    fn dirty(&mut self, block: u32, is_data: bool) -> Result<&mut [u8], IoError> {
        let range = self.span(block)?;
        let stable = &self.stable;
        let dirty = self
            .dirty
            .entry(block)
            .or_insert_with(|| Dirty { bytes: Rc::from(&stable[range]), is_data });
        assert_eq!(dirty.is_data, is_data, "block {block} is both metadata and contents");
        Ok(Rc::make_mut(&mut dirty.bytes))
    }
}

impl Cache {
    /// A device with an image on it.
    pub fn new(image: Vec<u8>) -> Self {
        Self::over(Rc::new(image))
    }

    /// A device whose image it shares until it is changed.
    pub fn over(image: Rc<Vec<u8>>) -> Self {
        let log = image.get(START as usize + 24).map_or(0, |log| *log).min(2);
        let state = State {
            stable: image,
            block_bytes: 1024 << log,
            dirty: BTreeMap::new(),
            now: 0,
            calls: 0,
            failing: 0..0,
            writeback: None,
            rate: 0,
            events: None,
        };
        Self(RefCell::new(state))
    }

    fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.try_borrow_mut().expect("no block is lent while another call is made")
    }

    /// What the superblock says; the clock starts at its latest time.
    pub fn superblock(&self) -> Result<Superblock, MountError> {
        let mut state = self.state();
        let (bytes, start) = (state.block_bytes, START as usize);
        let block = (start / bytes) as u32;
        let dirty = state.dirty.get(&block);
        let place = match dirty {
            Some(dirty) => &dirty.bytes[start % bytes..start % bytes + BYTES],
            None => &state.stable[start..start + BYTES],
        };
        let superblock = Superblock::parse(place, state.stable.len() as u64)?;
        if superblock.geometry.block_bytes() != state.block_bytes {
            // Damage may have said so: then all blocks are others.
            state.write_all();
            state.block_bytes = superblock.geometry.block_bytes();
        }
        state.now = superblock.time;
        Ok(superblock)
    }

    /// Writes something back now and then, and notes what is written, from now on.
    pub fn record(&self, mut rng: Rng) {
        let mut state = self.state();
        state.rate = rng.below(10);
        (state.writeback, state.events) = (Some(rng), Some(Vec::new()));
    }

    /// What has been noted.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone().unwrap_or_default()
    }

    /// How much has been noted.
    pub fn event_count(&self) -> usize {
        self.state().events.as_ref().map_or(0, Vec::len)
    }

    /// So many calls fail, after so many that do not.
    pub fn fail(&self, after: u64, count: u64) {
        let mut state = self.state();
        let first = state.calls + after + 1;
        state.failing = first..first.saturating_add(count);
    }

    /// How often the crate has called.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// A block of contents.
    pub fn read(&self, block: u32) -> Vec<u8> {
        let state = self.state();
        let range = state.span(block).expect("a block of the device");
        let dirty = state.dirty.get(&block);
        assert!(dirty.is_none_or(|dirty| dirty.is_data), "block {block} is metadata");
        dirty.map_or_else(|| state.stable[range].to_vec(), |dirty| dirty.bytes.to_vec())
    }

    /// Changes a block of contents.
    pub fn write(&self, block: u32, bytes: &[u8]) {
        let mut state = self.state();
        state.dirty(block, true).expect("a block of the device").copy_from_slice(bytes);
    }

    /// Changes any block, behind the crate's back.
    pub fn damage(&self, block: u32, change: impl FnOnce(&mut [u8])) {
        let mut state = self.state();
        if let Ok(bytes) = state.dirty(block, false) {
            change(bytes);
        }
    }

    /// Writes these blocks, then all metadata, and flushes: as `fsync` does.
    pub fn sync(&self, data: &[u32]) {
        let mut state = self.state();
        data.iter().for_each(|block| state.write(*block));
        let metadata = state.dirty.iter().filter(|(_, dirty)| !dirty.is_data);
        let mut blocks: Vec<u32> = metadata.map(|(block, _)| *block).collect();
        if let Some(rng) = &mut state.writeback {
            (1..blocks.len()).rev().for_each(|at| blocks.swap(at, rng.index(at + 1)));
        }
        blocks.into_iter().for_each(|block| state.write(block));
        state.flush();
    }

    /// Writes everything, and returns what is on the device then.
    pub fn image(&self) -> Vec<u8> {
        let mut state = self.state();
        state.write_all();
        state.flush();
        state.stable.to_vec()
    }
}

impl Disk for &Cache {
    fn look<R>(&self, block: u32, look: impl FnOnce(&[u8]) -> R) -> Result<R, IoError> {
        let mut state = self.state();
        state.call()?;
        let range = state.span(block)?;
        if let Some(dirty) = state.dirty.get(&block) {
            assert!(!dirty.is_data, "block {block} holds contents");
            return Ok(look(&dirty.bytes));
        }
        Ok(look(&state.stable[range]))
    }

    fn change<R>(&self, block: u32, change: impl FnOnce(&mut [u8]) -> R) -> Result<R, IoError> {
        let mut state = self.state();
        state.call()?;
        state.dirty(block, false).map(change)
    }

    fn begin(&self, block: u32, fill: impl FnOnce(&mut [u8])) -> Result<(), IoError> {
        let mut state = self.state();
        state.call()?;
        let bytes = state.dirty(block, false)?;
        bytes.fill(0xa5);
        fill(bytes);
        Ok(())
    }

    fn settle(&self, block: u32) -> Result<(), IoError> {
        let mut state = self.state();
        state.call()?;
        state.write(block);
        state.flush();
        Ok(())
    }

    fn forget(&self, first: u32, count: u32) {
        let mut state = self.state();
        state.tick();
        let end = first.saturating_add(count);
        let blocks: Vec<u32> = state.dirty.range(first..end).map(|(block, _)| *block).collect();
        blocks.iter().for_each(|block| drop(state.dirty.remove(block)));
    }

    fn now(&self) -> u32 {
        let mut state = self.state();
        state.now = state.now.saturating_add(1);
        state.now
    }
}
