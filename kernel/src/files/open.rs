//! Open descriptions, and the descriptors of tasks.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use bitflags::bitflags;
use mm_reclaim::env::{WaitEnd, WaitKey, WaitMode};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::Order;
use mm_reclaim::{Pattern, ReadAhead, Seen};

use super::{File, OpenError, put};
use crate::arch::growing::Growing;
use crate::arch::lock::IrqLock;
use crate::glue;
use crate::mount::{self, Mounted};
use crate::task::{self, MAX_TASKS, TaskId};

/// Open descriptions of all tasks: as many as a byte has values, less one.
const MOST_OPEN: usize = 255;
/// Descriptors of a task; the first three are the console.
const MOST_FDS: usize = 19;
const FIRST_FD: usize = 3;

bitflags! {
    /// What may be done with a description.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// It may be read.
        const READ = 1;
        /// It may be written.
        const WRITE = 2;
        /// Each write goes to the end.
        const APPEND = 4;
        /// It is a directory.
        const DIRECTORY = 8;
    }
}

/// An open description.
pub struct Open {
    /// The file, with a reference of its own.
    pub file: File,
    /// Where the next `read` or `write` begins.
    pub position: u64,
    /// What may be done.
    pub rights: Rights,
    /// The window of what is read ahead.
    pub ahead: ReadAhead,
    /// The order in which it is read.
    pub pattern: Pattern,
    /// What it knows of the write errors of the file.
    pub seen: Seen,
    /// The same of its file system's records.
    pub records_seen: Seen,
    /// The second in which it last said that the file was written.
    pub touched: u32,
    /// Descriptors that lead here.
    refs: u16,
    /// A task reads or writes at the position, and will move it.
    is_moving: bool,
}

impl Open {
    /// A description of `file`, which takes over the reference.
    pub fn new(file: File, rights: Rights, seen: Seen) -> Self {
        let (ahead, pattern) = (ReadAhead::new(), Pattern::Normal);
        let records_seen = mount::mounted().map_or_else(Seen::default, Mounted::errors);
        Self {
            file,
            position: 0,
            rights,
            ahead,
            pattern,
            seen,
            records_seen,
            touched: 0,
            refs: 1,
            is_moving: false,
        }
    }
}

type Slot = IrqLock<Option<Open>>;
type Table = Growing<Slot, { MOST_OPEN.div_ceil(Growing::<Slot, 1>::PER_FRAME) }>;
static OPEN: Table = Growing::new();

/// The places of descriptions, as far as the table has grown, and where each is.
fn slots() -> impl Iterator<Item = (usize, &'static Slot)> {
    (0..MOST_OPEN).map_while(|at| Some((at, OPEN.get(at)?)))
}

/// Makes the table one frame longer; false without memory, or if it is as long as it can be.
fn grow() -> bool {
    let len = slots().count();
    let mm = glue::mm();
    let take = || mm.alloc_pages(Gfp::KERNEL, Order::ZERO);
    len < MOST_OPEN
        && OPEN.grow(len, take, |frame| mm.free_pages(frame, Order::ZERO), || IrqLock::new(None))
}

/// For each task and descriptor the place in `OPEN` plus one, or 0.
static FDS: Growing<Fds, { MAX_TASKS.div_ceil(Growing::<Fds, 1>::PER_FRAME) }> = Growing::new();
type Fds = [AtomicU8; MOST_FDS - FIRST_FD];

/// The descriptors of a task, made if the table has not grown that far; `None` without memory.
fn make_fds(task: TaskId) -> Option<&'static Fds> {
    let mm = glue::mm();
    let take = || mm.alloc_pages(Gfp::KERNEL, Order::ZERO);
    let blank = || [const { AtomicU8::new(0) }; MOST_FDS - FIRST_FD];
    FDS.grow(task.index(), take, |frame| mm.free_pages(frame, Order::ZERO), blank);
    FDS.get(task.index())
}

fn cell(task: TaskId, fd: u64) -> Option<&'static AtomicU8> {
    // A descriptor is an `int`: the upper half of the register does not count.
    let at = (fd as u32 as usize).checked_sub(FIRST_FD)?;
    FDS.get(task.index())?.get(at)
}

fn place(fd: u64) -> Option<&'static IrqLock<Option<Open>>> {
    let at = cell(task::current_id(), fd)?.load(Relaxed);
    OPEN.get(usize::from(at).checked_sub(1)?)
}

