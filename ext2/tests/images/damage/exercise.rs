//! What a kernel does with a file system, with answers that it must not trust.

use std::collections::BTreeSet;

use ext2::layout::inode::Kind;
use ext2::{Error, Exchange, Ext2, Fresh, New, Writer};

use crate::support::disk::Cache;
use crate::support::files::Fs;
use crate::support::plant::{bad_name, name};
use crate::support::random::Rng;

/// Visits of blocks that a call may take for each block and inode that there is: a rename looks for names
/// eight times, and a block of a directory is found by five visits.
const FOR_EACH: u64 = 40;
/// The same for each block number that there is room for, for a call that takes blocks away from a file.
const FOR_EACH_NUMBER: u64 = 4;
/// Directories and files that are looked into.
const MOST_VISITED: usize = 300;

/// A file system with damage.
struct Patient<'a> {
    fs: Fs<'a>,
    writer: Writer,
    /// Names that were found: their directory, and their inode.
    names: Vec<(u32, Vec<u8>, u32)>,
    inodes: Vec<u32>,
    /// Visits that a call may take, and one that takes blocks away from a file.
    limits: [u64; 2],
}

/// Mounts it, walks through it, changes it, and unmounts it; false if it cannot be mounted.
pub fn exercise(cache: &Cache, rng: &mut Rng) -> bool {
    let Ok(superblock) = cache.superblock() else { return false };
    let geometry = superblock.geometry;
    let all = u64::from(geometry.blocks) + u64::from(geometry.inodes);
    let numbers = u64::from(geometry.blocks) * u64::from(geometry.pointers());
    let limits = [FOR_EACH * all, FOR_EACH * all + FOR_EACH_NUMBER * numbers];
    let mounted =
        within(cache, limits[0], "mount", || Ext2::mount(cache, &superblock, rng.percent(5)));
    let Ok((fs, writer)) = mounted else { return false };
    let mut patient = Patient { fs, writer, names: Vec::new(), inodes: Vec::new(), limits };
    patient.walk(rng);
    for _ in 0..rng.below(25) {
        patient.change(rng);
    }
    // What an error has left behind can be walked through, too.
    patient.walk(rng);
    let _ = patient.fs.sync(&patient.writer);
    let _ = patient.fs.unmount(&patient.writer);
    true
}

/// Makes a call, which must end soon.
fn within<T>(cache: &Cache, limit: u64, what: &str, call: impl FnOnce() -> T) -> T {
    let before = cache.calls();
    let result = call();
    let calls = cache.calls() - before;
    assert!(calls <= limit, "{what}: {calls} visits of blocks, more than {limit}");
    result
}

