//! The last words of a kernel that cannot continue.
//!
//! Data: one flag, so that a panic during a panic ends at once. Lock: none; messages bypass the
//! console's lock, whose holder may never continue.
//!
//! The backtrace follows frame pointers (the kernel is built with them): a frame is two words, the
//! caller's frame and the return address. Only the stack where the walk began is read, and frames
//! must ascend, so that a broken chain ends the walk and does not cause another fault. [`walk`] is
//! portable and tested on a host; its caller and the message are in `last_words`.

use core::ops::Range;

#[cfg(target_os = "none")]
mod last_words;
#[cfg(target_os = "none")]
pub use last_words::{early_trap, last_words};

/// The most frames in a backtrace.
const MAX_FRAMES: usize = 32;

/// The return addresses of the frames from `frame` on, innermost first, as far as the chain
/// stays inside `stack` and ascends. `read` gets addresses of two words inside `stack`.
pub fn walk(
    frame: u64,
    stack: Range<u64>,
    mut read: impl FnMut(u64) -> [u64; 2],
) -> impl Iterator<Item = u64> {
    let mut at = Some(frame);
    core::iter::from_fn(move || {
        let frame = at.take()?;
        let end = frame.checked_add(16)?;
        if !frame.is_multiple_of(16) || frame < stack.start || end > stack.end {
            return None;
        }
        let [caller, returns_to] = read(frame);
        at = (caller > frame).then_some(caller);
        (returns_to != 0).then_some(returns_to)
    })
    .take(MAX_FRAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x1000;

    /// A stack of words at [`BASE`].
    fn backtrace(words: &[(u64, [u64; 2])], from: u64) -> Vec<u64> {
        let stack = BASE..BASE + 0x100;
        let read = |at: u64| {
            assert!(stack.contains(&at) && stack.contains(&(at + 15)), "{at:#x} is outside");
            words.iter().find(|(address, _)| *address == at).map_or([0, 0], |&(_, frame)| frame)
        };
        walk(from, stack.clone(), read).collect()
    }

    /// BOOT-05: the chain is followed to its end.
    #[test]
    fn a_chain_of_frames_is_followed_to_its_end() {
        let words = [(0x1010, [0x1040, 0xa]), (0x1040, [0x10f0, 0xb]), (0x10f0, [0, 0])];
        assert_eq!(backtrace(&words, 0x1010), [0xa, 0xb]);
    }

    #[test]
    fn a_broken_chain_ends_the_walk_and_reads_nothing_outside() {
        let loops = [(0x1010, [0x1040, 0xa]), (0x1040, [0x1010, 0xb])];
        assert_eq!(backtrace(&loops, 0x1010), [0xa, 0xb]);
        for wild in [0, 8, 0x1018, 0xff0, 0x1100, 0x10f8, u64::MAX, u64::MAX - 15] {
            assert_eq!(backtrace(&[], wild), [], "from {wild:#x}");
            assert_eq!(backtrace(&[(0x1010, [wild, 0xa])], 0x1010), [0xa], "by {wild:#x}");
        }
    }

    #[test]
    fn a_long_chain_is_cut() {
        let next = |at: u64| [at + 16, 1];
        assert_eq!(walk(0, 0..u64::MAX, next).count(), MAX_FRAMES);
    }
}
