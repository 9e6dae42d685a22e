//! Firmware that leaves EL2 and EL1 in the worst state that it can (BOOT-01): everything is
//! trapped, virtual time is far off, tables and a second stage of translation are set up,
//! the timers are about to interrupt.
//!
//! The stub before the image writes these registers at EL2 and goes on to the image. QEMU does
//! what the registers say, so that a kernel that relies on any of them stops or goes astray.

use super::trees::boards::{PI_1_GIB, Pi, virt};
use super::watched::{Kind, Watched};

/// A system register: op0, op1, CRn, CRm, op2.
type Register = [u32; 5];

/// What such a firmware writes, in this order.
const WORST: [(Register, u64); 22] = [
    // HCR_EL2: a second stage of translation, and traps of WFI, WFE, identification
    // registers, cache and TLB maintenance, and of writes to EL1's translation registers.
    ([3, 4, 1, 1, 0], (1 << 31) | 0x07ff_e000 | 1),
    // VTTBR_EL2, VTCR_EL2: its tables are nowhere.
    ([3, 4, 2, 1, 0], 0x00ff_0000_dead_0000),
    ([3, 4, 2, 1, 2], 0x8002_3558),
    // CPTR_EL2: floating point and CPACR are trapped.
    ([3, 4, 1, 1, 2], 0x8010_37ff),
    // MDCR_EL2: debug registers and performance counters are trapped.
    ([3, 4, 1, 1, 1], 0xfe0),
    // HSTR_EL2
    ([3, 4, 1, 1, 3], 0xffff),
    // CNTHCTL_EL2: EL1 may read no physical time. CNTVOFF_EL2: virtual time is far off.
    ([3, 4, 14, 1, 0], 0),
    ([3, 4, 14, 0, 3], 0x7fff_ffff_0000_0000),
    // VPIDR_EL2, VMPIDR_EL2: another CPU is pretended.
    ([3, 4, 0, 0, 0], 0x1234_5678),
    ([3, 4, 0, 0, 5], 0x8000_0003),
    // SCTLR_EL1: big-endian, MMU and caches on. TCR_EL1, MAIR_EL1, TTBR0_EL1, TTBR1_EL1.
    ([3, 0, 1, 0, 0], 0x33d0_199f),
    ([3, 0, 2, 0, 2], 0xffff_ffff),
    ([3, 0, 10, 2, 0], 0x0011_2233_4455_6677),
    ([3, 0, 2, 0, 0], 0xdead_b000),
    ([3, 0, 2, 0, 1], 0xdead_c000),
    // VBAR_EL1, VBAR_EL2, CPACR_EL1
    ([3, 0, 12, 0, 0], 0xdead_d000),
    ([3, 4, 12, 0, 0], 0xdead_e000),
    ([3, 0, 1, 0, 2], 0),
    // CNTV_CVAL_EL0, CNTV_CTL_EL0, CNTP_CTL_EL0: both timers are due.
    ([3, 3, 14, 3, 2], 0),
    ([3, 3, 14, 3, 1], 1),
    ([3, 3, 14, 2, 1], 1),
    // MDSCR_EL1: debug events and single steps at EL1.
    ([2, 0, 0, 2, 2], 0xa001),
];

/// The code of a stub that writes `registers`, then jumps to `image` with `x0`.
fn stub(registers: &[(Register, u64)], x0: u64, image: u64) -> Vec<u8> {
    // Two instructions each; then a barrier, two loads and the jump.
    let instructions = registers.len() * 2 + 4;
    let literals: Vec<u64> = registers.iter().map(|&(_, value)| value).chain([x0, image]).collect();
    let mut code: Vec<u32> = Vec::new();
    // `ldr xN, literal`: the distance in words.
    let load = |code: &Vec<u32>, literal: usize, to: u32| {
        let distance = instructions + 2 * literal - code.len();
        0x5800_0000 | (distance as u32) << 5 | to
    };
    for (number, &([op0, op1, crn, crm, op2], _)) in registers.iter().enumerate() {
        code.push(load(&code, number, 2));
        code.push(0xd500_0002 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5);
    }
    code.push(0xd503_3fdf); // isb
    code.push(load(&code, registers.len(), 0));
    code.push(load(&code, registers.len() + 1, 1));
    code.push(0xd61f_0020); // br x1
    let code = code.into_iter().flat_map(u32::to_le_bytes);
    code.chain(literals.into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// What such a boot says, which must come to its regular end.
fn survives(name: &str, kind: Kind, tree: &[u8], options: &[&str]) -> String {
    let bad = |x0, image| stub(&WORST, x0, image);
    let watched = Watched { stub: &bad, options, ..Watched::new(name, kind, tree) };
    let seen = watched.run();
    let text = if kind == Kind::Virt { seen.pl011.clone() } else { seen.mini.clone() };
    seen.ends_with(&text, 0);
    assert!(text.contains("no program to run"), "{text}");
    text
}

/// BOOT-01: on the Raspberry Pi's processor, which knows that it is the first of four.
#[test]
fn a_raspberry_pi_boots_from_the_worst_state_of_el2() {
    let pi = Pi { memory: PI_1_GIB, bootargs: "", initrd: None, ..Pi::default() };
    let text = survives("worst", Kind::Pi, &pi.tree(), &[]);
    assert!(text.contains("CPUs: 4 run"), "{text}");
}

/// BOOT-01: on a processor with the later extensions of EL2, behind either controller.
#[test]
fn a_later_processor_boots_from_the_worst_state_of_el2() {
    let memory = [&[(0x4000_0000, 256 << 20)][..]];
    let tree = virt("", &memory, |_| {});
    for (name, cpu) in [("worst-max", "max"), ("worst-a53", "cortex-a53")] {
        let options = ["-M", "virtualization=on", "-cpu", cpu];
        survives(name, Kind::Virt, &tree, &options);
    }
}
