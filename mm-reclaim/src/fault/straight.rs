//! The straight path of a fault: what it needs is at hand, and it never sleeps.
//!
//! ```text
//!   area lock shared? -> area known, access allowed, family there? -> table there? -> the entry
//!
//!   empty      store   a page above LOW, zeroed, mapped, given to the batch
//!   empty      load    the zero page
//!   present            young and dirty are set, if the entry allows the access
//!   swap               direct swap-in (`direct.rs`)
//! ```
//!
//! Whatever is not at hand ends the straight path with nothing changed: the pin is released, and
//! the fault goes on with the area lock that it has ([`Faults::slowly`], [`Faults::swap_slowly`]),
//! or waits for that ([`Faults::after_waiting`]).
//!
//! **Pinned.** The caller is not preempted from the beginning to the end ([`Pinned`]). No lock on
//! this path counts that a second time: each demands the [`Proof`]. In debug builds an environment
//! panics if something sleeps all the same.

use super::{Access, FaultEnd, Faults, Need, Patience, Site, count_fault, needs_copy};
use crate::base::sync::Proof;
use crate::base::units::Vpn;
use crate::base::wait::SharedGuard;
use crate::env::{Env, FrameMemory, Mapping, PageEntry, PageTables, Pinned, Pte};
use crate::page::PageRef;
use crate::space::{AreaFlags, AreaIndex, Backing, SpaceOf};
use crate::swap::{NotPresent, SwapEntry};
use crate::zone::gfp::Gfp;

/// The areas of a space, shared.
pub(super) type SharedAreas<'m, E> = SharedGuard<'m, AreaIndex<'m>, <E as Env>::Tasks>;

impl<'m, E: Env> Faults<'m, E> {
    /// Resolves a fault of user mode at `addr` in `space`.
    #[inline(always)]
    pub(crate) fn resolve<P: Pinned>(
        &'m self,
        space: &'m SpaceOf<'m, E>,
        addr: u64,
        access: Access,
        pinned: P,
    ) -> FaultEnd {
        let Some(vpn) = Vpn::of(addr) else {
            pinned.release();
            return FaultEnd::BadAddress;
        };
        let areas = match space.areas.share_now(self.env.tasks()) {
            Ok(areas) => areas,
            Err(wake) => {
                pinned.release();
                return self.after_waiting(space, vpn, access, wake);
            }
        };
        'straight: {
            let Some((place, area)) = areas.find(vpn) else { break 'straight };
            if !area.prot.contains(access.needs()) {
                break 'straight;
            }
            if area.family.is_none() && area.backing == Backing::Anonymous {
                break 'straight;
            }
            let site = Site { space, place, area, vpn, access };
            let proof = Proof::of(&pinned);
            let mut locked = space.tables.lock_pinned(proof);
            let Some(tables) = locked.as_mut() else { break 'straight };
            let Some(entry) = tables.entry(vpn) else { break 'straight };
            match entry.get() {
                Pte::None if site.wants_zero_page() => {
                    entry.fill(self.zero_mapping(&site));
                    return count_fault(space, FaultEnd::Minor);
                }
                Pte::None if area.backing != Backing::Anonymous => break 'straight,
                Pte::None => {
                    let Some(held) = self.touch(&site, entry) else { break 'straight };
                    let end = count_fault(space, FaultEnd::Minor);
                    drop(locked);
                    self.lru.add_pinned(held, proof);
                    return end;
                }
                Pte::Present(mapping) if !needs_copy(&site, mapping) => {
                    entry.mark_accessed(access.is_write());
                    return count_fault(space, FaultEnd::Minor);
                }
                Pte::Present(_) => break 'straight,
                Pte::NotPresent(word) => {
                    drop(entry);
                    drop(locked);
                    let NotPresent::Swap(entry) = NotPresent::decode(word);
                    let end = self.swap_in_pinned(space, place, vpn, access, entry, proof);
                    if end == Some(FaultEnd::Major) {
                        return FaultEnd::Major;
                    }
                    pinned.release();
                    return end
                        .unwrap_or_else(|| self.swap_slowly(areas, space, vpn, access, entry));
                }
            }
        }
        pinned.release();
        self.slowly(areas, space, vpn, access)
    }

    /// A first touch by a store: a page available, nothing locked into memory. Under the page-table
    /// lock; returns the reference for the batch.
    #[inline(always)]
    fn touch(&self, site: &Site<'m, E>, entry: impl PageEntry) -> Option<PageRef<'m>> {
        if site.area.flags.contains(AreaFlags::LOCKED) {
            return None;
        }
        let new = self.alloc.alloc_page_now(Gfp::HIGHUSER_MOVABLE)?;
        let pfn = self.map.pfn(new.page());
        self.env.frames().zero(pfn);
        let dirty = site.access.is_write();
        entry.fill(Mapping { pfn, prot: site.area.prot, young: true, dirty });
        Some(self.mapped(site, new))
    }

    /// The area lock is held or wanted exclusively.
    #[cold]
    #[inline(never)]
    fn after_waiting(
        &'m self,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
        access: Access,
        wake: bool,
    ) -> FaultEnd {
        let areas = space.areas.share_after(self.env.tasks(), wake);
        self.slowly(areas, space, vpn, access)
    }

    /// Something is missing: the area, its family, a table, a page.
    #[cold]
    #[inline(never)]
    fn slowly(
        &'m self,
        areas: SharedAreas<'m, E>,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
        access: Access,
    ) -> FaultEnd {
        let attempt = self.attempt(&areas, space, vpn, access, Patience::None);
        drop(areas);
        attempt.unwrap_or_else(|detour| self.take_detour(space, vpn, access, detour))
    }

    /// The page must come from the cache, or be read by a request.
    #[cold]
    #[inline(never)]
    fn swap_slowly(
        &'m self,
        areas: SharedAreas<'m, E>,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
        access: Access,
        entry: SwapEntry,
    ) -> FaultEnd {
        // The area is the one found last, and does not change.
        let Some((place, area)) = areas.find(vpn) else { return FaultEnd::BadAddress };
        let site = Site { space, place, area, vpn, access };
        let attempt = self.swap_in(site, entry, Patience::None);
        drop(areas);
        attempt.unwrap_or_else(|detour| self.take_detour(space, vpn, access, detour))
    }

    /// A fault on a swap entry, directly or through the cache.
    pub(super) fn swap_in(
        &self,
        site: Site<'m, E>,
        entry: SwapEntry,
        patience: Patience,
    ) -> Result<FaultEnd, super::Detour<'m, E>> {
        match self.swap_in_directly(site, entry) {
            Some(end) => Ok(end),
            None => self.swap_fault(site, entry, Need::Touch, patience),
        }
    }
}
