//! Which anon family an area gets at its first touch.
//!
//! A family of its own, or that of an area near it: the two can then become one area when
//! they agree. The area lock of the space is held; a frame for families may be allocated.
//!
//! Counterpart in Linux: `__anon_vma_prepare`, `find_mergeable_anon_vma`.

use super::Faults;
use crate::env::Env;
use crate::space::{AnonVma, Area, AreaIndex, AreaView};

/// How far away an area may lie whose family a first touch adopts.
const NEAR: u32 = 4;

impl<'m, E: Env> Faults<'m, E> {
    /// Gives an area its family at the first touch (`anon_vma_prepare`): that of a neighbour
    /// with the same shift if it has one, so that the two can become one area later.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare_anon(
        &self,
        index: &mut AreaIndex<'m>,
        area: &'m Area,
        view: AreaView,
    ) -> Option<u32> {
        let anon = self.neighbours_family(index, &view).or_else(|| self.new_family())?;
        let mut members = self.spaces.families.at(anon).lock();
        area.set_anon(anon);
        members.link(&self.spaces.areas, area);
        drop(members);
        index.forget();
        Some(anon)
    }

    /// The family of an area near this one (`find_mergeable_anon_vma`), unless others than
    /// this space's areas are in it: their walks would grow by this area's pages. Between the
    /// two there may be a few areas that nothing has touched.
    fn neighbours_family(&self, index: &AreaIndex<'m>, view: &AreaView) -> Option<u32> {
        let (mut low, mut high) = (*view, *view);
        for _ in 0..NEAR {
            let below = index.below(low.start).map(Area::view).filter(|a| a.end == low.start);
            let above = index.from(high.end).next().map(Area::view);
            let above = above.filter(|a| a.start == high.end);
            let near = below.into_iter().chain(above);
            if let Some(family) = near.into_iter().find_map(|a| self.shareable_family(&a, view)) {
                return Some(family);
            }
            (low, high) = (below.unwrap_or(low), above.unwrap_or(high));
        }
        None
    }

    fn shareable_family(&self, near: &AreaView, view: &AreaView) -> Option<u32> {
        let family = (near.anon != 0 && near.shift == view.shift).then_some(near.anon)?;
        let members = self.spaces.families.at(family).lock();
        members.is_of_one_space(&self.spaces.areas).then_some(family)
    }

    fn new_family(&self) -> Option<u32> {
        loop {
            if let Some((anon, _)) = self.spaces.families.take() {
                return Some(anon);
            }
            let (pfn, page) = self.alloc.table_frame().ok()?;
            self.spaces.put_surplus(self.spaces.families.add_chunk(pfn, page, AnonVma::blank));
        }
    }
}
