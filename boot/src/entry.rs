//! The entry code: `entry.s`, with its constants.

#![expect(unsafe_code, reason = "module-level assembly and its foreign items")]

use core::arch::global_asm;

use crate::descriptor::{Access, Level, MAIR, TCR};
use crate::layout::{KIMAGE_BASE, KIMAGE_MAX, MEGA_BLOCK};

/// `SCTLR_EL2` with everything off: the bits that are reserved as one.
const SCTLR_EL2_OFF: u64 = 0x30c5_0830;
/// `SCTLR_EL1` with everything off: the bits that are reserved as one.
const SCTLR_EL1_OFF: u64 = 0x30d0_0800;
/// `SCTLR_EL1` for running: MMU, caches and stack alignment checks on; user mode may use
/// DC ZVA, CTR_EL0, cache maintenance by address, WFE and WFI.
const SCTLR_EL1_ON: u64 = {
    const M: u64 = 1 << 0;
    const C: u64 = 1 << 2;
    const SA: u64 = 1 << 3;
    const SA0: u64 = 1 << 4;
    const I: u64 = 1 << 12;
    const DZE: u64 = 1 << 14;
    const UCT: u64 = 1 << 15;
    const NTWI: u64 = 1 << 16;
    const NTWE: u64 = 1 << 18;
    const UCI: u64 = 1 << 26;
    SCTLR_EL1_OFF | M | C | SA | SA0 | I | DZE | UCT | NTWI | NTWE | UCI
};

global_asm!(
    include_str!("entry.s"),
    SCTLR_EL2_OFF = const SCTLR_EL2_OFF,
    SCTLR_EL1_OFF = const SCTLR_EL1_OFF,
    SCTLR_EL1_ON = const SCTLR_EL1_ON,
    MAIR = const MAIR,
    TCR = const TCR,
    TEXT = const Access::Text.page_bits(),
    RODATA = const Access::ReadOnly.page_bits(),
    DATA = const Access::ReadWrite.page_bits(),
    IMAGE_L3_TABLES = const KIMAGE_MAX / MEGA_BLOCK,
    SECONDARIES = const crate::secondary::MAX_SECONDARIES,
    KIMAGE_ROOT_INDEX = const Level::One.index(KIMAGE_BASE),
);
