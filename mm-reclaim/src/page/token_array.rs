//! Batches of pages, each of which stands for a token.

use core::marker::PhantomData;

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
    pages: [Option<&'m Page>; N],
    /// Where the next one goes.
    end: usize,
    /// Where the oldest one is; 0 if there is none.
    start: usize,
    kind: PhantomData<T>,
}

impl<'m, T: Token<'m>, const N: usize> TokenArray<'m, T, N> {
    pub(crate) const fn new() -> Self {
        Self { pages: [None; N], end: 0, start: 0, kind: PhantomData }
    }

    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another token.
    #[inline(always)]
    pub(crate) const fn is_full(&self) -> bool {
        self.end == N
    }

    /// Adds a token; there is room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, token: T) {
        self.pages[self.end] = Some(token.into_page());
        self.end += 1;
    }

    /// Takes the oldest token. All are taken before the next one is added.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.start >= self.end {
            (self.start, self.end) = (0, 0);
            return None;
        }
        let page = self.pages[self.start % N];
        self.start += 1;
        page.map(T::from_page)
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
