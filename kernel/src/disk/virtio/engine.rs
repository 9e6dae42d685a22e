//! The engine of a virtio disk: its ring, and the requests in flight.
//!
//! **Data.** The ring; for each request in flight its chain of transfers, and a record in memory
//! that the device reads and writes. **Owner.** The engine. **Lock.** One around all of it
//! (`device.rs`), a leaf that masks interrupts.
//!
//! **A device is not trusted.** What it writes, in the ring, the status of a request or its registers,
//! decides only how requests end. An entry of the used ring is believed if it names a request in
//! flight and no more bytes than that has room for; anything else is [`Trouble`], after which the ring
//! is not read again. Every loop is bounded by the requests in flight: each turn ends one or stops.
//! What the device cannot be kept from is writing to memory at all times, as on every machine without an
//! IOMMU; an honest one stops when it is reset, so that no buffer is given back before that.

use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::Hal;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, InterruptStatus, Transport};

use super::discard::Discard;
use super::pool::{Chain, MOST_CHAINED, Op, Pool, Transfer};
use super::trouble::Trouble;
use crate::disk::SECTOR;

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Its sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of its blocks, of which each transfer should be a multiple.
    pub block: u32,
    /// It cannot be written.
    pub is_read_only: bool,
    /// It has a cache that can be flushed.
    pub has_cache: bool,
    /// What it can discard.
    pub discard: Option<Discard>,
    /// Stretches of memory of a request.
    pub(super) most_buffers: usize,
    /// Stretches that touch may be one.
    pub(super) joins: bool,
}

/// Descriptors of the ring.
pub const QUEUE: usize = 128;
/// The ring that requests go through.
pub(super) const RING: u16 = 0;
/// Requests in flight at once: each takes two descriptors at least.
const FLIGHTS: usize = QUEUE / 2;
/// Descriptors of a request besides those of its memory: the head and the status.
const BESIDES: usize = 2;
/// How often a device is asked whether its reset is done.
const RESET_TRIES: u32 = 10_000;

/// No request.
const NONE: u8 = u8::MAX;
/// What the status is before the device writes it: no status that there is.
const NO_STATUS: u8 = 0xff;
/// The status of a success.
const STATUS_OK: u8 = 0;

/// The part of a request that is neither its data nor the driver's alone.
#[repr(C)]
pub(super) struct Record {
    kind: u32,
    reserved: u32,
    sector: u64,
    range: DiscardRange,
    status: u8,
    unused: [u8; 31],
}

/// What a discard is about, which is its data.
#[repr(C)]
struct DiscardRange {
    sector: u64,
    sectors: u32,
    flags: u32,
}

const _: () = assert!(size_of::<Record>() * FLIGHTS == virtio_drivers::PAGE_SIZE);
/// Bytes of a record that the device reads: the head of the request. The range of a discard follows.
const HEAD: usize = core::mem::offset_of!(Record, range);
const _: () = assert!(HEAD == 16);

/// A request in flight.
#[derive(Clone, Copy)]
struct Flight {
    chain: Chain,
    /// When it was given to the device, in nanoseconds.
    since: u64,
}

/// The buffers of one request, in the order of its descriptors: the head, the data, the status.
struct Buffers {
    list: [NonNull<[u8]>; MOST_CHAINED + BESIDES],
    len: usize,
    /// How many of them the device only reads.
    readable: usize,
}

impl Buffers {
    const fn none() -> Self {
        let nothing = NonNull::slice_from_raw_parts(NonNull::dangling(), 0);
        Self { list: [nothing; MOST_CHAINED + BESIDES], len: 0, readable: 0 }
    }

    fn push(&mut self, address: usize, bytes: usize) {
        let start = NonNull::new(address as *mut u8).expect("memory is not at address 0");
        self.list[self.len] = NonNull::slice_from_raw_parts(start, bytes);
        self.len += 1;
    }

    /// Those that the device reads, and those that it writes.
    ///
    /// # Safety
    /// The buffers are the device's, and the driver reads or writes none through these references:
    /// they only carry addresses.
    unsafe fn split(&mut self) -> (&[&[u8]], &mut [&mut [u8]]) {
        let (read, written) = self.list[..self.len].split_at_mut(self.readable);
        // SAFETY: pointers and references to slices have the same layout; the caller's promise.
        let read = unsafe { slice::from_raw_parts(read.as_ptr().cast(), read.len()) };
        // SAFETY: as above, and no two buffers overlap: each is a part of a page that was lent.
        let written =
            unsafe { slice::from_raw_parts_mut(written.as_mut_ptr().cast(), written.len()) };
        (read, written)
    }
}

