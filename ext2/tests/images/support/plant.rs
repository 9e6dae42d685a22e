//! Random trees: in a model, in a folder of the host, and in an image that `mke2fs` fills from it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::content::{Content, PIECE};
use super::model::{Body, Id, Model, ROOT};
use super::random::Rng;
use super::tools::{Folder, make_image};

/// How large a random tree is, and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub nodes: u64,
    pub file_bytes: u64,
    /// Files may have offsets far behind what is written.
    pub is_sparse: bool,
    /// A directory may have hundreds of names.
    pub is_wide: bool,
}

/// A name that a program may choose, and sometimes one that is refused.
pub fn name(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(20) {
        0 => 255,
        1 => 200 + rng.below(55),
        2..5 => 20 + rng.below(60),
        _ => return format!("n{}", rng.below(60)).into_bytes(),
    };
    let letters = |_| match rng.below(256) as u8 {
        0 | b'/' => b'_',
        byte => byte,
    };
    (0..len).map(letters).collect()
}

/// A name that is refused, whatever is done with it.
pub fn bad_name(rng: &mut Rng) -> Vec<u8> {
    let bad: [&[u8]; 6] = [b"", b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]];
    rng.pick(&bad).to_vec()
}

/// The target of a symbolic link: around the longest that is kept in the inode, or any.
pub fn target(rng: &mut Rng, block_bytes: usize) -> Vec<u8> {
    let lengths = [1, 10, 58, 59, 60, 61, 200, 900, block_bytes - 2, block_bytes - 1];
    let len = *rng.pick(&lengths);
    (0..len).map(|_| b'a' + rng.below(26) as u8).collect()
}

/// Contents with holes.
pub fn content(rng: &mut Rng, size: &Size) -> Content {
    let mut content = Content::default();
    let shift = rng.below(20);
    let len = rng.below((size.file_bytes >> shift).max(2));
    let mut at = 0;
    while at < len {
        let part = (rng.below(len - at) + 1).min(100_000);
        if rng.percent(70) {
            content.write(at, &rng.bytes(part as usize, 4096));
        }
        at += part;
    }
    if size.is_sparse && rng.percent(12) {
        let far = *rng.pick(&[64 << 20, 70 << 20, (1 << 31) - 700, 1 << 31, 3 << 30]);
        content.write(far + rng.below(5000), &rng.bytes(700, 4096));
        content.resize(content.size + rng.below(2) * rng.below(1 << 20));
    } else {
        content.resize(len);
    }
    content
}

/// A random tree.
pub fn tree(rng: &mut Rng, size: &Size, block_bytes: usize) -> Model {
    let mut model = Model::new();
    model.make_dir(ROOT, b"lost+found");
    let mut dirs = vec![ROOT];
    let mut files: Vec<Id> = Vec::new();
    for _ in 0..size.nodes {
        let dir = *rng.pick(&dirs);
        let name = name(rng);
        if model.may_make(dir, &name).is_err() {
            continue;
        }
        match rng.below(10) {
            0 | 1 => dirs.push(model.make_dir(dir, &name)),
            2 => drop(model.make(dir, &name, Body::Link(target(rng, block_bytes)), 0o777)),
            3 if !files.is_empty() => model.link(*rng.pick(&files), dir, &name),
            _ => {
                let body = Body::File(content(rng, size));
                files.push(model.make(dir, &name, body, 0o400 | rng.below(0o1000) as u16));
            }
        }
    }
    if size.is_wide && rng.percent(25) {
        let dir = *rng.pick(&dirs);
        for at in 0..100 + rng.below(500) {
            let name = format!("wide-{at}-{}", "x".repeat(rng.index(40)));
            model.make(dir, name.as_bytes(), Body::File(Content::default()), 0o644);
        }
    }
    model
}

