//! The names in a directory, block by block.
//!
//! A directory with an index is read as one without: the index lies in what looks like free entries. It
//! is given up with the first change, since nobody keeps it in step: the flag that says that there is
//! one is cleared first.

use crate::disk::Disk;
use crate::error::Error;
use crate::inode::InodeAt;
use crate::layout::entry::{Entry, MOST_NAME, bytes_for, entries, put_name};
use crate::layout::inode::{INDEX, Inode, Kind, entry_type, time};
use crate::map::{Fresh, Leaf};
use crate::mount::{Ext2, Writer};

/// A name that is being listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// The inode.
    pub inode: u32,
    /// The kind, as `d_type` has it; 0 if the directory does not say.
    pub kind: u8,
    /// The name.
    pub bytes: &'a [u8],
    /// Where the next name is.
    pub next: u64,
}

/// Where a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    block: u32,
    at: usize,
}

/// A directory that is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dir {
    pub at: InodeAt,
    pub inode: Inode,
}

/// Whether a block is as [`empty_block`] has left it.
fn is_empty_block(block: &[u8]) -> bool {
    let entry = Entry::parse(block, 0, true);
    entry.is_some_and(|entry| entry.inode == 0 && entry.len == block.len())
}

/// `DT_*` of what an entry says.
fn listed_kind(kind: u8) -> u8 {
    const KINDS: [u8; 8] = [0, 8, 4, 2, 6, 1, 12, 10];
    KINDS.get(usize::from(kind)).copied().unwrap_or(0)
}

const DAMAGE: &str = "an entry of a directory";

/// What is found in a block.
enum Found<T> {
    This(T),
    Nothing,
    Damage,
}

impl<D: Disk> Ext2<D> {
    /// A directory by its number.
    pub(crate) fn dir(&self, number: u32) -> Result<Dir, Error> {
        let (at, inode) = self.inode(number)?;
        match inode.kind() {
            Some(Kind::Directory) => Ok(Dir { at, inode }),
            _ => Err(Error::NotDirectory),
        }
    }

