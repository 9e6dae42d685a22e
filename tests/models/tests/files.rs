//! Models of the protocols of files, as `protocols.rs` has those of anonymous memory.
#![cfg(shuttle)]

use std::sync::{Arc, Mutex, OnceLock};

use models::disk::Pace;
use models::explore::explore;
use models::files::OpenFile;
use models::machine::{Body, Machine, Program, task};
use shuttle::sync::atomic::{AtomicU32, Ordering};

/// The tasks `bodies`; the last of them to end goes on with `last`.
fn and_then<'m>(bodies: Vec<Body<'m>>, last: Body<'m>) -> Vec<Body<'m>> {
    let left = Arc::new(AtomicU32::new(bodies.len() as u32));
    let last = Arc::new(Mutex::new(Some(last)));
    let ending = |body: Body<'m>| {
        let (left, last) = (Arc::clone(&left), Arc::clone(&last));
        task(move |machine| {
            body(machine);
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let last = last.lock().expect("it is taken once").take();
                last.expect("it is there")(machine);
            }
        })
    };
    bodies.into_iter().map(ending).collect()
}

/// Writes different values to pages `0..pages`, and to the disk.
fn fill(file: &OpenFile<'_>, pages: u32) {
    (0..pages).for_each(|page| file.write(page, 100 + u64::from(page)));
    file.sync();
}

/// FILE-05: programs fault on pages that are cut off at that moment, some of which they have mapped
/// or copied. Nothing of these is seen again, even when the file is as long as before.
#[test]
fn truncate_against_fault() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(4);
        fill(&file, 4);
        let (shared, private) = (file.map(4, true), file.map(4, false));
        let cuts = move |_: Machine<'_>| {
            file.set_pages(2);
            (2..4).for_each(|page| {
                assert!(!file.has_page(page), "page {page} is cached");
                assert_eq!(shared.load(page), None, "page {page} is mapped");
                assert_eq!(private.load(page), None, "page {page} is mapped as a copy");
            });
            file.set_pages(4);
            let (seen, copied) = (shared.load(2), private.load(3));
            assert!(matches!(seen, Some(0 | 7)), "page 2 came back: {seen:?}");
            assert!(matches!(copied, Some(0 | 9)), "page 3 came back: {copied:?}");
            assert_eq!(shared.load(1), Some(101));
            file.close();
        };
        let stores = move |_: Machine<'_>| {
            for page in (1..4).rev() {
                shared.load(page);
            }
            shared.try_store(2, 7);
        };
        let copies = move |_: Machine<'_>| {
            private.try_store(3, 9);
            private.try_store(2, 9);
        };
        let end = move |_: Machine<'_>| [shared, private].into_iter().for_each(Program::exit);
        and_then(vec![task(cuts), task(stores), task(copies)], task(end))
    }
    explore("truncate_against_fault", &[303], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}

/// FILE-05, FILE-03: a program stores to pages that are cut off at that moment. Their place at the store is
/// gone with them: none is reserved behind the end.
#[test]
fn truncate_against_reserve() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(4);
        fill(&file, 4);
        let (shared, cut) = (file.map(4, true), file.again());
        let cuts = move |_: Machine<'_>| {
            cut.set_pages(1);
            cut.close();
        };
        let stores = move |_: Machine<'_>| {
            for page in (1..4).rev() {
                shared.try_store(page, 7);
            }
        };
        let checks = move |_: Machine<'_>| {
            let kept: Vec<u32> = (1..4).filter(|page| file.has_place(*page)).collect();
            assert_eq!(kept, [], "behind the end");
            shared.exit();
            file.close();
        };
        and_then(vec![task(cuts), task(stores)], task(checks))
    }
    explore("truncate_against_reserve", &[15_113], || {
        Machine::run_with_files(40, Pace::AtOnce, tasks);
    });
}

/// FILE-05: a program stores to a private mapping of pages that are cut off at that moment. The copy goes
/// as well, whether it was made before or is just being made.
#[test]
fn truncate_against_copy() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(8);
        fill(&file, 8);
        let private = file.map(8, false);
        let cuts = move |_: Machine<'_>| {
            for page in (2..8).rev() {
                file.set_pages(page);
                assert_eq!(private.load(page), None, "page {page} is mapped as a copy");
            }
            file.close();
        };
        let copies = move |_: Machine<'_>| {
            for page in (1..8).rev() {
                private.try_store(page, 9);
            }
            private.check(1, 9);
        };
        and_then(vec![task(cuts), task(copies)], task(move |_| private.exit()))
    }
    explore("truncate_against_copy", &[], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}

