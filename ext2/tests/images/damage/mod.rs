//! Images with damage where the format has structure: whatever is in them, each call ends soon, and
//! without a panic.

mod cases;
mod exercise;
mod harm;
mod target;

use std::rc::Rc;

use self::target::Target;
use crate::support::disk::Cache;
use crate::support::random::{Rng, for_seeds, is_long};
use crate::support::tools::Folder;

/// Damages a copy of one of the images, and does with it what a kernel does. Returns whether it could be
/// mounted.
fn try_one(seed: u64, targets: &[Target]) -> bool {
    let mut rng = Rng::new(seed);
    let target = rng.pick(targets);
    let cache = Cache::over(Rc::clone(&target.image));
    for _ in 0..1 + rng.below(6) {
        harm::harm(&cache, target, &mut rng);
    }
    exercise::exercise(&cache, &mut rng)
}

#[test]
fn damage_is_an_error_and_no_more() {
    let folder = Folder::new();
    let targets = target::all(&folder);
    let mut mounted = 0_u64;
    let count = if is_long() { 1_000_000 } else { 20_000 };
    for_seeds("damage_is_an_error_and_no_more", 0..count, |seed| {
        mounted += u64::from(try_one(seed, &targets));
    });
    println!("{mounted} could be mounted");
    assert!(mounted > count / 4 || std::env::var_os("EXT2_SEED").is_some(), "{mounted}");
}
