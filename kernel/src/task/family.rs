//! Parents and children, process numbers, names and exit statuses.
//!
//! **Data.** One [`Person`] per task. **Owner and lock.** Part of the scheduler's state, under its
//! lock. Pure, and tested on the host.
//!
//! A child whose parent exits becomes init's (process 1), as in POSIX; without an init it has no
//! parent and leaves no zombie.

use super::{MAX_TASKS, TaskId};

/// Bytes of a task's name, including the final zero, as in Linux (`TASK_COMM_LEN`).
pub const NAME_BYTES: usize = 16;

/// The process number of the first user task.
pub const INIT_PID: u32 = 1;

/// A program's text up to its first zero. Anything but a plain character becomes a question mark,
/// since it could move the cursor.
pub fn printable(text: &mut [u8]) -> &str {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = &mut text[..end];
    text.iter_mut().filter(|byte| !matches!(byte, b' '..=b'~')).for_each(|byte| *byte = b'?');
    core::str::from_utf8(text).unwrap_or("?")
}

/// The data of a task apart from scheduling.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// The process number.
    pub pid: u32,
    /// The parent.
    pub parent: Option<TaskId>,
    /// The status as `wait4` reports it, once the task has exited.
    pub status: i32,
    /// The name, padded with zeroes.
    pub name: [u8; NAME_BYTES],
    /// The task has exited and can be waited for.
    pub exited: bool,
}

/// Which children to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    Any,
    /// The one with this process number.
    Pid(u32),
}

/// The caller of a wait has no such child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoChild;

/// All tasks' relations.
pub struct Family {
    people: [Option<Person>; MAX_TASKS],
    next_pid: u32,
}

impl Family {
    /// No tasks.
    pub const fn new() -> Self {
        Self { people: [None; MAX_TASKS], next_pid: INIT_PID }
    }

    /// Registers a task: a kernel task has process number 0.
    pub fn add(&mut self, id: TaskId, parent: Option<TaskId>, name: &[u8], kernel: bool) {
        let pid = if kernel { 0 } else { self.new_pid() };
        self.people[id.index()] =
            Some(Person { pid, parent, status: 0, name: padded(name), exited: false });
    }

    fn new_pid(&mut self) -> u32 {
        let pid = self.next_pid;
        // Numbers are never negative as `i32`, and not reused before they wrap around.
        self.next_pid = if pid >= i32::MAX as u32 { INIT_PID + 1 } else { pid + 1 };
        pid
    }

    /// Removes a task.
    pub fn forget(&mut self, id: TaskId) {
        self.people[id.index()] = None;
    }

    /// The data of `id`.
    pub fn get(&self, id: TaskId) -> Option<&Person> {
        self.people[id.index()].as_ref()
    }

    /// Renames `id`.
    pub fn rename(&mut self, id: TaskId, name: &[u8]) {
        if let Some(person) = &mut self.people[id.index()] {
            person.name = padded(name);
        }
    }

    /// The task with this process number, if it has not exited.
    pub fn find(&self, pid: u32) -> Option<TaskId> {
        self.position(|p| p.pid == pid && pid != 0 && !p.exited)
    }

    fn position(&self, mut test: impl FnMut(&Person) -> bool) -> Option<TaskId> {
        let at = self.people.iter().position(|p| p.as_ref().is_some_and(&mut test))?;
        Some(TaskId(at as u16))
    }

    /// Records that `id` exits with `status`; its children become init's. Returns init if it got
    /// children that have exited already, so that it can be woken.
    pub fn exit(&mut self, id: TaskId, status: i32) -> Option<TaskId> {
        if let Some(person) = &mut self.people[id.index()] {
            person.status = status;
        }
        let heir = self.find(INIT_PID).filter(|init| *init != id);
        let mut inherited_dead = false;
        for child in self.people.iter_mut().flatten().filter(|p| p.parent == Some(id)) {
            child.parent = heir;
            inherited_dead |= child.exited;
        }
        heir.filter(|_| inherited_dead)
    }

