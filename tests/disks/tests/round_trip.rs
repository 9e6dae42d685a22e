//! Trees go round: a folder of the host becomes an image, a program under the kernel works on it, and
//! the model, `e2fsck` and `debugfs` judge what is there then.
//!
//! A failure names the seed and the first operation whose result is not the model's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use disks::folder::Folder;
use disks::image::Image;
use disks::machine::{Machine, Said, for_each};
use disks::model::{Model, Node, ROOT, Room};
use disks::plant::{compare, plant};
use disks::seeds;
use treeops::op::{Op, Ops};
use treeops::path::ROOTS;
use treeops::record::{BYTES, Record};

/// The kernel puts the target of a symbolic link and the rest of the path together, in a page: some
/// paths that walk in a circle grow too long for it before the fortieth link.
const ELOOP: i64 = 40;
const ENAMETOOLONG: i64 = 36;

/// A tree, and how it goes round.
#[derive(Clone, Copy)]
struct Trip {
    seed: u32,
    /// Operations that make the first tree.
    before: u32,
    count: u32,
    block: usize,
    kbytes: u32,
    inodes: u32,
    memory: &'static str,
    cpus: u32,
    tasks: u32,
    /// `ENOSPC` is expected, and its place is the kernel's to decide.
    may_be_full: bool,
}

const USUAL: Trip = Trip {
    seed: 0,
    before: 150,
    count: 400,
    block: 4096,
    kbytes: 64 << 10,
    inodes: 512,
    memory: "64M",
    cpus: 1,
    tasks: 1,
    may_be_full: false,
};

impl Trip {
    fn name(&self) -> String {
        let Self { seed, count, block, cpus, tasks, .. } = self;
        format!("seed={seed} count={count} block={block} cpus={cpus} tasks={tasks}")
    }

    /// The tasks: the number of the root of each, and what is added to its name.
    fn tasks(&self) -> Vec<(u8, String)> {
        match self.tasks {
            1 => vec![(0, String::new())],
            tasks => (0..tasks).map(|task| (task as u8 + 1, task.to_string())).collect(),
        }
    }

    /// The tree before the kernel sees it.
    fn first_tree(&self) -> Model {
        let mut model = Model::new(self.block);
        for (root, task) in self.tasks() {
            if root > 0 {
                let dir = Node::Dir(BTreeMap::new(), ROOT);
                model.add(ROOT, format!("task{task}").as_bytes(), dir);
            }
            let seed = self.seed.wrapping_add(1 << 31) + u32::from(root);
            for op in Ops::below(root, seed, self.before) {
                model.execute(without_links_to_links(op), Room::Enough);
            }
            model.start_anew();
            let room = vec![0xff; (self.count as usize + 2) * BYTES];
            model.add(ROOT, format!("results{task}").as_bytes(), Node::File(room));
        }
        model
    }

    fn image(&self, folder: &Folder, model: &Model) -> Image {
        let tree = folder.sub("tree");
        plant(model, &tree);
        let (block, inodes) = (self.block.to_string(), self.inodes.to_string());
        let options = ["-b", &block, "-N", &inodes, "-m", "0"];
        let image = Image::make(folder.at("image"), self.kbytes, &options, Some(&tree));
        image.must_be_clean();
        image
    }

    fn run(&self, image: &Image) -> Said {
        let words = format!("seed={} count={} tasks={}", self.seed, self.count, self.tasks);
        let machine = Machine::new("tree", &words).disk(image.path());
        machine.option("--memory", self.memory).option("--cpus", &self.cpus.to_string()).run()
    }

    /// The whole trip; returns what the kernel said, and how often there was no room.
    fn go(&self) -> (Said, usize) {
        let (folder, mut model) = (Folder::new(), self.first_tree());
        let image = self.image(&folder, &model);
        let said = self.run(&image);
        said.must_be_well(&self.name());
        image.must_be_clean();
        let mut full = 0;
        for (number, (root, task)) in (0..).zip(self.tasks()) {
            let results = image.read(&format!("/results{task}")).expect("the results");
            full += self.judge(&mut model, root, self.seed + number, &results);
        }
        let after = folder.sub("after");
        image.copy_to(&after);
        compare(&model, &after);
        (said, full)
    }

