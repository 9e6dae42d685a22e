//! Draws the live line, prints the summary, and calls `validate()`.
//!
//! **Data.** The number of the watched process, its progress, and the width of the terminal;
//! everything else is read from the counters. **Lock.** A leaf for the text; the rest are
//! independent atomics. The live line is drawn by a kernel task, so that it continues when the
//! program hangs.
//!
//! Without a terminal (`columns=0`) nothing is overwritten: the line is printed as a plain one, at
//! longer and longer intervals.

use core::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};

use mm_reclaim::env::{TaskFlags, WaitKey, WaitMode};
use mm_reclaim::page::LruList;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Nanos;
use mm_reclaim::validate::Census;

use super::ended::Ended;
use super::line::{Figures, LEGEND, Line};
use super::story::Story;
use super::tables::{CounterTable, ReasonTable};
use crate::arch::lock::IrqLock;
use crate::arch::mmu::STACK_SIZE;
use crate::drivers::{console, timer};
use crate::glue::{self, KernelMm};
use crate::task::family::{NAME_BYTES, printable};
use crate::{print, println, smp, task};

/// The pause before the first drawing, which is short so that short runs show too. Each pause is
/// twice the previous one, up to the longest.
const FIRST_PAUSE: Nanos = Nanos::from_millis(25);
const LONGEST_PAUSE: Nanos = Nanos::from_millis(250);
/// The same for plain lines.
const FIRST_PLAIN_PAUSE: Nanos = Nanos::from_millis(1_000);
const LONGEST_PLAIN_PAUSE: Nanos = Nanos::from_millis(16_000);
/// The width of a terminal if the command line does not give it.
const USUAL_COLUMNS: u16 = 80;
/// Bytes of the progress text that name the phase; a percentage follows.
const PHASE_BYTES: usize = 11;
/// How often, and after which pause, a violation is rechecked.
const QUIET_TRIES: u32 = 50;
const QUIET_PAUSE: Nanos = Nanos::from_millis(20);
const WATCH_KEY: WaitKey = WaitKey(0x6d6f_6e69_746f_7200);

static WATCHED: AtomicU32 = AtomicU32::new(0);
static COLUMNS: AtomicU16 = AtomicU16::new(USUAL_COLUMNS);
/// The program's progress text, padded with zeroes.
static PROGRESS: IrqLock<[u8; NAME_BYTES]> = IrqLock::new([0; NAME_BYTES]);

/// Shows the zones, their watermarks, and what the descriptors cost.
pub fn print_zones(mm: &KernelMm, descriptor_bytes: usize) {
    println!("zone       spanned  present  managed      min      low     high");
    for zone in mm.zones() {
        let marks = zone.watermarks();
        println!(
            "{:<8} {:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            zone.id().name(),
            zone.span().pages(),
            zone.present(),
            zone.managed(),
            marks.min,
            marks.low,
            marks.high,
        );
    }
    let each = size_of::<mm_reclaim::page::Page>();
    println!("page descriptors: {} KiB, {each} bytes a frame", descriptor_bytes / 1024);
}

/// Sets the width of the terminal; 0 if there is none.
pub fn set_columns(columns: u16) {
    COLUMNS.store(columns, Relaxed);
}

/// Sets the progress of the watched program, for the live line; the beginning of a phase is drawn
/// at once.
pub fn show_progress(text: [u8; NAME_BYTES]) {
    let before = core::mem::replace(&mut *PROGRESS.lock(), text);
    let (pid, plain) = (WATCHED.load(Relaxed), COLUMNS.load(Relaxed) == 0);
    if before[..PHASE_BYTES] != text[..PHASE_BYTES] && pid != 0 && !plain {
        draw_once(pid, plain);
    }
}

/// The task that draws, which sleeps until there is a program to watch.
pub struct Monitor(());

/// Creates the task. To be called before there is any program: a program that counts free memory
/// must not see the task's allocations.
pub fn prepare() -> Monitor {
    if task::spawn_kernel("monitor", TaskFlags::empty(), draw).is_err() {
        println!("no memory for the live line");
    }
    Monitor(())
}

impl Monitor {
    /// Draws the live line for the process `pid` from now on.
    pub fn watch(self, pid: u32) -> Watch {
        println!("{LEGEND}");
        WATCHED.store(pid, Relaxed);
        task::wake(WATCH_KEY);
        Watch { began: timer::now() }
    }
}

/// A program that is being watched.
pub struct Watch {
    began: Nanos,
}

impl Watch {
    /// Ends the live line, prints the summary, and calls `validate()`. Returns the status of the
    /// run: the program's own, or 128 and the signal that killed it; 3 if `validate()` finds a
    /// violation.
    pub fn finish(self, status: i32) -> u8 {
        WATCHED.store(0, Relaxed);
        task::wake(WATCH_KEY);
        end_programs();
        let elapsed = Nanos(timer::now().0 - self.began.0);
        print_summary(glue::mm(), elapsed);
        let books = check_books(glue::mm());
        // The watched program is the first of the machine.
        let ended = Ended { status, for_memory: task::init_was_killed_for_memory() };
        println!("{ended}");
        if books { ended.own() } else { ended.own().max(3) }
    }
}

