//! Files: a store that keeps their pages on a disk, and what a program does with one.
//!
//! A page gets a block of the disk when it is reserved, and keeps it until the file loses the page. A
//! page without a block, or with one that was never written, reads as zeroes. Time and errors are the
//! disk's ([`crate::disk`]). The store checks the crate's obligations: what is written was reserved,
//! and nothing that was discarded is written or read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::block::{Direction, IoError};
use mm_reclaim::env::{
    BlockDevice, DeviceId, FileStore, FrameMemory, Run, StoreError, Tasks, WaitEnd, WaitKey,
    WaitMode,
};
use mm_reclaim::file::{FileKind, FileRef};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn};
use mm_reclaim::{FileError, PageSink, PageSource, Pattern, ReadAhead, Seen};

use crate::blocks::Blocks;
use crate::current::SimCpu;
use crate::machine::Machine;
use crate::world::World;

/// A file of the store.
#[derive(Debug)]
struct Stored {
    device: DeviceId,
    /// The block of each page that has one, and whether it was written.
    blocks: BTreeMap<u32, (u32, bool)>,
    /// The last reference is gone.
    evicted: bool,
}

/// The files of a machine.
#[derive(Debug, Default)]
pub struct Files(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    files: Vec<Stored>,
    /// Blocks in use, by device.
    used: BTreeSet<(u8, u32)>,
    /// The block that was reserved last, by device: the search for the next begins there.
    latest: BTreeMap<u8, u32>,
    /// Devices that will never answer again.
    gone: BTreeSet<u8>,
    /// Private data of pages.
    pub(crate) blocks: Blocks,
    /// Reclaim is refused every write.
    refuses: bool,
    /// Bytes of a block, if it is smaller than a page; what was asked for is kept then.
    block_bytes: Option<usize>,
    reserved: Vec<(u32, Range<usize>)>,
    resized: Vec<u64>,
    /// How long the store sleeps after it has started a run of writes.
    rest: Option<Nanos>,
}

impl State {
    /// Where a page lies that is written by the store itself, if it has a place.
    pub(crate) fn note_written(&mut self, file: u64, index: u32) -> Option<(DeviceId, u32)> {
        let stored = &mut self.files[file as usize];
        let (block, written) = stored.blocks.get_mut(&index)?;
        *written = true;
        Some((stored.device, *block))
    }
}

impl Files {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty file on a device; its number.
    pub fn create(&self, device: DeviceId) -> u64 {
        let mut state = self.state();
        state.files.push(Stored { device, blocks: BTreeMap::new(), evicted: false });
        state.files.len() as u64 - 1
    }

    /// Blocks of a device that files use.
    pub fn used(&self, device: DeviceId) -> usize {
        self.state().used.range((device.0, 0)..=(device.0, u32::MAX)).count()
    }

    /// The block of a page, if it has one that was written.
    pub fn block(&self, file: u64, index: u32) -> Option<u32> {
        let state = self.state();
        let (block, written) = state.files[file as usize].blocks.get(&index)?;
        written.then_some(*block)
    }

    /// Whether the file's last reference is gone.
    pub fn is_evicted(&self, file: u64) -> bool {
        self.state().files[file as usize].evicted
    }

    /// Reclaim is refused every write from now on, or none.
    pub fn refuse_writes(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// The store sleeps after each run of writes, before it returns: a device that answers at once has
    /// ended them, and other tasks can use the pages.
    pub fn rest_after_writes(&self, time: Nanos) {
        self.state().rest = Some(time);
    }

    /// Blocks are smaller than pages from now on: the store remembers what it is asked for.
    pub fn split_pages(&self, block_bytes: usize) {
        self.state().block_bytes = Some(block_bytes);
    }

    /// The pages, and the parts of them, that were reserved since the last call.
    pub fn take_reserved(&self) -> Vec<(u32, Range<usize>)> {
        std::mem::take(&mut self.state().reserved)
    }

    /// The sizes that files were said to have since the last call.
    pub fn take_resized(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().resized)
    }

    /// The device answers no more.
    pub fn lose(&self, device: DeviceId) {
        self.state().gone.insert(device.0);
    }
}

