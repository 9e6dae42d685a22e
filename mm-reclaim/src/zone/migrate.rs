//! Migrate types: how pages are grouped by mobility.

/// The mobility of a page, by which pageblocks are grouped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum MigrateType {
    /// Cannot be moved.
    Unmovable,
    /// Can be moved or reclaimed.
    Movable,
    /// Can be freed by a shrinker.
    Reclaimable,
    /// Reserve of whole blocks for callers that cannot sleep.
    HighAtomic,
    /// Must not be allocated at present.
    Isolate,
}

impl MigrateType {
    /// Migrate types.
    pub const COUNT: usize = 5;
    /// Every migrate type.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Unmovable, Self::Movable, Self::Reclaimable, Self::HighAtomic, Self::Isolate];

    /// The type that `raw` encodes.
    ///
    /// # Panics
    /// If it encodes none.
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::Unmovable,
            1 => Self::Movable,
            2 => Self::Reclaimable,
            3 => Self::HighAtomic,
            4 => Self::Isolate,
            _ => panic!("no migrate type"),
        }
    }
}
