//! Which block a page of a file is in: extents, sorted by page.

/// Pages of a file in blocks, both one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Extent {
    /// The first page of the file.
    pub page: u32,
    /// Its block.
    pub block: u32,
    /// Pages.
    pub len: u32,
}

impl Extent {
    const fn end(&self) -> u32 {
        self.page + self.len
    }
}

/// The file has as many pieces as its table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyPieces;

/// The extents of a file, in memory that it is lent.
#[derive(Debug)]
pub struct Place<'a> {
    list: &'a mut [Extent],
    len: usize,
}

impl<'a> Place<'a> {
    /// The first `len` of `list` are in use.
    pub fn new(list: &'a mut [Extent], len: usize) -> Self {
        Self { list, len }
    }

    /// How many extents are in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The extents that begin at or before a page.
    fn up_to(&self, page: u32) -> usize {
        self.list[..self.len].partition_point(|extent| extent.page <= page)
    }

    /// The block of a page.
    pub fn block(&self, page: u32) -> Option<u32> {
        let extent = self.extent(page)?;
        Some(extent.block + (page - extent.page))
    }

    /// The extent that a page is in.
    pub fn extent(&self, page: u32) -> Option<Extent> {
        self.list[..self.up_to(page)].last().copied().filter(|extent| page < extent.end())
    }

    /// Where the block of a page should be: behind that of the page before it.
    pub fn goal(&self, page: u32) -> u32 {
        let before = self.list[..self.up_to(page)].last();
        before.map_or(0, |extent| extent.block.saturating_add(page - extent.page))
    }

    /// How many blocks should be free at a place where a new piece begins: more as the file grows, so
    /// that the number of its pieces grows with the logarithm of its size.
    pub fn run(&self) -> u32 {
        let pages: u32 = self.list[..self.len].iter().map(|extent| extent.len).sum();
        (pages / 8).max(64)
    }

    /// A page without a block gets one.
    ///
    /// # Errors
    /// If that makes one piece too many.
    pub fn add(&mut self, page: u32, block: u32) -> Result<(), TooManyPieces> {
        let at = self.up_to(page);
        let follows = at.checked_sub(1).filter(|before| {
            let extent = &self.list[*before];
            extent.end() == page && extent.block + extent.len == block
        });
        if let Some(before) = follows {
            self.list[before].len += 1;
            self.join(before);
            return Ok(());
        }
        let leads = self.list[..self.len]
            .get_mut(at)
            .filter(|next| next.page == page + 1 && next.block == block + 1);
        if let Some(next) = leads {
            (next.page, next.block, next.len) = (page, block, next.len + 1);
            return Ok(());
        }
        self.insert(at, Extent { page, block, len: 1 })
    }

    /// Joins an extent with the next one, if they fit.
    fn join(&mut self, at: usize) {
        let Some(&next) = self.list[..self.len].get(at + 1) else { return };
        let extent = &mut self.list[at];
        if extent.end() == next.page && extent.block + extent.len == next.block {
            extent.len += next.len;
            self.remove_at(at + 1);
        }
    }

    fn insert(&mut self, at: usize, extent: Extent) -> Result<(), TooManyPieces> {
        if self.len == self.list.len() {
            return Err(TooManyPieces);
        }
        self.list.copy_within(at..self.len, at + 1);
        self.list[at] = extent;
        self.len += 1;
        Ok(())
    }

