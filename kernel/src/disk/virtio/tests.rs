//! The engine with an honest device, and with one that is not.

use splitmix::SplitMix64;
use virtio_drivers::Error;
use virtio_drivers::transport::{DeviceStatus, InterruptStatus};

use super::discard::Discard;
use super::engine::Engine;
use super::fake::{Device, TestHal};
use super::open::OpenError;
use super::pool::{Op, ROOM, Transfer};
use super::trouble::Trouble;

const PAGE: usize = 4096;
const SECTORS: usize = 1024;
const LIMIT: u64 = 30_000_000_000;

type TestEngine = Engine<TestHal, Device, usize>;

/// An engine, its device, and pages that are lent to it.
struct Machine {
    engine: TestEngine,
    device: Device,
    pages: Vec<Box<[u8; PAGE]>>,
}

impl Machine {
    fn new() -> Self {
        let device = Device::new(SECTORS);
        let engine = Engine::open(device.clone()).unwrap();
        let pages = (0..256).map(|n| Box::new([n as u8; PAGE])).collect();
        Self { engine, device, pages }
    }

    /// Asks for a transfer of page `n` at `sector`.
    fn ask(&mut self, op: Op, n: usize, sector: u64) -> Result<(), usize> {
        let address = self.pages[n].as_mut_ptr().addr();
        let transfer = match op {
            Op::Flush => Transfer::FLUSH,
            Op::Discard => Transfer::discard(sector, 16),
            op => Transfer { op, sector, address, bytes: PAGE as u32 },
        };
        // SAFETY: the pages live as long as the machine.
        unsafe { self.engine.add(n, &[transfer]) }
    }

    fn run(&mut self) -> Vec<(usize, bool)> {
        self.engine.dispatch(0);
        self.device.0.borrow_mut().serve();
        self.engine.collect();
        self.ended()
    }

    fn ended(&mut self) -> Vec<(usize, bool)> {
        std::iter::from_fn(|| self.engine.take_ended()).collect()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.engine.trouble(0, LIMIT)
    }
}

#[test]
fn what_was_written_is_read_back() {
    let mut machine = Machine::new();
    for n in 0..8 {
        machine.ask(Op::Write, n, 8 * n as u64).unwrap();
    }
    assert_eq!(machine.run(), (0..8).map(|n| (n, false)).collect::<Vec<_>>());
    assert_eq!(machine.device.0.borrow().log, [(1, 0, 8 * PAGE)], "one request");
    assert_eq!(machine.device.0.borrow().notified, 1);
    for n in 0..8 {
        machine.ask(Op::Read, 100 + n, 8 * (7 - n as u64)).unwrap();
    }
    assert_eq!(machine.run().len(), 8);
    for n in 0..8 {
        assert_eq!(*machine.pages[100 + n], [7 - n as u8; PAGE]);
    }
    machine.ask(Op::Flush, 0, 0).unwrap();
    assert_eq!(machine.run(), [(0, false)]);
    assert_eq!(machine.device.0.borrow().log.last(), Some(&(4, 0, 0)));
    assert_eq!(machine.trouble(), None);
}

/// Two that touch are two requests, of which each has one range.
#[test]
fn what_was_discarded_is_zeroes_here() {
    let mut machine = Machine::new();
    (1..4).for_each(|n| machine.ask(Op::Write, n, 16 * n as u64).unwrap());
    machine.run();
    machine.device.0.borrow_mut().log.clear();
    machine.ask(Op::Discard, 1, 16).unwrap();
    machine.ask(Op::Discard, 2, 32).unwrap();
    assert_eq!(machine.run(), [(1, false), (2, false)]);
    assert_eq!(machine.device.0.borrow().log, [(11, 16, 8192), (11, 32, 8192)]);
    let disk = &machine.device.0.borrow().disk;
    assert!(disk[..48 * 512].iter().all(|byte| *byte == 0));
    assert_eq!(disk[48 * 512], 3);
}

