//! The zero page: what untouched anonymous memory reads as (BUDY-11).
//!
//! One frame of zeroes for the whole machine. It is mapped without the right to write, and a
//! mapping of it counts nowhere: no mapping count, no reference, no resident page, no slot. A
//! store replaces it by a page of the program's own, by break-before-make. Whoever reads an
//! entry therefore asks first whether it maps the zero page:
//!
//! | who | what it does with it |
//! | --- | --- |
//! | a store (`fault/mod.rs`) | replaces it |
//! | `rmap/zap.rs` | empties the entry, lets no page go |
//! | `mmap/fork.rs` | copies the entry |
//! | `MADV_PAGEOUT`, `MADV_COLD` (`mmap/madvise.rs`) | pass it over |
//! | `mmap/mlock.rs` | replaces it: what is locked does not fault any more |
//! | `validate` | the entry counts nothing |
//!
//! An area that is locked into memory never maps it. The frame is taken when the first address
//! space is made, and stays; the killer, `swapoff` and reclaim never meet it, since nothing
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

    /// Whether the zero page is there already.
    pub(crate) fn has_zero_page(&self) -> bool {
        // Acquire pairs with the Release below: whoever finds the frame finds it zeroed.
        self.zero_page.load(Ordering::Acquire) != NO_ZERO_PAGE
    }

    /// Makes a zeroed frame the zero page, with its reference. If another was quicker, the
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
