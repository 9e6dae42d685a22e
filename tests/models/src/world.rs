//! The environment: frames of one word, flat tables, and waits that lose no wakeup.
//!
//! Nothing here is a point of choice but the waits: what the hardware does to a frame or an
//! entry is one step. The crate's own operations around it are the points.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::{
    Asid, Clock, EntryAt, Env, FrameMemory, Mapping, NoTable, PageTables, Prot, Pte, TaskFlags,
    Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use mm_reclaim::pass_points;
use mm_reclaim::units::{Nanos, Pfn, SpaceId, Vpn};
use shuttle::sync::{Condvar, Mutex};

use crate::disk::Disk;
use crate::files::Files;
use crate::killer::Killer;
use crate::objects::Objects;
use crate::task::{self, ModelCpu};

/// Entries of an address space's table.
pub const ENTRIES: usize = 64;
/// A wait that ends after so long, or later, ends by a wakeup alone: that much time never passes.
const NEVER: Nanos = Nanos::from_millis(5_000);
/// Looks of a wait with a time limit until the time is up.
const LOOKS: usize = 3;
/// What a freed frame holds.
const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// A daemon ends by this: its body has no end of its own.
pub(crate) struct Stopped;

/// Frames, tasks and the disk.
pub struct World {
    frames: Vec<Frame>,
    objects: Objects,
    /// How often each key was woken, and whether the machine is being switched off.
    wakes: Mutex<(HashMap<u64, u32>, bool)>,
    woken: Condvar,
    pub(crate) disk: Disk,
    pub(crate) files: Files,
    pub(crate) killer: Killer,
    next_asid: AtomicU16,
}

/// A frame's one word.
#[derive(Debug, Default)]
struct Frame {
    word: AtomicU64,
    poisoned: AtomicBool,
}

impl World {
    /// A machine with `frames` frames, and a disk with `blocks` blocks that answers at once or not.
    pub(crate) fn new(frames: u32, disk: Disk) -> Self {
        Self {
            frames: (0..frames).map(|_| Frame::default()).collect(),
            objects: Objects::new(frames),
            wakes: Mutex::new((HashMap::new(), false)),
            woken: Condvar::new(),
            disk,
            files: Files::default(),
            killer: Killer::default(),
            next_asid: AtomicU16::new(1),
        }
    }

    fn frame(&self, pfn: Pfn) -> &Frame {
        &self.frames[pfn.0 as usize]
    }

    /// The word of a frame that is in use.
    pub(crate) fn word(&self, pfn: Pfn) -> u64 {
        let frame = self.frame(pfn);
        assert!(!frame.poisoned.load(Relaxed), "{pfn:?} is used after it was freed");
        frame.word.load(Relaxed)
    }

    /// A store to a frame that is in use.
    pub(crate) fn store(&self, pfn: Pfn, value: u64) {
        assert!(!self.frame(pfn).poisoned.load(Relaxed), "{pfn:?} is written after it was freed");
        self.frame(pfn).word.store(value, Relaxed);
    }

    /// New content for a frame: if it was free until now, it must not have been written while it
    /// was.
    pub(crate) fn fill(&self, pfn: Pfn, value: u64) {
        let frame = self.frame(pfn);
        if frame.poisoned.swap(false, Relaxed) {
            assert_eq!(frame.word.load(Relaxed), POISON, "{pfn:?} was written after it was freed");
        }
        frame.word.store(value, Relaxed);
    }

    /// The daemons end as soon as they wait.
    pub(crate) fn stop(&self) {
        self.wakes.lock().expect("no task fails with it").1 = true;
        self.woken.notify_all();
    }
}

impl<'w> Env for &'w World {
    type Cpu = ModelCpu;
    type Frames = World;
    type Tables = FlatTables<'w>;
    type Tasks = World;
    type Blocks = World;
    type Files = World;
    type Clock = World;

    fn frames(&self) -> &World {
        self
    }

    fn tasks(&self) -> &World {
        self
    }

    fn blocks(&self) -> &World {
        self
    }

    fn files(&self) -> &World {
        self
    }

    fn clock(&self) -> &World {
        self
    }

    fn new_tables(&self, root: Pfn) -> FlatTables<'w> {
        let asid = Asid(self.next_asid.fetch_add(1, Relaxed));
        FlatTables { world: self, root, asid, entries: [Pte::None; ENTRIES] }
    }

    fn flush_tlb(&self, _stale: &[TlbEntry]) {}

    fn flush_tlb_space(&self, _asid: Asid) {}
}

// SAFETY: `objects` is one aligned block that lives as long as the world, and nothing but the
// crate touches a frame of it while that is the crate's own.
#[allow(unsafe_code, reason = "the crate's objects lie in this memory")]
unsafe impl FrameMemory for World {
    fn linear_map(&self, _first: Pfn) -> NonNull<u8> {
        self.objects.first()
    }

    fn zero(&self, frame: Pfn) {
        self.fill(frame, 0);
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        self.fill(to, self.word(from));
    }

    fn poison(&self, frame: Pfn) {
        self.objects.poison(frame);
        self.frame(frame).word.store(POISON, Relaxed);
        self.frame(frame).poisoned.store(true, Relaxed);
    }

    fn read(&self, frame: Pfn, _offset: usize, out: &mut [u8]) {
        let word = self.word(frame).to_le_bytes();
        out.iter_mut().zip(word).for_each(|(to, from)| *to = from);
    }

