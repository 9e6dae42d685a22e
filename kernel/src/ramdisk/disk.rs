//! The device: its memory, submission, and the task that serves its queue.
//!
//! The head of [`super`] describes the locks and their order.

use core::fmt;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};

use mm_reclaim::block::{Bio, Completion, Direction, IoError};
use mm_reclaim::env::{DeviceId, FrameMemory, TaskFlags, WaitKey, WaitMode};
use mm_reclaim::swap::header;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn, PhysAddr};
use spin::once::Once;

use super::Counters;
use super::extents::Extents;
use super::knobs::Knobs;
use super::ring::Ring;
use crate::arch::frames::{self, LinearFrames};
use crate::arch::lock::{IrqLock, Yield};
use crate::bootargs::RamdiskArgs;
use crate::task::fair::Class;
use crate::task::{self, SpawnError};

/// The capacity of the queue.
const QUEUE: usize = 128;

/// The unit in which [`transfer_part`] counts, and those of a block.
const SECTOR: u64 = 512;
const SECTORS: u64 = PAGE_SIZE as u64 / SECTOR;

/// The number of the one RAM disk.
const RAM_DISK: DeviceId = DeviceId(0);

/// Keys for waiting for requests and for room, with a bit pattern of this module.
const SERVER_KEY: WaitKey = WaitKey(0x7264_0000_0000_0001);
const ROOM_KEY: WaitKey = WaitKey(0x7264_0000_0000_0002);

static DISK: Once<RamDisk, Yield> = Once::new();

/// A swap device in memory.
pub struct RamDisk {
    place: Extents,
    /// Blocks of swap; those behind are for files.
    swap_blocks: u32,
    queue: IrqLock<Ring<Bio, QUEUE>>,
    /// Set when the server should check the queue.
    kicked: AtomicBool,
    /// Its delays and faults.
    pub knobs: Knobs,
    /// Its statistics.
    pub counters: Counters,
}

