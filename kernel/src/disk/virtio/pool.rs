//! Requests that a disk was asked for: which wait, which belong together, which have ended.
//!
//! A *ticket* is what a caller waits for: a page, or the end of one call. It has up to
//! [`MOST_PARTS`] *transfers*, each between one stretch of the disk and one of memory. Transfers
//! wait in the order in which they came; [`Pool::take`] takes the oldest and, with it, those behind
//! it that go on where it ends on the disk: these make a *chain*, one request to the device. A
//! ticket has ended when all of its transfers have. A chain that fails is tried again, transfer by
//! transfer: a bad sector fails the page that it belongs to and not its neighbours.
//!
//! **Data.** Two tables of fixed size, whose free places are bits; lists of places. **Owner.** The
//! disk's engine. **Lock.** That of the engine. Pure, tested on the host.

use crate::disk::SECTOR;

/// Tickets, and as many transfers, that a disk can have at once.
pub const ROOM: usize = 128;
/// The most transfers of a ticket.
pub const MOST_PARTS: usize = 4;
/// The most transfers of a chain: 32 pages.
pub const MOST_CHAINED: usize = 32;
/// How many waiting transfers are compared with a chain: more would cost more than a request.
const LOOK_AT: usize = 32;
/// No place in a table.
const NONE: u8 = u8::MAX;

const _: () = assert!(ROOM <= 128 && ROOM < NONE as usize, "places are bits of a u128");

/// What a device is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// From the disk into memory.
    Read,
    /// From memory to the disk.
    Write,
    /// Make what was written stable.
    Flush,
    /// The contents of the sectors are no longer needed.
    Discard,
}

/// A transfer between a stretch of a disk and one of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// What is done.
    pub op: Op,
    /// The first sector of 512 bytes of the disk.
    pub sector: u64,
    /// The kernel's address of the memory.
    pub address: usize,
    /// Bytes, a multiple of 512.
    pub bytes: u32,
}

impl Transfer {
    /// No transfer, but that of what a device's cache holds.
    pub const FLUSH: Self = Self { op: Op::Flush, sector: 0, address: 0, bytes: 0 };
    /// None, as a place for one.
    pub const NOTHING: Self = Self::FLUSH;

    /// A discard, of less than 4 GiB; it has no memory.
    pub const fn discard(sector: u64, sectors: u32) -> Self {
        Self { op: Op::Discard, sector, address: 0, bytes: sectors * SECTOR as u32 }
    }

    fn end(&self) -> u64 {
        self.sector.wrapping_add(u64::from(self.bytes / 512))
    }

    fn end_address(&self) -> usize {
        self.address.wrapping_add(self.bytes as usize)
    }
}

#[derive(Clone, Copy)]
struct Place {
    transfer: Transfer,
    ticket: u8,
    /// The next of the waiting ones, or of the chain.
    next: u8,
    /// It is a request of its own: it was part of one that failed.
    is_alone: bool,
}

struct Ticket<O> {
    owner: Option<O>,
    /// Transfers that have not ended.
    left: u8,
    failed: bool,
}

/// Transfers that are one request: the same direction, one after the other on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// What is done.
    pub op: Op,
    /// The first sector.
    pub sector: u64,
    /// Bytes of all.
    pub bytes: u32,
    /// Stretches of memory, where those that touch are one.
    pub buffers: u16,
    first: u8,
    last: u8,
    count: u8,
}

impl Chain {
    /// None.
    pub const EMPTY: Self =
        Self { op: Op::Flush, sector: 0, bytes: 0, buffers: 0, first: NONE, last: NONE, count: 0 };
}

/// The tables of one disk.
pub struct Pool<O> {
    tickets: [Ticket<O>; ROOM],
    places: [Place; ROOM],
    free_tickets: u128,
    free_places: u128,
    ended: u128,
    first: u8,
    last: u8,
}

impl<O> Pool<O> {
    /// Nothing is asked for.
    pub const fn new() -> Self {
        let place =
            Place { transfer: Transfer::NOTHING, ticket: NONE, next: NONE, is_alone: false };
        Self {
            tickets: [const { Ticket { owner: None, left: 0, failed: false } }; ROOM],
            places: [place; ROOM],
            free_tickets: u128::MAX,
            free_places: u128::MAX,
            ended: 0,
            first: NONE,
            last: NONE,
        }
    }

    /// Whether a ticket with so many transfers can be added.
    pub fn has_room(&self, transfers: usize) -> bool {
        self.free_tickets != 0 && self.free_places.count_ones() as usize >= transfers
    }

    /// Whether more than seven eighths are used.
    pub fn is_congested(&self) -> bool {
        let free = self.free_tickets.count_ones().min(self.free_places.count_ones());
        (free as usize) < ROOM / 8
    }

    /// Adds a ticket whose transfers wait from now on.
    ///
    /// # Errors
    /// Returns `owner` if there is no room.
    #[inline(never)]
    pub fn add(&mut self, owner: O, transfers: &[Transfer]) -> Result<(), O> {
        if transfers.is_empty() || !self.has_room(transfers.len()) {
            return Err(owner);
        }
        let ticket = take_bit(&mut self.free_tickets);
        let left = transfers.len() as u8;
        self.tickets[ticket as usize] = Ticket { owner: Some(owner), left, failed: false };
        for &transfer in transfers {
            let at = take_bit(&mut self.free_places);
            self.places[at as usize] = Place { transfer, ticket, next: NONE, is_alone: false };
            match self.last {
                NONE => self.first = at,
                last => self.places[last as usize].next = at,
            }
            self.last = at;
        }
        Ok(())
    }