/// Kills the programs that the watched one left behind, on any CPU, so that the machine becomes
/// quiet.
pub fn end_programs() {
    for _ in 0..QUIET_TRIES {
        if task::kill_programs() == 0 {
            return;
        }
        task::sleep(QUIET_PAUSE);
    }
    println!("programs are still running");
}

/// Validates at a quiet moment, with the other CPUs stopped. A task of this CPU, or one that was
/// interrupted where it may sleep, may be working on a page: a violation counts only if it
/// persists. If no moment is quiet, the violation says why.
fn check_books(mm: &KernelMm) -> bool {
    let look = || smp::with_others_stopped(|| mm.validate()).unwrap_or_else(|_| mm.validate());
    let mut found = None;
    for _ in 0..QUIET_TRIES {
        if mm.is_quiet() {
            found = Some(look());
        }
        if matches!(found, Some(Ok(_))) {
            break;
        }
        task::sleep(QUIET_PAUSE);
    }
    let found = found.unwrap_or_else(look);
    match found {
        Ok(census) => {
            print_census(&census);
            true
        }
        Err(violation) => {
            println!("BOOKS ARE WRONG: {violation}");
            false
        }
    }
}

fn print_census(census: &Census) {
    let Census { free, kernel, reserved, mappings, swap_entries, lru, .. } = census;
    let listed: u32 = lru.iter().sum();
    println!("books are right: every page frame is somewhere, and all counts agree");
    println!("  {free} are free, {kernel} the kernel's, {reserved} were never given out;");
    println!("  programs left {listed} on the lists, {mappings} mapped, {swap_entries} in swap");
}

/// The body of the task that draws.
fn draw() -> ! {
    let watched = &mut || WATCHED.load(Relaxed) != 0;
    let _ = task::wait_until(WATCH_KEY, WaitMode::UNTIL_READY, watched);
    let plain = COLUMNS.load(Relaxed) == 0;
    let (mut pause, longest) = match plain {
        false => (FIRST_PAUSE, LONGEST_PAUSE),
        true => (FIRST_PLAIN_PAUSE, LONGEST_PLAIN_PAUSE),
    };
    loop {
        let mode = WaitMode { timeout: Some(pause), killable: false };
        let _ = task::wait_until(WATCH_KEY, mode, &mut || WATCHED.load(Relaxed) == 0);
        let pid = WATCHED.load(Relaxed);
        if pid == 0 {
            task::exit(0);
        }
        draw_once(pid, plain);
        pause = Nanos((pause.0 * 2).min(longest.0));
    }
}

/// Shows the program's progress, or else its name.
fn draw_once(pid: u32, plain: bool) {
    let said = *PROGRESS.lock();
    let mut text = if said[0] == 0 { task::name_of_process(pid).unwrap_or_default() } else { said };
    let progress = printable(&mut text);
    let columns = if plain { USUAL_COLUMNS } else { COLUMNS.load(Relaxed) };
    let line = Line { progress, figures: figures(glue::mm()), columns: columns.into() };
    match plain {
        // If the line cannot be drawn now, it is drawn the next time.
        false => _ = console::draw(format_args!("{line}")),
        true => _ = console::print_between(format_args!("{line}\n")),
    }
}

fn figures(mm: &KernelMm) -> Figures {
    let n = |event| mm.event(event);
    let size = |list| u64::from(mm.lru().total(list));
    let dirty = mm.dirty_state();
    Figures {
        free: u64::from(mm.total_free()),
        inactive: [size(LruList::InactiveAnon), size(LruList::InactiveFile)],
        active: [size(LruList::ActiveAnon), size(LruList::ActiveFile)],
        dirty: dirty.dirty.into(),
        writeback: dirty.writeback.into(),
        refaults: n(VmEvent::WorkingsetRefaultAnon) + n(VmEvent::WorkingsetRefaultFile),
        by_kswapd: n(VmEvent::PgStealKswapd),
        by_direct: n(VmEvent::PgStealDirect),
        swapped_out: n(VmEvent::PswpOut),
        swapped_in: n(VmEvent::PswpIn),
    }
}

/// The three sentences, then all counters, and the reasons of reclaim's decisions.
fn print_summary(mm: &KernelMm, elapsed: Nanos) {
    let count = |event| mm.event(event);
    println!("\nwhat happened:");
    print!("{}", Story { elapsed, count: &count });
    println!("\ncounters, those that are not 0:");
    print!("{}", CounterTable { count: &count });
    println!("why, for each page that reclaim looked at:");
    print!("{}", ReasonTable { count: &|reason| mm.verdict_count(reason) });
    println!("zone       scanned   stolen     free");
    for zone in mm.zones() {
        let (scanned, stolen) = zone.reclaim_counts();
        println!("{:<8} {scanned:>9}{stolen:>9}{:>9}", zone.id().name(), zone.free());
    }
    let deepest = task::deepest_stack();
    if deepest != 0 {
        println!("kernel stacks: deepest {deepest} of {STACK_SIZE} bytes");
    }
}
