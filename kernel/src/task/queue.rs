//! FIFO queues of tasks, linked by task number.
//!
//! Pure: the links are words of a table that the caller owns, one word per task and kind of queue.
//! A task is on at most one queue of a kind.

use super::TaskId;

/// The number for no task.
const NONE: u16 = u16::MAX;

/// The link of a task to the next one on its queue.
#[derive(Clone, Copy, Debug)]
pub struct Link(u16);

impl Link {
    /// A link of a task that is last, or on no queue.
    pub const NONE: Self = Self(NONE);
}

/// A queue's two ends.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u16,
    tail: u16,
}

fn task(number: u16) -> Option<TaskId> {
    if number == NONE { None } else { Some(TaskId(number)) }
}

impl Queue {
    /// An empty queue.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The first task.
    pub fn first(&self) -> Option<TaskId> {
        task(self.head)
    }

    /// The task after `id`.
    pub fn after(links: &[Link], id: TaskId) -> Option<TaskId> {
        task(links[id.index()].0)
    }

    /// Appends `id`, which is on no queue of this kind.
    pub fn push_back(&mut self, links: &mut [Link], id: TaskId) {
        links[id.index()] = Link::NONE;
        match task(self.tail) {
            Some(last) => links[last.index()] = Link(id.0),
            None => self.head = id.0,
        }
        self.tail = id.0;
    }

    /// The tasks on it.
    pub fn tasks(self, links: &[Link]) -> impl Iterator<Item = TaskId> {
        core::iter::successors(self.first(), |id| Self::after(links, *id))
    }

    /// Removes and returns the first task.
    pub fn pop(&mut self, links: &mut [Link]) -> Option<TaskId> {
        let first = self.first()?;
        self.head = links[first.index()].0;
        if self.head == NONE {
            self.tail = NONE;
        }
        links[first.index()] = Link::NONE;
        Some(first)
    }

    /// Removes and returns the task with the least rank, among equals the first. Linear in the
    /// queue's length.
    pub fn take_least<R: Ord>(
        &mut self,
        links: &mut [Link],
        rank: impl Fn(TaskId) -> R,
    ) -> Option<TaskId> {
        if self.head == self.tail {
            return self.pop(links);
        }
        let mut at = self.first()?;
        let (mut least, mut before_least) = ((rank(at), at), None);
        while let Some(next) = Self::after(links, at) {
            let rank = rank(next);
            if rank < least.0 {
                (least, before_least) = ((rank, next), Some(at));
            }
            at = next;
        }
        self.unlink(links, before_least, least.1);
        Some(least.1)
    }

    /// Removes `id`, wherever it is; false if it is not on this queue. Linear in the queue's
    /// length.
    pub fn remove(&mut self, links: &mut [Link], id: TaskId) -> bool {
        let mut before = None;
        let mut at = self.first();
        while let Some(found) = at {
            if found == id {
                self.unlink(links, before, id);
                return true;
            }
            before = at;
            at = Self::after(links, found);
        }
        false
    }

    fn unlink(&mut self, links: &mut [Link], before: Option<TaskId>, id: TaskId) {
        let next = links[id.index()];
        match before {
            Some(before) => links[before.index()] = next,
            None => self.head = next.0,
        }
        if self.tail == id.0 {
            self.tail = before.map_or(NONE, |b| b.0);
        }
        links[id.index()] = Link::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of these tasks.
    fn queue_of(numbers: &[u16], links: &mut [Link]) -> Queue {
        let mut queue = Queue::EMPTY;
        for n in numbers {
            queue.push_back(links, TaskId(*n));
        }
        queue
    }

    fn drain(mut queue: Queue, links: &mut [Link]) -> Vec<u16> {
        std::iter::from_fn(|| queue.pop(links)).map(|t| t.0).collect()
    }

    /// Tasks of equal rank take turns.
    #[test]
    fn tasks_of_equal_rank_leave_in_the_order_in_which_they_came() {
        let mut links = [Link::NONE; 8];
        let queue = queue_of(&[3, 1, 5], &mut links);
        assert_eq!(queue.tasks(&links).map(|t| t.0).collect::<Vec<_>>(), [3, 1, 5]);
        assert_eq!(drain(queue, &mut links), [3, 1, 5]);
    }

    /// TASK-01: the least is removed wherever it is, and the rest stays in order.
    #[test]
    fn the_least_leaves_first() {
        for least in [3u16, 1, 5] {
            let mut links = [Link::NONE; 8];
            let mut queue = queue_of(&[3, 1, 5], &mut links);
            let rank = |id: TaskId| u16::from(id.0 != least);
            assert_eq!(queue.take_least(&mut links, rank), Some(TaskId(least)));
            queue.push_back(&mut links, TaskId(7));
            let rest: Vec<u16> = [3, 1, 5, 7].into_iter().filter(|n| *n != least).collect();
            assert_eq!(drain(queue, &mut links), rest);
        }
        let mut links = [Link::NONE; 8];
        let mut queue = queue_of(&[3, 1, 5], &mut links);
        assert_eq!(queue.take_least(&mut links, |_| 0), Some(TaskId(3)), "among equals the first");
    }

    /// Removing from any place keeps the rest in order and the ends right.
    #[test]
    fn removing_keeps_the_rest() {
        for gone in [3u16, 1, 5] {
            let mut links = [Link::NONE; 8];
            let mut queue = queue_of(&[3, 1, 5], &mut links);
            assert!(queue.remove(&mut links, TaskId(gone)));
            assert!(!queue.remove(&mut links, TaskId(gone)));
            queue.push_back(&mut links, TaskId(7));
            let rest: Vec<u16> = [3, 1, 5, 7].into_iter().filter(|n| *n != gone).collect();
            assert_eq!(drain(queue, &mut links), rest);
        }
    }

    /// An emptied queue can be used again.
    #[test]
    fn an_emptied_queue_starts_afresh() {
        let mut links = [Link::NONE; 2];
        let mut queue = queue_of(&[1], &mut links);
        assert_eq!(queue.pop(&mut links), Some(TaskId(1)));
        assert!(queue.is_empty());
        queue.push_back(&mut links, TaskId(0));
        assert_eq!(drain(queue, &mut links), [0]);
    }
}
