//! Linear indices: the index stored in a page leads to where it is mapped.

use std::vec::Vec;

use proptest::prelude::*;

use super::{Area, AreaFlags, AreaView};
use crate::base::units::Vpn;
use crate::env::Prot;
use crate::space::{FamilyHandle, SpaceHandle};
use crate::tests::cases;

fn view(start: u32, end: u32, shift: u32) -> AreaView {
    let (start, end) = (Vpn(start), Vpn(end));
    AreaView { shift, ..AreaView::anonymous(start..end, Prot::READ, AreaFlags::empty()) }
}

proptest! {
    #![proptest_config(cases(256))]

    /// RMAP-01: page and index lead to each other for any shift, and only inside the area.
    #[test]
    fn page_and_index_lead_to_each_other(
        start in 16..1u32 << 26, pages in 1..100u32, shift: u32, off in 0..200u32,
    ) {
        let area = Area::blank();
        area.init(SpaceHandle::new(4), view(start, start + pages, shift));
        let vpn = Vpn(start - 16 + off);
        let inside = vpn.0 >= start && vpn.0 < start + pages;
        let index = area.view().index_of(vpn);
        prop_assert_eq!(area.page_of(index), inside.then_some(vpn));
        prop_assert_eq!((area.space(), area.view().pages()), (SpaceHandle::new(4), pages));
    }

    /// RMAP-01: however an area is split, each page keeps its index, and exactly one of the pieces
    /// covers it, at the same address.
    #[test]
    fn splits_change_neither_index_nor_place(
        shift: u32, cuts in prop::collection::vec(1..64u32, 0..8),
    ) {
        let whole = view(1000, 1064, shift);
        let mut pieces = Vec::from([whole]);
        for cut in cuts {
            let at = Vpn(1000 + cut);
            let piece = pieces.iter_mut().find(|piece| piece.start < at && at < piece.end);
            if let Some(piece) = piece {
                let upper = AreaView { start: at, ..*piece };
                piece.end = at;
                pieces.push(upper);
            }
        }
        let areas: Vec<Area> = pieces.iter().map(|_| Area::blank()).collect();
        areas.iter().zip(&pieces).for_each(|(area, piece)| area.init(SpaceHandle::new(1), *piece));
        for vpn in (1000..1064).map(Vpn) {
            let index = whole.index_of(vpn);
            let shown: Vec<Vpn> = areas.iter().filter_map(|area| area.page_of(index)).collect();
            prop_assert_eq!(shown, [vpn]);
        }
    }
}

#[test]
fn an_area_is_read_back_as_it_was_written() {
    let area = Area::blank();
    let mut written = AreaView {
        prot: Prot::READ | Prot::EXEC,
        flags: AreaFlags::LOCKED,
        ..view(20, 30, u32::MAX)
    };
    let [seven, eight] = [7, 8].map(SpaceHandle::new);
    area.init(seven, written);
    assert_eq!(area.view(), written);
    area.set_bounds(Vpn(22), Vpn(23));
    area.set_rights(Prot::WRITE, AreaFlags::empty());
    let family = FamilyHandle::new(9);
    area.set_family(family);
    written = AreaView { start: Vpn(22), end: Vpn(23), prot: Prot::WRITE, family, ..written };
    written.flags = AreaFlags::empty();
    assert_eq!((area.view(), area.space()), (written, seven));
    // When the area is reused, it is in no family, whatever the view was copied from.
    area.init(eight, written);
    assert_eq!((area.view(), area.space()), (AreaView { family: None, ..written }, eight));
}
