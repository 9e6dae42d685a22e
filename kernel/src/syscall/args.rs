//! Arguments of system calls, checked and in the crate's units.
//!
//! Pure: numbers in, ranges and flags or an error number out.

use core::ops::Range;

use mm_reclaim::env::Prot;
use mm_reclaim::units::{PAGE_SIZE, Vpn};

use super::errno::{EINVAL, ENOMEM, ENOSYS, EOVERFLOW, Errno};

/// The page after the last user page.
const END: u64 = 1 << 27;
const PAGE: u64 = PAGE_SIZE as u64;

bitflags::bitflags! {
    /// The flags of `mmap`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MapFlags: u64 {
        /// Changes are visible to others.
        const SHARED = 0x1;
        /// Changes are private to the process.
        const PRIVATE = 0x2;
        /// At the given address, whatever is there.
        const FIXED = 0x10;
        /// Memory without a file.
        const ANONYMOUS = 0x20;
        /// No effect: for stacks.
        const STACK = 0x2_0000;
        /// No effect: swap is not reserved anyway.
        const NORESERVE = 0x4000;
        /// Locked into memory.
        const LOCKED = 0x2000;
        /// All pages are made present at once.
        const POPULATE = 0x8000;
        /// At the given address, if nothing is there.
        const FIXED_NOREPLACE = 0x10_0000;
    }
}

fn pages_in(len: u64) -> Option<u64> {
    Some(len.checked_add(PAGE - 1)? / PAGE)
}

/// The pages of `len` bytes from `start` on, a multiple of the page size. An empty length
/// gives an empty range.
///
/// # Errors
/// `EINVAL` for a misaligned start, `beyond` for a range that wraps or leaves user space.
pub fn pages(start: u64, len: u64, beyond: Errno) -> Result<Range<Vpn>, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let first = start / PAGE;
    let count = pages_in(len).ok_or(beyond)?;
    if first > END || count > END - first {
        return Err(beyond);
    }
    // Both are at most END, which has 28 bits.
    Ok(Vpn(first as u32)..Vpn((first + count) as u32))
}

/// The pages that `len` bytes from `start` on touch, for `mlock`, which rounds outwards.
///
/// # Errors
/// `EINVAL` for a range that wraps, `ENOMEM` for one that leaves user space.
pub fn touched_pages(start: u64, len: u64) -> Result<Range<Vpn>, Errno> {
    let first = start / PAGE * PAGE;
    let len = len.checked_add(start - first).ok_or(EINVAL)?;
    first.checked_add(len).ok_or(EINVAL)?;
    pages(first, len, ENOMEM)
}

/// The pages of `len` bytes from `start` on, for `madvise`, and whether they are all in user
/// space: the part above is a hole, which is reported after the rest was advised.
///
/// # Errors
/// `EINVAL` for a misaligned start or a range that wraps.
pub fn advised_pages(start: u64, len: u64) -> Result<(Range<Vpn>, bool), Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let first = start / PAGE;
    let count = pages_in(len).ok_or(EINVAL)?;
    if count > u64::MAX / PAGE - first {
        return Err(EINVAL);
    }
    // Both are at most END, which has 28 bits.
    let clip = |page: u64| Vpn(page.min(END) as u32);
    Ok((clip(first)..clip(first + count), first + count <= END || count == 0))
}

/// The pages of a new mapping of `len` bytes.
///
/// # Errors
/// `EINVAL` for none, `ENOMEM` for more than there can be.
pub fn page_count(len: u64) -> Result<u32, Errno> {
    match pages_in(len).filter(|n| *n <= END) {
        Some(0) => Err(EINVAL),
        Some(n) => Ok(n as u32),
        None => Err(ENOMEM),
    }
}

/// The rights of `mmap` and `mprotect`.
///
/// # Errors
/// `EINVAL` for bits without a meaning.
pub fn prot(bits: u64) -> Result<Prot, Errno> {
    u8::try_from(bits).ok().and_then(Prot::from_bits).ok_or(EINVAL)
}

/// The flags of a mapping; shared, private, or shared and validated, which is shared here.
///
/// # Errors
/// `EINVAL` for what Linux refuses too, and `ENOSYS` for what Linux supports but this kernel does
/// not.
pub fn map_flags(bits: u64) -> Result<MapFlags, Errno> {
    const KIND: u64 = 0xf;
    const SHARED_VALIDATE: u64 = 3;
    /// `MAP_DENYWRITE` and `MAP_EXECUTABLE`, which are ignored, and `MAP_NONBLOCK`, which only matters
    /// together with `MAP_POPULATE`.
    const IGNORED: u64 = 0x800 | 0x1000 | 0x1_0000;
    let bits = match bits & KIND {
        1 | 2 => bits,
        SHARED_VALIDATE if bits & MapFlags::ANONYMOUS.bits() == 0 => bits & !KIND | 1,
        _ => return Err(EINVAL),
    };
    MapFlags::from_bits(bits & !IGNORED).ok_or(ENOSYS)
}

/// The pages of a file that a mapping of `pages` from a byte on shows.
///
/// # Errors
/// `EINVAL` for a misaligned offset, `EOVERFLOW` for pages that no file can have.
pub fn file_part(offset: u64, pages: u32) -> Result<Range<u32>, Errno> {
    if !offset.is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let first = u32::try_from(offset / PAGE).map_err(|_| EOVERFLOW)?;
    Ok(first..first.checked_add(pages).ok_or(EOVERFLOW)?)
}

