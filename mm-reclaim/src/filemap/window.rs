//! How far to read ahead: the window of one open description or of one mapped area (FILE-02).
//!
//! A device reads 32 pages in one request almost as fast as one page. A sequential reader wants
//! them all and a random reader only the first, so the window starts small and doubles as long as
//! reading stays sequential. And a reader should not wait at the end of each window. So one page
//! of the window is *marked*, and the reader that reaches the mark starts the next window while
//! the pages behind the mark are still unread:
//!
//! ```text
//!   page     0   1       4               12                            28
//!            [ W M . . ] [ M . . . . . . ] [ M . . . . . . . . . . . . ] [ M . .
//!   missed   0 --> reads 0..4, wanted 1, the other 3 are ahead: mark at 1
//!   marked       1 --> reads 4..12, all of it is ahead: mark at 4
//!   marked               4 --> reads 12..28          12 --> reads 28..60, and then 32 each
//! ```
//!
//! A file of 1,000 pages that is read in order is thus read in 34 requests, of which the reader
//! waits for the first alone if the device is as fast as it is.
//!
//! A page that is missing is read sequentially if it is the file's first, the last page used or
//! the one behind it, or the end of the window; if more is wanted than the largest window holds;
//! or if more than the wanted number of pages just before it are cached: the *history* of a reader
//! that shares the description with others. Any other page is read at random: exactly what is
//! wanted, and the window stays as it was, for a sequential reader that goes on later.
//!
//! A mark may also be that of another window, when two readers share a description. Then the pages
//! from the mark on that are cached are taken for the part ahead, and the next window lies behind
//! them.
//!
//! Counterpart in Linux: `mm/readahead.c`.

/// The largest window, 128 KiB (`VM_READAHEAD_PAGES`).
pub(super) const MOST: u32 = 32;

/// How a program says that it reads: `posix_fadvise`, `madvise`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pattern {
    /// It said nothing.
    #[default]
    Normal,
    /// There is no order: nothing is read ahead.
    Random,
    /// In order: the largest window is twice as large.
    Sequential,
}

impl Pattern {
    /// The largest window; `None` if nothing is read ahead.
    const fn most(self) -> Option<u32> {
        match self {
            Self::Normal => Some(MOST),
            Self::Random => None,
            Self::Sequential => Some(2 * MOST),
        }
    }
}

/// Why something is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// The page is not cached.
    Missed,
    /// The page is cached and marked; the mark was removed.
    Marked,
}

/// Which cached pages are counted, from the one nearest to `at` up to the first that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    /// Those just before `at`.
    Before,
    /// `at` and those behind it.
    From,
}

/// What to read. Pages that are cached already are skipped, and so are those past the end of the
/// file. Every page of a plan has an index below 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the window has moved: what is not read now is a miss later"]
pub(crate) struct Plan {
    /// The first page; the missed page if one was missed.
    pub start: u32,
    /// How many; fewer than wanted if that is more than a window holds, and 0 if enough was read
    /// before.
    pub pages: u32,
    /// The page to mark, if it is one of those that are read now.
    pub mark: Option<u32>,
}

impl Plan {
    fn new(start: u32, pages: u32, mark: Option<u32>) -> Self {
        let behind = (u32::MAX - start).saturating_add(1);
        Self { start, pages: pages.min(behind), mark }
    }
}

/// The window of a reader. Without a lock: of two readers that mix theirs, one may read too much
/// or too little.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadAhead {
    /// The first page of the window.
    start: u32,
    /// Its pages; 0 if there is none.
    size: u16,
    /// Those from the mark on.
    ahead: u16,
    /// The page behind the last one used.
    next: u32,
}

impl ReadAhead {
    /// No page was read.
    pub const fn new() -> Self {
        Self { start: 0, size: 0, ahead: 0, next: 0 }
    }

    /// The window as two words, for whoever keeps it without a lock.
    pub(crate) const fn words(self) -> [u64; 2] {
        let sizes = (self.size as u64) << 16 | self.ahead as u64;
        [sizes << 32 | self.start as u64, self.next as u64]
    }

    /// The inverse of [`ReadAhead::words`]. Two words that do not belong together make a window of
    /// no use, but a window.
    pub(crate) const fn of_words([low, high]: [u64; 2]) -> Self {
        let (size, ahead) = ((low >> 48) as u16, (low >> 32) as u16);
        let ahead = if ahead > size { size } else { ahead };
        Self { start: low as u32, size, ahead, next: high as u32 }
    }

