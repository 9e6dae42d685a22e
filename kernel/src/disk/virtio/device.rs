//! The virtio disks of this machine: submission, interrupts, and the task that ends requests.
//!
//! **Data.** For each disk an engine, in frames that are allocated when the disk is found. **Owner.**
//! The disk, permanently. **Lock.** One around the engine, a leaf that masks interrupts: a submitter
//! takes it, the interrupt handler to acknowledge, and the server. Completions are passed on without
//! it.
//!
//! **Order.** A submitter adds to the table and gives the device what is there, unless it has plugged
//! the disks. The device interrupts; the handler wakes the server, which ends what the device has
//! finished, and gives it what found no room in the ring.
//!
//! **The end of a disk.** The server finds that a request is [`LIMIT`] old, that the ring is broken, or
//! that the device has interrupted [`STORM`] times before it ran. In one hold of the lock it stops the
//! engine and marks the disk as gone: nothing is added after that, and nothing given to the device. Then
//! it prints the reason, resets the device, and fails everything that was under way or waited.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use mm_reclaim::block::{Bio, Completion, IoError};
use mm_reclaim::env::{WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, PAGE_SIZE};
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, DeviceTypeError, Transport};

use super::engine::{Engine, Traits};
use super::hal::{self, Allocate, KernelHal};
use super::open::OpenError;
use super::pool::{Op, Transfer};
use super::trouble::Trouble;
use crate::arch::frames;
use crate::arch::lock::{IrqLock, IrqLockGuard};
use crate::drivers::{gic, timer};
use crate::{println, task};

/// Virtio disks that are used.
pub const MOST_DISKS: usize = 4;
/// How often a disk may interrupt before the server runs, which is of the first class. One that keeps its
/// interrupt raised whatever it is told would let nothing else run.
const STORM: u32 = 10_000;
/// How long a request may take.
const LIMIT: Nanos = Nanos(30_000_000_000);
/// How often that is checked.
const CHECK: Nanos = Nanos(5_000_000_000);

/// Keys for waiting: the server's, for room in a table, and for the end of a call's transfer.
const SERVER_KEY: WaitKey = WaitKey(0x7662_0000_0000_0001);
const ROOM_KEY: WaitKey = WaitKey(0x7662_0000_0000_0002);
const END_KEY: WaitKey = WaitKey(0x7662_0000_0000_0003);

/// The disks, which are never freed; null behind the last.
static DISKS: [AtomicPtr<Disk>; MOST_DISKS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MOST_DISKS];
/// Set when the server should look at the disks.
static KICKED: AtomicBool = AtomicBool::new(false);
/// When the server checks for late requests next, in nanoseconds.
static NEXT_CHECK: AtomicU64 = AtomicU64::new(0);

/// How a call's transfer stands.
const PENDING: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// Who waits for a ticket.
enum Owner {
    Page(Bio),
    Call(Call),
}

/// The state of a call's transfer, which lies on the stack of the task that waits for it.
struct Call(NonNull<AtomicU8>);

// SAFETY: the task does not return before the state says that the transfer has ended, which the server
// writes as its last access; an atomic may be accessed from any CPU.
unsafe impl Send for Call {}

type DiskEngine = Engine<KernelHal, MmioTransport<'static>, Owner>;

/// A virtio disk.
pub struct Disk {
    engine: IrqLock<DiskEngine>,
    traits: Traits,
    interrupt: u32,
    /// The last letter of its name.
    letter: u8,
    is_gone: AtomicBool,
    /// Interrupts since the server last ran.
    interrupts: AtomicU32,
}

/// Why there is no disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttachError {
    /// The registers are not those of virtio.
    Registers(MmioError),
    /// The disk was refused.
    Open(OpenError),
    /// There are as many as can be used.
    TooMany,
    /// There is no memory for it.
    NoMemory,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registers(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::TooMany => write!(f, "there are {MOST_DISKS} virtio disks already"),
            Self::NoMemory => write!(f, "no memory for its requests"),
        }
    }
}

impl core::error::Error for AttachError {}

/// Sets where memory for the disks comes from, which stays theirs.
pub fn init(allocate: Allocate) {
    hal::init(allocate);
}