    /// Marks `id` as waitable; returns its parent, or `None` if it has none.
    pub fn exited(&mut self, id: TaskId) -> Option<TaskId> {
        let person = self.people[id.index()].as_mut()?;
        person.exited = true;
        person.parent
    }

    /// A child of `parent` that has exited: its slot, process number and status. The caller
    /// frees the slot.
    ///
    /// # Errors
    /// [`NoChild`] if there is no such child, exited or not.
    pub fn reapable(
        &self,
        parent: TaskId,
        which: Which,
    ) -> Result<Option<(TaskId, u32, i32)>, NoChild> {
        let of_interest = |p: &Person| {
            p.parent == Some(parent) && (which == Which::Any || which == Which::Pid(p.pid))
        };
        if let Some(id) = self.position(|p| of_interest(p) && p.exited) {
            return Ok(self.get(id).map(|p| (id, p.pid, p.status)));
        }
        self.position(of_interest).map(|_| None).ok_or(NoChild)
    }

    /// Tasks that exited and have no parent to wait for them, one at a time.
    pub fn abandoned(&self) -> Option<TaskId> {
        self.position(|p| p.exited && p.parent.is_none())
    }
}

impl Default for Family {
    fn default() -> Self {
        Self::new()
    }
}

fn padded(name: &[u8]) -> [u8; NAME_BYTES] {
    let mut out = [0; NAME_BYTES];
    let len = name.len().min(NAME_BYTES - 1);
    out[..len].copy_from_slice(&name[..len]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> Family {
        let mut family = Family::new();
        family.add(TaskId(0), None, b"main", true);
        for n in 1..4 {
            family.add(TaskId(n), Some(TaskId(n - 1)), b"program", false);
        }
        family
    }

    #[test]
    fn a_program_cannot_move_the_cursor() {
        assert_eq!(printable(&mut b"write 1%\0\0\0".to_vec()), "write 1%");
        assert_eq!(printable(&mut b"a\r\n\x1b[2J\xc3\xa4".to_vec()), "a???[2J??");
    }

    /// Process 1 is the first user task; kernel tasks have no number of their own.
    #[test]
    fn the_first_user_task_is_process_1() {
        let family = family();
        assert_eq!(family.find(1), Some(TaskId(1)));
        assert_eq!(family.find(0), None);
        assert_eq!(family.find(3), Some(TaskId(3)));
    }

    /// A status is returned to the parent, once, and only for a child that it waits for.
    #[test]
    fn a_parent_finds_its_dead_child() {
        let mut family = family();
        assert_eq!(family.reapable(TaskId(1), Which::Any), Ok(None));
        family.exit(TaskId(2), 7 << 8);
        assert_eq!(family.exited(TaskId(2)), Some(TaskId(1)));
        assert_eq!(family.reapable(TaskId(1), Which::Pid(9)), Err(NoChild));
        assert_eq!(family.reapable(TaskId(1), Which::Pid(2)), Ok(Some((TaskId(2), 2, 7 << 8))));
        family.forget(TaskId(2));
        assert_eq!(family.reapable(TaskId(1), Which::Pid(2)), Err(NoChild));
    }

    /// Orphans become init's, even exited ones; init's own children get no parent.
    #[test]
    fn orphans_are_inherited_by_init() {
        let mut family = family();
        family.exit(TaskId(3), 0);
        family.exited(TaskId(3));
        assert_eq!(family.exit(TaskId(2), 0), Some(TaskId(1)));
        assert_eq!(family.get(TaskId(3)).unwrap().parent, Some(TaskId(1)));
        assert_eq!(family.abandoned(), None);
        family.exited(TaskId(1));
        family.exit(TaskId(1), 0);
        assert_eq!(family.abandoned(), Some(TaskId(3)));
    }

    /// A name is truncated to fifteen bytes and ends with a zero.
    #[test]
    fn names_are_cut_to_fifteen_bytes() {
        let mut family = family();
        family.rename(TaskId(1), b"a name that is far too long");
        assert_eq!(&family.get(TaskId(1)).unwrap().name, b"a name that is \0");
        family.rename(TaskId(1), b"x");
        assert_eq!(family.get(TaskId(1)).unwrap().name[1..], [0; 15]);
    }
}
