//! Which task runs next: fairness by virtual time, with credit for sleepers (TASK-01).
//!
//! Each task has a virtual time, which grows by the time that it runs. Of the runnable tasks of a
//! CPU, the one with the least virtual time is next: over time all get the same. By itself this
//! order would either punish sleepers or reward them without limit:
//!
//! ```text
//!                     floor: the least virtual time of all runnable tasks
//!        CREDIT         |      up to a SLICE
//!   |<------------------|--------------------------->|
//!   a waking task       waiting tasks      the running task
//! ```
//!
//! A task that wakes keeps its own virtual time, but it is at most [`CREDIT`] behind the floor. It
//! preempts at once if it is more than [`GRANULARITY`] behind the running task. A program that uses
//! 10 microseconds and waits 100 for the disk is always behind, and runs as soon as its page has
//! been read; one that slept for an hour is ahead of others for 3 milliseconds. A new program
//! starts at its parent's virtual time plus a [`SLICE`], so that a chain of short-lived children
//! gets no more than one long-lived program.
//!
//! **The task that causes work pays for it.** kswapd and the disk's task are servers: they run for
//! others. Their time goes to the *account* of the task that woke them, or of the task for which
//! that one ran itself. kswapd also runs at that account's virtual time, just before its customer:
//! reclaim for a program takes from that program's share. The disk's task comes before all others,
//! since a task may wait for what it completes; its time is charged, so more requests mean less CPU
//! for the tasks that made them. Only a server that wakes it keeps the CPU until it sleeps: no task
//! waits for what kswapd writes, and one batch costs less than many. So "with N others a program
//! takes N + 1 times as long" holds for all work that the program causes, and each of the others
//! keeps its share.
//!
//! Everything here is a pure function of virtual times; [`super::table`] applies it.
//!
//! Counterpart in Linux: the ideas of `kernel/sched/fair.c` (`place_entity`,
//! `check_preempt_wakeup`, `START_DEBIT`), without weights and groups. Accounts are this
//! kernel's own.

use mm_reclaim::units::Nanos;

use super::TaskId;

/// How long a task runs before its CPU checks for another one.
pub const SLICE: Nanos = Nanos::from_millis(4);

/// How far behind the others a waking task may be. More than [`GRANULARITY`], or sleepers would
/// wait for the end of a slice.
pub const CREDIT: Nanos = Nanos::from_millis(3);

/// How far behind the running task a woken one has to be to take the CPU: with less, two tasks that
/// wake each other would switch at every step.
pub const GRANULARITY: Nanos = Nanos(500_000);

/// The CPU time of a task, as the scheduler counts it, in counter ticks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VirtualTime(u64);

impl VirtualTime {
    /// Where a CPU starts: large enough that a credit can be subtracted.
    pub const START: Self = Self(1 << 40);

    /// Advances by `ticks` on the CPU, modulo 2^64, so that they can be subtracted again.
    #[inline]
    pub fn after(self, ticks: u64) -> Self {
        Self(self.0.wrapping_add(ticks))
    }
}

/// The class of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// For itself.
    Own,
    /// For the tasks that wake it, at their virtual time and before them.
    Serves,
    /// For the tasks that wake it, and before all others: it completes what a task may wait for.
    First,
}

/// The input of the decision between two tasks of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The class of the task.
    pub class: Class,
    /// The task whose account it charges.
    pub account: TaskId,
    /// The virtual time of that account.
    pub time: VirtualTime,
}

/// A task's place in the order: the least is next, and among equals the first in the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(u64);

impl Standing {
    /// The place in the order: of one account, the server comes before the customer.
    #[inline]
    pub fn rank(self) -> Rank {
        match self.class {
            Class::First => Rank(0),
            Class::Serves => Rank(self.time.0 * 2),
            Class::Own => Rank(self.time.0 * 2 + 1),
        }
    }
}

/// The three times of the policy in counter ticks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// [`SLICE`].
    pub slice: u64,
    credit: u64,
    granularity: u64,
}

impl Pace {
    /// With as many ticks as `ticks_in` says.
    pub fn new(ticks_in: impl Fn(Nanos) -> u64) -> Self {
        Self {
            slice: ticks_in(SLICE),
            credit: ticks_in(CREDIT),
            granularity: ticks_in(GRANULARITY),
        }
    }

    /// With one tick per nanosecond.
    pub const NANOS: Self = Self { slice: SLICE.0, credit: CREDIT.0, granularity: GRANULARITY.0 };

    /// Whether the task that was just woken preempts the running one, if [`preempts_by_class`] does
    /// not decide.
    #[inline]
    pub fn preempts(&self, woken: Standing, running: Standing) -> bool {
        match (woken.class, running.class) {
            (Class::Serves, Class::Own) if woken.account == running.account => true,
            _ => woken.time.after(self.granularity) < running.time,
        }
    }

