//! Tokens: the right to do something with a page, as a value that cannot be copied.
//!
//! ```text
//!   NewPage ............... just allocated, no reference exists, and none can be taken
//!   PageRef ............... one counted reference
//!   PageLock .............. the page lock
//!   IsolatedPage .......... the page is off its list, one reference is the token's
//!     .try_lock()  ->  LockedPage = IsolatedPage + PageLock
//!     .freeze(n)   ->  FrozenPage: no reference is left, and none can be taken
//! ```
//!
//! Dropping a token would leak what it stands for, so each holds a bomb: `Drop` panics.
//! A token is consumed by the operation that ends its right. What holding a token does
//! *not* prove is said at each type: clean, dirty and referenced change concurrently.

use core::mem;

use super::{Page, PageFlags};
use crate::base::sync::NoPreempt;
use crate::env::Cpu;

/// Panics in `Drop`, unless the thread is unwinding already.
fn bomb(what: &str, page: &Page) {
    #[cfg(any(test, feature = "std"))]
    if std::thread::panicking() {
        return;
    }
    panic!("a token was dropped: {what} of {page:?}");
}

/// A page that was just allocated, held by this token alone.
///
/// It has no reference yet: whoever finds the frame by an old name gets none. It becomes a mapped page, a page of a cache, or a plain reference. Its contents are undefined.
#[must_use = "a new page must be used or freed"]
pub(crate) struct NewPage<'m>(&'m Page);

impl<'m> NewPage<'m> {
    /// For the zones, which allocate pages.
    #[inline(always)]
    pub(crate) fn fresh(page: &'m Page) -> Self {
        debug_assert!(page.refs() == 0);
        Self(page)
    }

    /// The page.
    #[inline(always)]
    pub(crate) fn page(&self) -> &'m Page {
        self.0
    }

    /// Becomes an ordinary counted reference, the only one.
    #[inline(always)]
    pub(crate) fn into_ref(self) -> PageRef<'m> {
        self.0.own();
        self.described()
    }

    /// The page with its first reference, for tests that keep count of it themselves.
    #[cfg(test)]
    pub(crate) fn held(self) -> &'m Page {
        self.into_ref().leak()
    }

    /// After the page was described with its references, this one among them.
    #[inline(always)]
    pub(crate) fn described(self) -> PageRef<'m> {
        let page = self.0;
        mem::forget(self);
        PageRef(page)
    }

    /// An anonymous page of a family, mapped once. The mapping has one reference; the other, which
    /// is returned, is for the batch through which the page enters the lists. For the holder of the
    /// page-table lock under which the mapping is made.
    #[inline(always)]
    pub(crate) fn into_mapped(self, family: u32, index: u32) -> PageRef<'m> {
        self.0.init_anon(family, index);
        self.described()
    }
}

impl Drop for NewPage<'_> {
    fn drop(&mut self) {
        bomb("new page", self.0);
    }
}

/// One counted reference to a page.
///
/// It proves that the page is not freed; not that it is on a list, mapped, or still the
/// page that its handle once named.
#[must_use = "a reference must be put again"]
pub struct PageRef<'m>(&'m Page);

impl<'m> PageRef<'m> {
    #[inline(always)]
    pub(super) fn new(page: &'m Page) -> Self {
        Self(page)
    }

    /// Takes over a reference that a data structure (page table, cache, batch) held.
    #[inline(always)]
    pub(crate) fn adopt(page: &'m Page) -> Self {
        Self(page)
    }

    /// The page.
    #[inline(always)]
    pub fn page(&self) -> &'m Page {
        self.0
    }

    /// Hands the reference to a data structure.
    #[inline(always)]
    pub(crate) fn leak(self) -> &'m Page {
        let page = self.0;
        mem::forget(self);
        page
    }
}

impl Drop for PageRef<'_> {
    fn drop(&mut self) {
        bomb("reference", self.0);
    }
}

/// The page lock.
///
/// It proves that swap-cache membership, `owner`, `private` and the start of write-back do not
/// change; mappings and dirtiness still may.
#[must_use = "a page lock must be released"]
pub struct PageLock<'m>(&'m Page);

impl<'m> PageLock<'m> {
    #[inline(always)]
    pub(super) fn new(page: &'m Page) -> Self {
        Self(page)
    }

    /// The page.
    #[inline(always)]
    pub fn page(&self) -> &'m Page {
        self.0
    }

    /// Ends the token without unlocking: ownership of the lock passes to the end of a transfer.
    pub(crate) fn pass_on(self) {
        mem::forget(self);
    }

    /// Takes over a lock that was passed on.
    pub(crate) fn adopt(page: &'m Page) -> Self {
        debug_assert!(page.has(PageFlags::LOCKED));
        Self(page)
    }

    /// Unlocks. Returns the page if there may be sleepers to wake.
    #[inline(always)]
    pub(crate) fn unlock(self) -> Option<&'m Page> {
        let page = self.0;
        mem::forget(self);
        if page.unlock() { Some(page) } else { None }
    }
}

