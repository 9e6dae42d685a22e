//! Shared by the unit tests of the crate: a CPU, a memory map, and an environment of fakes that
//! records its calls.
//!
//! Whole machines, with translation tables in frames, disks and time, are tested in the simulator;
//! the fakes here are for tests of one module at a time.

#![allow(unsafe_code, reason = "hands out memory for the crate's objects, like a kernel")]

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

use std::alloc::{alloc_zeroed, dealloc};
use std::boxed::Box;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::string::String;
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use proptest::test_runner::Config as ProptestConfig;

use crate::Mm;
use crate::base::sync::{AtomicBool, AtomicU8, AtomicU64, Lock, Ordering};
use crate::base::units::{Nanos, PAGE_SIZE, Pfn, SpaceId, Vpn};
use crate::block::{Bio, Completion};
use crate::boot::plan::{Config, Plan};
use crate::env::{
    Asid, BlockDevice, Clock, Cpu, DeviceId, EntryAt, Env, FrameMemory, Mapping, NoFiles, NoTable,
    PageTables, Pte, TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use crate::page::Page;
use crate::page::memmap::MemMap;
use crate::space::USER_END;
use crate::swap::header;
use crate::swap::map::words_for;
use crate::zone::FrameRange;

/// `many` cases of a property, a few under Miri; nothing is written to the source tree.
pub(crate) fn cases(many: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { many };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The message of the panic of `body`.
pub(crate) fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map(drop);
    let payload = end.expect_err("a panic was due");
    match payload.downcast::<String>() {
        Ok(said) => *said,
        Err(other) => String::from(*other.downcast::<&str>().expect("a panic with words")),
    }
}

/// The frames from `start` up to `end`.
pub(crate) fn frames(start: u32, end: u32) -> FrameRange {
    FrameRange { start: Pfn(start), end: Pfn(end) }
}

/// So many reserved descriptors, each of the zone that `zone` names.
pub(crate) fn descriptors(count: u32, zone: impl Fn(u32) -> u8) -> Vec<Page> {
    (0..count).map(|i| Page::reserved(zone(i), true)).collect()
}

/// A map of `pages` whose pages are all owned: in use, with one reference, on no list.
pub(crate) fn owned(pages: &[Page]) -> MemMap<'_> {
    for page in pages {
        page.unreserve();
        page.own();
    }
    MemMap::new(pages, Pfn(0x40))
}

/// The page at a position of a map.
pub(crate) fn nth(map: MemMap<'_>, position: u32) -> &Page {
    map.page(map.base() + position)
}

/// The position of a page in its map.
pub(crate) fn place(map: MemMap<'_>, page: &Page) -> u32 {
    map.pfn(page) - map.base()
}

thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
    static PREEMPT_OFF: Cell<u32> = const { Cell::new(0) };
}

/// A CPU that is a thread; waiting yields to the others.
pub(crate) struct TestCpu;

impl TestCpu {
    /// The calling thread continues as CPU `cpu`.
    pub(crate) fn move_to(cpu: usize) {
        CPU.set(cpu);
    }

    /// How deeply preemption is disabled.
    pub(crate) fn preempt_depth() -> u32 {
        PREEMPT_OFF.get()
    }
}

impl Cpu for TestCpu {
    fn preempt_disable() {
        PREEMPT_OFF.set(PREEMPT_OFF.get() + 1);
    }

    fn preempt_enable() {
        PREEMPT_OFF.set(PREEMPT_OFF.get() - 1);
    }

    fn current() -> usize {
        CPU.get()
    }

    fn relax() {
        thread::yield_now();
    }
}

/// A recorded call of the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Zero(Pfn),
    Copy { to: Pfn, from: Pfn },
    Flush(Vec<TlbEntry>),
    Wake(WaitKey),
    Discard { device: u8, first: u32, blocks: u32 },
    Kill(SpaceId),
}

/// Frames that the crate may keep objects in.
pub(crate) struct Memory {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns plain bytes.
unsafe impl Send for Memory {}
// SAFETY: the bytes are accessed by the owners of the frames.
unsafe impl Sync for Memory {}

impl Memory {
    /// `frames` zeroed frames, aligned.
    pub(crate) fn new(frames: usize) -> Self {
        let layout = Layout::from_size_align(frames.max(1) * PAGE_SIZE, PAGE_SIZE).expect("small");
        // SAFETY: the size is not zero.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        Self { first, layout }
    }

    pub(crate) fn first(&self) -> NonNull<u8> {
        self.first
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.first.as_ptr(), self.layout) };
    }
}

