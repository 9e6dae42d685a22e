//! Batches of pages, each of which stands for a token.

use core::marker::PhantomData;

use arrayvec::ArrayVec;

use super::{FrozenPage, IsolatedPage, LockedPage, Page};

/// A token that a list can hold.
pub(crate) trait Token<'m>: Sized {
    /// What the list holds, for the message of its drop bomb.
    const WHAT: &'static str;
    /// Ends the token; the list is responsible for the page.
    fn into_page(self) -> &'m Page;
    /// The token of a page that was unlinked from such a list.
    fn from_page(page: &'m Page) -> Self;
}

impl<'m> Token<'m> for IsolatedPage<'m> {
    const WHAT: &'static str = "isolated";
    #[inline(always)]
    fn into_page(self) -> &'m Page {
        self.leak()
    }
    #[inline(always)]
    fn from_page(page: &'m Page) -> Self {
        Self::adopt(page)
    }
}

impl<'m> Token<'m> for LockedPage<'m> {
    const WHAT: &'static str = "locked";
    #[inline(always)]
    fn into_page(self) -> &'m Page {
        self.leak()
    }
    #[inline(always)]
    fn from_page(page: &'m Page) -> Self {
        Self::adopt(page)
    }
}

impl<'m> Token<'m> for FrozenPage<'m> {
    const WHAT: &'static str = "frozen";
    #[inline(always)]
    fn into_page(self) -> &'m Page {
        self.leak()
    }
    #[inline(always)]
    fn from_page(page: &'m Page) -> Self {
        Self::after_last_put(page)
    }
}

/// The most pages that are isolated at a time.
pub(crate) const MOST_ISOLATED: usize = 32;

/// Isolated pages, each with one reference.
pub(crate) type IsolatedPages<'m> = TokenArray<'m, IsolatedPage<'m>, MOST_ISOLATED>;

/// Up to `N` tokens, which come out in the order in which they came.
pub(crate) struct TokenArray<'m, T: Token<'m>, const N: usize> {
    pages: ArrayVec<&'m Page, N>,
    /// Where the oldest one is.
    start: usize,
    /// How many are kept, in the places before that.
    kept: usize,
    kind: PhantomData<T>,
}

impl<'m, T: Token<'m>, const N: usize> TokenArray<'m, T, N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { pages: ArrayVec::new(), start: 0, kept: 0, kind: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.pages.len() - self.start + self.kept
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another token.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.pages.is_full()
    }

    /// Adds a token; there is room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, token: T) {
        self.pages.push(token.into_page());
    }

    /// Takes the oldest token, of those that are not kept.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let page = self.pages.get(self.start)?;
        self.start += 1;
        Some(T::from_page(page))
    }

    /// Keeps a token in place of one that was taken, until [`TokenArray::rewind`].
    #[inline(always)]
    pub(crate) fn keep(&mut self, token: T) {
        debug_assert!(self.kept < self.start, "no token was taken for it");
        self.pages[self.kept] = token.into_page();
        self.kept += 1;
    }

    /// After all were taken: those that were kept are the array's again, in their order.
    pub(crate) fn rewind(&mut self) {
        debug_assert!(self.start == self.pages.len(), "some were not taken");
        self.pages.truncate(self.kept);
        (self.start, self.kept) = (0, 0);
    }
}

impl<'m, T: Token<'m>, const N: usize> Drop for TokenArray<'m, T, N> {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        debug_assert!(self.is_empty(), "{} {} pages were forgotten", self.len(), T::WHAT);
    }
}
