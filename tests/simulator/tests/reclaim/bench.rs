//! A small machine on which one page can be brought into any state that it can have, and then
//! passed to reclaim.

use std::mem;
use std::ops::Range;

use mm_reclaim::SyncMode;
use mm_reclaim::env::{DeviceId, PageTables, Prot, Pte};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, Page, PageFlags, PageRef};
use mm_reclaim::reclaim::{BatchStat, May, Reason, ReclaimKind, ScanProgress, ScanRequest};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::SwapEntry;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn, PhysAddr, Vpn};
use mm_reclaim::zone::{ZoneId, ZoneLimits};
use simulator::{Config, DiskConfig, Machine, OpenFile, Pace, Program};

/// Frames of the small machine.
pub const FRAMES: u32 = 1024;

/// 4 MiB in one zone, one CPU, no preemption.
pub fn small(disk: DiskConfig) -> Config {
    let mut config = Config::default();
    config.hardware.memory = std::iter::once(0..FRAMES).collect();
    config.hardware.cpus = 1;
    config.hardware.preempt_every = 0;
    config.hardware.disks = vec![disk];
    config.mm.zone_limits = Default::default();
    // Anonymous pages get the whole quota of a scan, so that it is predictable.
    config.mm.swappiness = 200;
    config
}

/// A device that takes ten seconds for a request: whatever is written stays under way
/// until a test settles.
pub fn slow(blocks: u32) -> DiskConfig {
    let pace = Pace::Async { latency: 10_000_000_000..10_000_000_001, per_page: 0 };
    DiskConfig { pace, ..DiskConfig::later(blocks) }
}

