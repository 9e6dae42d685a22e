//! What a person sees of the memory management: the zones at boot, a live line while a
//! program runs, and a table of what happened at the end.
//!
//! **Data.** Nothing of its own but the number of the watched process; everything shown is
//! read from the counters. **Lock.** None. The live line is drawn by a kernel task, so that
//! it goes on when the program hangs.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use mm_reclaim::env::{TaskFlags, WaitKey, WaitMode};
use mm_reclaim::page::LruList;
use mm_reclaim::reclaim::Reason;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Nanos;

use crate::arch::timer;
use crate::glue::{self, KernelMm};
use crate::{print, println, smp, task};

/// Between two drawings of the live line.
const PERIOD: Nanos = Nanos::from_millis(250);
/// How often, and after which pause, a violation is looked at again.
const QUIET_TRIES: u32 = 50;
const QUIET_PAUSE: Nanos = Nanos::from_millis(20);
const WATCH_KEY: WaitKey = WaitKey(0x6d6f_6e69_746f_7200);

static WATCHED: AtomicU32 = AtomicU32::new(0);
static DRAWN: AtomicBool = AtomicBool::new(false);

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

/// The task that draws, which sleeps until there is a program to watch.
pub struct Monitor(());

/// Makes it. To be called before there is any program: what the task takes of memory is then
/// not missed by one that counts what is free.
pub fn prepare() -> Monitor {
    if task::spawn_kernel("monitor", TaskFlags::empty(), draw).is_err() {
        println!("no memory for the live line");
    }
    Monitor(())
}

impl Monitor {
    /// Draws the live line for the process `pid` from now on.
    pub fn watch(self, pid: u32) -> Watch {
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
    /// Ends the live line, shows what happened, and checks the books. The status of the
    /// run: the program's own, or 128 and the signal that killed it; 3 if the memory
    /// management's books are wrong.
    pub fn finish(self, status: i32) -> u8 {
        WATCHED.store(0, Relaxed);
        task::wake(WATCH_KEY);
        leave_line();
        end_programs();
        let elapsed = timer::now().0 - self.began.0;
        print_summary(glue::mm(), elapsed);
        let books = check_books(glue::mm());
        let own = match status & 0x7f {
            0 => (status >> 8) as u8,
            signal => 128 + signal as u8,
        };
        println!("program ended with status {own}");
        if books { own } else { own.max(3) }
    }
}

/// Ends the live line, if one was drawn since: what comes next stands on a line of its own.
pub fn leave_line() {
    if DRAWN.swap(false, Relaxed) {
        println!();
    }
}

/// Ends what the watched program left behind, on whichever CPU it runs, so that the books
/// come to rest.
fn end_programs() {
    for _ in 0..QUIET_TRIES {
        if task::kill_programs() == 0 {
            return;
        }
        task::sleep(QUIET_PAUSE);
    }
    println!("programs are still running");
}

/// Validates with the other CPUs stopped. A task of this one, or one that was interrupted
/// where it may sleep, can still be at work on a page: a violation counts only if it stays.
fn check_books(mm: &KernelMm) -> bool {
    let look = || smp::with_others_stopped(|| mm.validate()).unwrap_or_else(|_| mm.validate());
    let mut found = look();
    for _ in 0..QUIET_TRIES {
        if found.is_ok() {
            break;
        }
        task::sleep(QUIET_PAUSE);
        found = look();
    }
    match found {
        Ok(census) => {
            println!("books are right: {census:?}");
            true
        }
        Err(violation) => {
            println!("BOOKS ARE WRONG: {violation:x?}");
            false
        }
    }
}

/// The body of the task that draws.
fn draw() -> ! {
    let watched = &mut || WATCHED.load(Relaxed) != 0;
    let _ = task::wait_until(WATCH_KEY, WaitMode::UNTIL_READY, watched);
    loop {
        let mode = WaitMode { timeout: Some(PERIOD), killable: false };
        let _ = task::wait_until(WATCH_KEY, mode, &mut || WATCHED.load(Relaxed) == 0);
        let pid = WATCHED.load(Relaxed);
        if pid == 0 {
            task::exit(0);
        }
        print!("\r{}", Line { mm: glue::mm(), pid });
        DRAWN.store(true, Relaxed);
    }
}

/// The live line.
struct Line<'a> {
    mm: &'a KernelMm,
    pid: u32,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mm, pid } = self;
        let name = task::name_of_process(*pid).unwrap_or_default();
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        let name = core::str::from_utf8(&name[..end]).unwrap_or("?");
        let (min, low, high) = mm.zones().fold((0, 0, 0), |(min, low, high), zone| {
            let marks = zone.watermarks();
            (min + marks.min, low + marks.low, high + marks.high)
        });
        let n = |event| mm.event(event);
        let size = |list| mm.lru().total(list);
        write!(
            f,
            "{name:<15} free {:>6} ({min}/{low}/{high}) inact {:>6} act {:>6} \
             kswapd {}/{} direct {}/{} swap out {} in {} ",
            mm.total_free(),
            size(LruList::InactiveAnon) + size(LruList::InactiveFile),
            size(LruList::ActiveAnon) + size(LruList::ActiveFile),
            n(VmEvent::PgScanKswapd),
            n(VmEvent::PgStealKswapd),
            n(VmEvent::PgScanDirect),
            n(VmEvent::PgStealDirect),
            n(VmEvent::PswpOut),
            n(VmEvent::PswpIn),
        )
    }
}

/// Everything that was counted, and why reclaim decided as it did.
fn print_summary(mm: &KernelMm, elapsed: u64) {
    println!("what happened in {} ms:", elapsed / 1_000_000);
    for event in VmEvent::ALL.iter().filter(|e| mm.event(**e) > 0) {
        println!("  {:<28} {:>10}", event.name(), mm.event(*event));
    }
    println!("why, for each page that reclaim looked at:");
    for reason in Reason::all().filter(|r| mm.verdict_count(*r) > 0) {
        println!("  {:<36} {:>10}", Name(reason), mm.verdict_count(reason));
    }
    println!("zone       scanned   stolen     free");
    for zone in mm.zones() {
        let (scanned, stolen) = zone.reclaim_counts();
        println!("{:<8} {scanned:>9}{stolen:>9}{:>9}", zone.id().name(), zone.free());
    }
}

/// A reason in a column of its own.
struct Name(Reason);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Buffer { bytes: [0; 48], len: 0 };
        fmt::Write::write_fmt(&mut buffer, format_args!("{:?}", self.0))?;
        f.pad(core::str::from_utf8(&buffer.bytes[..buffer.len]).unwrap_or("?"))
    }
}

struct Buffer {
    bytes: [u8; 48],
    len: usize,
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}
