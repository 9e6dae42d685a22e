//! Additional calls for test programs, if the command line allows them (`test.hooks`): options of
//! `prctl` that are this kernel's own.
//!
//! **Data.** One flag, set at boot.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mm_reclaim::block::Direction;
use mm_reclaim::env::DeviceId;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::Order;

use super::errno::{EFAULT, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP, EPERM, Errno};
use crate::arch::cpu;
use crate::arch::usercopy::put_words;
use crate::drivers::timer;
use crate::{glue, ramdisk};

/// The most pairs that are timed in one call.
const MOST_PAIRS: u64 = 1 << 20;

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Allows programs to use these calls.
pub fn allow() {
    ALLOWED.store(true, Relaxed);
}

fn allowed() -> Result<(), Errno> {
    if ALLOWED.load(Relaxed) { Ok(()) } else { Err(EPERM) }
}

/// Sets a knob of the RAM disk. The upper half of the argument names it: 0 a delay in microseconds,
/// 1 and 2 one in how many reads and writes fails at random. The lower half is the value.
pub(super) fn turn_knob(argument: u64) -> Result<u64, Errno> {
    allowed()?;
    let disk = ramdisk::disk(DeviceId(0)).ok_or(ENOENT)?;
    let value = argument as u32;
    match argument >> 32 {
        0 => disk.knobs.set_delay_us(value),
        1 => disk.knobs.set_random_fault(Direction::Read, value),
        2 => disk.knobs.set_random_fault(Direction::Write, value),
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// Allocates and frees a page a number of times; returns the ticks that it took. The upper half of
/// the argument says through which interface: 0 the allocator's, 1 only the per-CPU list's.
pub(super) fn time_pairs(argument: u64) -> Result<u64, Errno> {
    allowed()?;
    let pairs = argument & 0xffff_ffff;
    if pairs == 0 || pairs > MOST_PAIRS {
        return Err(EINVAL);
    }
    let mm = glue::mm();
    let start = timer::ticks();
    match argument >> 32 {
        0 => {
            for _ in 0..pairs {
                let page = mm.alloc_pages(Gfp::KERNEL, Order::ZERO).ok_or(ENOMEM)?;
                mm.free_pages(page, Order::ZERO);
            }
        }
        1 => {
            let zone = mm.zones().next_back().ok_or(ENOMEM)?;
            zone.cycle_page(pairs as u32).then_some(()).ok_or(ENOMEM)?;
        }
        _ => return Err(EINVAL),
    }
    Ok(timer::ticks() - start)
}

/// Stores how many instructions this CPU has executed: the low 32 bits of the count. Unlike the timer
/// under `-icount`, it stands still while the CPU waits for a device.
pub(super) fn executed(out: u64) -> Result<u64, Errno> {
    allowed()?;
    let count = cpu::instructions().ok_or(EOPNOTSUPP)?;
    put_words(out, &[count.into()]).map_err(|_| EFAULT)?;
    Ok(0)
}
