//! Addresses and lengths that have broken kernels before: edges, holes, the kernel's own
//! memory, and sums that wrap around.

use crate::pages::PAGE_SIZE;
use crate::random::Random;
use crate::sys;

/// The end of a program's addresses.
const USER_END: usize = 1 << 39;
/// Where the kernel has RAM, its image, its stacks and devices.
const KERNEL: [usize; 4] =
    [0xffff_ff80_4000_0000, 0xffff_ffc0_0000_0000, 0xffff_ffe0_0000_0000, 0xffff_fff0_0000_0000];
/// The beginning of this program: code and constants, which are not writable.
pub(super) const TEXT: usize = 0x40_0000;
/// Pages that the source of addresses has of its own, and the hole behind them.
const OWN: usize = 16;
/// Mappings that it remembers.
const REMEMBERED: usize = 8;

/// A source of addresses and lengths.
pub struct Pointers {
    /// The first of the own pages.
    own: usize,
    recent: [usize; REMEMBERED],
    next: usize,
}

impl Pointers {
    /// A source with pages of its own and nothing remembered.
    ///
    /// # Panics
    /// If the kernel refuses so little memory.
    #[must_use]
    pub fn new() -> Self {
        let own = sys::mmap(2 * OWN * PAGE_SIZE).expect("a few pages").expose_provenance();
        let hole = core::ptr::with_exposed_provenance_mut(own + OWN * PAGE_SIZE);
        // SAFETY: no Rust object lies in the pages that were just mapped.
        let unmapped = unsafe { sys::munmap(hole, OWN * PAGE_SIZE) };
        assert_eq!(unmapped, Ok(()), "munmap of an own mapping");
        Self { own, recent: [own; REMEMBERED], next: 0 }
    }

    /// Remembers a mapping, so that later addresses lie in it.
    pub fn remember(&mut self, address: usize) {
        self.recent[self.next % REMEMBERED] = address;
        self.next += 1;
    }

    /// Any address.
    pub fn any(&self, random: &mut Random) -> usize {
        let address = match random.below(16) {
            0..8 => self.mapped(random),
            8 => random.of(&[TEXT, USER_END, self.own]) - 1 - random.below(2 * PAGE_SIZE),
            9 => TEXT + random.below(8 * PAGE_SIZE),
            10 => self.anywhere(random),
            _ => self.foreign(random),
        };
        if random.once_in(2) { address & !(PAGE_SIZE - 1) } else { address }
    }

    /// An address where the program has, or had, memory.
    pub fn mapped(&self, random: &mut Random) -> usize {
        match random.below(8) {
            0..3 => self.own + random.below(OWN * PAGE_SIZE),
            3..6 => random.of(&self.recent).wrapping_add(random.below(64 * PAGE_SIZE)),
            // Just before the hole, or in it.
            _ => self.own + OWN * PAGE_SIZE + random.below(64) - 48,
        }
    }

    /// A page that a program could have.
    pub fn anywhere(&self, random: &mut Random) -> usize {
        random.below(USER_END) & !(PAGE_SIZE - 1)
    }

    /// An address that no program can have.
    pub fn foreign(&self, random: &mut Random) -> usize {
        match random.below(6) {
            0 => random.below(PAGE_SIZE),
            1 => random.of(&KERNEL) + (random.below(1 << 30) >> random.below(24)),
            2 => USER_END + random.below(1 << 40),
            3 => usize::MAX - random.below(2 * PAGE_SIZE),
            // The top byte is part of the address.
            4 => self.own | (1 + random.below(255)) << 56,
            _ => random.number() as usize | 1 << (40 + random.below(24)),
        }
    }

    /// Any length.
    pub fn length(&self, random: &mut Random) -> usize {
        match random.below(10) {
            0 => random.below(17),
            1 => random.of(&[usize::MAX, isize::MAX as usize, 1 << 62, USER_END]),
            2 => (random.number() as usize >> random.below(64)).wrapping_sub(random.below(2)),
            3 => 0_usize.wrapping_sub(random.below(4 * PAGE_SIZE)),
            4 => random.below(64 * PAGE_SIZE),
            _ => random.below(64) * PAGE_SIZE,
        }
    }
}

impl Default for Pointers {
    fn default() -> Self {
        Self::new()
    }
}
