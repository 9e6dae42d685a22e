//! Locked pages stay (LRU-10, RMAP-05): under pressure of twice what is left, reading them
//! causes no major fault; unlocked, they may go and still hold their data.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | pages that are locked (RAM / 4) |
//! | `pressure=` | 1 or more | pages that are written in addition (1.5 × RAM) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::{FAILED, Machine, println, sys};

programs::entry!(mlocker);

fn mlocker(args: &Args) -> i32 {
    let ram = Machine::new().ram;
    let count = args.number("pages", ram / 4);
    let pressure = args.number("pressure", ram * 3 / 2);
    println!("mlocker: {count} pages locked, {pressure} pages of pressure");
    match run(count, pressure) {
        Ok(status) => status,
        Err(damage) => damage.report(),
    }
}

fn run(count: usize, pressure: usize) -> Result<i32, Damage> {
    let mut locked = Pages::map(count);
    // The first half is there before the lock, the lock brings in the second.
    for page in 0..count / 2 {
        locked.write(page, 1);
    }
    let (at, bytes) = locked.span();
    sys::mlock(at, bytes).expect("mlock of a quarter of RAM");
    for page in count / 2..count {
        locked.check_zero(page)?;
        locked.write(page, 1);
    }

    press(pressure, 2)?;
    let faults = major_faults();
    locked.check_all(1)?;
    let faults = major_faults() - faults;
    println!("mlocker: {faults} major faults on locked pages");
    if faults != 0 {
        return Ok(FAILED);
    }

    sys::munlock(at, bytes).expect("munlock of what was locked");
    press(pressure, 3)?;
    let faults = major_faults();
    locked.check_all(1)?;
    println!("mlocker: {} major faults after munlock", major_faults() - faults);
    Ok(0)
}

fn press(count: usize, version: u64) -> Result<(), Damage> {
    let mut pages = Pages::map(count);
    pages.write_all(version);
    pages.check_all(version)
}

fn major_faults() -> u64 {
    sys::getrusage().expect("getrusage works").majflt
}
