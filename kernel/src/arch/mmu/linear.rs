//! Which parts of RAM the linear map covers, and with which permission.
//!
//! Everything is read-write and never executable, with one exception: the frames of the
//! kernel's text and constants are read-only here too, because the image map makes text executable,
//! and no frame may be writable through one mapping and executable through another.
//!
//! Pure: ranges in, [`Piece`]s out.

use core::ops::Range;

use boot::descriptor::Access;
use boot::layout::{LINEAR_BASE, LINEAR_SIZE, PAGE_SIZE};

use super::table::Piece;

/// Calls `map` for each piece of the linear map of the RAM in `ram` (physical addresses),
/// in which `read_only`, page-aligned, is the image's text and constants.
///
/// Partial pages at the ends are left out, and so is RAM beyond the end of the map.
///
/// # Errors
/// The first error of `map`.
pub fn pieces<E>(
    ram: Range<u64>,
    read_only: &Range<u64>,
    mut map: impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let start = ram.start.next_multiple_of(PAGE_SIZE);
    let end = ram.end.min(LINEAR_SIZE) / PAGE_SIZE * PAGE_SIZE;
    let below = start..end.min(read_only.start);
    let inside = start.max(read_only.start)..end.min(read_only.end);
    let above = start.max(read_only.end)..end;
    let parts =
        [(below, Access::ReadWrite), (inside, Access::ReadOnly), (above, Access::ReadWrite)];
    for (range, access) in parts.into_iter().filter(|(range, _)| !range.is_empty()) {
        let (pa, size) = (range.start, range.end - range.start);
        map(Piece { va: LINEAR_BASE + pa, pa, size, access })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(ram: Range<u64>, read_only: Range<u64>) -> Vec<(u64, u64, Access)> {
        let mut found = Vec::new();
        let end: Result<(), ()> = pieces(ram, &read_only, |piece| {
            assert_eq!(piece.va, LINEAR_BASE + piece.pa);
            found.push((piece.pa, piece.pa + piece.size, piece.access));
            Ok(())
        });
        end.unwrap();
        found
    }

    /// BOOT-04: the image's text and constants are read-only in the linear map.
    #[test]
    fn text_and_constants_are_read_only_and_the_rest_is_writable() {
        let found = collect(0x4000_0000..0x5000_0000, 0x4020_0000..0x4028_3000);
        let expected = [
            (0x4000_0000, 0x4020_0000, Access::ReadWrite),
            (0x4020_0000, 0x4028_3000, Access::ReadOnly),
            (0x4028_3000, 0x5000_0000, Access::ReadWrite),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_image_at_the_start_or_elsewhere_leaves_no_empty_piece() {
        let found = collect(0x4000_0000..0x4100_0000, 0x4000_0000..0x4008_0000);
        assert_eq!(found.len(), 2);
        let found = collect(0x8000_0000..0x9000_0000, 0x4000_0000..0x4008_0000);
        assert_eq!(found, [(0x8000_0000, 0x9000_0000, Access::ReadWrite)]);
        let found = collect(0x1000_0000..0x2000_0000, 0x4000_0000..0x4008_0000);
        assert_eq!(found, [(0x1000_0000, 0x2000_0000, Access::ReadWrite)]);
    }

    #[test]
    fn half_pages_and_ram_out_of_reach_are_left_out() {
        let found = collect(0x1800..0x3800, 0..0);
        assert_eq!(found, [(0x2000, 0x3000, Access::ReadWrite)]);
        let found = collect(LINEAR_SIZE - 0x1000..LINEAR_SIZE + 0x1000, 0..0);
        assert_eq!(found, [(LINEAR_SIZE - 0x1000, LINEAR_SIZE, Access::ReadWrite)]);
        assert!(collect(0x1001..0x1fff, 0..0).is_empty());
    }
}
