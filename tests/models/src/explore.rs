//! Schedules by number.
//!
//! A schedule's number seeds all random choices in it, so that any failure can be repeated. Four in
//! six schedules prefer to continue the same task, to different degrees: races of few steps need
//! many switches, races over a long distance need few. The fifth of six gives the tasks priorities
//! that change rarely, and the sixth delays tasks for long, mostly where they are about to act on
//! what they have read: both find orders in which other tasks get far in the meantime.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use std::{env, mem, thread};

use mm_reclaim::{pass, pass_acts, pass_points};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use splitmix::SplitMix64;

/// Schedules of each model on every day.
const EVERY_DAY: u64 = 400;
/// Schedules of each model in `scripts/test --long`.
const LONG: u64 = 100_000;
/// Choices after which a schedule is taken to run in circles.
const MAX_STEPS: usize = 3_000_000;
/// The whole machine is built on the first task's stack.
const STACK: usize = 1 << 18;
/// One point in this many changes a priority.
const CHANGE_EVERY: u64 = 400;
/// One point in this many delays a task, and so does one lock or compare-and-swap.
const STALL_EVERY: u64 = 300;
const STALL_ACTS: u64 = 20;
/// The most points for which a task is delayed.
const STALL: u64 = 30_000;
/// Points that a task passes at once while it is the only one that can run.
const ALONE: u64 = 1000;
/// Progress is printed every this many schedules.
const TELL_EVERY: usize = 20_000;

