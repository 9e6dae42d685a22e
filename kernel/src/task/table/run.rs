//! The choice of the running task: the run queues, virtual times and accounts. The rules are those
//! of [`crate::task::fair`]. Times of the clock are in counter ticks.

use super::{Leave, Pokes, RunQueue, Sched, Slot, State};
use crate::task::TaskId;
use crate::task::fair::{self, Class, Pace, Standing, VirtualTime};

impl Sched {
    /// Sets the times of the policy, once the clock is known.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// How long a task runs before [`Self::another_is_due`] is called.
    pub fn slice(&self) -> u64 {
        self.pace.slice
    }

    /// Makes `id`, which was not started yet, a server.
    pub fn serve(&mut self, id: TaskId, class: Class) {
        self.slots[id.index()].class = class;
    }

    /// Starts a new task: a program's child behind its parent, a kernel task like one that wakes.
    pub fn start(&mut self, id: TaskId, parent: Option<TaskId>, now: u64) -> Pokes {
        debug_assert_eq!(self.state(id), State::New);
        let cpu = self.cpu_of(id);
        self.count(cpu, now);
        let floor = self.raise_floor(cpu);
        let neighbour = parent.filter(|parent| self.cpu_of(*parent) == cpu);
        let parent = neighbour.map(|parent| self.time_of(parent));
        let slot = &mut self.slots[id.index()];
        slot.time = if slot.kernel {
            self.pace.woken(slot.time, floor)
        } else {
            self.pace.forked(parent, floor)
        };
        self.enqueue(id, None)
    }

    /// Makes a blocked task ready, since `by` woke it, or a timeout or a kill did.
    pub(super) fn make_ready(&mut self, id: TaskId, by: Option<TaskId>, now: u64) -> Pokes {
        let class = self.slots[id.index()].class;
        if class != Class::Own
            && let Some(by) = by
        {
            self.open_account(id, by);
        }
        // Class `First` comes first whatever its virtual time is.
        if class != Class::First {
            self.give_credit(id, now);
        }
        self.enqueue(id, by)
    }

    /// Limits how far behind a waking task may be.
    fn give_credit(&mut self, id: TaskId, now: u64) {
        let cpu = self.cpu_of(id);
        self.count(cpu, now);
        let floor = self.raise_floor(cpu);
        let account = self.slots[id.index()].account;
        let time = &mut self.slots[account.index()].time;
        *time = self.pace.woken(*time, floor);
    }

    /// Charges `id` to the account of `customer`, if they share a CPU: only times of one CPU can be
    /// compared.
    fn open_account(&mut self, id: TaskId, customer: TaskId) {
        let account = self.slots[customer.index()].account;
        let shared = self.cpu_of(account) == self.cpu_of(id);
        self.slots[id.index()].account = if shared { account } else { id };
    }

    /// `id` is gone: tasks that used its account get their own, with the same virtual time.
    #[cold]
    fn close_account(&mut self, id: TaskId) {
        let time = self.slots[id.index()].time;
        for at in 0..self.top {
            let slot = &mut self.slots[at];
            if slot.account == id && at != id.index() {
                (slot.account, slot.time) = (TaskId(at as u16), time);
            }
        }
    }

    /// Puts `id` on its CPU's queue; returns the CPU to poke if it should run at once.
    fn enqueue(&mut self, id: TaskId, by: Option<TaskId>) -> Pokes {
        let cpu = self.cpu_of(id);
        self.push(cpu, id);
        let RunQueue { running, idle, .. } = self.cpus[cpu];
        if running == idle || self.preempts(id, running, by) { 1 << cpu } else { 0 }
    }

    fn preempts(&self, woken: TaskId, running: TaskId, by: Option<TaskId>) -> bool {
        let slots = &self.slots;
        let classes = (slots[woken.index()].class, slots[running.index()].class);
        fair::preempts_by_class(classes.0, classes.1, by == Some(running))
            .unwrap_or_else(|| self.pace.preempts(standing(slots, woken), standing(slots, running)))
    }

    #[inline]
    fn push(&mut self, cpu: usize, id: TaskId) {
        let (slot, queue) = (&mut self.slots[id.index()], &mut self.cpus[cpu]);
        slot.state = State::Ready;
        let queue = if slot.class == Class::First { &mut queue.urgent } else { &mut queue.ready };
        queue.push_back(&mut self.ready_links, id);
    }

