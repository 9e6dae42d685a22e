//! What a page holds, and one timed access to it.
//!
//! Word 0 names the page, word 1 counts its rewrites, words 2 to 127 are noise that no
//! compressor likes, words 128 to 510 are zero, and word 511 checks name and count. A page
//! in the place of another, an older version of it and a page of zeroes are all found by
//! the access that meets them; every other word by the check at the end.

use super::machine::{Clock, Page};

const NOISE: core::ops::Range<usize> = 2..128;
const LAST: usize = 511;

/// What one access found and took.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Nanoseconds of the access alone.
    pub took: u64,
    /// Whether the page was the right one.
    pub is_intact: bool,
}

fn name(page: u32) -> u64 {
    u64::from(page).wrapping_mul(0xd6e8_feb8_6659_fd93).wrapping_add(0x0123_4567)
}

fn check_word(page: u32, version: u64) -> u64 {
    (name(page) ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// The words from [`NOISE`]: a linear congruential generator, its high bits folded down.
fn noise(page: u32) -> impl Iterator<Item = u64> {
    let mut x = name(page);
    core::iter::repeat_with(move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x ^ (x >> 29)
    })
}

/// A load that happens, here and once.
#[inline]
fn load(word: &u64) -> u64 {
    // SAFETY: a reference is valid for reads of its type.
    unsafe { core::ptr::from_ref(word).read_volatile() }
}

/// A store that happens, here and once.
#[inline]
fn store(word: &mut u64, value: u64) {
    // SAFETY: an exclusive reference is valid for writes of its type.
    unsafe { core::ptr::from_mut(word).write_volatile(value) }
}

/// The first access to a page ever: only the store of its name is timed, then the rest of
/// the page is filled.
#[inline]
pub fn fill(clock: Clock, words: &mut Page, page: u32) -> Access {
    let name = name(page);
    let start = clock.now();
    store(&mut words[0], name);
    let took = clock.now() - start;
    for (word, noise) in words[NOISE].iter_mut().zip(noise(page)) {
        *word = noise;
    }
    words[1] = 0;
    words[LAST] = check_word(page, 0);
    Access { took, is_intact: true }
}

/// A read of the page.
#[inline]
pub fn read(clock: Clock, words: &Page, page: u32) -> Access {
    let start = clock.now();
    let first = load(&words[0]);
    let took = clock.now() - start;
    Access { took, is_intact: is_right(words, page, first) }
}

/// A read and a write of the page, and its next version.
#[inline]
pub fn rewrite(clock: Clock, words: &mut Page, page: u32) -> Access {
    let start = clock.now();
    let first = load(&words[0]);
    store(&mut words[0], first);
    let took = clock.now() - start;
    let is_intact = is_right(words, page, first);
    let version = load(&words[1]) + 1;
    store(&mut words[1], version);
    store(&mut words[LAST], check_word(page, version));
    Access { took, is_intact }
}

#[inline]
fn is_right(words: &Page, page: u32, first: u64) -> bool {
    let version = load(&words[1]);
    let check = load(&words[LAST]);
    first == name(page) && check == check_word(page, version)
}

/// Whether all 512 words of a page are as `version` rewrites left them.
#[must_use]
pub fn is_whole(words: &Page, page: u32, version: u64) -> bool {
    words[0] == name(page)
        && words[1] == version
        && words[NOISE].iter().zip(noise(page)).all(|(&word, noise)| word == noise)
        && words[NOISE.end..LAST].iter().all(|&word| word == 0)
        && words[LAST] == check_word(page, version)
}