/// Runs `model` once for each schedule that is due: those in `once_failed`, which stay for
/// good, and then from number 0. `MODEL_SCHEDULES` says how many; `MODEL_SEED` is the only
/// one, to see a failure again. Each CPU takes the next that is left.
///
/// # Panics
/// If a schedule fails; its number is printed.
pub fn explore(name: &'static str, once_failed: &[u64], model: fn()) {
    let number = |key| env::var(key).ok().map(|v| v.parse().expect("a number of schedules"));
    let usual = if env::var_os("TEST_LONG").is_some() { LONG } else { EVERY_DAY };
    let seeds = match number("MODEL_SEED") {
        Some(seed) => vec![seed],
        None => {
            let many = number("MODEL_SCHEDULES").unwrap_or(usual);
            once_failed.iter().copied().chain(0..many).collect()
        }
    };
    let queue = Arc::new(Queue { name, seeds, next: AtomicUsize::new(0), start: Instant::now() });
    let runs = || {
        Runner::new(Chance::new(queue.clone()), config()).run(model);
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from).min(queue.seeds.len());
    let failure = thread::scope(|scope| {
        let runners: Vec<_> = (0..cpus).map(|_| scope.spawn(runs)).collect();
        // All are waited for.
        let ends: Vec<_> = runners.into_iter().map(|runner| runner.join().err()).collect();
        ends.into_iter().flatten().next()
    });
    match failure {
        Some(cause) => resume_unwind(cause),
        None => queue.tell(queue.seeds.len()),
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
}

/// The schedules of a model that are due.
struct Queue {
    name: &'static str,
    seeds: Vec<u64>,
    next: AtomicUsize,
    start: Instant,
}

impl Queue {
    fn take(&self) -> Option<u64> {
        let at = self.next.fetch_add(1, Relaxed);
        if at > 0 && at < self.seeds.len() && at.is_multiple_of(TELL_EVERY) {
            self.tell(at);
        }
        self.seeds.get(at).copied()
    }

    /// After a failure no other one begins.
    fn close(&self) {
        self.next.store(self.seeds.len(), Relaxed);
    }

    fn tell(&self, many: usize) {
        let (name, seconds) = (self.name, self.start.elapsed().as_secs_f32());
        if many < TELL_EVERY {
            return;
        }
        // Not by `eprintln`, which a test's harness keeps to itself.
        let line = format!("{name}: {many} schedules in {seconds:.0} s\n");
        let _told = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
}

/// Decides by a seed which task runs next.
struct Chance {
    queue: Arc<Queue>,
    seed: u64,
    random: SplitMix64,
    policy: Policy,
    /// No other task could run at the last decision.
    alone: bool,
    /// Points that were passed, about.
    now: u64,
}

/// How a schedule chooses.
enum Policy {
    /// Any other task, about once in this many points.
    Change(u64),
    /// The task with the highest number; by task, 0 for those not seen yet.
    Priority(Vec<u64>),
    /// Any but those that are delayed, each until a point.
    Stall(Vec<(TaskId, u64)>),
}

impl Chance {
    fn new(queue: Arc<Queue>) -> Self {
        let random = SplitMix64::new(0);
        Self { queue, seed: 0, random, policy: Policy::Change(1), alone: false, now: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        let fraction = u128::from(self.random.next());
        ((fraction * u128::from(bound)) >> 64) as u64
    }

    /// Skips the next points, at random `every` of them on average.
    fn pass_some(&mut self, every: u64) {
        let mut points = 0;
        while self.below(every) > 0 {
            points += 1;
        }
        self.now += 1 + points;
        pass_points(points);
    }

    /// The task of the highest priority. A task that yields waits for another: it goes to
    /// the end, and so does the first one occasionally.
    fn first(&mut self, tasks: &[&Task], current: Option<TaskId>, demote: bool) -> Option<TaskId> {
        for task in tasks {
            let at = usize::from(task.id());
            let fresh = 1 + (1 << 32) + self.below(1 << 32);
            let Policy::Priority(known) = &mut self.policy else { return None };
            known.resize(known.len().max(at + 1), 0);
            if known[at] == 0 {
                known[at] = fresh;
            }
        }
        let Policy::Priority(known) = &mut self.policy else { return None };
        if let Some(task) = current.filter(|_| demote) {
            let lowest = tasks.iter().map(|t| known[usize::from(t.id())]).min().unwrap_or(2);
            if let Some(own) = known.get_mut(usize::from(task)) {
                *own = lowest.saturating_sub(1).max(1);
            }
        }
        let rank = |id: &TaskId| (known[usize::from(*id)], Some(*id) != current);
        tasks.iter().map(|task| task.id()).max_by_key(rank)
    }

    /// Any task but the current one, if there is another.
    fn any(&mut self, tasks: &[&Task], current: Option<TaskId>) -> Option<TaskId> {
        self.one_of(tasks, |id| Some(id) != current).or(current)
    }

    /// Any task that is not delayed; if there is none, one that is. The current one comes last: it
    /// yields, or was just delayed.
    fn awake(&mut self, tasks: &[&Task], current: Option<TaskId>) -> Option<TaskId> {
        let now = self.now;
        let Policy::Stall(held) = &mut self.policy else { return None };
        held.retain(|(_, until)| *until > now);
        let held: Vec<TaskId> = held.iter().map(|(task, _)| *task).collect();
        let next = self
            .one_of(tasks, |id| Some(id) != current && !held.contains(&id))
            .or_else(|| self.last_of(tasks, &held))?;
        if let Policy::Stall(held) = &mut self.policy {
            held.retain(|(task, _)| *task != next);
        }
        Some(next)
    }

    /// Mostly the one that was delayed last, so that the others stay delayed for long.
    fn last_of(&mut self, tasks: &[&Task], held: &[TaskId]) -> Option<TaskId> {
        let last = held.iter().rev().find(|id| tasks.iter().any(|task| task.id() == **id));
        match last {
            Some(last) if self.below(4) > 0 => Some(*last),
            _ => self.one_of(tasks, |_| true),
        }
    }

    fn one_of(&mut self, tasks: &[&Task], fits: impl Fn(TaskId) -> bool) -> Option<TaskId> {
        let fitting = || tasks.iter().map(|task| task.id()).filter(|id| fits(*id));
        let many = fitting().count() as u64;
        if many == 0 {
            return None;
        }
        let at = self.below(many);
        fitting().nth(at as usize)
    }
}

impl Scheduler for Chance {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.seed = self.queue.take()?;
        self.random = SplitMix64::new(self.seed);
        self.now = 0;
        self.policy = match self.seed % 6 {
            4 => Policy::Priority(Vec::new()),
            5 => Policy::Stall(Vec::new()),
            few => Policy::Change([2, 6, 30, 200][few as usize]),
        };
        self.alone = false;
        pass_points(0);
        pass_acts(u64::MAX);
        Some(Schedule::new(self.seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        // Shuttle asks at its own operations too, which are points like all others.
        let due = !pass() | mem::take(&mut self.alone);
        let stays = runnable.iter().any(|task| Some(task.id()) == current);
        if let Policy::Priority(_) = self.policy {
            if due {
                self.pass_some(CHANGE_EVERY);
            }
            return self.first(runnable, current, due || is_yielding);
        }
        if let [only] = runnable {
            // Or until it wakes a task: see `World::wake`.
            pass_points(ALONE);
            self.alone = true;
            return Some(only.id());
        }
        if !due && !is_yielding && stays {
            return current;
        }
        if let Policy::Change(every) = self.policy {
            self.pass_some(every);
            return self.any(runnable, current);
        }
        self.pass_some(STALL_EVERY);
        let acts = self.below(2 * STALL_ACTS);
        pass_acts(acts);
        let until = self.now + self.below(STALL);
        if let (Policy::Stall(held), Some(task), true) = (&mut self.policy, current, due && stays) {
            held.push((task, until));
        }
        self.awake(runnable, current)
    }

    fn next_u64(&mut self) -> u64 {
        self.below(u64::MAX)
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if thread::panicking() {
            self.queue.close();
            let (name, seed) = (self.queue.name, self.seed);
            eprintln!("{name} failed in schedule {seed}; MODEL_SEED={seed} repeats it");
        }
    }
}
