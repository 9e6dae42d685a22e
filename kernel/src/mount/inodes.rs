//! Which inodes are in memory. An inode that was used stays, with the pages of its file, until its place
//! is needed: the one that was used least lately goes, once nobody uses it and nothing of it is dirty.
//!
//! An inode without a name has no reference here: it ends with its last user.

use ext2::Error;
use ext2::layout::inode::Kind;
use mm_reclaim::FileError;
use mm_reclaim::file::FileKind;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE};

use super::Number;
use super::life::Mounted;
use crate::arch::frames::frame_address;
use crate::arch::lock::IrqLock;
use crate::glue::{self, File};

/// Frames of the table.
const FRAMES: u32 = 4;
/// Places in it.
const PLACES: usize = PAGE_SIZE * FRAMES as usize / size_of::<Place>();

/// An inode in memory, or a place for one.
struct Place {
    /// 0 for a free place.
    number: u32,
    /// When it was used last, on the table's clock.
    used: u32,
    /// The table's reference; none for an inode without a name.
    file: Option<File>,
}

impl Place {
    const FREE: Self = Self { number: 0, used: 0, file: None };
}

struct Table {
    places: &'static mut [Place],
    clock: u32,
}

static TABLE_OF_INODES: IrqLock<Table> = IrqLock::new(Table { places: &mut [], clock: 0 });

impl Table {
    fn find(&mut self, number: u32) -> Option<&mut Place> {
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let place = self.places.iter_mut().find(|place| place.number == number)?;
        place.used = clock;
        Some(place)
    }

    /// The place of a named inode that was used least lately and is only here.
    fn oldest(&self) -> Option<usize> {
        let unused = self.places.iter().enumerate().filter(|(_, place)| {
            place.number != 0 && place.file.as_ref().is_some_and(|file| file.refs() == 1)
        });
        let oldest = unused.max_by_key(|(_, place)| self.clock.wrapping_sub(place.used))?;
        Some(oldest.0)
    }
}

/// Makes the table, which stays.
///
/// # Errors
/// Without memory.
pub(super) fn begin() -> Result<(), Error> {
    let order = Order::holding(FRAMES).ok_or(Error::NoSpace)?;
    let frame = glue::mm().alloc_pages(Gfp::KERNEL, order).ok_or(Error::NoSpace)?;
    let first = frame_address(frame).cast::<Place>();
    for at in 0..PLACES {
        let place = first.wrapping_add(at);
        // SAFETY: the frames were just allocated and are never freed; `PLACES` fit in them, and they
        // are aligned to a page.
        unsafe { place.write(Place::FREE) };
    }
    // SAFETY: all of them were just written, and this is the only use of the frames.
    TABLE_OF_INODES.lock().places = unsafe { core::slice::from_raw_parts_mut(first, PLACES) };
    Ok(())
}

/// The file of an inode, with a reference. The caller holds the writer, and has found the number by a
/// name just now, or has made it.
///
/// # Errors
/// If it could not be read, or there is no memory or room: [`make_room`] makes some.
pub fn open_inode(mounted: &Mounted, number: u32) -> Result<File, Error> {
    {
        let mut table = TABLE_OF_INODES.lock();
        if let Some(file) = table.find(number).and_then(|place| place.file.as_ref()) {
            return Ok(file.get());
        }
    }
    let inode = mounted.fs().load(mounted.fs().locate(number)?)?;
    let size = if inode.kind() == Some(Kind::File) { inode.size } else { 0 };
    let kind = FileKind::Stored(Number::Inode(number).as_u64());
    let file = glue::mm().create_file(kind, size).map_err(|_| Error::NoSpace)?;
    let own = (inode.links > 0).then(|| file.get());
    let mut table = TABLE_OF_INODES.lock();
    let clock = table.clock;
    match table.places.iter_mut().find(|place| place.number == 0) {
        Some(free) => {
            *free = Place { number, used: clock, file: own };
            Ok(file)
        }
        None => {
            drop(table);
            own.into_iter().chain([file]).for_each(forget_new);
            Err(Error::NoSpace)
        }
    }
}

