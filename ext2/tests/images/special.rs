//! Directories with an index, attributes, flags, limits: what random trees do not have.

use ext2::layout::inode::{APPEND_ONLY, IMMUTABLE};
use ext2::{Error, Exchange, Fresh};

use crate::support::content::Content;
use crate::support::disk::Cache;
use crate::support::model::{Body, Id, Model, ROOT};
use crate::support::plant::{self, Shape};
use crate::support::random::Rng;
use crate::support::session::Session;
use crate::support::tools::{Folder, assert_clean, debugfs, make_image, path, run};

fn shape(block_bytes: usize, options: &[&str]) -> Shape {
    let options = options.iter().map(|option| (*option).to_string()).collect();
    Shape { block_bytes, options, spare_inodes: 200, spare_blocks: 3000 }
}

/// A tree with files of these names, each with the same contents.
fn with_files<'a>(names: impl IntoIterator<Item = &'a str>, bytes: &[u8]) -> Model {
    let mut model = Model::new();
    model.make_dir(ROOT, b"lost+found");
    for name in names {
        let mut content = Content::default();
        content.write(0, bytes);
        model.make(ROOT, name.as_bytes(), Body::File(content), 0o644);
    }
    model
}

fn file(session: &Session<'_>, name: &str) -> Id {
    session.model.lookup(ROOT, name.as_bytes()).expect("it is there")
}

/// An index of one level and of two: the names are read as ever, and the index goes with the first change.
#[test]
fn a_directory_with_an_index_is_read_and_changed() {
    for (count, block_bytes) in [(300, 1024), (3000, 1024), (900, 4096)] {
        let names: Vec<String> =
            (0..count).map(|at| format!("{at}-{}", "long".repeat(at % 40))).collect();
        let mut model = with_files([], b"");
        let dir = model.make_dir(ROOT, b"dir");
        for name in &names {
            model.make(dir, name.as_bytes(), Body::File(Content::default()), 0o644);
        }
        let folder = Folder::new();
        let image = folder.image(&plant::image(&folder, &model, &shape(block_bytes, &[])));
        run("e2fsck", &["-fyD", path(&image)]);
        assert!(debugfs(&image, false, "stat /dir").contains("Flags: 0x1000"), "an index");
        let cache = Cache::new(std::fs::read(&image).expect("it is there"));
        let mut session = Session::start(&cache, model);
        let mut rng = Rng::new(count as u64);
        for at in 0..60 {
            let name = rng.pick(&names).clone();
            match at % 3 {
                0 => session.unlink(dir, name.as_bytes(), false),
                1 => session.make(dir, format!("{name}-new").as_bytes(), 0o644),
                _ => session.rename((dir, name.as_bytes()), (dir, b"other"), Exchange::Replace),
            }
        }
        session.finish();
        let image = folder.image(&cache.image());
        assert_clean(&image);
        assert!(debugfs(&image, false, "stat /dir").contains("Flags: 0x0"), "no index");
    }
}

/// A block with attributes goes with its last inode.
#[test]
fn attributes_go_with_the_last_inode_that_has_them() {
    for inode_bytes in ["128", "256"] {
        let folder = Folder::new();
        let model = with_files(["one", "two", "three"], b"contents");
        let image = plant::image(&folder, &model, &shape(1024, &["-I", inode_bytes]));
        let image = folder.image(&image);
        let value = folder.path().join("value");
        std::fs::write(&value, [b'v'; 700]).expect("it is written");
        for name in ["one", "three"] {
            debugfs(&image, true, &format!("ea_set -f {} /{name} user.value", path(&value)));
        }
        let cache = Cache::new(std::fs::read(&image).expect("it is there"));
        let mut session = Session::start(&cache, model);
        share_attributes(&session, &cache);
        assert_clean(&folder.image(&cache.image()));
        let before = session.fs.space(&session.writer).blocks[1];
        let left = |session: &Session<'_>| session.fs.space(&session.writer).blocks[1] - before;
        session.unlink(ROOT, b"one", false);
        assert_eq!(left(&session), 1, "its contents");
        session.unlink(ROOT, b"two", true);
        assert_eq!(left(&session), 1, "it is open");
        let two = session.open[0];
        session.end(two);
        assert_eq!(left(&session), 3, "contents and attributes");
        session.unlink(ROOT, b"three", false);
        assert_eq!(left(&session), 5, "contents and attributes");
        session.finish();
        assert_clean(&folder.image(&cache.image()));
    }
}

