//! Cutting a block of memory into slices: the cuts take exactly what the layout says.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use core::alloc::Layout;
use core::mem::MaybeUninit;

use proptest::prelude::*;

use super::{Storage, extend, fill};
use crate::tests::{cases, panic_of};

/// An element whose alignment is larger than that of any number.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(align(64))]
struct Line(u8);

/// The part of a larger block that is aligned as `layout` says and no larger than it.
fn block(memory: &mut [MaybeUninit<u8>], layout: Layout) -> &mut [MaybeUninit<u8>] {
    let pad = memory.as_ptr().align_offset(layout.align());
    &mut memory[pad..pad + layout.size()]
}

fn with_block(layout: Layout, body: impl FnOnce(&mut [MaybeUninit<u8>])) {
    let mut memory = Box::new_uninit_slice(layout.size() + layout.align());
    body(block(&mut memory, layout));
}

proptest! {
    #![proptest_config(cases(64))]

    /// A block of exactly the layout's size is enough, whatever the element types, and
    /// each slice keeps what was put into it.
    #[test]
    fn a_block_of_the_layouts_size_holds_all_its_cuts(
        cuts in prop::collection::vec((0..4usize, 0..9usize), 0..12),
    ) {
        let layout = cuts.iter().fold(Layout::new::<()>(), |layout, (kind, count)| match kind {
            0 => extend::<u8>(layout, *count),
            1 => extend::<u32>(layout, *count),
            2 => extend::<u64>(layout, *count),
            _ => extend::<Line>(layout, *count),
        });
        with_block(layout, |memory| {
            let mut storage = Storage::new(memory);
            let (mut bytes, mut words, mut longs, mut lines) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for (kind, count) in &cuts {
                match kind {
                    0 => bytes.push((*count, storage.cut(*count, |i| i as u8))),
                    1 => words.push((*count, storage.cut(*count, |i| i as u32))),
                    2 => longs.push((*count, storage.cut(*count, |i| i as u64))),
                    _ => lines.push((*count, storage.cut(*count, |i| Line(i as u8)))),
                }
            }
            assert!(bytes.iter().all(|(n, cut)| cut.iter().copied().eq(0..*n as u8)));
            assert!(words.iter().all(|(n, cut)| cut.iter().copied().eq(0..*n as u32)));
            assert!(longs.iter().all(|(n, cut)| cut.iter().copied().eq(0..*n as u64)));
            assert!(lines.iter().all(|(n, cut)| cut.iter().map(|l| l.0).eq(0..*n as u8)));
            assert!(lines.iter().all(|(_, cut)| cut.as_ptr().align_offset(64) == 0));
        });
    }
}

/// ZONE-02: elements that are equal in runs, short and long ones, with nothing before or after them.
#[test]
fn runs_of_elements_fill_their_slice_exactly() {
    with_block(Layout::new::<[u64; 40]>(), |memory| {
        let mut storage = Storage::new(memory);
        let runs = [(0, 1u64), (1, 2), (7, 3), (0, 4), (8, 5), (23, 6)];
        let filled = storage.cut_runs(39, runs.into_iter().map(|(n, value)| (n, move || value)));
        assert!(filled.iter().copied().eq(runs.iter().flat_map(|(n, value)| vec![*value; *n])));
        let said = panic_of(|| {
            storage.cut_runs(1, [(0, || 7u64)].into_iter());
        });
        assert_eq!(said, "1 elements are in no run");
    });
}

#[test]
fn a_block_that_is_too_small_is_refused_with_its_size() {
    with_block(Layout::new::<[u64; 4]>(), |memory| {
        let mut storage = Storage::new(memory);
        assert_eq!(storage.cut(3, |_| 9u64), [9; 3]);
        let said = panic_of(|| {
            storage.cut(2, |_| 9u64);
        });
        assert_eq!(said, "storage too small: 8 < 16");
    });
}

#[test]
fn a_block_that_begins_at_an_odd_address_is_padded() {
    with_block(Layout::new::<[u64; 4]>(), |memory| {
        let mut storage = Storage::new(&mut memory[1..]);
        let words = storage.cut(3, |i| i as u64);
        assert_eq!(words, [0, 1, 2]);
        assert_eq!(words.as_ptr().align_offset(align_of::<u64>()), 0);
    });
}

#[test]
fn filling_makes_each_element_from_its_place() {
    let mut memory = [const { MaybeUninit::<Box<usize>>::uninit() }; 5];
    let filled = fill(&mut memory, |i| Box::new(i * i));
    assert!(filled.iter().map(|b| **b).eq([0, 1, 4, 9, 16]));
    for element in &mut memory {
        // SAFETY: `fill` has written every element, and each is dropped once, here.
        unsafe { element.assume_init_drop() };
    }
}
