//! The PL011 UART, polled. Its baud rate is the firmware's business.

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! { u32,
    /// Flags.
    FR [
        /// Nothing was received.
        RXFE OFFSET(4) NUMBITS(1) [],
        /// The transmit queue is full.
        TXFF OFFSET(5) NUMBITS(1) []
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
        (0x30 => control: ReadWrite<u32, CR::Register>),
        (0x34 => _reserved2),
        (0x38 => interrupt_mask: ReadWrite<u32>),
        (0x3c => @END),
    }
}

/// Looks at the flags before a character is given up: far more than one takes to leave at
/// any baud rate, so that a UART without a clock does not stop the kernel.
const MAX_POLLS: u32 = 1 << 22;

/// A PL011.
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

    /// Switches both directions on, and its interrupts off. Says whether the registers are
    /// those of a PL011: a device tree may be wrong, and a message sent to something else is
    /// lost, or each of its characters waits for a flag that means nothing.
    pub(super) fn start(&self) -> bool {
        self.registers.interrupt_mask.set(0);
        self.registers.control.modify(CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET);
        let control = self.registers.control.extract();
        let on = [CR::UARTEN, CR::TXE, CR::RXE].into_iter().all(|bit| control.is_set(bit));
        on && self.registers.interrupt_mask.get() == 0
    }

    /// Sends a byte, once there is room.
    pub(super) fn send(&self, byte: u8) {
        let full = || self.registers.flags.is_set(FR::TXFF);
        if (0..MAX_POLLS).any(|_| !full()) {
            self.registers.data.set(u32::from(byte));
        }
    }

    /// Takes a received byte, if there is one.
    pub(super) fn receive(&self) -> Option<u8> {
        let empty = self.registers.flags.is_set(FR::RXFE);
        (!empty).then(|| self.registers.data.get() as u8)
    }
}
