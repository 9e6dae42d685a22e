//! Memory: `mmap` and its relatives, `sysinfo`, `getrusage`.
//!
//! No policy here: arguments are converted to the crate's units, and its errors to numbers.

use core::ops::Range;

use mm_reclaim::env::Prot;
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::{AreaFlags, SpaceError, SpaceId, USER_START};
use mm_reclaim::units::{PAGE_SIZE, Vpn};
use mm_reclaim::{Pattern, Place};

use super::args::{self, MapFlags};
use super::errno::{EACCES, EBADF, EEXIST, EFAULT, EINTR, EINVAL, ENOMEM, EPERM, Errno};
use crate::arch::usercopy::{Fault, copy_to_user, put_words};
use crate::drivers::timer;
use crate::files::{self, File, Rights};
use crate::{glue, task};

/// Pages that one copy to a program of `mincore` tells about.
const RESIDENCE_BATCH: usize = 256;

impl From<SpaceError> for Errno {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::Killed => EINTR,
            SpaceError::ReadOnly { .. } => EACCES,
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

/// What a mapping shows.
enum Shown {
    /// Memory of its own.
    Nothing,
    /// Pages of a file.
    Part(File, Range<u32>),
}

/// A mapping that is to be made.
struct Request {
    pages: u32,
    prot: Prot,
    flags: AreaFlags,
    shown: Shown,
}

impl Request {
    fn make(&self, space: SpaceId, place: Place) -> Result<Vpn, SpaceError> {
        match &self.shown {
            Shown::Nothing => glue::mm().mmap(space, place, self.pages, self.prot, self.flags),
            Shown::Part(file, part) => {
                glue::mm().mmap_file(space, place, self.prot, self.flags, file, part.clone())
            }
        }
    }
}

#[inline(never)]
pub(super) fn mmap(
    address: u64,
    len: u64,
    prot: u64,
    flags: u64,
    fd: u64,
    offset: u64,
) -> Result<u64, Errno> {
    let flags = args::map_flags(flags)?;
    let prot = args::prot(prot)?;
    let pages = args::page_count(len)?;
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(EINVAL);
    }
    let (mut area_flags, is_shared) = (AreaFlags::empty(), flags.contains(MapFlags::SHARED));
    area_flags.set(AreaFlags::LOCKED, flags.contains(MapFlags::LOCKED));
    area_flags.set(AreaFlags::SHARED, is_shared);
    let shown = match (flags.contains(MapFlags::ANONYMOUS), is_shared) {
        (true, false) => Shown::Nothing,
        (true, true) => shared_memory(pages)?,
        (false, _) => {
            part_of(fd, prot, is_shared, args::file_part(offset, pages)?, &mut area_flags)?
        }
    };
    let request = Request { pages, prot, flags: area_flags, shown };
    let made = place(address, len, flags, &request);
    if let Shown::Part(file, _) = request.shown {
        files::put(file);
    }
    let first = made?;
    if flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
        // A shared mapping is only read: a file gets no block, and no page becomes dirty, for that.
        let rights = if is_shared { prot - Prot::WRITE } else { prot };
        populate(space()?, first..first + pages, rights);
    }
    Ok(first.addr())
}

/// Memory that a process shares with its children: a file in memory without a name.
fn shared_memory(pages: u32) -> Result<Shown, Errno> {
    let file = files::create_unnamed()?;
    if let Err(error) = glue::mm().truncate_file(&file, u64::from(pages) * PAGE_SIZE as u64) {
        files::put(file);
        return Err(error.into());
    }
    Ok(Shown::Part(file, 0..pages))
}

/// The pages of the file of a descriptor, if it may be mapped like this.
fn part_of(
    fd: u64,
    prot: Prot,
    is_shared: bool,
    part: Range<u32>,
    flags: &mut AreaFlags,
) -> Result<Shown, Errno> {
    let (rights, file) = files::view(fd, |open| (open.rights, open.file.get())).ok_or(EBADF)?;
    let may_write = rights.contains(Rights::WRITE);
    if !rights.contains(Rights::READ) || is_shared && prot.contains(Prot::WRITE) && !may_write {
        files::put(file);
        return Err(EACCES);
    }
    flags.set(AreaFlags::READ_ONLY, is_shared && !may_write);
    Ok(Shown::Part(file, part))
}

