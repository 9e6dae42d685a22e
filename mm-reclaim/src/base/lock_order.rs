//! The order of the spin locks, as numbers, and the check of it at run time.
//!
//! A lock's type names its rank. A lock may be taken while locks of lower ranks are held;
//! the one exception is a second page-table lock, which `fork` takes for the child. The
//! order as a tree, with its reasons, is in `docs/decisions/0003-locks.md`.
//!
//! Data: [`HeldLocks`] is what one CPU, or one thread of a test, holds at the moment. The
//! environment owns it, because the crate has no statics and knows no CPUs, and updates it in
//! [`crate::env::Cpu::lock_taken`] and [`crate::env::Cpu::lock_released`]. Only debug builds call
//! these.

use core::cell::Cell;

/// A lock of the kernel's own that is outside all others, such as one that keeps its messages
/// whole: formatting a message may take any lock.
pub const KERNEL_OUTER: u8 = 0;
/// Taking a device into use.
pub const SWAPON: u8 = 1;
/// A tree of families: the areas in them, and the bounds of these.
pub const FAMILY: u8 = 2;
/// The areas that map a file, and their bounds.
pub const FILE_AREAS: u8 = 3;
/// The translation tables of an address space.
pub const TABLES: u8 = 4;
/// The index of a file.
pub const FILE_INDEX: u8 = 5;
/// The lists of files and of their nodes.
pub const FILE_LIST: u8 = 6;
/// A CPU's batch of pages on their way to the lists.
pub const BATCH: u8 = 7;
/// The lists of a zone.
pub const LRUVEC: u8 = 8;
/// The search for a free slot of a swap device.
pub const SWAP_DEVICE: u8 = 9;
/// The free blocks of a zone.
pub const ZONE: u8 = 10;
/// The free slots of a table.
pub const TABLE: u8 = 11;
/// A lock of the kernel's own inside which no other is taken.
pub const KERNEL_LEAF: u8 = 12;
/// A lock of no rank: nothing is known about its order, but its holder must not sleep.
pub const UNRANKED: u8 = 13;
/// The number of ranks.
const RANKS: usize = 14;

const NAMES: [&str; RANKS] = [
    "kernel's outer",
    "swapon",
    "family",
    "file areas",
    "page-table",
    "file index",
    "file list",
    "LRU batch",
    "lruvec",
    "swap device",
    "zone",
    "table",
    "kernel's leaf",
    "nameless",
];

/// The locks that one CPU, or one thread, holds: how many of each rank.
#[derive(Debug, Default)]
pub struct HeldLocks {
    counts: [Cell<u8>; RANKS],
}

impl HeldLocks {
    /// No locks held.
    pub const fn new() -> Self {
        Self { counts: [const { Cell::new(0) }; RANKS] }
    }

    /// A lock of this rank is about to be taken.
    ///
    /// # Panics
    /// If the order forbids it with the locks that are held.
    pub fn taken(&self, rank: u8) {
        let count = &self.counts[usize::from(rank)];
        if rank != UNRANKED {
            let most = if rank == TABLES { 1 } else { 0 };
            let inside = self.highest().filter(|held| *held > rank || count.get() > most);
            if let Some(held) = inside {
                let (rank, held) = (NAMES[usize::from(rank)], NAMES[usize::from(held)]);
                panic!("lock order: a {rank} lock is taken inside a {held} lock");
            }
        }
        count.set(count.get() + 1);
    }

    /// A lock of this rank was released.
    ///
    /// # Panics
    /// If none was held.
    pub fn released(&self, rank: u8) {
        let count = &self.counts[usize::from(rank)];
        let left = count.get().checked_sub(1);
        count.set(left.unwrap_or_else(|| panic!("no {} lock is held", NAMES[usize::from(rank)])));
    }

    /// The caller is about to do something that may sleep.
    ///
    /// # Panics
    /// If a lock is held.
    pub fn assert_none(&self, what: &str) {
        if let Some(held) = (0..RANKS).rev().find(|rank| self.counts[*rank].get() > 0) {
            panic!("{what} with a {} lock held", NAMES[held]);
        }
    }

    /// The highest rank that is held, of those that have an order.
    fn highest(&self) -> Option<u8> {
        (0..UNRANKED).rev().find(|rank| self.counts[usize::from(*rank)].get() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::panic_of;

    /// Every path down the tree of decision 0003.
    #[test]
    fn locks_may_be_taken_from_the_outside_in() {
        let ways = [
            &[FAMILY, TABLES, SWAP_DEVICE][..],
            &[TABLES, TABLES, SWAP_DEVICE],
            &[TABLES, ZONE],
            &[BATCH, LRUVEC, ZONE],
            &[FAMILY, TABLE],
            &[KERNEL_OUTER, UNRANKED, TABLES, ZONE, KERNEL_LEAF],
            &[UNRANKED, SWAPON, UNRANKED],
        ];
        for way in ways {
            let held = HeldLocks::new();
            way.iter().for_each(|rank| held.taken(*rank));
            way.iter().for_each(|rank| held.released(*rank));
            held.assert_none("a wait");
        }
    }

    #[test]
    fn an_inversion_names_both_locks() {
        let held = HeldLocks::new();
        held.taken(LRUVEC);
        let said = panic_of(|| held.taken(TABLES));
        assert_eq!(said, "lock order: a page-table lock is taken inside a lruvec lock");
        assert!(panic_of(|| held.taken(LRUVEC)).contains("a lruvec lock is taken inside"));
        held.taken(KERNEL_LEAF);
        let said = panic_of(|| held.taken(ZONE));
        assert_eq!(said, "lock order: a zone lock is taken inside a kernel's leaf lock");
    }

    #[test]
    fn a_third_page_table_lock_is_one_too_many() {
        let held = HeldLocks::new();
        held.taken(TABLES);
        held.taken(TABLES);
        assert!(panic_of(|| held.taken(TABLES)).contains("page-table lock is taken inside"));
    }

    #[test]
    fn nobody_sleeps_with_a_lock_and_gives_none_back_twice() {
        let held = HeldLocks::new();
        held.taken(UNRANKED);
        assert_eq!(panic_of(|| held.assert_none("a wait")), "a wait with a nameless lock held");
        held.released(UNRANKED);
        held.assert_none("a wait");
        assert_eq!(panic_of(|| held.released(ZONE)), "no zone lock is held");
    }
}
