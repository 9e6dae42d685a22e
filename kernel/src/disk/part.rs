//! Parts of a page of a file that are in different places of a device. Pure.

use mm_reclaim::units::PAGE_SIZE;

use super::SECTOR;

/// The most parts of a page.
pub const MOST_PARTS: usize = 4;

/// A part of a page, and where it is on the device: whole sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its first sector of 512 bytes, from the beginning of the device or partition.
    pub sector: u64,
    /// Where it begins in the page.
    pub offset: u16,
    /// Its bytes.
    pub bytes: u16,
}

impl Part {
    fn is_good(&self) -> bool {
        let whole = |n: u16| usize::from(n).is_multiple_of(SECTOR);
        let end = usize::from(self.offset) + usize::from(self.bytes);
        self.bytes > 0 && whole(self.bytes) && whole(self.offset) && end <= PAGE_SIZE
    }

    /// Whether `next` goes on where this ends, in the page and on the device.
    fn touches(&self, next: &Self) -> bool {
        let sectors = u64::from(self.bytes) / SECTOR as u64;
        self.offset + self.bytes == next.offset
            && self.sector.checked_add(sectors) == Some(next.sector)
    }
}

/// The parts of a page, with those that touch as one; `None` if they are none, too many, or not whole
/// sectors of a page.
pub fn joined(parts: &[Part]) -> Option<([Part; MOST_PARTS], usize)> {
    if parts.is_empty() || parts.len() > MOST_PARTS || !parts.iter().all(Part::is_good) {
        return None;
    }
    let (mut list, mut len) = ([parts[0]; MOST_PARTS], 1);
    for part in &parts[1..] {
        if list[len - 1].touches(part) {
            list[len - 1].bytes += part.bytes;
        } else {
            list[len] = *part;
            len += 1;
        }
    }
    Some((list, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sector: u64, offset: u16, bytes: u16) -> Part {
        Part { sector, offset, bytes }
    }

    fn join(parts: &[Part]) -> Option<Vec<Part>> {
        joined(parts).map(|(list, len)| list[..len].to_vec())
    }

    #[test]
    fn parts_that_touch_are_one() {
        let page =
            [part(8, 0, 1024), part(10, 1024, 1024), part(12, 2048, 1024), part(14, 3072, 1024)];
        assert_eq!(join(&page), Some(vec![part(8, 0, 4096)]));
        let mut torn = page;
        torn[2].sector = 100;
        let expected = vec![part(8, 0, 2048), part(100, 2048, 1024), part(14, 3072, 1024)];
        assert_eq!(join(&torn), Some(expected));
        let hole = [part(8, 0, 1024), part(10, 2048, 1024)];
        assert_eq!(join(&hole), Some(hole.to_vec()));
        let last = [part(u64::MAX, 0, 512), part(0, 512, 512)];
        assert_eq!(join(&last), Some(last.to_vec()));
    }

    #[test]
    fn what_is_no_part_of_a_page_is_refused() {
        for bad in [part(0, 0, 0), part(0, 0, 100), part(0, 100, 512), part(0, 3584, 1024)] {
            assert_eq!(join(&[bad]), None, "{bad:?}");
            assert_eq!(join(&[part(0, 0, 512), bad]), None, "{bad:?}");
        }
        assert_eq!(join(&[]), None);
        assert_eq!(join(&[part(0, 0, 512); 5]), None);
    }
}
