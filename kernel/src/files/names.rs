//! The names of files.

use ext2::Exchange;
use mm_reclaim::file::FileKind;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE};

use super::{File, OpenError, put};
use crate::arch::frames::frame_address;
use crate::arch::lock::IrqLock;
use crate::{filedisk, glue};

/// Files that have a name. Paths have no slash at their start.
const MOST_NAMES: usize = 128;
/// Bytes of a name, its path included.
const NAME_BYTES: usize = 56;

/// Where files in memory are, and where those on the disk are.
const IN_MEMORY: [&[u8]; 2] = [b"tmp/", b"dev/shm/"];
const ON_DISK: &[u8] = b"disk/";

struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
    file: Option<File>,
}

impl Name {
    const NONE: Self = Self { bytes: [0; NAME_BYTES], len: 0, file: None };

    fn is(&self, path: &[u8]) -> bool {
        self.file.is_some() && &self.bytes[..self.len] == path
    }
}

/// The table, which is made with the first name.
static NAMES: IrqLock<&'static mut [Name]> = IrqLock::new(&mut []);

/// Makes sure that there is a table.
fn begin() -> Result<(), OpenError> {
    if !NAMES.lock().is_empty() {
        return Ok(());
    }
    let order = Order::holding((MOST_NAMES * size_of::<Name>()).div_ceil(PAGE_SIZE) as u32);
    let mm = glue::mm();
    let frame = order.and_then(|order| mm.alloc_pages(Gfp::KERNEL, order));
    let frame = frame.ok_or(OpenError::NoMemory)?;
    let first = frame_address(frame).cast::<Name>();
    for at in 0..MOST_NAMES {
        let name = first.wrapping_add(at);
        // SAFETY: the frames were just allocated, for this; the names fit, and are aligned.
        unsafe { name.write(Name::NONE) };
    }
    let mut names = NAMES.lock();
    if names.is_empty() {
        // SAFETY: all of them were just written, and the frames have no other user.
        *names = unsafe { core::slice::from_raw_parts_mut(first, MOST_NAMES) };
        return Ok(());
    }
    drop(names);
    mm.free_pages(frame, order.unwrap_or(Order::ZERO));
    Ok(())
}

/// The kind of a file at a path, without its store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Disk,
}

fn place_of(path: &[u8]) -> Result<Place, OpenError> {
    let within = |folder: &[u8]| {
        path.strip_prefix(folder).is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
    };
    if IN_MEMORY.into_iter().any(within) {
        Ok(Place::Memory)
    } else if within(ON_DISK) {
        Ok(Place::Disk)
    } else {
        Err(OpenError::NotFound)
    }
}

fn find(path: &[u8]) -> Option<File> {
    let names = NAMES.lock();
    let name = names.iter().find(|name| name.is(path))?;
    name.file.as_ref().map(File::get)
}

/// The file at a path; made if there is none and `create`. With `exclusive` there must be none.
///
/// # Errors
/// [`OpenError`].
pub fn open(path: &[u8], create: bool, exclusive: bool) -> Result<File, OpenError> {
    let place = place_of(path)?;
    if path.len() > NAME_BYTES {
        return Err(OpenError::NameTooLong);
    }
    begin()?;
    loop {
        if let Some(file) = find(path) {
            if create && exclusive {
                put(file);
                return Err(OpenError::Exists);
            }
            return Ok(file);
        }
        if !create {
            return Err(OpenError::NotFound);
        }
        let file = match place {
            Place::Memory => create_unnamed()?,
            Place::Disk => create_stored()?,
        };
        match enter(path, file.get()) {
            Ok(true) => return Ok(file),
            // Another task was first.
            Ok(false) => put(file),
            Err(error) => {
                put(file);
                return Err(error);
            }
        }
    }
}

/// Gives a file its name; false, with the reference dropped, if there is one of that name by now.
fn enter(path: &[u8], file: File) -> Result<bool, OpenError> {
    let mut names = NAMES.lock();
    let is_taken = names.iter().any(|name| name.is(path));
    let free = names.iter_mut().find(|name| name.file.is_none());
    match free {
        Some(free) if !is_taken => {
            free.bytes[..path.len()].copy_from_slice(path);
            free.len = path.len();
            free.file = Some(file);
            Ok(true)
        }
        other => {
            let is_full = !is_taken && other.is_none();
            drop(names);
            put(file);
            if is_full { Err(OpenError::TooManyNames) } else { Ok(false) }
        }
    }
}

/// A file in memory, without a name.
///
/// # Errors
/// Without memory.
pub fn create_unnamed() -> Result<File, OpenError> {
    glue::mm().create_file(FileKind::Shared, 0).map_err(|_| OpenError::NoMemory)
}

fn create_stored() -> Result<File, OpenError> {
    let frame = || glue::mm().alloc_pages(Gfp::KERNEL, Order::ZERO);
    let number = filedisk::create(frame).map_err(|_| OpenError::TooMany)?;
    glue::mm().create_file(FileKind::Stored(number), 0).map_err(|_| {
        filedisk::evict(number);
        OpenError::NoMemory
    })
}

/// Gives a file another name; one that is there goes, unless it must not be there.
///
/// # Errors
/// [`OpenError`].
pub fn rename(old: &[u8], new: &[u8], exchange: Exchange) -> Result<(), OpenError> {
    let both = (place_of(old)?, place_of(new)?);
    if both.0 != both.1 {
        return Err(OpenError::OtherDevice);
    }
    if new.len() > NAME_BYTES {
        return Err(OpenError::NameTooLong);
    }
    let gone = {
        let mut names = NAMES.lock();
        let find = |path| names.iter().position(|name| name.is(path));
        let (at, there) = (find(old).ok_or(OpenError::NotFound)?, find(new));
        match (exchange, there) {
            (Exchange::Never, Some(_)) => return Err(OpenError::Exists),
            (Exchange::Both, None) => return Err(OpenError::NotFound),
            (Exchange::Both, Some(there)) => {
                let file = names[at].file.take();
                names[at].file = core::mem::replace(&mut names[there].file, file);
                None
            }
            (_, Some(there)) if there == at => None,
            (_, there) => {
                let gone = there.and_then(|there| names[there].file.take());
                names[at].bytes[..new.len()].copy_from_slice(new);
                names[at].len = new.len();
                gone
            }
        }
    };
    gone.into_iter().for_each(put);
    Ok(())
}

/// Removes a name. The file goes when nobody uses it any more.
///
/// # Errors
/// If there is no such name.
pub fn unlink(path: &[u8]) -> Result<(), OpenError> {
    let file = {
        let mut names = NAMES.lock();
        let name = names.iter_mut().find(|name| name.is(path));
        name.and_then(|name| name.file.take())
    };
    file.map(put).ok_or(OpenError::NotFound)
}
