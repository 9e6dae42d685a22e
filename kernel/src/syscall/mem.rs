//! Memory: `mmap` and its relatives, `sysinfo`, `getrusage`.
//!
//! No policy here: arguments are converted to the crate's units, and its errors to numbers.

use core::ops::Range;

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::{AreaFlags, SpaceError, SpaceId, USER_START};
use mm_reclaim::units::{PAGE_SIZE, Vpn};

use super::args::{self, MapFlags};
use super::errno::{EEXIST, EFAULT, EINTR, EINVAL, ENOMEM, EPERM, Errno};
use crate::arch::usercopy::{Fault, copy_to_user, put_words};
use crate::drivers::timer;
use crate::{glue, task};

/// Pages that one copy to a program of `mincore` tells about.
const RESIDENCE_BATCH: usize = 256;

impl From<SpaceError> for Errno {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::Killed => EINTR,
            SpaceError::Locked { .. } | SpaceError::NotAnonymous { .. } => EINVAL,
            _ => ENOMEM,
        }
    }
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        EFAULT
    }
}

/// The caller's address space.
fn space() -> Result<SpaceId, Errno> {
    task::current().space().ok_or(EINVAL)
}

pub(super) fn mmap(
    address: u64,
    len: u64,
    prot: u64,
    flags: u64,
    offset: u64,
) -> Result<u64, Errno> {
    let flags = args::map_flags(flags)?;
    let prot = args::prot(prot)?;
    let pages = args::page_count(len)?;
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(EINVAL);
    }
    let area_flags =
        if flags.contains(MapFlags::LOCKED) { AreaFlags::LOCKED } else { AreaFlags::empty() };
    let first = place(address, len, pages, prot, flags, area_flags)?;
    if flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
        populate(space()?, first..first + pages, prot);
    }
    Ok(first.addr())
}

/// Finds a place for a mapping and makes it.
fn place(
    address: u64,
    len: u64,
    pages: u32,
    prot: Prot,
    flags: MapFlags,
    area_flags: AreaFlags,
) -> Result<Vpn, Errno> {
    let (mm, space) = (glue::mm(), space()?);
    if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        let range = args::pages(address, len, ENOMEM)?;
        if range.start < USER_START {
            return Err(EPERM);
        }
        if flags.contains(MapFlags::FIXED_NOREPLACE) {
            let made = mm.mmap(space, Place::Fixed(range.start), pages, prot, area_flags);
            return made.map_err(|error| match error {
                SpaceError::BadRange { .. } => EEXIST,
                error => error.into(),
            });
        }
        mm.munmap(space, range.clone())?;
        return Ok(mm.mmap(space, Place::Fixed(range.start), pages, prot, area_flags)?);
    }
    // An address without MAP_FIXED is a hint; the crate ignores one that it cannot follow.
    let hint = Vpn::of(address / PAGE_SIZE as u64 * PAGE_SIZE as u64);
    let place = hint.filter(|vpn| *vpn >= USER_START).map_or(Place::Anywhere, Place::Hint);
    Ok(mm.mmap(space, place, pages, prot, area_flags)?)
}

/// Makes pages present, as far as memory allows: the mapping succeeds regardless.
fn populate(space: SpaceId, range: Range<Vpn>, prot: Prot) {
    let access = if prot.contains(Prot::WRITE) {
        Access::Write
    } else if prot.contains(Prot::READ) {
        Access::Read
    } else {
        return;
    };
    for n in range.start.0..range.end.0 {
        let end = glue::mm().handle_fault(space, Vpn(n).addr(), access);
        if !matches!(end, FaultEnd::Minor | FaultEnd::Major) || task::is_killed() {
            return;
        }
        task::cond_resched();
    }
}

pub(super) fn munmap(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::pages(address, len, EINVAL)?;
    if range.is_empty() {
        return Err(EINVAL);
    }
    glue::mm().munmap(space()?, range)?;
    Ok(0)
}

