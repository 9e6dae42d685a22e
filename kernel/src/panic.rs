//! The last words of a kernel that cannot go on.
//!
//! Data: one flag, so that a panic of a panic ends at once. Lock: none; messages go past the
//! console's lock, whose holder may never go on.
//!
//! The backtrace follows frame pointers (the kernel is built with them): a frame is two
//! words, the caller's frame and the return address. Nothing is read that is not inside the
//! stack where the walk began, and frames must ascend, so that a broken chain ends the walk
//! and does not start another fault. [`walk`] is portable and tested on a host.

use core::ops::Range;

/// Frames that a backtrace shows at most.
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

#[cfg(target_os = "none")]
pub use on_target::{early_trap, last_words};

#[cfg(target_os = "none")]
mod on_target {
    use core::arch::asm;
    use core::fmt;
    use core::ops::Range;
    use core::panic::PanicInfo;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use boot::{Trap, image};

    use super::walk;
    use crate::arch::cpu;
    use crate::arch::mmu::slots;
    use crate::drivers::console::print_urgently;
    use crate::drivers::exit::{STATUS_PANIC, exit, stop};

    /// The affinity of the CPU whose message is under way, plus 1.
    static PANICKING: AtomicU64 = AtomicU64::new(0);

    /// Prints a message and the backtrace from frame pointer `frame` on, and ends the run
    /// with a failing status.
    pub fn last_words(message: fmt::Arguments<'_>, frame: u64) -> ! {
        let own = cpu::affinity() + 1;
        match PANICKING.compare_exchange(0, own, Relaxed, Relaxed) {
            Ok(_) => {}
            // A panic while printing has nothing to add.
            Err(first) if first == own => exit(STATUS_PANIC),
            // Nor has another CPU; the first one ends the run when its message is complete.
            Err(_) => stop(),
        }
        print_urgently(format_args!("{message}\n"));
        let stack = stack_of(frame).unwrap_or_default();
        for address in walk(frame, stack, read_frame) {
            print_urgently(format_args!("  returns to {address:#x}\n"));
        }
        exit(STATUS_PANIC)
    }

    /// The stack that `frame` lies in: a task's, or one of those inside the image.
    fn stack_of(frame: u64) -> Option<Range<u64>> {
        let (boot, trap) = (image::boot_stack(), image::trap_stack());
        let known = [boot, trap].into_iter().find(|stack| stack.contains(&frame));
        known.or_else(|| slots::stack_around(frame).map(|(start, end)| start..end))
    }

    fn read_frame(at: u64) -> [u64; 2] {
        // SAFETY: `walk` asks for two aligned words inside the stack that some code ran on.
        unsafe { (at as *const [u64; 2]).read_volatile() }
    }

    #[inline(always)]
    fn frame_pointer() -> u64 {
        let frame: u64;
        // SAFETY: it only reads a register.
        unsafe { asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags)) };
        frame
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        last_words(format_args!("{info}"), frame_pointer())
    }

    /// An exception before the kernel has vectors of its own.
    pub fn early_trap(trap: Trap) -> ! {
        let Trap { syndrome, pc, address, frame } = trap;
        let message = format_args!(
            "exception during early boot: ESR {syndrome:#x}, at {pc:#x}, address {address:#x}"
        );
        last_words(message, frame)
    }
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
