//! The flag word of a page, as pure values.
//!
//! What a flag means, who may change it and which flags exclude each other is decided
//! here, on plain values; [`Page`](super::Page) applies it to the atomic word. No caller
//! sets single bits: the descriptor offers named transitions only.

use bitflags::bitflags;

bitflags! {
    /// State of a page. Each flag names the lock that guards its changes.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PageFlags: u32 {
        // The flags of CHECK_AT_FREE come first, so that one instruction tests all of them.
        /// The page lock is held. (A)
        const LOCKED = 1 << 0;
        /// Linked on the list that the flags name. (L)
        const LRU = 1 << 1;
        /// Belongs to an active list. (L)
        const ACTIVE = 1 << 2;
        /// Belongs to the unevictable list. (L)
        const UNEVICTABLE = 1 << 3;
        /// Being written to its backing store. (P) to set, (A) to clear
        const WRITEBACK = 1 << 4;
        /// In the swap cache; `private` is its swap entry. (P)
        const SWAPCACHE = 1 << 5;
        /// Not managed by the page allocator. (C)
        const RESERVED = 1 << 6;
        /// Head of a free block; `private` is its order. (Z)
        const BUDDY = 1 << 7;
        /// Other page of a compound page; `owner` is the head's frame. (C) while allocated
        const TAIL = 1 << 8;
        /// Carries private data (file buffers) that must be released first. (P)
        const PRIVATE = 1 << 9;
        /// Taken off its list and held by a token. (L)
        const ISOLATED = 1 << 10;
        /// In the page cache of a file; `place` names the file and the offset. (P)
        const FILE = 1 << 11;
        // The others, ordered so that flags that change together fit an immediate operand.
        /// The contents are valid. (P)
        const UPTODATE = 1 << 12;
        /// Backed by swap: an anonymous page that is not lazily freed. (L)
        const SWAPBACKED = 1 << 13;
        /// Reclaim wants the page as soon as its write-back ends. (A)
        const RECLAIM = 1 << 14;
        /// A task may be sleeping for the page lock or for the end of write-back. (A)
        const WAITERS = 1 << 15;
        /// Seen referenced by an earlier look of reclaim or by `mark_page_accessed`. (A)
        const REFERENCED = 1 << 16;
        /// The contents differ from the backing store's, or no store has them yet. (A)
        const DIRTY = 1 << 17;
        /// Some area that maps the page is locked into memory. (A)
        const MLOCKED = 1 << 18;
        /// Was part of the workingset when it was last deactivated or evicted. (A)
        const WORKINGSET = 1 << 19;
        /// First page of a compound page; its first tail has the order. (C) while allocated
        const HEAD = 1 << 20;
        /// Reading or writing its contents failed. (P)
        const ERROR = 1 << 21;
        /// A chunk of a pool of objects; `index` says which. (C) while allocated
        const TABLE = 1 << 22;
        /// Read ahead into the swap cache and not yet used. (A)
        const READAHEAD = 1 << 23;
        /// Its file is unevictable, as reclaim has noticed. (P) to set
        const RETAINED = 1 << 24;
    }
}

/// Flags that a page must not carry when it is freed.
pub const CHECK_AT_FREE: PageFlags = PageFlags::LOCKED
    .union(PageFlags::LRU)
    .union(PageFlags::ACTIVE)
    .union(PageFlags::UNEVICTABLE)
    .union(PageFlags::WRITEBACK)
    .union(PageFlags::SWAPCACHE)
    .union(PageFlags::RESERVED)
    .union(PageFlags::BUDDY)
    .union(PageFlags::TAIL)
    .union(PageFlags::PRIVATE)
    .union(PageFlags::ISOLATED)
    .union(PageFlags::FILE);

/// The five lists of a lruvec.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum LruList {
    /// Anonymous pages that reclaim looks at next.
    InactiveAnon,
    /// Anonymous pages in use.
    ActiveAnon,
    /// File pages that reclaim looks at next.
    InactiveFile,
    /// File pages in use.
    ActiveFile,
    /// Pages that reclaim leaves alone.
    Unevictable,
}

/// Which of the lists for its type a page is to be on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ListChoice {
    /// The one that reclaim looks at.
    Inactive,
    /// The one for pages in use.
    Active,
    /// The one that reclaim leaves alone.
    Unevictable,
}

#[cfg(test)]
impl ListChoice {
    /// Built from two random booleans, for property tests; an unevictable page is not active.
    pub(crate) fn of(active: bool, unevictable: bool) -> Self {
        match (unevictable, active) {
            (true, _) => Self::Unevictable,
            (false, true) => Self::Active,
            (false, false) => Self::Inactive,
        }
    }
}

/// The two kinds of evictable page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PageType {
    /// Backed by swap.
    Anon,
    /// Backed by a file.
    File,
}

