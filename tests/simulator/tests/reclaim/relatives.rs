//! Families: which processes a walk visits for a page of a process with many relatives, whichever
//! ends first, and what a long line of generations needs.

use std::ops::Range;

use mm_reclaim::Violation;
use mm_reclaim::mmap::Advice;
use mm_reclaim::reclaim::{FreeReason, Reason, ScanRequest};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Pfn, Vpn};
use simulator::rng::Rng;
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{
    anything, chill, cold, entry, force_everything, frame, frames, hot, is_present, look, on, page,
    pages, prove, slot, small,
};
use crate::campaigns::is_long;

const DISK: DiskConfig = DiskConfig::sync(1024);
const CHILDREN: usize = 500;

/// A machine that has room for this many children.
fn with_room(body: impl FnOnce(Machine<'_>)) {
    let mut config = small(DiskConfig::sync(8192));
    config.hardware.memory = std::iter::once(0..20_000).collect();
    config.hardware.max_asid = 1024;
    Machine::run(&config, body);
}

/// How many areas a walk for the page of a program at `vpn` visits.
fn asked(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> usize {
    machine.mm.areas_asked(page(machine, frame(machine, program, vpn)))
}

/// The first half of a range, and the second.
fn halves(area: &Range<Vpn>) -> [Range<Vpn>; 2] {
    let middle = area.start + (area.end - area.start) / 2;
    [area.start..middle, middle..area.end]
}

/// RMAP-01: a walk for a page of one of 500 children visits that child and none of its relatives,
/// when it is new and when it has come back from swap; for a page that all share it visits all.
#[test]
fn a_page_of_one_of_500_children_asks_that_child() {
    with_room(|machine| {
        let (parent, area) = hot(machine, 8);
        let [own, shared] = halves(&area);
        let mut children: Vec<_> = (0..CHILDREN).map(|_| parent.fork().expect("a child")).collect();
        children.iter_mut().for_each(|child| child.write_all(own.clone()));
        let each_asks_one = |children: &[Program<'_>]| {
            let asks_one = |child: &&Program<'_>| asked(machine, child, own.start) == 1;
            assert_eq!(children.iter().filter(asks_one).count(), CHILDREN);
        };
        each_asks_one(&children);
        assert_eq!(asked(machine, &parent, shared.start), CHILDREN + 1);
        prove(machine);
        children.iter_mut().for_each(|child| chill(child, own.clone()));
        let theirs = |child| frames(machine, child, own.clone());
        let all: Vec<Pfn> = children.iter().flat_map(theirs).collect();
        let seen = look(machine, &all, ScanRequest::proactive());
        let want = CHILDREN as u64 * 4;
        assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Written), want)]);
        children.iter().for_each(|child| child.check_all(area.clone()));
        each_asks_one(&children);
        prove(machine);
        parent.check_all(area);
        drop(parent);
        each_asks_one(&children);
        prove(machine);
    });
}

/// RMAP-01: of a hundred thousand generations, of which each parent ends when it has a child,
/// no more than three families and two links are there at any moment, and what the first one
/// wrote is read by the last.
#[test]
fn a_hundred_thousand_generations_need_three_families() {
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(4);
        program.write_all(area.clone());
        let rounds = 100_000;
        for generation in 0..rounds {
            let child = program.fork().expect("a child");
            drop(std::mem::replace(&mut program, child));
            let (families, links) = machine.mm.families_in_use();
            assert!(families <= 3 && links <= 2, "{generation}: {families} and {links}");
            program.write(area.start + generation % 3).expect("alive");
            if generation % (rounds / 10) == 0 {
                program.advise(area.clone(), Advice::PageOut).expect("mapped");
                prove(machine);
            }
        }
        program.check_all(area.clone());
        assert_eq!(asked(machine, &program, area.start), 1);
        drop(program);
        assert_eq!(machine.mm.families_in_use(), (0, 0));
        prove(machine);
    });
}

/// RMAP-01: a page that went to swap while relatives shared it is found by all of them again,
/// whichever brings it back; its family is then the root's, since its maker is unknown.
#[test]
fn a_shared_page_that_comes_back_belongs_to_all_who_share_it() {
    for first in 0..3 {
        on(DISK, |machine| {
            let (program, area) = cold(machine, 1);
            let child = program.fork().expect("a child");
            let grandchild = child.fork().expect("a grandchild");
            look(machine, &[frame(machine, &program, area.start)], ScanRequest::proactive());
            let mut all = [program, child, grandchild];
            assert!(all.iter().all(|p| !is_present(machine, p, area.start)));
            all.rotate_left(first);
            for program in &all {
                program.check_all(area.clone());
                assert_eq!(asked(machine, program, area.start), 3);
                prove(machine);
            }
            let pfn = frame(machine, &all[0], area.start);
            assert_eq!(page(machine, pfn).mapcount(), 3);
            all.iter_mut().for_each(|program| chill(program, area.clone()));
            let seen = look(machine, &[pfn], anything());
            assert_eq!(seen.stat.unmap_fail, 0);
            assert!(all.iter().all(|p| !is_present(machine, p, area.start)));
            prove(machine);
            all.iter().for_each(|program| program.check_all(area.clone()));
        });
    }
}

