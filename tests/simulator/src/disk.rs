//! The swap devices: blocks in memory that answer at once, later, or not at all.
//!
//! **Faults.** A synchronous device completes a request inside `submit`. An asynchronous
//! one takes a time drawn from the seed, transfers a limited number of pages a second, and
//! completes from the disk task, possibly out of order. Every n-th read or write may fail
//! ([`faults`](crate::faults)); a failed read leaves junk in the frame and a failed write leaves
//! junk in the block, so that using either is noticed.
//!
//! **When data moves.** At the completion, not at the submission: a frame that is reused,
//! or a page that is changed although it must not be, shows in what was written.
//!
//! **Checked.** A request stays on the device; no two requests are under way for one block
//! or one frame; a block is read only if something was written there since it was last
//! discarded; a block is not discarded under a request; a poisoned frame is not written;
//! `submit` is called where sleeping is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::block::{Bio, Completion, Direction, IoError};
use mm_reclaim::env::{BlockDevice, Clock, DeviceId, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, Pfn};

use crate::arena::{Arena, WORDS};
use crate::current;
use crate::faults::{JUNK, is_nth};
use crate::mmu::Fate;
use crate::rng::Rng;
use crate::world::World;

/// What the disk task waits for: requests.
const WORK: WaitKey = WaitKey(0xd15c_0000_0000_0001);
/// What a submitter waits for: room in a queue.
const ROOM: WaitKey = WaitKey(0xd15c_0000_0000_0002);

type Block = [u64; WORDS];

/// When a device completes a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Pace {
    /// Inside `submit`.
    Sync,
    /// From the disk task.
    Async {
        /// Nanoseconds that a request takes, drawn from the seed.
        latency: Range<u64>,
        /// Nanoseconds for which a transfer keeps the device busy.
        per_page: u64,
    },
}

/// What a device is like.
#[derive(Clone, PartialEq, Debug)]
pub struct DiskConfig {
    /// Blocks, each of a page.
    pub blocks: u32,
    /// When it completes a request.
    pub pace: Pace,
    /// Every n-th read fails; 0 for none.
    pub fail_read: u64,
    /// Every n-th write fails; 0 for none.
    pub fail_write: u64,
    /// Requests under way above which it calls itself congested.
    pub congested_above: usize,
    /// Requests under way above which `submit` sleeps.
    pub queue: usize,
    /// It is taken into use for swap at boot.
    pub is_swap: bool,
    /// Its swap priority.
    pub priority: i16,
    /// It transfers nothing without a request.
    pub requests_only: bool,
}

impl DiskConfig {
    fn is_immediate(&self) -> bool {
        self.pace == Pace::Sync && !self.requests_only
    }

    /// A device without faults that completes inside `submit`.
    pub const fn sync(blocks: u32) -> Self {
        Self {
            blocks,
            pace: Pace::Sync,
            fail_read: 0,
            fail_write: 0,
            congested_above: 64,
            queue: 128,
            is_swap: true,
            priority: 0,
            requests_only: false,
        }
    }

    /// A device without faults that completes after 20 to 200 microseconds.
    pub const fn later(blocks: u32) -> Self {
        let pace = Pace::Async { latency: 20_000..200_000, per_page: 5_000 };
        Self { pace, ..Self::sync(blocks) }
    }
}

/// What a device has done so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DiskStat {
    /// Blocks read, failures included.
    pub reads: u64,
    /// Blocks written, failures included.
    pub writes: u64,
    /// Reads and writes that failed.
    pub failures: u64,
    /// Reads that failed and were not read-ahead: the devices were not plugged.
    pub failed_demands: u64,
    /// Blocks of which a write has failed since the device was last written from outside.
    pub broken: u32,
    /// Blocks discarded.
    pub discards: u64,
    /// The most requests that were ever under way at once.
    pub deepest: usize,
}

/// All devices of a machine.
#[derive(Debug)]
pub struct Disks(Mutex<State>);

#[derive(Debug)]
struct State {
    disks: Vec<Disk>,
    rng: Rng,
    /// For each task that has plugged: how often, and what was held back since.
    plugs: BTreeMap<usize, (u32, Vec<Bio>)>,
}

