//! Disks in trouble under the kernel: nothing hangs, programs learn of every error, no page is lost.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use disks::folder::Folder;
use disks::image::{Image, swap_of};
use disks::machine::{Machine, Said, for_each};
use disks::seeds;
use disks::server::trouble::Trouble;
use disks::server::{Left, Server};

/// Requests of the boot: the mount reads the superblock, the descriptors and bitmaps.
const MOUNT: u32 = 60;

fn image(folder: &Folder, kbytes: u32, block: &str) -> Image {
    Image::make(folder.at("image"), kbytes, &["-b", block, "-N", "256", "-m", "0"], None)
}

/// Runs a program on a disk in trouble, to its end.
fn run_on(folder: &Folder, disk: &Image, trouble: Trouble, machine: Machine) -> (Said, Left) {
    let contents = fs::read(disk.path()).expect("an image");
    let server = Server::start(folder.at("nbd"), contents, trouble);
    let said = machine.drive(server.drive()).run();
    (said, server.finish())
}

fn crowd(words: &str) -> Machine {
    Machine::new("crowd", words).option("--cpus", "2")
}

/// Runs four programs on a disk whose requests come to harm; returns how many did.
fn crowd_on(trouble: Trouble, words: &str) -> (Said, Left) {
    let folder = Folder::new();
    let about = format!("{trouble:?} {words}");
    let block = ["1024", "4096"][trouble.seed as usize % 2];
    let disk = image(&folder, 16 << 10, block);
    let (said, left) = run_on(&folder, &disk, trouble, crowd(words));
    said.must_end_with(0, &about);
    assert!(said.has("crowd: all have ended"), "{about}\n{}", said.text);
    (said, left)
}

/// The errors that the programs have seen.
fn errors_seen(said: &Said) -> u64 {
    let counts = said.text.lines().filter_map(|line| {
        line.strip_prefix("crowd: program ")?.split(' ').nth(1)?.parse::<u64>().ok()
    });
    counts.sum()
}

/// What the disk holds is a file system without a fault.
fn must_be_clean(left: &Left) {
    let folder = Folder::new();
    let image = Image::of(folder.at("after"));
    fs::write(image.path(), &left.contents).expect("room for an image");
    image.must_be_clean();
}

/// DIRT-03: each description reports each error once; then pages are clean and readable.
#[test]
fn each_error_of_a_disk_is_reported_once() {
    for_each(["1024", "4096"].into_iter(), |block| {
        let folder = Folder::new();
        let disk = image(&folder, 8 << 10, block);
        let trouble = Trouble { poison: true, ..Trouble::default() };
        let (said, left) = run_on(&folder, &disk, trouble, Machine::new("diskerrors", ""));
        said.must_be_well(block);
        assert!(left.failed >= 5, "{} requests failed", left.failed);
        must_be_clean(&left);
    });
}

/// DIRT-03: whatever fails at random, each call ends, and some tell of it.
#[test]
fn programs_live_on_when_writes_fail() {
    for_each(seeds(1, 2, 10), |seed| {
        let trouble = Trouble { spared: MOUNT, writes: 4, seed: seed.into(), ..Trouble::default() };
        let (said, left) = crowd_on(trouble, &format!("seed={seed}"));
        assert!(left.failed > 0 && errors_seen(&said) > 0, "{} failed", left.failed);
    });
}

#[test]
fn programs_live_on_when_reads_fail() {
    for_each(seeds(11, 2, 10), |seed| {
        let trouble = Trouble { spared: MOUNT, reads: 3, seed: seed.into(), ..Trouble::default() };
        let (said, left) = crowd_on(trouble, &format!("seed={seed} check=1"));
        assert!(left.failed > 0 && errors_seen(&said) > 0, "{} failed", left.failed);
    });
}

/// DIRT-03: a flush that fails is an error of `fsync`.
#[test]
fn programs_live_on_when_flushes_fail() {
    for_each(seeds(21, 2, 10), |seed| {
        let trouble =
            Trouble { spared: MOUNT, flushes: 2, seed: seed.into(), ..Trouble::default() };
        let (said, left) = crowd_on(trouble, &format!("seed={seed}"));
        assert!(left.failed > 0 && errors_seen(&said) > 0, "{} failed", left.failed);
    });
}

/// In any order, and late: that is no error.
#[test]
fn a_slow_disk_without_order_loses_nothing() {
    for_each(seeds(31, 2, 10), |seed| {
        let delay = Duration::from_micros(200);
        let seed64 = seed.into();
        let trouble = Trouble { delay, out_of_order: true, seed: seed64, ..Trouble::default() };
        let (said, left) = crowd_on(trouble, &format!("seed={seed} check=1"));
        assert_eq!((errors_seen(&said), left.failed), (0, 0));
        assert!(said.has("ext2: unmounted"), "{}", said.text);
        must_be_clean(&left);
    });
}

/// The connection ends: every request fails from then on.
#[test]
fn programs_live_on_when_a_disk_is_unplugged() {
    for_each(seeds(41, 2, 10), |seed| {
        let after = Some(MOUNT + 200 * (seed % 3));
        let trouble = Trouble { dropped_after: after, seed: seed.into(), ..Trouble::default() };
        let (said, _) = crowd_on(trouble, &format!("seed={seed}"));
        assert!(errors_seen(&said) > 0, "{}", said.text);
    });
}

