//! The promises of [`FrameMemory`].

use mm_reclaim::env::{Env, FrameMemory};
use mm_reclaim::units::{PAGE_SIZE, Pfn};

use crate::{Broken, Rig, keeps};

/// Bytes read at a time: no check may need a page of stack.
const CHUNK: usize = 64;

/// Whether every byte of the frame is what `expected` says of its offset.
fn holds<E: Env>(env: &E, frame: Pfn, expected: impl Fn(usize) -> u8) -> bool {
    (0..PAGE_SIZE).step_by(CHUNK).all(|offset| {
        let mut bytes = [0; CHUNK];
        env.frames().read(frame, offset, &mut bytes);
        bytes.iter().enumerate().all(|(i, &byte)| byte == expected(offset + i))
    })
}

/// Fills a frame with bytes that name their offset.
fn fill<E: Env>(env: &E, frame: Pfn, byte_at: impl Fn(usize) -> u8) {
    for offset in (0..PAGE_SIZE).step_by(CHUNK) {
        let mut bytes = [0; CHUNK];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = byte_at(offset + i);
        }
        env.frames().write(frame, offset, &bytes);
    }
}

/// A byte that differs between neighbours and between the quarters of a frame.
const fn pattern(offset: usize) -> u8 {
    (offset % 251 + offset / 1024) as u8
}

/// Takes two frames, runs the check, frees them.
fn with_two<E: Env>(
    rig: &mut Rig<'_, E>,
    check: impl FnOnce(&E, Pfn, Pfn) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let (a, b) = ((rig.take)(), (rig.take)());
    let result = check(rig.env, a, b);
    (rig.give)(a);
    (rig.give)(b);
    result
}

pub(crate) fn zero_fills_the_whole_frame_only<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_two(rig, |env, a, b| {
        fill(env, a, pattern);
        fill(env, b, pattern);
        env.frames().zero(a);
        keeps(holds(env, a, |_| 0), "zero fills the whole frame with zeroes")?;
        keeps(holds(env, b, pattern), "zero changes no other frame")
    })
}

pub(crate) fn what_is_written_is_read<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_two(rig, |env, a, _| {
        env.frames().zero(a);
        let pieces = [(0, 1), (3, 7), (13, 64), (PAGE_SIZE / 2 - 3, 9), (PAGE_SIZE - 5, 5)];
        for (offset, len) in pieces {
            let bytes: [u8; 64] = core::array::from_fn(|i| pattern(offset + i) | 1);
            env.frames().write(a, offset, &bytes[..len]);
        }
        let written =
            |at: usize| pieces.iter().any(|&(offset, len)| (offset..offset + len).contains(&at));
        let expected = |at| if written(at) { pattern(at) | 1 } else { 0 };
        keeps(holds(env, a, expected), "write changes exactly the bytes named, at any offset")
    })
}

pub(crate) fn copy_copies_the_whole_frame<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_two(rig, |env, a, b| {
        fill(env, a, pattern);
        fill(env, b, |_| 0xee);
        env.frames().copy(b, a);
        keeps(holds(env, b, pattern), "copy brings every byte")?;
        keeps(holds(env, a, pattern), "copy leaves its source alone")
    })
}

pub(crate) fn poison_leaves_nothing_readable<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    with_two(rig, |env, a, b| {
        fill(env, a, pattern);
        fill(env, b, pattern);
        env.frames().poison(a);
        let mut first = [0];
        env.frames().read(a, 0, &mut first);
        keeps(first[0] != 0, "poison is not zero, or it would pass for a fresh page")?;
        for offset in (0..PAGE_SIZE).step_by(CHUNK) {
            let (mut now, mut before) = ([0; CHUNK], [0; CHUNK]);
            env.frames().read(a, offset, &mut now);
            env.frames().read(b, offset, &mut before);
            keeps(now != before, "poison overwrites every part of the frame")?;
        }
        keeps(holds(env, b, pattern), "poison changes no other frame")
    })
}