/// The engine of a disk; `O` owns a ticket.
pub struct Engine<H: Hal, T: Transport, O> {
    queue: VirtQueue<H, QUEUE>,
    transport: T,
    traits: Traits,
    /// The records of all requests, in a page that the device has too.
    records: NonNull<Record>,
    pool: Pool<O>,
    flights: [Flight; FLIGHTS],
    /// A bit for each flight that is free.
    free: u64,
    /// The flight of each first descriptor.
    by_token: [u8; QUEUE],
    buffers: Buffers,
    trouble: Option<Trouble>,
    /// The device has announced a change: its status must be read.
    has_news: bool,
    /// What waited when the ring was last filled did not all find room, or something is to be tried
    /// again.
    has_backlog: bool,
}

// SAFETY: the pointers are to memory that belongs to the engine alone, or that callers have lent to it
// until the end of their requests, on whatever CPU it runs.
unsafe impl<H: Hal, T: Transport + Send, O: Send> Send for Engine<H, T, O> {}

impl<H: Hal, T: Transport, O> Engine<H, T, O> {
    pub(super) fn new(
        queue: VirtQueue<H, QUEUE>,
        transport: T,
        traits: Traits,
        records: NonNull<Record>,
    ) -> Self {
        Self {
            queue,
            transport,
            traits,
            records,
            pool: Pool::new(),
            flights: [Flight { chain: Chain::EMPTY, since: 0 }; FLIGHTS],
            free: u64::MAX,
            by_token: [NONE; QUEUE],
            buffers: Buffers::none(),
            trouble: None,
            has_news: false,
            has_backlog: false,
        }
    }

    /// What the device is like.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Whether a ticket with so many transfers can be added.
    pub fn has_room(&self, transfers: usize) -> bool {
        self.pool.has_room(transfers)
    }

    /// Whether more than seven eighths of the room are used.
    pub fn is_congested(&self) -> bool {
        self.pool.is_congested()
    }

    /// Whether transfers wait that [`Engine::dispatch`] could give to the device.
    pub fn has_waiting(&self) -> bool {
        self.pool.has_waiting()
    }

    /// Whether transfers wait because there was no room in the ring, or to be tried again.
    pub fn has_backlog(&self) -> bool {
        self.has_backlog
    }

    /// Whether something was noticed that ends the device.
    pub fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Adds a ticket, whose transfers wait for [`Engine::dispatch`].
    ///
    /// # Errors
    /// Returns the owner if there is no room.
    ///
    /// # Safety
    /// The memory of the transfers is lent until the ticket has ended.
    pub unsafe fn add(&mut self, owner: O, transfers: &[Transfer]) -> Result<(), O> {
        self.pool.add(owner, transfers)
    }

    /// Gives waiting transfers to the device, as far as the ring has room. `now` is in nanoseconds.
    #[inline(never)]
    pub fn dispatch(&mut self, now: u64) {
        let (most, joins) = (self.traits.most_buffers, self.traits.joins);
        let mut added = false;
        while self.trouble.is_none() && self.free != 0 {
            // Devices put requests together too: such a one is alone in flight.
            let is_alone = self.pool.is_next_alone();
            if is_alone && (self.free != u64::MAX || added) {
                break;
            }
            let room = self.queue.available_desc().saturating_sub(BESIDES).min(most);
            let Some(chain) = self.pool.take(MOST_CHAINED, room, joins) else { break };
            self.launch(chain, now);
            added = true;
            if is_alone {
                break;
            }
        }
        self.has_backlog = self.pool.has_waiting();
        // The device must see the requests before this asks whether it wants to be notified of them.
        fence(Ordering::SeqCst);
        if added && self.queue.should_notify() {
            self.transport.notify(RING);
        }
    }

    fn launch(&mut self, chain: Chain, since: u64) {
        let at = self.free.trailing_zeros() as usize;
        self.free &= self.free - 1;
        self.flights[at] = Flight { chain, since };
        self.write_record(at, &chain);
        self.fill_buffers(at, &chain);
        // SAFETY: the data is lent until its tickets have ended, which is after `pop_used` or the
        // reset; the record belongs to the flight for as long.
        let (read, written) = unsafe { self.buffers.split() };
        // SAFETY: as above.
        match unsafe { self.queue.add(read, written) } {
            Ok(token) => self.by_token[token as usize] = at as u8,
            Err(error) => self.trouble = Some(Trouble::Ring(error)),
        }
    }

    fn write_record(&self, at: usize, chain: &Chain) {
        let (kind, sector) = match chain.op {
            Op::Read => (0, chain.sector),
            Op::Write => (1, chain.sector),
            Op::Flush => (4, 0),
            Op::Discard => (11, 0),
        };
        let sectors = chain.bytes / SECTOR as u32;
        let range = DiscardRange { sector: chain.sector, sectors, flags: 0 };
        let (status, unused) = (NO_STATUS, [0; 31]);
        let record = Record { kind, reserved: 0, sector, range, status, unused };
        // SAFETY: the device does not have this record, since its flight was free.
        unsafe { self.record(at).write_volatile(record) };
    }

