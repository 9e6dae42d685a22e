//! The machine as a benchmark needs it: a clock that counts instructions, a program whose own pages
//! stay, and an exact number of free frames.

use core::arch::asm;

use super::array::Array;
use crate::pages::PAGE_SIZE;
use crate::sys;

/// A whole page, as an element of an [`Array`].
pub type Page = [u64; PAGE_SIZE / 8];

/// The counter of the generic timer. QEMU's `-icount` with the counter at 1 GHz advances it
/// by one for each instruction.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Nanoseconds a tick.
    scale: u64,
}

impl Clock {
    /// Reads the counter's frequency.
    #[must_use]
    pub fn new() -> Self {
        let frequency: u64;
        // SAFETY: reading a register that EL0 may read.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
        Self { scale: (1_000_000_000 / frequency.max(1)).max(1) }
    }

    /// Nanoseconds since the counter started. Accesses to memory stay on their side of it.
    #[inline]
    #[must_use]
    pub fn now(self) -> u64 {
        let ticks: u64;
        // SAFETY: a barrier, and a register that the kernel lets EL0 read. That the
        // compiler believes memory to be read and written here keeps accesses in place.
        unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack)) };
        ticks * self.scale
    }

    /// The least that `work` takes in 32 tries.
    pub fn least(self, mut work: impl FnMut()) -> u64 {
        let tries = (0..32).map(|_| {
            let start = self.now();
            work();
            self.now() - start
        });
        tries.min().unwrap_or(0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

unsafe extern "C" {
    /// The first instruction, at the start of the program's first page.
    fn _start();
}

/// Pages of the stack that are kept: more than the deepest call needs.
const STACK_PAGES: usize = 4;

/// Locks the program itself: code, constants, data and the stack around the caller.
///
/// Here all of it is anonymous memory, which reclaim may take. On Linux code and constants
/// are pages of a file in a RAM file system, which it may not.
pub fn lock_program() {
    let first = (_start as *const u8).addr() & !(PAGE_SIZE - 1);
    // The segments lie without a gap, so that the first refusal is the end.
    let pages = (first..).step_by(PAGE_SIZE).map(core::ptr::without_provenance);
    let locked = pages.take_while(|&page| sys::mlock(page, PAGE_SIZE).is_ok()).count();
    assert!(locked > 0, "mlock of the program's first page");

    let here = 0_u8;
    let top = (&raw const here).addr() & !(PAGE_SIZE - 1);
    let bottom = top - (STACK_PAGES - 1) * PAGE_SIZE;
    sys::mlock(core::ptr::without_provenance(bottom), STACK_PAGES * PAGE_SIZE)
        .expect("mlock of the stack");
}

/// Free page frames, as `sysinfo` says.
///
/// # Panics
/// If the kernel refuses the call.
#[must_use]
pub fn free_frames() -> usize {
    let info = sys::sysinfo().expect("sysinfo works");
    (info.freeram * u64::from(info.mem_unit)) as usize / PAGE_SIZE
}

/// Locked memory that is not used.
pub struct Hog {
    pages: Array<Page>,
    held: usize,
}

/// Enough steps for any memory; a kernel whose count of free frames does not follow what is locked
/// must not make the program loop forever.
const MOST_STEPS: usize = 8000;

impl Hog {
    /// Locks pages until `target` frames are free: large steps first, then pages, and finally
    /// unlocks a few, because page tables cost frames too.
    ///
    /// # Panics
    /// If the kernel refuses to lock what is free.
    #[must_use]
    pub fn leaving(target: usize) -> Self {
        let mut hog = Self { pages: Array::new(crate::Machine::new().ram), held: 0 };
        for _ in 0..MOST_STEPS {
            let step = match free_frames().saturating_sub(target) {
                0 => break,
                surplus @ 16385.. => 8192.min(surplus),
                surplus @ 513.. => surplus / 2,
                33.. => 16,
                _ => 1,
            };
            hog.take(step);
        }
        for _ in 0..MOST_STEPS {
            let Some(lack) = target.checked_sub(free_frames()).filter(|&lack| lack > 0) else {
                break;
            };
            hog.give_back(if lack > 32 { lack / 2 } else { 1 });
        }
        hog
    }

    /// Pages held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    fn take(&mut self, count: usize) {
        let next = &self.pages[self.held..][..count];
        sys::mlock(next.as_ptr().cast(), size_of_val(next)).expect("mlock of free memory");
        self.held += count;
    }

    /// A locked page cannot be given up, so it is unlocked first.
    fn give_back(&mut self, count: usize) {
        let count = count.min(self.held);
        self.held -= count;
        let last = &self.pages[self.held..][..count];
        sys::munlock(last.as_ptr().cast(), size_of_val(last)).expect("munlock of what was locked");
        self.pages.discard(self.held..self.held + count);
    }
}
