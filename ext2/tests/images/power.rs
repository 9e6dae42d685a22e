//! The power is cut at any time: `e2fsck` can repair what is left, and what was synced before is there.
//!
//! What a cut leaves: everything that was written before the last flush that has returned, and any part
//! of what was written after it. Nothing of what is written after the next flush, since whoever waits for
//! a flush ([`ext2::Disk::settle`], `fsync`) has changed nothing else meanwhile.
//!
//! What must be there after the repair: a file that was synced before that flush, with its contents as they
//! were then, under each name that it was synced with and that has not been changed since. If it has
//! only grown since, it begins with them; unless the end of it was a hole: then the block that is there
//! now, and is shared with what was appended, may not have been written yet, and holds what was in it.
//!
//! One case cannot be kept: a file that has grown into blocks of one that was deleted. Until the deletion is
//! written both may have them on the device. `e2fsck` copies such blocks, and deletes one of the files if
//! there is no room for that. A file that was not changed never shares its blocks.
//!
//! A directory that was removed may be there still while its block is another's. `e2fsck` may have to
//! run twice then: without `.` and `..` in the block it makes one of them at a time.

use crate::choices::{Menu, step};
use crate::support::content::Content;
use crate::support::disk::{Cache, Event};
use crate::support::files;
use crate::support::model::{Body, Id, Model, ROOT};
use crate::support::plant::{self, Shape, Size};
use crate::support::random::{Rng, for_seeds, is_long};
use crate::support::session::Session;
use crate::support::tools::{Folder, e2fsck, path, run, text};

/// What calls are drawn from: files grow into trees of two levels.
const MENU: Menu = Menu { write_bytes: 40_000, is_sparse: false, is_rude: false };

/// A file that was synced. Times are counts of [`Event`]s.
struct Promise {
    path: Vec<Vec<u8>>,
    id: Id,
    content: Content,
    /// When that was done.
    made: usize,
    /// When the call began that first changed the contents or the path.
    broken: Option<usize>,
    /// When the call began that first made it larger.
    grown: Option<usize>,
}

/// A session that keeps promises.
struct Life<'a> {
    session: Session<'a>,
    cache: &'a Cache,
    promises: Vec<Promise>,
}

/// The names on the way to a name.
fn path_of(model: &Model, dir: Id, name: &[u8]) -> Vec<Vec<u8>> {
    let mut path = vec![name.to_vec()];
    let mut at = dir;
    while at != ROOT {
        let parent = model.parent(at);
        let names = model.names(parent).expect("a directory");
        let (name, _) = names.iter().find(|(_, id)| **id == at).expect("it has a name");
        path.insert(0, name.clone());
        at = parent;
    }
    path
}

impl Life<'_> {
    /// Syncs a file, and promises it under all its names.
    fn sync(&mut self, rng: &mut Rng) {
        let model = &self.session.model;
        let all = model.all();
        let files: Vec<_> = all.iter().filter(|(_, _, id)| model.is_file(*id)).collect();
        if files.is_empty() {
            return;
        }
        let id = rng.pick(&files).2;
        if rng.percent(30) {
            self.session.fs.sync(&self.session.writer).expect("it can be written");
        }
        self.cache.sync(&files::blocks(&self.session.fs, self.session.at(id)));
        let Body::File(content) = &model.node(id).body else { panic!("it is a file") };
        let made = self.cache.event_count();
        for (dir, name, _) in files.iter().filter(|(_, _, other)| *other == id) {
            let (path, content) = (path_of(model, *dir, name), content.clone());
            self.promises.push(Promise { path, id, content, made, broken: None, grown: None });
        }
    }

    /// Appends to a file, most likely to one that was synced.
    fn append(&mut self, rng: &mut Rng) {
        let kept = self.promises.iter().filter(|promise| promise.broken.is_none());
        let kept: Vec<Id> = kept.map(|promise| promise.id).collect();
        if let Some(id) = (!kept.is_empty()).then(|| *rng.pick(&kept)) {
            let size = self.session.model.content(id).size;
            let len = 1 + rng.below(MENU.write_bytes) as usize;
            self.session.write(id, size, &rng.bytes(len, 4096));
        }
    }

    /// A call has been made, which began at a time: what it changes is no longer promised.
    fn note(&mut self, began: usize) {
        for promise in self.promises.iter_mut().filter(|promise| promise.broken.is_none()) {
            let model = &self.session.model;
            let is_there = model.resolve(&promise.path) == Some(promise.id);
            let content = match model.nodes.get(&promise.id).map(|node| &node.body) {
                Some(Body::File(content)) if is_there => content,
                _ => {
                    promise.broken = Some(began);
                    continue;
                }
            };
            if content.changes != promise.content.changes {
                promise.broken = Some(began);
            } else if content.growths != promise.content.growths {
                promise.grown.get_or_insert(began);
            }
        }
    }
}

/// A time at which the power is cut: the last flush that has returned, and the next one.
#[derive(Clone, Copy, Debug)]
struct Cut {
    last: usize,
    next: usize,
}