/// The environment of fakes.
pub(crate) struct TestEnv {
    asked: Lock<TestCpu, Vec<Asked>>,
    /// Requests that no device has completed yet.
    pub(crate) requests: Lock<TestCpu, Vec<Bio>>,
    flags: AtomicU8,
    /// Counts wake-ups, of any key.
    wakes: AtomicU64,
    /// New tables miss their second level until it is installed.
    pub(crate) two_levels: AtomicBool,
    memory: Memory,
}

impl TestEnv {
    /// Without any memory for the crate's objects.
    pub(crate) fn new() -> Self {
        Self::with_memory(0)
    }

    /// With `frames` frames from the first of the memory map on.
    pub(crate) fn with_memory(frames: usize) -> Self {
        Self {
            memory: Memory::new(frames),
            asked: Lock::new(Vec::new()),
            requests: Lock::new(Vec::new()),
            flags: AtomicU8::new(0),
            wakes: AtomicU64::new(0),
            two_levels: AtomicBool::new(false),
        }
    }

    /// The calls since the last time.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        core::mem::take(&mut *self.asked.lock())
    }

    pub(crate) fn set_flags(&self, flags: TaskFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    fn note(&self, asked: Asked) {
        self.asked.lock().push(asked);
    }
}

/// A machine on the fakes.
pub(crate) type TestMm<'m> = Mm<'m, &'m TestEnv>;

/// Boots a machine on the fakes, with the memory in `ranges` all free, for `body`.
pub(crate) fn with_mm(
    ranges: &[FrameRange],
    config: Config,
    body: impl for<'m> FnOnce(&TestMm<'m>),
) {
    with_swap(ranges, config, &[], body);
}

/// Like [`with_mm`], with swap devices, given as blocks and priorities.
pub(crate) fn with_swap(
    ranges: &[FrameRange],
    config: Config,
    devices: &[(u32, i16)],
    body: impl for<'m> FnOnce(&TestMm<'m>),
) {
    let plan = Plan::new(ranges, config).expect("memory that can be managed");
    let layout = plan.storage_layout::<&TestEnv>();
    let words = |(blocks, _): &(u32, i16)| Box::new_uninit_slice(words_for(*blocks));
    let mut slots: Vec<_> = devices.iter().map(words).collect();
    let mut block = Box::new_uninit_slice(layout.size() + layout.align());
    let env = TestEnv::with_memory(plan.span.pages() as usize);
    let mm = Mm::new(&env, plan, &mut block);
    ranges.iter().for_each(|range| mm.free_bootmem(*range));
    for (id, ((blocks, priority), slots)) in devices.iter().zip(&mut slots).enumerate() {
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, *blocks);
        let usable = mm.swapon(DeviceId(id as u8), *blocks, &page, slots, *priority);
        assert_eq!(usable, Ok(blocks - 1));
    }
    body(&mm);
}

impl Env for &TestEnv {
    type Cpu = TestCpu;
    type Frames = TestEnv;
    type Tables = TestTables;
    type Tasks = TestEnv;
    type Blocks = TestEnv;
    type Files = NoFiles;
    type Clock = TestEnv;

    fn frames(&self) -> &TestEnv {
        self
    }

    fn tasks(&self) -> &TestEnv {
        self
    }

    fn blocks(&self) -> &TestEnv {
        self
    }

    fn files(&self) -> &NoFiles {
        &NoFiles
    }

    fn clock(&self) -> &TestEnv {
        self
    }

    fn new_tables(&self, root: Pfn) -> TestTables {
        let missing = self.two_levels.load(Ordering::Relaxed);
        TestTables { frames: Vec::from([root]), missing, entries: BTreeMap::new() }
    }

    fn flush_tlb(&self, stale: &[TlbEntry]) {
        self.note(Asked::Flush(stale.to_vec()));
    }

    fn flush_tlb_space(&self, _asid: Asid) {}
}

// SAFETY: the frames lie one after the other in memory that lives as long as the environment,
// and nothing else touches them.
unsafe impl FrameMemory for TestEnv {
    fn linear_map(&self, _first: Pfn) -> NonNull<u8> {
        self.memory.first()
    }

    fn zero(&self, frame: Pfn) {
        self.note(Asked::Zero(frame));
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        self.note(Asked::Copy { to, from });
    }

    fn poison(&self, _frame: Pfn) {}

    fn read(&self, _frame: Pfn, _offset: usize, out: &mut [u8]) {
        out.fill(0);
    }

    fn write(&self, _frame: Pfn, _offset: usize, _bytes: &[u8]) {}
}