/// Converts a program's seconds and nanoseconds to nanoseconds.
///
/// # Errors
/// `EINVAL` for a negative time, or nanoseconds of a second or more.
pub fn nanos(seconds: u64, nanos: u64) -> Result<u64, Errno> {
    if i64::try_from(seconds).is_err() || nanos >= 1_000_000_000 {
        return Err(EINVAL);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LAZY-01: ranges are checked as the manual pages say, and never wrap.
    #[test]
    fn ranges_are_checked() {
        assert_eq!(pages(0x1000, 1, EINVAL), Ok(Vpn(1)..Vpn(2)));
        assert_eq!(pages(0x1000, 0, EINVAL), Ok(Vpn(1)..Vpn(1)));
        assert_eq!(pages(0x1001, 1, EINVAL), Err(EINVAL));
        assert_eq!(pages((END - 1) * PAGE, PAGE, ENOMEM), Ok(Vpn(END as u32 - 1)..Vpn(END as u32)));
        for (start, len) in [(END * PAGE, 1), (0, u64::MAX), (1 << 63, 1 << 63), (!0 << 12, PAGE)] {
            assert_eq!(pages(start, len, ENOMEM), Err(ENOMEM), "{start:#x} {len:#x}");
        }
    }

    /// LAZY-01: advice applies to the part in user space, and the rest is reported.
    #[test]
    fn advice_is_given_as_far_as_user_space_goes() {
        let last = END as u32;
        assert_eq!(advised_pages(0x1000, 0x2000), Ok((Vpn(1)..Vpn(3), true)));
        assert_eq!(advised_pages(0x1000, 0), Ok((Vpn(1)..Vpn(1), true)));
        assert_eq!(
            advised_pages((END - 1) * PAGE, 2 * PAGE),
            Ok((Vpn(last - 1)..Vpn(last), false))
        );
        assert_eq!(advised_pages(1 << 50, PAGE), Ok((Vpn(last)..Vpn(last), false)));
        assert_eq!(advised_pages(0x1001, PAGE), Err(EINVAL));
        assert_eq!(advised_pages(0x1000, u64::MAX), Err(EINVAL));
        assert_eq!(advised_pages(u64::MAX - 4095, 2 * PAGE), Err(EINVAL));
    }

    /// LAZY-01: mlock rounds outwards.
    #[test]
    fn mlock_takes_the_pages_that_are_touched() {
        assert_eq!(touched_pages(0x1fff, 2), Ok(Vpn(1)..Vpn(3)));
        assert_eq!(touched_pages(0x1fff, 0), Ok(Vpn(1)..Vpn(2)));
        assert_eq!(touched_pages(u64::MAX, 1), Err(EINVAL));
        assert_eq!(touched_pages(0x1000, u64::MAX), Err(EINVAL));
    }

    /// A mapping has at least one page, and no more than there are.
    #[test]
    fn lengths_are_checked() {
        assert_eq!(page_count(0), Err(EINVAL));
        assert_eq!(page_count(4097), Ok(2));
        assert_eq!(page_count(u64::MAX), Err(ENOMEM));
        assert_eq!(page_count((END + 1) * PAGE), Err(ENOMEM));
    }

    /// The flags that the benchmark and ordinary allocators use are accepted, the rest refused with
    /// Linux's number or as unsupported.
    #[test]
    fn map_flags_are_told_apart() {
        assert!(map_flags(0x22).is_ok());
        assert!(map_flags(0x22 | 0x4000 | 0x2_0000 | 0x10 | 0x8000).is_ok());
        assert_eq!(map_flags(0x20), Err(EINVAL));
        assert_eq!(map_flags(0x21), Ok(MapFlags::SHARED | MapFlags::ANONYMOUS));
        assert_eq!(map_flags(0x2), Ok(MapFlags::PRIVATE));
        assert_eq!(map_flags(0x3), Ok(MapFlags::SHARED));
        assert_eq!(map_flags(0x23), Err(EINVAL));
        assert_eq!(map_flags(0x22 | 0x4_0000), Err(ENOSYS));
        assert_eq!(prot(3), Ok(Prot::READ | Prot::WRITE));
        assert_eq!(prot(8), Err(EINVAL));
        assert_eq!(prot(1 << 32), Err(EINVAL));
    }

    /// FILE-03: a mapping shows pages that a file can have.
    #[test]
    fn parts_of_files_are_checked() {
        assert_eq!(file_part(0x3000, 2), Ok(3..5));
        assert_eq!(file_part(0x3001, 2), Err(EINVAL));
        assert_eq!(file_part(u64::from(u32::MAX) * PAGE, 1), Err(EOVERFLOW));
        assert_eq!(file_part(1 << 60, 1), Err(EOVERFLOW));
    }

    /// Times are checked like `nanosleep` checks them, and saturate.
    #[test]
    fn times_are_checked() {
        assert_eq!(nanos(1, 5), Ok(1_000_000_005));
        assert_eq!(nanos(0, 1_000_000_000), Err(EINVAL));
        assert_eq!(nanos(u64::MAX, 0), Err(EINVAL));
        assert_eq!(nanos(i64::MAX as u64, 0), Ok(u64::MAX));
    }
}
