//! The memory map: frame number to descriptor and back.
//!
//! One flat slice of [`Page`]s covers every frame from the first to the last that belongs
//! to a zone; holes have descriptors that stay reserved. It is handed over at boot and
//! lives as long as the machine (`'m`), so a `&'m Page` is a handle that never dangles.

use crate::base::units::Order;
use crate::base::units::Pfn;
use crate::page::{Page, PageFlags};

/// The descriptors of all frames.
#[derive(Clone, Copy)]
pub struct MemMap<'m> {
    pages: &'m [Page],
    base: Pfn,
}

impl<'m> MemMap<'m> {
    /// A map whose first descriptor is that of `base`.
    pub(crate) fn new(pages: &'m [Page], base: Pfn) -> Self {
        Self { pages, base }
    }

    /// The descriptor of `pfn`.
    ///
    /// # Panics
    /// If the frame belongs to no zone.
    #[inline(always)]
    pub fn page(&self, pfn: Pfn) -> &'m Page {
        &self.pages[pfn.0.wrapping_sub(self.base.0) as usize]
    }

    /// The descriptor of `pfn`, if the frame belongs to a zone.
    #[inline]
    pub fn get(&self, pfn: Pfn) -> Option<&'m Page> {
        self.pages.get(pfn.0.wrapping_sub(self.base.0) as usize)
    }

    /// The frame that `page` describes.
    #[inline(always)]
    pub fn pfn(&self, page: &Page) -> Pfn {
        self.base + self.index_of(page)
    }

    /// Base pages that the descriptor stands for.
    #[inline(always)]
    pub fn nr_pages(&self, page: &Page) -> u32 {
        if page.has(PageFlags::HEAD) { self.order_of(page).pages() } else { 1 }
    }

    /// The order of the compound page that `page` heads, or zero.
    #[inline(always)]
    pub fn order_of(&self, page: &Page) -> Order {
        if page.has(PageFlags::HEAD) { self.compound_order(page) } else { Order::ZERO }
    }

    #[cold]
    fn compound_order(&self, head: &Page) -> Order {
        let first_tail = &self.pages[self.index_of(head) as usize + 1];
        Order::new(first_tail.private() as u8).unwrap_or(Order::ZERO)
    }

    /// The first frame.
    pub fn base(&self) -> Pfn {
        self.base
    }

    /// Every descriptor with its frame.
    pub fn iter(&self) -> impl Iterator<Item = (Pfn, &'m Page)> {
        let base = self.base;
        self.pages.iter().enumerate().map(move |(i, page)| (base + i as u32, page))
    }

    /// `count` descriptors from `first` on.
    pub(crate) fn run(&self, first: &Page, count: u32) -> &'m [Page] {
        let at = self.index_of(first) as usize;
        &self.pages[at..at + count as usize]
    }

    /// The position of `page` in the map.
    #[inline(always)]
    pub(crate) fn index_of(&self, page: &Page) -> u32 {
        let offset = (page as *const Page).addr() - self.pages.as_ptr().addr();
        debug_assert!(offset / size_of::<Page>() < self.pages.len(), "a page of another map");
        (offset / size_of::<Page>()) as u32
    }

    /// The address of the descriptor of `pfn`, or where it would be if the map were longer.
    pub(crate) fn address(&self, pfn: Pfn) -> usize {
        let offset = (pfn.0 as usize).wrapping_sub(self.base.0 as usize);
        self.pages.as_ptr().addr().wrapping_add(offset.wrapping_mul(size_of::<Page>()))
    }

    /// Like [`MemMap::index_of`], for a position that is used unchecked later.
    ///
    /// # Panics
    /// If `page` belongs to another map.
    #[inline(always)]
    pub(crate) fn checked_index_of(&self, page: &Page) -> u32 {
        let offset = (page as *const Page).addr().wrapping_sub(self.pages.as_ptr().addr());
        let index = offset / size_of::<Page>();
        assert!(index < self.pages.len(), "a page of another map: {page:?}");
        index as u32
    }

    /// The descriptor at a position of the map.
    ///
    /// # Safety
    /// `index` came from [`MemMap::checked_index_of`] of this map.
    #[inline(always)]
    #[allow(unsafe_code, reason = "lists follow links that are positions by construction")]
    pub(crate) unsafe fn at_index_unchecked(&self, index: u32) -> &'m Page {
        debug_assert!((index as usize) < self.pages.len(), "a link that leads out of the map");
        // SAFETY: the caller's promise.
        unsafe { self.pages.get_unchecked(index as usize) }
    }
}