/// Runs `body` on the small machine with this device.
pub fn on<R>(disk: DiskConfig, body: impl FnOnce(Machine<'_>) -> R) -> R {
    Machine::run(&small(disk), body)
}

/// The device of files on [`with_file_disk`].
pub const FILES: DeviceId = DeviceId(1);

/// Runs `body` on the small machine with a small swap and this device for files.
pub fn with_file_disk<R>(files: DiskConfig, body: impl FnOnce(Machine<'_>) -> R) -> R {
    let mut config = small(DiskConfig::sync(64));
    config.hardware.disks.push(DiskConfig { is_swap: false, ..files });
    // Pages of files get the whole quota of a scan.
    config.mm.swappiness = 0;
    Machine::run(&config, body)
}

/// A file with `count` dirty pages, which nothing maps; the frames.
pub fn dirty_file(machine: Machine<'_>, count: u32) -> (OpenFile<'_>, Vec<Pfn>) {
    let file = OpenFile::create(machine, FILES);
    let bytes = vec![1; count as usize * PAGE_SIZE];
    assert_eq!(file.write(0, &bytes), Ok(bytes.len()));
    machine.mm.lru_add_drain_all();
    let frame = |index| machine.mm.file_frame(file.file(), index).expect("a cached page");
    let frames = (0..count).map(frame).collect();
    (file, frames)
}

/// A file with `count` pages under write-back; the device must be [`slow`].
pub fn file_in_flight(machine: Machine<'_>, count: u32) -> (OpenFile<'_>, Vec<Pfn>) {
    let (file, frames) = dirty_file(machine, count);
    let wrote = machine.mm.write_dirty_pages(file.file(), 0..count, count, SyncMode::None);
    assert_eq!(wrote, Ok(count));
    assert!(frames.iter().all(|pfn| has(machine, *pfn, PageFlags::WRITEBACK)));
    (file, frames)
}

/// A file with `count` clean pages; the frames.
pub fn clean_file(machine: Machine<'_>, count: u32) -> (OpenFile<'_>, Vec<Pfn>) {
    let (mut file, frames) = dirty_file(machine, count);
    file.sync().expect("a disk that works");
    (file, frames)
}

/// Locks the area of one page into memory as a race with reclaim may leave it: the page is
/// marked, and still on the list of pages that reclaim scans.
pub fn lock_behind_reclaim(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn, frame: Pfn) {
    let rights = Prot::READ | Prot::WRITE;
    machine.mm.corrupt_rights(program.space, vpn, rights, AreaFlags::LOCKED);
    machine.mm.memmap().page(frame).corrupt_flags(PageFlags::MLOCKED);
}

/// Free pages while no program is there: what the tables keep for the next one and the zero
/// page count as free.
pub fn free_between_programs(machine: Machine<'_>) -> u32 {
    machine.mm.trim_tables();
    let census = machine.mm.validate().expect("sound");
    assert!(census.kernel <= 1, "{census:?}");
    machine.mm.total_free() + census.kernel
}

/// Quiet, and every invariant holds, the identities of the counters among them.
pub fn prove(machine: Machine<'_>) {
    machine.validate();
    assert_eq!(machine.mm.check_counters(), Ok(()));
    let cached = machine.mm.memmap().iter().filter(|(_, p)| p.has(PageFlags::SWAPCACHE)).count();
    let kept = machine.mm.zones().map(|z| machine.mm.lru().in_zone(z.id()).swapcached()).sum();
    assert_eq!(cached as u32, kept, "pages in the swap cache, and how many are counted");
}

/// The reasons that decided since then, and how often.
pub type Verdicts = Vec<(Reason, u64)>;

/// How often each reason has decided so far.
pub struct Tally(Verdicts);

impl Tally {
    pub fn new(machine: Machine<'_>) -> Self {
        Self(Reason::all().map(|r| (r, machine.mm.verdict_count(r))).collect())
    }

    /// What has been decided since, without the reasons that were not needed.
    pub fn since(&self, machine: Machine<'_>) -> Verdicts {
        let now = |&(r, before): &(Reason, u64)| (r, machine.mm.verdict_count(r) - before);
        self.0.iter().map(now).filter(|(_, n)| *n > 0).collect()
    }

    /// How often `reason` has decided since.
    pub fn of(&self, machine: Machine<'_>, reason: Reason) -> u64 {
        self.since(machine).iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
    }
}

/// The result of one pass.
#[derive(Debug)]
pub struct Look {
    pub verdicts: Verdicts,
    pub stat: BatchStat,
    /// Scan pressure.
    pub pressure: u64,
}

/// Passes these frames to the ladder.
pub fn look(machine: Machine<'_>, frames: &[Pfn], request: ScanRequest) -> Look {
    let (tally, mut progress) = (Tally::new(machine), ScanProgress::default());
    let stat = machine.mm.probe_pages(frames, &request, &mut progress);
    Look { verdicts: tally.since(machine), stat, pressure: progress.scanned }
}

/// A direct reclaimer's request.
pub fn direct(gfp: Gfp) -> ScanRequest {
    ScanRequest::direct(gfp, Order::ZERO)
}

/// A direct reclaimer's request that may do anything.
pub fn anything() -> ScanRequest {
    direct(Gfp::KERNEL)
}

/// kswapd's request.
pub fn kswapd() -> ScanRequest {
    let request = ScanRequest::kswapd(Order::ZERO, ZoneId::Normal);
    assert_eq!(request.kind, ReclaimKind::Kswapd);
    request
}

/// A request without some rights.
pub fn without(request: ScanRequest, rights: May) -> ScanRequest {
    ScanRequest { may: request.may - rights, ..request }
}

/// Passes everything on the lists to forced reclaim.
pub fn force_everything(machine: Machine<'_>) {
    machine.settle();
    machine.mm.lru_add_drain_all();
    for zone in machine.mm.zones() {
        let is_here =
            |page: &Page| page.has(PageFlags::LRU) && page.zone_index() == zone.id().index();
        let map = machine.mm.memmap();
        let all: Vec<Pfn> = map.iter().filter(|(_, p)| is_here(p)).map(|(pfn, _)| pfn).collect();
        look(machine, &all, ScanRequest::proactive());
    }
}

/// The entry in the tables of a program.
pub fn entry(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> Pte {
    machine.mm.with_tables(program.space, |tables| tables.get(vpn))
}

/// The frame that a program has at `vpn`.
pub fn frame(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> Pfn {
    match entry(machine, program, vpn) {
        Pte::Present(mapping) => mapping.pfn,
        other => panic!("{vpn:?} is {other:?}"),
    }
}

/// The frames of a range.
pub fn frames(machine: Machine<'_>, program: &Program<'_>, range: Range<Vpn>) -> Vec<Pfn> {
    pages(range).map(|vpn| frame(machine, program, vpn)).collect()
}

/// The slot that a program has at `vpn`.
pub fn slot(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> SwapEntry {
    match entry(machine, program, vpn) {
        Pte::NotPresent(raw) => SwapEntry::from_raw(raw),
        other => panic!("{vpn:?} is {other:?}"),
    }
}

/// Whether the program has a page, not a slot, at `vpn`.
pub fn is_present(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> bool {
    matches!(entry(machine, program, vpn), Pte::Present(_))
}

/// The pages of a range.
pub fn pages(range: Range<Vpn>) -> impl Iterator<Item = Vpn> {
    (range.start.0..range.end.0).map(Vpn)
}

/// The descriptor of a frame.
pub fn page<'m>(machine: Machine<'m>, pfn: Pfn) -> &'m Page {
    machine.mm.memmap().page(pfn)
}

/// Whether the page carries all of these flags.
pub fn has(machine: Machine<'_>, pfn: Pfn, flags: PageFlags) -> bool {
    page(machine, pfn).has(flags)
}

/// Base pages on a list, over all zones.
pub fn on_list(machine: Machine<'_>, list: LruList) -> u32 {
    machine.mm.lru_add_drain_all();
    machine.mm.lru().total(list)
}

/// A page lock that another holder has.
#[must_use = "held until dropped"]
pub struct HeldLock<'m>(&'m Page);

impl<'m> HeldLock<'m> {
    pub fn of(machine: Machine<'m>, pfn: Pfn) -> Self {
        let page = page(machine, pfn);
        // Only the crate can unlock with the token; here the flag is enough: no task waits.
        mem::forget(page.try_lock().expect("a page that nobody has locked"));
        Self(page)
    }
}

impl Drop for HeldLock<'_> {
    fn drop(&mut self) {
        self.0.corrupt_flags(PageFlags::LOCKED);
    }
}

/// A reference that another holder has.
#[must_use = "held until dropped"]
pub struct HeldPage<'m>(Machine<'m>, Option<PageRef<'m>>);

impl<'m> HeldPage<'m> {
    pub fn of(machine: Machine<'m>, pfn: Pfn) -> Self {
        Self(machine, Some(machine.mm.get_page(pfn).expect("a page in use")))
    }
}

impl Drop for HeldPage<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.1.take() {
            self.0.mm.put_page(held);
        }
    }
}

