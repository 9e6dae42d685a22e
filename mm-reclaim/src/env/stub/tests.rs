//! The frames of an array.

use std::vec;

use super::Bytes;
use crate::base::units::{PAGE_SIZE, Pfn};
use crate::env::FrameMemory;
use crate::tests::panic_of;

/// Wherever the array begins, frames are aligned and lie within it.
#[test]
fn an_array_has_the_whole_frames_in_it() {
    let mut memory = vec![0; 4 * PAGE_SIZE];
    for skipped in [0, 1, PAGE_SIZE - 1] {
        let within = &mut memory[skipped..];
        let array = within.as_ptr_range();
        let frames = Bytes::new(within, Pfn(7));
        let count = frames.range().end - frames.range().start;
        assert!((2..=4).contains(&count), "{count}");
        let first = frames.linear_map(Pfn(7)).as_ptr();
        assert!(first.addr().is_multiple_of(PAGE_SIZE));
        assert!(
            array.start <= first.cast_const()
                && first.wrapping_add(count as usize * PAGE_SIZE) <= array.end.cast_mut()
        );
        assert_eq!(frames.linear_map(Pfn(5)).as_ptr(), first.wrapping_sub(2 * PAGE_SIZE));
    }
    assert!(Bytes::new(&mut [0; 5], Pfn(7)).range().is_empty());
}

#[test]
fn a_frame_is_reached_alone() {
    let mut memory = vec![0; 4 * PAGE_SIZE];
    let frames = Bytes::new(&mut memory, Pfn(7));
    let seen = |frame, offset| {
        let mut byte = [0];
        frames.read(frame, offset, &mut byte);
        byte[0]
    };
    frames.poison(Pfn(7));
    frames.write(Pfn(8), PAGE_SIZE - 2, &[1, 2]);
    assert_eq!((seen(Pfn(7), PAGE_SIZE - 1), seen(Pfn(8), 0)), (0x6b, 0));
    frames.copy(Pfn(7), Pfn(8));
    frames.zero(Pfn(8));
    assert_eq!((seen(Pfn(7), PAGE_SIZE - 1), seen(Pfn(8), PAGE_SIZE - 1)), (2, 0));
    assert!(panic_of(|| seen(Pfn(6), 0)).contains("pfn 0x6"));
    assert!(panic_of(|| seen(Pfn(7), PAGE_SIZE)).contains("pfn 0x7"));
}
