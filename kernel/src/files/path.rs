//! Paths: bytes in a frame of their own, and the walk along them.
//!
//! What is outside of the file system that is mounted at `/mnt` is flat: a path there is a name as a
//! whole ([`super::names`]).

use core::ops::Range;

use ext2::layout::inode::Kind;
use ext2::{Error, ROOT};
use mm_reclaim::env::FrameMemory;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};

use super::OpenError;
use crate::arch::frames::{LinearFrames, frame_address};
use crate::glue;
use crate::mount::{self, Fs};

/// Symbolic links on one walk, at most.
const MOST_LINKS: u32 = 40;
/// The name of the directory where the file system is mounted.
const MOUNT_POINT: &[u8] = b"mnt";

/// A frame of bytes, which goes back when it is dropped.
pub struct Bytes {
    frame: Pfn,
    len: usize,
}

impl Bytes {
    /// No bytes, and room for a page full.
    ///
    /// # Errors
    /// Without memory.
    pub fn new() -> Result<Self, OpenError> {
        let frame = glue::mm().alloc_pages(Gfp::KERNEL, Order::ZERO);
        let frame = frame.ok_or(OpenError::NoMemory)?;
        LinearFrames::new().zero(frame);
        Ok(Self { frame, len: 0 })
    }

    /// The bytes.
    pub fn get(&self) -> &[u8] {
        // SAFETY: the frame is this value's alone, and its bytes are initialised.
        unsafe { core::slice::from_raw_parts(frame_address(self.frame), self.len) }
    }

    /// All the room; [`Bytes::set_len`] says what of it counts.
    pub fn room(&mut self) -> &mut [u8] {
        // SAFETY: as above, and it is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(frame_address(self.frame), PAGE_SIZE) }
    }

    /// The first `len` bytes count.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(PAGE_SIZE);
    }

    /// Appends bytes, if there is room.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.len;
        let room = self.room().get_mut(at..at + bytes.len()).ok_or(Error::NameTooLong)?;
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        glue::mm().free_pages(self.frame, Order::ZERO);
    }
}

/// Where a walk begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The root of everything, which is the working directory.
    Root,
    /// A directory of the file system.
    Dir(u32),
}

/// What a walk does with a symbolic link at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// It is followed.
    Follow,
    /// It is what is meant.
    Stay,
    /// What is not there will be made, and no directory (`O_CREAT`): a slash at the end is an error.
    Make {
        /// A symbolic link is followed.
        follow: bool,
    },
    /// Nothing is looked up: the directory is wanted, and the name.
    Name,
}

impl Last {
    const fn follows(self) -> bool {
        matches!(self, Self::Follow | Self::Make { follow: true })
    }
}

/// Where a walk ends. Names are ranges of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// At the root of everything.
    Root,
    /// Outside of the file system: the path without the slash at its start.
    Flat(Range<usize>),
    /// At an inode.
    Inode(u32, Kind),
    /// At a name in a directory: of something that is not there, or that was not looked up. `slash`: it
    /// ends with one, and must be a directory.
    Name {
        /// The directory.
        dir: u32,
        /// The name.
        name: Range<usize>,
        /// A slash follows.
        slash: bool,
    },
}

/// A walk along a path, which symbolic links replace. The caller holds the writer of the file system.
struct Walk<'a> {
    fs: Option<&'a Fs>,
    path: &'a mut Bytes,
    at: usize,
    /// The directory so far; `None` outside of the file system.
    dir: Option<u32>,
    links: u32,
}

/// Walks along a path.
///
/// # Errors
/// [`OpenError`].
pub fn walk(fs: Option<&Fs>, start: Start, path: &mut Bytes, last: Last) -> Result<End, OpenError> {
    let dir = match start {
        Start::Dir(dir) if path.get().first() != Some(&b'/') => Some(dir),
        _ => None,
    };
    if path.get().is_empty() {
        return Err(OpenError::NotFound);
    }
    if let (Some(fs), Some(dir)) = (fs, dir)
        && fs.load(fs.locate(dir)?)?.links == 0
    {
        return Err(OpenError::NotFound);
    }
    let end = Walk { fs, path, at: 0, dir, links: 0 }.run(last);
    end.inspect_err(|error| {
        if let OpenError::Fs(error) = error {
            mount::note(*error);
        }
    })
}

impl Walk<'_> {
    fn run(mut self, last: Last) -> Result<End, OpenError> {
        loop {
            let Some(name) = self.next() else {
                return Ok(self.dir.map_or(End::Root, |dir| End::Inode(dir, Kind::Directory)));
            };
            let behind = self.path.get()[self.at..].iter();
            let slash = self.path.get().get(name.end) == Some(&b'/');
            let is_last = behind.clone().all(|byte| *byte == b'/');
            let (Some(fs), Some(dir)) = (self.fs, self.dir) else {
                match self.outside(&name) {
                    Some(flat) => return Ok(flat),
                    None => continue,
                }
            };
            if is_last && last == Last::Name {
                return Ok(End::Name { dir, name, slash });
            }
            let is_dots = matches!(&self.path.get()[name.clone()], b"." | b"..");
            if is_last && slash && !is_dots && matches!(last, Last::Make { .. }) {
                return Err(OpenError::Fs(Error::IsDirectory));
            }
            if self.path.get()[name.clone()] == *b".." && dir == ROOT {
                self.dir = None;
                continue;
            }
            let number = match fs.lookup(dir, &self.path.get()[name.clone()]) {
                Err(Error::NotFound) if is_last => return Ok(End::Name { dir, name, slash }),
                other => other?,
            };
            match fs.inode(number)?.1.kind() {
                Some(Kind::Directory) => self.dir = Some(number),
                Some(Kind::Symlink) if !is_last || slash || last.follows() => {
                    self.follow(fs, number)?;
                }
                Some(kind) if is_last && !slash => return Ok(End::Inode(number, kind)),
                _ => return Err(OpenError::Fs(Error::NotDirectory)),
            }
        }
    }

    /// The next name.
    fn next(&mut self) -> Option<Range<usize>> {
        let path = self.path.get();
        let start = self.at + path[self.at..].iter().position(|byte| *byte != b'/')?;
        let len = path[start..].iter().position(|byte| *byte == b'/');
        self.at = len.map_or(path.len(), |len| start + len);
        Some(start..self.at)
    }

    /// A name outside of the file system: the walk enters that, stays at the root, or ends.
    fn outside(&mut self, name: &Range<usize>) -> Option<End> {
        match &self.path.get()[name.clone()] {
            b"." | b".." => None,
            MOUNT_POINT if self.fs.is_some() => {
                self.dir = Some(ROOT);
                None
            }
            _ => Some(End::Flat(name.start..self.path.get().len())),
        }
    }

    /// The target of a symbolic link takes the place of what was walked.
    fn follow(&mut self, fs: &Fs, number: u32) -> Result<(), OpenError> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(OpenError::Loop);
        }
        let mut path = Bytes::new()?;
        let len = fs.read_link(number, path.room())?;
        path.set_len(len);
        path.push(&self.path.get()[self.at..])?;
        if path.get().first() == Some(&b'/') {
            self.dir = None;
        }
        self.at = 0;
        core::mem::swap(self.path, &mut path);
        Ok(())
    }
}