/// Takes the disk into use whose registers are at `registers`; `None` if there is no device, or one
/// that is no disk. For the boot.
///
/// # Errors
/// [`AttachError`].
///
/// # Safety
/// They are `bytes` bytes of registers of virtio, mapped permanently as device memory, with no other
/// user.
pub unsafe fn attach(
    registers: NonNull<u8>,
    bytes: usize,
    interrupt: u32,
) -> Result<Option<&'static Disk>, AttachError> {
    // SAFETY: the caller's.
    let transport = match unsafe { MmioTransport::new(registers.cast::<VirtIOHeader>(), bytes) } {
        Ok(transport) if transport.device_type() == DeviceType::Block => transport,
        Ok(_) | Err(MmioError::InvalidDeviceID(DeviceTypeError::InvalidDeviceType(_))) => {
            return Ok(None);
        }
        Err(error) => return Err(AttachError::Registers(error)),
    };
    let places = DISKS.iter().zip(b'a'..);
    let free = places.clone().find(|(place, _)| place.load(Relaxed).is_null());
    let (place, letter) = free.ok_or(AttachError::TooMany)?;
    let memory = memory_of_a_disk().ok_or(AttachError::NoMemory)?;
    let engine = DiskEngine::open(transport).map_err(AttachError::Open)?;
    let disk = Disk {
        traits: *engine.traits(),
        engine: IrqLock::new(engine),
        interrupt,
        letter,
        is_gone: AtomicBool::new(false),
        interrupts: AtomicU32::new(0),
    };
    let disk = memory.write(disk);
    // Release pairs with the Acquire of `disks`.
    place.store(disk, Release);
    gic::enable_shared(interrupt);
    Ok(Some(disk))
}

/// Frames for one disk.
fn memory_of_a_disk() -> Option<&'static mut MaybeUninit<Disk>> {
    const { assert!(align_of::<Disk>() <= PAGE_SIZE) };
    let first = hal::zeroed(size_of::<Disk>().div_ceil(PAGE_SIZE))?;
    // SAFETY: the frames were just allocated for this, are enough, and are never freed.
    Some(unsafe { &mut *frames::frame_address(first).cast() })
}

/// The disks.
fn disks() -> impl Iterator<Item = &'static Disk> {
    // SAFETY: a place has null, or a disk that is never freed.
    DISKS.iter().map_while(|place| unsafe { place.load(Acquire).as_ref() })
}

/// Whether there is any.
#[inline]
pub fn is_any() -> bool {
    !DISKS[0].load(Relaxed).is_null()
}

/// Gives the disks what was held back.
#[cold]
pub fn send_off() {
    disks().for_each(Disk::send_off);
}

/// An interrupt of this number came. Returns whether it is that of a disk.
pub fn interrupt(id: u32) -> bool {
    let Some(disk) = disks().find(|disk| disk.interrupt == id) else { return false };
    disk.lock().acknowledge();
    if disk.interrupts.fetch_add(1, Relaxed) == STORM {
        gic::disable_shared(id);
    }
    // Release pairs with the server's Acquire.
    KICKED.store(true, Release);
    task::wake_from_interrupt(SERVER_KEY);
    true
}

/// Ends what the devices have finished, in a task of its own, and passes completions on.
pub fn serve(complete: impl Fn(Completion)) -> ! {
    loop {
        let mode = WaitMode { timeout: Some(CHECK), killable: false };
        let _ = task::wait_until(SERVER_KEY, mode, &mut || KICKED.swap(false, Acquire));
        let now = timer::now();
        let checks = now.0 >= NEXT_CHECK.load(Relaxed);
        if checks {
            NEXT_CHECK.store(now.0.saturating_add(CHECK.0), Relaxed);
        }
        for disk in disks() {
            disk.serve(&complete, if checks { LIMIT } else { Nanos(u64::MAX) });
        }
    }
}

