//! Open files: reading, writing, their size, and their way to the disk. Paths are [`super::names`]'s.
//!
//! No policy here: descriptors and arguments are looked up and checked, and the memory management is
//! called with a reference to the file. Each call is a function of its own, so that none pays for the stack
//! of another.

use core::ops::Range;

use mm_reclaim::units::{PAGE_SIZE, Pfn};
use mm_reclaim::{FileError, PageSink, PageSource, Pattern, SyncMode};

use super::errno::{
    EBADF, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR, ENOMEM, ENOSPC, ENXIO, EOPNOTSUPP, Errno,
};
use crate::arch::usercopy::{copy_from_user, frame_from_user, frame_to_user};
use crate::files::{self, File, Rights};
use crate::{glue, mount, task};

/// The whence of `lseek` for the next byte of data, and of a hole.
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io => EIO,
            FileError::NoSpace => ENOSPC,
            FileError::TooLarge => EFBIG,
            FileError::BadBuffer => EFAULT,
            FileError::NoMemory => ENOMEM,
            FileError::Killed => EINTR,
        }
    }
}

/// Runs `call` with a reference to the file of a descriptor.
pub(super) fn with_file<R>(
    fd: u64,
    needs: Rights,
    call: impl FnOnce(&File) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let (rights, file) = files::view(fd, |open| (open.rights, open.file.get())).ok_or(EBADF)?;
    let done = match rights.contains(needs) {
        true if rights.contains(Rights::DIRECTORY) && !needs.is_empty() => Err(EISDIR),
        true => call(&file),
        false => Err(EBADF),
    };
    files::put(file);
    done
}

#[inline(never)]
pub(super) fn close(fd: u64) -> Result<u64, Errno> {
    if files::close(fd) { Ok(0) } else { Err(EBADF) }
}

/// Takes what is read into a program's buffer.
struct ToUser(u64);

impl PageSink for ToUser {
    fn copy(&mut self, to: usize, frame: Pfn, offset: usize, len: usize) -> usize {
        let at = self.0.wrapping_add(to as u64);
        by_page(at, len, |done, len| {
            frame_to_user(at.wrapping_add(done as u64), frame, offset + done, len).is_ok()
        })
    }
}

/// Copies `len` bytes from or to `at`: all of them, or those of the first of the two pages that they lie
/// in; returns how many.
fn by_page(at: u64, len: usize, mut copy: impl FnMut(usize, usize) -> bool) -> usize {
    if copy(0, len) {
        return len;
    }
    let first = PAGE_SIZE - at as usize % PAGE_SIZE;
    if first < len && copy(0, first) { first } else { 0 }
}

/// What a program's buffer has to be written.
struct FromUser(u64);

impl PageSource for FromUser {
    fn fault_in(&mut self, from: usize, len: usize) -> usize {
        let first = self.0.wrapping_add(from as u64);
        let is_there = |at| copy_from_user(&mut [0], at).is_ok();
        if !is_there(first) {
            return 0;
        }
        let last = first.wrapping_add(len as u64 - 1);
        if is_there(last) { len } else { len.min(PAGE_SIZE - first as usize % PAGE_SIZE) }
    }

    fn copy(&mut self, from: usize, frame: Pfn, offset: usize, len: usize) -> usize {
        let at = self.0.wrapping_add(from as u64);
        let is_copied = task::without_faults(|| frame_from_user(frame, offset, at, len)).is_ok();
        if is_copied { len } else { 0 }
    }
}

/// A length and a place, checked as Linux checks them: both are signed, and no call moves more than
/// 2 GiB less a page.
fn bounds(len: u64, place: Option<u64>) -> Result<usize, Errno> {
    const MOST: u64 = 0x7fff_f000;
    if len.cast_signed() < 0 || place.is_some_and(|at| at.cast_signed() < 0) {
        return Err(EINVAL);
    }
    Ok(len.min(MOST) as usize)
}

/// Reads from a place, or from where the description is, which moves.
#[inline(never)]
pub(super) fn read(fd: u64, to: u64, len: u64, place: Option<u64>) -> Result<u64, Errno> {
    let _held = if place.is_none() { files::hold_position(fd) } else { None };
    let (mut ahead, pattern, at) =
        files::view(fd, |open| (open.ahead, open.pattern, place.unwrap_or(open.position)))
            .ok_or(EBADF)?;
    let done = with_file(fd, Rights::READ, |file| {
        let len = bounds(len, place)?;
        Ok(glue::mm().read_file(file, at, len, &mut ahead, pattern, &mut ToUser(to))?)
    })?;
    files::update(fd, |open| {
        open.ahead = ahead;
        if place.is_none() {
            open.position = at + done as u64;
        }
    });
    Ok(done as u64)
}

