//! The power is cut while a program writes: `e2fsck` repairs what is on the disk, and what was synced
//! before is there.
//!
//! The disk is the test's own: it logs writes and flushes in their order, and a cut leaves what was
//! flushed, and some of what came later. The program marks each step that it has synced
//! ([`treeops::keeper`]), and the mark is found in the log. In a second kind QEMU is killed, and the
//! disk is a plain file.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use disks::folder::{Folder, output_of};
use disks::image::Image;
use disks::machine::{Machine, for_each};
use disks::seeds;
use disks::server::Server;
use disks::server::log::Event;
use disks::server::trouble::Trouble;
use splitmix::SplitMix64;
use treeops::fill;
use treeops::keeper::{SLOTS, Step, step_of, steps};

/// Bytes of a sector: marks are at the start of one.
const SECTOR: usize = 512;

/// What the kept files hold; `None` for one that is not there.
type Files = [Option<Vec<u8>>; SLOTS as usize];

/// The kept files behind step `last`.
fn files_behind(seed: u32, last: u32) -> Files {
    let mut files = Files::default();
    for (number, step) in steps(seed, last + 1).enumerate() {
        let bytes = |len: u32| {
            let mut bytes = vec![0; len as usize];
            fill(&mut bytes, number as u32);
            bytes
        };
        match step {
            Step::Write { slot, at, len, truncate } => {
                let file = files[slot as usize].get_or_insert_default();
                if truncate {
                    file.clear();
                }
                let end = (at + len) as usize;
                file.resize(file.len().max(end), 0);
                file[at as usize..end].copy_from_slice(&bytes(len));
            }
            Step::Append { slot, len } => {
                files[slot as usize].get_or_insert_default().extend(bytes(len));
            }
            Step::Rename { from, to } if from != to && files[from as usize].is_some() => {
                files[to as usize] = files[from as usize].take();
            }
            Step::Remove { slot } => files[slot as usize] = None,
            Step::Rename { .. } | Step::Other { .. } | Step::RemoveOther { .. } => {}
        }
    }
    files
}

/// The step on kept files that may have begun behind step `last`: the next that is marked.
fn in_progress(seed: u32, last: u32) -> Step {
    let next = steps(seed, u32::MAX).skip(last as usize + 1).find(|step| step.is_marked());
    next.expect("there are always more steps")
}

/// Whether a file is what it was, or, if a step on it is in progress, as much of it as that step leaves
/// alone.
fn is_kept(slot: u32, was: Option<&Vec<u8>>, found: Option<&Vec<u8>>, step: Step) -> bool {
    if !step.slots().any(|touched| touched == slot) {
        return was == found;
    }
    let written = match step {
        Step::Append { .. } => usize::MAX..usize::MAX,
        Step::Write { at, len, truncate: false, .. } => at as usize..(at + len) as usize,
        _ => return true,
    };
    let Some(was) = was else { return true };
    let places = (0..was.len()).filter(|at| !written.contains(at));
    found.is_some_and(|found| places.into_iter().all(|at| found.get(at) == Some(&was[at])))
}

fn name_of(slot: u32) -> String {
    let letter = char::from(b'a' + slot as u8);
    if slot.is_multiple_of(3) { format!("keep/deep/k{letter}") } else { format!("keep/k{letter}") }
}

/// Repairs an image, and compares it with what must be there behind step `last`.
fn check(image: &Image, to: &Path, seed: u32, last: u32, about: &str) {
    image.repair();
    image.copy_to(to);
    let (files, step) = (files_behind(seed, last), in_progress(seed, last));
    for (slot, was) in (0..).zip(&files) {
        let found = fs::read(to.join(name_of(slot))).ok();
        let sizes = [was.as_ref(), found.as_ref()].map(|bytes| bytes.map(Vec::len));
        assert!(
            is_kept(slot, was.as_ref(), found.as_ref(), step),
            "{about}: {} behind step {last}, in {step:?}: {sizes:?}",
            name_of(slot)
        );
    }
}

