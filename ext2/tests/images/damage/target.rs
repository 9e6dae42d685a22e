//! The images that are damaged, and where in them the structures are.

use std::collections::BTreeSet;
use std::rc::Rc;

use ext2::layout::group::Group;
use ext2::layout::inode::{DIRECT, Inode, Kind};
use ext2::layout::superblock::{Geometry, Superblock};

use crate::support::model::{Body, Model, ROOT};
use crate::support::plant::{self, Shape, Size};
use crate::support::random::Rng;
use crate::support::tools::{Folder, debugfs, path, run};

/// An image without damage.
pub struct Target {
    pub image: Rc<Vec<u8>>,
    pub geometry: Geometry,
    pub groups: Vec<Group>,
    /// The inodes in use: their block, and their place there.
    pub inodes: Vec<(u32, usize)>,
    /// Blocks with names, with block numbers, and with attributes.
    pub names: Vec<u32>,
    pub pointers: Vec<u32>,
}

/// Reads four bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Target {
    fn new(image: Vec<u8>) -> Self {
        let superblock = Superblock::parse(&image[1024..2048], image.len() as u64);
        let geometry = superblock.expect("a superblock").geometry;
        let descriptors = (geometry.superblock().0 as usize + 1) << geometry.block_bits;
        let group = |at: u32| Group::parse(&image[descriptors + 32 * at as usize..]);
        let groups: Vec<Group> = (0..geometry.groups).map(group).collect();
        let mut target = Self {
            image: Rc::new(Vec::new()),
            geometry,
            groups,
            inodes: Vec::new(),
            names: Vec::new(),
            pointers: Vec::new(),
        };
        for at in 0..geometry.inodes {
            target.note_inode(&image, at);
        }
        target.image = Rc::new(image);
        target
    }

    fn note_inode(&mut self, image: &[u8], from_zero: u32) {
        let geometry = self.geometry;
        let (group, place) =
            (from_zero / geometry.inodes_per_group, from_zero % geometry.inodes_per_group);
        let bytes = (place * geometry.inode_bytes) as usize;
        let block = self.groups[group as usize].inode_table + (bytes >> geometry.block_bits) as u32;
        let at = bytes % geometry.block_bytes();
        let inode = Inode::parse(&image[((block as usize) << geometry.block_bits) + at..]);
        let is_reserved = from_zero + 1 < geometry.first_inode && from_zero + 1 != ext2::ROOT;
        if inode.links == 0 || is_reserved {
            return;
        }
        self.inodes.push((block, at));
        if inode.attributes != 0 {
            self.pointers.push(inode.attributes);
        }
        if !inode.has_blocks(geometry.block_bytes()) {
            return;
        }
        let leaves = &inode.block[..DIRECT as usize];
        let mut level: BTreeSet<u32> = leaves.iter().copied().collect();
        for depth in 1..=3_usize {
            let mut below = BTreeSet::from([inode.block[DIRECT as usize + depth - 1]]);
            for _ in 0..depth {
                below.remove(&0);
                self.pointers.extend(&below);
                below = below.iter().flat_map(|block| self.numbers(image, *block)).collect();
            }
            level.extend(below);
        }
        level.remove(&0);
        if inode.kind() == Some(Kind::Directory) {
            self.names.extend(level);
        }
    }

    fn numbers(&self, image: &[u8], block: u32) -> Vec<u32> {
        let start = (block as usize) << self.geometry.block_bits;
        (0..self.geometry.pointers()).map(|at| number(image, start + 4 * at as usize)).collect()
    }
}

/// A small tree with all that there is.
fn tree(rng: &mut Rng, block_bytes: usize) -> Model {
    let size = Size { nodes: 25, file_bytes: 30_000, is_sparse: false, is_wide: false };
    let mut model = plant::tree(rng, &size, block_bytes);
    let mut deep = crate::support::content::Content::default();
    for at in [0, 13, 300, 70_000] {
        deep.write(at * block_bytes as u64, b"far");
    }
    model.make(ROOT, b"deep", Body::File(deep), 0o644);
    let dir = model.make_dir(ROOT, b"many");
    for at in 0..120 {
        let name = format!("{at}-{}", "y".repeat(120));
        let body = Body::Link(b"somewhere".to_vec());
        model.make(dir, name.as_bytes(), body, 0o777);
    }
    model
}

/// Images of many shapes.
pub fn all(folder: &Folder) -> Vec<Target> {
    let shapes: [(usize, &[&str]); 7] = [
        (1024, &[]),
        (1024, &["-g", "256"]),
        (1024, &["-r", "0"]),
        (1024, &["-O", "^filetype", "-I", "128"]),
        (2048, &["-g", "256"]),
        (4096, &["-I", "512"]),
        (1024, &["-g", "512", "-O", "^sparse_super,^resize_inode"]),
    ];
    let made = shapes.iter().enumerate().map(|(seed, (block_bytes, options))| {
        let options = options.iter().map(|option| (*option).to_string()).collect();
        let shape =
            Shape { block_bytes: *block_bytes, options, spare_inodes: 24, spare_blocks: 100 };
        let model = tree(&mut Rng::new(seed as u64), *block_bytes);
        let inner = Folder::new();
        let image = folder.image(&plant::image(&inner, &model, &shape));
        let value = folder.path().join("value");
        std::fs::write(&value, [b'v'; 700]).expect("it is written");
        debugfs(&image, true, &format!("ea_set -f {} /deep user.value", path(&value)));
        if seed % 2 == 0 {
            run("e2fsck", &["-fyD", path(&image)]);
        }
        Target::new(std::fs::read(&image).expect("it is there"))
    });
    made.collect()
}
