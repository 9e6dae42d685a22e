//! The watchdog of a Raspberry Pi, which can reset it.
//!
//! **Data.** The address of the power management's registers, written once. **Owner.** [`init`],
//! then the CPU that ends the run. **Lock.** None.
//!
//! Broadcom's manual leaves these registers out. This module uses what the boards' public device
//! tree binding (`brcm,bcm2835-pm`) and drivers agree on: a write needs a password in the top byte;
//! the watchdog counts 16 µs ticks down and then does what the reset control is configured to; the
//! firmware reads from the reset status which partition to boot, and halts for number 63.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use boot::dtb::Span;
use mm_reclaim::units::PhysAddr;
use tock_registers::interfaces::{ReadWriteable, Writeable};
use tock_registers::registers::ReadWrite;
use tock_registers::{register_bitfields, register_structs};

use crate::arch::mmu::{self, MapError};

register_bitfields! { u32,
    RSTC [
        CONFIGURATION OFFSET(4) NUMBITS(2) [ FullReset = 2 ],
        PASSWORD OFFSET(24) NUMBITS(8) [ Password = 0x5a ]
    ],
    RSTS [
        /// The partition's number is in every other bit, from bit 0 on: these are all.
        PARTITION OFFSET(0) NUMBITS(12) [ Halt = 0x555 ],
        PASSWORD OFFSET(24) NUMBITS(8) [ Password = 0x5a ]
    ],
    WDOG [
        TICKS OFFSET(0) NUMBITS(20) [],
        PASSWORD OFFSET(24) NUMBITS(8) [ Password = 0x5a ]
    ]
}

register_structs! {
    /// The registers that a reset needs.
    pub Registers {
        (0x00 => _reserved0),
        (0x1c => rstc: ReadWrite<u32, RSTC::Register>),
        (0x20 => rsts: ReadWrite<u32, RSTS::Register>),
        (0x24 => wdog: ReadWrite<u32, WDOG::Register>),
        (0x28 => @END),
    }
}

/// Ticks until the watchdog acts: 160 µs.
const SOON: u32 = 10;

/// 0: there is none.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

/// Sets the address of the registers.
///
/// # Errors
/// [`MapError`], when they cannot be mapped.
pub fn init(power: Option<Span>) -> Result<(), MapError> {
    let Some(Span { base, .. }) = power else { return Ok(()) };
    let size = size_of::<Registers>() as u64;
    let registers = mmu::map_device(PhysAddr(base), size, &mut [])?;
    REGISTERS.store(registers.addr(), Relaxed);
    Ok(())
}

/// The watchdog of this machine.
#[derive(Clone, Copy)]
pub struct Watchdog(&'static Registers);

impl Watchdog {
    /// The watchdog, if the machine has one.
    pub fn known() -> Option<Self> {
        let registers = REGISTERS.load(Relaxed) as *const Registers;
        // SAFETY: `init` stored the address of registers that stay mapped, or null; every
        // access through the type is volatile.
        unsafe { registers.as_ref() }.map(Self)
    }

    /// Resets the whole chip; the firmware boots again.
    pub fn reset(self) {
        let Self(registers) = self;
        registers.wdog.write(WDOG::PASSWORD::Password + WDOG::TICKS.val(SOON));
        let act = RSTC::PASSWORD::Password + RSTC::CONFIGURATION::FullReset;
        registers.rstc.modify(act);
        (0..1_000_000).for_each(|_| core::hint::spin_loop());
    }

    /// Resets the chip so that the firmware then halts.
    pub fn halt(self) {
        self.0.rsts.modify(RSTS::PASSWORD::Password + RSTS::PARTITION::Halt);
        self.reset();
    }
}