#[test]
fn a_discard_is_offered_with_limits_that_can_be_kept() {
    let discard = |feature: u64, most: u32, alignment: u32| {
        let device = Device::new(SECTORS);
        device.0.borrow_mut().features |= feature;
        device.0.borrow_mut().config[36..40].copy_from_slice(&most.to_le_bytes());
        device.0.borrow_mut().config[44..48].copy_from_slice(&alignment.to_le_bytes());
        TestEngine::open(device).unwrap().traits().discard
    };
    assert_eq!(discard(0, 1 << 20, 8), None, "it is not offered");
    assert_eq!(discard(1 << 13, 1 << 16, 8), Discard::new(1 << 16, 8, 512));
    assert!(discard(1 << 13, 0, 0).is_some());
    assert_eq!(discard(1 << 13, 1, 0), None);
    assert_eq!(discard(1 << 13, 0, u32::MAX), None);
}

/// Far more requests than the ring has room for, which end in any order.
#[test]
fn what_finds_no_room_in_the_ring_follows() {
    let mut machine = Machine::new();
    let mut numbers = SplitMix64::new(5);
    for n in 0..ROOM {
        machine.ask(Op::Write, n, (2 * n % 100 * 8) as u64).unwrap();
    }
    assert_eq!(machine.ask(Op::Write, 200, 0), Err(200), "the table is full");
    let mut ended = 0;
    while ended < ROOM {
        machine.engine.dispatch(0);
        let mut used = machine.device.0.borrow_mut().take();
        assert!(!used.is_empty() && used.len() <= 42, "{}", used.len());
        while !used.is_empty() {
            let (id, len) = used.swap_remove(numbers.next() as usize % used.len());
            machine.device.0.borrow_mut().say_used(id, len);
        }
        machine.engine.collect();
        ended += machine.ended().len();
        assert_eq!(machine.engine.has_backlog(), ended < ROOM);
    }
    assert_eq!(machine.trouble(), None);
}

#[test]
fn a_request_fails_unless_the_device_says_that_it_did_not() {
    for answer in [Some(1), Some(2), Some(3), Some(0xff), None] {
        let mut machine = Machine::new();
        machine.device.0.borrow_mut().answer = answer;
        machine.ask(Op::Read, 1, 0).unwrap();
        assert_eq!(machine.run(), [(1, true)], "{answer:?}");
        assert_eq!(machine.trouble(), None, "a failure is no trouble");
    }
}

/// A bad sector fails its page, and not those that were asked for together with it.
#[test]
fn a_bad_sector_fails_one_page() {
    let mut machine = Machine::new();
    machine.device.0.borrow_mut().bad = Some(8 * 5 + 3);
    (0..8).for_each(|n| machine.ask(Op::Write, n, 8 * n as u64).unwrap());
    assert_eq!(machine.run(), []);
    assert!(machine.engine.has_backlog());
    machine.ask(Op::Write, 8, 8 * 8).unwrap();
    for n in 0..9 {
        assert_eq!(machine.run(), [(n, n == 5)], "one at a time");
    }
    let expected: Vec<_> = (0..9).map(|n| (1, 8 * n, PAGE)).collect();
    assert_eq!(machine.device.0.borrow().log[1..], expected);
    // What comes later is put together again.
    (0..4).for_each(|n| machine.ask(Op::Write, n, 8 * n as u64).unwrap());
    assert_eq!(machine.run().len(), 4);
    assert_eq!(machine.device.0.borrow().log[10..], [(1, 0, 4 * PAGE)]);
}

#[test]
fn what_a_ring_must_not_say_is_trouble_with_its_evidence() {
    let mut machine = Machine::new();
    machine.ask(Op::Read, 1, 0).unwrap();
    machine.engine.dispatch(0);
    let used = machine.device.0.borrow_mut().take();
    machine.device.0.borrow_mut().say_used(77, 1);
    machine.engine.collect();
    assert_eq!(machine.trouble(), Some(Trouble::NotInFlight { token: 77 }));
    assert_eq!(machine.ended(), [], "it may still be under way");
    assert!(machine.engine.give_up());
    assert_eq!(machine.ended(), [(1, true)]);

    let mut machine = Machine::new();
    machine.ask(Op::Write, 1, 0).unwrap();
    machine.engine.dispatch(0);
    machine.device.0.borrow_mut().take();
    machine.device.0.borrow_mut().say_used(used[0].0, 2);
    machine.engine.collect();
    assert_eq!(machine.trouble(), Some(Trouble::TooLong { wrote: 2, room: 1 }));

    // One request that ends twice.
    let mut machine = Machine::new();
    machine.ask(Op::Write, 1, 0).unwrap();
    assert_eq!(machine.run(), [(1, false)]);
    let index = machine.device.0.borrow().index();
    machine.device.0.borrow_mut().say_index(index.wrapping_sub(1));
    machine.engine.collect();
    assert!(matches!(machine.trouble(), Some(Trouble::NotInFlight { .. })));
}

