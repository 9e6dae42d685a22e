//! The transitions of pages that are free, on their way to or from it, or that hold the crate's own
//! objects: for the holder of the zone's lock, of the frozen page, or of the pool's lock.

use crate::base::sync::Ordering;
use crate::base::units::Order;
use crate::page::{CHECK_AT_FREE, Page, PageFlags, UNLINKED, ZONE_SHIFT};

impl Page {
    /// Becomes the head of a free block.
    pub(crate) fn enter_buddy(&self, order: Order, migrate_type: u8) {
        self.private.store(u32::from(order.get()), Ordering::Relaxed);
        self.set_owner(0, u32::from(migrate_type));
        self.set(PageFlags::BUDDY);
    }

    /// Stops being the head of a free block.
    pub(crate) fn leave_buddy(&self) {
        self.clear(PageFlags::BUDDY);
        self.private.store(0, Ordering::Relaxed);
        self.set_owner(0, 0);
    }

    /// A frame of the boot allocator is handed over: frozen, ready to be freed. False, and nothing
    /// changes, if it is not [boot memory](Page::is_boot_memory).
    ///
    /// Plain loads and stores: until then only the boot code has access to it.
    #[inline(always)]
    pub(crate) fn unreserve(&self) -> bool {
        let flags = self.flags.load(Ordering::Relaxed);
        if !self.is_boot_memory() {
            return false;
        }
        self.flags.store(flags & !PageFlags::RESERVED.bits(), Ordering::Relaxed);
        self.refs.store(0, Ordering::Relaxed);
        true
    }

    /// A page that reclaim froze loses all flags and its swap entry.
    #[inline]
    pub(crate) fn wipe(&self) {
        let zone = self.flags.load(Ordering::Relaxed) & (3 << ZONE_SHIFT);
        self.flags.store(zone, Ordering::Relaxed);
        self.private.store(0, Ordering::Relaxed);
    }

    /// Has left the allocator, and gets its first reference.
    #[inline(always)]
    pub(crate) fn own(&self) {
        // Release pairs with the Acquire of `get_unless_zero`.
        self.refs.store(1, Ordering::Release);
    }

    /// Clears the state of a frozen page; false if it has state that it must not have.
    #[inline(always)]
    pub(crate) fn prepare_free(&self) -> bool {
        let now = self.flags.load(Ordering::Relaxed);
        // One test of all fields: whatever is not zero here prevents the free.
        let link = !self.next.load(Ordering::Relaxed);
        const { assert!(UNLINKED == !0) };
        let against = now & CHECK_AT_FREE.bits() | u32::from(self.mapcount()) | self.refs() | link;
        let sound = against == 0;
        if sound {
            debug_assert!(self.private() == 0, "freed with what its flags do not say: {self:?}");
            self.flags.store(now & (3 << ZONE_SHIFT), Ordering::Relaxed);
            self.set_owner(0, 0);
        }
        sound
    }

    /// Makes the page the head of a compound page; its first tail has the order.
    pub(crate) fn make_head(&self) {
        self.set(PageFlags::HEAD);
    }

    /// Undoes [`Page::make_head`].
    pub(crate) fn clear_head(&self) {
        self.clear(PageFlags::HEAD);
    }

    /// Makes the page a tail of the compound page whose head is frame `head`.
    pub(crate) fn make_tail(&self, head: u32) {
        self.set_owner(head, 0);
        self.set(PageFlags::TAIL);
    }

    /// Records the order of the compound page in its first tail.
    pub(crate) fn set_compound_order(&self, order: Order) {
        debug_assert!(self.has(PageFlags::TAIL), "no tail: {self:?}");
        self.private.store(u32::from(order.get()), Ordering::Relaxed);
    }

    /// Undoes [`Page::make_tail`], and in the first tail [`Page::set_compound_order`].
    pub(crate) fn clear_tail(&self) {
        self.clear(PageFlags::TAIL);
        self.private.store(0, Ordering::Relaxed);
        self.set_owner(0, 0);
    }

    // ---- chunks of objects, for their pool ----

    /// The frame is a chunk of the pool `kind` from now on.
    pub(crate) fn mark_table(&self, kind: u32) {
        self.set_owner(0, kind);
        // Release pairs with the Acquire of `is_table`: the objects are seen initialised.
        self.flags.fetch_or(PageFlags::TABLE.bits(), Ordering::Release);
    }

    /// The frame is no longer a chunk; the pool's reference is still to be put.
    pub(crate) fn clear_table(&self) {
        // SeqCst, like `hold`'s reference: either `hold` sees the mark cleared, or the pool's put
        // sees that reference.
        self.flags.fetch_and(!PageFlags::TABLE.bits(), Ordering::SeqCst);
        self.set_owner(0, 0);
    }

    /// Whether the frame is a chunk of the pool `kind`. The caller holds a reference.
    #[inline(always)]
    pub(crate) fn is_table(&self, kind: u32) -> bool {
        self.flags.load(Ordering::Acquire) & PageFlags::TABLE.bits() != 0 && self.index() == kind
    }
}
