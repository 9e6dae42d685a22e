//! Firmware that leaves EL2 and EL1 in the worst possible state (BOOT-01): everything is trapped,
//! virtual time is far off, tables and a second stage of translation are set up, the timers are
//! about to interrupt. And a previous kernel that left its interrupts enabled.
//!
//! The stub before the image writes these registers at EL2 and jumps to the image. QEMU emulates
//! their effects, so that a kernel that relies on other values hangs or crashes.

use super::qemu::Kind;
use super::trees::boards::{PI_1_GIB, Pi, virt, virt_devices_v3};
use super::trees::builder::Tree;
use super::watched::Watched;

/// A system register: op0, op1, CRn, CRm, op2.
type Register = [u32; 5];

/// What such a firmware writes, in this order.
const WORST: [(Register, u64); 22] = [
    // HCR_EL2: a second stage of translation, and traps of WFI, WFE, identification
    // registers, cache and TLB maintenance, and of writes to EL1's translation registers.
    ([3, 4, 1, 1, 0], (1 << 31) | 0x07ff_e000 | 1),
    // VTTBR_EL2, VTCR_EL2: its tables do not exist.
    ([3, 4, 2, 1, 0], 0x00ff_0000_dead_0000),
    ([3, 4, 2, 1, 2], 0x8002_3558),
    // CPTR_EL2: floating point and CPACR are trapped.
    ([3, 4, 1, 1, 2], 0x8010_37ff),
    // MDCR_EL2: debug registers and performance counters are trapped.
    ([3, 4, 1, 1, 1], 0xfe0),
    // HSTR_EL2
    ([3, 4, 1, 1, 3], 0xffff),
    // CNTHCTL_EL2: EL1 must not read physical time. CNTVOFF_EL2: virtual time is far off.
    ([3, 4, 14, 1, 0], 0),
    ([3, 4, 14, 0, 3], 0x7fff_ffff_0000_0000),
    // VPIDR_EL2, VMPIDR_EL2: the identity of another CPU.
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

/// The state that the previous kernel left in a GICv3 and its devices: (address, word).
const LEFT_BEHIND: [(u64, u64); 7] = [
    // The first CPU's redistributor is awake, and has all its own interrupts enabled, in group 1;
    // the hypervisor's timer, which is due, has one of these.
    (0x080a_0014, 0),
    (0x080b_0080, 0xffff_ffff),
    (0x080b_0100, 0xffff_ffff),
    // The distributor routes by affinity, and has interrupts 32 to 63 enabled for that CPU, all of
    // them pending.
    (0x0800_0000, 0x12),
    (0x0800_0084, 0xffff_ffff),
    (0x0800_0104, 0xffff_ffff),
    (0x0800_0204, 0xffff_ffff),
];

/// CNTHP_CVAL_EL2 and CNTHP_CTL_EL2: the hypervisor's timer is due.
const DUE: [(Register, u64); 2] = [([3, 4, 14, 2, 2], 0), ([3, 4, 14, 2, 1], 1)];

/// The code of a stub that writes `registers` and `words` in memory, then jumps to `image` with
/// `x0`.
fn stub(registers: &[(Register, u64)], words: &[(u64, u64)], x0: u64, image: u64) -> Vec<u8> {
    // Two instructions for each register and three for each word; then a barrier, two loads
    // and the jump. The literals are aligned, as they must be while the MMU is off.
    let instructions = (registers.len() * 2 + words.len() * 3 + 4).next_multiple_of(2);
    let values = registers.iter().map(|&(_, value)| value);
    let places = words.iter().flat_map(|&(place, word)| [place, word]);
    let literals: Vec<u64> = values.chain(places).chain([x0, image]).collect();
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
    for number in 0..words.len() {
        code.push(load(&code, registers.len() + 2 * number, 3));
        code.push(load(&code, registers.len() + 2 * number + 1, 2));
        code.push(0xb900_0062); // str w2, [x3]
    }
    code.push(0xd503_3fdf); // isb
    code.push(load(&code, literals.len() - 2, 0));
    code.push(load(&code, literals.len() - 1, 1));
    code.push(0xd61f_0020); // br x1
    code.resize(instructions, 0xd503_201f); // nop
    let code = code.into_iter().flat_map(u32::to_le_bytes);
    code.chain(literals.into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// Runs such a boot, which must end regularly, and returns its output.
fn survives(name: &str, kind: Kind, tree: &[u8], options: &[&str]) -> String {
    comes_to_its_end(name, kind, tree, options, &|x0, image| stub(&WORST, &[], x0, image))
}

fn comes_to_its_end(
    name: &str,
    kind: Kind,
    tree: &[u8],
    options: &[&str],
    bad: &dyn Fn(u64, u64) -> Vec<u8>,
) -> String {
    let watched = Watched { stub: bad, options, ..Watched::new(name, kind, tree) };
    let seen = watched.run();
    let text = if kind == Kind::Virt { seen.pl011.clone() } else { seen.mini.clone() };
    seen.ends_with(&text, 0);
    assert!(text.contains("no program to run"), "{text}");
    text
}

/// BOOT-01: on the Raspberry Pi's processor, which is the first of four.
#[test]
fn a_raspberry_pi_boots_from_the_worst_state_of_el2() {
    let pi = Pi { memory: PI_1_GIB, bootargs: "", initrd: None, ..Pi::default() };
    let text = survives("worst", Kind::Pi, &pi.tree(), &[]);
    assert!(text.contains("CPUs: 4 run"), "{text}");
}

/// BOOT-01: on a processor with the later extensions of EL2, with either interrupt controller.
#[test]
fn a_later_processor_boots_from_the_worst_state_of_el2() {
    let memory = [&[(0x4000_0000, 256 << 20)][..]];
    let tree = virt("", &memory, |_| {});
    for (name, cpu) in [("worst-max", "max"), ("worst-a53", "cortex-a53")] {
        let options = ["-M", "virtualization=on", "-cpu", cpu];
        survives(name, Kind::Virt, &tree, &options);
    }
}

/// BOOT-01, MEMB-02: interrupts that a previous kernel, such as one that crashed, left enabled and
/// that are never served do not keep the CPU busy.
#[test]
fn interrupts_of_a_kernel_before_are_forgotten() {
    let tree = Tree::build(|root| {
        root.cell_counts(2, 2);
        root.memory("memory@40000000", 2, 2, &[(0x4000_0000, 256 << 20)]);
        virt_devices_v3(root);
    });
    let options = ["-M", "virtualization=on,gic-version=3"];
    let bad = |x0, image| stub(&[&WORST[..], &DUE].concat(), &LEFT_BEHIND, x0, image);
    comes_to_its_end("left-behind", Kind::Virt, &tree, &options, &bad);
}
