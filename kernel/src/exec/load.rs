//! Making a process from a program: address space, task, memory, entry.
//!
//! **Data.** One hand-over slot between the task that spawns and the new task, which loads its
//! program itself: its address space is then the current one, so that the user copy can fill it.
//! **Lock.** The slot's, a leaf.
//!
//! Each segment is mapped writable, filled, and then given its rights. The pages of bytes
//! that are zero are never touched.

use core::fmt;

use mm_reclaim::Place;
use mm_reclaim::env::{Prot, WaitKey, WaitMode};
use mm_reclaim::space::{AreaFlags, SpaceError, SpaceId};
use mm_reclaim::units::Vpn;
use mm_reclaim::zone::FrameRange;

use super::image::{Image, ImageError, Segment};
use super::stack::{InitialStack, TooLong};
use super::tar::{self, TarError};
use crate::arch::context::{UserState, set_user_state};
use crate::arch::lock::IrqLock;
use crate::arch::paging;
use crate::arch::trap::{self, TrapFrame};
use crate::arch::usercopy::{Fault, copy_to_user};
use crate::task::{self, SpawnError, exited_with};
use crate::{glue, println};

/// The end of a program's stack: 64 KiB below the end of its addresses.
const STACK_TOP: u64 = paging::USER_END - 0x1_0000;
/// Pages of a program's stack: 8 MiB, Linux's default limit.
const STACK_PAGES: u32 = 2048;
/// The exit status of a task whose program could not be loaded, as in shells.
const NOT_LOADED: i32 = 127;

/// A program that a new task is to load.
#[derive(Clone, Copy)]
struct Launch {
    name: &'static str,
    args: &'static str,
    image: Image<'static>,
    /// Frames that are free once it is loaded: those of the archive, if no other program follows.
    spare: Option<FrameRange>,
}

static LAUNCH: IrqLock<Option<Launch>> = IrqLock::new(None);
const LAUNCH_KEY: WaitKey = WaitKey(0x6c61_756e_6368_0001);

/// Why a program does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecError {
    /// It is not in the initrd.
    Archive(TarError),
    /// It is not a program for this machine.
    Image(ImageError),
    /// Its arguments are too long.
    Arguments,
    /// No address space, or no room in it.
    Space(SpaceError),
    /// No task.
    Spawn(SpawnError),
    /// Its memory could not be filled.
    Memory,
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
            Self::Arguments => write!(f, "its arguments are too long"),
            Self::Space(error) => write!(f, "no room: {error}"),
            Self::Spawn(error) => write!(f, "no task: {error}"),
            Self::Memory => write!(f, "no memory to load it into"),
        }
    }
}

impl core::error::Error for ExecError {}

impl From<SpaceError> for ExecError {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

impl From<Fault> for ExecError {
    fn from(_: Fault) -> Self {
        Self::Memory
    }
}

impl From<TooLong> for ExecError {
    fn from(_: TooLong) -> Self {
        Self::Arguments
    }
}

/// Starts the program `name` of the archive `initrd` as a child of the running task, which
/// can wait for it with [`task::wait_child`]. Returns its process number. `args` are
/// separated by spaces.
///
/// # Errors
/// [`ExecError`]. Memory may also run out later: the child then reports it and exits with status
/// 127.
pub fn spawn(
    initrd: &'static [u8],
    name: &'static str,
    args: &'static str,
) -> Result<u32, ExecError> {
    spawn_from(initrd, name, args, None)
}

/// As [`spawn`], for the only program that is run: when it has been loaded, `frames`, which are
/// the archive's, are handed over to the page allocator.
///
/// # Safety
/// Nothing refers to the archive after this call, and `frames` belong to it and were not handed
/// over.
///
/// # Errors
/// As [`spawn`]; the archive stays then.
pub unsafe fn spawn_only(
    initrd: &'static [u8],
    name: &'static str,
    args: &'static str,
    frames: Option<FrameRange>,
) -> Result<u32, ExecError> {
    spawn_from(initrd, name, args, frames)
}

fn spawn_from(
    initrd: &'static [u8],
    name: &'static str,
    args: &'static str,
    spare: Option<FrameRange>,
) -> Result<u32, ExecError> {
    let file = tar::find(initrd, name).map_err(ExecError::Archive)?;
    let image = Image::parse(file).map_err(ExecError::Image)?;
    InitialStack::new(name, args, STACK_TOP)?;
    let space = glue::mm().create_space()?;
    hand_over(Launch { name, args, image, spare });
    task::spawn_user(name.as_bytes(), space, load_and_enter).map_err(|error| {
        *LAUNCH.lock() = None;
        task::wake(LAUNCH_KEY);
        glue::mm().destroy_space(space).expect("made just now");
        ExecError::Spawn(error)
    })
}

/// Puts `launch` into the slot, once it is empty.
fn hand_over(launch: Launch) {
    let _ = task::wait_until(LAUNCH_KEY, WaitMode::UNTIL_READY, &mut || {
        let mut slot = LAUNCH.lock();
        let empty = slot.is_none();
        if empty {
            *slot = Some(launch);
        }
        empty
    });
}

/// The first thing that the new task does.
fn load_and_enter() -> ! {
    let launch = LAUNCH.lock().take().expect("a launch was handed over");
    task::wake(LAUNCH_KEY);
    let me = task::current();
    let space = me.space().expect("the task was made with an address space");
    match load(space, &launch) {
        Ok(sp) => {
            // Nothing refers to the archive any more: the caller of `spawn_only` promised it.
            if let Some(frames) = launch.spare {
                glue::mm().free_bootmem(frames);
            }
            set_user_state(&me.thread, UserState::new(sp));
            trap::enter_user(&TrapFrame::user(launch.image.entry))
        }
        Err(error) => {
            println!("{}: {error}", launch.name);
            task::exit(exited_with(NOT_LOADED))
        }
    }
}

/// Fills the address space; returns the stack pointer.
fn load(space: SpaceId, launch: &Launch) -> Result<u64, ExecError> {
    for segment in launch.image.segments() {
        load_segment(space, segment)?;
    }
    let first = Vpn((STACK_TOP / 4096) as u32 - STACK_PAGES);
    let rights = Prot::READ | Prot::WRITE;
    glue::mm().mmap(space, Place::Fixed(first), STACK_PAGES, rights, AreaFlags::empty())?;
    let stack = InitialStack::new(launch.name, launch.args, STACK_TOP)?;
    let sp = STACK_TOP - stack.bytes().len() as u64;
    copy_to_user(sp, stack.bytes())?;
    Ok(sp)
}

fn load_segment(space: SpaceId, segment: &Segment<'_>) -> Result<(), ExecError> {
    let (first, pages) = (segment.first_page(), segment.pages());
    let rights = Prot::READ | Prot::WRITE;
    glue::mm().mmap(space, Place::Fixed(first), pages, rights, AreaFlags::empty())?;
    copy_to_user(segment.address, segment.bytes)?;
    glue::mm().mprotect(space, first..first + pages, segment.prot)?;
    Ok(())
}
