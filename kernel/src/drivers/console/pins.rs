//! The pins of a Raspberry Pi's console: GPIO14 sends, GPIO15 receives (BCM2711 ARM
//! Peripherals, "General Purpose I/O").
//!
//! Three bits per pin select which of two UARTs has it. The firmware sets them by an overlay or by
//! its own settings, and on a board with Bluetooth connects the first PL011 to that instead. The
//! kernel sets what its console needs.

use aarch64_cpu::asm::barrier;
use boot::dtb::{Uart, UartKind};
use tock_registers::interfaces::{ReadWriteable, Readable};
use tock_registers::registers::ReadWrite;
use tock_registers::{register_bitfields, register_structs};

/// The offsets of the two UARTs from the pins' registers.
const PL011_OFFSET: u64 = 0x1000;
const MINI_OFFSET: u64 = 0x1_5040;

register_bitfields! { u32,
    /// Functions of the pins 10 to 19.
    FSEL1 [
        PIN14 OFFSET(12) NUMBITS(3) [ Pl011 = 4, Mini = 2 ],
        PIN15 OFFSET(15) NUMBITS(3) [ Pl011 = 4, Mini = 2 ]
    ],
    /// Functions of the pins 30 to 39: 32 and 33 lead to the Bluetooth chip.
    FSEL3 [
        PIN32 OFFSET(6) NUMBITS(3) [ Input = 0, Pl011 = 7 ],
        PIN33 OFFSET(9) NUMBITS(3) [ Input = 0, Pl011 = 7 ]
    ],
    /// Pulls of the pins 0 to 15.
    PULL0 [
        PIN14 OFFSET(28) NUMBITS(2) [ None = 0, Up = 1 ],
        PIN15 OFFSET(30) NUMBITS(2) [ None = 0, Up = 1 ]
    ]
}

register_structs! {
    Registers {
        (0x00 => _fsel0),
        (0x04 => fsel1: ReadWrite<u32, FSEL1::Register>),
        (0x08 => _fsel2),
        (0x0c => fsel3: ReadWrite<u32, FSEL3::Register>),
        (0x10 => _levels),
        (0xe4 => pull0: ReadWrite<u32, PULL0::Register>),
        (0xe8 => @END),
    }
}

/// Whether `uart` is one of those that can have the pins, whose registers start at `gpio`. The
/// firmware sets up the pins of others.
pub(super) fn can_have(uart: &Uart, gpio: u64) -> bool {
    let offset = match uart.kind {
        UartKind::Pl011 => PL011_OFFSET,
        UartKind::Mini => MINI_OFFSET,
    };
    uart.registers.base.checked_sub(gpio) == Some(offset)
}

/// Gives the pins to the UART of that kind.
///
/// # Safety
/// The pins' registers are mapped as device memory at `registers`, and have no other user.
pub(super) unsafe fn give(registers: *mut u8, kind: UartKind) {
    // SAFETY: the caller's promise; every access through the type is volatile.
    let pins = unsafe { &*registers.cast::<Registers>() };
    let function = match kind {
        UartKind::Pl011 => {
            leave_bluetooth(pins);
            FSEL1::PIN14::Pl011 + FSEL1::PIN15::Pl011
        }
        UartKind::Mini => FSEL1::PIN14::Mini + FSEL1::PIN15::Mini,
    };
    // An unconnected line must not look like one that sends.
    pins.pull0.modify(PULL0::PIN14::None + PULL0::PIN15::Up);
    pins.fsel1.modify(function);
    // Accesses to different devices may overtake each other.
    barrier::dsb(barrier::SY);
}

/// A UART on two pairs of pins would receive from both.
fn leave_bluetooth(pins: &Registers) {
    let functions = pins.fsel3.extract();
    if functions.matches_all(FSEL3::PIN32::Pl011) {
        pins.fsel3.modify(FSEL3::PIN32::Input);
    }
    if functions.matches_all(FSEL3::PIN33::Pl011) {
        pins.fsel3.modify(FSEL3::PIN33::Input);
    }
}
