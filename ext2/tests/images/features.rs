//! Which file systems are used, which are only read, and which are refused, and how the end is noted.

use ext2::layout::inode::Kind;
use ext2::layout::superblock::{ERRORS, Superblock, VALID};
use ext2::{Error, Exchange, Ext2, Mode, MountError, New, ROOT, Writer};

use crate::support::disk::{Cache, Event};
use crate::support::model::{self, Model};
use crate::support::plant::{self, Shape, Size};
use crate::support::random::Rng;
use crate::support::session::Session;
use crate::support::tools::{Folder, assert_clean, debugfs, make_image};

/// An empty image.
fn made(folder: &Folder, options: &[&str]) -> Vec<u8> {
    make_image(folder, None, options, 4096).expect("there is room")
}

/// A small tree, and its image.
fn planted(folder: &Folder, options: &[&str]) -> (Model, Vec<u8>) {
    let size = Size { nodes: 20, file_bytes: 50_000, is_sparse: false, is_wide: false };
    let model = plant::tree(&mut Rng::new(7), &size, 1024);
    let options = options.iter().map(|option| (*option).to_string()).collect();
    let shape = Shape { block_bytes: 1024, options, spare_inodes: 50, spare_blocks: 400 };
    let image = plant::image(folder, &model, &shape);
    (model, image)
}

fn superblock(image: &[u8]) -> Result<Superblock, MountError> {
    Superblock::parse(&image[1024..2048], image.len() as u64)
}

#[test]
fn features_that_change_the_format_are_refused_by_name() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 12] = [
        (&["-O", "extent"], "extent"),
        (&["-O", "extent,64bit"], "extent 64bit"),
        (&["-O", "flex_bg"], "flex_bg"),
        (&["-O", "^resize_inode,meta_bg"], "meta_bg"),
        (&["-O", "mmp"], "mmp"),
        (&["-O", "inline_data"], "inline_data"),
        (&["-O", "encrypt"], "encrypt"),
        (&["-O", "casefold"], "casefold"),
        (&["-O", "ea_inode"], "ea_inode"),
        (&["-O", "large_dir"], "large_dir"),
        (&["-O", "metadata_csum,metadata_csum_seed"], "metadata_csum_seed"),
        (&["-O", "journal_dev", "-b", "1024"], "journal_dev"),
    ];
    for (options, name) in cases {
        let error = superblock(&made(&folder, options)).expect_err(name);
        let MountError::Features(unknown) = error else { panic!("{name}: {error}") };
        assert_eq!(unknown.to_string(), name);
    }
}

#[test]
fn features_that_forbid_changes_are_named() {
    let folder = Folder::new();
    let names = [
        "huge_file",
        "uninit_bg",
        "dir_nlink",
        "extra_isize",
        "metadata_csum",
        "project",
        "verity",
    ];
    for name in names {
        let superblock = superblock(&made(&folder, &["-O", name])).expect(name);
        let unknown = superblock.read_only.unwrap_or_else(|| panic!("{name} is not noticed"));
        assert!(unknown.to_string().contains(name), "{name}: {unknown}");
    }
}

/// The journal of a file system that was unmounted cleanly is empty, and a file like others.
#[test]
fn a_journal_does_no_harm_unless_something_is_in_it() {
    let folder = Folder::new();
    let (model, image) = planted(&folder, &["-J", "size=1"]);
    let cache = Cache::new(image);
    let mut session = Session::start(&cache, model);
    session.make(model::ROOT, b"another", 0o644);
    session.finish();
    let image = folder.image(&cache.image());
    assert_clean(&image);
    debugfs(&image, true, "feature needs_recovery");
    let error = superblock(&std::fs::read(&image).expect("it is there"));
    let Err(MountError::Features(unknown)) = error else { panic!("{error:?}") };
    assert_eq!(unknown.to_string(), "needs_recovery");
}

