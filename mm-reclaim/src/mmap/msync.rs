//! What a program says about its mappings of files: `msync`, and how it will use them.
//!
//! A mapping counts as an open description of its file where write errors are reported: it knows what
//! the file had when it was made, and reports what came later, once (DIRT-03).
//!
//! Locks: the area lock only to find the areas; they are written without it.
//!
//! Counterpart in Linux: `mm/msync.c`, `madvise_behavior`, `madvise_willneed`.

use core::ops::Range;

use super::{Mmap, checked_range};
use crate::base::errseq::Seen;
use crate::base::units::Vpn;
use crate::env::Env;
use crate::file::FileRef;
use crate::filemap::{FileError, Pattern};
use crate::space::{AreaFlags, Backing, SpaceError, SpaceId};

/// A part of a file that an area maps.
struct Part<'m, E: Env> {
    file: FileRef<'m, E::Cpu>,
    pages: Range<u32>,
    seen: Seen,
    is_shared: bool,
    /// Where the area begins, and the page after it.
    start: Vpn,
    end: Vpn,
}

impl<'m, E: Env> Mmap<'m, E> {
    /// Writes what a range has of files that it maps shared, and waits, unless `later`.
    ///
    /// # Errors
    /// The space's, for a hole, after the rest was written; or the file's.
    pub(crate) fn msync(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        later: bool,
    ) -> Result<Result<(), FileError>, SpaceError> {
        let range = checked_range(range)?;
        let mut at = range.start;
        let mut done = Ok(());
        while let Some(part) = self.next_part(id, at..range.end)? {
            at = part.end;
            // Nothing has to be done later: the flusher finds what is dirty (as in Linux).
            if part.is_shared && !later {
                done = self.sync_part(id, &part);
            }
            self.filemap.put_file(part.file);
            if done.is_err() {
                return Ok(done);
            }
        }
        let space = self.spaces.find(id)?;
        let covers = space.areas.lock_shared(self.env.tasks()).covers(range.clone());
        if covers {
            Ok(done)
        } else {
            Err(SpaceError::BadRange { start: range.start, end: range.end })
        }
    }

    fn sync_part(&self, id: SpaceId, part: &Part<'m, E>) -> Result<(), FileError> {
        let mut seen = part.seen;
        let done = self.filemap.sync(&part.file, part.pages.clone(), &mut seen);
        if seen != part.seen
            && let Ok(space) = self.spaces.find(id)
        {
            let mut index = space.areas.lock(self.env.tasks());
            // Another mapping may be there by now.
            let found = index.find(part.start);
            let same = Backing::File(part.file.id());
            if let Some((area, view)) = found.filter(|(_, view)| view.backing == same) {
                area.set_seen(seen);
                self.merge_around(&mut index, view.start..view.end);
            }
        }
        done
    }

    /// The first area in a range that maps a file, as far as it lies in the range.
    fn next_part(&self, id: SpaceId, range: Range<Vpn>) -> Result<Option<Part<'m, E>>, SpaceError> {
        let space = self.spaces.find(id)?;
        let index = space.areas.lock_shared(self.env.tasks());
        space.refuse_reaped()?;
        for area in index.overlapping(range.clone()) {
            let view = area.view();
            let Backing::File(file) = view.backing else { continue };
            let (start, end) = (view.start.max(range.start), view.end.min(range.end));
            let first = view.index_of(start);
            let found = self.spaces.files.at(file);
            found.get();
            return Ok(Some(Part {
                file: FileRef::adopt(found, file),
                pages: first..first + (end - start),
                seen: area.seen(),
                is_shared: view.is_shared(),
                start,
                end,
            }));
        }
        Ok(None)
    }

    /// The program will use a range in this order (`MADV_NORMAL`, `MADV_RANDOM`, `MADV_SEQUENTIAL`).
    ///
    /// # Errors
    /// If the range has holes.
    pub(crate) fn advise_pattern(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        pattern: Pattern,
    ) -> Result<(), SpaceError> {
        let set = match pattern {
            Pattern::Normal => AreaFlags::empty(),
            Pattern::Random => AreaFlags::RAND_READ,
            Pattern::Sequential => AreaFlags::SEQ_READ,
        };
        self.change_areas(id, range, |area, _| {
            let view = area.view();
            let rest = view.flags - (AreaFlags::RAND_READ | AreaFlags::SEQ_READ);
            area.set_rights(view.prot, rest | set);
        })
    }

    /// Starts reading what a range maps of files (`MADV_WILLNEED`).
    ///
    /// # Errors
    /// If the range has holes, after the rest was asked for.
    pub(crate) fn will_need(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        let mut at = range.start;
        while let Some(part) = self.next_part(id, at..range.end)? {
            at = part.end;
            self.filemap.read_on_advice(&part.file, part.pages);
            self.filemap.put_file(part.file);
        }
        let index = self.spaces.find(id)?.areas.lock_shared(self.env.tasks());
        match index.covers(range.clone()) {
            true => Ok(()),
            false => Err(SpaceError::BadRange { start: range.start, end: range.end }),
        }
    }
}
