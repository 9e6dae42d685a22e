//! The verdict tables: one row for each reason that can occur, with a page in the state that causes
//! it.
//!
//! Every row boots a machine, brings one page into its state, passes it to the ladder with the
//! row's request, and expects just that reason. What cannot occur yet is listed with the cause.

use mm_reclaim::env::Prot;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::reclaim::{
    ActivateReason as Activate, CullReason as Cull, FreeReason as Free, KeepReason as Keep, May,
    Reason, ScanRequest,
};
use mm_reclaim::swap::map::{MAX_USES, SlotState};
use mm_reclaim::units::{Pfn, Vpn};
use mm_reclaim::zone::ZoneFlags;
use simulator::{DiskConfig, Machine, OpenFile, Program};

use crate::bench::{
    HeldLock, HeldPage, anything, chill, cold, direct, direct_round, frame, given_up, half_way,
    hot, in_flight, kswapd, lock_behind_reclaim, look, prove, slot, slow, small, unwanted, without,
};
use crate::verdicts_of_files;

/// A page in its state, and what keeps it there until the pass is over.
pub struct Stage<'m> {
    pub frame: Pfn,
    pub programs: Vec<Program<'m>>,
    pub files: Vec<OpenFile<'m>>,
    pub lock: Option<HeldLock<'m>>,
    pub held: Option<HeldPage<'m>>,
    /// Repairs what the row had to damage, from the state after the pass.
    pub repair: Option<Box<dyn FnOnce() + 'm>>,
}

impl<'m> Stage<'m> {
    pub fn new(frame: Pfn, programs: impl IntoIterator<Item = Program<'m>>) -> Self {
        let programs = programs.into_iter().collect();
        Self { frame, programs, files: Vec::new(), lock: None, held: None, repair: None }
    }
}

fn cold_page(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = cold(machine, 1);
    Stage::new(frame(machine, &program, area.start), [program])
}

fn hot_page(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = hot(machine, 1);
    Stage::new(frame(machine, &program, area.start), [program])
}