    /// What is written from the first byte on is the frame's word; the rest of the frame is not there.
    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        if let (0, Some(word)) = (offset, bytes.first_chunk()) {
            self.store(frame, u64::from_le_bytes(*word));
        }
    }
}

impl Clock for World {
    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

impl Tasks for World {
    fn flags(&self) -> TaskFlags {
        task::own().flags.get().unwrap_or(TaskFlags::empty())
    }

    fn set_memalloc(&self, on: bool) -> bool {
        let before = self.flags();
        let mut now = before;
        now.set(TaskFlags::MEMALLOC, on);
        task::own().flags.set(Some(now));
        before.contains(TaskFlags::MEMALLOC)
    }

    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        task::assert_may_sleep("a wait");
        let wakes = || self.wakes.lock().expect("no task fails with it");
        let is_limited = mode.timeout.is_some_and(|time| time < NEVER);
        if is_limited && self.naps_much() {
            if ready() {
                return WaitEnd::Ready;
            }
            shuttle::thread::yield_now();
            self.note_nap();
            return WaitEnd::TimedOut;
        }
        let mut looks = 0;
        loop {
            let seen = wakes().0.get(&key.0).copied();
            if ready() {
                return WaitEnd::Ready;
            }
            if is_limited {
                looks += 1;
                if looks > LOOKS {
                    self.note_nap();
                    return WaitEnd::TimedOut;
                }
                shuttle::thread::yield_now();
                continue;
            }
            self.note_sleep(key);
            let mut now = wakes();
            while now.0.get(&key.0).copied() == seen {
                if now.1 {
                    drop(now);
                    resume_unwind(Box::new(Stopped));
                }
                now = self.woken.wait(now).expect("no task fails with it");
            }
        }
    }

    fn might_sleep(&self) {
        task::assert_may_sleep("what may sleep");
    }

    fn wake(&self, key: WaitKey) {
        *self.wakes.lock().expect("no task fails with it").0.entry(key.0).or_default() += 1;
        self.woken.notify_all();
        // A task that wakes another is no longer alone.
        pass_points(0);
    }

    fn yield_now(&self) {
        task::assert_may_sleep("a pause");
    }

    /// In most models no task is killed: one that finds no memory tries again.
    fn kill_for_memory(&self, space: SpaceId) -> bool {
        self.kill(space)
    }
}

/// One address space's entries. The hardware sets young and dirty by itself.
pub struct FlatTables<'w> {
    world: &'w World,
    root: Pfn,
    asid: Asid,
    entries: [Pte; ENTRIES],
}

impl FlatTables<'_> {
    fn entry(&mut self, vpn: Vpn) -> &mut Pte {
        &mut self.entries[vpn.0 as usize]
    }

    /// What a CPU does with a page: loads its word, or stores it; `None` is a fault.
    pub(crate) fn touch(&mut self, vpn: Vpn, store: Option<u64>) -> Option<u64> {
        let world = self.world;
        let Pte::Present(mapping) = self.entry(vpn) else { return None };
        if store.is_some() && !mapping.prot.contains(Prot::WRITE) {
            return None;
        }
        mapping.young = true;
        mapping.dirty |= store.is_some();
        let was = world.word(mapping.pfn);
        if let Some(value) = store {
            world.store(mapping.pfn, value);
        }
        Some(was)
    }

    fn mapping(&mut self, vpn: Vpn) -> &mut Mapping {
        match self.entry(vpn) {
            Pte::Present(mapping) => mapping,
            other => panic!("{vpn:?} is not present: {other:?}"),
        }
    }
}

impl PageTables for FlatTables<'_> {
    type Entry<'t>
        = EntryAt<'t, Self>
    where
        Self: 't;

    fn asid(&self) -> Asid {
        self.asid
    }

    fn get(&self, vpn: Vpn) -> Pte {
        self.entries[vpn.0 as usize]
    }

    fn entry(&mut self, vpn: Vpn) -> Option<EntryAt<'_, Self>> {
        Some(EntryAt::new(self, vpn))
    }

    fn set(&mut self, vpn: Vpn, pte: Pte) -> Result<(), NoTable> {
        *self.entry(vpn) = pte;
        Ok(())
    }

    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte {
        std::mem::replace(self.entry(vpn), new)
    }

    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool {
        std::mem::take(&mut self.mapping(vpn).young)
    }

    fn mark_accessed(&mut self, vpn: Vpn, write: bool) {
        let mapping = self.mapping(vpn);
        mapping.young = true;
        mapping.dirty |= write;
    }

    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)> {
        let mut used = (from.0..end.0.min(ENTRIES as u32)).map(|n| (Vpn(n), self.get(Vpn(n))));
        used.find(|(_, pte)| *pte != Pte::None)
    }

    fn install_table(&mut self, _vpn: Vpn, frame: Pfn) -> Option<Pfn> {
        Some(frame)
    }

    fn unlink_tables(
        &mut self,
        _range: Range<Vpn>,
        _free: &Range<Vpn>,
        _take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        None
    }

    fn table_frames(&self) -> u32 {
        1
    }

    fn release(&mut self, give: &mut dyn FnMut(Pfn)) {
        assert!(self.entries.iter().all(|pte| *pte == Pte::None), "released with entries");
        give(self.root);
    }
}