/// Why there is no RAM disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The memory has less than two pages.
    BadSize(u32),
    /// There is no task to serve the queue.
    NoServer(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize(blocks) => write!(f, "its memory has {blocks} pages, and two are needed"),
            Self::NoServer(error) => write!(f, "no task to serve it: {error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// Makes the RAM of `place` the RAM disk, whose first `swap_blocks` blocks are formatted with an
/// ordinary swap header, and starts the task that serves its queue, whose body must call [`serve`].
/// Returns its number.
///
/// # Errors
/// [`StartError`].
///
/// # Safety
/// The pieces are RAM in the linear map that is never used for anything else.
pub unsafe fn start(
    place: Extents,
    swap_blocks: u32,
    args: &RamdiskArgs,
    server: fn() -> !,
) -> Result<DeviceId, StartError> {
    let blocks = place.blocks();
    if blocks < 2 || swap_blocks == 1 || swap_blocks > blocks {
        return Err(StartError::BadSize(blocks));
    }
    let disk = DISK.call_once(|| RamDisk {
        place,
        swap_blocks,
        queue: IrqLock::new(Ring::new()),
        kicked: AtomicBool::new(false),
        knobs: Knobs::new(),
        counters: Counters::new(),
    });
    disk.knobs.set_queue(args.queued);
    disk.knobs.set_delay_us(args.delay_us);
    disk.knobs.set_bandwidth(args.bandwidth_kbps.unwrap_or(0));
    disk.knobs.set_fault(Direction::Read, args.fail_read.unwrap_or(0));
    disk.knobs.set_fault(Direction::Write, args.fail_write.unwrap_or(0));
    if swap_blocks > 0 {
        disk.format();
    }
    task::spawn_server(Class::First, "ramdisk", TaskFlags::MEMALLOC, server)
        .map_err(StartError::NoServer)?;
    Ok(RAM_DISK)
}

/// The device with this number.
#[inline]
pub fn disk(device: DeviceId) -> Option<&'static RamDisk> {
    if device == RAM_DISK { DISK.get() } else { None }
}

/// Starts a transfer: see [`mm_reclaim::env::BlockDevice::submit`].
#[inline(always)] // A request of swap is not copied on its way.
pub fn submit(bio: Bio) -> Option<Completion> {
    match disk(bio.device()) {
        Some(disk) if disk.knobs.direct() => Some(disk.transfer(bio)),
        Some(disk) => {
            disk.enqueue(bio);
            None
        }
        None => Some(bio.complete(Err(IoError))),
    }
}

/// Reads a block before it returns: see [`mm_reclaim::env::BlockDevice::read_now`].
#[inline]
pub fn read_now(device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
    let disk = disk(device).filter(|disk| disk.knobs.direct())?;
    Some(disk.read(block, frame))
}

/// Writes a block before it returns: see [`mm_reclaim::env::BlockDevice::write_now`].
#[inline]
pub fn write_now(device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
    let disk = disk(device).filter(|disk| disk.knobs.direct())?;
    Some(disk.write(block, frame))
}

/// The running task is about to submit several requests.
#[inline]
pub fn plug() {
    let plugs = &task::current().plugs;
    plugs.store(plugs.load(Relaxed) + 1, Relaxed);
}

/// Submits what was held back since the [`plug`] that this undoes.
#[inline]
pub fn unplug() {
    let plugs = &task::current().plugs;
    let left = plugs.load(Relaxed).saturating_sub(1);
    plugs.store(left, Relaxed);
    if left == 0 {
        send_off();
    }
}

/// Submits what was held back, when a task with plugs is about to sleep; the plugs stay.
pub fn send_off() {
    if let Some(disk) = DISK.get()
        && !disk.knobs.direct()
    {
        disk.kick();
    }
}

/// Whether requests complete inline.
pub fn is_synchronous(device: DeviceId) -> bool {
    disk(device).is_some_and(|d| d.knobs.direct())
}

/// Whether the queue is more than seven eighths full.
pub fn is_congested(device: DeviceId) -> bool {
    disk(device).is_some_and(|d| !d.knobs.direct() && d.queue.lock().is_congested())
}

/// Fills a block with zeroes, with which no transfer is under way.
pub fn zero(device: DeviceId, block: u32) {
    let place = disk(device).and_then(|disk| disk.place.address(block));
    if let Some(frame) = place.and_then(Pfn::of) {
        LinearFrames::new().zero(frame);
    }
}

/// The contents of the blocks are no longer needed. For memory there is nothing to do.
pub fn discard(device: DeviceId, _first: u32, blocks: u32) {
    if let Some(disk) = disk(device) {
        Counters::bump(&disk.counters.discards, u64::from(blocks));
    }
}

/// Transfers sectors of 512 bytes, whole parts of one block, at once: whatever the knobs say.
///
/// # Errors
/// If they are not all in one block of the disk, or not in the frame.
pub fn transfer_part(
    direction: Direction,
    sector: u64,
    frame: Pfn,
    offset: u16,
    bytes: u16,
) -> Result<(), IoError> {
    let (offset, bytes) = (usize::from(offset), usize::from(bytes));
    let at = sector % SECTORS * SECTOR;
    let block = u32::try_from(sector / SECTORS).map_err(|_| IoError)?;
    let place = disk(RAM_DISK).and_then(|disk| disk.place.address(block)).ok_or(IoError)?;
    if at as usize + bytes > PAGE_SIZE || offset + bytes > PAGE_SIZE {
        return Err(IoError);
    }
    let (on_disk, in_frame) =
        (frames::linear(place.0 + at), frames::frame_address(frame).wrapping_add(offset));
    let (from, to) = match direction {
        Direction::Read => (on_disk, in_frame),
        Direction::Write => (in_frame, on_disk),
    };
    // SAFETY: both lie within a page; the block is one of the device's, and the frame is lent until the
    // return.
    unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
    Ok(())
}

/// Serves the queue, in a task of its own, and passes completions on.
pub fn serve(complete: impl Fn(Completion)) -> ! {
    let disk = DISK.get().expect("the device is made before its task");
    loop {
        let _ = task::wait_until(SERVER_KEY, WaitMode::UNTIL_READY, &mut || {
            disk.kicked.swap(false, Acquire)
        });
        while let Some(bio) = disk.take() {
            complete(disk.serve_one(bio));
        }
    }
}

impl RamDisk {
    /// Pages of swap, the header's included.
    pub fn blocks(&self) -> u32 {
        self.swap_blocks
    }

    /// All its pages, those of swap and those of files.
    pub fn all_blocks(&self) -> u32 {
        self.place.blocks()
    }

    fn format(&self) {
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, self.blocks());
        // SAFETY: block 0 is the device's own, and both are whole pages.
        unsafe { core::ptr::copy_nonoverlapping(page.as_ptr(), self.first_block(), PAGE_SIZE) };
    }

    /// Block 0, for `Mm::swapon`.
    pub fn header(&self) -> [u8; PAGE_SIZE] {
        let mut page = [0; PAGE_SIZE];
        // SAFETY: block 0 is the device's own, and both are whole pages.
        unsafe { core::ptr::copy_nonoverlapping(self.first_block(), page.as_mut_ptr(), PAGE_SIZE) };
        page
    }

    fn first_block(&self) -> *mut u8 {
        frames::linear(self.place.address(0).expect("a disk has blocks").0)
    }

    /// Copies the page and completes the request.
    #[inline]
    fn transfer(&self, bio: Bio) -> Completion {
        let result = match bio.direction() {
            Direction::Read => self.read(bio.block(), bio.frame()),
            Direction::Write => self.write(bio.block(), bio.frame()),
        };
        bio.complete(result)
    }

    #[inline]
    fn read(&self, block: u32, frame: Pfn) -> Result<(), IoError> {
        let PhysAddr(place) = self.place.address(block).ok_or(IoError)?;
        Counters::bump(&self.counters.reads, 1);
        // SAFETY: the block is one of the device's, and the frame is lent until the return or the
        // completion.
        unsafe { frames::copy_page(frames::frame_address(frame), frames::linear(place)) };
        Ok(())
    }

    #[inline]
    fn write(&self, block: u32, frame: Pfn) -> Result<(), IoError> {
        let PhysAddr(place) = self.place.address(block).ok_or(IoError)?;
        Counters::bump(&self.counters.writes, 1);
        // SAFETY: as for a read.
        unsafe { frames::copy_page(frames::linear(place), frames::frame_address(frame)) };
        Ok(())
    }

    fn enqueue(&self, bio: Bio) {
        Counters::bump(&self.counters.queued, 1);
        let mut rejected = self.queue.lock().push(bio).err();
        while let Some(bio) = rejected {
            Counters::bump(&self.counters.waits, 1);
            self.kick();
            let mode = WaitMode::UNTIL_READY;
            let _ = task::wait_until(ROOM_KEY, mode, &mut || !self.queue.lock().is_full());
            rejected = self.queue.lock().push(bio).err();
        }
        if task::current().plugs.load(Relaxed) == 0 {
            self.kick();
        }
    }

    fn kick(&self) {
        // Release pairs with the server's Acquire: it sees what was queued.
        self.kicked.store(true, Release);
        task::wake(SERVER_KEY);
    }

    fn take(&self) -> Option<Bio> {
        let mut queue = self.queue.lock();
        let was_full = queue.is_full();
        let bio = queue.pop();
        drop(queue);
        if was_full {
            task::wake(ROOM_KEY);
        }
        bio
    }

    fn serve_one(&self, bio: Bio) -> Completion {
        let time = self.knobs.time_of_page();
        if time != Nanos(0) {
            task::sleep(time);
        }
        if self.knobs.fails(bio.direction()) {
            Counters::bump(&self.counters.faults, 1);
            bio.complete(Err(IoError))
        } else {
            self.transfer(bio)
        }
    }
}