/// FILE-05: a program forks while a file loses a page that it is just copying. The child does not have
/// the copy either. All three are held up at some page table, since few orders matter.
#[test]
fn truncate_against_fork() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(2);
        fill(&file, 2);
        // The child's area is visited before its parent's: it lies where this one did.
        let first = file.map(2, false);
        let parent = file.map(2, false);
        first.exit();
        parent.try_store(0, 8);
        let (cut, child) = (file.again(), Arc::new(OnceLock::new()));
        let forked = Arc::clone(&child);
        let cuts = move |machine: Machine<'_>| {
            machine.hold_up_at_tables(3);
            cut.set_pages(1);
            cut.close();
        };
        let copies = move |machine: Machine<'_>| {
            machine.hold_up_at_tables(3);
            parent.try_store(1, 9);
        };
        let forks = move |machine: Machine<'_>| {
            machine.hold_up_at_tables(1);
            assert!(forked.set(parent.fork()).is_ok(), "it forks once");
        };
        let checks = move |_: Machine<'_>| {
            let child = *child.get().expect("it was made");
            assert_eq!(parent.load(1), None, "the page is mapped");
            assert_eq!(child.load(1), None, "the page is mapped by the child");
            child.check(0, 8);
            [parent, child].into_iter().for_each(Program::exit);
            file.close();
        };
        and_then(vec![task(cuts), task(copies), task(forks)], task(checks))
    }
    explore("truncate_against_fork", &[3_893], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}

/// FILE-05, FILE-02: pages are read ahead, and by faults, that are cut off at that moment.
#[test]
fn truncate_against_read_ahead() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(6);
        fill(&file, 6);
        file.drop_pages();
        let (reader, faulter) = (file.again(), file.map(6, true));
        let cuts = move |_: Machine<'_>| {
            file.set_pages(1);
            assert!(file.cached_pages() <= 1, "a page behind the end is cached");
            file.set_pages(6);
            (1..6).for_each(|page| assert_eq!(file.read(page), Some(0), "page {page} came back"));
            assert_eq!(file.read(0), Some(100));
            file.close();
        };
        let reads = move |_: Machine<'_>| {
            reader.read_ahead(0, 6);
            reader.read_ahead(3, 3);
            reader.close();
        };
        let faults = move |_: Machine<'_>| {
            for page in [4, 1, 3] {
                faulter.load(page);
            }
            faulter.exit();
        };
        vec![task(cuts), task(reads), task(faults)]
    }
    explore("truncate_against_read_ahead", &[], || Machine::run_with_files(40, Pace::Later, tasks));
}

/// FILE-05, DIRT-01: pages are cut off while they are written and while reclaim takes them.
#[test]
fn truncate_against_reclaim() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(8);
        fill(&file, 8);
        let (writer, program) = (file.again(), file.map(8, true));
        for page in 0..4 {
            program.try_store(page, 7);
        }
        machine.mm.lru_add_drain_all();
        let cuts = move |_: Machine<'_>| {
            file.set_pages(6);
            file.set_pages(1);
            assert!(file.cached_pages() <= 1, "a page behind the end is cached");
            assert_eq!(program.load(2), None);
            program.exit();
            assert_eq!(file.read(0), Some(7));
            file.close();
        };
        let writes = move |_: Machine<'_>| {
            writer.sync();
            writer.close();
        };
        vec![task(cuts), task(writes), task(|machine| machine.press(34))]
    }
    explore("truncate_against_reclaim", &[2_649], || {
        Machine::run_with_files(40, Pace::Later, tasks);
    });
}

/// FILE-03, DIRT-03: a program stores to a page at the moment at which it is made clean and written.
/// What it has stored last is on the disk after the next sync.
#[test]
fn store_against_writeback() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(2);
        fill(&file, 2);
        let (writer, program) = (file.again(), file.map(2, true));
        let stores = move |_: Machine<'_>| {
            for value in 1..4 {
                program.try_store(0, value);
                program.try_store(1, value + 1);
            }
            file.sync();
            assert_eq!(file.on_disk(0), Some(3), "the last store is lost");
            assert_eq!(file.on_disk(1), Some(4), "the last store is lost");
            program.exit();
            file.close();
        };
        let writes = move |_: Machine<'_>| {
            (0..4).for_each(|_| writer.sync());
            writer.close();
        };
        vec![task(stores), task(writes)]
    }
    explore("store_against_writeback", &[], || Machine::run_with_files(40, Pace::Later, tasks));
}