    /// Charges the time that the running task of `cpu` has run until `now` to its account.
    #[inline]
    fn count(&mut self, cpu: usize, now: u64) {
        let queue = &mut self.cpus[cpu];
        // Negative, if another CPU read the clock earlier and got the lock later: the next count
        // compensates.
        let ran = now.wrapping_sub(queue.counted);
        queue.counted = now;
        let time = &mut self.slots[queue.account.index()].time;
        *time = time.after(ran);
    }

    /// The virtual time of the account that `id` charges.
    fn time_of(&self, id: TaskId) -> VirtualTime {
        standing(&self.slots, id).time
    }

    /// The least virtual time of the ready tasks that compete by it.
    fn least_ready(&self, cpu: usize) -> Option<VirtualTime> {
        let ready = self.cpus[cpu].ready.tasks(&self.ready_links);
        ready.map(|id| self.time_of(id)).min()
    }

    /// Brings the floor of `cpu` up to date, after [`Self::count`].
    fn raise_floor(&mut self, cpu: usize) -> VirtualTime {
        let mut least = self.least_ready(cpu);
        let RunQueue { running, idle, floor, .. } = self.cpus[cpu];
        if running != idle && self.slots[running.index()].class != Class::First {
            let running = self.time_of(running);
            least = Some(least.map_or(running, |least| least.min(running)));
        }
        let floor = least.map_or(floor, |least| least.max(floor));
        self.cpus[cpu].floor = floor;
        floor
    }

    /// Whether another task should run, when the running task's slice is over.
    pub fn another_is_due(&mut self, cpu: usize, now: u64) -> bool {
        self.count(cpu, now);
        let RunQueue { running, idle, ready, urgent, .. } = self.cpus[cpu];
        if running == idle || !urgent.is_empty() {
            return !(urgent.is_empty() && ready.is_empty());
        }
        let rank = |id| standing(&self.slots, id).rank();
        ready.tasks(&self.ready_links).any(|id| rank(id) < rank(running))
    }

    /// The running task `id` gives up the CPU; false if it need not, since its wait is over.
    pub fn leave(&mut self, id: TaskId, how: Leave, now: u64) -> bool {
        let cpu = self.cpu_of(id);
        self.count(cpu, now);
        match how {
            Leave::Blocked if !self.slots[id.index()].wait.queued => return false,
            Leave::Blocked => self.put_away(cpu, id, State::Blocked),
            Leave::Exited => {
                self.put_away(cpu, id, State::Exited);
                self.close_account(id);
            }
            Leave::Ready => self.keep_ready(cpu, id),
            Leave::Yielding => {
                self.step_back(cpu, id);
                self.keep_ready(cpu, id);
            }
        }
        true
    }

    /// `id` does not compete any more. The floor is computed from the competing tasks when it is
    /// needed; so if none is left, it must be saved now.
    #[inline]
    fn put_away(&mut self, cpu: usize, id: TaskId, state: State) {
        self.slots[id.index()].state = state;
        if self.cpus[cpu].ready.is_empty() {
            self.cpus[cpu].floor = self.cpus[cpu].floor.max(self.time_of(id));
        }
    }

    #[cold]
    fn step_back(&mut self, cpu: usize, id: TaskId) {
        let least = self.least_ready(cpu);
        let slot = &mut self.slots[id.index()];
        slot.time = fair::yielded(slot.time, least);
    }

    fn keep_ready(&mut self, cpu: usize, id: TaskId) {
        if self.cpus[cpu].idle == id {
            self.slots[id.index()].state = State::Ready;
        } else {
            self.push(cpu, id);
        }
    }

    /// Chooses the next task for the CPU of `id`, which left it.
    pub fn pick_after(&mut self, id: TaskId) -> TaskId {
        let cpu = self.cpu_of(id);
        let next = self.next(cpu);
        self.adopt(cpu, next);
        next
    }

    #[inline]
    fn next(&mut self, cpu: usize) -> TaskId {
        let (slots, queue) = (&self.slots, &mut self.cpus[cpu]);
        if let Some(urgent) = queue.urgent.pop(&mut self.ready_links) {
            return urgent;
        }
        let rank = |id| standing(slots, id).rank();
        queue.ready.take_least(&mut self.ready_links, rank).unwrap_or(queue.idle)
    }
}

fn standing(slots: &[Slot], id: TaskId) -> Standing {
    let Slot { class, account, .. } = slots[id.index()];
    Standing { class, account, time: slots[account.index()].time }
}

#[cfg(test)]
mod tests;