    /// The virtual time of a task that wakes with `own`. `floor` is the least of its CPU.
    #[inline]
    pub fn woken(&self, own: VirtualTime, floor: VirtualTime) -> VirtualTime {
        own.max(VirtualTime(floor.0.saturating_sub(self.credit)))
    }

    /// The virtual time of a new program; `parent` is its parent's, if that is on the same CPU.
    pub fn forked(&self, parent: Option<VirtualTime>, floor: VirtualTime) -> VirtualTime {
        parent.map_or(floor, |parent| parent.max(floor)).after(self.slice)
    }
}

/// Whether a woken task preempts the running one, if virtual times do not matter. `by_running`: the
/// running task woke it.
#[inline]
pub fn preempts_by_class(woken: Class, running: Class, by_running: bool) -> Option<bool> {
    match (woken, running) {
        (_, Class::First) => Some(false),
        (Class::First, Class::Serves) => Some(!by_running),
        (Class::First, Class::Own) => Some(true),
        _ => None,
    }
}

/// The virtual time of a task that yields to others, of which `least` is next: it goes behind that
/// one, but not behind all.
pub fn yielded(own: VirtualTime, least: Option<VirtualTime>) -> VirtualTime {
    least.map_or(own, |least| own.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace::NANOS;

    fn at(us: u64) -> VirtualTime {
        VirtualTime::START.after(us * 1000)
    }

    fn standing(class: Class, account: u16, us: u64) -> Standing {
        Standing { class, account: TaskId(account), time: at(us) }
    }

    /// TASK-01: a sleeper's credit is bounded, and CPU time that it already had counts.
    #[test]
    fn a_sleeper_is_at_most_its_credit_behind() {
        for (own, floor, expected) in [
            (0, 60_000_000, 59_997_000),
            (9_000, 10_000, 9_000),
            (7_000, 10_000, 7_000),
            (6_999, 10_000, 7_000),
            (14_000, 10_000, 14_000),
        ] {
            assert_eq!(PACE.woken(at(own), at(floor)), at(expected), "{own} woken at {floor}");
        }
    }

    /// TASK-01: forking gains no CPU time.
    #[test]
    fn a_child_starts_behind_its_parent_and_behind_the_floor() {
        for (parent, floor, expected) in
            [(Some(50_000), 49_000, 54_000), (Some(47_000), 49_000, 53_000), (None, 49_000, 53_000)]
        {
            assert_eq!(
                PACE.forked(parent.map(at), at(floor)),
                at(expected),
                "{parent:?} at {floor}"
            );
        }
    }

    #[test]
    fn who_yields_goes_behind_the_next_and_no_further() {
        assert_eq!(yielded(at(5), None), at(5));
        assert_eq!(yielded(at(5), Some(at(9))), at(9));
        assert_eq!(yielded(at(9), Some(at(5))), at(9));
    }

    /// TASK-01: the task that completes I/O comes first; then virtual time decides; a server goes
    /// before its customer, but not before a third task with less.
    #[test]
    fn the_order_of_the_ready() {
        let order = [
            standing(Class::First, 1, 900),
            standing(Class::Own, 2, 10),
            standing(Class::Serves, 3, 20),
            standing(Class::Own, 3, 20),
            standing(Class::Own, 4, 21),
        ];
        assert!(order.iter().map(|s| s.rank()).is_sorted_by(|a, b| a < b));
    }

    /// TASK-01: which task preempts which.
    #[test]
    fn who_takes_the_cpu_at_once() {
        use Class::{First, Own, Serves};
        for (woken, running, takes) in [
            // Programs: by more than the granularity.
            ((Own, 1, 1_000), (Own, 2, 1_501), true),
            ((Own, 1, 1_000), (Own, 2, 1_500), false),
            ((Own, 1, 2_000), (Own, 2, 1_000), false),
            // The disk's task: always, but never another of its class or a server that woke it.
            ((First, 1, 9_000), (Own, 2, 0), true),
            ((First, 1, 9_000), (Serves, 2, 0), false),
            ((First, 1, 0), (First, 2, 9_000), false),
            ((Own, 1, 0), (First, 2, 9_000), false),
            // kswapd: its customer, whose virtual time is its own, but not the reverse.
            ((Serves, 2, 500), (Own, 2, 500), true),
            ((Own, 2, 500), (Serves, 2, 500), false),
            ((Serves, 1, 500), (Own, 2, 400), false),
            ((Serves, 1, 500), (Own, 2, 1_001), true),
        ] {
            let stands = |(class, account, us)| standing(class, account, us);
            let (by_class, times) = (
                preempts_by_class(woken.0, running.0, true),
                PACE.preempts(stands(woken), stands(running)),
            );
            let answer = by_class.unwrap_or(times);
            assert_eq!(answer, takes, "{woken:?} woken while {running:?} runs");
        }
        assert_eq!(preempts_by_class(First, Serves, false), Some(true), "a task may wait for it");
    }
}
