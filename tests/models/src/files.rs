//! Files: a store that keeps their pages on the machine's disk, and what programs do with them.
//!
//! A page is one word, as every page is here. Refused, by a panic: a write of a page that was not
//! reserved, a discard under a transfer, and anything at all of a file that the store was told is gone.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::block::{Direction, IoError};
use mm_reclaim::env::{
    BlockDevice, DeviceId, FileStore, FrameMemory, Prot, Run, StoreError, Tasks, WaitKey, WaitMode,
};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::file::{FileKind, FileRef};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{PAGE_SIZE, Pfn};
use mm_reclaim::{FileError, PageSink, PageSource, Pattern, Place, ReadAhead};

use crate::disk::FILE_BLOCKS;
use crate::machine::{FIRST, Machine, Program};
use crate::task::{self, ModelCpu};
use crate::world::World;

/// What waits for the store to be told that files are gone.
const EVICTED: WaitKey = WaitKey(0xf11e);
/// The most pages of a file, as a power of two.
const FILE_SHIFT: u32 = 12;

/// The files of a machine.
#[derive(Default)]
pub(crate) struct Files(Mutex<State>);

#[derive(Default)]
struct State {
    /// For each file, whether it is gone.
    gone: Vec<bool>,
    /// The blocks of the pages that were reserved.
    reserved: BTreeSet<u32>,
}

impl Files {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> u64 {
        let mut state = self.state();
        state.gone.push(false);
        state.gone.len() as u64 - 1
    }
}

impl State {
    fn assert_there(&self, file: u64) {
        assert!(
            !self.gone[file as usize],
            "file {file} is used, and the store was told it is gone"
        );
    }
}

/// Where a page of a file lies.
fn block_of(file: u64, index: u32) -> u32 {
    FILE_BLOCKS + ((file as u32) << FILE_SHIFT) + index
}

impl World {
    /// Waits until no file is left.
    pub(crate) fn wait_for_evictions(&self) {
        let _end = self.wait_until(EVICTED, WaitMode::UNTIL_READY, &mut || {
            self.files.state().gone.iter().all(|gone| *gone)
        });
    }

    fn forget_pages(&self, file: u64, from: u32, pages: u32) {
        let first = block_of(file, from);
        let blocks = first..(first + pages.min(1 << FILE_SHIFT)).min(block_of(file + 1, 0));
        let mut state = self.files.state();
        let given: Vec<u32> = state.reserved.range(blocks).copied().collect();
        for block in given {
            state.reserved.remove(&block);
            self.disk.forget(block);
        }
    }
}

impl FileStore for World {
    fn start(&self, run: &mut Run<'_>) {
        task::assert_may_sleep("a transfer");
        let (file, direction) = (run.file(), run.direction());
        while let Some(page) = run.next() {
            let block = block_of(file, page.index());
            {
                let state = self.files.state();
                state.assert_there(file);
                let has_room = state.reserved.contains(&block);
                assert!(has_room || direction == Direction::Read, "{page:?} has no room");
            }
            let ended = if direction == Direction::Read && self.block(block).is_none() {
                self.zero(page.frame());
                Some(page.complete(Ok::<(), IoError>(())))
            } else {
                self.submit(page.on(DeviceId(1), block))
            };
            if let Some(end) = ended {
                run.end(end);
            }
        }
    }

    fn reserve(&self, file: u64, index: u32, _: core::ops::Range<usize>) -> Result<(), StoreError> {
        task::assert_may_sleep("a reservation");
        let mut state = self.files.state();
        state.assert_there(file);
        state.reserved.insert(block_of(file, index));
        Ok(())
    }

    fn discard(&self, file: u64, from: u32, pages: u32) {
        task::assert_may_sleep("a discard");
        self.files.state().assert_there(file);
        self.forget_pages(file, from, pages);
    }

    fn evict(&self, file: u64) {
        task::assert_may_sleep("an eviction");
        self.files.state().assert_there(file);
        self.forget_pages(file, 0, u32::MAX);
        self.files.state().gone[file as usize] = true;
        self.wake(EVICTED);
    }
}

/// One word for a page that is written as a whole.
struct Word<'w>(&'w World, u64);

impl PageSource for Word<'_> {
    fn fault_in(&mut self, _from: usize, len: usize) -> usize {
        len
    }

    fn copy(&mut self, _from: usize, frame: Pfn, _offset: usize, len: usize) -> usize {
        self.0.fill(frame, self.1);
        len
    }
}

/// The word of a page that is read.
struct Taken<'w>(&'w World, Option<u64>);

impl PageSink for Taken<'_> {
    fn copy(&mut self, _to: usize, frame: Pfn, _offset: usize, len: usize) -> usize {
        self.1 = Some(self.0.word(frame));
        len
    }
}

/// A file that a task has open. It is closed by [`OpenFile::close`].
pub struct OpenFile<'m> {
    machine: Machine<'m>,
    file: FileRef<'m, ModelCpu>,
}

impl<'m> Machine<'m> {
    /// A file of this many pages, none of which has a block.
    pub fn file(self, pages: u32) -> OpenFile<'m> {
        self.open(FileKind::Stored(self.world.files.add()), pages)
    }

    /// Shared memory of this many pages.
    pub fn shared_memory(self, pages: u32) -> OpenFile<'m> {
        self.open(FileKind::Shared, pages)
    }

    fn open(self, kind: FileKind, pages: u32) -> OpenFile<'m> {
        loop {
            match self.mm.create_file(kind, bytes(pages)) {
                Ok(file) => return OpenFile { machine: self, file },
                Err(why) => self.out_of_memory(why),
            }
        }
    }

    /// Calls the flusher, which looks for files that are gone, and for dirty ones if there are too many:
    /// a file comes and goes.
    pub fn call_flusher(self) {
        self.shared_memory(0).close();
    }

    /// Starts to write whatever is dirty, and waits for it.
    pub fn sync(self) {
        assert_eq!(self.mm.sync_files(), Ok(()));
    }
}