    /// Takes the oldest waiting transfer, and those that can be one request with it: at most
    /// `transfers`, with at most `buffers` stretches of memory. If `joins` is false, each transfer
    /// is a stretch of its own.
    #[inline(never)]
    pub fn take(&mut self, transfers: usize, buffers: usize, joins: bool) -> Option<Chain> {
        let first = self.first;
        if first == NONE || buffers == 0 {
            return None;
        }
        let Transfer { op, sector, bytes, .. } = self.places[first as usize].transfer;
        self.unlink(NONE, first);
        let buffers_of_first = u16::from(op != Op::Flush);
        let mut chain =
            Chain { op, sector, bytes, buffers: buffers_of_first, first, last: first, count: 1 };
        while (chain.count as usize) < transfers.min(MOST_CHAINED)
            && let Some((before, at)) = self.find_next(&chain)
        {
            let end = self.places[chain.last as usize].transfer.end_address();
            let Transfer { address, bytes, .. } = self.places[at as usize].transfer;
            let apart = u16::from(!joins || address != end);
            if usize::from(chain.buffers + apart) > buffers {
                break;
            }
            self.unlink(before, at);
            self.places[chain.last as usize].next = at;
            (chain.last, chain.count) = (at, chain.count + 1);
            (chain.bytes, chain.buffers) = (chain.bytes + bytes, chain.buffers + apart);
        }
        Some(chain)
    }

    /// The waiting transfer that goes on where `chain` ends, and the one before it.
    fn find_next(&self, chain: &Chain) -> Option<(u8, u8)> {
        let last = &self.places[chain.last as usize];
        if matches!(chain.op, Op::Flush | Op::Discard) || last.is_alone {
            return None;
        }
        let end = last.transfer.end();
        let (mut before, mut at) = (NONE, self.first);
        for _ in 0..LOOK_AT {
            let place = self.places.get(at as usize)?;
            let follows = place.transfer.op == chain.op && place.transfer.sector == end;
            if follows && !place.is_alone {
                return Some((before, at));
            }
            (before, at) = (at, place.next);
        }
        None
    }

    /// Takes a waiting transfer, which follows `before`, off the list.
    fn unlink(&mut self, before: u8, at: u8) {
        let next = core::mem::replace(&mut self.places[at as usize].next, NONE);
        match before {
            NONE => self.first = next,
            before => self.places[before as usize].next = next,
        }
        if self.last == at {
            self.last = before;
        }
    }

    /// Calls `visit` with each stretch of memory of the chain, in order: no discard.
    pub fn stretches(&self, chain: &Chain, joins: bool, mut visit: impl FnMut(usize, usize)) {
        let (mut start, mut bytes, mut at) = (0, 0, chain.first);
        for _ in 0..chain.count {
            let Place { transfer, next, .. } = self.places[at as usize];
            if bytes > 0 && joins && start + bytes == transfer.address {
                bytes += transfer.bytes as usize;
            } else {
                if bytes > 0 {
                    visit(start, bytes);
                }
                (start, bytes) = (transfer.address, transfer.bytes as usize);
            }
            at = next;
        }
        if bytes > 0 {
            visit(start, bytes);
        }
    }

    /// The transfers of a chain have ended.
    #[inline(never)]
    pub fn end(&mut self, chain: &Chain, failed: bool) {
        let mut at = chain.first;
        for _ in 0..chain.count {
            let Place { ticket, next, .. } = self.places[at as usize];
            self.free_places |= 1 << at;
            let entry = &mut self.tickets[ticket as usize];
            entry.failed |= failed;
            entry.left -= 1;
            if entry.left == 0 {
                self.ended |= 1 << ticket;
            }
            at = next;
        }
    }

    /// A chain has failed as a whole: if it has several transfers, they wait again, before all others,
    /// each as a request of its own, so that only those fail that cannot be done. Returns whether it has.
    pub fn split(&mut self, chain: &Chain) -> bool {
        if chain.count < 2 {
            return false;
        }
        let mut at = chain.first;
        for _ in 0..chain.count {
            self.places[at as usize].is_alone = true;
            at = self.places[at as usize].next;
        }
        self.places[chain.last as usize].next = self.first;
        self.first = chain.first;
        if self.last == NONE {
            self.last = chain.last;
        }
        true
    }

    /// Ends all that wait, as failures.
    pub fn fail_waiting(&mut self) {
        while let Some(chain) = self.take(1, 1, false) {
            self.end(&chain, true);
        }
    }

    /// Takes a ticket that has ended: its owner, and whether a transfer failed.
    pub fn take_ended(&mut self) -> Option<(O, bool)> {
        if self.ended == 0 {
            return None;
        }
        let at = take_bit(&mut self.ended);
        self.free_tickets |= 1 << at;
        let ticket = &mut self.tickets[at as usize];
        Some((ticket.owner.take()?, ticket.failed))
    }

    /// Whether the oldest transfer that waits must be a request of its own, with no other in flight.
    pub fn is_next_alone(&self) -> bool {
        self.places.get(self.first as usize).is_some_and(|place| place.is_alone)
    }

    /// Whether any transfer waits.
    pub fn has_waiting(&self) -> bool {
        self.first != NONE
    }
}

impl<O> Default for Pool<O> {
    fn default() -> Self {
        Self::new()
    }
}

/// Clears the lowest bit that is set, of which there is one, and returns its number.
fn take_bit(bits: &mut u128) -> u8 {
    let at = bits.trailing_zeros() as u8;
    *bits &= *bits - 1;
    at
}

#[cfg(test)]
mod tests;