impl Tasks for TestEnv {
    fn flags(&self) -> TaskFlags {
        TaskFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    fn set_memalloc(&self, on: bool) -> bool {
        let was = self.flags();
        let mut now = was;
        now.set(TaskFlags::MEMALLOC, on);
        self.set_flags(now);
        was.contains(TaskFlags::MEMALLOC)
    }

    /// Tests again only after a wakeup, so that a lost one shows; a timeout never expires before
    /// the first test, and always after it. A dying task tests once.
    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        let start = Instant::now();
        loop {
            let seen = self.wakes.load(Ordering::SeqCst);
            if ready() {
                return WaitEnd::Ready;
            }
            if mode.killable && self.flags().contains(TaskFlags::DYING) {
                return WaitEnd::Killed;
            }
            if mode.timeout.is_some() {
                return WaitEnd::TimedOut;
            }
            if mode.killable && self.flags().contains(TaskFlags::DYING) {
                return WaitEnd::Killed;
            }
            while self.wakes.load(Ordering::SeqCst) == seen {
                assert!(start.elapsed() < Duration::from_secs(60), "{key:?}: no wakeup");
                thread::yield_now();
            }
        }
    }

    fn wake(&self, key: WaitKey) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.note(Asked::Wake(key));
    }

    fn yield_now(&self) {
        thread::yield_now();
    }

    fn kill_for_memory(&self, space: SpaceId) -> bool {
        self.note(Asked::Kill(space));
        true
    }
}

impl BlockDevice for TestEnv {
    fn submit(&self, bio: Bio) -> Option<Completion> {
        self.requests.lock().push(bio);
        None
    }

    fn plug(&self) {}

    fn unplug(&self) {}

    fn is_congested(&self, _device: DeviceId) -> bool {
        false
    }

    fn discard(&self, device: DeviceId, first: u32, blocks: u32) {
        self.note(Asked::Discard { device: device.0, first, blocks });
    }
}

impl Clock for TestEnv {
    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

/// Translation tables as a plain map, with one level that may be missing.
pub(crate) struct TestTables {
    /// The root, then the second level if there is one.
    frames: Vec<Pfn>,
    missing: bool,
    entries: BTreeMap<u32, Pte>,
}

impl TestTables {
    fn present(&mut self, vpn: Vpn) -> &mut Mapping {
        match self.entries.get_mut(&vpn.0) {
            Some(Pte::Present(mapping)) => mapping,
            other => panic!("{vpn:?} is not present but {other:?}"),
        }
    }
}

impl PageTables for TestTables {
    type Entry<'t>
        = EntryAt<'t, Self>
    where
        Self: 't;

    fn asid(&self) -> Asid {
        Asid(self.frames[0].0 as u16)
    }

    fn get(&self, vpn: Vpn) -> Pte {
        self.entries.get(&vpn.0).copied().unwrap_or(Pte::None)
    }

    fn entry(&mut self, vpn: Vpn) -> Option<EntryAt<'_, Self>> {
        (!self.missing).then(|| EntryAt::new(self, vpn))
    }

    fn set(&mut self, vpn: Vpn, pte: Pte) -> Result<(), NoTable> {
        if self.missing && pte != Pte::None {
            return Err(NoTable);
        }
        self.entries.insert(vpn.0, pte);
        Ok(())
    }

    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte {
        self.entries.insert(vpn.0, new).unwrap_or(Pte::None)
    }

    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool {
        core::mem::take(&mut self.present(vpn).young)
    }

    fn mark_accessed(&mut self, vpn: Vpn, write: bool) {
        let mapping = self.present(vpn);
        mapping.young = true;
        mapping.dirty |= write;
    }

    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)> {
        let mut entries = self.entries.range(from.0..end.0);
        entries.find(|(_, pte)| **pte != Pte::None).map(|(vpn, pte)| (Vpn(*vpn), *pte))
    }

    fn install_table(&mut self, _vpn: Vpn, frame: Pfn) -> Option<Pfn> {
        if !self.missing {
            return Some(frame);
        }
        self.missing = false;
        self.frames.push(frame);
        None
    }

    /// The second level covers everything.
    fn unlink_tables(
        &mut self,
        _range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        let all = free.start == Vpn(0) && free.end == USER_END;
        if all && self.frames.len() > 1 {
            assert!(self.entries.values().all(|pte| *pte == Pte::None), "a table in use");
            self.missing = true;
            let _more = take(self.frames.pop().expect("looked before"));
        }
        None
    }

    fn table_frames(&self) -> u32 {
        self.frames.len() as u32
    }

    fn release(&mut self, give: &mut dyn FnMut(Pfn)) {
        while let Some(frame) = self.frames.pop() {
            give(frame);
        }
    }
}
