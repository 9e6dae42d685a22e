//! A second user of the crate, complete in one file: a machine that is a process.
//!
//! Frames are bytes of one allocation, an address space's translation tables are a map, the
//! swap device is another map, a task is a thread, and each task has a CPU for itself. A program
//! maps one and a half times the memory of the machine, writes all of it, and reads it back.
//!
//! ```text
//! cargo run --release --target host-tuple -p mm-reclaim --example host
//! ```
//!
//! A kernel replaces each part by the real thing. `tests/conformance` runs its checks over this
//! environment, too, in `tests/host.rs`.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mm_reclaim::block::{Bio, Completion, Direction};
use mm_reclaim::env::{
    Asid, BlockDevice, Clock, Cpu, DeviceId, EntryAt, Env, FrameMemory, NoFiles, NoTable,
    PageTables, Prot, Pte, TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::space::{AreaFlags, SpaceId};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::header;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::zone::FrameRange;
use mm_reclaim::{Config, Mm, Place, Plan};

/// Everything but the crate. It is never freed, like a kernel's parts.
pub struct Host {
    /// The address of frame 0.
    first: NonNull<u8>,
    started: Instant,
    next_asid: AtomicU16,
    disk: Mutex<HashMap<u32, Vec<u8>>>,
    /// The number of wakeups, and the killed spaces.
    events: Mutex<(u64, BTreeSet<SpaceId>)>,
    changed: Condvar,
}

// SAFETY: `first` points to memory of the machine, which is accessed only by the rules of
// `FrameMemory`.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// A machine with the frames from 0 up to `frames`.
    pub fn new(frames: u32) -> &'static Self {
        let layout = Layout::from_size_align(frames as usize * PAGE_SIZE, PAGE_SIZE);
        // SAFETY: the size is not 0.
        let first = unsafe { alloc_zeroed(layout.expect("a size that there is")) };
        Box::leak(Box::new(Self {
            first: NonNull::new(first).expect("memory of the host"),
            started: Instant::now(),
            next_asid: AtomicU16::new(1),
            disk: Mutex::default(),
            events: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    fn at(&self, frame: Pfn) -> *mut u8 {
        self.first.as_ptr().wrapping_add(frame.0 as usize * PAGE_SIZE)
    }
}

/// The environment. It is passed by value, so it is a reference.
impl Env for &'static Host {
    type Cpu = ThreadCpu;
    type Frames = Host;
    type Tables = Map;
    type Tasks = Host;
    type Blocks = Host;
    type Files = NoFiles;
    type Clock = Host;

    fn frames(&self) -> &Host {
        self
    }
    fn tasks(&self) -> &Host {
        self
    }
    fn blocks(&self) -> &Host {
        self
    }
    fn files(&self) -> &NoFiles {
        &NoFiles
    }
    fn clock(&self) -> &Host {
        self
    }

    fn new_tables(&self, root: Pfn) -> Map {
        Map { root, asid: Asid(self.next_asid.fetch_add(1, Relaxed)), entries: BTreeMap::new() }
    }

    // Nothing is cached: each access of a program reads the tables.
    fn flush_tlb(&self, _stale: &[TlbEntry]) {}
    fn flush_tlb_space(&self, _asid: Asid) {}
}

thread_local! {
    /// The CPU, the flags and the address space of the task that this thread is.
    static ME: Cell<(usize, TaskFlags, Option<SpaceId>)> =
        const { Cell::new((usize::MAX, TaskFlags::empty(), None)) };
}

/// The calling thread is a task from now on. No two threads may have the same CPU.
pub fn become_task(cpu: usize, flags: TaskFlags, space: Option<SpaceId>) {
    ME.set((cpu, flags, space));
}

/// The CPU of the calling thread: each task has one for itself.
pub struct ThreadCpu;

impl Cpu for ThreadCpu {
    // No other task runs on this CPU, so there is nothing to do.
    fn preempt_disable() {}
    fn preempt_enable() {}
    fn current() -> usize {
        ME.get().0
    }
    /// The holder of the lock may have been preempted by the host.
    fn relax() {
        thread::yield_now();
    }
}

impl Tasks for Host {
    fn flags(&self) -> TaskFlags {
        let (_, flags, space) = ME.get();
        let killed = space.is_some_and(|space| self.events.lock().unwrap().1.contains(&space));
        if killed { flags | TaskFlags::DYING | TaskFlags::OOM_VICTIM } else { flags }
    }

    fn set_memalloc(&self, on: bool) -> bool {
        let (cpu, mut flags, space) = ME.get();
        let was = flags.contains(TaskFlags::MEMALLOC);
        flags.set(TaskFlags::MEMALLOC, on);
        ME.set((cpu, flags, space));
        was
    }

    /// Wakeups are counted, whatever their key. The count is read before each test: a wakeup after
    /// that ends the sleep at once. No lock is held during the test.
    fn wait_until(&self, _: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        let start = Instant::now();
        loop {
            let seen = self.events.lock().unwrap().0;
            if ready() {
                return WaitEnd::Ready;
            }
            if mode.killable && self.flags().contains(TaskFlags::DYING) {
                return WaitEnd::Killed;
            }
            // Testing again after a second costs nothing and avoids a wait without a limit.
            let mut left = Duration::from_secs(1);
            if let Some(timeout) = mode.timeout {
                left = Duration::from_nanos(timeout.0).saturating_sub(start.elapsed());
                if left.is_zero() {
                    return WaitEnd::TimedOut;
                }
            }
            let events = self.events.lock().unwrap();
            drop(self.changed.wait_timeout_while(events, left, |events| events.0 == seen));
        }
    }

    fn wake(&self, _: WaitKey) {
        self.events.lock().unwrap().0 += 1;
        self.changed.notify_all();
    }

    fn yield_now(&self) {
        thread::yield_now();
    }

    fn kill_for_memory(&self, space: SpaceId) -> bool {
        self.events.lock().unwrap().1.insert(space);
        self.wake(WaitKey(0));
        true
    }
}

impl Clock for Host {
    fn now(&self) -> Nanos {
        Nanos(self.started.elapsed().as_nanos() as u64)
    }
}

// SAFETY: frame 0 lies at `first`, aligned, and the others after it, in memory that is never freed.
// The methods access only the given frame, and the disk that of a request.
unsafe impl FrameMemory for Host {
    fn linear_map(&self, first: Pfn) -> NonNull<u8> {
        NonNull::new(self.at(first)).expect("frames lie behind the first")
    }

    fn zero(&self, frame: Pfn) {
        // SAFETY: the frame is the caller's, and PAGE_SIZE bytes long.
        unsafe { self.at(frame).write_bytes(0, PAGE_SIZE) };
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        // SAFETY: both frames are the caller's, and two different ones.
        unsafe { self.at(to).copy_from_nonoverlapping(self.at(from), PAGE_SIZE) };
    }

    fn poison(&self, frame: Pfn) {
        // SAFETY: the frame is unused.
        unsafe { self.at(frame).write_bytes(0x6b, PAGE_SIZE) };
    }

    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]) {
        let from = self.at(frame).wrapping_add(offset);
        // SAFETY: the bytes lie within the frame, which is the caller's.
        unsafe { from.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
    }

    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        let to = self.at(frame).wrapping_add(offset);
        // SAFETY: the bytes lie within the frame, which is the caller's.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

/// One address space's entries. There are no levels: no table is ever missing.
pub struct Map {
    root: Pfn,
    asid: Asid,
    entries: BTreeMap<Vpn, Pte>,
}

impl Map {
    /// What the MMU does with an access: the frame, or `None` for a fault.
    fn translate(&mut self, vpn: Vpn, access: Access) -> Option<Pfn> {
        let Some(Pte::Present(mapping)) = self.entries.get_mut(&vpn) else { return None };
        let stores = access == Access::Write;
        if stores && !mapping.prot.contains(Prot::WRITE) {
            return None;
        }
        mapping.young = true;
        mapping.dirty |= stores;
        Some(mapping.pfn)
    }
}

impl PageTables for Map {
    type Entry<'t>
        = EntryAt<'t, Self>
    where
        Self: 't;

    fn asid(&self) -> Asid {
        self.asid
    }
    fn get(&self, vpn: Vpn) -> Pte {
        self.entries.get(&vpn).copied().unwrap_or(Pte::None)
    }
    fn entry(&mut self, vpn: Vpn) -> Option<EntryAt<'_, Self>> {
        Some(EntryAt::new(self, vpn))
    }
    fn set(&mut self, vpn: Vpn, pte: Pte) -> Result<(), NoTable> {
        self.replace(vpn, pte);
        Ok(())
    }
    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte {
        let old = match new {
            Pte::None => self.entries.remove(&vpn),
            new => self.entries.insert(vpn, new),
        };
        old.unwrap_or(Pte::None)
    }
    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool {
        match self.entries.get_mut(&vpn) {
            Some(Pte::Present(mapping)) => std::mem::take(&mut mapping.young),
            _ => false,
        }
    }
    fn mark_accessed(&mut self, vpn: Vpn, write: bool) {
        self.translate(vpn, if write { Access::Write } else { Access::Read });
    }
    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)> {
        self.entries.range(from..end).next().map(|(vpn, pte)| (*vpn, *pte))
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
        give(self.root);
    }
}

