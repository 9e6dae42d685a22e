//! Swap headers, good and bad (SWAP-01): each is judged as a second, naive reading of the
//! format judges it, with the same reason.

use mm_reclaim::swap::header::{Header, HeaderError, MAX_BAD_PAGES, format};
use mm_reclaim::units::PAGE_SIZE;
use proptest::prelude::*;

type Page = [u8; PAGE_SIZE];

const VERSION: usize = 1024;
const LAST_PAGE: usize = 1028;
const BAD_COUNT: usize = 1032;
const BAD_PAGES: usize = 1536;
const MAGIC: usize = 4086;

fn formatted(blocks: u32) -> Page {
    let mut page = [0xa5; PAGE_SIZE];
    format(&mut page, blocks);
    page
}

fn put(page: &mut Page, at: usize, word: u32) {
    page[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

fn get(page: &Page, at: usize) -> u32 {
    (0..4).map(|i| u32::from(page[at + i]) << (8 * i)).sum()
}

/// What the format says about a page: its last page and its bad ones, or the first of its
/// faults in the order in which the header is read.
fn judged(page: &Page, blocks: u32) -> Result<(u32, Vec<u32>), HeaderError> {
    let (last, count) = (get(page, LAST_PAGE), get(page, BAD_COUNT));
    if page[MAGIC..] != *b"SWAPSPACE2" {
        return Err(HeaderError::BadMagic(page[MAGIC..].try_into().unwrap()));
    }
    if get(page, VERSION) != 1 {
        return Err(HeaderError::BadVersion(get(page, VERSION)));
    }
    if !(1..blocks).contains(&last) {
        return Err(HeaderError::BadLastPage { last, blocks });
    }
    if count > (4086 - 1536) / 4 {
        return Err(HeaderError::TooManyBadPages(count));
    }
    let bad: Vec<u32> = (0..count as usize).map(|i| get(page, BAD_PAGES + 4 * i)).collect();
    match bad.iter().find(|page| !(1..=last).contains(*page)) {
        Some(&page) => Err(HeaderError::BadBadPage(page)),
        None => Ok((last, bad)),
    }
}

fn parsed(page: &Page, blocks: u32) -> Result<(u32, Vec<u32>), HeaderError> {
    Header::parse(page, blocks).map(|header| (header.last_page, header.bad_pages().collect()))
}

/// A word at which a comparison may go wrong.
fn some_word() -> impl Strategy<Value = u32> {
    let near = |word: u32| (0..3u32).prop_map(move |n| word.wrapping_sub(1).wrapping_add(n));
    let last_bad = MAX_BAD_PAGES;
    prop_oneof![near(0), near(1), near(100), near(last_bad), near(1 << 31), any::<u32>()]
}

/// A change of one word where the header keeps one, or of any byte.
fn some_change() -> impl Strategy<Value = (usize, u32)> {
    let field = prop_oneof![Just(VERSION), Just(LAST_PAGE), Just(BAD_COUNT), Just(BAD_PAGES)];
    prop_oneof![
        8 => (field, some_word()),
        2 => (BAD_PAGES..MAGIC - 4, some_word()),
        1 => (0..PAGE_SIZE - 4, some_word()),
    ]
}

/// `count` good bad pages on a device of `blocks`.
fn with_bad_pages(blocks: u32, count: u32) -> Page {
    let mut page = formatted(blocks);
    put(&mut page, BAD_COUNT, count);
    let list = (0..count.min(MAX_BAD_PAGES)).map(|i| 1 + i % (blocks - 1));
    list.enumerate().for_each(|(i, bad)| put(&mut page, BAD_PAGES + 4 * i, bad));
    page
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn a_changed_header_is_judged_by_its_first_fault(
        blocks in prop_oneof![2..200u32, some_word().prop_map(|w| w.max(2))],
        count in prop_oneof![0..6u32, MAX_BAD_PAGES - 2..=MAX_BAD_PAGES],
        changes in prop::collection::vec(some_change(), 0..4),
    ) {
        let mut page = with_bad_pages(blocks, count);
        changes.into_iter().for_each(|(at, word)| put(&mut page, at, word));
        prop_assert_eq!(parsed(&page, blocks), judged(&page, blocks));
    }

    #[test]
    fn noise_is_judged_too(noise in prop::collection::vec(any::<u8>(), PAGE_SIZE), whole: bool) {
        let mut page: Page = noise.try_into().unwrap();
        if whole {
            page[MAGIC..].copy_from_slice(b"SWAPSPACE2");
            put(&mut page, VERSION, 1);
        }
        prop_assert_eq!(parsed(&page, 1 << 20), judged(&page, 1 << 20));
    }
}

#[test]
fn what_is_formatted_is_read_on_devices_of_every_size() {
    for blocks in [2, 3, 100, 131_072, u32::MAX] {
        assert_eq!(parsed(&formatted(blocks), blocks), Ok((blocks - 1, vec![])));
    }
    for blocks in [0, 1] {
        let refused = HeaderError::BadLastPage { last: 0, blocks };
        assert_eq!(parsed(&formatted(blocks), blocks), Err(refused), "room for no slot");
    }
}

/// The magic word of the old format, and each damaged letter of the new one.
#[test]
fn another_magic_word_is_refused_and_shown() {
    let mut page = formatted(100);
    page[MAGIC..].copy_from_slice(b"SWAP-SPACE");
    assert_eq!(parsed(&page, 100), Err(HeaderError::BadMagic(*b"SWAP-SPACE")));
    for bit in 0..80 {
        let mut page = formatted(100);
        page[MAGIC + bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(parsed(&page, 100), Err(HeaderError::BadMagic(_))), "bit {bit}");
    }
}

/// An area may be smaller than its device, never larger.
#[test]
fn the_last_page_lies_on_the_device() {
    let mut page = formatted(100);
    for last in [1, 50, 99] {
        put(&mut page, LAST_PAGE, last);
        assert_eq!(parsed(&page, 100), Ok((last, vec![])));
    }
    for last in [0, 100, 101, 1 << 31, u32::MAX] {
        put(&mut page, LAST_PAGE, last);
        assert_eq!(parsed(&page, 100), Err(HeaderError::BadLastPage { last, blocks: 100 }));
    }
}

/// The list of bad pages: full, overfull, and with entries that are no pages of the area.
#[test]
fn the_list_of_bad_pages_is_bounded_and_each_is_on_the_device() {
    assert_eq!(MAX_BAD_PAGES, 637);
    let (last, bad) = parsed(&with_bad_pages(1000, MAX_BAD_PAGES), 1000).unwrap();
    assert_eq!((last, bad.len(), bad[636]), (999, 637, 637));
    for count in [638, 0xffff, u32::MAX] {
        let refused = HeaderError::TooManyBadPages(count);
        assert_eq!(parsed(&with_bad_pages(1000, count), 1000), Err(refused));
    }
    for (place, bad) in [(0, 0), (3, 1000), (636, u32::MAX)] {
        let mut page = with_bad_pages(1000, MAX_BAD_PAGES);
        put(&mut page, BAD_PAGES + 4 * place, bad);
        assert_eq!(parsed(&page, 1000), Err(HeaderError::BadBadPage(bad)));
    }
    // A page of the device behind the end of the area is no page of the area.
    let mut page = with_bad_pages(1000, 1);
    put(&mut page, LAST_PAGE, 10);
    put(&mut page, BAD_PAGES, 11);
    assert_eq!(parsed(&page, 1000), Err(HeaderError::BadBadPage(11)));
}