    /// Compares each result of a task with the model's; returns how often there was no room.
    fn judge(&self, model: &mut Model, root: u8, seed: u32, results: &[u8]) -> usize {
        let (name, records) = (self.name(), results.as_chunks::<BYTES>().0);
        let mut records = records.iter().map(|bytes| Record::from_bytes(*bytes));
        let mut next = || records.next().expect("a record for each operation");
        let top = model.lookup(ROOTS[usize::from(root)], true).expect("the root of a task");
        assert_eq!(next(), model.digest(top), "{name}: the tree at the start");
        let mut full = 0;
        for (at, op) in Ops::below(root, seed, self.count).enumerate() {
            let found = next();
            let room = if self.may_be_full { Room::of(op, found) } else { Room::Enough };
            full += usize::from(room != Room::Enough);
            let wanted = model.execute(op, room);
            let grown = Record { status: -ENAMETOOLONG, ..wanted };
            if wanted.status == -ELOOP && found == grown {
                continue;
            }
            assert_eq!(found, wanted, "{name}: operation {at} of task {root}, {op:?}");
        }
        model.start_anew();
        assert_eq!(next(), model.digest(top), "{name}: the tree at the end");
        full
    }
}

/// mke2fs makes two of a symbolic link that has two names.
const fn without_links_to_links(op: Op) -> Op {
    match op {
        Op::Link { old, new, .. } => Op::Link { old, new, follow: true },
        other => other,
    }
}

fn trips(seeds: impl Iterator<Item = u32> + Send, trip: Trip) {
    for_each(seeds, |seed| {
        Trip { seed, ..trip }.go();
    });
}

#[test]
fn trees_with_blocks_of_4096_bytes_go_round() {
    trips(seeds(100, 4, 20), USUAL);
}

#[test]
fn trees_with_blocks_of_2048_bytes_go_round() {
    trips(seeds(200, 3, 20), Trip { block: 2048, ..USUAL });
}

#[test]
fn trees_with_blocks_of_1024_bytes_go_round() {
    trips(seeds(300, 3, 20), Trip { block: 1024, ..USUAL });
}

#[test]
fn trees_go_round_on_four_processors() {
    trips(seeds(400, 3, 20), Trip { cpus: 4, block: 1024, ..USUAL });
}

/// Tasks that work in directories of their own meet in the bitmaps, the inodes and the page cache, and
/// not in what they see.
#[test]
fn trees_of_four_tasks_go_round_on_four_processors() {
    trips(seeds(800, 2, 20), Trip { cpus: 4, tasks: 4, block: 1024, inodes: 2048, ..USUAL });
    trips(seeds(850, 1, 20), Trip { cpus: 4, tasks: 4, inodes: 2048, memory: "16M", ..USUAL });
}

/// Tasks that change the same tree get in each other's way; what is there at the end is there after
/// another boot.
#[test]
fn a_tree_that_tasks_share_stays_as_they_left_it() {
    for_each(seeds(900, 3, 20), |seed| {
        let block = [1024, 2048, 4096][seed as usize % 3];
        let (folder, trip) = (Folder::new(), Trip { seed, block, inodes: 1024, ..USUAL });
        let image = trip.image(&folder, &trip.first_tree());
        let digests = [700, 0].map(|count| {
            let words = format!("seed={seed} count={count} tasks=4 shared=1");
            let machine = Machine::new("tree", &words).disk(image.path());
            let said = machine.option("--memory", "24M").option("--cpus", "4").run();
            said.must_be_well(&words);
            image.must_be_clean();
            let line = said.text.lines().find(|line| line.contains("digest"));
            line.expect("a digest").to_owned()
        });
        assert_eq!(digests[0], digests[1], "seed {seed}");
    });
}

/// Pages of files and of records are reclaimed while they are in use.
#[test]
fn a_tree_goes_round_in_little_memory() {
    let freed = AtomicU64::new(0);
    for_each(seeds(500, 1, 20), |seed| {
        let (said, _) = Trip { seed, memory: "8M", count: 3000, block: 2048, ..USUAL }.go();
        let by = ["pgsteal_kswapd", "pgsteal_direct"].map(|by| said.counter(by));
        freed.fetch_add(by.iter().sum(), Ordering::Relaxed);
    });
    let freed = freed.into_inner();
    println!("{freed} pages were reclaimed");
    assert!(freed > 0);
}

/// No room for contents, directories and long targets: what was begun is undone.
#[test]
fn a_tree_goes_round_on_a_full_disk() {
    let trip =
        Trip { before: 50, count: 1200, kbytes: 3 << 10, block: 1024, may_be_full: true, ..USUAL };
    must_be_full(seeds(610, 3, 20), trip);
}

/// No inodes: directories, files and links are not made.
#[test]
fn a_tree_goes_round_without_free_inodes() {
    must_be_full(seeds(700, 1, 20), Trip { before: 20, inodes: 24, may_be_full: true, ..USUAL });
}

fn must_be_full(seeds: impl Iterator<Item = u32> + Send, trip: Trip) {
    let full = AtomicUsize::new(0);
    for_each(seeds, |seed| {
        full.fetch_add(Trip { seed, ..trip }.go().1, Ordering::Relaxed);
    });
    let full = full.into_inner();
    println!("{full} operations found no room");
    assert!(full > 0, "the disk was never full: {}", trip.name());
}