impl Patient<'_> {
    fn within<T>(&mut self, what: &str, call: impl FnOnce(&Fs<'_>, &mut Writer) -> T) -> T {
        let cache = *self.fs.disk();
        // A call that makes something takes it back if it fails.
        let takes_blocks = ["cut", "end_step", "make", "make_dir", "make_symlink"].contains(&what);
        let limit = self.limits[usize::from(takes_blocks)];
        within(cache, limit, what, || call(&self.fs, &mut self.writer))
    }

    fn walk(&mut self, rng: &mut Rng) {
        self.names.clear();
        let mut seen = BTreeSet::from([ext2::ROOT]);
        let mut left = vec![ext2::ROOT];
        while let Some(number) = left.pop() {
            self.visit(number, rng);
            for name in self.list(number) {
                if seen.len() < MOST_VISITED && seen.insert(name.2) {
                    left.push(name.2);
                }
                self.names.push(name);
            }
        }
        self.inodes = seen.into_iter().collect();
    }

    fn list(&mut self, number: u32) -> Vec<(u32, Vec<u8>, u32)> {
        let mut names = Vec::new();
        let most = self.fs.geometry().blocks as usize * self.fs.geometry().block_bytes() / 12;
        let visit = |name: ext2::Name<'_>| {
            names.push((number, name.bytes.to_vec(), name.inode));
            assert!(names.len() <= most, "more names than there is room for");
            names.len() < 5000
        };
        let _ = self.within("list", |fs, _| fs.list(number, 0, visit));
        names
    }

    fn visit(&mut self, number: u32, rng: &mut Rng) {
        let Ok((at, inode)) = self.within("inode", |fs, _| fs.inode(number)) else { return };
        if inode.kind() == Some(Kind::Symlink) {
            let mut out = [0; 5000];
            let _ = self.within("read_link", |fs, _| fs.read_link(number, &mut out));
        }
        let mut from = 0_u32;
        for _ in 0..20 {
            let most = 1 + rng.below(1 << rng.clone().below(32)) as u32;
            let Ok(run) = self.within("map", |fs, _| fs.map(at, from, most)) else { break };
            assert!(run.len >= 1 && run.len <= most, "{run:?}");
            if let Some(first) = run.block {
                assert!(self.fs.geometry().has_block(first + (run.len - 1)), "{run:?}");
            }
            from = match rng.below(3) {
                0 => rng.next() as u32 >> rng.below(32),
                _ => from.saturating_add(run.len),
            };
        }
        let name = name(rng);
        let _ = self.within("lookup", |fs, _| fs.lookup(number, &name));
    }

    /// A name that was found, or another.
    fn place(&self, rng: &mut Rng) -> (u32, Vec<u8>) {
        match self.names.len() {
            0 => (ext2::ROOT, name(rng)),
            len => {
                let (dir, found, _) = &self.names[rng.index(len)];
                let other = match rng.below(20) {
                    0 => bad_name(rng),
                    1..6 => name(rng),
                    _ => found.clone(),
                };
                (*dir, other)
            }
        }
    }

    /// An inode that was found, or any number.
    fn number(&self, rng: &mut Rng) -> u32 {
        match rng.below(30) {
            0 => rng.next() as u32 >> rng.below(32),
            _ => *rng.pick(&self.inodes),
        }
    }

    fn end(&mut self, number: u32) {
        let Ok(at) = self.fs.locate(number) else { return };
        // Each step frees something, or is the last.
        for _ in 0..=self.fs.geometry().blocks {
            if !matches!(self.within("end_step", |fs, writer| fs.end_step(writer, at)), Ok(false)) {
                return;
            }
        }
        panic!("the end of inode {number} does not come");
    }

    fn lost(&mut self, gone: Result<Option<ext2::Gone>, Error>) {
        if let Ok(Some(gone)) = gone
            && gone.is_last
        {
            self.end(gone.number);
        }
    }

    fn change(&mut self, rng: &mut Rng) {
        let (dir, name) = self.place(rng);
        let owner = [rng.next() as u32; 2];
        let file = New { mode: Kind::File.mode_bits() | 0o644, owner };
        let folder = New { mode: Kind::Directory.mode_bits() | 0o755, owner };
        match rng.below(11) {
            0 => drop(self.within("make", |fs, w| fs.make(w, dir, &name, file))),
            1 => drop(self.within("make_dir", |fs, w| fs.make_dir(w, dir, &name, folder))),
            2 => {
                let target = vec![b'x'; rng.index(200)];
                let make =
                    |fs: &Fs<'_>, w: &mut Writer| fs.make_symlink(w, dir, &name, &target, owner);
                let _ = self.within("make_symlink", make);
            }
            3 => drop(self.within("make_unnamed", |fs, w| fs.make_unnamed(w, dir, file))),
            4 => {
                let number = self.number(rng);
                let _ = self.within("link", |fs, w| fs.link(w, number, dir, &name));
            }
            5 => {
                let gone = self.within("unlink", |fs, writer| fs.unlink(writer, dir, &name));
                self.lost(gone.map(Some));
            }
            6 => {
                let gone =
                    self.within("remove_dir", |fs, writer| fs.remove_dir(writer, dir, &name));
                self.lost(gone.map(Some));
            }
            7 | 8 => {
                let (to, new) = self.place(rng);
                let exchange = *rng.pick(&[Exchange::Replace, Exchange::Never, Exchange::Both]);
                let gone =
                    self.within("rename", |fs, w| fs.rename(w, (dir, &name), (to, &new), exchange));
                self.lost(gone);
            }
            _ => self.change_file(rng),
        }
    }

    fn change_file(&mut self, rng: &mut Rng) {
        let number = self.number(rng);
        let Ok((at, inode)) = self.fs.inode(number) else { return };
        if inode.kind() != Some(Kind::File) {
            return;
        }
        for _ in 0..4 {
            let block = match rng.below(2) {
                0 => rng.below(20) as u32,
                _ => rng.below(1 << rng.clone().below(32)) as u32,
            };
            let fresh = self.within("reserve", |fs, w| fs.reserve(w, at, block));
            if let Ok(Fresh::New(block)) = fresh {
                assert!(self.fs.geometry().has_block(block), "{block}");
            }
            let block = rng.below(400) as u32;
            let most = rng.below(300) as u32;
            let run = self.within("reserve_run", |fs, w| fs.reserve_run(w, at, block, most));
            if let Ok((Fresh::New(block), count)) = run {
                assert!((1..=most.max(1)).contains(&count), "{count} of {most}");
                assert!(self.fs.geometry().has_block(block + count - 1), "{block}");
            }
        }
        let from = rng.below(1 << rng.clone().below(32)) as u32;
        let to = from.saturating_add(rng.below(1 << rng.clone().below(32)) as u32);
        let _ = self.within("cut", |fs, w| fs.cut(w, at, from..to));
        let size = rng.below(1 << rng.clone().below(48));
        let _ = self.within("set_size", |fs, w| fs.set_size(w, at, size));
    }
}
