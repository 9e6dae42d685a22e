//! Verdicts: the fate of a page, and the reason.
//!
//! Each reason is a variant and each variant is counted, so a page that reclaim scanned always
//! shows up under exactly one name (OBS-03).

use core::ops::ControlFlow;

use crate::base::stat::Counters;
use crate::page::{FrozenPage, IsolatedPage, LockedPage};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            #[repr(u8)]
            pub enum $name { $($(#[$vdoc])* $variant,)* }

            impl $name {
                /// Every reason of this kind.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            }
        )*
    };
}

reasons! {
    /// Why a page stays where it is.
    KeepReason {
        /// Another task holds its lock (SPL-01).
        LockedElsewhere,
        /// It is mapped and may not be unmapped (SPL-03).
        MayNotUnmap,
        /// It was referenced once (SPL-08).
        Referenced,
        /// It has no slot and I/O may not be started (SPL-09).
        NoIo,
        /// It was referenced, so it is reclaimed only if clean, and it is not (SPL-19).
        ReferencedDirty,
        /// The file system may not be entered (SPL-19).
        MayNotEnter,
        /// Writing is off (SPL-19).
        MayNotWrite,
        /// Its slot has no user any more and was released (SPL-14).
        SlotUnused,
        /// It is being written (SPL-14).
        InFlight,
        /// It was dirtied while it was written (SPL-14).
        DirtyAgain,
        /// Its lock was taken while it was written (SPL-14).
        LockLost,
        /// It belongs to no cache (SPL-16).
        NoMapping,
        /// There is another reference (SPL-16).
        ExtraReference,
        /// It became dirty at the last moment (SPL-16).
        FoundDirty,
        /// Lazily freed, but shared or dirty at the last moment (SPL-10).
        LazyFreeBusy,
    }

    /// Why a page goes to the active list.
    ActivateReason {
        /// It was referenced (SPL-08).
        Referenced,
        /// Under write-back while the zone is full of such pages (SPL-05).
        ImmediateWriteback,
        /// Under write-back (SPL-06).
        UnderWriteback,
        /// There is no free slot (SPL-09).
        NoSlot,
        /// It could not be unmapped (SPL-12).
        UnmapFailed,
        /// A dirty file page, left to the flusher (SPL-13).
        DirtyFile,
        /// Writing it could not be started: its store refuses, or its slot is broken and it
        /// could not leave it (SPL-14).
        PageoutFailed,
        /// The device could not write it: it stays, dirty (SWAP-07).
        WriteFailed,
        /// Its private data could not be released (SPL-15).
        PrivateBusy,
        /// Lazily freed, then written again (SPL-10).
        LazyFreeDirty,
    }

    /// Why a page goes to the unevictable list.
    CullReason {
        /// Found locked into memory (SPL-02).
        Unevictable,
        /// Found locked into memory when it was to be unmapped (SPL-12).
        LockedMapping,
    }

    /// Why a page was freed.
    FreeReason {
        /// It was clean.
        Clean,
        /// It was written out in this pass.
        Written,
        /// It was referenced, and so were all that reclaim looked at for a while before it
        /// (CTRL-06).
        Overdue,
        /// It was lazily freed (SPL-10).
        LazyFreed,
        /// It had no users any more (SPL-15).
        Orphan,
    }
}

/// Any of the reasons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Stays.
    Keep(KeepReason),
    /// To the active list.
    Activate(ActivateReason),
    /// To the unevictable list.
    Cull(CullReason),
    /// Freed.
    Free(FreeReason),
}

impl Reason {
    /// The number of reasons.
    pub const COUNT: usize = KeepReason::ALL.len()
        + ActivateReason::ALL.len()
        + CullReason::ALL.len()
        + FreeReason::ALL.len();

    /// The position of the reason among all.
    pub const fn index(self) -> usize {
        let (keep, activate) = (KeepReason::ALL.len(), ActivateReason::ALL.len());
        match self {
            Self::Keep(r) => r as usize,
            Self::Activate(r) => keep + r as usize,
            Self::Cull(r) => keep + activate + r as usize,
            Self::Free(r) => keep + activate + CullReason::ALL.len() + r as usize,
        }
    }

    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let keep = KeepReason::ALL.iter().map(|r| Self::Keep(*r));
        let activate = ActivateReason::ALL.iter().map(|r| Self::Activate(*r));
        let cull = CullReason::ALL.iter().map(|r| Self::Cull(*r));
        keep.chain(activate).chain(cull).chain(FreeReason::ALL.iter().map(|r| Self::Free(*r)))
    }
}

/// Counters of the reasons.
pub type VerdictCounters<C> = Counters<C, { Reason::COUNT }>;

/// The fate of a page.
#[must_use = "a verdict owns its page"]
pub(crate) enum Verdict<'m> {
    /// Back to the list that it came from.
    Keep(IsolatedPage<'m>, KeepReason),
    /// To the active list.
    Activate(IsolatedPage<'m>, ActivateReason),
    /// To the unevictable list.
    Cull(IsolatedPage<'m>, CullReason),
    /// To its zone.
    Free(FrozenPage<'m>, FreeReason),
    /// To its last holder, who frees it.
    Left(FreeReason),
    /// Undecided: it is no longer mapped, and waits, locked, for the flush of its batch.
    Unmapped(LockedPage<'m>, Terms),
}

/// On which terms a page goes on after its references were checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// It is freed.
    Free,
    /// It is freed if it is clean.
    FreeClean,
    /// It is freed although it was referenced.
    Overdue,
}

/// A step of the ladder: the locked page, or its verdict.
pub(crate) type Stage<'m, T = LockedPage<'m>> = ControlFlow<Verdict<'m>, T>;

#[cfg(test)]
mod tests {
    use super::*;

    /// OBS-03: no two reasons share a counter.
    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut seen = [false; Reason::COUNT];
        for reason in Reason::all() {
            assert!(!core::mem::replace(&mut seen[reason.index()], true), "{reason:?}");
        }
        assert!(seen.iter().all(|s| *s));
    }
}