    fn blocks_of(&self, dir: &Dir) -> Result<u32, Error> {
        let blocks = dir.inode.size >> self.geometry.block_bits;
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks <= self.geometry.blocks);
        blocks.ok_or(Error::Corrupt { what: "a directory that is too large", at: dir.at.number })
    }

    /// Visits the blocks of a directory from `from` on, until one has what is looked for.
    fn find_in<T>(
        &self,
        dir: &Dir,
        from: u32,
        mut look: impl FnMut(u32, &[u8]) -> Found<T>,
    ) -> Result<Option<(T, u32)>, Error> {
        let (mut at, end) = (from, self.blocks_of(dir)?);
        while at < end {
            let mapped = self.map(dir.at, at, end - at)?;
            let first = mapped.block.unwrap_or(0);
            let there = if mapped.block.is_some() { mapped.len } else { 0 };
            for block in first..first + there {
                match self.disk.look(block, |bytes| look(at, bytes))? {
                    Found::This(found) => return Ok(Some((found, block))),
                    Found::Nothing => at += 1,
                    Found::Damage => return Err(Error::Corrupt { what: DAMAGE, at: block }),
                }
            }
            at += mapped.len - there;
        }
        Ok(None)
    }

    /// The inode of a name, and where it is.
    pub(crate) fn find(&self, dir: &Dir, name: &[u8]) -> Result<Option<(u32, Place)>, Error> {
        if name.len() > MOST_NAME {
            return Err(Error::NameTooLong);
        }
        let has_filetype = self.geometry.has_filetype;
        let found = self.find_in(dir, 0, |_, bytes| {
            for entry in entries(bytes, has_filetype) {
                let Some(entry) = entry else { return Found::Damage };
                if entry.inode != 0 && entry.name_len == name.len() && entry.name(bytes) == name {
                    return Found::This((entry.inode, entry.at));
                }
            }
            Found::Nothing
        })?;
        Ok(found.map(|((inode, at), block)| (inode, Place { block, at })))
    }

    /// Lists names from a place on, until `visit` returns false; returns where to go on. A block is lent
    /// while its names are visited: the visitor must not wait. Places are those that [`Name::next`] gave,
    /// or 0.
    ///
    /// # Errors
    /// If it is no directory, could not be read, or is damaged.
    pub fn list(
        &self,
        number: u32,
        from: u64,
        mut visit: impl FnMut(Name<'_>) -> bool,
    ) -> Result<u64, Error> {
        let dir = self.dir(number)?;
        let (bits, has_filetype) = (self.geometry.block_bits, self.geometry.has_filetype);
        let first = u32::try_from(from >> bits).unwrap_or(u32::MAX);
        let stopped = self.find_in(&dir, first, |at, bytes| {
            let start = u64::from(at) << bits;
            for entry in entries(bytes, has_filetype) {
                let Some(entry) = entry else { return Found::Damage };
                let here = start + entry.at as u64;
                // Names that were listed before are passed over, also if entries have changed since.
                if here < from || entry.inode == 0 {
                    continue;
                }
                let name = Name {
                    inode: entry.inode,
                    kind: listed_kind(entry.kind),
                    bytes: entry.name(bytes),
                    next: here + entry.len as u64,
                };
                if !visit(name) {
                    return Found::This(here);
                }
            }
            Found::Nothing
        })?;
        Ok(stopped.map_or_else(|| dir.inode.size.max(from), |(here, _)| here))
    }

    /// Whether a directory has no name but its own and its parent's.
    pub(crate) fn is_empty(&self, dir: &Dir) -> Result<bool, Error> {
        let has_filetype = self.geometry.has_filetype;
        let name = self.find_in(dir, 0, |_, bytes| {
            for entry in entries(bytes, has_filetype) {
                let Some(entry) = entry else { return Found::Damage };
                if entry.inode != 0 && !matches!(entry.name(bytes), b"." | b"..") {
                    return Found::This(());
                }
            }
            Found::Nothing
        })?;
        Ok(name.is_none())
    }

    /// The parent of a directory.
    pub(crate) fn parent(&self, dir: &Dir) -> Result<u32, Error> {
        // It is in the first block.
        let mut first = *dir;
        first.inode.size = dir.inode.size.min(self.geometry.block_bytes() as u64);
        let found = self.find(&first, b"..")?;
        found
            .map(|(inode, _)| inode)
            .ok_or(Error::Corrupt { what: "a directory without a parent", at: dir.at.number })
    }

    /// A directory is about to change: its index goes, and its times say so.
    fn note_change(&self, dir: &mut Dir) -> Result<(), Error> {
        dir.inode.flags &= !INDEX;
        let now = self.disk.now();
        (dir.inode.times[time::MODIFY], dir.inode.times[time::CHANGE]) = (now, now);
        self.store(dir.at, &dir.inode)
    }

    /// Adds a name that is not there.
    pub(crate) fn add(
        &self,
        writer: &mut Writer,
        dir: &mut Dir,
        name: &[u8],
        inode: u32,
        mode: u16,
    ) -> Result<(), Error> {
        if name.len() > MOST_NAME {
            return Err(Error::NameTooLong);
        }
        let (need, has_filetype) = (bytes_for(name.len()), self.geometry.has_filetype);
        let found = self.find_in(dir, 0, |_, bytes| {
            for entry in entries(bytes, has_filetype) {
                let Some(entry) = entry else { return Found::Damage };
                if entry.len - entry.used().min(entry.len) >= need {
                    return Found::This(entry.at);
                }
            }
            Found::Nothing
        })?;
        self.note_change(dir)?;
        let (at, block) = match found {
            Some(found) => found,
            None => (0, self.extend(writer, dir)?),
        };
        let kind = if has_filetype { entry_type(mode) } else { 0 };
        Ok(self.disk.change(block, |bytes| put_into(bytes, at, name, inode, kind, has_filetype))?)
    }

    /// A directory gets one more block, with a free entry.
    fn extend(&self, writer: &mut Writer, dir: &mut Dir) -> Result<u32, Error> {
        let at = self.blocks_of(dir)?;
        if at >= self.geometry.blocks {
            return Err(Error::NoSpace);
        }
        let block = match self.reserve_leaf(writer, dir.at, at, Leaf::Names)? {
            Fresh::New(block) => block,
            // Left by a call that could not store the size; otherwise it may hold anything.
            Fresh::Old(block) if self.disk.look(block, is_empty_block)? => block,
            Fresh::Old(block) => {
                let what = "a block behind the end of a directory";
                return Err(Error::Corrupt { what, at: block });
            }
        };
        dir.inode = self.load(dir.at)?;
        dir.inode.size = u64::from(at + 1) << self.geometry.block_bits;
        self.store(dir.at, &dir.inode)?;
        Ok(block)
    }

    /// Removes the name at a place.
    pub(crate) fn remove(&self, dir: &mut Dir, place: Place) -> Result<(), Error> {
        self.note_change(dir)?;
        let has_filetype = self.geometry.has_filetype;
        Ok(self.disk.change(place.block, |bytes| take_out(bytes, place.at, has_filetype))?)
    }

    /// The name at a place is another inode's from now on.
    pub(crate) fn lead_to(
        &self,
        dir: &mut Dir,
        place: Place,
        inode: u32,
        mode: u16,
    ) -> Result<(), Error> {
        self.note_change(dir)?;
        let has_filetype = self.geometry.has_filetype;
        Ok(self.disk.change(place.block, |bytes| {
            if let Some(entry) = Entry::parse(bytes, place.at, has_filetype) {
                let kind = if has_filetype { entry_type(mode) } else { entry.kind };
                Entry { inode, kind, ..entry }.put(bytes);
            }
        })?)
    }

    /// Fills the first block of a new directory.
    pub(crate) fn begin_dir(
        &self,
        writer: &mut Writer,
        dir: &mut Dir,
        parent: u32,
    ) -> Result<(), Error> {
        let block = self.extend(writer, dir)?;
        let (own, has_filetype) = (dir.at.number, self.geometry.has_filetype);
        let kind = if has_filetype { entry_type(Kind::Directory.mode_bits()) } else { 0 };
        Ok(self.disk.change(block, |bytes| {
            put_into(bytes, 0, b".", own, kind, has_filetype);
            put_into(bytes, 0, b"..", parent, kind, has_filetype);
        })?)
    }
}

