//! Lists of pages, linked by frame number.
//!
//! `intrusive_collections::LinkedList` with a compact link: the two links of a descriptor
//! are 32-bit positions in the memory map, plus one, so that zero ends a list. A page is
//! on one list at most. The list keeps no length, so [`PageList`] counts.
//!
//! The owner of a list decides who may access it: free lists sit inside the zone's lock, LRU lists
//! inside the lruvec's, private lists belong to one task.
//!
//! All unsafe code about lists is here. It relies on two facts: a descriptor lives for `'m` and has
//! only atomic fields, and every link is the position of a page of the map, so a link can at worst
//! lead to the wrong page, never out of the map.

#![allow(unsafe_code, reason = "the intrusive list's adapter traits are unsafe to implement")]

use core::num::NonZeroU32;

use intrusive_collections::linked_list::LinkedListOps;
use intrusive_collections::{Adapter, LinkOps, LinkedList, PointerOps};

use crate::base::sync::Ordering::Relaxed;
use crate::page::memmap::MemMap;
use crate::page::{Page, UNLINKED};

/// A link: the position of a page in the memory map, plus one.
type Link = NonZeroU32;

/// Adapter, link operations and pointer operations in one.
#[derive(Clone, Copy)]
struct Links<'m> {
    map: MemMap<'m>,
}

impl<'m> Links<'m> {
    /// The page that `link` names.
    #[inline(always)]
    fn page(&self, link: Link) -> &'m Page {
        // SAFETY: links are made by `get_link` alone, from positions of pages of this map,
        // and nothing else writes the descriptors' link fields while a page is listed.
        unsafe { self.map.at_index_unchecked(link.get() - 1) }
    }
}

#[inline(always)]
fn encode(link: Option<Link>) -> u32 {
    link.map_or(0, Link::get)
}

// SAFETY: `Link`s are made by `get_link` alone, from pages of this map, and `acquire_link`
// admits a page only while it is on no list: `next` is UNLINKED exactly then.
unsafe impl LinkOps for Links<'_> {
    type LinkPtr = Link;

    #[inline(always)]
    unsafe fn acquire_link(&mut self, link: Link) -> bool {
        let page = self.page(link);
        // The library's own panic would not name the page.
        assert!(!page.is_linked(), "on two lists: {page:?}");
        page.next.store(0, Relaxed);
        page.prev.store(0, Relaxed);
        true
    }

    #[inline(always)]
    unsafe fn release_link(&mut self, link: Link) {
        self.page(link).next.store(UNLINKED, Relaxed);
    }
}

// SAFETY: the links live in the descriptors and nothing else writes them while a page is on a list;
// what is stored is what is loaded.
unsafe impl LinkedListOps for Links<'_> {
    #[inline(always)]
    unsafe fn next(&self, link: Link) -> Option<Link> {
        Link::new(self.page(link).next.load(Relaxed))
    }

    #[inline(always)]
    unsafe fn prev(&self, link: Link) -> Option<Link> {
        Link::new(self.page(link).prev.load(Relaxed))
    }

    #[inline(always)]
    unsafe fn set_next(&mut self, link: Link, next: Option<Link>) {
        self.page(link).next.store(encode(next), Relaxed);
    }

    #[inline(always)]
    unsafe fn set_prev(&mut self, link: Link, prev: Option<Link>) {
        self.page(link).prev.store(encode(prev), Relaxed);
    }
}

// SAFETY: a reference becomes a pointer and the same reference again; descriptors are
// valid for `'m`, longer than any list.
unsafe impl<'m> PointerOps for Links<'m> {
    type Value = Page;
    type Pointer = &'m Page;

    #[inline(always)]
    unsafe fn from_raw(&self, value: *const Page) -> &'m Page {
        // SAFETY: `value` came from `into_raw` or `get_value`: a descriptor of the map.
        unsafe { &*value }
    }

    #[inline(always)]
    fn into_raw(&self, ptr: &'m Page) -> *const Page {
        ptr
    }
}

// SAFETY: `get_value` and `get_link` are inverse to each other for pages of this map.
unsafe impl<'m> Adapter for Links<'m> {
    type LinkOps = Self;
    type PointerOps = Self;

    #[inline(always)]
    unsafe fn get_value(&self, link: Link) -> *const Page {
        self.page(link)
    }

    #[inline(always)]
    unsafe fn get_link(&self, value: *const Page) -> Link {
        // SAFETY: the list passes pointers that it got from `into_raw`: descriptors.
        let page = unsafe { &*value };
        // SAFETY: a position is less than the length of the map, so its successor is not 0.
        unsafe { Link::new_unchecked(self.map.checked_index_of(page) + 1) }
    }

    #[inline(always)]
    fn link_ops(&self) -> &Self {
        self
    }

    #[inline(always)]
    fn link_ops_mut(&mut self) -> &mut Self {
        self
    }

    #[inline(always)]
    fn pointer_ops(&self) -> &Self {
        self
    }
}

/// A list of pages with its length.
pub(crate) struct PageList<'m> {
    list: LinkedList<Links<'m>>,
    len: u32,
}

impl<'m> PageList<'m> {
    /// An empty list for pages of `map`.
    pub(crate) fn new(map: MemMap<'m>) -> Self {
        Self { list: LinkedList::new(Links { map }), len: 0 }
    }

    /// Pages on the list; a compound page counts once.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Links `page` at the head.
    ///
    /// # Panics
    /// If the page is on a list already.
    #[inline]
    pub(crate) fn push_front(&mut self, page: &'m Page) {
        self.list.push_front(page);
        self.len += 1;
    }

    /// Links `page` at the tail.
    ///
    /// # Panics
    /// If the page is on a list already.
    #[inline]
    pub(crate) fn push_back(&mut self, page: &'m Page) {
        self.list.push_back(page);
        self.len += 1;
    }

    /// Unlinks and returns the head.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<&'m Page> {
        let page = self.list.pop_front()?;
        self.len -= 1;
        Some(page)
    }

    /// Unlinks and returns the tail.
    #[inline]
    pub(crate) fn pop_back(&mut self) -> Option<&'m Page> {
        let page = self.list.pop_back()?;
        self.len -= 1;
        Some(page)
    }

    /// Unlinks `page`, which must be on this list.
    #[inline]
    pub(crate) fn remove(&mut self, page: &'m Page) {
        assert!(page.is_linked(), "on no list: {page:?}");
        // SAFETY: the page is linked, and on this list by the callers' invariant (its flags
        // name the list, under the list's lock). Were it on another one, links within the map would
        // be wrong and `validate()` would report it; no memory outside it is touched.
        let mut cursor = unsafe { self.list.cursor_mut_from_ptr(page) };
        cursor.remove();
        self.len -= 1;
    }

    /// From head to tail.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'m Page> + '_ {
        let mut cursor = self.list.front();
        core::iter::from_fn(move || {
            let page = cursor.clone_pointer()?;
            cursor.move_next();
            Some(page)
        })
    }
}

#[cfg(test)]
mod tests;
