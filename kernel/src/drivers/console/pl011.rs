//! The PL011 UART, polled (Arm DDI 0183).
//!
//! If the firmware has enabled it, it has also set its rate, which is kept.

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

use super::{MAX_POLLS, Rate};
use crate::drivers::baud;

/// The clock that a Raspberry Pi's firmware sets for the first PL011 (`init_uart_clock`).
const USUAL_CLOCK: u32 = 48_000_000;

register_bitfields! { u32,
    /// Flags.
    FR [
        /// Something is still being sent.
        BUSY OFFSET(3) NUMBITS(1) [],
        /// Nothing was received.
        RXFE OFFSET(4) NUMBITS(1) [],
        /// The transmit queue is full.
        TXFF OFFSET(5) NUMBITS(1) []
    ],
    /// Line control.
    LCRH [
        QUEUES OFFSET(4) NUMBITS(1) [],
        WORD OFFSET(5) NUMBITS(2) [ EightBits = 3 ]
    ],
    /// Control.
    CR [
        UARTEN OFFSET(0) NUMBITS(1) [],
        TXE OFFSET(8) NUMBITS(1) [],
        RXE OFFSET(9) NUMBITS(1) []
    ]
}

register_structs! {
    /// The registers that a polled console needs.
    Registers {
        (0x00 => data: ReadWrite<u32>),
        (0x04 => _reserved0),
        (0x18 => flags: ReadOnly<u32, FR::Register>),
        (0x1c => _reserved1),
        (0x24 => divisor: ReadWrite<u32>),
        (0x28 => fraction: ReadWrite<u32>),
        (0x2c => line_control: ReadWrite<u32, LCRH::Register>),
        (0x30 => control: ReadWrite<u32, CR::Register>),
        (0x34 => _reserved2),
        (0x38 => interrupt_mask: ReadWrite<u32>),
        (0x3c => @END),
    }
}

/// A PL011.
#[derive(Clone, Copy)]
pub(super) struct Pl011 {
    registers: &'static Registers,
}

impl Pl011 {
    /// The PL011 whose registers are mapped at `registers`.
    ///
    /// # Safety
    /// They are mapped as device memory for the rest of the run.
    pub(super) unsafe fn new(registers: *mut u8) -> Self {
        // SAFETY: the caller's promise; every access through the type is volatile, and the
        // registers may be shared: each access is one word.
        Self { registers: unsafe { &*registers.cast::<Registers>() } }
    }

    /// Enables both directions, and disables its interrupts. Returns whether the registers are
    /// those of a PL011: a device tree may be wrong, and a message sent to another device is lost,
    /// or each character waits for a meaningless flag.
    pub(super) fn start(&self, rate: Rate) -> bool {
        let registers = self.registers;
        let keep = registers.control.is_set(CR::UARTEN) && registers.divisor.get() != 0;
        registers.interrupt_mask.set(0);
        registers.control.modify(CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET);
        let control = registers.control.extract();
        let on = [CR::UARTEN, CR::TXE, CR::RXE].into_iter().all(|bit| control.is_set(bit));
        let answers = on && registers.interrupt_mask.get() == 0;
        if answers && !keep {
            self.set_rate(rate);
        }
        answers
    }

    /// The divisors may only be written while the UART is off and has sent everything, and take
    /// effect at the next write of the line control.
    fn set_rate(&self, Rate { clock, baud }: Rate) {
        let clock = clock.unwrap_or(USUAL_CLOCK);
        let Some((divisor, fraction)) = baud::pl011(clock, baud) else { return };
        let registers = self.registers;
        registers.control.modify(CR::UARTEN::CLEAR);
        let _sent = (0..MAX_POLLS).any(|_| self.is_idle());
        registers.line_control.set(0);
        registers.divisor.set(divisor);
        registers.fraction.set(fraction);
        registers.line_control.write(LCRH::QUEUES::SET + LCRH::WORD::EightBits);
        registers.control.write(CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET);
    }

    pub(super) fn has_room(&self) -> bool {
        !self.registers.flags.is_set(FR::TXFF)
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.registers.flags.is_set(FR::BUSY)
    }

    pub(super) fn send(&self, byte: u8) {
        self.registers.data.set(u32::from(byte));
    }

    /// Takes a received byte, if there is one.
    pub(super) fn receive(&self) -> Option<u8> {
        let empty = self.registers.flags.is_set(FR::RXFE);
        (!empty).then(|| self.registers.data.get() as u8)
    }
}