impl Drop for PageLock<'_> {
    fn drop(&mut self) {
        bomb("lock", self.0);
    }
}

/// A page taken off its LRU list, with one reference.
///
/// It proves that no other scanner has the page; others may still map, lock or look it up.
#[must_use = "an isolated page must be put back or freed"]
pub struct IsolatedPage<'m>(&'m Page);

impl<'m> IsolatedPage<'m> {
    /// For the one place that takes pages off a list, and for lists of isolated pages.
    #[inline(always)]
    pub(crate) fn adopt(page: &'m Page) -> Self {
        debug_assert!(page.has(PageFlags::ISOLATED));
        Self(page)
    }

    /// The page.
    #[inline(always)]
    pub fn page(&self) -> &'m Page {
        self.0
    }

    /// Ends the token: the page returns to a list or joins a batch.
    #[inline(always)]
    pub(crate) fn leak(self) -> &'m Page {
        let page = self.0;
        mem::forget(self);
        page
    }

    /// Takes the page lock if it is free.
    ///
    /// # Errors
    /// Returns the token.
    #[inline]
    pub fn try_lock(self) -> Result<LockedPage<'m>, Self> {
        match self.0.try_lock() {
            Some(lock) => Ok(LockedPage { isolated: self, lock }),
            None => Err(self),
        }
    }
}

impl Drop for IsolatedPage<'_> {
    fn drop(&mut self) {
        bomb("isolation", self.0);
    }
}

/// An isolated page whose lock is held.
#[must_use = "a locked page must be unlocked"]
pub struct LockedPage<'m> {
    isolated: IsolatedPage<'m>,
    lock: PageLock<'m>,
}

impl<'m> LockedPage<'m> {
    /// For a list of such pages.
    #[inline(always)]
    pub(super) fn adopt(page: &'m Page) -> Self {
        Self { isolated: IsolatedPage::adopt(page), lock: PageLock::adopt(page) }
    }

    /// Ends the token for a list of such pages, which has both rights from then on.
    #[inline(always)]
    pub(super) fn leak(self) -> &'m Page {
        let (isolated, lock) = self.split();
        lock.pass_on();
        isolated.leak()
    }

    /// The page.
    #[inline(always)]
    pub fn page(&self) -> &'m Page {
        self.isolated.page()
    }

    /// The page lock, for an operation that requires it.
    pub fn lock(&self) -> &PageLock<'m> {
        &self.lock
    }

    /// Splits into the two rights.
    #[inline(always)]
    pub(crate) fn split(self) -> (IsolatedPage<'m>, PageLock<'m>) {
        (self.isolated, self.lock)
    }

    /// Takes every reference if there are exactly `expected`, and the lock and the isolation with
    /// them: no new reference can be taken. A lookup that finds a frozen page in a cache spins
    /// until the page has left, perhaps with a lock held: the caller proves that it is not
    /// preempted until then.
    ///
    /// # Errors
    /// The token comes back if there were more or fewer references.
    #[doc(alias = "folio_ref_freeze")]
    pub(crate) fn freeze<C: Cpu>(
        self,
        expected: u32,
        _until_gone: &NoPreempt<C>,
    ) -> Result<FrozenPage<'m>, Self> {
        if !self.page().freeze(expected) {
            return Err(self);
        }
        let (isolated, lock) = self.split();
        lock.pass_on();
        Ok(FrozenPage(isolated.leak()))
    }
}

/// A page without references, held by this token alone.
#[must_use = "a frozen page must be freed"]
pub struct FrozenPage<'m>(&'m Page);

impl<'m> FrozenPage<'m> {
    /// After the last reference was put.
    #[inline(always)]
    pub(crate) fn after_last_put(page: &'m Page) -> Self {
        debug_assert!(page.refs() == 0);
        Self(page)
    }

    /// The page.
    pub fn page(&self) -> &'m Page {
        self.0
    }

    /// Hands the page to the allocator.
    #[inline(always)]
    pub(crate) fn leak(self) -> &'m Page {
        let page = self.0;
        mem::forget(self);
        page
    }

    /// Clears the state that a locked, isolated page in a cache still has, so that it can be freed.
    pub(crate) fn settle(self) -> Self {
        self.0.wipe();
        self
    }

    /// Undoes the freeze: the references, the page lock and the isolation are back.
    #[doc(alias = "folio_ref_unfreeze")]
    pub(crate) fn thaw(self, refs: u32) -> LockedPage<'m> {
        self.0.thaw(refs);
        let page = self.leak();
        LockedPage { isolated: IsolatedPage::adopt(page), lock: PageLock::adopt(page) }
    }
}

impl Drop for FrozenPage<'_> {
    fn drop(&mut self) {
        bomb("frozen page", self.0);
    }
}

#[cfg(test)]
mod tests;
