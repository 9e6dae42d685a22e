//! The areas of a file against a plain list, and how many a walk visits.

use std::boxed::Box;
use std::vec::Vec;

use proptest::prelude::*;

use super::{FILE_AREAS, FileAreas};
use crate::base::sync::Lock;
use crate::base::units::{FileId, Vpn};
use crate::env::Prot;
use crate::page::pool::HandleCell;
use crate::page::pool::kind::AREA;
use crate::page::pool::tests::{Grounds, grow};
use crate::space::{Area, AreaFlags, AreaView, Areas, Backing, SpaceHandle};
use crate::tests::{TestCpu, cases};

type Root = Lock<TestCpu, HandleCell<AREA>, FILE_AREAS>;

fn area<'m>(grounds: &'m Grounds, areas: &Areas<'m, TestCpu>, first: u32, pages: u32) -> &'m Area {
    let area = grow(grounds, areas, Area::blank);
    let start = Vpn(1000);
    let plain = AreaView::anonymous(start..start + pages, Prot::READ, AreaFlags::empty());
    let shift = start.0.wrapping_sub(first);
    area.init(SpaceHandle::new(1), AreaView { shift, backing: Backing::File(FileId(1)), ..plain });
    area
}

proptest! {
    #![proptest_config(cases(128))]

    /// RMAP-01: the areas that cover a page of a file are found, each once, whatever came and went.
    #[test]
    fn the_areas_that_cover_a_page_are_found(
        ops in prop::collection::vec((any::<bool>(), 0..60u32, 1..20u32), 1..80),
        asked in prop::collection::vec((0..80u32, 0..10u32), 1..12),
    ) {
        let grounds = Grounds::new(4);
        let (areas, root): (Areas<'_, TestCpu>, Root) = (grounds.pool(), Lock::new(HandleCell::none()));
        // The lock lives as long as the pool, as it does in a file.
        let root: &Root = &*Box::leak(Box::new(root));
        let mut model: Vec<&Area> = Vec::new();
        for (is_new, first, pages) in ops {
            let tree = FileAreas::new(&areas, root.lock());
            if is_new || model.is_empty() {
                let fresh = area(&grounds, &areas, first, pages);
                tree.insert(fresh);
                model.push(fresh);
            } else {
                let gone = model.swap_remove(first as usize % model.len());
                tree.remove(gone);
                grounds.take_back(areas.give(areas.handle_of(gone)));
            }
            prop_assert_eq!(tree.audit(100), Some(model.len() as u32));
            for (at, more) in &asked {
                let range = *at..=*at + more;
                let mut want: Vec<_> = model
                    .iter()
                    .filter(|area| {
                        let (first, last) = area.file_range();
                        first <= *range.end() && last >= *range.start()
                    })
                    .map(|area| areas.handle_of(*area))
                    .collect();
                let mut found: Vec<_> = tree.covering(range).map(|a| areas.handle_of(a)).collect();
                want.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(found, want);
            }
        }
    }
}

/// RMAP-01: a file that is mapped a thousand times in different places: the tree stays shallow, so
/// that a search visits a few areas beside those that it finds.
#[test]
fn a_thousand_mappings_make_no_deep_tree() {
    let grounds = Grounds::new(40);
    let areas: Areas<'_, TestCpu> = grounds.pool();
    let root: &Root = &*Box::leak(Box::new(Lock::new(HandleCell::none())));
    let tree = FileAreas::new(&areas, root.lock());
    let all: Vec<_> = (0..1000).map(|n| area(&grounds, &areas, 10 * n, 10)).collect();
    all.iter().for_each(|area| tree.insert(area));
    let depth = |area: &Area| {
        let mut depth = 0;
        let mut at = area.file_links.parent.get();
        while let Some(parent) = at {
            depth += 1;
            at = areas.at(parent).file_links.parent.get();
        }
        depth
    };
    let deepest = all.iter().map(|area| depth(area)).max();
    assert!(deepest < Some(32), "the deepest of 1000 areas is at {deepest:?}");
    for n in [0, 4999, 9999] {
        let found: Vec<_> = tree.covering(n..=n).map(Area::file_range).collect();
        assert_eq!(found, [(n / 10 * 10, n / 10 * 10 + 9)]);
    }
    assert_eq!(tree.covering(10_000..=u32::MAX).count(), 0);
}
