//! Which kernel stacks are in use: one bit per slot of address space.
//!
//! A slot has twice the size of a stack and the stack is its upper half, so that a stack's address
//! determines its slot, and the lower half is the unmapped guard.

use boot::layout::VSTACK_BASE;

/// Bytes of a kernel stack.
pub const STACK_SIZE: u64 = 16 << 10;
/// Bytes of address space that a stack takes, its guard included.
const SLOT: u64 = 2 * STACK_SIZE;
/// Kernel stacks that can exist at once.
pub const MAX_STACKS: usize = 1024;

/// The slots in use.
pub struct Slots {
    used: [u64; MAX_STACKS / 64],
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

impl Slots {
    /// All slots free.
    pub const fn new() -> Self {
        Self { used: [0; MAX_STACKS / 64] }
    }

    /// Takes the lowest free slot and returns the first address of its stack.
    pub fn take(&mut self) -> Option<u64> {
        let word = self.used.iter().position(|&word| word != u64::MAX)?;
        let bit = self.used[word].trailing_ones();
        self.used[word] |= 1 << bit;
        let slot = word as u64 * 64 + u64::from(bit);
        Some(VSTACK_BASE + slot * SLOT + STACK_SIZE)
    }

    /// Frees the slot of the stack that starts at `bottom`; false if that is no stack in use.
    pub fn give_back(&mut self, bottom: u64) -> bool {
        let Some(offset) = bottom.checked_sub(VSTACK_BASE + STACK_SIZE) else { return false };
        let slot = (offset / SLOT) as usize;
        let Some(word) = self.used.get_mut(slot / 64) else { return false };
        let bit = 1 << (slot % 64);
        if !offset.is_multiple_of(SLOT) || *word & bit == 0 {
            return false;
        }
        *word &= !bit;
        true
    }
}

/// The stack that holds `address`, first and one-past-last; `None` for a guard or an
/// address elsewhere. It need not be mapped.
pub fn stack_around(address: u64) -> Option<(u64, u64)> {
    let offset = address.checked_sub(VSTACK_BASE)?;
    let slot = VSTACK_BASE + offset / SLOT * SLOT;
    let inside = offset / SLOT < MAX_STACKS as u64 && address >= slot + STACK_SIZE;
    inside.then_some((slot + STACK_SIZE, slot + SLOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOOT-04: between two stacks there is always a guard.
    #[test]
    fn stacks_never_touch() {
        let mut slots = Slots::new();
        let all: Vec<u64> = core::iter::from_fn(|| slots.take()).collect();
        assert_eq!(all.len(), MAX_STACKS);
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= 2 * STACK_SIZE));
        assert!(all[0] > VSTACK_BASE, "a guard below the first");
    }

    #[test]
    fn a_slot_given_back_is_used_again_and_only_once() {
        let mut slots = Slots::new();
        let (first, second) = (slots.take().unwrap(), slots.take().unwrap());
        assert!(slots.give_back(first) && !slots.give_back(first));
        assert!(!slots.give_back(second + 0x1000) && !slots.give_back(0));
        assert_eq!(slots.take(), Some(first));
    }

    #[test]
    fn an_address_finds_its_stack_and_a_guard_finds_none() {
        let mut slots = Slots::new();
        let bottom = slots.take().unwrap();
        let stack = Some((bottom, bottom + STACK_SIZE));
        assert_eq!(stack_around(bottom), stack);
        assert_eq!(stack_around(bottom + STACK_SIZE - 1), stack);
        assert_eq!(stack_around(bottom - 1), None);
        assert_eq!(stack_around(bottom + STACK_SIZE), None);
    }
}