/// RMAP-01: a walk for a page that never left the cache still visits only the descendants of its
/// maker.
#[test]
fn a_page_of_the_cache_remembers_its_maker() {
    on(crate::bench::slow(64), |machine| {
        let (parent, area) = hot(machine, 1);
        let mut child = parent.fork().expect("a child");
        child.write(area.start).expect("alive");
        let grandchild = child.fork().expect("a grandchild");
        let pfn = frame(machine, &child, area.start);
        assert_eq!(machine.mm.areas_asked(page(machine, pfn)), 2);
        chill(&mut child, area.clone());
        look(machine, &[pfn], anything());
        assert!(!is_present(machine, &child, area.start), "on its way out");
        [&grandchild, &child].into_iter().for_each(|program| program.check_all(area.clone()));
        assert_eq!(frame(machine, &grandchild, area.start), pfn);
        assert_eq!(machine.mm.areas_asked(page(machine, pfn)), 2, "not the parent");
        prove(machine);
        parent.check_all(area);
    });
}

/// RMAP-01: a store to a page that has no other user any more makes it the storing process's own,
/// whichever made it: its relatives are no longer visited.
#[test]
fn the_last_sharer_of_a_page_is_asked_alone() {
    on(DISK, |machine| {
        let (mut parent, area) = hot(machine, 1);
        let mut children: Vec<_> = (0..10).map(|_| parent.fork().expect("a child")).collect();
        let mut last = children.pop().expect("a child");
        let pfn = frame(machine, &last, area.start);
        children.iter_mut().chain([&mut parent]).for_each(|p| p.write_all(area.clone()));
        assert_eq!((frame(machine, &last, area.start), page(machine, pfn).mapcount()), (pfn, 1));
        assert_eq!(asked(machine, &last, area.start), 11);
        last.write(area.start).expect("alive");
        assert_eq!(
            (frame(machine, &last, area.start), machine.mm.event(VmEvent::CowReuse)),
            (pfn, 1)
        );
        assert_eq!(asked(machine, &last, area.start), 1);
        prove(machine);
    });
}

/// A page of the swap cache whose family does not lead to all that have entries for it is reported
/// before it is mapped there.
#[test]
fn a_cached_page_of_the_wrong_family_is_reported() {
    on(DISK, |machine| {
        let (parent, area) = cold(machine, 1);
        let child = parent.fork().expect("a child");
        look(machine, &[frame(machine, &parent, area.start)], ScanRequest::proactive());
        child.check_all(area.clone());
        prove(machine);
        assert!(!is_present(machine, &parent, area.start), "it has an entry");
        slot(machine, &parent, area.start);
        let cached = page(machine, frame(machine, &child, area.start));
        // A page that only the child can have made.
        let mut grandchild = child.fork().expect("a grandchild");
        grandchild.write(area.start).expect("alive");
        let other = page(machine, frame(machine, &grandchild, area.start));
        let was = (cached.owner(), cached.index());
        cached.corrupt_owner(other.owner(), was.1);
        let said = machine.mm.validate();
        assert!(matches!(said, Err(Violation::BrokenRmap { .. })), "{said:?}");
        cached.corrupt_owner(was.0, was.1);
        prove(machine);
    });
}

/// Processes that fork, write, split and end as a seed says, and whose pages go to swap and come
/// back in the meantime.
struct Clan<'m> {
    machine: Machine<'m>,
    rng: Rng,
    area: Range<Vpn>,
    living: Vec<Program<'m>>,
}

impl Clan<'_> {
    fn pick(&mut self) -> usize {
        self.rng.below(self.living.len() as u64) as usize
    }

    fn step(&mut self) {
        let (who, page) = (self.pick(), self.area.start + self.rng.below(6) as u32);
        match self.rng.below(12) {
            0..3 if self.living.len() < 12 => {
                let child = self.living[who].fork().expect("a child");
                self.living.push(child);
            }
            3..5 if self.living.len() > 1 => self.living.swap_remove(who).exit(),
            5..8 => self.living[who].write(page).expect("alive"),
            8 => {
                // Split, and whole again: pages and families are as before.
                self.living[who].lock(page..page + 1, true).expect("memory");
                self.living[who].lock(page..page + 1, false).expect("mapped");
            }
            9 => self.everything_goes(),
            _ => self.living[who].check(page).expect("alive"),
        }
    }

    /// Every page is unmapped everywhere, and written where that is needed.
    fn everything_goes(&mut self) {
        for program in &mut self.living {
            chill(program, self.area.clone());
        }
        force_everything(self.machine);
        for (program, vpn) in
            self.living.iter().flat_map(|p| pages(self.area.clone()).map(move |v| (p, v)))
        {
            let here = entry(self.machine, program, vpn);
            assert!(!is_present(self.machine, program, vpn), "{vpn:?} is {here:?}");
        }
    }
}

/// RMAP-01: whatever ancestors and descendants share, and in any order of their ends, each page is
/// found by a walk wherever it is mapped, and unmapped there, and survives the way to swap and
/// back.
#[test]
fn relatives_find_their_pages_in_any_order_of_exits() {
    for seed in 0..if is_long() { 400 } else { 40 } {
        on(DISK, |machine| {
            let (program, area) = hot(machine, 6);
            let mut clan = Clan { machine, rng: Rng::new(seed), area, living: vec![program] };
            for _ in 0..80 {
                clan.step();
                prove(machine);
            }
            for program in &clan.living {
                program.check_all(clan.area.clone());
            }
            prove(machine);
            while !clan.living.is_empty() {
                let who = clan.pick();
                clan.living.swap_remove(who).exit();
                prove(machine);
            }
            assert_eq!(machine.mm.families_in_use(), (0, 0));
        });
    }
}
