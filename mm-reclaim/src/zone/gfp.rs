//! What an allocation may do: the `gfp` flags, and what follows from them.

use super::{MigrateType, Reach, ZoneId};
pub use crate::base::gfp::Gfp;
use crate::env::TaskFlags;

impl Gfp {
    /// The mobility of the requested page.
    pub const fn migrate_type(self) -> MigrateType {
        if self.contains(Self::MOVABLE) {
            MigrateType::Movable
        } else if self.contains(Self::RECLAIMABLE) {
            MigrateType::Reclaimable
        } else {
            MigrateType::Unmovable
        }
    }

    /// The highest zone that may serve the request: its class zone.
    pub const fn class_zone(self) -> ZoneId {
        if self.contains(Self::DMA) {
            ZoneId::Dma
        } else if self.contains(Self::DMA32) {
            ZoneId::Dma32
        } else {
            ZoneId::Normal
        }
    }

    /// How far below MIN a request of a task with these flags may go (BUDY-05).
    pub fn reach(self, flags: TaskFlags) -> Reach {
        if !self.contains(Self::NOMEMALLOC)
            && (self.contains(Self::MEMALLOC) || flags.contains(TaskFlags::MEMALLOC))
        {
            return Reach::NO_WATERMARKS;
        }
        let mut reach = Reach::empty();
        reach.set(Reach::HIGH, self.contains(Self::HIGH));
        reach.set(Reach::HARDER, self.contains(Self::ATOMIC));
        reach.set(Reach::OOM, flags.contains(TaskFlags::OOM_VICTIM));
        reach
    }
}

#[cfg(test)]
mod tests;
