//! Blocks that cannot be read or written in the middle of a call: what is left is safe.
//!
//! Blocks and inodes may belong to nobody, and an inode may count names that it does not have. But nothing
//! leads to what is free, no two files share a block, and no inode has a name more than it counts.

use ext2::layout::inode::Kind;
use ext2::{Exchange, Ext2, Gone, New};

use crate::support::disk::Cache;
use crate::support::files::Fs;
use crate::support::model::Model;
use crate::support::plant::{self, Shape, Size};
use crate::support::random::{Rng, for_seeds, is_long};
use crate::support::tools::{Folder, e2fsck, text};
use crate::support::verify;

#[test]
fn what_an_error_in_a_call_leaves_is_safe() {
    let folder = Folder::new();
    let size = Size { nodes: 60, file_bytes: 50_000, is_sparse: false, is_wide: false };
    let model = plant::tree(&mut Rng::new(1), &size, 1024);
    let options = vec!["-g".to_string(), "512".to_string()];
    let shape = Shape { block_bytes: 1024, options, spare_inodes: 60, spare_blocks: 1000 };
    let image = std::rc::Rc::new(plant::image(&folder, &model, &shape));
    let mut failed = 0;
    let count = if is_long() { 20_000 } else { 200 };
    for_seeds("what_an_error_in_a_call_leaves_is_safe", 0..count, |seed| {
        let mut rng = Rng::new(seed);
        let cache = Cache::over(std::rc::Rc::clone(&image));
        failed += u64::from(trouble(&cache, &model, &mut rng));
        assert_safe(&folder, &cache);
    });
    assert!(failed > count / 2 || std::env::var_os("EXT2_SEED").is_some(), "{failed} have failed");
}

/// Makes some calls, and lets one fail; returns whether it has.
fn trouble(cache: &Cache, model: &Model, rng: &mut Rng) -> bool {
    let superblock = cache.superblock().expect("a superblock");
    let (fs, mut writer) = Ext2::mount(cache, &superblock, false).expect("it can be mounted");
    let numbers = verify::assert_same(&fs, model);
    let mut names: Vec<(u32, Vec<u8>)> = Vec::new();
    for (dir, name, _) in model.all() {
        if name != b"lost+found" {
            names.push((numbers[&dir], name));
        }
    }
    let files: Vec<u32> =
        numbers.iter().filter(|(id, _)| model.is_file(**id)).map(|(_, number)| *number).collect();
    let mut has_failed = false;
    for _ in 0..4 {
        let count = if rng.percent(70) { 1 } else { 1 + rng.below(30) };
        cache.fail(rng.below(40), count);
        has_failed |= call(&fs, &mut writer, &names, &files, rng) == Err(ext2::Error::Io);
        cache.fail(0, 0);
    }
    fs.unmount(&writer).expect("it can be unmounted");
    has_failed
}

fn call(
    fs: &Fs<'_>,
    writer: &mut ext2::Writer,
    names: &[(u32, Vec<u8>)],
    files: &[u32],
    rng: &mut Rng,
) -> Result<(), ext2::Error> {
    let (dir, old) = rng.pick(names);
    let (to, other) = rng.pick(names);
    let new = plant::name(rng);
    let made = |kind: Kind| New { mode: kind.mode_bits() | 0o700, owner: [0; 2] };
    let file = *rng.pick(files);
    // One that is gone is not used any more.
    fs.inode(file)?;
    let mut gone: Option<Gone> = None;
    let done = match rng.below(9) {
        0 => fs.make(writer, *dir, &new, made(Kind::File)).map(drop),
        1 => fs.make_dir(writer, *dir, &new, made(Kind::Directory)).map(drop),
        2 => fs.make_symlink(writer, *dir, &new, &[b'x'; 100], [0; 2]).map(drop),
        3 => fs.link(writer, file, *dir, &new),
        4 => fs.unlink(writer, *dir, old).map(|it| gone = Some(it)),
        5 => fs.remove_dir(writer, *dir, old).map(|it| gone = Some(it)),
        6 => {
            let exchange = *rng.pick(&[Exchange::Replace, Exchange::Both]);
            fs.rename(writer, (*dir, old), (*to, other), exchange).map(|it| gone = it)
        }
        7 => fs.rename(writer, (*dir, old), (*to, &new), Exchange::Replace).map(|it| gone = it),
        _ => {
            let at = fs.locate(file)?;
            let from = rng.below(60) as u32;
            let reserved = fs.reserve_run(writer, at, from, 1 + rng.below(9) as u32).map(drop);
            match rng.below(2) {
                0 => reserved,
                _ => reserved.and_then(|()| fs.cut(writer, at, from / 2..u32::MAX)),
            }
        }
    };
    if let Some(gone) = gone.filter(|gone| gone.is_last) {
        let at = fs.locate(gone.number)?;
        while !fs.end_step(writer, at)? {}
    }
    done
}

/// `e2fsck` finds nothing but what belongs to nobody.
fn assert_safe(folder: &Folder, cache: &Cache) {
    let output = e2fsck(&folder.image(&cache.image()), "-fn");
    let said = text(&output);
    let mut missing = 0;
    for line in said.lines() {
        let numbers = |text: &str| -> Vec<u32> {
            let parts = text.split(|c: char| !c.is_ascii_digit());
            parts.filter_map(|part| part.parse().ok()).collect()
        };
        if line.contains("ref count is") {
            let [_, count, names] = numbers(line)[..] else { panic!("{line}") };
            missing += names.saturating_sub(count);
        }
        if line.starts_with("Symlink ... ") {
            // One that has no name yet, and no target.
            continue;
        }
        let differs = line.contains("bitmap differences");
        assert!(!differs || !line.contains('+'), "something in use is marked as free: {said}");
        let unsafe_words = [
            "deleted/unused",
            "multiply-claimed",
            "illegal",
            "Illegal",
            "bad",
            "invalid",
            "corrupt",
        ];
        assert!(!unsafe_words.iter().any(|word| line.contains(word)), "{said}");
    }
    // A directory that nothing leads to still names its parent, which does not count that.
    let lost = said.lines().filter(|line| line.starts_with("Unconnected directory")).count();
    assert!(missing as usize <= lost, "{said}");
}