/// Whether [`install`] would find room, which another task may take until then.
///
/// # Errors
/// As [`install`].
pub fn check_room() -> Result<(), OpenError> {
    let fds = make_fds(task::current_id()).ok_or(OpenError::NoMemory)?;
    if fds.iter().all(|at| at.load(Relaxed) != 0) {
        return Err(OpenError::TooManyFds);
    }
    match slots().any(|(_, slot)| slot.lock().is_none()) || grow() {
        true => Ok(()),
        false => Err(OpenError::TooMany),
    }
}

/// Gives the running task the lowest free descriptor for a description.
///
/// # Errors
/// If there is none, or there are as many descriptions as there can be; `open` was dropped.
pub fn install(open: Open) -> Result<u64, OpenError> {
    let fds = make_fds(task::current_id());
    let free = fds.and_then(|fds| fds.iter().position(|at| at.load(Relaxed) == 0));
    let mut open = Some(open);
    while let Some((fds, free)) = fds.zip(free) {
        for (at, slot) in slots() {
            let mut slot = slot.lock();
            if slot.is_none() {
                *slot = open.take();
                fds[free].store(at as u8 + 1, Relaxed);
                return Ok((FIRST_FD + free) as u64);
            }
        }
        if !grow() {
            break;
        }
    }
    if let Some(open) = open {
        put(open.file);
    }
    Err(if free.is_none() { OpenError::TooManyFds } else { OpenError::TooMany })
}

/// What `look` says of a description; `None` if the descriptor is not open.
pub fn view<R>(fd: u64, look: impl FnOnce(&Open) -> R) -> Option<R> {
    place(fd)?.lock().as_ref().map(look)
}

/// Changes a description, if it is still open.
pub fn update(fd: u64, change: impl FnOnce(&mut Open)) {
    if let Some(open) = place(fd).map(IrqLock::lock).as_deref_mut().and_then(Option::as_mut) {
        change(open);
    }
}

/// A position that no other task moves meanwhile.
pub struct HeldPosition(&'static IrqLock<Option<Open>>);

impl Drop for HeldPosition {
    fn drop(&mut self) {
        if let Some(open) = self.0.lock().as_mut() {
            open.is_moving = false;
        }
        task::wake(key_of(self.0));
    }
}

fn key_of(place: &'static IrqLock<Option<Open>>) -> WaitKey {
    WaitKey((&raw const *place).addr() as u64)
}

/// Has the position of a description to itself, so that tasks that share it read and write one after
/// the other. `None` for a description that nobody shares, and where there is none.
#[doc(alias = "f_pos_lock")]
pub fn hold_position(fd: u64) -> Option<HeldPosition> {
    let place = place(fd)?;
    if place.lock().as_ref()?.refs == 1 {
        return None;
    }
    let take = &mut || {
        let mut open = place.lock();
        let Some(open) = open.as_mut() else { return true };
        !core::mem::replace(&mut open.is_moving, true)
    };
    // Who has it is at work on the file, or is killed and stops.
    let _: WaitEnd = task::wait_until(key_of(place), WaitMode::UNTIL_READY, take);
    Some(HeldPosition(place))
}

/// Closes a descriptor of the running task; false if it was not open.
pub fn close(fd: u64) -> bool {
    let Some(cell) = cell(task::current_id(), fd) else { return false };
    let at = cell.swap(0, Relaxed);
    let is_open = at != 0;
    if is_open {
        drop_one(at);
    }
    is_open
}

/// One descriptor less leads to a description; the last closes it.
fn drop_one(at: u8) {
    let gone = {
        let Some(slot) = OPEN.get(usize::from(at) - 1) else { return };
        let mut slot = slot.lock();
        let is_last = slot.as_mut().is_some_and(|open| {
            open.refs -= 1;
            open.refs == 0
        });
        if is_last { slot.take() } else { None }
    };
    if let Some(open) = gone {
        put(open.file);
    }
}

/// Gives a new task the descriptors of another; false without memory.
pub fn inherit(parent: TaskId, child: TaskId) -> bool {
    let Some(parent) = FDS.get(parent.index()) else { return true };
    let Some(child) = make_fds(child) else { return false };
    for (from, to) in parent.iter().zip(child) {
        let at = from.load(Relaxed);
        if at != 0
            && let Some(slot) = OPEN.get(usize::from(at) - 1)
            && let Some(open) = slot.lock().as_mut()
        {
            open.refs += 1;
        }
        to.store(at, Relaxed);
    }
    true
}

/// Closes every descriptor of a task that ends.
pub fn close_all(task: TaskId) {
    for cell in FDS.get(task.index()).into_iter().flatten() {
        let at = cell.swap(0, Relaxed);
        if at != 0 {
            drop_one(at);
        }
    }
}
