//! What follows from the flags of a request.

use super::Gfp;
use crate::zone::{MigrateType, ZoneId};

/// BUDY-06, ZONE-03: the class zone is the lowest that a flag demands.
#[test]
fn the_class_zone_is_the_lowest_that_is_demanded() {
    let table = [
        (Gfp::KERNEL, ZoneId::Normal),
        (Gfp::KERNEL | Gfp::DMA32, ZoneId::Dma32),
        (Gfp::KERNEL | Gfp::DMA, ZoneId::Dma),
        (Gfp::KERNEL | Gfp::DMA | Gfp::DMA32, ZoneId::Dma),
        (Gfp::HIGHUSER_MOVABLE, ZoneId::Normal),
        (Gfp::empty(), ZoneId::Normal),
    ];
    for (gfp, zone) in table {
        assert_eq!(gfp.class_zone(), zone, "{gfp:?}");
    }
}

/// BUDY-06: the migrate type that pages of a request are grouped by.
#[test]
fn mobility_follows_the_flags() {
    let table = [
        (Gfp::KERNEL, MigrateType::Unmovable),
        (Gfp::ATOMIC_CONTEXT, MigrateType::Unmovable),
        (Gfp::KERNEL | Gfp::RECLAIMABLE, MigrateType::Reclaimable),
        (Gfp::HIGHUSER_MOVABLE, MigrateType::Movable),
    ];
    for (gfp, kind) in table {
        assert_eq!(gfp.migrate_type(), kind, "{gfp:?}");
    }
}

/// BUDY-06: what the combined flags permit and what they do not.
#[test]
fn the_compounds_permit_what_their_names_say() {
    assert!(Gfp::KERNEL.contains(Gfp::RECLAIM | Gfp::IO | Gfp::FS));
    assert!(Gfp::NOFS.contains(Gfp::RECLAIM | Gfp::IO) && !Gfp::NOFS.contains(Gfp::FS));
    assert!(Gfp::NOIO.contains(Gfp::RECLAIM) && !Gfp::NOIO.intersects(Gfp::IO | Gfp::FS));
    for cannot_sleep in [Gfp::NOWAIT, Gfp::ATOMIC_CONTEXT] {
        assert!(!cannot_sleep.contains(Gfp::DIRECT_RECLAIM));
        assert!(cannot_sleep.contains(Gfp::KSWAPD_RECLAIM));
    }
    assert!(!Gfp::NOWAIT.intersects(Gfp::HIGH | Gfp::ATOMIC));
    assert!(Gfp::ATOMIC_CONTEXT.contains(Gfp::HIGH | Gfp::ATOMIC));
    assert_eq!(Gfp::HIGHUSER_MOVABLE, Gfp::USER | Gfp::MOVABLE);
}

/// BUDY-06: each name is a distinct flag.
#[test]
fn no_two_flags_share_a_bit() {
    let names = [
        Gfp::DMA,
        Gfp::DMA32,
        Gfp::MOVABLE,
        Gfp::RECLAIMABLE,
        Gfp::IO,
        Gfp::FS,
        Gfp::DIRECT_RECLAIM,
        Gfp::KSWAPD_RECLAIM,
        Gfp::HIGH,
        Gfp::ATOMIC,
        Gfp::NOWARN,
        Gfp::NORETRY,
        Gfp::RETRY_MAYFAIL,
        Gfp::NOFAIL,
        Gfp::ZERO,
        Gfp::MEMALLOC,
        Gfp::NOMEMALLOC,
        Gfp::ACCOUNT,
    ];
    let all = names.iter().fold(Gfp::empty(), |all, name| all | *name);
    assert_eq!(all.bits().count_ones() as usize, names.len());
}

#[test]
fn a_migrate_type_is_read_back_as_it_was_written() {
    for kind in MigrateType::ALL {
        assert_eq!(MigrateType::from_raw(kind as u8), kind);
    }
    crate::tests::panic_of(|| MigrateType::from_raw(MigrateType::COUNT as u8));
}
