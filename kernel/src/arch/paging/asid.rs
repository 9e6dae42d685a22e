//! Address-space identifiers (ASIDs): allocating them and, when all were used once, starting over.
//!
//! **Data.** A bitmap of the ASIDs of living address spaces and the next number to try.
//! **Owner.** [`AsidPool`], behind one lock in `tlb`. **Order.** The lock is a leaf.
//!
//! **Why this is enough.** An address space keeps its ASID for life, so that a `(asid, vpn)` pair
//! in a batch of invalidations never goes stale. A freed ASID is not flushed and not reused until
//! the numbers wrap around: one flush of the whole TLB then starts a new generation, in which every
//! number that no living space holds is free. Linux lets a living space change its number at a
//! rollover, since it has more processes than numbers; here 65,535 numbers (16 bits) are more than
//! the task table has entries. On a CPU with 8 bits, 255 address spaces at a time are the limit.
//!
//! With 255 numbers and one exec per millisecond, the whole TLB is flushed four times a second.

/// Words of the bitmap for 16-bit ASIDs.
const WORDS: usize = 65536 / 64;

/// Which ASIDs are taken.
pub struct AsidPool {
    taken: [u64; WORDS],
    limit: u32,
    next: u32,
}

/// A number, and whether it starts a new generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The number, never 0: that is for the empty tables.
    pub asid: u16,
    /// The caller must flush the whole TLB on every CPU before it uses the number.
    pub rollover: bool,
}

impl AsidPool {
    /// No number in use; 255 numbers until [`AsidPool::set_bits`].
    pub const fn new() -> Self {
        Self { taken: [0; WORDS], limit: 256, next: 1 }
    }

    /// Sets whether the CPU has ASIDs of 16 bits or of 8.
    pub fn set_bits(&mut self, sixteen: bool) {
        self.limit = if sixteen { 65536 } else { 256 };
    }

    /// Takes a number that no living space holds; `None` if they hold all.
    pub fn take(&mut self) -> Option<Grant> {
        if let Some(asid) = self.find(self.next, self.limit) {
            return Some(self.grant(asid, false));
        }
        let asid = self.find(1, self.next)?;
        Some(self.grant(asid, true))
    }

    /// The space that held `asid` is gone.
    ///
    /// # Panics
    /// If no space held it.
    pub fn give_back(&mut self, asid: u16) {
        let bit = 1 << (asid % 64);
        let word = &mut self.taken[usize::from(asid) / 64];
        assert!(*word & bit != 0, "address-space number {asid} freed twice");
        *word &= !bit;
    }

    fn grant(&mut self, asid: u32, rollover: bool) -> Grant {
        self.taken[asid as usize / 64] |= 1 << (asid % 64);
        self.next = asid + 1;
        Grant { asid: asid as u16, rollover }
    }

    fn find(&self, from: u32, end: u32) -> Option<u32> {
        (from..end).find(|n| self.taken[*n as usize / 64] & (1 << (n % 64)) == 0)
    }
}

impl Default for AsidPool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RMAP-06: a freed number is reused only after a flush, so that no translation of its former
    /// owner can be used.
    #[test]
    fn a_freed_number_is_reused_only_after_a_rollover() {
        let mut pool = AsidPool::new();
        let first = pool.take().unwrap();
        pool.give_back(first.asid);
        let mut flushed = false;
        for _ in 0..300 {
            let grant = pool.take().unwrap();
            flushed |= grant.rollover;
            assert!(grant.asid != first.asid || flushed);
            pool.give_back(grant.asid);
        }
        assert!(flushed);
    }

    /// RMAP-06: living spaces keep their numbers through a rollover.
    #[test]
    fn living_numbers_are_never_handed_out_again() {
        let mut pool = AsidPool::new();
        let kept: Vec<u16> = (0..5).map(|_| pool.take().unwrap().asid).collect();
        for _ in 0..1000 {
            let grant = pool.take().unwrap();
            assert!(grant.asid != 0 && !kept.contains(&grant.asid));
            pool.give_back(grant.asid);
        }
    }

    /// Eight bits give 255 living spaces, and then a refusal rather than a shared number.
    #[test]
    fn the_last_number_is_followed_by_a_refusal() {
        let mut pool = AsidPool::new();
        for _ in 0..255 {
            assert!(pool.take().is_some());
        }
        assert_eq!(pool.take(), None);
        pool.give_back(17);
        assert_eq!(pool.take(), Some(Grant { asid: 17, rollover: true }));
    }

    /// Sixteen bits give 65,535.
    #[test]
    fn sixteen_bits_are_used_where_the_cpu_has_them() {
        let mut pool = AsidPool::new();
        pool.set_bits(true);
        assert_eq!((0..65535).filter(|_| pool.take().is_some()).count(), 65535);
        assert_eq!(pool.take(), None);
    }
}
