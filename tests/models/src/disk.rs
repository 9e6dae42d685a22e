//! The device of swap and of files: blocks of one word, transferred at once or by a task of its own.
//!
//! Data move at the end of a transfer; but a page of a file may be stored to while it is written, and
//! its block gets what the page held when the write began. Refused, by a panic: a read of a block never written, a
//! write of a freed frame, two transfers of one block or frame, a discard under a transfer. Reads
//! fail on request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::block::{Bio, Completion, Direction, IoError};
use mm_reclaim::env::{BlockDevice, DeviceId, Tasks, WaitKey, WaitMode};
use mm_reclaim::units::Pfn;

use crate::task;
use crate::world::World;

/// What the disk's task waits for.
pub(crate) const WORK: WaitKey = WaitKey(0xd15c);
/// What waits for the end of all transfers.
const IDLE: WaitKey = WaitKey(0xd15d);

/// The first of the blocks that are kept for files.
pub(crate) const FILE_BLOCKS: u32 = 1 << 16;

/// When a device completes a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Within `submit`.
    AtOnce,
    /// From its own task.
    Later,
}

/// The one device of a machine.
pub struct Disk {
    pub(crate) pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: HashMap<u32, u64>,
    waiting: Vec<Bio>,
    /// What the writes to files that have not ended have taken.
    taken: HashMap<u32, u64>,
    /// Block and frame of each transfer that has not ended.
    under_way: Vec<(u32, Pfn)>,
    /// The number of reads that will still fail.
    bad_reads: u32,
    /// Tasks that read a block at once.
    readers: u32,
}

impl Disk {
    /// An empty device.
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, state: Mutex::default() }
    }

    /// The contents of a block are no longer needed.
    pub(crate) fn forget(&self, block: u32) {
        let mut state = self.state();
        let used = state.under_way.iter().find(|(b, _)| *b == block);
        assert!(used.is_none(), "block {block} is discarded under {used:?}");
        state.blocks.remove(&block);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, bio: &Bio, world: &World) {
        let (block, frame) = (bio.block(), bio.frame());
        let clash = self.under_way.iter().find(|(b, f)| *b == block || *f == frame);
        assert!(clash.is_none(), "{bio:?} overlaps {clash:?}");
        match bio.direction() {
            Direction::Read => {
                assert!(self.blocks.contains_key(&block), "{bio:?} reads what nobody wrote");
            }
            Direction::Write => {
                let word = world.word(frame);
                if block >= FILE_BLOCKS {
                    self.taken.insert(block, word);
                }
            }
        }
        self.under_way.push((block, frame));
    }

    fn end(&mut self, bio: &Bio, world: &World) -> Result<(), IoError> {
        self.under_way.retain(|(block, _)| *block != bio.block());
        match bio.direction() {
            Direction::Read if self.bad_reads > 0 => {
                self.bad_reads -= 1;
                return Err(IoError);
            }
            Direction::Read => world.fill(bio.frame(), self.blocks[&bio.block()]),
            Direction::Write => {
                let now = world.word(bio.frame());
                let word = self.taken.remove(&bio.block()).unwrap_or(now);
                self.blocks.insert(bio.block(), word);
            }
        }
        Ok(())
    }
}

impl World {
    /// The body of the disk's task: ends transfers, in any order.
    pub(crate) fn serve_disk(&self, complete: &dyn Fn(Completion)) -> ! {
        loop {
            let mut bio = None;
            let _end = self.wait_until(WORK, WaitMode::UNTIL_READY, &mut || {
                let waiting = &mut self.disk.state().waiting;
                let many = if self.disk_answers() { waiting.len() } else { 0 };
                bio = (many > 0).then(|| waiting.swap_remove(self.turn(many)));
                bio.is_some()
            });
            if let Some(bio) = bio {
                // The transfer takes a while.
                shuttle::thread::yield_now();
                let end = self.disk.state().end(&bio, self);
                complete(bio.complete(end));
                self.wake(IDLE);
            }
        }
    }

    /// A number below `many`.
    fn turn(&self, many: usize) -> usize {
        use shuttle::rand::Rng;
        shuttle::rand::thread_rng().gen_range(0..many)
    }

    /// The next `reads` reads will fail.
    pub(crate) fn fail_reads(&self, reads: u32) {
        self.disk.state().bad_reads = reads;
    }

    /// What a block holds, if it was written.
    pub(crate) fn block(&self, block: u32) -> Option<u64> {
        self.disk.state().blocks.get(&block).copied()
    }

    /// Whether a task reads a block at once.
    pub(crate) fn is_being_read(&self) -> bool {
        self.disk.state().readers > 0
    }

    /// Waits until a transfer is under way.
    pub(crate) fn wait_for_request(&self) {
        let _end = self
            .wait_until(WORK, WaitMode::UNTIL_READY, &mut || !self.disk.state().waiting.is_empty());
    }

    /// Waits until no transfer is under way.
    pub(crate) fn wait_for_disk(&self) {
        let _end = self.wait_until(IDLE, WaitMode::UNTIL_READY, &mut || {
            self.disk.state().under_way.is_empty()
        });
    }
}

impl BlockDevice for World {
    fn submit(&self, bio: Bio) -> Option<Completion> {
        task::assert_may_sleep("a submission");
        let mut state = self.disk.state();
        state.begin(&bio, self);
        if self.disk.pace == Pace::AtOnce {
            let end = state.end(&bio, self);
            return Some(bio.complete(end));
        }
        state.waiting.push(bio);
        drop(state);
        self.wake(WORK);
        None
    }

    fn plug(&self) {}

    fn unplug(&self) {}

    fn read_now(&self, _device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        if self.disk.pace != Pace::AtOnce {
            return None;
        }
        task::assert_no_lock("a read");
        self.disk.state().readers += 1;
        // The transfer takes a while, and others may use the block in the meantime.
        shuttle::thread::yield_now();
        let mut state = self.disk.state();
        state.readers -= 1;
        if state.bad_reads > 0 {
            state.bad_reads -= 1;
            return Some(Err(IoError));
        }
        let content = state.blocks.get(&block).copied().unwrap_or(!0);
        self.fill(frame, content);
        Some(Ok(()))
    }

    fn write_now(&self, _device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        if self.disk.pace != Pace::AtOnce {
            return None;
        }
        task::assert_no_lock("a write");
        let content = self.word(frame);
        // The transfer takes a while: nobody may change the frame.
        shuttle::thread::yield_now();
        let mut state = self.disk.state();
        let clash = state.under_way.iter().find(|(b, f)| *b == block || *f == frame);
        assert!(clash.is_none(), "the write of block {block} overlaps {clash:?}");
        assert_eq!(self.word(frame), content, "{frame:?} changes while it is written");
        state.blocks.insert(block, content);
        Some(Ok(()))
    }

    fn is_synchronous(&self, _device: DeviceId) -> bool {
        task::pause_at_device();
        self.disk.pace == Pace::AtOnce
    }

    fn is_congested(&self, _device: DeviceId) -> bool {
        false
    }

    fn discard(&self, _device: DeviceId, first: u32, blocks: u32) {
        (first..first + blocks).for_each(|block| self.disk.forget(block));
    }
}