/// Finds a place for a mapping and makes it.
fn place(address: u64, len: u64, flags: MapFlags, request: &Request) -> Result<Vpn, Errno> {
    let (mm, space) = (glue::mm(), space()?);
    if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        let range = args::pages(address, len, ENOMEM)?;
        if range.start < USER_START {
            return Err(EPERM);
        }
        if flags.contains(MapFlags::FIXED_NOREPLACE) {
            return request.make(space, Place::Fixed(range.start)).map_err(|error| match error {
                SpaceError::BadRange { .. } => EEXIST,
                error => error.into(),
            });
        }
        mm.munmap(space, range.clone())?;
        return Ok(request.make(space, Place::Fixed(range.start))?);
    }
    // An address without MAP_FIXED is a hint; the crate ignores one that it cannot follow.
    let hint = Vpn::of(address / PAGE_SIZE as u64 * PAGE_SIZE as u64);
    let place = hint.filter(|vpn| *vpn >= USER_START).map_or(Place::Anywhere, Place::Hint);
    Ok(request.make(space, place)?)
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

#[inline(never)]
pub(super) fn munmap(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::pages(address, len, EINVAL)?;
    if range.is_empty() {
        return Err(EINVAL);
    }
    // Below the first page that can be mapped nothing is.
    let range = range.start.max(USER_START)..range.end;
    if range.start < range.end {
        glue::mm().munmap(space()?, range)?;
    }
    Ok(0)
}

#[inline(never)]
pub(super) fn mprotect(address: u64, len: u64, prot: u64) -> Result<u64, Errno> {
    let range = args::pages(address, len, ENOMEM)?;
    if !range.is_empty() {
        glue::mm().mprotect(space()?, range, args::prot(prot)?)?;
    }
    Ok(0)
}

#[inline(never)]
pub(super) fn mlock(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::touched_pages(address, len)?;
    if !range.is_empty() {
        glue::mm().mlock(space()?, range)?;
    }
    Ok(0)
}

#[inline(never)]
pub(super) fn munlock(address: u64, len: u64) -> Result<u64, Errno> {
    let range = args::touched_pages(address, len)?;
    if !range.is_empty() {
        glue::mm().munlock(space()?, range)?;
    }
    Ok(0)
}

#[inline(never)]
pub(super) fn madvise(address: u64, len: u64, advice: u64) -> Result<u64, Errno> {
    let advice = match advice {
        0 => Advised::Order(Pattern::Normal),
        1 => Advised::Order(Pattern::Random),
        2 => Advised::Order(Pattern::Sequential),
        3 => Advised::WillNeed,
        4 => Advised::Pages(Advice::DontNeed),
        8 => Advised::Pages(Advice::Free),
        // Huge pages or not: there are none.
        14 | 15 => Advised::Pages(Advice::Normal),
        20 => Advised::Pages(Advice::Cold),
        21 => Advised::Pages(Advice::PageOut),
        _ => return Err(EINVAL),
    };
    let (range, whole) = args::advised_pages(address, len)?;
    if !range.is_empty() {
        let (mm, space) = (glue::mm(), space()?);
        match advice {
            Advised::Order(pattern) => mm.advise_pattern(space, range, pattern)?,
            Advised::WillNeed => mm.will_need(space, range)?,
            Advised::Pages(advice) => mm.madvise(space, range, advice).map(|_| ())?,
        }
    }
    if whole { Ok(0) } else { Err(ENOMEM) }
}

/// What `madvise` is about.
enum Advised {
    /// The order in which a program will use its memory.
    Order(Pattern),
    /// What it will need soon.
    WillNeed,
    /// What becomes of its pages.
    Pages(Advice),
}

#[inline(never)]
pub(super) fn msync(address: u64, len: u64, flags: u64) -> Result<u64, Errno> {
    const ASYNC: u64 = 1;
    const INVALIDATE: u64 = 2;
    const SYNC: u64 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || flags & ASYNC != 0 && flags & SYNC != 0 {
        return Err(EINVAL);
    }
    let range = args::pages(address, len, ENOMEM)?;
    if !range.is_empty() {
        glue::mm().msync(space()?, range, flags & SYNC == 0)??;
    }
    Ok(0)
}

/// Writes a byte for each page of a range: 1 if it is in memory.
// Its buffer is not for every call's stack.
#[inline(never)]
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
#[inline(never)]
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
#[inline(never)]
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
#[inline(never)]
pub(super) fn set_oom_score_adj(argument: u64) -> Result<u64, Errno> {
    let adj = i16::try_from(argument.cast_signed()).map_err(|_| EINVAL)?;
    glue::mm().set_oom_score_adj(space()?, adj).map_err(|_| EINVAL)?;
    Ok(0)
}