/// A RAM disk that completes at once.
impl BlockDevice for Host {
    fn submit(&self, bio: Bio) -> Option<Completion> {
        let mut bytes = vec![0; PAGE_SIZE];
        match bio.direction() {
            Direction::Write => {
                self.read(bio.frame(), 0, &mut bytes);
                self.disk.lock().unwrap().insert(bio.block(), bytes);
            }
            Direction::Read => self.write(bio.frame(), 0, &self.disk.lock().unwrap()[&bio.block()]),
        }
        Some(bio.complete(Ok(())))
    }
    fn is_synchronous(&self, _device: DeviceId) -> bool {
        true
    }
    fn is_congested(&self, _device: DeviceId) -> bool {
        false
    }
    fn plug(&self) {}
    fn unplug(&self) {}
    fn discard(&self, _device: DeviceId, first: u32, blocks: u32) {
        let mut disk = self.disk.lock().unwrap();
        (first..first + blocks).for_each(|block| drop(disk.remove(&block)));
    }
}

type HostMm = Mm<'static, &'static Host>;

/// The memory management of a new machine, with swap and a kswapd.
fn boot(frames: u32, blocks: u32) -> &'static HostMm {
    let memory = [FrameRange { start: Pfn(0), end: Pfn(frames) }];
    let plan = Plan::new(&memory, Config::default()).expect("memory close together");
    let layout = plan.storage_layout::<&'static Host>();
    let block = Box::leak(Box::new_uninit_slice(layout.size() + layout.align()));
    let mm: &HostMm = Box::leak(Box::new(Mm::new(Host::new(frames), plan, block)));
    mm.free_bootmem(memory[0]);
    thread::spawn(|| {
        become_task(1, TaskFlags::KSWAPD | TaskFlags::KERNEL, None);
        mm.kswapd()
    });
    let mut page = [0; PAGE_SIZE];
    header::format(&mut page, blocks);
    let slots = Box::leak(Box::new_uninit_slice(HostMm::swap_words(blocks)));
    mm.swapon(DeviceId(0), blocks, &page, slots, 0).expect("the header was just made");
    mm
}

