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
use super::mounted::Mounted;
use crate::arch::frames::frame_address;
use crate::arch::lock::IrqLock;
use crate::glue::{self, File};

/// Frames of the table.
const FRAMES: u32 = 4;
/// Places in it.
const PLACES: usize = PAGE_SIZE * FRAMES as usize / size_of::<Place>();

/// What is at a place of the table.
enum Use {
    /// Nothing.
    Free,
    /// The file of an inode is being made.
    Coming,
    /// An inode with a name: the table's reference to its file.
    Named(File),
    /// An inode without a name, which its users keep.
    Unnamed {
        /// It never had a name, and may get one.
        is_linkable: bool,
    },
    /// The file of an inode with a name goes, for lack of room: until it is gone there is no other.
    Going,
}

/// An inode in memory, or a place for one.
struct Place {
    number: u32,
    /// When it was used last, on the table's clock.
    used: u32,
    what: Use,
}

impl Place {
    const FREE: Self = Self { number: 0, used: 0, what: Use::Free };

    fn is_free(&self) -> bool {
        matches!(self.what, Use::Free)
    }

    /// The file of an inode with a name.
    fn file(&self) -> Option<&File> {
        match &self.what {
            Use::Named(file) => Some(file),
            _ => None,
        }
    }

    /// Whether the table's reference is the only one.
    fn is_unused(&self) -> bool {
        self.file().is_some_and(|file| file.refs() == 1)
    }

    /// The reference of an inode with a name, whose place `what` takes; else nothing changes.
    fn take_file(&mut self, what: Use) -> Option<File> {
        match core::mem::replace(&mut self.what, what) {
            Use::Named(file) => Some(file),
            other => {
                self.what = other;
                None
            }
        }
    }
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
        let is_it = |place: &&mut Place| place.number == number && !place.is_free();
        let place = self.places.iter_mut().find(is_it)?;
        place.used = clock;
        Some(place)
    }

    /// The same for an inode without a name.
    fn find_unnamed(&mut self, number: u32) -> Option<&mut Place> {
        self.find(number).filter(|place| matches!(place.what, Use::Unnamed { .. }))
    }

    /// The named inode that was used least lately and is only here.
    fn oldest(&self) -> Option<&File> {
        let unused = self.places.iter().filter(|place| place.is_unused());
        unused.max_by_key(|place| self.clock.wrapping_sub(place.used))?.file()
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

/// The file of an inode, with a reference; `None` if an earlier one is just going, which may need the
/// writer: the caller gives that back, and tries again. The caller has found the number by a name just
/// now, or has made it.
///
/// # Errors
/// If it could not be read, or there is no memory or room: [`make_room`] makes some.
pub fn open_inode(mounted: &Mounted, number: u32) -> Result<Option<File>, Error> {
    let at = {
        let mut table = TABLE_OF_INODES.lock();
        if let Some(place) = table.find(number) {
            return match &place.what {
                Use::Named(file) => Ok(Some(file.get())),
                Use::Going => Ok(None),
                // One that has lost its last name is not found by a name.
                _ => Err(Error::NotFound),
            };
        }
        let at = table.places.iter().position(Place::is_free).ok_or(Error::NoSpace)?;
        table.places[at] = Place { number, used: table.clock, what: Use::Coming };
        at
    };
    let made = make_file(mounted, number);
    TABLE_OF_INODES.lock().places[at].what = match &made {
        Ok((file, true)) => Use::Named(file.get()),
        Ok((_, false)) => Use::Unnamed { is_linkable: false },
        Err(_) => Use::Free,
    };
    made.map(|(file, _)| Some(file))
}

/// A new file for an inode, and whether that has a name.
fn make_file(mounted: &Mounted, number: u32) -> Result<(File, bool), Error> {
    let inode = mounted.fs().load(mounted.fs().locate(number)?)?;
    let size = if inode.kind() == Some(Kind::File) { inode.size } else { 0 };
    let kind = FileKind::Stored(Number::Inode(number).as_u64());
    let file = glue::mm().create_file(kind, size).map_err(|_| Error::NoSpace)?;
    Ok((file, inode.links > 0))
}

/// The last name of an inode is gone: the table's reference is the caller's, to be put without the
/// writer. `None` if nobody uses the inode, and it ends at once.
pub fn unlinked(number: u32) -> Option<Option<File>> {
    let mut table = TABLE_OF_INODES.lock();
    let place = table.find(number).filter(|place| !matches!(place.what, Use::Going))?;
    Some(place.take_file(Use::Unnamed { is_linkable: false }))
}

/// How long the file of an inode is, if it is in memory and has a name.
pub fn live_size(number: u32) -> Option<u64> {
    TABLE_OF_INODES.lock().find(number)?.file().map(|file| file.size())
}

/// An inode was made without a name: it may get one.
pub fn mark_linkable(number: u32) {
    if let Some(place) = TABLE_OF_INODES.lock().find_unnamed(number) {
        place.what = Use::Unnamed { is_linkable: true };
    }
}

/// Whether an inode without a name may get one: it never had any.
pub fn is_linkable(number: u32) -> bool {
    let mut table = TABLE_OF_INODES.lock();
    let place = table.find(number);
    place.is_some_and(|place| matches!(place.what, Use::Unnamed { is_linkable: true }))
}

/// An inode that had no name has one; `file` is the file of a caller.
pub fn named_again(number: u32, file: &File) {
    if let Some(place) = TABLE_OF_INODES.lock().find_unnamed(number) {
        place.what = Use::Named(file.get());
    }
}

/// The file of an inode is gone; true if the inode has no name, and is to end with it. Its place is free
/// before its number is.
pub(super) fn leave(number: u32) -> bool {
    let mut table = TABLE_OF_INODES.lock();
    let Some(place) = table.find(number) else { return false };
    let ends = matches!(place.what, Use::Unnamed { .. });
    if ends || matches!(place.what, Use::Going) {
        *place = Place::FREE;
    }
    ends
}

/// Makes sure that some places are free, without the writer.
///
/// # Errors
/// If every inode is in use, or the caller was killed.
pub fn make_room() -> Result<(), FileError> {
    /// As many tasks may open something at once.
    const ENOUGH: usize = 8;
    loop {
        let oldest = {
            let table = TABLE_OF_INODES.lock();
            let free = table.places.iter().filter(|place| place.is_free());
            if table.places.is_empty() || free.take(ENOUGH).count() == ENOUGH {
                return Ok(());
            }
            table.oldest().map(File::get)
        };
        drop_file(oldest.ok_or(FileError::NoMemory)?)?;
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
        let is_it = |place: &&mut Place| place.file().is_some_and(|other| other.id() == file.id());
        let place = table.places.iter_mut().find(is_it);
        // The table's, and the caller's.
        let unused = place.filter(|_| file.refs() == 2 && file.is_clean());
        unused.and_then(|place| place.take_file(Use::Going))
    };
    own.into_iter().chain([file]).for_each(|file| mm.put_file(file));
    match written {
        Err(FileError::Killed) => Err(FileError::Killed),
        _ => Ok(()),
    }
}

/// Drops the files of all inodes that nobody uses; returns how many are in use.
pub(super) fn drop_all() -> usize {
    loop {
        let unused = {
            let mut table = TABLE_OF_INODES.lock();
            let place = table.places.iter_mut().find(|place| place.is_unused());
            place.and_then(|place| place.take_file(Use::Going))
        };
        match unused {
            Some(file) => glue::mm().put_file(file),
            None => break,
        }
    }
    TABLE_OF_INODES.lock().places.iter().filter(|place| !place.is_free()).count()
}