/// A file that was just made, and has no page, goes without the writer: it has a name, or its inode
/// stays without one until `e2fsck` finds it.
fn forget_new(file: File) {
    glue::mm().put_file(file);
}

/// The last name of an inode is gone: the table's reference is the caller's, to be put without the
/// writer. `None` if the inode is not in memory, and ends at once.
pub fn unlinked(number: u32) -> Option<Option<File>> {
    let mut table = TABLE_OF_INODES.lock();
    table.find(number).map(|place| place.file.take())
}

/// How long the file of an inode is, if it is in memory.
pub fn live_size(number: u32) -> Option<u64> {
    let mut table = TABLE_OF_INODES.lock();
    table.find(number)?.file.as_ref().map(|file| file.size())
}

/// An inode that had no name has one again; `file` is the file of a caller.
pub fn named_again(number: u32, file: &File) {
    let mut table = TABLE_OF_INODES.lock();
    if let Some(place) = table.find(number)
        && place.file.is_none()
    {
        place.file = Some(file.get());
    }
}

/// The inode is not in memory any more.
pub(super) fn forget(number: u32) {
    // One that went for lack of room is free already, and may have come back.
    let mut table = TABLE_OF_INODES.lock();
    let gone = |place: &&mut Place| place.number == number && place.file.is_none();
    if let Some(place) = table.places.iter_mut().find(gone) {
        *place = Place::FREE;
    }
}

/// Makes sure that some places are free, without the writer.
///
/// # Errors
/// If every inode is in use, or the caller was killed.
pub fn make_room() -> Result<(), FileError> {
    loop {
        let (is_free, oldest) = {
            let table = TABLE_OF_INODES.lock();
            let is_free =
                table.places.iter().filter(|place| place.number == 0).take(4).count() == 4;
            let oldest = if is_free { None } else { table.oldest() };
            (is_free, oldest.and_then(|at| table.places[at].file.as_ref().map(File::get)))
        };
        match oldest {
            _ if is_free => return Ok(()),
            None => return Err(FileError::NoMemory),
            Some(file) => drop_file(file)?,
        }
    }
}

/// Writes a file whose inode shall go, and lets it go if nobody has begun to use it meanwhile.
fn drop_file(file: File) -> Result<(), FileError> {
    let mm = glue::mm();
    let mut seen = mm.file_errors(&file);
    let written = match file.is_clean() {
        true => Ok(()),
        false => mm.sync_file(&file, 0..u32::MAX, &mut seen),
    };
    let own = {
        let mut table = TABLE_OF_INODES.lock();
        let place = table
            .places
            .iter_mut()
            .find(|place| place.file.as_ref().is_some_and(|other| other.id() == file.id()));
        // The table's, and the caller's.
        let unused = place.filter(|_| file.refs() == 2 && file.is_clean());
        unused.and_then(|place| core::mem::replace(place, Place::FREE).file)
    };
    own.into_iter().chain([file]).for_each(|file| mm.put_file(file));
    match written {
        Err(FileError::Killed) => Err(FileError::Killed),
        _ => Ok(()),
    }
}

/// Drops the files of all inodes that nobody uses; returns how many are in use.
pub(super) fn drop_all() -> usize {
    let mut at = 0;
    loop {
        let next = {
            let mut table = TABLE_OF_INODES.lock();
            let unused = table
                .places
                .iter_mut()
                .skip(at)
                .position(|place| place.file.as_ref().is_some_and(|file| file.refs() == 1));
            unused.and_then(|behind| {
                at += behind;
                core::mem::replace(&mut table.places[at], Place::FREE).file
            })
        };
        match next {
            Some(file) => glue::mm().put_file(file),
            None => break,
        }
    }
    TABLE_OF_INODES.lock().places.iter().filter(|place| place.number != 0).count()
}
