//! What is counted, by callgrind: the instructions of these functions and of all that they
//! call, and of nothing else. None of them may call another one.

use crate::churn::{Churn, Op};
use crate::frames::Frames;

/// A frame allocated and freed at once.
#[inline(never)]
pub fn pairs_of_ones(frames: &mut impl Frames, count: usize) {
    for _ in 0..count {
        if let Some(frame) = frames.take_one() {
            frames.give_one(frame);
        }
    }
}

/// A pageblock allocated and freed at once.
#[inline(never)]
pub fn pairs_of_blocks(frames: &mut impl Frames, count: usize) {
    for _ in 0..count {
        if let Some(frame) = frames.take_block() {
            frames.give_block(frame);
        }
    }
}

/// Many frames allocated, one after the other, and freed in another order.
#[inline(never)]
pub fn bulk(frames: &mut impl Frames, held: &mut Vec<usize>, order: &[u32]) {
    for _ in order {
        held.extend(frames.take_one());
    }
    for place in order {
        frames.give_one(held[*place as usize]);
    }
}

/// Requests in random order.
#[inline(never)]
pub fn churn(frames: &mut impl Frames, churn: &mut Churn, ops: &[Op]) {
    for op in ops {
        churn.step(frames, *op);
    }
}
