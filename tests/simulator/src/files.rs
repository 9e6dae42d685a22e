//! Files: stretches of a disk, and which of their pages are cached.
//!
//! The contents lie on a device that is no swap device; the map of what is cached is the
//! environment's, as [`FileStore`] requires. It checks the crate's obligations: a page is entered
//! once, only what was entered is removed, and a shadow replaces its page.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::env::{DeviceId, FileStore, NotEntered};
use mm_reclaim::units::{FileId, FilePage, Pfn};

/// What is kept of a page of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is cached.
    Page(Pfn),
    /// It was evicted.
    Shadow(u32),
}

#[derive(Clone, Copy, Debug)]
struct File {
    device: DeviceId,
    first: u32,
    pages: u32,
    /// Writes that failed.
    errors: u32,
}

/// The files of a machine.
#[derive(Debug, Default)]
pub struct Files(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    kept: BTreeMap<FilePage, Kept>,
}

impl Files {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file of `pages` pages, which lie one after the other from block `first` on.
    pub fn create(&self, device: DeviceId, first: u32, pages: u32) -> FileId {
        let mut state = self.state();
        state.files.push(File { device, first, pages, errors: 0 });
        FileId(state.files.len() as u32 - 1)
    }

    /// The file is shorter from now on; its pages behind are still to be dropped.
    pub fn truncate(&self, file: FileId, pages: u32) {
        self.state().files[file.0 as usize].pages = pages;
    }

    /// What is kept of a page.
    pub fn kept(&self, at: FilePage) -> Option<Kept> {
        self.state().kept.get(&at).copied()
    }

    /// Pages of all files that are cached.
    pub fn cached_pages(&self) -> usize {
        self.state().kept.values().filter(|kept| matches!(kept, Kept::Page(_))).count()
    }

    /// Writes of a file that failed.
    pub fn errors(&self, file: FileId) -> u32 {
        self.state().files[file.0 as usize].errors
    }
}

impl FileStore for Files {
    fn cached(&self, at: FilePage) -> Option<Pfn> {
        match self.kept(at) {
            Some(Kept::Page(pfn)) => Some(pfn),
            _ => None,
        }
    }

    fn enter(&self, at: FilePage, frame: Pfn) -> Result<Option<u32>, NotEntered> {
        let mut state = self.state();
        let is_there = state.files.get(at.file.0 as usize).is_some_and(|f| at.index < f.pages);
        match state.kept.get(&at) {
            _ if !is_there => Err(NotEntered),
            Some(Kept::Page(_)) => Err(NotEntered),
            before => {
                let shadow = before.and_then(|kept| match kept {
                    Kept::Shadow(shadow) => Some(*shadow),
                    Kept::Page(_) => None,
                });
                state.kept.insert(at, Kept::Page(frame));
                Ok(shadow)
            }
        }
    }

    fn leave(&self, at: FilePage, frame: Pfn, shadow: Option<u32>) {
        let mut state = self.state();
        let was = match shadow {
            Some(shadow) => state.kept.insert(at, Kept::Shadow(shadow)),
            None => state.kept.remove(&at),
        };
        assert_eq!(was, Some(Kept::Page(frame)), "{at} is not what leaves");
    }

    fn locate(&self, at: FilePage) -> Option<(DeviceId, u32)> {
        let file = *self.state().files.get(at.file.0 as usize)?;
        (at.index < file.pages).then_some((file.device, file.first + at.index))
    }

    fn write_failed(&self, at: FilePage) {
        self.state().files[at.file.0 as usize].errors += 1;
    }
}