/// Puts a directory of a model into a folder of the host.
fn put(model: &Model, dir: Id, folder: &Path, files: &mut BTreeMap<Id, PathBuf>) {
    for (name, id) in model.names(dir).expect("a directory") {
        let path = folder.join(OsStr::from_bytes(name));
        match &model.node(*id).body {
            Body::Dir { .. } if dir == ROOT && name == b"lost+found" => {}
            Body::Dir { .. } => {
                fs::create_dir(&path).expect("a folder");
                put(model, *id, &path, files);
            }
            Body::Link(target) => symlink(OsStr::from_bytes(target), &path).expect("a link"),
            Body::File(content) => match files.get(id) {
                Some(first) => fs::hard_link(first, &path).expect("a name more"),
                None => {
                    put_file(content, &path, model.node(*id).mode);
                    files.insert(*id, path);
                }
            },
        }
    }
}

fn put_file(content: &Content, path: &Path, mode: u16) {
    let file = fs::File::create(path).expect("a file");
    for at in content.pieces() {
        file.write_all_at(&content.read(at, PIECE), at).expect("it is written");
    }
    file.set_len(content.size).expect("its size is set");
    file.set_permissions(fs::Permissions::from_mode(mode.into())).expect("its mode is set");
}

/// How an image is made.
#[derive(Clone, Debug)]
pub struct Shape {
    pub block_bytes: usize,
    pub options: Vec<String>,
    /// Inodes that are free at the start, about.
    pub spare_inodes: u64,
    /// Blocks that are free at the start, at most.
    pub spare_blocks: u64,
}

impl Shape {
    /// One of those that `mke2fs` can make.
    pub fn random(rng: &mut Rng) -> Self {
        let block_bytes = *rng.pick(&[1024, 1024, 2048, 4096]);
        let mut options: Vec<&str> = Vec::new();
        match rng.below(8) {
            0 => options.extend(["-r", "0"]),
            1 => options.extend(["-O", "^filetype"]),
            2 => options.extend(["-O", "^dir_index"]),
            3 => options.extend(["-I", "128"]),
            4 => options.extend(["-O", "^sparse_super,^resize_inode", "-m", "0"]),
            5 => options.extend(["-I", "512", "-O", "^resize_inode,^large_file"]),
            _ => {}
        }
        let mut options: Vec<String> = options.into_iter().map(str::to_string).collect();
        if rng.percent(40) {
            options.extend(["-g".into(), rng.pick(&["512", "1024", "2048", "4096"]).to_string()]);
        }
        let spare_inodes = if rng.percent(40) { rng.below(12) } else { 40 + rng.below(400) };
        let spare_blocks = 100 + rng.below(3000);
        Self { block_bytes, options, spare_inodes, spare_blocks }
    }

    pub fn is_first_revision(&self) -> bool {
        self.options.iter().any(|option| option == "-r")
    }
}

/// An image with a tree, and little room.
pub fn image(folder: &Folder, model: &Model, shape: &Shape) -> Vec<u8> {
    roomy_image(folder, model, shape, 0)
}

/// An image with a tree, of at least so many bytes.
pub fn roomy_image(folder: &Folder, model: &Model, shape: &Shape, least: usize) -> Vec<u8> {
    let from = folder.sub("tree");
    put(model, ROOT, &from, &mut BTreeMap::new());
    let inodes = (model.nodes.len() as u64 + 24 + shape.spare_inodes).to_string();
    let block = shape.block_bytes.to_string();
    let mut options = vec!["-b", &block, "-N", &inodes];
    options.extend(shape.options.iter().map(String::as_str));
    let kept: usize = model.nodes.values().map(|node| held(&node.body)).sum();
    let mut blocks = 64 + (kept.max(least) / shape.block_bytes) as u64;
    for _ in 0..20 {
        blocks += 64 + shape.spare_blocks.min(blocks / 4);
        if let Some(image) = make_image(folder, Some(&from), &options, blocks) {
            return image;
        }
    }
    panic!("mke2fs {options:?}: the tree does not fit into {blocks} blocks");
}

/// Bytes that something takes, about.
fn held(body: &Body) -> usize {
    match body {
        Body::File(content) => content.pieces().count() * PIECE,
        Body::Dir { names, .. } => names.keys().map(|name| name.len() + 12).sum::<usize>() + PIECE,
        Body::Link(target) => target.len(),
    }
}
