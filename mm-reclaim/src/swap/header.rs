//! The header in the first page of a swap device, as `mkswap` writes it.
//!
//! All numbers are little-endian and 32 bits wide:
//!
//! | offset | content |
//! | --- | --- |
//! | 1024 | version, 1 |
//! | 1028 | the last page of the device |
//! | 1032 | the number of bad pages listed |
//! | 1036 | UUID and label, 32 bytes |
//! | 1536 | the bad pages |
//! | 4086 | `SWAPSPACE2` |

use crate::base::units::PAGE_SIZE;

const VERSION: usize = 1024;
const LAST_PAGE: usize = 1028;
const BAD_COUNT: usize = 1032;
const BAD_PAGES: usize = 1536;
const MAGIC_AT: usize = 4086;
const MAGIC: &[u8; 10] = b"SWAPSPACE2";
/// Bad pages that fit between their place and the magic word.
pub const MAX_BAD_PAGES: u32 = ((MAGIC_AT - BAD_PAGES) / 4) as u32;

/// Why a swap header was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// The last ten bytes are not `SWAPSPACE2`, but these.
    BadMagic([u8; 10]),
    /// The version is not 1.
    BadVersion(u32),
    /// The last page is 0 or beyond the end of the device.
    BadLastPage {
        /// What the header says.
        last: u32,
        /// Pages that the device has.
        blocks: u32,
    },
    /// More bad pages than fit.
    TooManyBadPages(u32),
    /// A bad page that is not on the device, or is the header itself.
    BadBadPage(u32),
}

/// What a valid header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    page: &'a [u8; PAGE_SIZE],
    /// The last page of the swap area.
    pub last_page: u32,
    bad: u32,
}

fn word(page: &[u8; PAGE_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

impl<'a> Header<'a> {
    /// Reads the header of a device of `blocks` pages.
    ///
    /// # Errors
    /// What is wrong with it, and the value that shows it.
    pub fn parse(page: &'a [u8; PAGE_SIZE], blocks: u32) -> Result<Self, HeaderError> {
        if &page[MAGIC_AT..] != MAGIC {
            let mut found = [0; 10];
            found.copy_from_slice(&page[MAGIC_AT..]);
            return Err(HeaderError::BadMagic(found));
        }
        let (version, last, bad) =
            (word(page, VERSION), word(page, LAST_PAGE), word(page, BAD_COUNT));
        if version != 1 {
            return Err(HeaderError::BadVersion(version));
        }
        if last == 0 || last >= blocks {
            return Err(HeaderError::BadLastPage { last, blocks });
        }
        if bad > MAX_BAD_PAGES {
            return Err(HeaderError::TooManyBadPages(bad));
        }
        let header = Self { page, last_page: last, bad };
        match header.bad_pages().find(|b| *b == 0 || *b > last) {
            Some(b) => Err(HeaderError::BadBadPage(b)),
            None => Ok(header),
        }
    }

    /// The pages that must not be used.
    pub fn bad_pages(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.bad as usize).map(|i| word(self.page, BAD_PAGES + 4 * i))
    }
}

/// Writes a header for a device of `blocks` pages without bad ones, as `mkswap` does.
pub fn format(page: &mut [u8; PAGE_SIZE], blocks: u32) {
    page.fill(0);
    page[VERSION..VERSION + 4].copy_from_slice(&1u32.to_le_bytes());
    page[LAST_PAGE..LAST_PAGE + 4].copy_from_slice(&blocks.saturating_sub(1).to_le_bytes());
    page[MAGIC_AT..].copy_from_slice(MAGIC);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted() -> [u8; PAGE_SIZE] {
        let mut page = [0; PAGE_SIZE];
        format(&mut page, 1000);
        page
    }

    fn with(at: usize, value: u32) -> [u8; PAGE_SIZE] {
        let mut page = formatted();
        page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        page
    }

    /// SWAP-01: a good header gives its last page and its bad pages.
    #[test]
    fn a_header_as_mkswap_writes_it_is_read() {
        let mut page = with(BAD_COUNT, 2);
        page[BAD_PAGES..BAD_PAGES + 8].copy_from_slice(&[7, 0, 0, 0, 9, 0, 0, 0]);
        let header = Header::parse(&page, 1000).expect("valid");
        assert_eq!(header.last_page, 999);
        assert!(header.bad_pages().eq([7, 9]));
    }

    /// SWAP-01: each kind of error is reported with the value that shows it.
    #[test]
    fn a_wrong_header_is_refused_with_its_reason() {
        let zeroes = [0; PAGE_SIZE];
        let mut bad = with(BAD_COUNT, 1);
        bad[BAD_PAGES..BAD_PAGES + 4].copy_from_slice(&1000u32.to_le_bytes());
        let cases = [
            (zeroes, HeaderError::BadMagic([0; 10])),
            (with(VERSION, 2), HeaderError::BadVersion(2)),
            (with(LAST_PAGE, 1000), HeaderError::BadLastPage { last: 1000, blocks: 1000 }),
            (with(LAST_PAGE, 0), HeaderError::BadLastPage { last: 0, blocks: 1000 }),
            (with(BAD_COUNT, 638), HeaderError::TooManyBadPages(638)),
            (with(BAD_COUNT, 1), HeaderError::BadBadPage(0)),
            (bad, HeaderError::BadBadPage(1000)),
        ];
        for (page, want) in cases {
            assert_eq!(Header::parse(&page, 1000), Err(want));
        }
    }
}