    fn remove_at(&mut self, at: usize) {
        self.list.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    /// The pages from `first` to the one before `end` lose their blocks, which go to `freed`. A hole in
    /// the middle of an extent makes two of it; without room for that the blocks stay, and go to `kept`:
    /// they must read as zeroes.
    pub fn cut(
        &mut self,
        first: u32,
        end: u32,
        mut freed: impl FnMut(u32, u32),
        mut kept: impl FnMut(u32, u32),
    ) {
        let mut at = 0;
        while at < self.len {
            let extent = self.list[at];
            let (from, to) = (extent.page.max(first), extent.end().min(end));
            if from >= to {
                at += 1;
                continue;
            }
            let (head, tail) = (from - extent.page, extent.end() - to);
            let rest = Extent { page: to, block: extent.block + (to - extent.page), len: tail };
            if head > 0 && tail > 0 && self.insert(at + 1, rest).is_err() {
                kept(extent.block + head, to - from);
                at += 1;
                continue;
            }
            freed(extent.block + head, to - from);
            match (head, tail) {
                (0, 0) => self.remove_at(at),
                (0, _) => self.list[at] = rest,
                _ => {
                    self.list[at].len = head;
                    at += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check(place: &Place<'_>, model: &BTreeMap<u32, u32>) {
        for page in 0..64 {
            assert_eq!(place.block(page), model.get(&page).copied(), "page {page}: {place:?}");
        }
        let pairs = place.list[..place.len].windows(2);
        for pair in pairs {
            let adjacent =
                pair[0].end() == pair[1].page && pair[0].block + pair[0].len == pair[1].block;
            assert!(pair[0].end() <= pair[1].page && !adjacent, "{pair:?}");
        }
    }

    /// Extents are a map from pages to blocks, whatever is added and cut; neighbours are joined.
    #[test]
    fn extents_are_a_map() {
        // A linear congruential generator (Knuth), of which the upper half is used.
        let mut state = 7_u64;
        let mut below = |most: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32 % most
        };
        for _ in 0..200 {
            let mut list = [Extent::default(); 40];
            let mut place = Place::new(&mut list, 0);
            let (mut model, mut next) = (BTreeMap::new(), 1000);
            for _ in 0..120 {
                let page = below(60);
                if below(4) == 0 {
                    let end = page + below(20);
                    let mut freed = Vec::new();
                    let free = |block, len| freed.extend(block..block + len);
                    place.cut(page, end, free, |_, _| panic!("there is room for pieces"));
                    let gone: Vec<_> = (page..end).filter_map(|page| model.remove(&page)).collect();
                    assert_eq!(freed, gone);
                } else if !model.contains_key(&page) {
                    let goal = place.goal(page);
                    let is_taken = goal == 0 || model.values().any(|block| *block == goal);
                    let block = if is_taken { next } else { goal };
                    next += 100;
                    place.add(page, block).expect("room");
                    model.insert(page, block);
                }
                check(&place, &model);
            }
        }
    }

    /// A hole for which there is no room leaves the blocks, and names them.
    #[test]
    fn a_hole_without_room_keeps_its_blocks() {
        let mut list = [Extent::default(); 2];
        let mut place = Place::new(&mut list, 0);
        for (page, block) in [(0, 10), (1, 11), (2, 12), (4, 20)] {
            place.add(page, block).expect("room");
        }
        let (mut freed, mut kept) = (Vec::new(), Vec::new());
        place.cut(
            1,
            5,
            |block, len| freed.push((block, len)),
            |block, len| kept.push((block, len)),
        );
        assert_eq!(
            (&freed[..], &kept[..]),
            (&[(11, 2), (20, 1)][..], &[][..]),
            "a tail needs no room"
        );
        place.add(1, 11).expect("room");
        place.add(2, 12).expect("room");
        place.add(9, 90).expect("room");
        place.cut(1, 2, |_, _| panic!("a block is free"), |block, len| kept.push((block, len)));
        assert_eq!((kept, place.block(1)), (vec![(11, 1)], Some(11)));
    }

    /// A file of too many pieces is refused a page, and keeps the others.
    #[test]
    fn a_file_of_too_many_pieces_is_full() {
        let mut list = [Extent::default(); 3];
        let mut place = Place::new(&mut list, 0);
        for page in [1, 3, 5] {
            place.add(page, 10 * page).expect("room");
        }
        assert_eq!(place.add(7, 70), Err(TooManyPieces));
        assert_eq!(place.add(6, 51), Ok(()), "it continues a piece");
        assert_eq!(
            [1, 3, 5, 6, 7].map(|page| place.block(page)),
            [Some(10), Some(30), Some(50), Some(51), None]
        );
    }
}