impl Disk {
    #[inline(never)]
    fn lock(&self) -> IrqLockGuard<'_, DiskEngine> {
        self.engine.lock()
    }

    /// What it is like.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The last letter of its name.
    pub fn letter(&self) -> u8 {
        self.letter
    }

    /// Whether it will never answer again.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Acquire)
    }

    /// Whether its table is more than seven eighths full.
    pub fn is_congested(&self) -> bool {
        !self.is_gone() && self.lock().is_congested()
    }

    /// Starts the transfers of a page, whose frame is lent as `bio` says.
    pub fn submit(&self, bio: Bio, transfers: &[Transfer]) -> Option<Completion> {
        match self.enqueue(Owner::Page(bio), transfers) {
            Err(Owner::Page(bio)) => Some(bio.complete(Err(IoError))),
            _ => None,
        }
    }

    /// Does one transfer, and sleeps until it has ended.
    ///
    /// # Errors
    /// If it failed.
    ///
    /// # Safety
    /// The memory is lent until this returns.
    pub unsafe fn perform(&self, transfer: Transfer) -> Result<(), IoError> {
        let state = AtomicU8::new(PENDING);
        let call = Owner::Call(Call(NonNull::from(&state)));
        self.enqueue(call, &[transfer]).map_err(|_| IoError)?;
        self.send_off();
        let mode = WaitMode::UNTIL_READY;
        // Acquire pairs with the server's Release: what was read is there.
        let _ = task::wait_until(END_KEY, mode, &mut || state.load(Acquire) != PENDING);
        if state.load(Relaxed) == DONE { Ok(()) } else { Err(IoError) }
    }

    /// Adds a ticket, and waits for room if there is none.
    ///
    /// # Errors
    /// Returns the owner if the disk is gone.
    fn enqueue(&self, mut owner: Owner, transfers: &[Transfer]) -> Result<(), Owner> {
        loop {
            let mut engine = self.lock();
            if self.is_gone() {
                return Err(owner);
            }
            // SAFETY: the memory is lent until the ticket has ended: that of a page by its `Bio`, that
            // of a call by the task that waits in `perform`.
            let added = unsafe { engine.add(owner, transfers) };
            if added.is_err() || task::current().plugs.load(Relaxed) == 0 {
                give(&mut engine);
            }
            drop(engine);
            match added {
                Ok(()) => return Ok(()),
                Err(back) => owner = back,
            }
            self.wait_for_room(transfers.len());
        }
    }

    fn wait_for_room(&self, transfers: usize) {
        let _ = task::wait_until(ROOM_KEY, WaitMode::UNTIL_READY, &mut || {
            self.is_gone() || self.lock().has_room(transfers)
        });
    }

    fn send_off(&self) {
        let mut engine = self.lock();
        if engine.has_waiting() {
            give(&mut engine);
        }
    }

    fn serve(&self, complete: &impl Fn(Completion), limit: Nanos) {
        let mut engine = self.lock();
        engine.collect();
        if engine.has_backlog() {
            give(&mut engine);
        }
        let interrupts = self.interrupts.swap(0, Relaxed);
        let storm = (interrupts > STORM).then_some(Trouble::Storm { interrupts });
        let trouble = storm.or_else(|| engine.trouble(timer::now().0, limit.0));
        let trouble = trouble.filter(|_| !self.is_gone());
        if let Some(why) = trouble {
            engine.stop(why);
            self.is_gone.store(true, Release);
        }
        drop(engine);
        if let Some(why) = trouble {
            self.give_up(why);
        }
        self.pass_on(complete);
    }

    /// The end of the disk, to which nothing is added any more. The reason is printed first: an emulator
    /// may be stuck in the reset, waiting for what it has asked for itself.
    #[cold]
    fn give_up(&self, why: Trouble) {
        let letter = char::from(self.letter);
        println!("vd{letter}: the disk is gone: {why}");
        gic::disable_shared(self.interrupt);
        if !self.lock().give_up() {
            println!("vd{letter}: it does not confirm its reset, and may still write to memory");
        }
    }

    /// Ends the tickets whose transfers have ended.
    fn pass_on(&self, complete: &impl Fn(Completion)) {
        let mut any = false;
        // The lock is not held while a page's owner is notified.
        while let Some((owner, failed)) = { self.lock().take_ended() } {
            any = true;
            let result = if failed { Err(IoError) } else { Ok(()) };
            match owner {
                Owner::Page(bio) => complete(bio.complete(result)),
                Owner::Call(Call(state)) => {
                    // SAFETY: the task waits until the state has changed: see `Call`.
                    unsafe { state.as_ref() }.store(if failed { FAILED } else { DONE }, Release);
                    task::wake(END_KEY);
                }
            }
        }
        if any || self.is_gone() {
            task::wake(ROOM_KEY);
        }
    }
}

/// Gives the device what waits.
fn give(engine: &mut IrqLockGuard<'_, DiskEngine>) {
    engine.dispatch(timer::now().0);
    if engine.is_in_trouble() {
        // Release pairs with the server's Acquire. It looks at the latest when it checks for late
        // requests: a task cannot be woken under this lock.
        KICKED.store(true, Release);
    }
}

/// The direction of a page's transfer.
pub fn op_of(bio: &Bio) -> Op {
    match bio.direction() {
        mm_reclaim::block::Direction::Read => Op::Read,
        mm_reclaim::block::Direction::Write => Op::Write,
    }
}