/// The second file has the attributes of the first, too.
fn share_attributes(session: &Session<'_>, cache: &Cache) {
    let [one, two] = ["one", "two"].map(|name| session.at(file(session, name)));
    let attributes = session.fs.load(one).expect("an inode").attributes;
    assert_ne!(attributes, 0, "the value needs a block");
    cache.damage(attributes, |bytes| bytes[4] = 2);
    let mut inode = session.fs.load(two).expect("an inode");
    inode.attributes = attributes;
    inode.sectors += session.fs.geometry().sectors();
    session.fs.store(two, &inode).expect("it can be stored");
    session.fs.unmount(&session.writer).expect("it can be written");
}

/// Attributes in the room behind an inode are not those of the next one there.
#[test]
fn a_new_inode_has_nothing_of_the_one_before() {
    let folder = Folder::new();
    let model = with_files(["one"], b"contents");
    let image = plant::image(&folder, &model, &shape(1024, &["-I", "256"]));
    let image = folder.image(&image);
    debugfs(&image, true, "ea_set /one user.value secret");
    assert!(debugfs(&image, false, "ea_list /one").contains("secret"), "it has attributes");
    let cache = Cache::new(std::fs::read(&image).expect("it is there"));
    let mut session = Session::start(&cache, model);
    let number = session.numbers[&file(&session, "one")];
    session.unlink(ROOT, b"one", false);
    let last = (0..250).map(|at| format!("new-{at}")).find(|name| {
        session.make(ROOT, name.as_bytes(), 0o644);
        session.numbers[&file(&session, name)] == number
    });
    let last = last.expect("one is in the same place");
    session.finish();
    let image = folder.image(&cache.image());
    assert_clean(&image);
    let listed = debugfs(&image, false, &format!("ea_list /{last}"));
    assert!(!listed.contains("user"), "it has attributes: {listed}");
}

/// Entries may still name the kind of file after the feature is gone.
#[test]
fn kinds_in_entries_are_ignored_without_the_feature() {
    let folder = Folder::new();
    let mut model = with_files(["abcdef"], b"contents");
    model.make(ROOT, b"a", Body::Link(b"target".to_vec()), 0o777);
    model.make_dir(ROOT, b"b");
    let image = folder.image(&plant::image(&folder, &model, &shape(1024, &[])));
    debugfs(&image, true, "feature -filetype");
    let cache = Cache::new(std::fs::read(&image).expect("it is there"));
    let mut session = Session::start(&cache, model);
    session.make(ROOT, b"c", 0o644);
    session.unlink(ROOT, b"a", false);
    session.finish();
}

#[test]
fn flags_forbid_changes() {
    let folder = Folder::new();
    let model = with_files(["one", "two"], b"contents");
    let cache = Cache::new(plant::image(&folder, &model, &shape(1024, &[])));
    let mut session = Session::start(&cache, model);
    let set = |session: &Session<'_>, id: Id, flags: u32| {
        let at = session.at(id);
        let mut inode = session.fs.load(at).expect("an inode");
        inode.flags = flags;
        session.fs.store(at, &inode).expect("it can be stored");
    };
    let (one, root) = (file(&session, "one"), ext2::ROOT);
    let denied = Error::NotPermitted;
    for flags in [IMMUTABLE, APPEND_ONLY] {
        set(&session, one, flags);
        let (fs, writer) = (&session.fs, &mut session.writer);
        assert_eq!(fs.unlink(writer, root, b"one"), Err(denied));
        assert_eq!(fs.link(writer, session.numbers[&one], root, b"three"), Err(denied));
        for exchange in [Exchange::Replace, Exchange::Both] {
            let (one, two) = ((root, &b"one"[..]), (root, &b"two"[..]));
            assert_eq!(fs.rename(writer, one, two, exchange), Err(denied));
            assert_eq!(fs.rename(writer, two, one, exchange), Err(denied));
        }
        set(&session, one, 0);
        set(&session, ROOT, flags);
        assert_eq!(session.fs.unlink(&mut session.writer, root, b"one"), Err(denied));
        set(&session, ROOT, 0);
    }
    set(&session, ROOT, APPEND_ONLY);
    session.make(ROOT, b"three", 0o644);
    set(&session, ROOT, 0);
    session.finish();
    assert_clean(&folder.image(&cache.image()));
}