/// Writes to a place, or to where the description is, which moves.
#[inline(never)]
pub(super) fn write(fd: u64, from: u64, len: u64, place: Option<u64>) -> Result<u64, Errno> {
    let _held = if place.is_none() { files::hold_position(fd) } else { None };
    let (rights, position, touched) =
        files::view(fd, |open| (open.rights, open.position, open.touched)).ok_or(EBADF)?;
    let mut now = touched;
    let (done, at) = with_file(fd, Rights::WRITE, |file| {
        let (len, mut source) = (bounds(len, place)?, FromUser(from));
        let at = place.unwrap_or(position);
        if len == 0 {
            return Ok((0, at));
        }
        // As in Linux, a place does not count either then.
        let written = match rights.contains(Rights::APPEND) {
            true => glue::mm().append_file(file, len, &mut source)?,
            false => (glue::mm().write_file(file, at, len, &mut source)?, at),
        };
        now = files::note_written(file, touched);
        Ok(written)
    })?;
    if place.is_none() || now != touched {
        files::update(fd, |open| {
            open.touched = now;
            if place.is_none() {
                open.position = at + done as u64;
            }
        });
    }
    Ok(done as u64)
}

#[inline(never)]
pub(super) fn lseek(fd: u64, offset: u64, whence: u64) -> Result<u64, Errno> {
    let _held = files::hold_position(fd);
    let (position, size) =
        files::view(fd, |open| (open.position, open.file.size())).ok_or(EBADF)?;
    let base = match whence as u32 {
        0 => 0,
        1 => position,
        2 => size,
        // A file is data up to its end, and a hole from there on.
        SEEK_DATA | SEEK_HOLE if offset >= size => return Err(ENXIO),
        SEEK_DATA => 0,
        SEEK_HOLE => size - offset,
        _ => return Err(EINVAL),
    };
    let at = base.checked_add_signed(offset.cast_signed()).filter(|at| at.cast_signed() >= 0);
    let at = at.ok_or(EINVAL)?;
    files::update(fd, |open| open.position = at);
    Ok(at)
}

#[inline(never)]
pub(super) fn ftruncate(fd: u64, size: u64) -> Result<u64, Errno> {
    if size.cast_signed() < 0 {
        return Err(EINVAL);
    }
    let rights = files::view(fd, |open| open.rights).ok_or(EBADF)?;
    if !rights.contains(Rights::WRITE) {
        return Err(EINVAL);
    }
    with_file(fd, Rights::WRITE, |file| truncate(file, size))?;
    Ok(0)
}

/// Makes a file shorter or longer, if its store has files that long.
pub(super) fn truncate(file: &File, size: u64) -> Result<(), Errno> {
    if files::inode_of(file).is_some()
        && mount::mounted().is_some_and(|mounted| size > mounted.fs().most_bytes())
    {
        return Err(EFBIG);
    }
    Ok(glue::mm().truncate_file(file, size)?)
}

/// `fallocate`: punching a hole that keeps the size is what there is.
#[inline(never)]
pub(super) fn fallocate(fd: u64, mode: u64, start: u64, len: u64) -> Result<u64, Errno> {
    const PUNCH_HOLE: u32 = 2;
    const KEEP_SIZE: u32 = 1;
    files::view(fd, |_| ()).ok_or(EBADF)?;
    if len == 0 || len.cast_signed() < 0 || start.cast_signed() < 0 {
        return Err(EINVAL);
    }
    if mode as u32 != PUNCH_HOLE | KEEP_SIZE {
        return Err(EOPNOTSUPP);
    }
    let end = start.checked_add(len).filter(|end| end.cast_signed() > 0).ok_or(EFBIG)?;
    with_file(fd, Rights::WRITE, |file| Ok(glue::mm().punch_hole(file, start, end)?))?;
    Ok(0)
}

