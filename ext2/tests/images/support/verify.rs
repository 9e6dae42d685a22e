//! The tree that the crate shows, or that was copied to the host, against the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use ext2::layout::inode::Kind;

use super::files::{self, Fs};
use super::model::{Body, Id, Model, ROOT};

/// Names as a directory lists them, with their inodes and kinds.
pub fn list(fs: &Fs<'_>, dir: u32) -> Vec<(Vec<u8>, u32, u8)> {
    let mut names = Vec::new();
    let mut from = 0;
    // In small parts, as programs list them.
    loop {
        let mut count = 0;
        let next = fs.list(dir, from, |name| {
            count += 1;
            if count <= 7 {
                names.push((name.bytes.to_vec(), name.inode, name.kind));
            }
            count <= 7
        });
        let next = next.expect("a directory can be listed");
        if count <= 7 {
            return names;
        }
        assert!(next > from, "each call goes on");
        from = next;
    }
}

/// The crate shows the model; returns the inode of each node.
pub fn assert_same(fs: &Fs<'_>, model: &Model) -> BTreeMap<Id, u32> {
    let mut numbers = BTreeMap::from([(ROOT, ext2::ROOT)]);
    let mut left = vec![ROOT];
    while let Some(dir) = left.pop() {
        let number = numbers[&dir];
        let want = model.names(dir).expect("a directory");
        let mut seen = BTreeSet::new();
        for (name, inode, kind) in list(fs, number) {
            let text = String::from_utf8_lossy(&name).into_owned();
            assert_eq!(fs.lookup(number, &name), Ok(inode), "{text}");
            assert!(seen.insert(name.clone()), "{text} is listed twice");
            let id = model.lookup(dir, &name).unwrap_or_else(|_| panic!("{text} is not expected"));
            let is_new = !numbers.contains_key(&id);
            assert_eq!(*numbers.entry(id).or_insert(inode), inode, "{text}: the inode");
            check_kind(fs, model, id, kind, &text);
            if is_new {
                check_node(fs, model, id, inode, &text);
            }
            if is_new && model.is_dir(id) {
                left.push(id);
            }
        }
        assert_eq!(seen.len(), want.len() + 2, "names of {dir}: {seen:?}");
    }
    let inodes: BTreeSet<u32> = numbers.values().copied().collect();
    assert_eq!(inodes.len(), numbers.len(), "each node has an inode of its own");
    numbers
}

/// `d_type` is right, if there is one.
fn check_kind(fs: &Fs<'_>, model: &Model, id: Id, kind: u8, name: &str) {
    let want = match (&model.node(id).body, fs.geometry().has_filetype) {
        (_, false) => 0,
        (Body::File(_), _) => 8,
        (Body::Dir { .. }, _) => 4,
        (Body::Link(_), _) => 10,
    };
    assert_eq!(kind, want, "{name}: the kind");
}

fn check_node(fs: &Fs<'_>, model: &Model, id: Id, number: u32, name: &str) {
    let (at, inode) = fs.inode(number).expect("it is in use");
    let node = model.node(id);
    assert_eq!(u32::from(inode.links), node.links, "{name}: links");
    match &node.body {
        Body::File(content) => {
            assert_eq!((inode.kind(), inode.size), (Some(Kind::File), content.size), "{name}");
            assert_eq!(files::difference(fs, at, content), None, "{name}");
            assert_eq!(inode.mode & 0o7777, node.mode, "{name}: mode");
            assert_eq!(inode.owner, node.owner, "{name}: owner");
        }
        Body::Dir { .. } => assert_eq!(inode.kind(), Some(Kind::Directory), "{name}"),
        Body::Link(target) => {
            let mut bytes = vec![0; 5000];
            let len = fs.read_link(number, &mut bytes).expect("a link");
            assert_eq!(&bytes[..len], &target[..], "{name}: target");
            let mut few = [0; 3];
            assert_eq!(fs.read_link(number, &mut few), Ok(target.len().min(3)), "{name}");
        }
    }
}

/// A folder of the host shows a directory of the model.
pub fn assert_same_folder(folder: &Path, model: &Model, dir: Id) {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let found: BTreeSet<Vec<u8>> = entries.map(|entry| entry.file_name().into_vec()).collect();
    let want: BTreeSet<Vec<u8>> = model.names(dir).expect("a directory").keys().cloned().collect();
    assert_eq!(found, want, "names of {}", folder.display());
    for (name, id) in model.names(dir).expect("a directory") {
        let path = folder.join(std::ffi::OsStr::from_bytes(name));
        match &model.node(*id).body {
            Body::Dir { .. } => assert_same_folder(&path, model, *id),
            Body::Link(target) => {
                let read = fs::read_link(&path).expect("a link").into_os_string().into_vec();
                assert_eq!(&read, target, "{}", path.display());
            }
            Body::File(content) => {
                let bytes = fs::read(&path).expect("a file");
                let want = content.read(0, usize::MAX);
                assert!(bytes == want, "{}: contents", path.display());
            }
        }
    }
}
