//! The flags of an allocation, with Linux's names. What follows from them for the zones is in
//! `zone/gfp.rs`.

use bitflags::bitflags;

bitflags! {
    /// How an allocation may proceed, with Linux's names.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Gfp: u32 {
        /// From zone DMA only.
        const DMA = 1 << 0;
        /// From zone DMA32 or below.
        const DMA32 = 1 << 1;
        /// The page can be moved or reclaimed.
        const MOVABLE = 1 << 2;
        /// The page belongs to a cache that a shrinker can free.
        const RECLAIMABLE = 1 << 3;
        /// Reclaim may start block I/O.
        const IO = 1 << 4;
        /// Reclaim may call into file systems.
        const FS = 1 << 5;
        /// The caller may reclaim, and so may sleep.
        const DIRECT_RECLAIM = 1 << 6;
        /// kswapd may be woken.
        const KSWAPD_RECLAIM = 1 << 7;
        /// The caller may use half of the reserve below MIN.
        const HIGH = 1 << 8;
        /// The caller cannot sleep and may use more of the reserve.
        const ATOMIC = 1 << 9;
        /// Failing is expected and not reported.
        const NOWARN = 1 << 10;
        /// One round of reclaim at most.
        const NORETRY = 1 << 11;
        /// Retry while there is progress, but do not kill.
        const RETRY_MAYFAIL = 1 << 12;
        /// The caller cannot handle failure.
        const NOFAIL = 1 << 13;
        /// The page is returned full of zeroes.
        const ZERO = 1 << 14;
        /// The caller needs the memory to free memory: no watermark applies.
        const MEMALLOC = 1 << 15;
        /// Not even a reclaiming caller may use the reserves.
        const NOMEMALLOC = 1 << 16;
        /// Charged to the caller's memory control group.
        const ACCOUNT = 1 << 17;

        /// Both ways of reclaim.
        const RECLAIM = Self::DIRECT_RECLAIM.bits() | Self::KSWAPD_RECLAIM.bits();
        /// For the kernel itself.
        const KERNEL = Self::RECLAIM.bits() | Self::IO.bits() | Self::FS.bits();
        /// For the kernel itself, without calling into file systems.
        const NOFS = Self::RECLAIM.bits() | Self::IO.bits();
        /// For the kernel itself, without starting I/O.
        const NOIO = Self::RECLAIM.bits();
        /// Without sleeping, without the reserve.
        const NOWAIT = Self::KSWAPD_RECLAIM.bits();
        /// Without sleeping, with the reserve.
        const ATOMIC_CONTEXT =
            Self::HIGH.bits() | Self::ATOMIC.bits() | Self::KSWAPD_RECLAIM.bits();
        /// For user programs.
        const USER = Self::KERNEL.bits();
        /// For the pages of user programs.
        const HIGHUSER_MOVABLE = Self::USER.bits() | Self::MOVABLE.bits();
    }
}
