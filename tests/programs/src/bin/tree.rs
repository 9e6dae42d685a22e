//! Operations on a tree of files at /mnt, which a seed decides.
//!
//! The results go to the file `results` there, which has room for them already: the digest of the
//! tree, a record for each operation, and the digest at the end. The host made the tree, and compares.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `seed=` | 0 or more | decides the operations (1) |
//! | `count=` | 0 or more | operations (400) |
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::println;
use programs::sys::files::{Fd, flags, open};
use programs::tree::execute::Executor;
use programs::tree::walk::walk;
use treeops::op::Ops;
use treeops::record::{BYTES, Record};

programs::entry!(tree);

const TOP: &CStr = c"/mnt";
const RESULTS: &CStr = c"/mnt/results";

fn tree(args: &Args) -> i32 {
    let (seed, count) = (args.number("seed", 1), args.number("count", 400));
    let mut results = Results { file: open(RESULTS, flags::RDWR).expect("a file"), at: 0 };
    let top = || open(TOP, flags::RDONLY | flags::DIRECTORY).expect("a file system at /mnt");
    println!("tree: free before: {:?}", top().free());
    results.digest(top());
    let (mut executor, mut failed) = (Executor::new(), 0);
    for op in Ops::new(seed as u32, count as u32) {
        let record = executor.execute(op);
        failed += usize::from(record.is_error());
        results.put(record);
    }
    executor.close_all();
    results.digest(top());
    results.file.sync().expect("a disk that works");
    println!("tree: seed {seed}: {count} operations, of which {failed} failed");
    println!("tree: free behind: {:?}", top().free());
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
