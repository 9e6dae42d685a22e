//! The mini-UART of Broadcom's chips, polled (BCM2711 ARM Peripherals, "Mini UART").
//!
//! Its registers are part of the auxiliary block, whose enable bit comes first: while that is off,
//! none of them can be accessed. Its clock is the core's, which the firmware chooses and may
//! change; only a firmware configured to provide a UART (`enable_uart=1`) keeps it constant, and
//! that firmware sets the divisor too. So a divisor that is already set is kept.

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

use super::Rate;
use crate::drivers::baud;

/// The offset of the mini-UART's registers in the auxiliary block.
pub(super) const OFFSET: usize = 0x40;
/// The core's clock on a Raspberry Pi 4 with the firmware's defaults.
const USUAL_CLOCK: u32 = 500_000_000;
/// Clears the queues.
const EMPTY_QUEUES: u32 = 0xc6;
/// Characters of eight bits; the manual's bit 1 is needed too.
const EIGHT_BITS: u32 = 3;

register_bitfields! { u32,
    ENABLES [ MINI_UART OFFSET(0) NUMBITS(1) [] ],
    /// Line status.
    LSR [
        /// Something was received.
        READY OFFSET(0) NUMBITS(1) [],
        /// The transmit queue has room.
        ROOM OFFSET(5) NUMBITS(1) [],
        /// Everything was sent.
        IDLE OFFSET(6) NUMBITS(1) []
    ],
    CNTL [
        RX OFFSET(0) NUMBITS(1) [],
        TX OFFSET(1) NUMBITS(1) []
    ]
}

register_structs! {
    /// The auxiliary block, from its first register to the mini-UART's last.
    Registers {
        (0x00 => _interrupts),
        (0x04 => enables: ReadWrite<u32, ENABLES::Register>),
        (0x08 => _others),
        (0x40 => data: ReadWrite<u32>),
        (0x44 => interrupt_enable: ReadWrite<u32>),
        (0x48 => queues: ReadWrite<u32>),
        (0x4c => line_control: ReadWrite<u32>),
        (0x50 => modem_control: ReadWrite<u32>),
        (0x54 => line_status: ReadOnly<u32, LSR::Register>),
        (0x58 => _modem_status),
        (0x60 => control: ReadWrite<u32, CNTL::Register>),
        (0x64 => _status),
        (0x68 => baud: ReadWrite<u32>),
        (0x6c => @END),
    }
}

/// A mini-UART.
#[derive(Clone, Copy)]
pub(super) struct MiniUart {
    registers: &'static Registers,
}

impl MiniUart {
    /// The mini-UART of the auxiliary block that is mapped at `block`.
    ///
    /// # Safety
    /// It is mapped as device memory for the rest of the run.
    pub(super) unsafe fn new(block: *mut u8) -> Self {
        // SAFETY: the caller's promise; every access through the type is volatile, and the
        // registers may be shared: each access is one word.
        Self { registers: unsafe { &*block.cast::<Registers>() } }
    }

    /// Whether it is enabled: on a board, by a firmware configured for a UART.
    pub(super) fn is_enabled(&self) -> bool {
        self.registers.enables.is_set(ENABLES::MINI_UART)
    }

    /// Enables both directions, and disables its interrupts. Returns whether the registers are
    /// those of a mini-UART.
    pub(super) fn start(&self, rate: Rate) -> bool {
        let registers = self.registers;
        let runs = self.is_enabled() && registers.control.is_set(CNTL::TX);
        let keep = runs && registers.baud.get() != 0;
        registers.enables.modify(ENABLES::MINI_UART::SET);
        registers.interrupt_enable.set(0);
        if !keep {
            registers.control.set(0);
            registers.line_control.set(EIGHT_BITS);
            registers.modem_control.set(0);
            registers.queues.set(EMPTY_QUEUES);
            if let Some(divisor) = baud::mini(rate.clock.unwrap_or(USUAL_CLOCK), rate.baud) {
                registers.baud.set(divisor);
            }
        }
        registers.control.write(CNTL::RX::SET + CNTL::TX::SET);
        registers.control.get() == (CNTL::RX::SET + CNTL::TX::SET).value
    }

    pub(super) fn has_room(&self) -> bool {
        self.registers.line_status.is_set(LSR::ROOM)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.registers.line_status.is_set(LSR::IDLE)
    }

    pub(super) fn send(&self, byte: u8) {
        self.registers.data.set(u32::from(byte));
    }

    /// Takes a received byte, if there is one.
    pub(super) fn receive(&self) -> Option<u8> {
        let ready = self.registers.line_status.is_set(LSR::READY);
        ready.then(|| self.registers.data.get() as u8)
    }
}