/// SPL-16, FILE-02: a fault maps a page that reclaim is about to free. What is stored through the
/// mapping is kept.
#[test]
fn eviction_against_mapping() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(6);
        fill(&file, 6);
        let program = file.map(6, true);
        machine.mm.lru_add_drain_all();
        let stores = move |_: Machine<'_>| {
            (0..6).for_each(|page| {
                assert_eq!(program.load(page), Some(100 + u64::from(page)));
                assert!(program.try_store(page, u64::from(page)).is_some());
            });
            (0..6).for_each(|page| assert_eq!(program.load(page), Some(u64::from(page))));
            program.exit();
            file.sync();
            (0..6).for_each(|page| assert_eq!(file.on_disk(page), Some(u64::from(page))));
            file.close();
        };
        vec![task(stores), task(|machine| machine.press(60)), task(|machine| machine.press(60))]
    }
    explore("eviction_against_mapping", &[], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}

/// LRU-09: pages are entered into a file's index while the nodes that hold nothing but shadows of
/// evicted pages are freed.
#[test]
fn insertion_against_shadow_shrinker() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(200);
        let pages = [0, 70, 130];
        pages.into_iter().for_each(|page| file.write(page, 7));
        file.sync();
        machine.mm.lru_add_drain_all();
        machine.press(60);
        let (other, program) = (file.again(), file.map(2, true));
        let reads = move |_: Machine<'_>| {
            for page in pages {
                assert_eq!(file.read(page + 1), Some(0));
                assert_eq!(file.read(page), Some(7));
            }
            file.write(131, 8);
            assert_eq!(file.read(131), Some(8));
            file.close();
        };
        let faults = move |_: Machine<'_>| {
            assert_eq!(program.load(1), Some(0));
            other.drop_pages();
            assert_eq!(program.load(0), Some(7));
            program.exit();
            other.close();
        };
        let drops = move |machine: Machine<'_>| {
            for _ in 0..4 {
                machine.mm.drop_shadow_nodes(3);
            }
            machine.press(60);
            machine.mm.drop_shadow_nodes(3);
        };
        vec![task(reads), task(faults), task(drops)]
    }
    let run = || Machine::run_with_files(44, Pace::AtOnce, tasks);
    explore("insertion_against_shadow_shrinker", &[1, 547], run);
}

/// FILE-05, DIRT-01: a file loses its last mapping, and the last who has it open, while others visit
/// all files and all dirty files.
#[test]
fn last_put_against_flusher() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_dirty_ratios(0, 100);
        let (file, other) = (machine.file(2), machine.file(2));
        fill(&file, 2);
        let program = file.map(2, true);
        program.try_store(0, 7);
        let puts = move |_: Machine<'_>| {
            file.close();
            program.try_store(1, 8);
            program.exit();
        };
        let comes = move |machine: Machine<'_>| {
            other.write(1, 9);
            other.read_ahead(0, 1);
            other.close();
            let third = machine.file(1);
            third.write(0, 10);
            third.close();
        };
        let visits = move |machine: Machine<'_>| {
            machine.sync();
            machine.call_flusher();
            machine.mm.drop_page_cache();
        };
        vec![task(puts), task(comes), task(visits)]
    }
    explore("last_put_against_flusher", &[], || Machine::run_with_files(40, Pace::Later, tasks));
}

/// FILE-02, SPL-12: two programs unmap the pages of a file that reclaim unmaps as well.
#[test]
fn zap_against_unmap() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let file = machine.file(6);
        fill(&file, 6);
        let (one, other) = (file.map(6, true), file.map(6, true));
        (0..6).for_each(|page| {
            one.try_store(page, 7);
            assert_eq!(other.load(page), Some(7));
        });
        file.sync();
        machine.mm.lru_add_drain_all();
        let unmaps = move |_: Machine<'_>| {
            one.unmap(0, 3);
            assert_eq!(one.load(4), Some(7));
            one.exit();
        };
        let ends = move |_: Machine<'_>| {
            other.try_store(2, 8);
            other.unmap(1, 3);
            other.exit();
            assert_eq!(file.read(2), Some(8));
            file.close();
        };
        vec![task(unmaps), task(ends), task(|machine| machine.press(60))]
    }
    explore("zap_against_unmap", &[], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}

/// DIRT-01: a program dirties a page of a file that the flusher takes off the list of dirty files at
/// that moment. The flusher finds it at its next call.
#[test]
fn dirtying_against_flusher() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_dirty_ratios(0, 100);
        let file = machine.file(2);
        fill(&file, 2);
        let program = file.map(2, true);
        let stores = move |machine: Machine<'_>| {
            for value in 1..4 {
                program.try_store(0, value);
                machine.call_flusher();
                program.try_store(1, value);
                machine.call_flusher();
            }
            let is_written = |page| file.on_disk(page) == Some(3);
            machine.wait_for(|| is_written(0) && is_written(1));
            program.exit();
            file.close();
        };
        vec![task(stores)]
    }
    explore("dirtying_against_flusher", &[], || Machine::run_with_files(40, Pace::AtOnce, tasks));
}