/// Each call that would change something is refused, and the device is as it was.
fn assert_read_only(image: &[u8], read_only: bool, model: &Model) -> Mode {
    let cache = Cache::new(image.to_vec());
    let superblock = cache.superblock().expect("a superblock");
    let (fs, mut w) = Ext2::mount(&cache, &superblock, read_only).expect("it can be read");
    let numbers = crate::support::verify::assert_same(&fs, model);
    let all = model.all();
    let mut files = all.iter().filter(|(_, _, id)| model.is_file(*id));
    let (dir, name, id) = files.next().expect("a file");
    let (dir, number) = (numbers[dir], numbers[id]);
    let at = fs.locate(number).expect("an inode");
    let inode = fs.load(at).expect("an inode");
    let file = New { mode: Kind::File.mode_bits(), owner: [0; 2] };
    let folder = New { mode: Kind::Directory.mode_bits(), owner: [0; 2] };
    let denied = Error::ReadOnly;
    assert_eq!(fs.make(&mut w, dir, b"new", file), Err(denied));
    assert_eq!(fs.make_dir(&mut w, dir, b"new", folder), Err(denied));
    assert_eq!(fs.make_symlink(&mut w, dir, b"new", b"x", [0; 2]), Err(denied));
    assert_eq!(fs.make_unnamed(&mut w, dir, file), Err(denied));
    assert_eq!(fs.link(&mut w, number, dir, b"new"), Err(denied));
    assert_eq!(fs.unlink(&mut w, dir, name), Err(denied));
    assert_eq!(fs.remove_dir(&mut w, ROOT, b"lost+found"), Err(denied));
    for exchange in [Exchange::Replace, Exchange::Never] {
        assert_eq!(fs.rename(&mut w, (dir, name), (dir, b"new"), exchange), Err(denied));
    }
    let other = (ROOT, &b"lost+found"[..]);
    assert_eq!(fs.rename(&mut w, (dir, name), other, Exchange::Both), Err(denied));
    assert_eq!(fs.reserve(&mut w, at, 1_000_000), Err(denied));
    assert_eq!(fs.cut(&mut w, at, 0..u32::MAX), Err(denied));
    assert_eq!(fs.end_step(&mut w, at), Err(denied));
    assert_eq!(fs.set_size(&mut w, at, 1), Err(denied));
    assert_eq!(fs.store(at, &inode), Err(denied));
    w.note_damage();
    assert_eq!((fs.sync(&w), fs.unmount(&w)), (Ok(()), Ok(())));
    assert!(cache.image() == image, "something was changed");
    fs.mode()
}

#[test]
fn what_may_only_be_read_is_not_changed() {
    let folder = Folder::new();
    let (model, image) = planted(&folder, &[]);
    assert_eq!(assert_read_only(&image, true, &model), Mode::ReadOnly);
    let (model, image) = planted(&Folder::new(), &["-O", "metadata_csum"]);
    let mode = assert_read_only(&image, false, &model);
    let Mode::Features(unknown) = mode else { panic!("{mode:?}") };
    assert_eq!(unknown.to_string(), "metadata_csum");
}

/// Mounts a device; returns whether it was clean, after `then` has had it.
fn mounted(cache: &Cache, then: impl FnOnce(&Ext2<&Cache>, &mut Writer)) -> bool {
    let superblock = cache.superblock().expect("a superblock");
    let (fs, mut writer) = Ext2::mount(cache, &superblock, false).expect("it can be mounted");
    then(&fs, &mut writer);
    fs.was_clean()
}

/// Without an unmount, or with damage, the next mount knows; and a clean end does not hide that.
#[test]
fn what_was_not_clean_stays_so() {
    let image = made(&Folder::new(), &[]);
    let state = |cache: &Cache| superblock(&cache.image()).expect("a superblock").state;
    let end = |fs: &Ext2<&Cache>, writer: &mut Writer| fs.unmount(writer).expect("it is written");
    let cache = Cache::new(image.clone());
    assert!(mounted(&cache, |_, _| {}));
    assert_eq!(state(&cache) & VALID, 0, "in use");
    assert!(!mounted(&cache, end), "it was never unmounted");
    assert_eq!(state(&cache) & VALID, 0, "e2fsck has not looked");
    let cache = Cache::new(image);
    assert!(mounted(&cache, end) && mounted(&cache, end));
    assert_eq!(state(&cache) & (VALID | ERRORS), VALID);
    let with_damage = |fs: &Ext2<&Cache>, writer: &mut Writer| {
        writer.note_damage();
        end(fs, writer);
    };
    assert!(mounted(&cache, with_damage));
    assert_eq!(state(&cache) & ERRORS, ERRORS);
    assert!(!mounted(&cache, end));
    assert_eq!(state(&cache) & ERRORS, ERRORS, "e2fsck has not looked");
}

/// What is written after a mount is never on a device that says that it is not in use.
#[test]
fn a_mount_is_on_the_device_when_it_returns() {
    let cache = Cache::new(made(&Folder::new(), &["-b", "1024"]));
    cache.record(Rng::new(0));
    mounted(&cache, |_, _| {});
    let events = cache.events();
    let [Event::Write(1, superblock), Event::Flush] = &events[..] else { panic!("{events:?}") };
    assert_eq!(superblock[52..54], [1, 0], "it was mounted once");
}

#[test]
fn a_device_that_is_too_small_is_refused() {
    let mut image = made(&Folder::new(), &["-b", "1024"]);
    assert!(superblock(&image).is_ok());
    image.truncate(image.len() - 1);
    let error = superblock(&image).expect_err("a block is missing");
    assert_eq!(error, MountError::Field { name: "s_blocks_count", value: 4096 });
}

/// In the first revision, the fields of the second are not there until a file needs one of them.
#[test]
fn a_large_file_makes_the_first_revision_the_second() {
    let folder = Folder::new();
    let (model, image) = planted(&folder, &["-r", "0"]);
    let cache = Cache::new(image);
    let mut session = Session::start(&cache, model);
    session.make(model::ROOT, b"large", 0o644);
    let id = session.model.lookup(model::ROOT, b"large").expect("it was made");
    session.write(id, (1 << 31) - 100, &[1; 300]);
    let model = session.finish();
    assert_clean(&folder.image(&cache.image()));
    Session::start(&cache, model).finish();
}