/// Takes every page that may be taken without reclaim, so that the next request must
/// reclaim; the frames that were taken.
pub fn exhaust(machine: Machine<'_>) -> Vec<Pfn> {
    let take = || machine.mm.alloc_pages(Gfp::empty(), Order::ZERO);
    std::iter::from_fn(take).collect()
}

/// Frees frames.
pub fn release(machine: Machine<'_>, taken: Vec<Pfn>) {
    taken.into_iter().for_each(|pfn| machine.mm.free_pages(pfn, Order::ZERO));
}

/// One direct reclaim, without kswapd; memory is exhausted in that time. What it decided.
pub fn direct_round(machine: Machine<'_>, gfp: Gfp) -> Verdicts {
    let mut taken = exhaust(machine);
    let tally = Tally::new(machine);
    let stalls = machine.mm.event(VmEvent::AllocStallNormal);
    let alone = (gfp | Gfp::DIRECT_RECLAIM | Gfp::NORETRY) - Gfp::KSWAPD_RECLAIM;
    let got = machine.mm.alloc_pages(alone, Order::ZERO);
    assert!(machine.mm.event(VmEvent::AllocStallNormal) > stalls, "no task had to reclaim");
    let verdicts = tally.since(machine);
    taken.extend(got);
    release(machine, taken);
    verdicts
}

/// A program with `count` written pages that were not referenced since.
pub fn cold<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, Range<Vpn>) {
    let (mut program, area) = hot(machine, count);
    chill(&mut program, area.clone());
    (program, area)
}

/// A program with `count` written pages, each referenced once.
pub fn hot<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, Range<Vpn>) {
    let mut program = Program::new(machine);
    let area = program.map(count);
    program.write_all(area.clone());
    machine.mm.lru_add_drain_all();
    (program, area)
}

