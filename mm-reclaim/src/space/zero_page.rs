//! The zero page: what reads of untouched anonymous memory return (BUDY-11).
//!
//! One frame of zeroes for the whole machine. It is mapped read-only, and a mapping of it is
//! counted nowhere: no mapping count, no reference, no resident page, no slot. A store replaces it
//! by a private page, by break-before-make. Code that reads an entry therefore checks first whether
//! it maps the zero page:
//!
//! | code | what it does with it |
//! | --- | --- |
//! | a store (`fault/mod.rs`) | replaces it |
//! | `rmap/zap.rs` | clears the entry, drops no page |
//! | `mmap/fork.rs` | copies the entry |
//! | `MADV_PAGEOUT`, `MADV_COLD` (`mmap/madvise.rs`) | skip it |
//! | `mmap/mlock.rs` | replaces it: locked memory must not fault any more |
//! | `validate` | the entry is not counted |
//!
//! An area that is locked into memory never maps it. The frame is allocated when the first address
//! space is made, and never freed; the killer, `swapoff` and reclaim never find it, since nothing
//! leads from the page to its mappings.
//!
//! Counterpart in Linux: `my_zero_pfn`, `do_anonymous_page`.

use super::Spaces;
use super::spaces::NO_ZERO_PAGE;
use crate::base::sync::Ordering;
use crate::base::units::Pfn;
use crate::env::Env;
use crate::page::PageRef;

impl<'m, E: Env> Spaces<'m, E> {
    /// The frame of zeroes; there is one as soon as there is an address space.
    #[inline(always)]
    pub(crate) fn zero_pfn(&self) -> Pfn {
        Pfn(self.zero_page.load(Ordering::Relaxed))
    }

    /// Whether `pfn` is the frame of zeroes.
    #[inline(always)]
    pub(crate) fn is_zero_page(&self, pfn: Pfn) -> bool {
        pfn == self.zero_pfn()
    }

    /// Whether the zero page exists already.
    pub(crate) fn has_zero_page(&self) -> bool {
        // Acquire pairs with the Release below: the frame is seen zeroed.
        self.zero_page.load(Ordering::Acquire) != NO_ZERO_PAGE
    }

    /// Makes a zeroed frame the zero page, with its reference. If there is one already, the
    /// reference is put.
    pub(crate) fn enter_zero_page(&self, pfn: Pfn, page: PageRef<'m>) {
        let swap = self.zero_page.compare_exchange(
            NO_ZERO_PAGE,
            pfn.0,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match swap {
            Ok(_) => _ = page.leak(),
            Err(_) => self.lru.put(page),
        }
    }
}