/// The disk never answers again: the kernel gives it up after half a minute, and programs go on with
/// errors.
#[test]
fn programs_live_on_when_a_disk_falls_silent() {
    for_each(seeds(51, 1, 4), |seed| {
        let after = Some(MOUNT + 250 * (seed % 3));
        let trouble = Trouble { silent_after: after, seed: seed.into(), ..Trouble::default() };
        let (said, _) = crowd_on(trouble, &format!("seed={seed}"));
        assert!(said.has("the disk is gone"), "{}", said.text);
        assert!(errors_seen(&said) > 0, "{}", said.text);
    });
}

/// Runs children that use more memory than there is, with swap on a disk in trouble.
fn swap_on(trouble: Trouble, words: &str) -> (Said, Left) {
    const PAGES: u32 = 32 << 10;
    let folder = Folder::new();
    let server = Server::start(folder.at("nbd"), swap_of(PAGES), trouble);
    let machine = Machine::new("ioerror", words).option("--memory", "48M");
    let said = machine.option("--append", "page_cluster=0").drive(server.drive()).run();
    said.must_end_with(0, &format!("{trouble:?}"));
    (said, server.finish())
}

/// SWAP-07: a page that cannot be read is a bus error of whoever needs it, and of nobody else.
#[test]
fn a_child_dies_of_swap_that_cannot_be_read() {
    let trouble = Trouble { spared: 20, reads: 2000, seed: 1, ..Trouble::default() };
    let (said, left) = swap_on(trouble, "total=8 rounds=1");
    assert!(left.failed > 0 && said.has("killed 0 wrong 0"), "{}", said.text);
    let errors = said.counter("swap_read_error");
    assert!(errors > 0 && said.has(&format!("bus_errors {errors} ")), "{}", said.text);
}

/// SWAP-07: a page that cannot be written goes to another place.
#[test]
fn swap_that_cannot_be_written_is_not_noticed() {
    let trouble = Trouble { spared: 20, writes: 20, seed: 2, ..Trouble::default() };
    let (said, left) = swap_on(trouble, "total=6 rounds=1");
    assert!(left.failed > 0 && said.counter("swap_write_error") > 0, "{}", said.text);
    assert!(said.has("whole 6 bus_errors 0 killed 0 wrong 0"), "{}", said.text);
}

/// Pages that come back in any order are the right ones.
#[test]
fn swap_without_order_loses_nothing() {
    let trouble = Trouble { out_of_order: true, seed: 3, ..Trouble::default() };
    let (said, _) = swap_on(trouble, "total=4 rounds=1 percent=120");
    assert!(said.has("whole 4 bus_errors 0 killed 0 wrong 0"), "{}", said.text);
    assert!(said.counter("pswpin") > 0);
}

/// With the disk, what is on it is gone: children die of that, or for lack of memory, and no page is
/// lost.
#[test]
fn children_die_when_their_swap_is_unplugged() {
    let trouble = Trouble { dropped_after: Some(3000), ..Trouble::default() };
    let (said, _) = swap_on(trouble, "total=8 rounds=1 killed=1");
    assert!(said.counter("swap_read_error") > 0 && said.has(" wrong 0"), "{}", said.text);
}

/// DIRT-03: `ENOSPC` at the write, a bus error at the store, and nothing that was accepted is lost.
#[test]
fn four_writers_fill_a_disk() {
    for_each([("1024", "1"), ("2048", "4"), ("4096", "2")].into_iter(), |(block, cpus)| {
        let folder = Folder::new();
        let disk = image(&folder, 8 << 10, block);
        let machine = Machine::new("fullfs", "").disk(disk.path()).option("--cpus", cpus);
        machine.run().must_be_well(block);
        disk.must_be_clean();
    });
}

/// What is damaged is told, fails whoever needs it, and is remembered by the superblock: the next mount
/// and `e2fsck` know of it.
#[test]
fn damage_is_told_and_remembered() {
    let folder = Folder::new();
    let disk = image(&folder, 64 << 10, "4096");
    let said = disk.ask("blocks <2>");
    let root = said.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    let root = root.unwrap_or_else(|| panic!("no block of the root: {said}"));
    let mut file = OpenOptions::new().write(true).open(disk.path()).expect("the image");
    // The length of the root's first entry.
    file.seek(SeekFrom::Start(root * 4096 + 4)).expect("a place");
    file.write_all(&[3, 0]).expect("two bytes");
    let said = Machine::new("mixed", "pages=64").disk(disk.path()).run();
    said.must_end_with(101, "a directory that cannot be read");
    assert!(said.has("ext2: damaged: an entry of a directory"), "{}", said.text);
    assert!(disk.ask("show_super_stats -h").contains("clean with errors"));
    let said = Machine::new("hello", "").disk(disk.path()).run();
    assert!(said.has("or is damaged: run e2fsck"), "{}", said.text);
    disk.repair();
    disk.must_be_clean();
}
