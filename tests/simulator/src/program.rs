//! A user program: an address space, and what the program remembers to have written there.
//!
//! Every write to a page takes a number that is used nowhere else in the machine, and the
//! words stored are made from that number and their place. A page that is lost, mixed up,
//! out of date, another program's, or half of it, cannot pass the check.
//!
//! A task may run several programs in turn. But where memory may run out it should run one
//! only: if one of its programs is chosen to be killed while the task waits for memory for
//! another, no task is left to end the victim.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::Prot;
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::{AreaFlags, SpaceError, SpaceId};
use mm_reclaim::units::Vpn;
use mm_reclaim::{Mm, Place};

use crate::arena::WORDS;
use crate::machine::Machine;
use crate::rng::mix;
use crate::tables::Touch;
use crate::world::World;

/// Faults in a row at one address after which an access is taken to make no progress.
const MOST_FAULTS: u32 = 1000;
/// Words of a page that are written and checked: its ends, and some between.
const SAMPLE: [usize; 4] = [0, 1, 300, WORDS - 1];

/// Why a program cannot continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// It touched what is not its own (SIGSEGV).
    BadAddress,
    /// A page could not be read back (SIGBUS).
    BusError,
    /// The OOM killer killed it.
    Killed,
}

/// A user program.
pub struct Program<'m> {
    machine: Machine<'m>,
    /// Its address space.
    pub space: SpaceId,
    /// The number of the last write to each page; pages not in here hold zeroes.
    writes: BTreeMap<u32, u64>,
    /// Pages whose contents the program gave up, and has not written since: each may have turned
    /// into zeroes.
    given_up: BTreeSet<u32>,
    /// A page that was being written when the program died: it may hold anything.
    torn: Option<Vpn>,
}

/// The number of the next write. Runs differ in it, but nothing looks at the numbers
/// themselves, so a seed still gives one history.
static WRITES: AtomicU64 = AtomicU64::new(1);

fn word(write: u64, index: usize) -> u64 {
    mix(write * WORDS as u64 + index as u64)
}

fn pages(range: &Range<Vpn>) -> impl Iterator<Item = Vpn> + use<> {
    (range.start.0..range.end.0).map(Vpn)
}

