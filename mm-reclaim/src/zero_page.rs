//! The zero page: what untouched anonymous memory reads as (BUDY-11).
//!
//! One frame of zeroes for the whole machine. It is mapped without the right to write, and a
//! mapping of it counts nowhere: no mapping count, no reference, no resident page, no slot. A
//! store replaces it by a page of the program's own, by break-before-make. Whoever reads an
//! entry therefore asks first whether it maps the zero page:
//!
//! | who | what it does with it |
//! | --- | --- |
//! | a store (`fault.rs`) | replaces it |
//! | `zap.rs` | empties the entry, lets no page go |
//! | `fork.rs` | copies the entry |
//! | `MADV_PAGEOUT`, `MADV_COLD` (`advice.rs`) | pass it over |
//! | `mlock.rs` | replaces it: what is locked does not fault any more |
//! | `validate` | the entry counts nothing |
//!
//! An area that is locked into memory never maps it. The frame is taken when the first address
//! space is made, and stays; the killer, `swapoff` and reclaim never meet it, since nothing
//! leads from the page to its mappings.
//!
//! Counterpart in Linux: `my_zero_pfn`, `do_anonymous_page`.

use crate::aspace::SpaceError;
use crate::env::Env;
use crate::mm::{Mm, NO_ZERO_PAGE};
use crate::sync::Ordering;
use crate::units::Pfn;

impl<E: Env> Mm<'_, E> {
    /// Makes sure that there is a zero page.
    pub(crate) fn prepare_zero_page(&self) -> Result<(), SpaceError> {
        // Acquire and Release: whoever finds the frame finds it zeroed.
        if self.zero_page.load(Ordering::Acquire) != NO_ZERO_PAGE {
            return Ok(());
        }
        let (pfn, page) = self.table_frame()?;
        let swap = self.zero_page.compare_exchange(
            NO_ZERO_PAGE,
            pfn.0,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match swap {
            Ok(_) => _ = page.leak(),
            Err(_) => self.put(page),
        }
        Ok(())
    }

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
}