#[test]
fn a_device_that_announces_its_end_is_given_up() {
    let mut machine = Machine::new();
    machine.ask(Op::Read, 3, 0).unwrap();
    machine.engine.dispatch(0);
    {
        let mut state = machine.device.0.borrow_mut();
        state.interrupt = InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT;
        state.status |= DeviceStatus::DEVICE_NEEDS_RESET;
    }
    machine.engine.collect();
    assert_eq!(machine.trouble(), None, "no interrupt came");
    machine.engine.acknowledge();
    machine.engine.collect();
    assert_eq!(machine.trouble(), Some(Trouble::NeedsReset));
}

/// What is in flight and what waits ends as a failure, after the reset.
#[test]
fn a_request_that_never_ends_is_late() {
    let mut machine = Machine::new();
    (0..ROOM).for_each(|n| machine.ask(Op::Read, n, (2 * n % 100 * 8) as u64).unwrap());
    machine.engine.dispatch(5_000_000);
    machine.device.0.borrow_mut().take();
    machine.engine.collect();
    assert_eq!(machine.engine.trouble(5_000_000 + LIMIT, LIMIT), None);
    let why = machine.engine.trouble(6_000_000 + LIMIT, LIMIT).unwrap();
    assert_eq!(why, Trouble::Late { op: Op::Read, sector: 0, bytes: PAGE as u32, millis: 30_001 });
    let said = "a request has not ended for 30001 ms: Read of 4096 bytes at sector 0";
    assert_eq!(why.to_string(), said);
    machine.engine.stop(why);
    machine.engine.dispatch(0);
    assert_eq!(machine.device.0.borrow_mut().take(), [], "it gets nothing any more");
    assert!(machine.engine.give_up());
    assert_eq!(machine.device.0.borrow().status, DeviceStatus::empty(), "it was reset");
    assert_eq!(machine.ended(), (0..ROOM).map(|n| (n, true)).collect::<Vec<_>>());
    machine.device.0.borrow_mut().forced = DeviceStatus::DRIVER;
    assert!(!machine.engine.give_up(), "it does not even answer to a reset");
}

#[test]
fn a_disk_that_cannot_be_used_is_refused() {
    let refusal = |change: fn(&mut super::fake::State)| {
        let device = Device::new(SECTORS);
        change(&mut device.0.borrow_mut());
        TestEngine::open(device).err()
    };
    assert_eq!(refusal(|_| {}), None);
    let offered = 1 << 9 | 1 << 6;
    let refused = refusal(|state| state.features &= !(1 << 32));
    assert_eq!(refused, Some(OpenError::Features { offered }));
    let offered = offered | 1 << 32;
    let refused = refusal(|state| state.refused = DeviceStatus::FEATURES_OK);
    assert_eq!(refused, Some(OpenError::Features { offered }));
    assert_eq!(refusal(|state| state.restless = true), Some(OpenError::Size));
    for block in [0, 256, 513, 8192] {
        let device = Device::new(SECTORS);
        device.0.borrow_mut().config[20..24].copy_from_slice(&u32::to_le_bytes(block));
        assert_eq!(TestEngine::open(device).err(), Some(OpenError::Block(block)));
    }
    let refused = refusal(|state| {
        state.features |= 1 << 1;
        state.config[8..12].copy_from_slice(&2048u32.to_le_bytes());
    });
    assert_eq!(refused, Some(OpenError::Narrow { bytes: 2048, buffers: 32 }));
    let refused = refusal(|state| state.most = 64);
    assert_eq!(refused, Some(OpenError::Virtio(Error::InvalidParam)));
    let refused = refusal(|state| state.ring[0] = 1);
    assert_eq!(refused, Some(OpenError::Virtio(Error::AlreadyUsed)));
}

