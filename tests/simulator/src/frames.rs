//! The frames as the environment offers them: the arena's, with a check before each change that no
//! CPU can reach the frame by a translation that it should have forgotten.

#![allow(unsafe_code, reason = "the crate's objects lie in this memory")]

use std::ptr::NonNull;

use mm_reclaim::env::FrameMemory;
use mm_reclaim::units::Pfn;

use crate::mmu::Fate;
use crate::world::World;

// SAFETY: the arena's, whose frames live as long as the world.
unsafe impl FrameMemory for World {
    fn linear_map(&self, first: Pfn) -> NonNull<u8> {
        self.arena.linear_map(first)
    }

    fn zero(&self, frame: Pfn) {
        self.mmu.assert_unreachable(frame, Fate::Reused);
        self.arena.zero(frame);
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        self.mmu.assert_unreachable(to, Fate::Reused);
        self.mmu.assert_unreachable(from, Fate::Written);
        self.arena.copy(to, from);
    }

    fn copy_shared(&self, to: Pfn, from: Pfn) {
        self.mmu.assert_unreachable(to, Fate::Reused);
        self.arena.copy(to, from);
    }

    fn poison(&self, frame: Pfn) {
        self.mmu.assert_unreachable(frame, Fate::Freed);
        self.arena.poison(frame);
    }

    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]) {
        self.arena.read(frame, offset, out);
    }

    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        self.arena.write(frame, offset, bytes);
    }
}