impl<'m> Program<'m> {
    /// A program with an empty address space.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn new(machine: Machine<'m>) -> Self {
        Self::try_new(machine).expect("an address space")
    }

    /// A program with an empty address space.
    ///
    /// # Errors
    /// As the crate says.
    pub fn try_new(machine: Machine<'m>) -> Result<Self, SpaceError> {
        let space = machine.mm.create_space()?;
        let (writes, given_up) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { machine, space, writes, given_up, torn: None })
    }

    /// Calls the crate as the program: if the program is killed, the call returns early.
    pub fn call<R>(&self, call: impl FnOnce(&Mm<'m, &'m World>) -> R) -> R {
        let sched = &self.machine.world.sched;
        let outer = sched.act_for(Some(self.space));
        let result = call(self.machine.mm);
        sched.act_for(outer);
        result
    }

    /// Maps `pages` pages to read and write, where there is room.
    ///
    /// # Panics
    /// If the crate refuses.
    pub fn map(&mut self, pages: u32) -> Range<Vpn> {
        let start = self.map_at(Place::Anywhere, pages).expect("room for an area");
        start..start + pages
    }

    /// Maps `pages` pages to read and write, at a place.
    ///
    /// # Errors
    /// As the crate says.
    pub fn map_at(&mut self, at: Place, pages: u32) -> Result<Vpn, SpaceError> {
        let prot = Prot::READ | Prot::WRITE;
        self.call(|mm| mm.mmap(self.space, at, pages, prot, AreaFlags::empty()))
    }

    /// Unmaps a range; its pages are forgotten.
    ///
    /// # Errors
    /// As the crate says; nothing is forgotten then.
    pub fn unmap(&mut self, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.call(|mm| mm.munmap(self.space, range.clone()))?;
        self.forget(&range);
        Ok(())
    }

    /// Locks a range into memory, or lets it go again.
    ///
    /// # Errors
    /// As the crate says.
    pub fn lock(&self, range: Range<Vpn>, on: bool) -> Result<(), SpaceError> {
        self.call(|mm| match on {
            true => mm.mlock(self.space, range),
            false => mm.munlock(self.space, range),
        })
    }

    /// Gives the kernel advice about a range; returns what the crate returns.
    ///
    /// # Errors
    /// As the crate says.
    pub fn advise(&mut self, range: Range<Vpn>, advice: Advice) -> Result<u32, SpaceError> {
        let done = self.call(|mm| mm.madvise(self.space, range.clone(), advice));
        if matches!(advice, Advice::DontNeed | Advice::Free) {
            // Holes are reported after the rest was advised; a locked area ends the call.
            let end = match done {
                Err(SpaceError::Locked { start }) => start.max(range.start),
                Err(SpaceError::Killed | SpaceError::NoSuchSpace) => range.start,
                _ => range.end,
            };
            match advice {
                Advice::Free => self.given_up.extend(range.start.0..end.0),
                _ => self.forget(&(range.start..end)),
            }
        }
        done
    }

    fn forget(&mut self, range: &Range<Vpn>) {
        self.writes.retain(|vpn, _| !range.contains(&Vpn(*vpn)));
        self.given_up.retain(|vpn| !range.contains(&Vpn(*vpn)));
    }

    /// A child that shares every page until one of the two writes it.
    ///
    /// # Errors
    /// As the crate says.
    pub fn fork(&self) -> Result<Self, SpaceError> {
        let space = self.call(|mm| mm.fork_space(self.space))?;
        let (writes, given_up) = (self.writes.clone(), self.given_up.clone());
        Ok(Self { machine: self.machine, space, writes, given_up, torn: self.torn })
    }

    /// Does one access as the program, with all the faults that it takes.
    ///
    /// # Errors
    /// If the program dies of it.
    pub fn touch(&self, addr: u64, touch: Touch) -> Result<u64, Death> {
        self.call(|_| self.touch_repeatedly(addr, touch))
    }

    fn touch_repeatedly(&self, addr: u64, touch: Touch) -> Result<u64, Death> {
        let access = match touch {
            Touch::Load => Access::Read,
            Touch::Store(_) => Access::Write,
            Touch::Fetch => Access::Exec,
        };
        let mm = self.machine.mm;
        for _ in 0..MOST_FAULTS {
            if self.machine.world.sched.is_killed(self.space) {
                return Err(Death::Killed);
            }
            if let Ok(value) = mm.with_tables(self.space, |tables| tables.touch(addr, touch)) {
                return Ok(value);
            }
            match mm.handle_fault(self.space, addr, access) {
                FaultEnd::Minor | FaultEnd::Major => {}
                FaultEnd::BadAddress => return Err(Death::BadAddress),
                FaultEnd::BusError => return Err(Death::BusError),
                FaultEnd::Killed => return Err(Death::Killed),
            }
        }
        panic!("{addr:#x} faults again and again");
    }

    /// Writes a page.
    ///
    /// # Errors
    /// If the program dies of it.
    pub fn write(&mut self, page: Vpn) -> Result<(), Death> {
        let write = WRITES.fetch_add(1, Relaxed);
        self.torn = Some(page);
        for index in SAMPLE {
            self.touch(page.addr() + 8 * index as u64, Touch::Store(word(write, index)))?;
        }
        self.torn = None;
        self.given_up.remove(&page.0);
        self.writes.insert(page.0, write);
        Ok(())
    }

    /// Whether the OOM killer has chosen the program.
    pub fn is_killed(&self) -> bool {
        self.machine.world.sched.is_killed(self.space)
    }

    /// Reads a page and checks that it holds what was last written there. One that was given up may
    /// turn into zeroes at any moment, but not back.
    ///
    /// # Errors
    /// If the program dies of it.
    ///
    /// # Panics
    /// If it holds anything else.
    pub fn check(&self, page: Vpn) -> Result<(), Death> {
        let may_vanish = self.given_up.contains(&page.0);
        let mut vanished = false;
        for index in SAMPLE {
            let found = self.touch(page.addr() + 8 * index as u64, Touch::Load)?;
            if self.torn == Some(page) {
                continue;
            }
            let write = self.writes.get(&page.0);
            vanished |= may_vanish && found == 0;
            let wanted = write.filter(|_| !vanished).map_or(0, |&write| word(write, index));
            assert_eq!(found, wanted, "{page:?} of {:?}, word {index}: {write:?}", self.space);
        }
        Ok(())
    }

    /// Writes every page of a range.
    ///
    /// # Panics
    /// If the program dies of it.
    pub fn write_all(&mut self, range: Range<Vpn>) {
        pages(&range).for_each(|page| self.write(page).expect("alive"));
    }

    /// Checks every page of a range.
    ///
    /// # Panics
    /// If a page holds the wrong bytes, or the program dies.
    pub fn check_all(&self, range: Range<Vpn>) {
        pages(&range).for_each(|page| self.check(page).expect("alive"));
    }

    /// Ends the program: its address space goes.
    pub fn exit(self) {
        drop(self);
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // A machine that has come to its end frees nothing any more.
        if !std::thread::panicking() {
            // First: the space's number may be another program's before the call returns.
            self.machine.world.sched.forget_kill(self.space);
            self.call(|mm| mm.destroy_space(self.space)).expect("the program's own space");
        }
    }
}