/// All times between two flushes, those in which something was written.
fn cuts(events: &[Event]) -> Vec<Cut> {
    let is_flush = |at: &usize| matches!(events[*at], Event::Flush);
    let flushes: Vec<usize> = (0..events.len()).filter(is_flush).chain([events.len()]).collect();
    let pairs = flushes.windows(2).map(|pair| Cut { last: pair[0], next: pair[1] });
    pairs.filter(|cut| cut.next > cut.last + 1).collect()
}

/// Writes what has happened in a time, or part of it.
fn replay(image: &mut [u8], block_bytes: usize, events: &[Event], mut keep: impl FnMut() -> bool) {
    for event in events {
        if let Event::Write(block, bytes) = event
            && keep()
        {
            let start = *block as usize * block_bytes;
            image[start..start + block_bytes].copy_from_slice(bytes);
        }
    }
}

/// Repairs what is left, and looks for what was promised. Returns how much that was.
fn assert_kept(folder: &Folder, left: &[u8], promises: &[Promise], cut: Cut) -> usize {
    let file = folder.image(left);
    let mut output = e2fsck(&file, "-fy");
    if text(&output).contains("Couldn't fix parent") {
        // Its first run leaves a directory without `..`, which the second makes.
        output = e2fsck(&file, "-fy");
    }
    assert!(matches!(output.status.code(), Some(0..=3)), "{cut:?}: e2fsck: {}", text(&output));
    let cache = Cache::new(std::fs::read(&file).expect("it is there"));
    let superblock = cache.superblock().expect("a superblock");
    let (fs, _) = ext2::Ext2::mount(&cache, &superblock, true).expect("it was repaired");
    let is_due = |promise: &&Promise| {
        promise.made <= cut.last + 1 && promise.broken.is_none_or(|at| at >= cut.next)
    };
    let due = promises.iter().filter(is_due);
    let was_full = text(&output).contains("Couldn't clone file");
    for promise in due.clone() {
        let has_grown = promise.grown.is_some_and(|at| at < cut.next);
        if was_full && has_grown {
            continue;
        }
        let lost = || {
            format!("{cut:?}, synced at {}: {:?}\n{}", promise.made, promise.path, text(&output))
        };
        let number = promise.path.iter().try_fold(ext2::ROOT, |dir, name| fs.lookup(dir, name));
        let number = number.unwrap_or_else(|error| panic!("{error}: {}", lost()));
        let (at, inode) = fs.inode(number).expect("it is in use");
        let size = promise.content.size;
        assert!(inode.size == size || has_grown && inode.size > size, "{size}: {}", lost());
        let mut content = promise.content.clone();
        let end = size - size % fs.geometry().block_bytes() as u64;
        if has_grown && content.is_zero(end, size) {
            content.resize(end);
        }
        let difference = files::difference(&fs, at, &content);
        assert_eq!(difference, None, "{}", lost());
    }
    due.count()
}

/// Lives once, and cuts the power at so many times. Returns how many promises were kept.
fn life(seed: u64, times: usize) -> usize {
    let mut rng = Rng::new(seed);
    let size = Size { nodes: 20, file_bytes: 60_000, is_sparse: false, is_wide: true };
    let block_bytes = *rng.pick(&[1024, 1024, 1024, 2048]);
    let model = plant::tree(&mut rng, &size, block_bytes);
    let options = vec!["-g".to_string(), "1024".to_string()];
    let shape = Shape { block_bytes, options, spare_inodes: 100, spare_blocks: 0 };
    let folder = Folder::new();
    let least = *rng.pick(&[100 << 10, 400 << 10, 3 << 20]);
    let file = folder.image(&plant::roomy_image(&folder, &model, &shape, least));
    if rng.percent(50) {
        // Large directories have an index, which is lost with the first change.
        run("e2fsck", &["-fyD", path(&file)]);
    }
    let cache = Cache::new(std::fs::read(&file).expect("it is there"));
    let mut life = Life { session: Session::start(&cache, model), cache: &cache, promises: vec![] };
    let mut image = cache.image();
    cache.record(rng.fork());
    for _ in 0..50 + rng.below(200) {
        let began = cache.event_count();
        match rng.below(10) {
            0 => life.sync(&mut rng),
            1 | 2 => life.append(&mut rng),
            _ => step(&mut life.session, &mut rng, &MENU),
        }
        life.note(began);
    }
    let events = cache.events();
    let mut cuts = cuts(&events);
    while cuts.len() > times {
        cuts.remove(rng.index(cuts.len()));
    }
    let (mut done, mut kept) = (0, 0);
    for cut in cuts {
        replay(&mut image, block_bytes, &events[done..cut.last], || true);
        done = cut.last;
        let mut left = image.clone();
        let share = *rng.pick(&[10, 50, 90, 100]);
        replay(&mut left, block_bytes, &events[cut.last..cut.next], || rng.percent(share));
        kept += assert_kept(&folder, &left, &life.promises, cut);
    }
    kept
}

#[test]
fn what_was_synced_survives_a_cut_of_power() {
    let mut kept = 0;
    let (lives, times) = if is_long() { (1000, 20) } else { (25, 6) };
    for_seeds("what_was_synced_survives_a_cut_of_power", 0..lives, |seed| {
        kept += life(seed, times);
    });
    println!("{kept} files were looked for");
    assert!(kept > 0 || std::env::var_os("EXT2_SEED").is_some(), "something was promised");
}