/// The last mark among these events.
fn last_mark(events: &[Event]) -> Option<u32> {
    let marks = events.iter().filter_map(|event| match event {
        Event::Write { data, .. } => data.chunks(SECTOR).filter_map(step_of).max(),
        Event::Flush => None,
    });
    marks.max()
}

fn machine(seed: u32, count: u32) -> Machine {
    Machine::new("keeper", &format!("seed={seed} count={count}")).option("--memory", "24M")
}

fn empty_image(folder: &Folder, block: &str) -> Image {
    Image::make(folder.at("image"), 3 << 10, &["-b", block, "-N", "128", "-m", "0"], None)
}

/// Runs the program on a disk that logs, and cuts the power at so many moments.
fn cut_power(seed: u32, block: &str, trouble: Trouble, cuts: u32) {
    const STEPS: u32 = 120;
    let folder = Folder::new();
    let before = fs::read(empty_image(&folder, block).path()).expect("an image");
    let server = Server::start(folder.at("nbd"), before.clone(), trouble);
    let said = machine(seed, STEPS).drive(server.drive()).run();
    said.must_be_well(&format!("seed {seed}"));
    let left = server.finish();
    let whole = Image::of(folder.at("whole"));
    fs::write(whole.path(), &left.contents).expect("room for an image");
    whole.must_be_clean();
    assert!(left.log.flushes() > STEPS as usize / 2, "{} flushes", left.log.flushes());
    let (mut random, mut checked) = (SplitMix64::new(seed.into()), 0);
    for number in 0..cuts {
        let cut = left.log.cut(&before, &mut random);
        let image = Image::of(folder.at("cut"));
        fs::write(image.path(), &cut.contents).expect("room for an image");
        match last_mark(&left.log.0[..cut.answered]) {
            Some(last) => {
                let about = format!("seed {seed}, cut {number}, event {}", cut.answered);
                check(&image, &folder.sub(&format!("cut{number}")), seed, last, &about);
                checked += 1;
            }
            None => _ = image.repair(),
        }
    }
    assert!(checked > 0, "no cut was behind a mark");
}

#[test]
fn what_was_synced_survives_a_cut_with_blocks_of_1024_bytes() {
    for_each(seeds(1, 2, 10), |seed| cut_power(seed, "1024", Trouble::default(), 40));
}

#[test]
fn what_was_synced_survives_a_cut_with_blocks_of_4096_bytes() {
    for_each(seeds(11, 2, 10), |seed| cut_power(seed, "4096", Trouble::default(), 40));
}

/// Writes that wait together are answered in any order.
#[test]
fn what_was_synced_survives_a_cut_of_a_disk_without_order() {
    for_each(seeds(21, 1, 10), |seed| {
        let trouble = Trouble { out_of_order: true, seed: seed.into(), ..Trouble::default() };
        cut_power(seed, "2048", trouble, 40);
    });
}

/// Waits until the machine has said something; then some more.
fn wait_for(said: &Path, words: &str, more: Duration) {
    let start = Instant::now();
    while !fs::read_to_string(said).is_ok_and(|text| text.contains(words)) {
        assert!(start.elapsed() < Duration::from_secs(60), "{words}: not said");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(more);
}

/// What QEMU was told to write is there: the host lives on.
#[test]
fn what_was_synced_survives_the_death_of_the_machine() {
    for_each(seeds(31, 6, 10), |seed| {
        let (folder, mut random) = (Folder::new(), SplitMix64::new(seed.into()));
        let image = empty_image(&folder, ["1024", "2048", "4096"][seed as usize % 3]);
        let said = folder.at("said");
        let mut child = machine(seed, 1_000_000).disk(image.path()).start(&said);
        wait_for(&said, "keeper: 10 steps", Duration::from_millis(random.next() % 500));
        let group = format!("-{}", child.id());
        output_of(Command::new("kill").args(["-KILL", "--", &group]));
        assert!(!child.wait().expect("it was started").success(), "it ran to its end");
        image.repair();
        let mark = image.read("/mark").expect("a mark");
        let last = step_of(&mark).expect("ten steps, and not all of them on other files");
        check(&image, &folder.sub("after"), seed, last, &format!("seed {seed}"));
    });
}
