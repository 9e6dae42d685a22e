//! Taking a device out of use: every page comes back, or the device stays.

use mm_reclaim::env::{DeviceId, Pte};
use mm_reclaim::mmap::Advice;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::header;
use mm_reclaim::units::{PAGE_SIZE, Vpn};
use mm_reclaim::{SwapOffError, SwapOnError};
use simulator::rng::Rng;
use simulator::{Config, Death, DiskConfig, FIRST_DISK, Machine, Program};

use crate::bench::{entry, force_everything, on, pages, prove, small};

const SECOND_DISK: DeviceId = DeviceId(1);

fn header_of(blocks: u32) -> [u8; PAGE_SIZE] {
    let mut page = [0; PAGE_SIZE];
    header::format(&mut page, blocks);
    page
}

/// A program with `count` pages, all of them on the device.
fn paged_out(machine: Machine<'_>, count: u32) -> (Program<'_>, std::ops::Range<Vpn>) {
    let mut program = Program::new(machine);
    let area = program.map(count);
    program.write_all(area.clone());
    program.advise(area.clone(), Advice::PageOut).unwrap();
    force_everything(machine);
    assert_eq!(machine.mm.space_stat(program.space).swapped, count);
    (program, area)
}

/// SWAP-01: every page comes back, those that several programs share to each of them; the device
/// can be taken into use again, with its header as it is then.
#[test]
fn swapoff_brings_every_page_back() {
    for disk in [DiskConfig::sync(600), DiskConfig::later(600)] {
        on(disk, |machine| {
            let (parent, area) = paged_out(machine, 300);
            let child = parent.fork().unwrap();
            assert_eq!(machine.mm.swapoff(FIRST_DISK), Ok(()));
            for program in [&parent, &child] {
                let stat = machine.mm.space_stat(program.space);
                assert_eq!((stat.resident, stat.swapped), (300, 0));
                program.check_all(area.clone());
            }
            assert_eq!(machine.mm.swap_pages(), (0, 0));
            prove(machine);
            assert_eq!(machine.mm.swapoff(FIRST_DISK), Err(SwapOffError::NotOn));

            let again = |blocks| machine.mm.swapon_again(FIRST_DISK, &header_of(blocks), 0);
            assert!(matches!(again(601), Err(SwapOnError::Header(_))), "larger than its table");
            assert_eq!(again(400), Ok(399));
            assert_eq!(again(400), Err(SwapOnError::NotOff));
            drop(child);
            let mut parent = parent;
            parent.advise(area.clone(), Advice::PageOut).unwrap();
            force_everything(machine);
            assert_eq!(machine.mm.space_stat(parent.space).swapped, 300);
            parent.check_all(area);
            prove(machine);
        });
    }
}

/// SWAP-01: nothing was touched, so nothing is young; and what is locked and was on the device is
/// not read a second time afterwards.
#[test]
fn what_comes_back_is_old() {
    on(DiskConfig::sync(600), |machine| {
        let (program, area) = paged_out(machine, 50);
        assert_eq!(machine.mm.swapoff(FIRST_DISK), Ok(()));
        for vpn in pages(area.clone()) {
            let Pte::Present(mapping) = entry(machine, &program, vpn) else {
                panic!("{vpn:?} did not come back");
            };
            assert!(!mapping.young, "{vpn:?}");
        }
        let reads = machine.mm.event(VmEvent::PswpIn);
        program.check_all(area);
        assert_eq!(machine.mm.event(VmEvent::PswpIn), reads);
    });
}

/// SWAP-01: without room for all the device is refused at once; nothing is lost, and it stays in
/// use.
#[test]
fn swapoff_refuses_what_does_not_fit() {
    on(DiskConfig::sync(3000), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(2500);
        program.write_all(area.clone());
        let end = machine.mm.swapoff(FIRST_DISK);
        assert!(
            matches!(end, Err(SwapOffError::NoMemory { pages, room }) if pages > room),
            "{end:?}"
        );
        prove(machine);
        program.check_all(area.clone());
        program.write_all(area.clone());
        program.check_all(area);
        prove(machine);
    });
}

