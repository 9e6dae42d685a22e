//! Every error of the crate, and its message.

use core::error::Error;

use crate::base::errseq::WriteError;
use crate::base::units::{FileId, FilePage, Order, Pfn, PhysAddr, Vpn};
use crate::block::IoError;
use crate::boot::memblock::{MemblockError, NoGrowth, Region, Set};
use crate::boot::plan::PlanError;
use crate::env::{NoTable, StoreError};
use crate::fault::SwapOffError;
use crate::filemap::FileError;
use crate::oom::BadOomScore;
use crate::page::LruList;
use crate::reclaim::TooManyShrinkers;
use crate::space::{SpaceError, SpaceId};
use crate::swap::header::HeaderError;
use crate::swap::{SwapEntry, SwapOnError};
use crate::tests::frames;
use crate::validate::Violation;
use crate::zone::ZoneId;

const PFN: Pfn = Pfn(0x80);
const VPN: Vpn = Vpn(0x12);
const SPACE: SpaceId = SpaceId::from_bits(5 | 3 << 32);
const AT: FilePage = FilePage { file: FileId(3), index: 8 };
const LIST: LruList = LruList::InactiveAnon;
const ZONE: ZoneId = ZoneId::Dma32;

/// Compares the messages of errors with the expected ones.
fn say(table: &[(&dyn Error, &str)]) {
    for (error, want) in table {
        assert_eq!(std::format!("{error}"), *want, "{error:?}");
        // The width of a console.
        assert!(want.len() <= 79, "{want}");
    }
}

#[test]
fn what_the_boot_says() {
    let within = Region { start: PhysAddr(0), end: PhysAddr(0x4000) };
    let why = NoGrowth::NoRange { bytes: 64 };
    say(&[
        (&PlanError::NoMemory, "there is no whole page of memory"),
        (
            &PlanError::TooSparse { spanned: 900, present: 5 },
            "5 frames of memory lie too far apart, among 900",
        ),
        (
            &PlanError::TooLarge { spanned: 1 << 27 },
            "memory spans 134217728 frames, more than 67108864",
        ),
        (
            &PlanError::Overlap { common: frames(1, 17) },
            "two ranges of memory share pfn 0x1 to pfn 0x11",
        ),
        (
            &MemblockError::Overflow { base: PhysAddr(0x10), size: u64::MAX },
            "0xffffffffffffffff bytes at 0x10 leave the address space",
        ),
        (
            &MemblockError::BadRequest { size: 0, align: 3 },
            "cannot allocate 0x0 bytes aligned to 0x3",
        ),
        (
            &MemblockError::NoRoom { size: 16, align: 8, within },
            "no free 0x10 bytes aligned to 0x8 within 0x0..0x4000",
        ),
        (
            &MemblockError::TableFull { set: Set::NoMap, capacity: 7, why },
            "table NoMap is full with 7 regions and cannot grow: no range has 0x40 bytes",
        ),
        (
            &MemblockError::TableFull {
                set: Set::Memory,
                capacity: 128,
                why: NoGrowth::Refused { at: within },
            },
            "table Memory is full with 128 regions and cannot grow: 0x0..0x4000 was refused",
        ),
    ]);
}

#[test]
fn what_programs_are_told() {
    say(&[
        (&SpaceError::NoSuchSpace, "there is no such address space"),
        (&SpaceError::NoMemory, "there is no memory for it"),
        (&SpaceError::TableFull, "there are as many areas or spaces as there may be"),
        (&SpaceError::Locked { start: VPN }, "the area at 0x12000 is locked into memory"),
        (&SpaceError::ReadOnly { start: VPN }, "the area at 0x12000 never becomes writable"),
        (&SpaceError::NotAnonymous { start: VPN }, "the area at 0x12000 maps a file"),
        (
            &SpaceError::BadRange { start: VPN, end: VPN + 2 },
            "0x12000..0x14000 is no range of mapped user pages",
        ),
        (&SpaceError::NoHole { pages: 9 }, "there is no hole of 9 pages"),
        (&SpaceError::TooManyMappings, "a page has all the mappings that it can count"),
        (&SpaceError::Killed, "the caller was killed meanwhile"),
        (&BadOomScore::OutOfRange(-1001), "-1001 is not within -1000 to 1000"),
        (&BadOomScore::NoSuchSpace, "there is no such address space"),
        (&NoTable, "a translation table is missing"),
        (&TooManyShrinkers, "there are 8 shrinkers already"),
        (&StoreError::NoSpace, "there is no room for the page"),
        (&StoreError::Io, "the store could not be read or written"),
        (&StoreError::TooLarge, "no file of the store can have the page"),
        (&FileError::Io, "a page could not be read or written"),
        (&FileError::NoSpace, "there is no room for a page"),
        (&FileError::TooLarge, "the file would be too large"),
        (&FileError::BadBuffer, "the buffer is not memory that the caller may use"),
        (&FileError::NoMemory, "there is no memory"),
        (&FileError::Killed, "the caller was killed"),
    ]);
}

