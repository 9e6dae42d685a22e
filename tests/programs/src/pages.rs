//! Anonymous memory in which every word is predictable.
//!
//! Word `i` of page `p` at version `v` is `seed(p, v) + i * STEP`. The seed mixes page and
//! version well, and STEP is odd and large, so that a page that turns up in another's
//! place, an older version, a shifted page or a page of zeroes fails at its first word,
//! and a damaged byte at its own word. One addition a word keeps the check cheap.

use core::ptr::NonNull;

use splitmix::mix;

use crate::sys::files::{Fd, How};
use crate::sys::{self, Errno};
use crate::{DAMAGED, println};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;
/// Words in a page.
pub const WORDS: usize = PAGE_SIZE / 8;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The first word of a page at a version.
fn seed(page: usize, version: u64) -> u64 {
    mix((page as u64 + 1).wrapping_mul(STEP) ^ version.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A word that was not what had been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The page, counted from the start of its region.
    pub page: usize,
    /// The word within the page.
    pub word: usize,
    /// What should have been there.
    pub expected: u64,
    /// What was there.
    pub found: u64,
}

impl Damage {
    /// Says what is wrong and returns the exit status for it.
    #[must_use]
    pub fn report(self) -> i32 {
        let Self { page, word, expected, found } = self;
        println!("DAMAGED page {page} word {word}: expected {expected:#018x}, found {found:#018x}");
        DAMAGED
    }
}

/// A mapping of whole pages that this value owns.
pub struct Pages {
    base: NonNull<[u64; WORDS]>,
    count: usize,
}

impl Pages {
    /// Maps `count` pages of zeroes; none is touched yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(count: usize) -> Result<Self, Errno> {
        let base = sys::mmap(count * PAGE_SIZE)?;
        let base = NonNull::new(base.cast()).ok_or(sys::ENOMEM)?;
        Ok(Self { base, count })
    }

    /// Maps `count` pages of a file from page `first` on. Nobody else changes them while they are
    /// borrowed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of_file(fd: &Fd, how: How, first: usize, count: usize) -> Result<Self, Errno> {
        let base = fd.map(how, count * PAGE_SIZE, (first * PAGE_SIZE) as u64)?;
        Ok(Self { base: NonNull::new(base.cast()).ok_or(sys::ENOMEM)?, count })
    }

    /// Maps `count` pages that children share.
    ///
    /// # Errors
    /// The kernel's.
    pub fn shared(count: usize) -> Result<Self, Errno> {
        let base = sys::mmap_shared(count * PAGE_SIZE)?;
        Ok(Self { base: NonNull::new(base.cast()).ok_or(sys::ENOMEM)?, count })
    }

    /// Maps `count` pages or ends the program.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn map(count: usize) -> Self {
        match Self::new(count) {
            Ok(pages) => pages,
            Err(error) => panic!("mmap of {count} pages: {error:?}"),
        }
    }

    /// The number of pages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The address and size in bytes, for system calls.
    #[must_use]
    pub fn span(&self) -> (*const u8, usize) {
        (self.base.as_ptr().cast(), self.count * PAGE_SIZE)
    }

    /// The address and size of one page.
    #[must_use]
    pub fn page_span(&self, page: usize) -> (*const u8, usize) {
        (core::ptr::from_ref(self.page(page)).cast(), PAGE_SIZE)
    }

    /// The words of a page.
    ///
    /// # Panics
    /// Beyond the last page.
    #[must_use]
    #[inline]
    pub fn page(&self, page: usize) -> &[u64; WORDS] {
        assert!(page < self.count);
        // SAFETY: the page lies in the mapping that this value owns (checked above).
        let at = unsafe { self.base.add(page) };
        // SAFETY: the mapping is readable, aligned and initialised (zero at first), and
        // shared references follow the borrow of `self`.
        unsafe { at.as_ref() }
    }

    /// The words of a page, to be changed.
    ///
    /// # Panics
    /// Beyond the last page.
    #[inline]
    pub fn page_mut(&mut self, page: usize) -> &mut [u64; WORDS] {
        assert!(page < self.count);
        // SAFETY: the page lies in the mapping that this value owns (checked above).
        let mut at = unsafe { self.base.add(page) };
        // SAFETY: as in `page`; the exclusive borrow of `self` makes this one exclusive.
        unsafe { at.as_mut() }
    }

    /// Fills a page with the words of its number and `version`.
    pub fn write(&mut self, page: usize, version: u64) {
        self.write_as(page, page, version);
    }

    /// Fills a page with the words of page `number`.
    pub fn write_as(&mut self, page: usize, number: usize, version: u64) {
        let mut value = seed(number, version);
        for word in self.page_mut(page) {
            *word = value;
            value = value.wrapping_add(STEP);
        }
    }

    /// Compares all words of a page with what [`Pages::write`] wrote.
    ///
    /// # Errors
    /// The first word that differs.
    pub fn check(&self, page: usize, version: u64) -> Result<(), Damage> {
        self.check_as(page, page, version)
    }

    /// Compares the words of a page with those of page `number`.
    ///
    /// # Errors
    /// The first word that differs.
    pub fn check_as(&self, page: usize, number: usize, version: u64) -> Result<(), Damage> {
        let mut expected = seed(number, version);
        for (word, &found) in self.page(page).iter().enumerate() {
            if found != expected {
                return Err(Damage { page, word, expected, found });
            }
            expected = expected.wrapping_add(STEP);
        }
        Ok(())
    }

    /// Compares all words of a page with zero.
    ///
    /// # Errors
    /// The first word that is not zero.
    pub fn check_zero(&self, page: usize) -> Result<(), Damage> {
        match self.page(page).iter().position(|&word| word != 0) {
            Some(word) => Err(Damage { page, word, expected: 0, found: self.page(page)[word] }),
            None => Ok(()),
        }
    }

    /// The bytes of pages, for system calls.
    ///
    /// # Panics
    /// Beyond the last page.
    pub fn bytes_mut(&mut self, first: usize, count: usize) -> &mut [u8] {
        assert!(first + count <= self.count && count > 0);
        // SAFETY: the pages lie in the mapping that this value owns (checked above).
        let at = unsafe { self.base.add(first) };
        // SAFETY: the mapping is readable and writable, every bit pattern is a byte, and the
        // exclusive borrow of `self` makes this one exclusive.
        unsafe { core::slice::from_raw_parts_mut(at.as_ptr().cast(), count * PAGE_SIZE) }
    }

    /// Gives up the contents of all pages: each holds what it did, or zeroes, until it is written.
    ///
    /// # Errors
    /// The kernel's.
    pub fn give_up(&mut self) -> Result<(), Errno> {
        // SAFETY: the words are integers, and the exclusive borrow says that nobody is using them.
        unsafe { sys::give_up(self.base.as_ptr().cast(), self.count * PAGE_SIZE) }
    }

    /// Writes every page at `version`.
    pub fn write_all(&mut self, version: u64) {
        for page in 0..self.count {
            self.write(page, version);
        }
    }

    /// Checks every page against `version`.
    ///
    /// # Errors
    /// The first damage.
    pub fn check_all(&self, version: u64) -> Result<(), Damage> {
        (0..self.count).try_for_each(|page| self.check(page, version))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: no borrow of the mapping outlives the value that owns it.
        let unmapped = unsafe { sys::munmap(self.base.as_ptr().cast(), self.count * PAGE_SIZE) };
        assert_eq!(unmapped, Ok(()), "munmap of an own mapping");
    }
}

