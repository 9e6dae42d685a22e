//! Trees that `mke2fs` has written are read; what the crate makes of them, `debugfs` reads and `e2fsck`
//! has nothing to complain about.

use crate::choices::{Menu, step};
use crate::support::content::Content;
use crate::support::disk::Cache;
use crate::support::model::{Body, Model, ROOT};
use crate::support::plant::{self, Shape, Size};
use crate::support::random::{Rng, for_seeds, is_long};
use crate::support::session::Session;
use crate::support::tools::{Folder, assert_clean, debugfs, path};
use crate::support::verify::assert_same_folder;

/// Files that are larger are not copied to the host: `debugfs` writes their holes.
const MOST_COPIED: u64 = 16 << 20;

/// Files of many sizes, in many images.
#[test]
fn random_trees_survive_random_calls() {
    let mut full = 0;
    for_seeds("random_trees_survive_random_calls", 0..if is_long() { 1000 } else { 40 }, |seed| {
        full += round_trip(seed);
    });
    assert!(full > 0 || std::env::var_os("EXT2_SEED").is_some(), "some were full");
}

/// Returns how often there was no room.
fn round_trip(seed: u64) -> u32 {
    let mut rng = Rng::new(seed);
    let shape = Shape::random(&mut rng);
    let is_sparse = rng.percent(40) && !shape.is_first_revision();
    let size = Size { nodes: 5 + rng.below(60), file_bytes: 400 << 10, is_sparse, is_wide: true };
    let model = plant::tree(&mut rng, &size, shape.block_bytes);
    let folder = Folder::new();
    let cache = Cache::new(plant::image(&folder, &model, &shape));
    let mut session = Session::start(&cache, model);
    let menu = Menu { write_bytes: 60_000, is_sparse, is_rude: true };
    for _ in 0..100 + rng.below(500) {
        step(&mut session, &mut rng, &menu);
    }
    let full = session.full;
    let model = session.finish();
    assert_clean(&folder.image(&cache.image()));
    let model = shrink(&cache, model, &folder);
    assert_copied(&folder, &model);
    full
}

/// Mounts it again, and takes away what is too large to be copied.
fn shrink(cache: &Cache, model: Model, folder: &Folder) -> Model {
    let mut session = Session::start(cache, model);
    let is_large =
        |body: &Body| matches!(body, Body::File(Content { size, .. }) if *size > MOST_COPIED);
    let nodes = session.model.nodes.iter();
    let large: Vec<usize> = nodes.filter(|(_, n)| is_large(&n.body)).map(|(id, _)| *id).collect();
    large.iter().for_each(|id| session.truncate(*id, 0));
    let model = session.finish();
    let image = folder.image(&cache.image());
    if !large.is_empty() {
        assert_clean(&image);
    }
    model
}

/// `debugfs` copies the model out of the image.
fn assert_copied(folder: &Folder, model: &Model) {
    let out = folder.sub("out");
    debugfs(&folder.path().join("image"), false, &format!("rdump / {}", path(&out)));
    assert_same_folder(&out, model, ROOT);
}