/// SWAP-01: what fits into another device goes there.
#[test]
fn pages_move_to_another_device() {
    let mut config = small(DiskConfig { priority: 5, ..DiskConfig::later(2000) });
    config.hardware.disks.push(DiskConfig::later(2500));
    Machine::run(&config, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(2000);
        program.write_all(area.clone());
        assert_eq!(machine.world.disks.stat(SECOND_DISK).writes, 0, "the first goes first");
        assert_eq!(machine.mm.swapoff(FIRST_DISK), Ok(()));
        assert!(machine.world.disks.stat(SECOND_DISK).writes > 500);
        prove(machine);
        program.check_all(area);
        prove(machine);
    });
}

/// SWAP-01, SWAP-07: a page that cannot be read keeps its device in use; once it can, the
/// device may go.
#[test]
fn an_unreadable_page_keeps_its_device() {
    for disk in [DiskConfig::sync(600), DiskConfig::later(600)] {
        on(disk, |machine| {
            let (program, area) = paged_out(machine, 100);
            machine.mm.set_page_cluster(0);
            machine.world.disks.configure(FIRST_DISK, |d| d.fail_read = 20);
            let end = machine.mm.swapoff(FIRST_DISK);
            assert!(matches!(end, Err(SwapOffError::Read { .. })), "{end:?}");
            assert_eq!(machine.mm.event(VmEvent::SwapReadError), 1);
            prove(machine);
            machine.world.disks.configure(FIRST_DISK, |d| d.fail_read = 0);
            assert_eq!(machine.mm.swapoff(FIRST_DISK), Ok(()));
            program.check_all(area);
            prove(machine);
        });
    }
}

/// SWAP-01, RMAP-01: while programs write, read, fork and exit, the first device goes out
/// of use and comes back, again and again: no task hangs, and no byte is lost.
#[test]
fn devices_go_and_come_under_load() {
    for seed in 0..8 {
        let mut config = Config::seeded(seed);
        config.hardware.memory = std::iter::once(0..2048).collect();
        config.hardware.cpus = 1 + (seed % 4) as usize;
        config.hardware.preempt_every = [3, 30, 300][(seed % 3) as usize];
        let first = if seed % 2 == 0 { DiskConfig::later(3000) } else { DiskConfig::sync(3000) };
        config.hardware.disks = vec![DiskConfig { priority: 1, ..first }, DiskConfig::later(6000)];
        Machine::run(&config, |machine| {
            machine.crowd(4, |machine, who| match who {
                0 => come_and_go(machine),
                _ => live(machine, Rng::new(seed * 8 + who as u64)),
            });
            prove(machine);
        });
    }
}

fn come_and_go(machine: Machine<'_>) {
    let mut went = 0;
    for _ in 0..12 {
        machine.sleep(mm_reclaim::units::Nanos::from_millis(3));
        match machine.mm.swapoff(FIRST_DISK) {
            Ok(()) => {
                went += 1;
                let usable = machine.mm.swapon_again(FIRST_DISK, &header_of(3000), 1);
                assert_eq!(usable, Ok(2999));
            }
            Err(SwapOffError::NoMemory { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(went >= 3, "the device went {went} times");
}

fn live(machine: Machine<'_>, mut rng: Rng) {
    let mut program = Program::new(machine);
    let start = program.map(1000).start;
    for _ in 0..6000 {
        let page = start + rng.below(1000) as u32;
        let end = match rng.below(1000) {
            0..500 => program.write(page),
            500..996 => program.check(page),
            _ => {
                if let Ok(child) = program.fork() {
                    program = child;
                }
                Ok(())
            }
        };
        match end {
            Ok(()) => {}
            Err(Death::Killed) => return,
            Err(death) => panic!("{death:?}"),
        }
    }
}
