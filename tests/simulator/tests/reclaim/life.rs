//! The run of one program of a [`crew`](crate::crew): random steps, then a check of everything that
//! it owns.

use std::ops::Range;

use mm_reclaim::mmap::Advice;
use mm_reclaim::space::SpaceError;
use mm_reclaim::units::{Nanos, Vpn};
use mm_reclaim::{Place, SwapOffError};
use simulator::rng::Rng;
use simulator::{Death, Machine, Program};

use crate::crew::{Crew, Orders};

/// Virtual time that a step may take: an hour. Whatever waits longer is taken to hang.
const MOST: Nanos = Nanos::from_millis(3_600_000);
/// How often a page that cannot be read is tried again.
const TRIES: u64 = 4;

/// A program and what it does next.
pub struct Life<'m> {
    machine: Machine<'m>,
    rng: Rng,
    program: Program<'m>,
    area: Range<Vpn>,
    steps: u32,
}

impl<'m> Life<'m> {
    /// A new program.
    pub fn begin(machine: Machine<'m>, orders: &Orders, seed: u64) -> Result<Self, SpaceError> {
        let mut program = Program::try_new(machine)?;
        let start = program.map_at(Place::Anywhere, orders.pages)?;
        let area = start..start + orders.pages;
        Ok(Self { machine, rng: Rng::new(seed), program, area, steps: orders.steps })
    }

    /// A child with as many steps as its parent has left.
    pub fn child(&mut self) -> Result<Self, SpaceError> {
        let program = self.program.fork()?;
        let rng = Rng::new(self.rng.next());
        Ok(Self { machine: self.machine, rng, program, area: self.area.clone(), steps: self.steps })
    }

    /// Does all steps.
    pub fn run(&mut self, crew: &Crew<'m>) -> Result<(), Death> {
        use mm_reclaim::env::Clock;
        while self.steps > 0 {
            self.steps -= 1;
            let start = self.machine.world.sched.now();
            self.step(crew)?;
            let took = self.machine.world.sched.now().0 - start.0;
            assert!(took < MOST.0, "a step took {took} ns");
        }
        Ok(())
    }

    /// A page, mostly near the front.
    fn page(&mut self) -> Vpn {
        let end = 1 + self.rng.below(u64::from(self.area.end - self.area.start));
        self.area.start + self.rng.below(end) as u32
    }

    fn stretch(&mut self) -> Range<Vpn> {
        let from = self.page();
        let len = 1 + self.rng.below(64) as u32;
        from..Vpn((from.0 + len).min(self.area.end.0))
    }

    fn step(&mut self, crew: &Crew<'m>) -> Result<(), Death> {
        match self.rng.below(1000) {
            0..300 => {
                let page = self.page();
                self.program.write(page)
            }
            300..400 => {
                let range = self.stretch();
                pages(&range).try_for_each(|page| self.program.write(page))
            }
            400..940 => {
                let page = self.page();
                self.program.check(page)
            }
            940..960 => {
                let range = self.stretch();
                let advice = [Advice::PageOut, Advice::Cold, Advice::DontNeed, Advice::Free];
                let advice = advice[self.rng.below(4) as usize];
                match self.program.advise(range, advice) {
                    Ok(_) => Ok(()),
                    Err(error) => self.refused(crew, error),
                }
            }
            960..970 => self.remap(crew),
            970..975 => {
                self.machine.sleep(Nanos(self.rng.below(3_000_000)));
                Ok(())
            }
            975..985 => match crew.fork(self) {
                Ok(()) => Ok(()),
                Err(error) => self.refused(crew, error),
            },
            985..990 => self.pin(crew),
            990..993 => self.switch(crew),
            993..996 => {
                self.rescore(crew);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An operation was refused: for a good reason, or because the program is dead.
    fn refused(&self, crew: &Crew<'m>, error: SpaceError) -> Result<(), Death> {
        if error == SpaceError::Killed {
            assert!(self.is_killed(), "{:?} was not killed", self.program.space);
            return Err(Death::Killed);
        }
        crew.refused(error);
        Ok(())
    }

    /// Takes a device out of use, and into use again if it is out.
    fn switch(&mut self, crew: &Crew<'m>) -> Result<(), Death> {
        let Some(device) = crew.device(&mut self.rng) else { return Ok(()) };
        match self.program.call(|mm| mm.swapoff(device)) {
            Ok(()) => crew.switched_off(device),
            Err(SwapOffError::NotOn) => crew.switch_on(device),
            Err(SwapOffError::NoMemory { .. }) => crew.note(|t| t.refused += 1),
            Err(SwapOffError::Read { .. }) => crew.note(|t| t.bus_errors += 1),
            Err(SwapOffError::Killed) => return Err(Death::Killed),
        }
        Ok(())
    }

    /// Becomes more or less likely to be killed.
    fn rescore(&mut self, crew: &Crew<'m>) {
        let scores = [0, -500, 500, 1000, -999, -1000];
        let score = scores[self.rng.below(if crew.may_lack() { 6 } else { 5 }) as usize];
        self.program.call(|mm| mm.set_oom_score_adj(self.program.space, score)).expect("in range");
    }

    /// Unmaps a range and maps it again: areas split, and sometimes merge again.
    fn remap(&mut self, crew: &Crew<'m>) -> Result<(), Death> {
        let range = self.stretch();
        let pages = range.end - range.start;
        let done = self.program.unmap(range.clone());
        match done.and_then(|()| self.program.map_at(Place::Fixed(range.start), pages)) {
            Ok(_) => Ok(()),
            Err(error) => self.refused(crew, error),
        }
    }

    /// Locks a few pages into memory for a while.
    fn pin(&mut self, crew: &Crew<'m>) -> Result<(), Death> {
        let mut range = self.stretch();
        range.end = range.end.min(range.start + 8);
        let end = match self.program.lock(range.clone(), true) {
            Ok(()) => pages(&range).try_for_each(|p| self.program.check(p)),
            // A page could not be read, as the program will find out when it touches it.
            Err(SpaceError::BadRange { start, end }) if end == start + 1 => {
                crew.note(|t| t.bus_errors += 1);
                Ok(())
            }
            Err(error) => self.refused(crew, error),
        };
        match self.program.lock(range, false) {
            Ok(()) => end,
            Err(error) => end.and_then(|()| self.refused(crew, error)),
        }
    }

    /// Whether the program was killed.
    pub fn is_killed(&self) -> bool {
        self.program.is_killed()
    }

    /// Checks every page after the end, as long as the program is not killed; returns how often one
    /// could not be read. What can be read must be right.
    pub fn verify(&self) -> u64 {
        let mut errors = 0;
        for page in pages(&self.area) {
            for _ in 0..TRIES {
                match self.program.check(page) {
                    Ok(()) => break,
                    Err(Death::BusError) => errors += 1,
                    Err(Death::Killed) => return errors,
                    Err(Death::BadAddress) => panic!("{page:?} of the program is gone"),
                }
            }
        }
        errors
    }
}

fn pages(range: &Range<Vpn>) -> impl Iterator<Item = Vpn> + use<> {
    (range.start.0..range.end.0).map(Vpn)
}