/// The contents of the file, and everything that its file system keeps of files.
#[inline(never)]
pub(super) fn fsync(fd: u64) -> Result<u64, Errno> {
    let done = sync_pages(fd, 0..u32::MAX);
    let (mut seen, inode) =
        files::view(fd, |open| (open.records_seen, files::inode_of(&open.file))).ok_or(EBADF)?;
    let Some(mounted) = mount::mounted().filter(|_| inode.is_some()) else { return done };
    let records = mounted.sync_records(&mut seen);
    files::update(fd, |open| open.records_seen = seen);
    done.and_then(|_| Ok(records.map(|()| 0)?))
}

/// Who does not wait gets no error either: the description learns of it when it waits.
#[inline(never)]
pub(super) fn sync_file_range(fd: u64, offset: u64, len: u64, flags: u64) -> Result<u64, Errno> {
    const WAIT_BEFORE: u64 = 1;
    const WRITE: u64 = 2;
    const WAIT_AFTER: u64 = 4;
    files::view(fd, |_| ()).ok_or(EBADF)?;
    let end = offset.checked_add(len).ok_or(EINVAL)?;
    let is_negative = [offset, len, end].iter().any(|n| n.cast_signed() < 0);
    if flags & !(WAIT_BEFORE | WRITE | WAIT_AFTER) != 0 || is_negative {
        return Err(EINVAL);
    }
    // No length means up to the end.
    let range = pages(offset, if len == 0 { u64::MAX } else { len });
    if flags & (WAIT_BEFORE | WAIT_AFTER) != 0 {
        return sync_pages(fd, range);
    }
    with_file(fd, Rights::empty(), |file| {
        if flags & WRITE != 0 {
            let most = u32::MAX;
            let _: Result<u32, FileError> =
                glue::mm().write_dirty_pages(file, range, most, SyncMode::None);
        }
        Ok(0)
    })
}

/// Writes pages of an open file, waits, and reports an error that its description has not seen.
fn sync_pages(fd: u64, range: Range<u32>) -> Result<u64, Errno> {
    let mut seen = files::view(fd, |open| open.seen).ok_or(EBADF)?;
    let done =
        with_file(fd, Rights::empty(), |file| Ok(glue::mm().sync_file(file, range, &mut seen)?));
    files::update(fd, |open| open.seen = seen);
    done.map(|()| 0)
}

#[inline(never)]
pub(super) fn sync() -> Result<u64, Errno> {
    mount::sync()?;
    Ok(0)
}

#[inline(never)]
pub(super) fn readahead(fd: u64, offset: u64, len: u64) -> Result<u64, Errno> {
    with_file(fd, Rights::READ, |file| {
        glue::mm().read_file_ahead(file, pages(offset, len));
        Ok(())
    })?;
    Ok(0)
}

#[inline(never)]
pub(super) fn fadvise(fd: u64, offset: u64, len: u64, advice: u64) -> Result<u64, Errno> {
    files::view(fd, |_| ()).ok_or(EBADF)?;
    if len.cast_signed() < 0 {
        return Err(EINVAL);
    }
    let pattern = match advice as u32 {
        0 => Some(Pattern::Normal),
        1 => Some(Pattern::Random),
        2 => Some(Pattern::Sequential),
        3..=5 => None,
        _ => return Err(EINVAL),
    };
    if let Some(pattern) = pattern {
        files::update(fd, |open| open.pattern = pattern);
        return Ok(0);
    }
    let len = if len == 0 { u64::MAX } else { len };
    with_file(fd, Rights::empty(), |file| {
        match advice as u32 {
            3 => glue::mm().read_file_ahead(file, pages(offset, len)),
            4 => _ = glue::mm().drop_file_pages(file, whole_pages(offset, len, file.size())),
            _ => {}
        }
        Ok(())
    })?;
    Ok(0)
}

/// The pages that lie whole in `len` bytes from `offset` on; the last of a file ends with it.
fn whole_pages(offset: u64, len: u64, size: u64) -> Range<u32> {
    let page = PAGE_SIZE as u64;
    let end = offset.saturating_add(len);
    let clip = |page: u64| u32::try_from(page).unwrap_or(u32::MAX);
    let last = if end >= size { u64::MAX } else { end / page };
    clip(offset.div_ceil(page))..clip(last)
}

/// The pages of `len` bytes from `offset` on.
fn pages(offset: u64, len: u64) -> Range<u32> {
    let page = PAGE_SIZE as u64;
    let clip = |page: u64| u32::try_from(page).unwrap_or(u32::MAX);
    clip(offset / page)..clip(offset.saturating_add(len).div_ceil(page))
}