    fn record(&self, at: usize) -> NonNull<Record> {
        debug_assert!(at < FLIGHTS, "there is no flight {at}");
        // SAFETY: there are as many records as flights, in a page of the engine's own.
        unsafe { self.records.add(at) }
    }

    fn status(&self, at: usize) -> u8 {
        let offset = core::mem::offset_of!(Record, status);
        // SAFETY: it lies within the record.
        let status = unsafe { self.record(at).cast::<u8>().add(offset) };
        // SAFETY: as above; the device may write to it, so that this is one volatile access.
        unsafe { status.read_volatile() }
    }

    /// Fills `buffers` with those of a flight.
    #[inline(never)]
    fn fill_buffers(&mut self, at: usize, chain: &Chain) {
        let record = self.record(at).addr().get();
        let Self { buffers, pool, traits, .. } = self;
        buffers.len = 0;
        buffers.push(record, HEAD);
        match chain.op {
            Op::Discard => buffers.push(record + HEAD, size_of::<DiscardRange>()),
            _ => pool.stretches(chain, traits.joins, |at, bytes| buffers.push(at, bytes)),
        }
        buffers.readable = if chain.op == Op::Read { 1 } else { buffers.len };
        buffers.push(record + core::mem::offset_of!(Record, status), 1);
    }

    /// Acknowledges an interrupt.
    pub fn acknowledge(&mut self) {
        let why = self.transport.ack_interrupt();
        self.has_news |= why.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT);
    }

    /// Ends the requests that the device has finished.
    #[inline(never)]
    pub fn collect(&mut self) {
        if core::mem::take(&mut self.has_news)
            && self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
        {
            self.trouble = self.trouble.or(Some(Trouble::NeedsReset));
        }
        while self.trouble.is_none()
            && let Some(token) = self.queue.peek_used()
        {
            match self.by_token.get(token as usize) {
                Some(&at) if at != NONE => self.finish(token, at as usize),
                _ => self.trouble = Some(Trouble::NotInFlight { token }),
            }
        }
    }

    fn finish(&mut self, token: u16, at: usize) {
        let chain = self.flights[at].chain;
        self.fill_buffers(at, &chain);
        // SAFETY: as in `launch`.
        let (read, written) = unsafe { self.buffers.split() };
        // SAFETY: these are the buffers that were added under this token: neither the chain nor its
        // transfers change while it is in flight.
        let wrote = match unsafe { self.queue.pop_used(token, read, written) } {
            Ok(wrote) => wrote,
            Err(error) => {
                self.trouble = Some(Trouble::Ring(error));
                return;
            }
        };
        let room = 1 + if chain.op == Op::Read { chain.bytes } else { 0 };
        if wrote > room {
            self.trouble = Some(Trouble::TooLong { wrote, room });
        }
        let failed = wrote > room || self.status(at) != STATUS_OK;
        self.by_token[token as usize] = NONE;
        self.free |= 1 << at;
        if failed && self.trouble.is_none() && self.pool.split(&chain) {
            self.has_backlog = true;
        } else {
            self.pool.end(&chain, failed);
        }
    }

    /// Takes a ticket that has ended: its owner, and whether it failed.
    pub fn take_ended(&mut self) -> Option<(O, bool)> {
        self.pool.take_ended()
    }

    /// What is wrong with the device: what was noticed, or that a request has been in flight for
    /// longer than `limit`. Both are in nanoseconds.
    #[inline(never)]
    pub fn trouble(&self, now: u64, limit: u64) -> Option<Trouble> {
        let flying = self.flights.iter().enumerate().filter(|(at, _)| self.free & (1 << at) == 0);
        let oldest = flying.map(|(_, flight)| flight).min_by_key(|flight| flight.since);
        let late = oldest.filter(|flight| now.saturating_sub(flight.since) > limit);
        self.trouble.or(late.map(|Flight { chain, since }| Trouble::Late {
            op: chain.op,
            sector: chain.sector,
            bytes: chain.bytes,
            millis: (now - since) / 1_000_000,
        }))
    }

    /// Gives the device nothing any more, and reads nothing that it says.
    pub fn stop(&mut self, why: Trouble) {
        self.trouble = Some(why);
    }

    /// Resets the device, which was stopped, and ends all that it was asked for as failures. Whoever
    /// calls this lets nothing be added any more. Returns whether the device says that it was reset.
    #[inline(never)]
    pub fn give_up(&mut self) -> bool {
        self.transport.set_status(DeviceStatus::empty());
        let status = || self.transport.get_status();
        let was_reset = (0..RESET_TRIES).any(|_| status() == DeviceStatus::empty());
        self.pool.fail_waiting();
        for at in (0..FLIGHTS).filter(|at| self.free & (1 << at) == 0) {
            self.pool.end(&self.flights[at].chain, true);
        }
        self.free = u64::MAX;
        was_reset
    }
}