/// One access of a program to a page. The page-table lock, under which `with_tables` runs its
/// closure, keeps the page in its frame during the access; on real hardware, TLB flushes do.
fn access(mm: &HostMm, space: SpaceId, vpn: Vpn, kind: Access, mut act: impl FnMut(Pfn)) {
    while mm.with_tables(space, |tables| tables.translate(vpn, kind).map(&mut act)).is_none() {
        match mm.handle_fault(space, vpn.addr(), kind) {
            FaultEnd::Minor | FaultEnd::Major => {}
            end => panic!("the program dies at {:#x}: {end:?}", vpn.addr()),
        }
    }
}

/// The contents of page `n` of the program.
fn content(n: u32) -> Vec<u8> {
    (0..PAGE_SIZE as u32).map(|i| (n ^ i ^ (i >> 8)) as u8 ^ (n >> 8) as u8).collect()
}

/// Writes `pages` pages and reads them back.
fn program(mm: &HostMm, pages: u32) {
    let space = mm.create_space().expect("a machine with room");
    become_task(0, TaskFlags::empty(), Some(space));
    let rights = Prot::READ | Prot::WRITE;
    let start = mm.mmap(space, Place::Anywhere, pages, rights, AreaFlags::empty()).expect("room");
    for n in 0..pages {
        let bytes = content(n);
        access(mm, space, start + n, Access::Write, |frame| mm.env().write(frame, 0, &bytes));
    }
    let stat = mm.space_stat(space);
    println!("written: {pages} pages; {} in memory, {} in swap", stat.resident, stat.swapped);
    let mut found = vec![0; PAGE_SIZE];
    for n in 0..pages {
        access(mm, space, start + n, Access::Read, |frame| mm.env().read(frame, 0, &mut found));
        assert!(found == content(n), "page {n} is not as it was written");
    }
    println!("read back: every byte is as it was written");
    mm.destroy_space(space).expect("it exists");
}

fn main() {
    let mm = boot(4096, 8192);
    println!("memory: {} pages, swap: {} pages", mm.total_managed(), mm.swap_pages().0);
    program(mm, 6000);
    let (out, back) = (mm.event(VmEvent::PswpOut), mm.event(VmEvent::PswpIn));
    println!("swapped: {out} pages out, {back} in");
    // kswapd may still be working, and starts nothing new when no memory is requested.
    while !mm.is_quiet() {
        thread::sleep(Duration::from_millis(1));
    }
    let census = mm.validate().expect("books that are right");
    println!("books are right: {} pages are free, {} the kernel's", census.free, census.kernel);
    assert!(out > 2000 && back > 2000);
}

#[test]
fn the_second_user_runs() {
    main();
}