impl FileStore for World {
    fn start(&self, run: &mut Run<'_>) {
        let (file, direction) = (run.file(), run.direction());
        while let Some(mut page) = run.next() {
            let place = {
                let mut state = self.files.state();
                let State { files, blocks, .. } = &mut *state;
                match direction {
                    Direction::Read if blocks.note_read(file, page.index()) => page.mark_private(),
                    Direction::Read => {}
                    Direction::Write => blocks.note_write(file, page.index()),
                }
                let stored = &mut files[file as usize];
                assert!(!stored.evicted, "file {file} is evicted, and page {} moves", page.index());
                let device = stored.device;
                let block = stored.blocks.get_mut(&page.index());
                match (direction, block) {
                    (Direction::Write, None) => panic!("{page:?} of file {file} was not reserved"),
                    (Direction::Write, Some(block)) => {
                        block.1 = true;
                        Some((device, block.0))
                    }
                    (Direction::Read, Some((block, true))) => Some((device, *block)),
                    (Direction::Read, _) => None,
                }
            };
            let ended = match place {
                Some((device, block)) => self.submit(page.on(device, block)),
                None => {
                    self.zero(page.frame());
                    Some(page.complete(Ok::<(), IoError>(())))
                }
            };
            if let Some(end) = ended {
                run.end(end);
            }
        }
        let rest = self.files.state().rest.filter(|_| direction == Direction::Write);
        if let Some(time) = rest {
            let mode = WaitMode { timeout: Some(time), killable: false };
            let end = self.wait_until(WaitKey(u64::MAX), mode, &mut || false);
            assert_eq!(end, WaitEnd::TimedOut);
        }
    }

    fn is_stored(&self, file: u64, index: u32, _: Range<usize>) -> Result<bool, StoreError> {
        Ok(self.files.state().files[file as usize].blocks.contains_key(&index))
    }

    fn block_bytes(&self, _file: u64) -> usize {
        self.files.state().block_bytes.unwrap_or(PAGE_SIZE)
    }

    fn resized(&self, _file: u64, size: u64) {
        crate::current::assert_no_lock_held("a change of size");
        let mut state = self.files.state();
        if state.block_bytes.is_some() {
            state.resized.push(size);
        }
    }

    fn reserve(&self, file: u64, index: u32, part: Range<usize>) -> Result<(), StoreError> {
        crate::current::assert_no_lock_held("a reservation");
        let mut state = self.files.state();
        if state.block_bytes.is_some() {
            state.reserved.push((index, part));
        }
        let State { files, used, latest, .. } = &mut *state;
        let stored = &mut files[file as usize];
        if stored.blocks.contains_key(&index) {
            return Ok(());
        }
        let device = stored.device;
        let blocks = self.disks.config(device).blocks;
        let next = *latest.get(&device.0).unwrap_or(&0);
        let block = (next..blocks).chain(0..next).find(|at| !used.contains(&(device.0, *at)));
        let block = block.ok_or(StoreError::NoSpace)?;
        latest.insert(device.0, block);
        used.insert((device.0, block));
        stored.blocks.insert(index, (block, false));
        Ok(())
    }

    fn discard(&self, file: u64, from: u32, pages: u32) {
        let mut state = self.files.state();
        let State { files, used, .. } = &mut *state;
        let stored = &mut files[file as usize];
        let device = stored.device;
        let end = from.saturating_add(pages);
        let mut gone = stored.blocks.split_off(&from);
        stored.blocks.append(&mut gone.split_off(&end));
        for (block, _) in gone.into_values() {
            used.remove(&(device.0, block));
        }
    }

    fn evict(&self, file: u64) {
        FileStore::discard(self, file, 0, u32::MAX);
        self.files.state().files[file as usize].evicted = true;
    }

    fn may_write(&self, _file: u64, _index: u32) -> bool {
        !self.files.state().refuses
    }

    fn dirtied(&self, file: u64, index: u32) {
        self.files.state().blocks.note_dirtied(file, index);
    }

    fn release_private(&self, file: u64, index: u32, gfp: Gfp) -> bool {
        self.files.state().blocks.release(file, index, gfp)
    }

    fn drop_private(&self, file: u64, index: u32, frame: Pfn) -> bool {
        self.files.state().blocks.drop_page(file, index, frame)
    }

    fn release_orphan(&self, frame: Pfn, gfp: Gfp) -> bool {
        assert!(!self.arena.is_poisoned(frame), "{frame:?} is in use, and was freed");
        self.files.state().blocks.release_orphan(frame, gfp)
    }

    fn dirty_writeback(&self, file: u64, index: u32) -> Option<(bool, bool)> {
        self.files.state().blocks.state(file, index)
    }

    fn private_memory(&self) -> u64 {
        self.files.state().blocks.bytes()
    }

    fn device(&self, file: u64) -> DeviceId {
        self.files.state().files[file as usize].device
    }

    fn is_congested(&self, file: u64) -> bool {
        let device = FileStore::device(self, file);
        BlockDevice::is_congested(self, device)
    }

    fn is_any_congested(&self) -> bool {
        (0..self.disks.count()).any(|disk| {
            let device = DeviceId(disk as u8);
            !self.disks.config(device).is_swap && BlockDevice::is_congested(self, device)
        })
    }

    fn is_gone(&self, file: u64) -> bool {
        let state = self.files.state();
        state.gone.contains(&state.files[file as usize].device.0)
    }
}

/// Takes the bytes that are read.
struct Taken<'w> {
    world: &'w World,
    bytes: Vec<u8>,
}

