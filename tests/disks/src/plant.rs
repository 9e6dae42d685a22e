//! The model's tree as a folder of the host, and the comparison with one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use crate::model::{Model, Node, Number, ROOT};

/// Bytes that are written at once, or left out as a hole.
const PIECE: usize = 4096;

/// Makes the model's tree in an empty folder, for `mke2fs -d`.
///
/// # Panics
/// If the host refuses.
pub fn plant(model: &Model, folder: &Path) {
    plant_dir(model, ROOT, folder, &mut BTreeMap::new());
}

fn plant_dir(model: &Model, dir: Number, folder: &Path, known: &mut BTreeMap<Number, PathBuf>) {
    for (name, number) in model.names(dir) {
        if name == b"lost+found" {
            continue;
        }
        let path = folder.join(OsStr::from_bytes(name));
        if let Some(first) = known.get(number) {
            fs::hard_link(first, &path).expect("another name");
            continue;
        }
        match &model.inode(*number).node {
            Node::Dir(..) => {
                fs::create_dir(&path).expect("a directory");
                plant_dir(model, *number, &path, known);
            }
            Node::File(bytes) => plant_file(bytes, &path),
            Node::Link(target) => {
                symlink(OsStr::from_bytes(target), &path).expect("a symbolic link");
            }
        }
        known.insert(*number, path);
    }
}

/// Pieces of zeroes become holes.
fn plant_file(bytes: &[u8], path: &Path) {
    let file = File::create(path).expect("a file");
    for (at, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, (at * PIECE) as u64).expect("contents");
        }
    }
    file.set_len(bytes.len() as u64).expect("a length");
}

/// Compares a folder with the model's tree, except for the results.
///
/// # Panics
/// If anything differs.
pub fn compare(model: &Model, folder: &Path) {
    compare_dir(model, ROOT, folder);
}

fn compare_dir(model: &Model, dir: Number, folder: &Path) {
    let list = fs::read_dir(folder).expect("a folder");
    let mut found: Vec<Vec<u8>> =
        list.map(|entry| entry.expect("an entry").file_name().into_vec()).collect();
    found.sort();
    let wanted: Vec<_> = model.names(dir).keys().cloned().collect();
    assert_eq!(found, wanted, "names in {}", folder.display());
    for (name, number) in model.names(dir) {
        let path = folder.join(OsStr::from_bytes(name));
        match &model.inode(*number).node {
            Node::Dir(..) => compare_dir(model, *number, &path),
            Node::File(_) if dir == ROOT && name.starts_with(b"results") => {}
            Node::File(bytes) => {
                let found = fs::read(&path).expect("a file");
                let differs = found.iter().zip(bytes).position(|(a, b)| a != b);
                assert!(
                    found == *bytes,
                    "{}: {} bytes instead of {}; the first that differs: {differs:?}",
                    path.display(),
                    found.len(),
                    bytes.len()
                );
            }
            Node::Link(target) => {
                let found = fs::read_link(&path).expect("a symbolic link");
                assert_eq!(found.as_os_str().as_bytes(), target, "{}", path.display());
            }
        }
    }
}
