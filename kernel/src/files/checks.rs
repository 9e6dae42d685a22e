//! What is checked of names before the file system is asked, in Linux's order: slashes behind what is
//! not a directory, and dots.

use ext2::layout::inode::Kind;
use ext2::{Error, Exchange};

use super::OpenError;
use crate::mount::Mounted;

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The directory.
    pub dir: u32,
    /// The name.
    pub name: &'a [u8],
    /// It must be a directory.
    pub slash: bool,
}

/// Why a name that ends with a slash is not that of a file.
pub(super) fn not_a_file(mounted: &Mounted, place: Place<'_>) -> Error {
    match kind_at(mounted, place.dir, place.name) {
        Ok(Some(Kind::Directory)) => Error::IsDirectory,
        Ok(_) => Error::NotDirectory,
        Err(error) => error,
    }
}

fn kind_at(mounted: &Mounted, dir: u32, name: &[u8]) -> Result<Option<Kind>, Error> {
    let number = mounted.fs().lookup(dir, name)?;
    Ok(mounted.fs().inode(number)?.1.kind())
}

/// What is no directory is not made where a slash follows: what is there already is the first error.
pub(super) fn may_make(mounted: &Mounted, place: Place<'_>) -> Result<(), Error> {
    match place.slash {
        true => {
            Err(mounted.fs().lookup(place.dir, place.name).map_or_else(|e| e, |_| Error::Exists))
        }
        false => Ok(()),
    }
}

/// What Linux checks of names before it asks the file system: dots, and slashes behind what is not a
/// directory.
pub(super) fn may_rename(
    mounted: &Mounted,
    old: Place<'_>,
    new: Place<'_>,
    exchange: Exchange,
) -> Result<(), OpenError> {
    let is_dots = |place: Place<'_>| matches!(place.name, b"." | b"..");
    if is_dots(old) || is_dots(new) {
        let exists = !is_dots(old) && exchange == Exchange::Never;
        return Err(if exists { OpenError::Exists } else { OpenError::Busy });
    }
    if !old.slash && !new.slash {
        return Ok(());
    }
    let source = kind_at(mounted, old.dir, old.name)?;
    let there = match kind_at(mounted, new.dir, new.name) {
        Err(Error::NotFound) if exchange != Exchange::Both => None,
        Ok(_) if exchange == Exchange::Never => return Err(OpenError::Exists),
        other => other?,
    };
    let no_dir = |kind, slash| slash && kind != Some(Kind::Directory);
    let is_wrong = match exchange {
        Exchange::Both => no_dir(source, old.slash) || no_dir(there, new.slash),
        _ => no_dir(source, old.slash || new.slash),
    };
    if is_wrong { Err(OpenError::Fs(Error::NotDirectory)) } else { Ok(()) }
}
