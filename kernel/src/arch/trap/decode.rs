//! The meaning of the exception syndrome (ESR_EL1), according to the Arm ARM (D24.2.40).
//!
//! Pure; no data, no locks. The hot path uses only [`Syndrome::class`], [`Syndrome::is_write`] and
//! [`Syndrome::is_translation_or_permission`]; the names are for reports.

use core::fmt;

/// Exception class: unknown instruction.
pub const EC_UNKNOWN: u32 = 0x00;
/// Exception class: `SVC` from AArch64.
pub const EC_SVC: u32 = 0x15;
/// Exception class: instruction abort from user mode.
pub const EC_INSTRUCTION_ABORT_USER: u32 = 0x20;
/// Exception class: instruction abort of the kernel.
pub const EC_INSTRUCTION_ABORT_KERNEL: u32 = 0x21;
/// Exception class: data abort from user mode.
pub const EC_DATA_ABORT_USER: u32 = 0x24;
/// Exception class: data abort of the kernel.
pub const EC_DATA_ABORT_KERNEL: u32 = 0x25;

/// The value of ESR_EL1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// The exception class (EC).
    #[inline(always)]
    pub const fn class(self) -> u32 {
        (self.0 >> 26) as u32 & 0x3f
    }

    /// The fault status code of an abort (DFSC or IFSC).
    #[inline(always)]
    pub const fn fault_status(self) -> u32 {
        self.0 as u32 & 0x3f
    }

    /// Whether a data abort was caused by a write. Cache maintenance (CM) sets WnR although it only
    /// needs to read.
    #[inline(always)]
    pub const fn is_write(self) -> bool {
        // CM, bit 8, is shifted onto WnR, bit 6.
        self.0 & !(self.0 >> 2) & (1 << 6) != 0
    }

    /// Whether the abort may be resolved through page tables: a translation, access flag or
    /// permission fault at levels 0 to 3 (codes 4 to 15).
    #[inline(always)]
    pub const fn is_translation_or_permission(self) -> bool {
        self.fault_status() >= 0b000100 && self.fault_status() <= 0b001111
    }

    /// Whether FAR_EL1 holds the address (FnV is clear).
    pub const fn has_address(self) -> bool {
        matches!(self.class(), 0x20 | 0x21 | 0x22 | 0x24 | 0x25) && self.0 & (1 << 10) == 0
    }

    /// Whether the exception is an abort, so that the fault status is valid.
    pub const fn is_abort(self) -> bool {
        matches!(self.class(), 0x20 | 0x21 | 0x24 | 0x25)
    }

    /// The name of the exception class.
    pub const fn class_name(self) -> &'static str {
        match self.class() {
            EC_UNKNOWN => "undefined instruction",
            0x01 => "trapped WFI or WFE",
            0x07 => "trapped floating point or SIMD",
            0x0e => "illegal execution state",
            EC_SVC => "system call",
            0x16 => "hypervisor call",
            0x17 => "secure monitor call",
            0x18 => "trapped system register access",
            0x1c => "pointer authentication failure",
            EC_INSTRUCTION_ABORT_USER => "instruction abort in user mode",
            EC_INSTRUCTION_ABORT_KERNEL => "instruction abort in the kernel",
            0x22 => "misaligned program counter",
            EC_DATA_ABORT_USER => "data abort in user mode",
            EC_DATA_ABORT_KERNEL => "data abort in the kernel",
            0x26 => "misaligned stack pointer",
            0x2c => "trapped floating-point exception",
            0x2f => "SError interrupt",
            0x30 | 0x31 => "hardware breakpoint",
            0x32 | 0x33 => "software step",
            0x34 | 0x35 => "watchpoint",
            0x3c => "BRK instruction",
            _ => "exception of an unknown class",
        }
    }

    /// The name of the fault status, without the level.
    pub const fn fault_name(self) -> &'static str {
        match self.fault_status() {
            0x00..=0x03 => "address size fault",
            0x04..=0x07 => "translation fault",
            0x08..=0x0b => "access flag fault",
            0x0c..=0x0f => "permission fault",
            0x10 => "synchronous external abort",
            0x11 => "tag check fault",
            0x14..=0x17 => "external abort on a table walk",
            0x18 => "parity or ECC error",
            0x1c..=0x1f => "parity or ECC error on a table walk",
            0x21 => "alignment fault",
            0x30 => "TLB conflict",
            0x31 => "unsupported atomic update of a table",
            0x34 => "lockdown fault",
            0x35 => "unsupported exclusive access",
            _ => "fault of an unknown status",
        }
    }

    /// The table level of the fault, where the status has one.
    pub const fn fault_level(self) -> Option<u32> {
        match self.fault_status() {
            s @ (0x00..=0x0f | 0x14..=0x17 | 0x1c..=0x1f) => Some(s & 3),
            _ => None,
        }
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (class {:#04x})", self.class_name(), self.class())?;
        if !self.is_abort() {
            return Ok(());
        }
        let access = match self.class() {
            EC_INSTRUCTION_ABORT_USER | EC_INSTRUCTION_ABORT_KERNEL => "fetch",
            _ if self.is_write() => "write",
            _ => "read",
        };
        write!(f, ": {} on a {access}", self.fault_name())?;
        match self.fault_level() {
            Some(level) => write!(f, ", level {level}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOOT-05: the syndrome of QEMU's Cortex-A72 for a clear access flag.
    #[test]
    fn access_flag_fault_of_a_kernel_read_is_named_with_its_level() {
        let s = Syndrome(0x9600_000b);
        assert_eq!(
            s.to_string(),
            "data abort in the kernel (class 0x25): access flag fault on a read, level 3"
        );
        assert!(s.has_address());
        assert!(s.is_translation_or_permission());
    }

    /// BOOT-05: the names of other syndromes.
    #[test]
    fn user_write_without_a_translation_is_told_from_a_read() {
        assert!(Syndrome(0x9200_0047).is_write());
        assert!(!Syndrome(0x9200_0007).is_write());
        assert_eq!(Syndrome(0x9200_0047).class(), EC_DATA_ABORT_USER);
    }

    /// A cache-maintenance instruction sets WnR, but needs no write permission.
    #[test]
    fn cache_maintenance_is_no_write() {
        assert!(!Syndrome(0x9200_0147).is_write());
    }

    /// Only codes 4 to 15 go to the fault handler; an alignment fault never does, or it would be
    /// retried without end.
    #[test]
    fn only_translation_access_and_permission_faults_are_curable() {
        for status in 0..64u64 {
            let curable = Syndrome(0x9200_0000 | status).is_translation_or_permission();
            assert_eq!(curable, (4..16).contains(&status), "status {status:#x}");
        }
    }

    /// BOOT-05: every value of the register has a description.
    #[test]
    fn every_class_and_status_prints() {
        for class in 0..64u64 {
            for status in 0..64u64 {
                assert!(!Syndrome(class << 26 | status).to_string().is_empty());
            }
        }
    }
}
