//! Operations on a tree of files at /mnt, which a seed decides.
//!
//! The results of a task go to a file there, which has room for them already: the digest of its tree, a record for each operation, and the digest at the end. The host made the tree, and compares.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `seed=` | 0 or more | decides the operations (1) |
//! | `count=` | 0 or more | operations (400) |
//! | `tasks=` | 1 to 4 | tasks that work at the same time, each in a directory of its own (1) |
//! | `shared=` | 0 to 1 | in the same tree: nothing is compared but what is there at the end (0) |
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::println;
use programs::sys::files::{Fd, flags, open};
use programs::task::{join_all, start};
use programs::tree::execute::Executor;
use programs::tree::walk::walk;
use treeops::op::Ops;
use treeops::record::{BYTES, Record};

programs::entry!(tree);

/// Where each task begins, and its results.
const PLACES: [(&CStr, &CStr); 5] = [
    (c"/mnt", c"/mnt/results"),
    (c"/mnt/task0", c"/mnt/results0"),
    (c"/mnt/task1", c"/mnt/results1"),
    (c"/mnt/task2", c"/mnt/results2"),
    (c"/mnt/task3", c"/mnt/results3"),
];

fn tree(args: &Args) -> i32 {
    let (seed, count) = (args.number("seed", 1), args.number("count", 400));
    let tasks = args.number("tasks", 1);
    if args.number("shared", 0) != 0 {
        return work_together(tasks, seed, count);
    }
    if tasks == 1 {
        return work(0, seed, count);
    }
    for task in 0..tasks {
        start(|| work(task + 1, seed + task, count));
    }
    join_all(tasks)
}

/// What the tasks get in each other's way is not known before; what is there then must stay.
fn work_together(tasks: usize, seed: usize, count: usize) -> i32 {
    for task in 0..tasks {
        start(|| {
            let mut executor = Executor::among_others();
            for op in Ops::new((seed + task) as u32, count as u32) {
                executor.execute(op);
            }
            0
        });
    }
    let worst = join_all(tasks);
    let walk = || walk(open(PLACES[0].0, flags::RDONLY | flags::DIRECTORY).expect("a tree"), b"");
    let digest = walk();
    assert_eq!(walk(), digest, "nobody changes it");
    println!("tree: {} names, digest {:016x}", digest.names, digest.hash);
    worst
}

fn work(place: usize, seed: usize, count: usize) -> i32 {
    let (root, results) = PLACES[place];
    let mut results = Results { file: open(results, flags::RDWR).expect("a file"), at: 0 };
    let top = || open(root, flags::RDONLY | flags::DIRECTORY).expect("a directory");
    results.digest(top());
    let (mut executor, mut failed) = (Executor::new(), 0);
    for op in Ops::below(place as u8, seed as u32, count as u32) {
        let record = executor.execute(op);
        failed += usize::from(record.is_error());
        results.put(record);
    }
    executor.close_all();
    results.digest(top());
    results.file.sync().expect("a disk that works");
    println!("tree: seed {seed}: {count} operations, of which {failed} failed");
    0
}

/// The file of results.
struct Results {
    file: Fd,
    at: u64,
}

impl Results {
    fn put(&mut self, record: Record) {
        let written = self.file.write_at(&record.to_bytes(), self.at);
        assert_eq!(written, Ok(BYTES), "a record at {}", self.at);
        self.at += BYTES as u64;
    }

    fn digest(&mut self, top: Fd) {
        let digest = walk(top, b"results");
        self.put(Record { status: digest.names as i64, hash: digest.hash });
    }
}