/// A disk that takes two pages at a time gets no more.
#[test]
fn a_request_has_as_many_buffers_as_the_device_takes() {
    let device = Device::new(SECTORS);
    device.0.borrow_mut().features |= 1 << 2 | 1 << 1;
    device.0.borrow_mut().config[8..12].copy_from_slice(&4096u32.to_le_bytes());
    device.0.borrow_mut().config[12..16].copy_from_slice(&2u32.to_le_bytes());
    let engine = Engine::open(device.clone()).unwrap();
    let pages = (0..256).map(|n| Box::new([n as u8; PAGE])).collect();
    let mut machine = Machine { engine, device, pages };
    (0..5).for_each(|n| machine.ask(Op::Write, n, 8 * n as u64).unwrap());
    assert_eq!(machine.run().len(), 5);
    let bytes: Vec<_> = machine.device.0.borrow().log.iter().map(|(_, _, bytes)| *bytes).collect();
    assert_eq!(bytes, [2 * PAGE, 2 * PAGE, PAGE]);
}

/// A device that mixes honest answers with arbitrary ones. Whatever it does, each ticket ends exactly
/// once, and nothing panics.
#[test]
fn a_hostile_device_is_given_up_at_worst() {
    let mut numbers = SplitMix64::new(7);
    let mut machine = Machine::new();
    let mut asked = [false; 256];
    let (mut given_up, mut done) = (0, 0);
    for step in 0..100_000u64 {
        let number = numbers.next();
        let pick = (number >> 32) as u32;
        match number % 16 {
            0..6 => {
                let ops = [Op::Read, Op::Write, Op::Flush, Op::Discard];
                let (n, op) = (pick as usize % 256, ops[pick as usize % 4]);
                if !asked[n] && machine.ask(op, n, u64::from(pick % 100)).is_ok() {
                    asked[n] = true;
                }
            }
            6..10 => machine.engine.dispatch(step),
            10..13 => {
                machine.device.0.borrow_mut().answer = (pick % 8 > 0).then_some(pick as u8 % 4);
                machine.device.0.borrow_mut().serve();
            }
            13 if pick % 16 == 0 => {
                machine.device.0.borrow_mut().say_used(pick % 160, pick >> 16);
            }
            14 if pick % 64 == 0 => machine.device.0.borrow_mut().say_index(pick as u16),
            _ => {
                machine.engine.acknowledge();
                machine.engine.collect();
            }
        }
        for (n, _) in machine.ended() {
            assert!(core::mem::take(&mut asked[n]), "step {step}: {n} ended twice");
            done += 1;
        }
        if let Some(why) = machine.trouble() {
            machine.engine.stop(why);
            machine.engine.give_up();
            for (n, failed) in machine.ended() {
                assert!(failed && core::mem::take(&mut asked[n]), "step {step}");
            }
            assert_eq!(asked, [false; 256], "step {step}: all have ended");
            machine = Machine::new();
            given_up += 1;
        }
    }
    assert!(given_up > 100 && done > 10_000, "{given_up} devices, {done} tickets");
}

/// Registers that say anything are read or refused.
#[test]
fn arbitrary_registers_are_read_or_refused() {
    let mut numbers = SplitMix64::new(9);
    let mut opened = 0;
    for _ in 0..2_000 {
        let device = Device::new(1);
        {
            let mut state = device.0.borrow_mut();
            state.features = numbers.next() | if numbers.next() % 2 == 0 { 1 << 32 } else { 0 };
            for word in state.config.chunks_exact_mut(4) {
                let small = numbers.next() % 2 == 0;
                let value = numbers.next() as u32 >> if small { 20 } else { 0 };
                word.copy_from_slice(&value.to_le_bytes());
            }
            state.config[20..24].copy_from_slice(&(1u32 << (numbers.next() % 16)).to_le_bytes());
            state.most = numbers.next() as u32 % 512;
        }
        opened += usize::from(TestEngine::open(device).is_ok());
    }
    assert!(opened > 100, "{opened}");
}