pub(super) fn mprotect(address: u64, len: u64, prot: u64) -> Result<u64, Errno> {
    let range = args::pages(address, len, ENOMEM)?;
    let prot = args::prot(prot)?;
    if !range.is_empty() {
        glue::mm().mprotect(space()?, range, prot)?;
    }
    Ok(0)
}

pub(super) fn mlock(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::touched_pages(address, len)?;
    if !range.is_empty() {
        glue::mm().mlock(space()?, range)?;
    }
    Ok(0)
}

pub(super) fn munlock(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::touched_pages(address, len)?;
    if !range.is_empty() {
        glue::mm().munlock(space()?, range)?;
    }
    Ok(0)
}

pub(super) fn madvise(address: u64, len: u64, advice: u64) -> Result<u64, Errno> {
    let advice = match advice {
        // Normal, random, sequential, will need, huge pages or not: nothing to do.
        0..=3 | 14 | 15 => Advice::Normal,
        4 => Advice::DontNeed,
        8 => Advice::Free,
        20 => Advice::Cold,
        21 => Advice::PageOut,
        _ => return Err(EINVAL),
    };
    let (range, whole) = args::advised_pages(address, len)?;
    if !range.is_empty() {
        glue::mm().madvise(space()?, range, advice)?;
    }
    if whole { Ok(0) } else { Err(ENOMEM) }
}

/// Writes a byte for each page of a range: 1 if it is in memory.
pub(super) fn mincore(address: u64, len: u64, out: u64) -> Result<u64, Errno> {
    let range = args::pages(address, len, ENOMEM)?;
    let (space, mut bytes) = (space()?, [0; RESIDENCE_BATCH]);
    let mut at = range.start;
    while at < range.end {
        let count = RESIDENCE_BATCH.min((range.end - at) as usize);
        glue::mm().mincore(space, at, &mut bytes[..count])?;
        let to = out.checked_add(u64::from(at - range.start)).ok_or(EFAULT)?;
        copy_to_user(to, &bytes[..count])?;
        at = at + count as u32;
        if task::is_killed() {
            return Err(EINTR);
        }
    }
    Ok(0)
}

/// `struct sysinfo`: uptime, three loads, total, free, shared and buffered memory, total and
/// free swap, the number of processes, two fields for high memory, and the unit, a 32-bit number.
pub(super) fn sysinfo(out: u64) -> Result<u64, Errno> {
    let mm = glue::mm();
    let uptime = timer::now().0 / 1_000_000_000;
    let (total, free) = (u64::from(mm.total_managed()), u64::from(mm.total_free()));
    let (total_swap, free_swap) = mm.swap_pages();
    let (total_swap, free_swap) = (u64::from(total_swap), u64::from(free_swap));
    let processes = task::count() as u64;
    let unit = PAGE_SIZE as u64;
    let words = [uptime, 0, 0, 0, total, free, 0, 0, total_swap, free_swap, processes, 0, 0, unit];
    put_words(out, &words)?;
    Ok(0)
}

/// `struct rusage`: two times, and then fourteen numbers, of which the fifth and sixth from
/// there are the minor and major faults.
pub(super) fn getrusage(who: u64, out: u64) -> Result<u64, Errno> {
    let mut words = [0; 18];
    match who as i32 {
        0 | 1 => {
            let stat = glue::mm().space_stat(space()?);
            words[8] = stat.min_faults;
            words[9] = stat.maj_faults;
        }
        -1 => {}
        _ => return Err(EINVAL),
    }
    put_words(out, &words)?;
    Ok(0)
}

/// Sets how much the out-of-memory killer prefers or spares the caller.
pub(super) fn set_oom_score_adj(argument: u64) -> Result<u64, Errno> {
    let adj = i16::try_from(argument.cast_signed()).map_err(|_| EINVAL)?;
    glue::mm().set_oom_score_adj(space()?, adj).map_err(|_| EINVAL)?;
    Ok(0)
}
