//! A crew: tasks that each run one program at a time, forked children among them.
//!
//! A program that the OOM killer may kill needs a task of its own that ends it. So a fork is tried
//! only while some task of the crew has nothing to do, and that task takes the child over. How all
//! programs ended is counted in a [`Tally`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::env::{DeviceId, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::space::SpaceError;
use simulator::rng::{Rng, mix};
use simulator::{Death, Machine};

use crate::campaigns;
use crate::life::Life;

/// What idle members wait for.
const CREW: WaitKey = WaitKey(0xc4e3_0000_0000_0001);

/// What the programs of a crew do.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Tasks that begin with a program of their own.
    pub tasks: usize,
    /// Tasks that only run children.
    pub helpers: usize,
    /// Programs fork while a task has nothing to do.
    pub forks: bool,
    /// Pages of a program.
    pub pages: u32,
    /// Steps of a program.
    pub steps: u32,
    /// Programs that a task runs one after the other, at most.
    pub lives: u64,
    /// How many devices may go through `swapoff` and `swapon`: the last ones.
    pub switched: u8,
    /// A program may lack memory without having been killed.
    pub may_lack: bool,
    /// What the programs' choices are made from.
    pub seed: u64,
}

/// How the programs ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Programs that did all their steps.
    pub done: u64,
    /// Programs that died of a bus error.
    pub died: u64,
    /// Programs that were killed, or had a fault without memory.
    pub killed: u64,
    /// Forks.
    pub forks: u64,
    /// Devices taken out of use.
    pub swapoffs: u64,
    /// Operations refused because memory or a table was full.
    pub refused: u64,
    /// Faults that ended in a bus error: those that a program died of, those met while the
    /// pages of a program were verified after its end, and those met by locking pages and
    /// by taking a device out of use.
    pub bus_errors: u64,
}

/// The crew's state.
#[derive(Default)]
struct Roll<'m> {
    tally: Tally,
    /// Children that wait for a task.
    children: Vec<Life<'m>>,
    /// Devices that were taken out of use.
    off: BTreeSet<u8>,
    /// Tasks with nothing to do, less the children promised to them.
    idle: usize,
    /// Tasks at work, and promised children.
    at_work: usize,
}

/// The tasks of one machine that run its programs.
pub struct Crew<'m> {
    machine: Machine<'m>,
    orders: Orders,
    roll: Mutex<Roll<'m>>,
}

impl<'m> Crew<'m> {
    /// Runs a crew until all of its programs have ended.
    pub fn run(machine: Machine<'m>, orders: Orders) -> Tally {
        let members = orders.tasks + orders.helpers;
        let roll = Roll { at_work: members, ..Roll::default() };
        let crew = Self { machine, orders, roll: Mutex::new(roll) };
        machine.crowd(members, |_, who| crew.serve(who));
        let roll = crew.roll.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert!(roll.children.is_empty(), "a child was left over");
        roll.tally
    }

    fn roll(&self) -> MutexGuard<'_, Roll<'m>> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tally.
    pub fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.roll().tally);
    }

    /// What a task does: its own programs, then children until no task is at work.
    fn serve(&self, who: usize) {
        let mut rng = Rng::new(mix(self.orders.seed ^ who as u64));
        if who < self.orders.tasks {
            for _ in 0..1 + rng.below(self.orders.lives) {
                match Life::begin(self.machine, &self.orders, rng.next()) {
                    Ok(life) => self.live(life),
                    Err(error) => self.refused(error),
                }
            }
        }
        while let Some(child) = self.next_child() {
            self.live(child);
        }
    }

    /// Runs a program to its end, has its pages verified, and notes how it ended.
    fn live(&self, mut life: Life<'m>) {
        let end = life.run(self);
        let fair = end != Err(Death::Killed) || self.may_lack() || life.is_killed();
        assert!(fair, "a program that was not killed must not die");
        let errors = life.verify();
        self.note(|tally| {
            tally.bus_errors += errors;
            match end {
                Err(Death::BadAddress) => panic!("a program touches only what it has mapped"),
                Err(Death::BusError) => tally.bus_errors += 1,
                Ok(()) | Err(Death::Killed) => {}
            }
            match end {
                Ok(()) if !life.is_killed() => tally.done += 1,
                Err(Death::BusError) if !life.is_killed() => tally.died += 1,
                _ => tally.killed += 1,
            }
        });
    }

    /// Notes an operation that was refused, which must have been for a good reason.
    pub fn refused(&self, error: SpaceError) {
        let fair = matches!(error, SpaceError::NoMemory | SpaceError::TableFull);
        assert!(fair, "{error:?}");
        self.note(|t| t.refused += 1);
    }

    /// Waits until there is a child; `None` if there will be no more.
    fn next_child(&self) -> Option<Life<'m>> {
        {
            let mut roll = self.roll();
            roll.idle += 1;
            roll.at_work -= 1;
        }
        self.machine.world.wake(CREW);
        let mut child = None;
        let end = self.machine.world.wait_until(CREW, WaitMode::UNTIL_READY, &mut || {
            let mut roll = self.roll();
            child = roll.children.pop();
            child.is_some() || roll.at_work == 0
        });
        assert_eq!(end, WaitEnd::Ready);
        child
    }

    /// Whether a program may lack memory without having been killed.
    pub fn may_lack(&self) -> bool {
        self.orders.may_lack
    }

    /// A device that may be switched.
    pub fn device(&self, rng: &mut Rng) -> Option<DeviceId> {
        let count = u64::from(self.orders.switched);
        let disks = self.machine.world.disks.count() as u64;
        (count > 0).then(|| DeviceId((disks - 1 - rng.below(count)) as u8))
    }

    /// A device went out of use: its broken slots will be tried again.
    pub fn switched_off(&self, device: DeviceId) {
        let blocks = self.machine.world.disks.config(device).blocks;
        self.machine.make_swap(device, blocks);
        let mut roll = self.roll();
        roll.tally.swapoffs += 1;
        roll.off.insert(device.0);
    }

    /// Takes a device into use again, unless another task is doing so.
    pub fn switch_on(&self, device: DeviceId) {
        if self.roll().off.remove(&device.0) {
            campaigns::swap_on(self.machine, device);
        }
    }

    /// Forks if a task has time for the child.
    pub fn fork(&self, parent: &mut Life<'m>) -> Result<(), SpaceError> {
        {
            let mut roll = self.roll();
            if roll.idle == 0 || !self.orders.forks {
                return Ok(());
            }
            roll.idle -= 1;
            roll.at_work += 1;
        }
        let child = parent.child();
        let end = {
            let mut roll = self.roll();
            match child {
                Ok(child) => {
                    roll.tally.forks += 1;
                    roll.children.push(child);
                    Ok(())
                }
                Err(error) => {
                    roll.idle += 1;
                    roll.at_work -= 1;
                    Err(error)
                }
            }
        };
        self.machine.world.wake(CREW);
        end
    }
}