    /// Records the last page of a read.
    pub(crate) fn note_use(&mut self, at: u32) {
        self.next = at.saturating_add(1);
    }

    /// What to read as `at` was missed or its mark was reached, for a reader that wants `wanted`
    /// pages from there on. `cached` counts the pages of a [`Run`] next to `at` that are cached,
    /// up to a number.
    #[doc(alias("page_cache_sync_ra", "page_cache_async_ra"))]
    pub(crate) fn plan(
        &mut self,
        at: u32,
        wanted: u32,
        cause: Cause,
        pattern: Pattern,
        cached: impl FnOnce(Run, u32) -> u32,
    ) -> Plan {
        let wanted = wanted.max(1);
        let Some(most) = pattern.most() else { return Plan::new(at, wanted.min(MOST), None) };
        match cause {
            Cause::Marked if self.mark() == Some(at) => self.advance(at, most),
            Cause::Marked => self.adopt(at, wanted, most, cached(Run::From, most + 1)),
            Cause::Missed if self.end() == Some(at) => self.catch_up(at, most),
            Cause::Missed if self.is_next(at) || wanted > most => self.begin(at, wanted, most),
            Cause::Missed => self.follow(at, wanted, most, cached(Run::Before, most)),
        }
    }

    /// The page behind the window, if there is a window and such a page.
    fn end(&self) -> Option<u32> {
        if self.size == 0 { None } else { self.start.checked_add(self.size.into()) }
    }

    /// The marked page.
    fn mark(&self) -> Option<u32> {
        if self.ahead == 0 { None } else { self.start.checked_add((self.size - self.ahead).into()) }
    }

    /// The file's first page, the last page used, or the one behind it.
    fn is_next(&self, at: u32) -> bool {
        at == 0 || self.next == at || self.next == at.saturating_add(1)
    }

    fn grown(&self, most: u32) -> u32 {
        (2 * u32::from(self.size)).min(most)
    }

    /// The mark was reached: the next window, all of it ahead.
    fn advance(&mut self, at: u32, most: u32) -> Plan {
        let Some(start) = self.end() else { return Plan::new(at, 0, None) };
        let size = self.grown(most);
        self.open(start, size, size)
    }

    /// The mark of a window that is not known any more, with `run` cached pages from there on.
    fn adopt(&mut self, at: u32, wanted: u32, most: u32, run: u32) -> Plan {
        match at.checked_add(run) {
            Some(start) if run <= most => {
                let size = run.saturating_add(wanted).saturating_mul(2).min(most);
                self.open(start, size, size)
            }
            _ => Plan::new(at, 0, None),
        }
    }

    /// The reader is at the end of the window, where no mark was reached. The next window and the
    /// one after it are one, so that the mark lies behind the page that is missing now.
    fn catch_up(&mut self, at: u32, most: u32) -> Plan {
        let size = self.grown(most);
        let both = size + (2 * size).min(most);
        if both <= most { self.open(at, both, both - size) } else { self.open(at, most, most / 2) }
    }

    /// A first window.
    fn begin(&mut self, at: u32, wanted: u32, most: u32) -> Plan {
        let size = first_size(wanted, most);
        let ahead = if size > wanted { size - wanted } else { size / 2 };
        self.open(at, size, ahead)
    }

    /// A window as long as the history of `before` pages, twice if that begins with the file; or
    /// no window.
    fn follow(&mut self, at: u32, wanted: u32, most: u32, before: u32) -> Plan {
        if before <= wanted {
            return Plan::new(at, wanted, None);
        }
        let history = if before == at { 2 * before } else { before };
        self.open(at, (history + wanted).min(most), 1)
    }

    /// The window is `size` pages at `start`, of which the last `ahead` are ahead.
    fn open(&mut self, start: u32, size: u32, ahead: u32) -> Plan {
        *self = Self { start, size: size as u16, ahead: ahead as u16, ..*self };
        Plan::new(start, size, self.mark())
    }
}

/// The first window (`get_init_ra_size`): what is wanted as a power of two, times 4 if that is at
/// most a 32nd of the largest window, times 2 if at most a quarter.
///
/// | wanted | 1, 2 | 3, 4 | 5 to 8 | more |
/// | --- | --- | --- | --- | --- |
/// | of 32 | 4 | 8 | 16 | 32 |
fn first_size(wanted: u32, most: u32) -> u32 {
    if wanted > most / 4 {
        return most;
    }
    let size = wanted.next_power_of_two();
    if size <= most / 32 { 4 * size } else { 2 * size }
}

#[cfg(test)]
mod tests;
