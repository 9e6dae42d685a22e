//! Where the blocks of a RAM disk are: a few ranges of memory, one after the other.
//!
//! Memory is rarely one piece: the initrd and the device tree may lie in the middle of it. So a
//! disk is made of the largest pieces. Block numbers run through the pieces in the order in which
//! they were added, which is by size when the boot code makes the disk, so that most requests need
//! one comparison.
//!
//! Pure; no lock. It is built at boot and never changes afterwards.

use core::fmt;

use mm_reclaim::memblock::Region;
use mm_reclaim::units::{PAGE_SIZE, PhysAddr};

/// The most pieces of a disk.
pub const MAX_EXTENTS: usize = 8;

/// A piece: blocks `first` to below `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Extent {
    first: u32,
    end: u32,
    start: PhysAddr,
}

impl Extent {
    #[inline(always)]
    fn address(&self, block: u32) -> PhysAddr {
        PhysAddr(self.start.0 + u64::from(block - self.first) * PAGE_SIZE as u64)
    }

    fn region(&self) -> Region {
        Region { start: self.start, end: self.address(self.end) }
    }
}

/// The memory of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Extents {
    list: [Extent; MAX_EXTENTS],
    len: usize,
}

/// A piece was refused: there are too many, it is not a whole number of pages, or there are more
/// blocks than 32 bits can count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoExtent(pub Region);

impl Extents {
    /// No pieces yet.
    pub const fn new() -> Self {
        let none = Extent { first: 0, end: 0, start: PhysAddr(0) };
        Self { list: [none; MAX_EXTENTS], len: 0 }
    }

    /// Appends the blocks of `piece`, whole pages.
    ///
    /// # Errors
    /// [`NoExtent`].
    pub fn push(&mut self, piece: Region) -> Result<(), NoExtent> {
        let page = PAGE_SIZE as u64;
        let whole = piece.start.0.is_multiple_of(page) && piece.size().is_multiple_of(page);
        let first = self.blocks();
        let end = u32::try_from(u64::from(first) + piece.size() / page);
        match (self.list.get_mut(self.len), end) {
            (Some(slot), Ok(end)) if whole && !piece.is_empty() => {
                *slot = Extent { first, end, start: piece.start };
                self.len += 1;
                Ok(())
            }
            _ => Err(NoExtent(piece)),
        }
    }

    /// Blocks of all pieces.
    pub fn blocks(&self) -> u32 {
        self.list[..self.len].last().map_or(0, |extent| extent.end)
    }

    /// The pieces, in the order of their blocks.
    pub fn regions(&self) -> impl Iterator<Item = Region> + '_ {
        self.list[..self.len].iter().map(Extent::region)
    }

    /// The address of a block; `None` beyond the last.
    #[inline(always)]
    pub fn address(&self, block: u32) -> Option<PhysAddr> {
        let first = &self.list[0];
        if block < first.end { Some(first.address(block)) } else { self.search(block) }
    }

    #[cold]
    fn search(&self, block: u32) -> Option<PhysAddr> {
        let extent = self.list[..self.len].iter().find(|extent| block < extent.end)?;
        Some(extent.address(block))
    }
}

impl fmt::Debug for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, region) in self.regions().enumerate() {
            write!(f, "{}{region:?}", if i == 0 { "" } else { " + " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE as u64;

    fn region(start: u64, pages: u64) -> Region {
        Region::new(PhysAddr(start), pages * PAGE).unwrap()
    }

    fn extents(pieces: &[Region]) -> Extents {
        let mut extents = Extents::new();
        pieces.iter().for_each(|piece| extents.push(*piece).unwrap());
        extents
    }

    /// SWAP-06: each block has a page of its own inside a piece, in the order of the pieces.
    #[test]
    fn blocks_run_through_the_pieces_in_order() {
        let pieces = [region(0x9000_0000, 5), region(0x4000_0000, 1), region(0x6000_0000, 3)];
        let disk = extents(&pieces);
        let expected: Vec<_> = pieces
            .iter()
            .flat_map(|piece| (piece.start.0..piece.end.0).step_by(PAGE_SIZE))
            .map(|at| Some(PhysAddr(at)))
            .collect();
        assert_eq!(disk.blocks(), 9);
        assert_eq!((0..9).map(|block| disk.address(block)).collect::<Vec<_>>(), expected);
        assert_eq!(disk.regions().collect::<Vec<_>>(), pieces);
    }

    /// Beyond the last block there is nothing.
    #[test]
    fn a_block_behind_the_last_lies_nowhere() {
        let disk = extents(&[region(0x9000_0000, 5), region(0x4000_0000, 2)]);
        for block in [7, 8, u32::MAX] {
            assert_eq!(disk.address(block), None, "block {block}");
        }
        assert_eq!(Extents::new().address(0), None);
        assert_eq!(Extents::new().blocks(), 0);
    }

    #[test]
    fn what_is_no_piece_is_refused_and_changes_nothing() {
        let mut disk = extents(&[region(0x9000_0000, 5)]);
        let huge = Region::new(PhysAddr(0), (u64::from(u32::MAX) - 4) * PAGE).unwrap();
        let odd = Region { start: PhysAddr(0x800), end: PhysAddr(0x1800) };
        let short = Region { start: PhysAddr(0x1000), end: PhysAddr(0x1800) };
        for piece in [region(0x4000_0000, 0), huge, odd, short] {
            assert_eq!(disk.push(piece), Err(NoExtent(piece)));
        }
        assert_eq!(disk, extents(&[region(0x9000_0000, 5)]));
        for n in 1..MAX_EXTENTS as u64 {
            disk.push(region(n << 20, 1)).unwrap();
        }
        assert_eq!(disk.push(region(0x1000, 1)), Err(NoExtent(region(0x1000, 1))));
    }

    #[test]
    fn a_place_is_shown_piece_by_piece() {
        let disk = extents(&[region(0x9000_0000, 16), region(0x4000_0000, 1)]);
        assert_eq!(format!("{disk:?}"), "0x90000000..0x90010000 + 0x40000000..0x40001000");
    }
}
