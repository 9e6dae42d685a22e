//! The killer's report: the state of memory, the candidates, the victim.
//!
//! A value to be displayed, so that nothing is allocated where there is no memory; the numbers are
//! those of the moment at which it is displayed.

use core::fmt;

use super::{Oom, Shortage};
use crate::env::{Env, Tasks};
use crate::page::LruList;
use crate::space::SpaceId;
use crate::zone::Mark;

/// Candidates that are listed; the rest are counted.
const MOST_LISTED: usize = 32;

pub(super) struct OomReport<'a, 'm, E: Env> {
    oom: &'a Oom<'m, E>,
    shortage: Shortage,
    victim: SpaceId,
}

impl<'m, E: Env> Oom<'m, E> {
    pub(super) fn oom_report(&self, shortage: Shortage, victim: SpaceId) -> OomReport<'_, 'm, E> {
        OomReport { oom: self, shortage, victim }
    }
}

impl<E: Env> OomReport<'_, '_, E> {
    fn write_zones(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<8}{:>9}{:>9}{:>9}", "zone", "free", "min", "managed")?;
        writeln!(out, "{:>9}{:>9}{:>9}", "inactive", "active", "unevict")?;
        for zone in self.oom.zones.iter() {
            let lruvec = self.oom.lru.set.in_zone(zone.id());
            let size = |lists: &[LruList]| lists.iter().map(|l| lruvec.size(*l)).sum::<u32>();
            let (free, min) = (zone.free() + zone.pcp_pages(), zone.true_mark(Mark::Min));
            write!(out, "{:<8}{free:>9}{min:>9}{:>9}", zone.id().name(), zone.managed())?;
            let inactive = size(&[LruList::InactiveAnon, LruList::InactiveFile]);
            let active = size(&[LruList::ActiveAnon, LruList::ActiveFile]);
            let unevictable = size(&[LruList::Unevictable]);
            writeln!(out, "{inactive:>9}{active:>9}{unevictable:>9}")?;
        }
        let (total, free) = self.oom.swap.pages();
        writeln!(out, "swap: {free} of {total} slots free")
    }

    fn write_candidates(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<8}{:>9}{:>9}{:>9}", "space", "resident", "swapped", "tables")?;
        writeln!(out, "{:>7}{:>9}  owner", "adj", "badness")?;
        for (id, badness) in self.oom.oom_candidates().take(MOST_LISTED) {
            let stat = self.oom.spaces.stat(id);
            write!(out, "{:<8}{:>9}{:>9}", id, stat.resident, stat.swapped)?;
            let adj = self.oom.oom_score_adj(id).unwrap_or_default();
            write!(out, "{:>9}{adj:>7}{badness:>9}  ", stat.table_frames)?;
            self.write_owner(id, out)?;
            writeln!(out)?;
        }
        match self.oom.oom_candidates().skip(MOST_LISTED).count() {
            0 => Ok(()),
            more => writeln!(out, "and {more} more"),
        }
    }

    fn write_owner(&self, id: SpaceId, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.oom.env.tasks().write_owner(id, out)
    }
}

impl<E: Env> fmt::Display for OomReport<'_, '_, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shortage, victim, .. } = self;
        let class = shortage.gfp.class_zone().name();
        writeln!(out, "out of memory: {} pages from {class}", shortage.order.pages())?;
        self.write_zones(out)?;
        self.write_candidates(out)?;
        write!(out, "killed: space {victim} ")?;
        self.write_owner(*victim, out)
    }
}