#[test]
fn an_inode_has_no_more_names_than_can_be_counted() {
    const MOST: u16 = 32_000;
    let folder = Folder::new();
    let mut model = with_files(["one"], b"contents");
    let dir = model.make_dir(ROOT, b"dir");
    model.make_dir(ROOT, b"other");
    let cache = Cache::new(plant::image(&folder, &model, &shape(1024, &[])));
    let mut session = Session::start(&cache, model);
    let (one, root) = (session.numbers[&file(&session, "one")], ext2::ROOT);
    let set = |session: &Session<'_>, number: u32, links: u16| {
        let (at, mut inode) = session.fs.inode(number).expect("an inode");
        inode.links = links;
        session.fs.store(at, &inode).expect("it can be stored");
    };
    set(&session, one, MOST);
    let (fs, writer) = (&session.fs, &mut session.writer);
    assert_eq!(fs.link(writer, one, root, b"two"), Err(Error::TooManyLinks));
    let number = session.numbers[&dir];
    set(&session, number, MOST);
    let (fs, writer) = (&session.fs, &mut session.writer);
    let new = ext2::New { mode: 0o040_755, owner: [0; 2] };
    assert_eq!(fs.make_dir(writer, number, b"two", new), Err(Error::TooManyLinks));
    let (from, to) = ((root, &b"other"[..]), (number, &b"other"[..]));
    assert_eq!(fs.rename(writer, from, to, Exchange::Replace), Err(Error::TooManyLinks));
    set(&session, one, 1);
    set(&session, number, 2);
    session.finish();
    assert_clean(&folder.image(&cache.image()));
}

/// The last block that the tree can lead to, and the one behind it.
#[test]
fn a_file_ends_where_its_tree_ends() {
    let folder = Folder::new();
    let model = with_files(["one"], b"contents");
    let cache = Cache::new(plant::image(&folder, &model, &shape(1024, &[])));
    let mut session = Session::start(&cache, model);
    let (one, most) = (file(&session, "one"), session.fs.most_bytes());
    session.write(one, most - 600, &[7; 600]);
    session.write(one, most - 600, &[8; 1200]);
    let at = session.at(one);
    let last = (most >> 10) as u32;
    assert_eq!(session.fs.map(at, last, 1), Err(Error::TooLarge));
    assert!(matches!(session.fs.map(at, last - 1, 9), Ok(run) if run.len == 1));
    let again = session.fs.reserve(&mut session.writer, at, last - 1);
    assert!(matches!(again, Ok(Fresh::Old(_))), "{again:?}");
    session.finish();
    assert_clean(&folder.image(&cache.image()));
}

/// What the end of a file costs depends on its blocks, not on its size.
#[test]
fn a_file_of_holes_ends_soon() {
    let folder = Folder::new();
    let image = make_image(&folder, None, &["-b", "4096"], 9000).expect("there is room");
    let cache = Cache::new(image);
    let mut session = Session::start(&cache, with_files([], b""));
    session.make(ROOT, b"one", 0o644);
    let one = file(&session, "one");
    session.write(one, 0, &vec![1; 5000 << 12]);
    session.write(one, 1 << 40, b"far");
    session.truncate(one, 2 << 40);
    let before = cache.calls();
    session.unlink(ROOT, b"one", false);
    let calls = cache.calls() - before;
    assert!(calls < 10_000, "{calls} calls");
    session.finish();
    assert_clean(&folder.image(&cache.image()));
}
