//! Private lists of pages, each of which stands for a token.

use core::marker::PhantomData;

use super::list::PageList;
use super::memmap::MemMap;
use super::{FrozenPage, IsolatedPage, Page};

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

/// A list of pages whose tokens are all of type `T`.
pub(crate) struct TokenList<'m, T: Token<'m>>(PageList<'m>, PhantomData<T>);

/// Isolated pages, each with one reference.
pub(crate) type IsolatedList<'m> = TokenList<'m, IsolatedPage<'m>>;
/// Pages without references, on their way to their zone.
pub(crate) type FrozenList<'m> = TokenList<'m, FrozenPage<'m>>;

impl<'m, T: Token<'m>> TokenList<'m, T> {
    pub(crate) fn new(map: MemMap<'m>) -> Self {
        Self(PageList::new(map), PhantomData)
    }

    #[inline]
    pub(crate) fn push(&mut self, token: T) {
        self.0.push_back(token.into_page());
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop_front().map(T::from_page)
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'m, T: Token<'m>> Drop for TokenList<'m, T> {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        debug_assert!(self.is_empty(), "{} {} pages were forgotten", self.len(), T::WHAT);
    }
}
