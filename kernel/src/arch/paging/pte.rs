//! The bits of a page-table entry, and their translation to and from [`Pte`].
//!
//! Pure: no data, no lock. A present entry, from the top:
//!
//! | bits | meaning |
//! | --- | --- |
//! | 58 | software: written since the flag was cleared, whatever the rights are now |
//! | 57:55 | software: the rights, as [`Prot`] has them |
//! | 54, 53 | not executable by user mode; by the kernel (always set) |
//! | 51 | DBM: a store is allowed, and hardware may clear bit 7 instead of faulting |
//! | 47:12 | the frame |
//! | 11, 10 | not global (always set); accessed |
//! | 9:8 | inner shareable |
//! | 7, 6 | read-only; reachable by user mode |
//! | 4:2 | memory attributes: index 1, normal write-back |
//! | 1:0 | 3: a page |
//!
//! The rights are stored separately, since the hardware's bits cannot distinguish "write only" from
//! "read and write", nor a clean writable page from a read-only one on a CPU without DBM.
//!
//! An entry that is not present has bit 0 clear: 0 for nothing, else the 32 bits of a swap
//! entry from bit 2 on, and bit 1 set, so that a swap entry of 0 differs from nothing.

use mm_reclaim::env::{Mapping, Prot, Pte};
use mm_reclaim::units::Pfn;

/// The entry is present.
pub const VALID: u64 = 1;
/// With [`VALID`]: a page, or a table at the levels above.
pub const TABLE_OR_PAGE: u64 = 3;
/// Hardware refuses stores.
pub const READ_ONLY: u64 = 1 << 7;
/// Accessed.
pub const ACCESSED: u64 = 1 << 10;
/// A store is allowed.
pub const WRITABLE: u64 = 1 << 51;
/// Written; maintained by software, even while the page is read-only.
pub const DIRTY: u64 = 1 << 58;
/// The frame, or the next table.
pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

const USER: u64 = 1 << 6;
const NORMAL_MEMORY: u64 = 1 << 2;
const INNER_SHAREABLE: u64 = 3 << 8;
const NOT_GLOBAL: u64 = 1 << 11;
const KERNEL_NEVER_EXECUTES: u64 = 1 << 53;
const USER_NEVER_EXECUTES: u64 = 1 << 54;
const PROT_SHIFT: u32 = 55;
const SWAP_MARK: u64 = 2;
const SWAP_SHIFT: u32 = 2;

/// The bits of an entry besides its frame, indexed by [`Prot`]'s bits, young and dirty.
const ATTRIBUTES: [u64; 32] = {
    let mut table = [0; 32];
    let mut bits = 0;
    while bits < 32 {
        table[bits as usize] = attributes(bits & 7, bits & YOUNG != 0, bits & STORED != 0);
        bits += 1;
    }
    table
};
/// In an index of [`ATTRIBUTES`]: young, dirty.
const YOUNG: u64 = 8;
const STORED: u64 = 16;

const fn attributes(prot: u64, young: bool, dirty: bool) -> u64 {
    let read_or_write = prot & (Prot::READ.bits() | Prot::WRITE.bits()) as u64 != 0;
    let write = prot & Prot::WRITE.bits() as u64 != 0;
    let exec = prot & Prot::EXEC.bits() as u64 != 0;
    let bits = TABLE_OR_PAGE
        | NORMAL_MEMORY
        | INNER_SHAREABLE
        | NOT_GLOBAL
        | READ_ONLY
        | KERNEL_NEVER_EXECUTES
        | prot << PROT_SHIFT
        | if read_or_write { USER } else { 0 }
        | if write { WRITABLE } else { 0 }
        | if exec { 0 } else { USER_NEVER_EXECUTES }
        | if young { ACCESSED } else { 0 };
    if dirty { make_dirty(bits) } else { bits }
}

/// The bits of `pte`.
#[inline(always)]
pub const fn encode(pte: Pte) -> u64 {
    match pte {
        Pte::None => 0,
        Pte::NotPresent(entry) => (entry as u64) << SWAP_SHIFT | SWAP_MARK,
        Pte::Present(mapping) => encode_mapping(mapping),
    }
}

/// The bits of a present entry.
#[inline(always)]
pub const fn encode_mapping(mapping: Mapping) -> u64 {
    let flags = (mapping.young as u64) << YOUNG.ilog2() | (mapping.dirty as u64) << STORED.ilog2();
    let index = (mapping.prot.bits() & 7) as u64 | flags;
    ATTRIBUTES[index as usize] | mapping.pfn.addr().0
}