/// Every number below `count` once, in an order without locality: a full-period linear
/// congruential generator over the next power of two, leaving out what is too large.
pub fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    let mask = count.next_power_of_two() - 1;
    let mut at = 0x5eed_usize & mask;
    (0..=mask).filter_map(move |_| {
        at = at.wrapping_mul(0x5_deec_e66d).wrapping_add(11) & mask;
        // The low bits of such a generator repeat early: swap the halves of the number.
        let bits = mask.count_ones();
        let half = bits / 2;
        let low = at & ((1 << half) - 1);
        let turned = (at >> half) | (low << (bits - half));
        (turned < count).then_some(turned)
    })
}

/// The beginning of this program, as `program.ld` places it.
const PROGRAM: usize = 0x40_0000;
/// Pages that its code and data have at most, and that its stack may need.
const MOST: usize = 64;
const STACK: usize = 16;

/// Locks this program's code, data and used stack into memory, so that no failed read can
/// end it.
///
/// # Panics
/// If that is refused.
pub fn lock_program() {
    let here = 0_u8;
    let stack = (&raw const here).addr() & !(PAGE_SIZE - 1);
    lock_from(PROGRAM);
    lock_from(stack - (STACK - 1) * PAGE_SIZE);
}

/// Locks what is mapped without a hole from `start` on, and no more than needed.
///
/// # Panics
/// If that is nothing.
fn lock_from(start: usize) {
    let at = core::ptr::with_exposed_provenance(start);
    let locked = (1..=MOST).rev().find(|pages| sys::mlock(at, pages * PAGE_SIZE).is_ok());
    assert!(locked.is_some(), "mlock of the program itself");
}