fn half_way_page(machine: Machine<'_>) -> Stage<'_> {
    let (program, _, frame) = half_way(machine);
    Stage::new(frame, [program])
}

fn page_in_flight(machine: Machine<'_>) -> Stage<'_> {
    let (program, _, frames) = in_flight(machine, 1);
    Stage::new(frames[0], [program])
}

/// A row of the tables.
pub struct Row {
    pub reason: Reason,
    /// Each of the devices: swap's, and that of files.
    pub disk: DiskConfig,
    pub make: for<'m> fn(Machine<'m>) -> Stage<'m>,
    pub request: ScanRequest,
}

pub const DISK: DiskConfig = DiskConfig::sync(64);

fn keep_rows() -> Vec<Row> {
    let row = |why, disk, make, request| Row { reason: Reason::Keep(why), disk, make, request };
    let no_write = without(anything(), May::WRITEPAGE);
    vec![
        row(Keep::LockedElsewhere, DISK, locked_elsewhere, anything()),
        row(Keep::MayNotUnmap, DISK, cold_page, without(anything(), May::UNMAP)),
        row(Keep::Referenced, DISK, hot_page, anything()),
        row(Keep::NoIo, DISK, cold_page, direct(Gfp::NOIO)),
        row(Keep::MayNotEnter, DISK, half_way_page, direct(Gfp::NOIO)),
        row(Keep::MayNotWrite, DISK, cold_page, no_write),
        row(Keep::SlotUnused, DISK, slot_without_user, anything()),
        row(Keep::InFlight, slow(64), cold_page, anything()),
        row(Keep::ExtraReference, DISK, held_elsewhere, anything()),
        row(Keep::ExtraReference, DISK, clean_and_held, anything()),
        row(Keep::LazyFreeBusy, DISK, given_up_and_held, anything()),
    ]
}

fn activate_rows() -> Vec<Row> {
    let failing = DiskConfig { fail_write: 1, ..DISK };
    let row = |why, disk, make, request| Row { reason: Reason::Activate(why), disk, make, request };
    vec![
        row(Activate::Referenced, DISK, referenced_twice, anything()),
        row(Activate::ImmediateWriteback, slow(64), drowning, kswapd()),
        row(Activate::UnderWriteback, slow(64), page_in_flight, anything()),
        row(Activate::NoSlot, DiskConfig::sync(2), swap_is_full, anything()),
        row(Activate::UnmapFailed, DISK, slot_count_full, anything()),
        row(Activate::WriteFailed, failing, cold_page, anything()),
        row(Activate::LazyFreeDirty, DISK, given_up_and_written, ScanRequest::proactive()),
    ]
}

fn other_rows() -> Vec<Row> {
    let row = |reason, make| Row { reason, disk: DISK, make, request: anything() };
    vec![
        row(Reason::Cull(Cull::Unevictable), mlocked_on_inactive),
        row(Reason::Cull(Cull::LockedMapping), locked_area_around_unmarked_page),
        row(Reason::Free(Free::Clean), read_back),
        row(Reason::Free(Free::Written), cold_page),
        row(Reason::Free(Free::LazyFreed), given_up_page),
    ]
}

/// Reasons that no page can meet yet, and why.
const UNREACHABLE: &[(Reason, &str)] = &[
    (Reason::Keep(Keep::DirtyAgain), "another task must act in the write: `file_ladder.rs`"),
    (Reason::Keep(Keep::LockLost), "another task must act in the write: `file_ladder.rs`"),
    (Reason::Keep(Keep::FoundDirty), "needs a second CPU between two loads under the page lock"),
    (Reason::Free(Free::Overdue), "needs 64 pages before it: `ladder.rs` has them"),
];

fn locked_elsewhere(machine: Machine<'_>) -> Stage<'_> {
    let stage = cold_page(machine);
    Stage { lock: Some(HeldLock::of(machine, stage.frame)), ..stage }
}

fn held_elsewhere(machine: Machine<'_>) -> Stage<'_> {
    let stage = cold_page(machine);
    Stage { held: Some(HeldPage::of(machine, stage.frame)), ..stage }
}

fn clean_and_held(machine: Machine<'_>) -> Stage<'_> {
    let stage = read_back(machine);
    Stage { held: Some(HeldPage::of(machine, stage.frame)), ..stage }
}

/// The page was unmapped and not yet written when its only user unmapped the slot, while another
/// holder had the page locked.
fn slot_without_user(machine: Machine<'_>) -> Stage<'_> {
    let (program, _, frame) = unwanted(machine);
    Stage::new(frame, [program])
}

fn referenced_twice(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = hot(machine, 1);
    let frame = frame(machine, &program, area.start);
    look(machine, &[frame], anything());
    program.check_all(area);
    Stage::new(frame, [program])
}

/// A whole batch under write-back was met by direct reclaim: the zone is flagged.
fn drowning(machine: Machine<'_>) -> Stage<'_> {
    let (program, _, frames) = in_flight(machine, 1);
    direct_round(machine, Gfp::KERNEL);
    assert!(machine.mm.zones().all(|z| z.flags().contains(ZoneFlags::WRITEBACK)));
    Stage::new(frames[0], [program])
}

/// Another program has the only slot.
fn swap_is_full(machine: Machine<'_>) -> Stage<'_> {
    let other = cold_page(machine);
    look(machine, &[other.frame], anything());
    assert_eq!(machine.mm.swap_pages(), (1, 0));
    let mut stage = cold_page(machine);
    stage.programs.extend(other.programs);
    stage
}

/// A page that two programs map again after it was in swap, and whose slot can count one
/// more entry only.
fn slot_count_full(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = cold(machine, 1);
    let mut child = program.fork().expect("a child");
    let first = frame(machine, &program, area.start);
    look(machine, &[first], ScanRequest::proactive());
    let entry = slot(machine, &program, area.start);
    program.check_all(area.clone());
    child.check_all(area.clone());
    let mut program = program;
    chill(&mut program, area.clone());
    chill(&mut child, area.clone());
    let set = move |uses| machine.mm.corrupt_slot(entry, |state| SlotState { uses, ..state });
    set(MAX_USES - 1);
    let frame = frame(machine, &program, area.start);
    let mut stage = Stage::new(frame, [program, child]);
    // One of the two entries was replaced, and is the slot's only user.
    stage.repair = Some(Box::new(move || set(1)));
    stage
}

/// The page was isolated by reclaim when it was locked into memory.
fn mlocked_on_inactive(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = cold(machine, 1);
    let frame = frame(machine, &program, area.start);
    lock_behind_reclaim(machine, &program, area.start, frame);
    Stage::new(frame, [program])
}

/// `mlock` ended at a page that it could not bring in: the area is locked nevertheless, and the
/// pages behind are not marked.
fn locked_area_around_unmarked_page(machine: Machine<'_>) -> Stage<'_> {
    let mut program = Program::new(machine);
    let area = program.map(2);
    let (first, second) = (area.start, Vpn(area.start.0 + 1));
    program.write(second).expect("alive");
    chill(&mut program, second..area.end);
    machine.mm.mprotect(program.space, first..second, Prot::empty()).expect("an area");
    machine.mm.mlock(program.space, area).expect_err("a page that cannot be brought in");
    Stage::new(frame(machine, &program, second), [program])
}

fn read_back(machine: Machine<'_>) -> Stage<'_> {
    let (mut program, area) = cold(machine, 1);
    look(machine, &[frame(machine, &program, area.start)], anything());
    program.check_all(area.clone());
    chill(&mut program, area.clone());
    Stage::new(frame(machine, &program, area.start), [program])
}

fn given_up_page(machine: Machine<'_>) -> Stage<'_> {
    let (program, area) = given_up(machine, 1);
    Stage::new(frame(machine, &program, area.start), [program])
}

fn given_up_and_written(machine: Machine<'_>) -> Stage<'_> {
    let (mut program, area) = given_up(machine, 1);
    program.write_all(area.clone());
    Stage::new(frame(machine, &program, area.start), [program])
}

/// The program unmapped it; another holder has it.
fn given_up_and_held(machine: Machine<'_>) -> Stage<'_> {
    let (mut program, area) = given_up(machine, 1);
    let frame = frame(machine, &program, area.start);
    let held = HeldPage::of(machine, frame);
    program.unmap(area).expect("an area");
    Stage { held: Some(held), ..Stage::new(frame, [program]) }
}

fn rows() -> Vec<Row> {
    let anon = keep_rows().into_iter().chain(activate_rows()).chain(other_rows());
    anon.chain(verdicts_of_files::rows()).collect()
}

fn check(row: &Row) {
    let mut config = small(row.disk.clone());
    config.hardware.cpus = 2;
    config.hardware.disks.push(DiskConfig { is_swap: false, ..row.disk.clone() });
    Machine::run(&config, |machine| {
        let mut stage = (row.make)(machine);
        let seen = look(machine, &[stage.frame], row.request);
        assert_eq!(seen.verdicts, [(row.reason, 1)], "{:?}", seen.stat);
        if let Some(repair) = stage.repair.take() {
            repair();
        }
        drop(stage.lock.take());
        drop(stage.held.take());
        prove(machine);
        drop(stage);
        prove(machine);
    });
}

/// OBS-03, SPL-01, SPL-02, SPL-03, SPL-05, SPL-06, SPL-08, SPL-09, SPL-10, SPL-12, SPL-14, SPL-16,
/// SPL-19: each reason, and no other, is the result for its state.
#[test]
fn each_state_is_answered_with_its_reason() {
    for row in rows() {
        println!("{:?}", row.reason);
        check(&row);
    }
}

/// OBS-03: a reason is either shown by a row or listed with the cause why it cannot occur yet.
#[test]
fn every_reason_is_shown_or_excused() {
    let shown: Vec<Reason> = rows().iter().map(|row| row.reason).collect();
    for reason in Reason::all() {
        let excused = UNREACHABLE.iter().any(|(r, why)| *r == reason && !why.is_empty());
        assert!(shown.contains(&reason) != excused, "{reason:?}");
    }
}