impl PageType {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Anon, Self::File];

    /// This kind's inactive list.
    pub const fn inactive(self) -> LruList {
        match self {
            Self::Anon => LruList::InactiveAnon,
            Self::File => LruList::InactiveFile,
        }
    }

    /// This kind's active list.
    pub const fn active(self) -> LruList {
        match self {
            Self::Anon => LruList::ActiveAnon,
            Self::File => LruList::ActiveFile,
        }
    }
}

impl LruList {
    /// Lists in a lruvec.
    pub const COUNT: usize = 5;
    /// Every list.
    pub const ALL: [Self; Self::COUNT] = [
        Self::InactiveAnon,
        Self::ActiveAnon,
        Self::InactiveFile,
        Self::ActiveFile,
        Self::Unevictable,
    ];
    /// The lists that reclaim scans.
    pub const EVICTABLE: [Self; 4] =
        [Self::InactiveAnon, Self::ActiveAnon, Self::InactiveFile, Self::ActiveFile];

    /// The list that `flags` name ([`PageFlags::LRU`] says whether the page is linked).
    pub const fn of(flags: PageFlags) -> Self {
        if flags.contains(PageFlags::UNEVICTABLE) {
            return Self::Unevictable;
        }
        let kind = flags.page_type();
        if flags.contains(PageFlags::ACTIVE) { kind.active() } else { kind.inactive() }
    }

    /// Whether it is one of the two active lists.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::ActiveAnon | Self::ActiveFile)
    }

    /// The kind of page on this list; unevictable pages may be of either.
    pub const fn page_type(self) -> Option<PageType> {
        match self {
            Self::InactiveAnon | Self::ActiveAnon => Some(PageType::Anon),
            Self::InactiveFile | Self::ActiveFile => Some(PageType::File),
            Self::Unevictable => None,
        }
    }
}

impl PageFlags {
    /// Which type of list the page belongs to: a lazily freed anonymous page counts as file.
    pub const fn page_type(self) -> PageType {
        if self.contains(Self::SWAPBACKED) { PageType::Anon } else { PageType::File }
    }

    /// Why this combination of flags is invalid, if it is.
    ///
    /// `validate()` checks this for every page, and property tests do after every transition.
    pub fn fault(self) -> Option<&'static str> {
        let both = |a: Self, b: Self| self.intersects(a) && self.intersects(b);
        let on_list = Self::LRU.union(Self::ISOLATED);
        let in_use =
            on_list | Self::LOCKED | Self::WRITEBACK | Self::SWAPCACHE | Self::HEAD | Self::FILE;
        if both(Self::LRU, Self::ISOLATED) {
            Some("on a list and isolated at once")
        } else if both(Self::ACTIVE, Self::UNEVICTABLE) {
            Some("active and unevictable at once")
        } else if both(Self::BUDDY, in_use | Self::TAIL | Self::RESERVED) {
            Some("free and in use at once")
        } else if both(Self::RESERVED, in_use) {
            Some("reserved and in use at once")
        } else if both(Self::HEAD, Self::TAIL) {
            Some("head and tail at once")
        } else if self.contains(Self::SWAPCACHE) && !self.contains(Self::SWAPBACKED) {
            Some("in the swap cache without being backed by swap")
        } else if both(Self::SWAPCACHE, Self::FILE) {
            Some("in the swap cache and in a file's at once")
        } else if self.contains(Self::RETAINED) && !self.contains(Self::FILE) {
            Some("retained for a file without being in one")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_belongs_to_the_list_that_its_flags_name() {
        let cases = [
            (PageFlags::empty(), LruList::InactiveFile),
            (PageFlags::ACTIVE, LruList::ActiveFile),
            (PageFlags::SWAPBACKED, LruList::InactiveAnon),
            (PageFlags::SWAPBACKED | PageFlags::ACTIVE, LruList::ActiveAnon),
            (PageFlags::SWAPBACKED | PageFlags::UNEVICTABLE, LruList::Unevictable),
        ];
        for (flags, list) in cases {
            assert_eq!(LruList::of(flags), list, "{flags:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::tests::cases(256))]

        #[test]
        fn a_list_and_the_flags_of_its_pages_agree(bits in any::<u32>()) {
            let flags = PageFlags::from_bits_truncate(bits);
            let list = LruList::of(flags);
            prop_assert_eq!(list.is_active(), flags.contains(PageFlags::ACTIVE)
                && !flags.contains(PageFlags::UNEVICTABLE));
            if let Some(kind) = list.page_type() {
                prop_assert_eq!(kind, flags.page_type());
            }
        }

        #[test]
        fn a_free_block_with_any_use_is_illegal(bits in any::<u32>()) {
            let flags = PageFlags::from_bits_truncate(bits) | PageFlags::BUDDY;
            let used = flags.intersects(PageFlags::LRU | PageFlags::LOCKED | PageFlags::WRITEBACK);
            prop_assert!(!used || flags.fault().is_some());
        }
    }
}