/// What `bits` mean.
#[inline(always)]
pub const fn decode(bits: u64) -> Pte {
    if bits & VALID == 0 {
        if bits == 0 { Pte::None } else { Pte::NotPresent((bits >> SWAP_SHIFT) as u32) }
    } else {
        Pte::Present(Mapping {
            pfn: Pfn((((bits & ADDRESS) >> 12) & 0xffff_ffff) as u32),
            prot: Prot::from_bits_truncate((bits >> PROT_SHIFT) as u8 & 7),
            young: bits & ACCESSED != 0,
            dirty: is_dirty(bits),
        })
    }
}

/// Whether a present entry was written to: software says so, or hardware cleared the read-only bit
/// of a writable page.
#[inline(always)]
pub const fn is_dirty(bits: u64) -> bool {
    bits & DIRTY != 0 || bits & (WRITABLE | READ_ONLY) == WRITABLE
}

/// A present entry with the dirty flag set; a writable page no longer faults on stores.
#[inline(always)]
pub const fn make_dirty(bits: u64) -> u64 {
    // WRITABLE is bit 51 and READ_ONLY bit 7: shifted onto it, one clears the other.
    (bits | DIRTY) & !((bits & WRITABLE) >> (51 - 7))
}

/// The entry of a table above the last level, for the table in `frame`.
pub const fn table(frame: Pfn) -> u64 {
    frame.addr().0 | TABLE_OR_PAGE
}

/// The frame that an entry leads to.
pub const fn frame_of(bits: u64) -> Pfn {
    Pfn(((bits & ADDRESS) >> 12) as u32)
}

/// Whether a present entry allows user mode to execute.
pub const fn is_executable(bits: u64) -> bool {
    bits & (VALID | USER_NEVER_EXECUTES) == VALID
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_mapping() -> impl Iterator<Item = Mapping> {
        (0..32u8).flat_map(|n| {
            [Pfn(0), Pfn(1), Pfn(0x8_1234), Pfn(u32::MAX)].into_iter().map(move |pfn| Mapping {
                pfn,
                prot: Prot::from_bits_truncate(n & 7),
                young: n & 8 != 0,
                dirty: n & 16 != 0,
            })
        })
    }

    /// RMAP-03: encoding keeps flags and rights, even the dirty flag of a page that has become
    /// read-only.
    #[test]
    fn every_mapping_survives_encoding() {
        for mapping in every_mapping() {
            assert_eq!(decode(encode(Pte::Present(mapping))), Pte::Present(mapping));
        }
    }

    /// SWAP-03: all 32 bits of a swap entry survive, zero included, and are not present.
    #[test]
    fn every_swap_entry_survives_and_is_not_nothing() {
        for entry in [0, 1, 2, 3, 0x8000_0000, 0xdead_beef, u32::MAX] {
            let bits = encode(Pte::NotPresent(entry));
            assert_eq!(bits & VALID, 0);
            assert_eq!(decode(bits), Pte::NotPresent(entry));
        }
        assert_eq!(decode(encode(Pte::None)), Pte::None);
        assert_eq!(encode(Pte::None), 0);
    }

    /// RMAP-03: a clean writable page faults on a store if hardware does not maintain the flag.
    #[test]
    fn only_a_dirty_writable_page_is_writable_for_hardware() {
        for mapping in every_mapping() {
            let bits = encode(Pte::Present(mapping));
            let stores = bits & READ_ONLY == 0;
            assert_eq!(stores, mapping.dirty && mapping.prot.contains(Prot::WRITE), "{mapping:?}");
        }
    }

    /// RMAP-03: hardware marks a page dirty by clearing the read-only bit.
    #[test]
    fn hardware_dirt_is_seen() {
        let clean =
            Mapping { pfn: Pfn(7), prot: Prot::READ | Prot::WRITE, young: true, dirty: false };
        let bits = encode(Pte::Present(clean));
        assert!(!is_dirty(bits));
        assert!(is_dirty(bits & !READ_ONLY));
    }

    /// BOOT-04: the kernel never executes a user page, and user mode only what it may.
    #[test]
    fn execution_needs_the_right_to_it() {
        for mapping in every_mapping() {
            let bits = encode(Pte::Present(mapping));
            assert_eq!(is_executable(bits), mapping.prot.contains(Prot::EXEC));
            assert_ne!(bits & KERNEL_NEVER_EXECUTES, 0);
        }
    }

    /// A page without the right to read or write cannot be accessed by loads and stores.
    #[test]
    fn user_mode_reaches_only_what_it_may_read_or_write() {
        for mapping in every_mapping() {
            let bits = encode(Pte::Present(mapping));
            let reach = mapping.prot.intersects(Prot::READ | Prot::WRITE);
            assert_eq!(bits & USER != 0, reach);
        }
    }
}