#[test]
fn what_is_wrong_with_a_swap_device() {
    let header = |error| SwapOnError::Header(error);
    say(&[
        (&header(HeaderError::BadVersion(2)), "the swap header is wrong: its version is 2, not 1"),
        (&SwapOnError::Read, "the swap header could not be read"),
        (&SwapOnError::TooManyDevices, "all 7 places for swap devices are taken"),
        (&SwapOnError::Known, "the device is in use, or was and has its place"),
        (&SwapOnError::NotOff, "the device was never in use, or still is"),
        (
            &SwapOnError::TooLittleMemory { need: 9, have: 3 },
            "3 words of memory for the slots, and 9 are needed",
        ),
        (&SwapOffError::NotOn, "the device is not in use, or another task is at it"),
        (
            &SwapOffError::NoMemory { pages: 70, room: 12 },
            "70 pages are on the device, and elsewhere is room for 12",
        ),
        (&SwapOffError::Read { slot: 8 }, "the page in slot 8 could not be read"),
        (&SwapOffError::Killed, "the caller was killed meanwhile"),
        (
            &HeaderError::BadMagic(*b"SWAP\0\xffPACE"),
            "it ends with \"SWAP\\x00\\xffPACE\", not with SWAPSPACE2",
        ),
        (
            &HeaderError::BadLastPage { last: 0, blocks: 64 },
            "its last page is 0, and the device has 64",
        ),
        (&HeaderError::TooManyBadPages(700), "it names 700 bad pages, and 637 fit"),
        (&HeaderError::BadBadPage(0), "page 0 cannot be a bad one"),
        (&IoError, "the transfer failed"),
        (&WriteError::Io, "a page of the file could not be written"),
        (&WriteError::NoSpace, "the device is full"),
    ]);
}

#[test]
fn what_is_wrong_with_the_books_of_pages() {
    say(&[
        (
            &Violation::BadFlags { pfn: PFN, why: "free and locked" },
            "pfn 0x80: flags contradict each other: free and locked",
        ),
        (
            &Violation::WrongList { pfn: PFN, on: LIST },
            "pfn 0x80 is on InactiveAnon, and its flags differ",
        ),
        (
            &Violation::StaleLruFlag { list: LIST, flagged: 2, linked: 1 },
            "2 pages have the flags of InactiveAnon, and 1 are on it",
        ),
        (
            &Violation::ListSize { list: LIST, kept: 4, counted: 3 },
            "InactiveAnon counts 4 pages, and has 3",
        ),
        (
            &Violation::LeakedIsolation { flagged: 1, counted: 2 },
            "1 pages are isolated and 2 counted so, at rest",
        ),
        (&Violation::LeakedLock(PFN), "pfn 0x80 is locked at rest"),
        (
            &Violation::WrongMapcount { pfn: PFN, counts: 2, found: 1 },
            "pfn 0x80 counts 2 mappings, and has 1",
        ),
        (
            &Violation::WrongRefs { pfn: PFN, counts: 2, holders: 1 },
            "pfn 0x80 counts 2 references, and has 1",
        ),
        (&Violation::LostPage(PFN), "pfn 0x80 is not free, and nobody holds it"),
        (
            &Violation::FreeCount { zone: ZONE, kept: 9, counted: 8 },
            "Dma32 counts 9 free pages, and has 8",
        ),
        (
            &Violation::BadFreeBlock { pfn: PFN, order: Order::PAGEBLOCK },
            "pfn 0x80: bad free block, Order(9)",
        ),
        (&Violation::StaleMlock(PFN), "pfn 0x80 is marked as locked, by no locked area"),
        (
            &Violation::Unpresent { zone: ZONE, managed: 6, present: 5 },
            "zone Dma32 manages 6 pages, and 5 exist",
        ),
    ]);
}

#[test]
fn what_is_wrong_with_the_books_of_spaces_and_slots() {
    let entry = SwapEntry::new(1, 77);
    say(&[
        (
            &Violation::BrokenRmap { space: SPACE, vpn: VPN, pfn: PFN },
            "space 5.3 maps pfn 0x80 at 0x12000, which leads not back",
        ),
        (&Violation::BadArea { space: SPACE, start: VPN }, "space 5.3: bad area at 0x12000"),
        (
            &Violation::BadFamily { space: SPACE, start: VPN },
            "space 5.3: the area at 0x12000 and its families disagree",
        ),
        (
            &Violation::UnmergedAreas { space: SPACE, at: VPN },
            "space 5.3: the areas that meet at 0x12000 should be one",
        ),
        (
            &Violation::BadZeroMapping { space: SPACE, vpn: VPN },
            "space 5.3 maps the zero page wrongly at 0x12000",
        ),
        (
            &Violation::LostObjects { kind: "areas", taken: 3, found: 2 },
            "3 areas are taken from their table, and 2 found",
        ),
        (
            &Violation::SpaceCounts { space: SPACE, counts: (1, 2), found: (3, 4) },
            "space 5.3 counts 1 pages and 2 swap entries, and has 3 and 4",
        ),
        (&Violation::OrphanSlot(entry), "swap 1:77 and its page do not name each other"),
        (
            &Violation::OrphanFilePage { pfn: PFN, at: AT },
            "pfn 0x80 says that it is page 8 of file 3, which is not so",
        ),
        (&Violation::UnusedSlot(entry), "swap 1:77 is named by a table, and not used"),
        (
            &Violation::SlotUses { counts: 8, found: 7 },
            "the swap slots count 8 users, and tables name 7",
        ),
        (
            &Violation::FreeSlots { kept: 2, counted: 1 },
            "a swap device counts 2 free slots, and has 1",
        ),
        (&Violation::Busy(SPACE), "space 5.3 is being changed: this is no quiet moment"),
        (&Violation::BusyLists(ZONE), "zone Dma32 is in use: this is no quiet moment"),
        (
            &Violation::CounterIdentity("pgalloc >= pgfree"),
            "this does not hold between counters: pgalloc >= pgfree",
        ),
    ]);
}
