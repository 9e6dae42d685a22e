//! Schedules by number.
//!
//! A schedule's number seeds everything that is left to chance in it, so that any failure
//! can be seen again. Four in five schedules prefer to go on with the same task, more or
//! less so: races of few steps want many changes, races across a long way want few. Every
//! fifth gives the tasks priorities that change at a few moments only, which finds orders
//! that need one task to be held up for long.

use std::env;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Schedules of each model on every day.
const EVERY_DAY: u64 = 400;
/// Schedules of each model in `scripts/test --long`.
const LONG: u64 = 100_000;
/// Steps after which a schedule is taken to run in circles.
const MAX_STEPS: usize = 3_000_000;
/// The whole machine is built on the first task's stack.
const STACK: usize = 1 << 18;
/// One step in so many changes a priority.
const CHANGE_EVERY: u64 = 400;

/// Runs `model` once for each schedule that is due: those in `once_failed`, which stay for
/// good, and then from number 0. `MODEL_SCHEDULES` says how many; `MODEL_SEED` is the only
/// one, to see a failure again.
///
/// # Panics
/// If a schedule fails; its number is told.
pub fn explore(name: &'static str, once_failed: &[u64], model: fn()) {
    let number = |key| env::var(key).ok().map(|v| v.parse().expect("a number of schedules"));
    let usual = if env::var_os("TEST_LONG").is_some() { LONG } else { EVERY_DAY };
    let seeds: Vec<u64> = match number("MODEL_SEED") {
        Some(seed) => vec![seed],
        None => {
            let many = number("MODEL_SCHEDULES").unwrap_or(usual);
            once_failed.iter().copied().chain(0..many).collect()
        }
    };
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    Runner::new(Chance::new(name, seeds), config).run(model);
}

/// Decides by a seed who goes on.
struct Chance {
    name: &'static str,
    seeds: std::vec::IntoIter<u64>,
    seed: u64,
    random: u64,
    policy: Policy,
}

/// How a schedule chooses.
enum Policy {
    /// Another task, whichever, about once in so many steps.
    Change(u64),
    /// The task with the highest number; by task, 0 for those not seen yet.
    Priority(Vec<u64>),
}

impl Chance {
    fn new(name: &'static str, seeds: Vec<u64>) -> Self {
        let seeds = seeds.into_iter();
        Self { name, seeds, seed: 0, random: 0, policy: Policy::Change(1) }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// The task of the highest priority. A task that yields waits for another: it goes to
    /// the end, and so does the first one now and then.
    fn first(&mut self, tasks: &[TaskId], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let fresh: Vec<u64> = tasks.iter().map(|_| 1 + self.below(1 << 32)).collect();
        let demote = yields || self.below(CHANGE_EVERY) == 0;
        let Policy::Priority(known) = &mut self.policy else { return None };
        for (task, fresh) in tasks.iter().zip(fresh) {
            let at = usize::from(*task);
            known.resize(known.len().max(at + 1), 0);
            if known[at] == 0 {
                known[at] = fresh + (1 << 32);
            }
        }
        if let Some(task) = current.filter(|_| demote) {
            let lowest = tasks.iter().map(|t| known[usize::from(*t)]).min().unwrap_or(2);
            if let Some(own) = known.get_mut(usize::from(task)) {
                *own = lowest.saturating_sub(1).max(1);
            }
        }
        let rank = |t: &&TaskId| (known[usize::from(**t)], Some(**t) != current);
        tasks.iter().max_by_key(rank).copied()
    }
}

impl Scheduler for Chance {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.seed = self.seeds.next()?;
        self.random = self.seed;
        self.policy = match self.seed % 5 {
            4 => Policy::Priority(Vec::new()),
            few => Policy::Change([2, 6, 30, 200][few as usize]),
        };
        Some(Schedule::new(self.seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let mut tasks: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
        let Policy::Change(every) = self.policy else {
            return self.first(&tasks, current, is_yielding);
        };
        let stays = current.filter(|task| tasks.contains(task));
        if let Some(task) = stays {
            if tasks.len() == 1 || !is_yielding && self.below(every) > 0 {
                return Some(task);
            }
            tasks.retain(|other| *other != task);
        }
        let at = self.below(tasks.len() as u64);
        tasks.get(at as usize).copied()
    }

    fn next_u64(&mut self) -> u64 {
        self.below(u64::MAX)
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (name, seed) = (self.name, self.seed);
            eprintln!("{name} failed in schedule {seed}; MODEL_SEED={seed} repeats it");
        }
    }
}
