//! Damage that once was not noticed, or not soon enough.

use ext2::layout::inode::Kind;
use ext2::{Error, Exchange, Ext2, Fresh, New, ROOT, Writer};

use crate::support::disk::Cache;
use crate::support::files::Fs;
use crate::support::tools::{Folder, make_image};

const FILE: New = New { mode: Kind::File.mode_bits() | 0o644, owner: [0; 2] };
const FOLDER: New = New { mode: Kind::Directory.mode_bits() | 0o755, owner: [0; 2] };

/// An empty file system of 512 blocks.
fn empty() -> Cache {
    let image = make_image(&Folder::new(), None, &["-b", "1024", "-N", "32"], 512);
    Cache::new(image.expect("there is room"))
}

fn mount(cache: &Cache) -> (Fs<'_>, Writer) {
    let superblock = cache.superblock().expect("a superblock");
    Ext2::mount(cache, &superblock, false).expect("it can be mounted")
}

#[test]
fn directories_in_a_circle_are_left_soon() {
    let cache = empty();
    let (fs, mut writer) = mount(&cache);
    let one = fs.make_dir(&mut writer, ROOT, b"one", FOLDER).expect("there is room");
    fs.make_dir(&mut writer, ROOT, b"two", FOLDER).expect("there is room");
    let (at, inode) = fs.inode(one).expect("it was made");
    // Its parent is itself.
    cache.damage(inode.block[0], |bytes| bytes[12..16].copy_from_slice(&one.to_le_bytes()));
    let before = cache.calls();
    let moved = fs.rename(&mut writer, (ROOT, b"two"), (one, b"two"), Exchange::Replace);
    assert_eq!(moved, Err(Error::Corrupt { what: "directories in a circle", at: at.number }));
    assert!(cache.calls() - before < 200, "{}", cache.calls() - before);
}

/// A goal is behind the block before, which may be the last that a number can name.
#[test]
fn the_largest_block_number_has_none_behind_it() {
    let cache = empty();
    let (fs, mut writer) = mount(&cache);
    let number = fs.make(&mut writer, ROOT, b"file", FILE).expect("there is room");
    let (at, mut inode) = fs.inode(number).expect("it was made");
    inode.block[0] = u32::MAX;
    fs.store(at, &inode).expect("it can be stored");
    assert!(matches!(fs.reserve(&mut writer, at, 1), Ok(Fresh::New(_))));
    assert!(fs.cut(&mut writer, at, 0..u32::MAX).is_err(), "it has lost a block that is none");
}

/// A directory has a block behind its end, with anything in it: it is not taken for an empty one.
#[test]
fn a_block_behind_the_end_of_a_directory_is_damage() {
    let cache = empty();
    let (fs, mut writer) = mount(&cache);
    let dir = fs.make_dir(&mut writer, ROOT, b"dir", FOLDER).expect("there is room");
    let file = fs.make(&mut writer, ROOT, b"file", FILE).expect("there is room");
    let (at, mut inode) = fs.inode(dir).expect("it was made");
    let other = fs.locate(file).expect("it was made");
    let Ok(Fresh::New(block)) = fs.reserve(&mut writer, other, 0) else { panic!("no block") };
    cache.damage(block, |bytes| bytes.fill(0xff));
    inode.block[1] = block;
    fs.store(at, &inode).expect("it can be stored");
    let mut refused = None;
    for at in 0..20 {
        let name = format!("{at}-{}", "z".repeat(200));
        match fs.link(&mut writer, file, dir, name.as_bytes()) {
            Ok(()) => assert_eq!(fs.lookup(dir, name.as_bytes()), Ok(file), "it was not made"),
            Err(error) => refused = Some(error),
        }
    }
    assert!(matches!(refused, Some(Error::Corrupt { .. })), "{refused:?}");
}

/// The superblock and the descriptors are not given to files, whatever the bitmap says.
#[test]
fn the_superblock_is_never_free() {
    for bit in [0, 1] {
        let cache = empty();
        let (fs, mut writer) = mount(&cache);
        let number = fs.make(&mut writer, ROOT, b"file", FILE).expect("there is room");
        let at = fs.locate(number).expect("it was made");
        cache.damage(bitmap(&cache), |bytes| {
            bytes.fill(0xff);
            bytes[0] ^= 1 << bit;
        });
        let what = "bookkeeping is marked as free";
        let reserved = fs.reserve(&mut writer, at, 0);
        assert_eq!(reserved, Err(Error::Corrupt { what, at: 1 + bit }));
        let (_, mut inode) = fs.inode(number).expect("it is there");
        inode.block[0] = 1 + bit;
        fs.store(at, &inode).expect("it can be stored");
        let what = "bookkeeping in a file";
        assert_eq!(fs.cut(&mut writer, at, 0..1), Err(Error::Corrupt { what, at: 1 + bit }));
    }
}

/// The first inodes are reserved, whatever the bitmap says.
#[test]
fn a_reserved_inode_is_never_free() {
    let cache = empty();
    let (fs, mut writer) = mount(&cache);
    cache.damage(bitmap(&cache) + 1, |bytes| {
        bytes.fill(0xff);
        bytes[0] = 0;
    });
    assert_eq!(fs.make(&mut writer, ROOT, b"file", FILE), Err(Error::NoSpace));
}

/// The block bitmap of the first group.
fn bitmap(cache: &Cache) -> u32 {
    let descriptors = ext2::Disk::look(&cache, 2, |bytes| bytes[..4].to_vec());
    u32::from_le_bytes(descriptors.expect("it is there").try_into().expect("four bytes"))
}