fn bytes(pages: u32) -> u64 {
    u64::from(pages) * PAGE_SIZE as u64
}

impl<'m> OpenFile<'m> {
    /// The same file, opened once more.
    pub fn again(&self) -> Self {
        Self { machine: self.machine, file: self.file.get() }
    }

    /// Closes it.
    pub fn close(self) {
        self.machine.mm.put_file(self.file);
    }

    /// Makes it shorter or longer.
    pub fn set_pages(&self, pages: u32) {
        let done = self.machine.mm.truncate_file(&self.file, bytes(pages));
        assert_eq!(done, Ok(()));
    }

    /// Starts to read pages, without waiting for them.
    pub fn read_ahead(&self, first: u32, pages: u32) {
        // Without memory for it nothing is read.
        self.machine.mm.read_file_ahead(&self.file, first..first + pages);
    }

    /// Writes a page.
    pub fn write(&self, page: u32, value: u64) {
        let (mm, world) = (self.machine.mm, self.machine.world);
        loop {
            let mut word = Word(world, value);
            match mm.write_file(&self.file, bytes(page), PAGE_SIZE, &mut word) {
                Ok(PAGE_SIZE) => return,
                // The other tasks have all the memory at the moment.
                _ => shuttle::thread::yield_now(),
            }
        }
    }

    /// Reads a page; `None` behind the end of the file.
    pub fn read(&self, page: u32) -> Option<u64> {
        let (mm, world) = (self.machine.mm, self.machine.world);
        let (mut ahead, mut taken) = (ReadAhead::new(), Taken(world, None));
        loop {
            let pattern = Pattern::Random;
            let read =
                mm.read_file(&self.file, bytes(page), PAGE_SIZE, &mut ahead, pattern, &mut taken);
            match read {
                Ok(_) => return taken.1,
                // The other tasks have all the memory at the moment.
                Err(FileError::NoMemory | FileError::Killed) => shuttle::thread::yield_now(),
                Err(error) => panic!("page {page}: {error}"),
            }
        }
    }

    /// Writes what is dirty, and waits.
    pub fn sync(&self) {
        let mut seen = self.machine.mm.file_errors(&self.file);
        assert_eq!(self.machine.mm.sync_file(&self.file, 0..u32::MAX, &mut seen), Ok(()));
    }

    /// Drops the clean pages that nobody uses.
    pub fn drop_pages(&self) {
        self.machine.mm.drop_file_pages(&self.file, 0..u32::MAX);
    }

    /// Whether a page is in the cache, valid or not.
    pub fn has_page(&self, page: u32) -> bool {
        self.machine.mm.file_frame(&self.file, page).is_some()
    }

    /// Whether a page has a place on the disk.
    ///
    /// # Panics
    /// If the file has no store.
    pub fn has_place(&self, page: u32) -> bool {
        let FileKind::Stored(number) = self.file.kind() else { panic!("a file without a store") };
        self.machine.world.files.state().reserved.contains(&block_of(number, page))
    }

    /// Pages in the cache.
    pub fn cached_pages(&self) -> u32 {
        self.file.cached_pages()
    }

    /// What the disk has of a page.
    ///
    /// # Panics
    /// If it is shared memory, which is not on the disk.
    pub fn on_disk(&self, page: u32) -> Option<u64> {
        match self.file.kind() {
            FileKind::Stored(number) => self.machine.world.block(block_of(number, page)),
            FileKind::Shared => panic!("shared memory has no blocks"),
        }
    }

    /// A program that maps the first pages of the file, for all to see or as copies of its own.
    pub fn map(&self, pages: u32, is_shared: bool) -> Program<'m> {
        let program = self.machine.bare_program();
        self.map_into(program, pages, is_shared);
        program
    }

    /// Maps the first pages of the file into a program that maps nothing.
    pub fn map_into(&self, program: Program<'m>, pages: u32, is_shared: bool) {
        let flags = if is_shared { AreaFlags::SHARED } else { AreaFlags::empty() };
        let (place, rights) = (Place::Fixed(FIRST), Prot::READ | Prot::WRITE);
        let (mm, part) = (self.machine.mm, 0..pages);
        let at = mm.mmap_file(program.space, place, rights, flags, &self.file, part);
        assert_eq!(at, Ok(FIRST));
    }
}

impl Program<'_> {
    /// Loads from a page of a file; `None` if that ends before it, or the page could not be read.
    pub fn load(self, page: u32) -> Option<u64> {
        self.access(page, None)
    }

    /// Stores to a page of a file; `None` if that ends before it.
    pub fn try_store(self, page: u32, value: u64) -> Option<u64> {
        self.access(page, Some(value))
    }

    /// As [`Program::load`] and [`Program::try_store`]; no access is tried again after a bus error.
    fn access(self, page: u32, store: Option<u64>) -> Option<u64> {
        let (vpn, mm) = (FIRST + page, self.machine.mm);
        let access = if store.is_some() { Access::Write } else { Access::Read };
        loop {
            if let Some(was) = mm.with_tables(self.space, |tables| tables.touch(vpn, store)) {
                return Some(was);
            }
            match mm.handle_fault(self.space, vpn.addr(), access) {
                FaultEnd::Minor | FaultEnd::Major => {}
                FaultEnd::BusError => return None,
                // The other tasks have all the memory at the moment.
                FaultEnd::Killed => shuttle::thread::yield_now(),
                end @ FaultEnd::BadAddress => panic!("{vpn:?}: {end:?}"),
            }
        }
    }
}