#[derive(Debug)]
struct Disk {
    config: DiskConfig,
    blocks: BTreeMap<u32, Box<Block>>,
    /// Blocks of which a write has failed.
    broken: BTreeSet<u32>,
    under_way: Vec<Request>,
    /// When the transfers already queued are through.
    busy_until: u64,
    stat: DiskStat,
}

#[derive(Debug)]
struct Request {
    bio: Bio,
    due: u64,
    /// It was not held back by a plug: if it is a read, a task waits for it.
    demand: bool,
}

impl Disks {
    /// These devices, empty.
    pub fn new(configs: &[DiskConfig], seed: u64) -> Self {
        let disk = |config: &DiskConfig| Disk {
            config: config.clone(),
            blocks: BTreeMap::new(),
            broken: BTreeSet::new(),
            under_way: Vec::new(),
            busy_until: 0,
            stat: DiskStat::default(),
        };
        let disks = configs.iter().map(disk).collect();
        Self(Mutex::new(State { disks, rng: Rng::new(seed), plugs: BTreeMap::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a block from outside of the machine, as `mkswap` does.
    pub fn prepare(&self, device: DeviceId, block: u32, content: &Block) {
        let mut state = self.state();
        let disk = state.disk(device);
        disk.blocks.insert(block, Box::new(*content));
        disk.broken.clear();
        disk.stat.broken = 0;
    }

    /// Writes words of a block from outside of the crate, as a file system's journal does.
    pub(crate) fn patch(&self, device: DeviceId, block: u32, words: Range<usize>, from: &Block) {
        let mut state = self.state();
        let fresh = || Box::new([0; WORDS]);
        let content = state.disk(device).blocks.entry(block).or_insert_with(fresh);
        content[words.clone()].copy_from_slice(&from[words]);
    }

    /// What a device is like.
    pub fn config(&self, device: DeviceId) -> DiskConfig {
        self.state().disk(device).config.clone()
    }

    /// Changes what a device is like, from the next request on.
    pub fn configure(&self, device: DeviceId, change: impl FnOnce(&mut DiskConfig)) {
        change(&mut self.state().disk(device).config);
    }

    /// What a device has done so far.
    pub fn stat(&self, device: DeviceId) -> DiskStat {
        self.state().disk(device).stat
    }

    /// How many devices there are.
    pub fn count(&self) -> usize {
        self.state().disks.len()
    }

    /// Requests that are under way or held back.
    pub fn pending(&self) -> usize {
        let state = self.state();
        let held: usize = state.plugs.values().map(|(_, bios)| bios.len()).sum();
        held + state.disks.iter().map(|d| d.under_way.len()).sum::<usize>()
    }
}

impl State {
    fn disk(&mut self, device: DeviceId) -> &mut Disk {
        let missing = || panic!("there is no {device:?}");
        self.disks.get_mut(usize::from(device.0)).unwrap_or_else(missing)
    }

    /// The earliest moment at which a request is done.
    fn next_due(&self) -> Option<u64> {
        self.disks.iter().flat_map(|d| &d.under_way).map(|r| r.due).min()
    }

    /// Takes out the request that is due first, if it is due by now.
    fn take_due(&mut self, now: u64) -> Option<(DeviceId, Request)> {
        let due = self.next_due().filter(|&due| due <= now)?;
        self.disks.iter_mut().enumerate().find_map(|(id, disk)| {
            let at = disk.under_way.iter().position(|r| r.due == due)?;
            Some((DeviceId(id as u8), disk.under_way.remove(at)))
        })
    }
}

impl Disk {
    /// Panics if no correct caller makes this request.
    fn check(&self, bio: &Bio, arena: &Arena) {
        let block = bio.block();
        assert!(block < self.config.blocks, "{bio:?} is beyond the device");
        for other in self.under_way.iter().map(|r| &r.bio) {
            assert!(other.block() != block, "{bio:?} overlaps {other:?}");
            assert!(other.frame() != bio.frame(), "{bio:?} shares the frame of {other:?}");
        }
        match bio.direction() {
            Direction::Read => {
                assert!(self.blocks.contains_key(&block), "{bio:?} reads what nobody wrote");
            }
            Direction::Write => {
                assert!(!arena.is_poisoned(bio.frame()), "{bio:?} writes a freed frame");
            }
        }
    }

    /// Moves the data, or fails to.
    fn transfer(&mut self, request: &Request, arena: &Arena) -> Result<(), IoError> {
        let fails = match request.bio.direction() {
            Direction::Read => self.read(request, arena),
            Direction::Write => self.write(&request.bio, arena),
        };
        self.stat.failures += u64::from(fails);
        if fails { Err(IoError) } else { Ok(()) }
    }

    fn read(&mut self, Request { bio, demand, .. }: &Request, arena: &Arena) -> bool {
        self.stat.reads += 1;
        let fails = is_nth(self.stat.reads, self.config.fail_read);
        self.stat.failed_demands += u64::from(fails && *demand);
        let content = if fails { &[JUNK; WORDS] } else { &*self.blocks[&bio.block()] };
        arena.load_frame(bio.frame(), content);
        fails
    }

    /// Reads a block that may have been discarded since: then anything will do.
    fn read_now(&mut self, block: u32, frame: Pfn, arena: &Arena) -> Result<(), IoError> {
        self.stat.reads += 1;
        let fails = is_nth(self.stat.reads, self.config.fail_read);
        self.stat.failed_demands += u64::from(fails);
        self.stat.failures += u64::from(fails);
        let content = self.blocks.get(&block).filter(|_| !fails);
        arena.load_frame(frame, content.map_or(&[JUNK; WORDS], |content| content));
        if fails { Err(IoError) } else { Ok(()) }
    }

    fn write(&mut self, bio: &Bio, arena: &Arena) -> bool {
        assert!(!arena.is_poisoned(bio.frame()), "{bio:?}: freed before it was written");
        self.put(bio.block(), bio.frame(), arena)
    }

    fn write_now(&mut self, block: u32, frame: Pfn, arena: &Arena) -> Result<(), IoError> {
        assert!(block < self.config.blocks, "block {block} is beyond the device");
        let other =
            self.under_way.iter().find(|r| r.bio.block() == block || r.bio.frame() == frame);
        assert!(other.is_none(), "the write of block {block} overlaps {other:?}");
        assert!(!arena.is_poisoned(frame), "{frame:?} is freed, and is to be written");
        let fails = self.put(block, frame, arena);
        self.stat.failures += u64::from(fails);
        if fails { Err(IoError) } else { Ok(()) }
    }

    /// Stores a frame in a block; whether that fails.
    fn put(&mut self, block: u32, frame: Pfn, arena: &Arena) -> bool {
        self.stat.writes += 1;
        let fails = is_nth(self.stat.writes, self.config.fail_write);
        let junk = || Box::new([JUNK; WORDS]);
        let content = if fails { junk() } else { arena.save_frame(frame) };
        self.blocks.insert(block, content);
        self.stat.broken += u32::from(fails && self.broken.insert(block));
        fails
    }

    fn enqueue(&mut self, mut request: Request, now: u64, latency: u64, per_page: u64) {
        self.busy_until = self.busy_until.max(now) + per_page;
        request.due = self.busy_until + latency;
        self.under_way.push(request);
        self.stat.deepest = self.stat.deepest.max(self.under_way.len());
    }
}

impl World {
    /// The body of the disk task: hands each completion to `complete` when it is due.
    pub fn serve_disks(&self, complete: &dyn Fn(Completion)) -> ! {
        loop {
            self.complete_due(complete);
            let now = self.sched.now().0;
            let next = self.disks.state().next_due();
            let timeout = next.map(|due| Nanos(due.saturating_sub(now)));
            let mode = WaitMode { timeout, killable: false };
            let mut earlier = || self.disks.state().next_due() != next;
            let (WaitEnd::Ready | WaitEnd::TimedOut | WaitEnd::Killed) =
                self.sched.wait_until(WORK, mode, &mut earlier);
        }
    }

    fn complete_due(&self, complete: &dyn Fn(Completion)) {
        loop {
            let now = self.sched.now().0;
            let taken = self.disks.state().take_due(now);
            let Some((device, request)) = taken else {
                return;
            };
            let result = self.disks.state().disk(device).transfer(&request, &self.arena);
            complete(request.bio.complete(result));
            self.sched.wake(ROOM);
        }
    }

    /// Submits what the calling task has held back.
    pub(crate) fn send_held(&self) {
        let held = match self.disks.state().plugs.get_mut(&current::task()) {
            Some((_, held)) => std::mem::take(held),
            None => return,
        };
        for bio in held {
            self.start(Request { bio, due: 0, demand: false });
        }
    }

    /// Puts a request into its queue, sleeping while that is full.
    fn start(&self, request: Request) {
        let device = request.bio.device();
        let full = || {
            let mut state = self.disks.state();
            let disk = state.disk(device);
            disk.under_way.len() >= disk.config.queue
        };
        let end = self.sched.wait_until(ROOM, WaitMode::UNTIL_READY, &mut || !full());
        assert_eq!(end, WaitEnd::Ready);
        let now = self.sched.now().0;
        let mut state = self.disks.state();
        let state = &mut *state;
        let (latency, per_page) = match &state.disk(device).config.pace {
            Pace::Sync => (0..0, 0),
            Pace::Async { latency, per_page } => (latency.clone(), *per_page),
        };
        let latency = state.rng.within(&latency);
        let disk = state.disk(device);
        disk.check(&request.bio, &self.arena);
        disk.enqueue(request, now, latency, per_page);
        self.sched.wake(WORK);
    }
}

impl BlockDevice for World {
    fn submit(&self, bio: Bio) -> Option<Completion> {
        current::assert_preemptible("a submission");
        let is_read = bio.direction() == Direction::Read;
        let fate = if is_read { Fate::Reused } else { Fate::Written };
        self.mmu.assert_unreachable(bio.frame(), fate);
        let mut state = self.disks.state();
        let disk = state.disk(bio.device());
        disk.check(&bio, &self.arena);
        if disk.config.pace == Pace::Sync {
            let request = Request { bio, due: 0, demand: true };
            let result = disk.transfer(&request, &self.arena);
            return Some(request.bio.complete(result));
        }
        match state.plugs.get_mut(&current::task()) {
            Some((_, held)) => held.push(bio),
            None => {
                drop(state);
                self.start(Request { bio, due: 0, demand: true });
            }
        }
        None
    }

    fn plug(&self) {
        self.disks.state().plugs.entry(current::task()).or_default().0 += 1;
    }

    fn unplug(&self) {
        let task = current::task();
        {
            let mut state = self.disks.state();
            let (depth, _) = state.plugs.get_mut(&task).expect("unplug without plug");
            *depth -= 1;
            if *depth > 0 {
                return;
            }
        }
        self.send_held();
        self.disks.state().plugs.remove(&task);
    }

    fn read_now(&self, device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        current::assert_no_lock_held("a read");
        self.mmu.assert_unreachable(frame, Fate::Reused);
        let mut state = self.disks.state();
        let disk = state.disk(device);
        disk.config.is_immediate().then(|| disk.read_now(block, frame, &self.arena))
    }

    fn write_now(&self, device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        current::assert_no_lock_held("a write");
        self.mmu.assert_unreachable(frame, Fate::Written);
        let mut state = self.disks.state();
        let disk = state.disk(device);
        disk.config.is_immediate().then(|| disk.write_now(block, frame, &self.arena))
    }

    fn is_synchronous(&self, device: DeviceId) -> bool {
        self.disks.state().disk(device).config.pace == Pace::Sync
    }

    fn is_congested(&self, device: DeviceId) -> bool {
        let mut state = self.disks.state();
        let disk = state.disk(device);
        disk.under_way.len() > disk.config.congested_above
    }

    fn discard(&self, device: DeviceId, first: u32, blocks: u32) {
        let mut state = self.disks.state();
        let disk = state.disk(device);
        let gone = first..first + blocks;
        assert!(gone.end <= disk.config.blocks, "discarding {gone:?} beyond {device:?}");
        let used = disk.under_way.iter().find(|r| gone.contains(&r.bio.block()));
        assert!(used.is_none(), "discarding {gone:?} under {used:?}");
        gone.for_each(|block| drop(disk.blocks.remove(&block)));
        disk.stat.discards += u64::from(blocks);
    }
}