impl PageSink for Taken<'_> {
    fn copy(&mut self, to: usize, frame: Pfn, offset: usize, len: usize) -> usize {
        self.bytes.resize(to + len, 0);
        self.world.read(frame, offset, &mut self.bytes[to..]);
        len
    }
}

/// Gives the bytes that are written.
struct Given<'w> {
    world: &'w World,
    bytes: &'w [u8],
    /// Every so many copies only half of the bytes are present; 0 for never.
    absent: u32,
    copies: u32,
}

impl PageSource for Given<'_> {
    fn fault_in(&mut self, _from: usize, len: usize) -> usize {
        len
    }

    fn copy(&mut self, from: usize, frame: Pfn, offset: usize, len: usize) -> usize {
        self.copies += 1;
        let is_short = self.absent > 0 && self.copies.is_multiple_of(self.absent);
        let len = if is_short { len / 2 } else { len };
        self.world.write(frame, offset, &self.bytes[from..from + len]);
        len
    }
}

/// A file that a task has open.
pub struct OpenFile<'m> {
    machine: Machine<'m>,
    file: Option<FileRef<'m, SimCpu>>,
    ahead: ReadAhead,
    /// What it knows of the file's errors.
    pub seen: Seen,
    /// How it says that it reads.
    pub pattern: Pattern,
    /// Every so many copies of a write its source is half absent; 0 for never.
    pub absent: u32,
}

impl<'m> OpenFile<'m> {
    /// A new empty file on a device.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn create(machine: Machine<'m>, device: DeviceId) -> Self {
        let kind = FileKind::Stored(machine.world.files.create(device));
        Self::of(machine, machine.mm.create_file(kind, 0).expect("memory for a file"))
    }

    /// New shared memory.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn shared_memory(machine: Machine<'m>) -> Self {
        Self::of(machine, machine.mm.create_file(FileKind::Shared, 0).expect("memory for a file"))
    }

    fn of(machine: Machine<'m>, file: FileRef<'m, SimCpu>) -> Self {
        let seen = machine.mm.file_errors(&file);
        let (ahead, pattern) = (ReadAhead::new(), Pattern::Normal);
        Self { machine, file: Some(file), ahead, seen, pattern, absent: 0 }
    }

    /// The same file, opened once more.
    pub fn again(&self) -> Self {
        Self::of(self.machine, self.file().get())
    }

    /// The file.
    ///
    /// # Panics
    /// After it was closed.
    pub fn file(&self) -> &FileRef<'m, SimCpu> {
        self.file.as_ref().expect("an open file")
    }

    /// Its number at the store.
    ///
    /// # Panics
    /// If it is shared memory.
    pub fn number(&self) -> u64 {
        match self.file().kind() {
            FileKind::Stored(number) => number,
            FileKind::Shared => panic!("shared memory has no number"),
        }
    }

    /// Reads `len` bytes, or as many as there are.
    ///
    /// # Errors
    /// As the crate says.
    pub fn read(&mut self, position: u64, len: usize) -> Result<Vec<u8>, FileError> {
        let mut taken = Taken { world: self.machine.world, bytes: Vec::new() };
        let file = self.file.as_ref().expect("an open file");
        let (ahead, mm) = (&mut self.ahead, self.machine.mm);
        let done = mm.read_file(file, position, len, ahead, self.pattern, &mut taken)?;
        taken.bytes.truncate(done);
        Ok(taken.bytes)
    }

    /// Writes bytes; returns how many.
    ///
    /// # Errors
    /// As the crate says.
    pub fn write(&self, position: u64, bytes: &[u8]) -> Result<usize, FileError> {
        let (world, absent) = (self.machine.world, self.absent);
        let mut given = Given { world, bytes, absent, copies: 0 };
        self.machine.mm.write_file(self.file(), position, bytes.len(), &mut given)
    }

    /// Writes bytes behind the end; returns how many, and where that was.
    ///
    /// # Errors
    /// As the crate says.
    pub fn append(&self, bytes: &[u8]) -> Result<(usize, u64), FileError> {
        let (world, absent) = (self.machine.world, self.absent);
        let mut given = Given { world, bytes, absent, copies: 0 };
        self.machine.mm.append_file(self.file(), bytes.len(), &mut given)
    }

    /// Writes what is dirty, waits, and reports an error once.
    ///
    /// # Errors
    /// As the crate says.
    pub fn sync(&mut self) -> Result<(), FileError> {
        let file = self.file.as_ref().expect("an open file");
        self.machine.mm.sync_file(file, 0..u32::MAX, &mut self.seen)
    }

    /// Makes it shorter or longer.
    ///
    /// # Errors
    /// As the crate says.
    pub fn truncate(&self, size: u64) -> Result<(), FileError> {
        self.machine.mm.truncate_file(self.file(), size)
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            if std::thread::panicking() {
                std::mem::forget(file);
            } else {
                self.machine.mm.put_file(file);
            }
        }
    }
}