/// Clears the references of a range, as if a long time had passed.
pub fn chill(program: &mut Program<'_>, range: Range<Vpn>) {
    program.advise(range, Advice::Cold).expect("a range without holes");
}

/// A program with `count` pages whose contents it has given up.
pub fn given_up<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, Range<Vpn>) {
    let (mut program, area) = hot(machine, count);
    assert_eq!(program.advise(area.clone(), Advice::Free), Ok(count));
    machine.mm.lru_add_drain_all();
    (program, area)
}

/// A program with one page that is unmapped, dirty and in the swap cache: on its way to the
/// device when writing was forbidden.
pub fn half_way<'m>(machine: Machine<'m>) -> (Program<'m>, Range<Vpn>, Pfn) {
    let (program, area) = cold(machine, 1);
    let pfn = frame(machine, &program, area.start);
    let seen = look(machine, &[pfn], without(anything(), May::WRITEPAGE));
    assert_eq!(seen.stat.reclaimed, 0);
    assert!(has(machine, pfn, PageFlags::SWAPCACHE | PageFlags::DIRTY));
    assert!(!is_present(machine, &program, area.start));
    (program, area, pfn)
}

/// A page that is [`half_way`] and no longer has a user: it was unmapped while another holder had
/// it locked, so that it could not leave the cache at once.
pub fn unwanted<'m>(machine: Machine<'m>) -> (Program<'m>, Range<Vpn>, Pfn) {
    let (mut program, area, pfn) = half_way(machine);
    let lock = HeldLock::of(machine, pfn);
    program.unmap(area.clone()).expect("an area");
    drop(lock);
    assert!(has(machine, pfn, PageFlags::SWAPCACHE));
    (program, area, pfn)
}

/// A program with `count` pages under write-back; the device must be [`slow`].
pub fn in_flight<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, Range<Vpn>, Vec<Pfn>) {
    let (program, area) = cold(machine, count);
    let all = frames(machine, &program, area.clone());
    let seen = look(machine, &all, anything());
    assert_eq!(seen.stat.pageout, count);
    assert!(all.iter().all(|pfn| has(machine, *pfn, PageFlags::WRITEBACK)));
    (program, area, all)
}

/// A kernel's request that does direct reclaim, and fails rather than retrying.
pub const ALONE: Gfp = Gfp::DIRECT_RECLAIM.union(Gfp::IO).union(Gfp::FS).union(Gfp::NORETRY);

/// How often something has happened so far.
pub fn event(machine: Machine<'_>, event: VmEvent) -> u64 {
    machine.mm.event(event)
}

/// Takes a single page for the kernel.
pub fn take(machine: Machine<'_>, gfp: Gfp) -> Option<Pfn> {
    machine.mm.alloc_pages(gfp, Order::ZERO)
}

/// The small machine with a zone DMA of this many frames below zone NORMAL.
pub fn two_zones(disk: DiskConfig, dma: u32) -> Config {
    let mut config = small(disk);
    let end = PhysAddr(u64::from(dma) << 12);
    config.mm.zone_limits = ZoneLimits { dma_end: end, dma32_end: end };
    config
}

/// The zone that a frame lies in.
pub fn zone_of(machine: Machine<'_>, pfn: Pfn) -> ZoneId {
    ZoneId::ALL[page(machine, pfn).zone_index()]
}

/// Takes pages of zone NORMAL until requests fall back to a lower zone.
pub fn fill_normal(machine: Machine<'_>) -> Vec<Pfn> {
    let mut taken = Vec::new();
    loop {
        let pfn = take(machine, Gfp::empty()).expect("a zone that is not full");
        if zone_of(machine, pfn) != ZoneId::Normal {
            release(machine, vec![pfn]);
            return taken;
        }
        taken.push(pfn);
    }
}

/// Takes pages of a zone, without any watermark, until this many are left.
pub fn spend(machine: Machine<'_>, id: ZoneId, left: u32) -> Vec<Pfn> {
    let zone = machine.mm.zone(id);
    let gfp = if id == ZoneId::Dma { Gfp::MEMALLOC | Gfp::DMA } else { Gfp::MEMALLOC };
    let spent = || zone.free() + zone.pcp_pages() <= left;
    std::iter::from_fn(|| if spent() { None } else { take(machine, gfp) }).collect()
}