/// Puts a name into the free part of the entry at `at`, which is large enough.
fn put_into(bytes: &mut [u8], at: usize, name: &[u8], inode: u32, kind: u8, has_filetype: bool) {
    let Some(old) = Entry::parse(bytes, at, has_filetype) else { return };
    let used = old.used();
    if used > 0 {
        Entry { len: used, ..old }.put(bytes);
    }
    let new = Entry { at: at + used, inode, len: old.len - used, name_len: name.len(), kind };
    new.put(bytes);
    put_name(bytes, new.at, name);
}

/// Removes the entry at `at`: the one before it takes its room; the first becomes free.
fn take_out(bytes: &mut [u8], at: usize, has_filetype: bool) {
    let Some(gone) = Entry::parse(bytes, at, has_filetype) else { return };
    let before = entries(bytes, has_filetype).flatten().find(|entry| entry.at + entry.len == at);
    match before {
        Some(before) => Entry { len: before.len + gone.len, ..before }.put(bytes),
        None => Entry { inode: 0, ..gone }.put(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::entry::empty_block;

    fn names(block: &[u8]) -> Vec<(u32, String)> {
        let all = entries(block, true).map(|entry| entry.expect("a right entry"));
        let used = all.filter(|entry| entry.inode != 0);
        used.map(|entry| {
            (entry.inode, String::from_utf8(entry.name(block).to_vec()).expect("a name"))
        })
        .collect()
    }

    /// Entries fill their block, whatever is added and removed.
    #[test]
    fn entries_fill_their_block() {
        let mut block = [0; 1024];
        empty_block(&mut block);
        put_into(&mut block, 0, b".", 12, 2, true);
        put_into(&mut block, 0, b"..", 2, 2, true);
        put_into(&mut block, 12, b"name", 13, 1, true);
        let all = |block: &[u8]| entries(block, true).map(|e| e.expect("right").len).sum::<usize>();
        let list = |list: &[(u32, &str)]| -> Vec<_> {
            list.iter().map(|(inode, name)| (*inode, (*name).to_string())).collect()
        };
        assert_eq!(names(&block), list(&[(12, "."), (2, ".."), (13, "name")]));
        take_out(&mut block, 12, true);
        assert_eq!((names(&block), all(&block)), (list(&[(12, "."), (13, "name")]), 1024));
        take_out(&mut block, 0, true);
        assert_eq!((names(&block), all(&block)), (list(&[(13, "name")]), 1024));
        put_into(&mut block, 0, b"x", 14, 1, true);
        assert_eq!(names(&block), list(&[(14, "x"), (13, "name")]));
    }

    #[test]
    fn an_entry_that_cannot_be_right_is_refused() {
        let mut block = [0; 1024];
        empty_block(&mut block);
        for (at, len) in [(4, 0), (4, 8), (4, 13), (4, 1028)] {
            let mut block = block;
            block[at..at + 2].copy_from_slice(&u16::to_le_bytes(len));
            assert_eq!(entries(&block, true).collect::<Vec<_>>(), [None], "{len}");
        }
        block[4..7].copy_from_slice(&[12, 0, 5]);
        assert_eq!(entries(&block, true).next(), Some(None), "shorter than its name");
    }
}
