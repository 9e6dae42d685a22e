//! Accesses to unmapped memory, and random code.
//!
//! The code is never a system call: one of those is made on purpose in [`super::calls`],
//! with the restraint that is needed there.

use core::arch::asm;

use super::pointer::Pointers;
use crate::FAILED;
use crate::pages::PAGE_SIZE;
use crate::random::Random;
use crate::sys::{call, number};

/// Instructions of a page.
const WORDS: usize = PAGE_SIZE / 4;
/// Bytes of the shortest line of any cache.
const LINE: usize = 16;

/// Instructions that only the kernel, the hypervisor, a debugger or an emulator may have
/// executed, and that take or change something of the machine's if they are let through.
pub const PRIVILEGED: [(&str, u32); 16] = [
    ("hvc", 0xd400_0002),
    ("smc", 0xd400_0003),
    ("hlt, a call of the emulator", 0xd45e_0000),
    ("eret", 0xd69f_03e0),
    ("msr daifset", 0xd503_4fdf),
    ("msr daif", 0xd51b_4220),
    ("msr spsel", 0xd500_41bf),
    ("msr ttbr0_el1", 0xd518_2000),
    ("msr vbar_el1", 0xd518_c000),
    ("mrs sctlr_el1", 0xd538_1000),
    ("mrs esr_el1", 0xd538_5200),
    ("tlbi vmalle1", 0xd508_871f),
    ("dc isw", 0xd508_7640),
    ("at s1e1r", 0xd508_7800),
    ("msr cntv_ctl_el0", 0xd51b_e320),
    ("msr tpidr_el1", 0xd518_d080),
];

/// Loads, stores and jumps by the address in x0; what they load goes to x1 and x2.
const ACCESSES: [u32; 11] = [
    0xf940_0001, // ldr x1, [x0]
    0x3940_0001, // ldrb w1, [x0]
    0xa940_0801, // ldp x1, x2, [x0]
    0xc85f_fc01, // ldaxr x1, [x0]
    0xf840_0801, // ldtr x1, [x0]
    0xf900_001f, // str xzr, [x0]
    0x3900_001f, // strb wzr, [x0]
    0xa900_7c1f, // stp xzr, xzr, [x0]
    0xc89f_fc1f, // stlr xzr, [x0]
    0xd50b_7420, // dc zva, x0
    0xd63f_0000, // blr x0
];

/// Makes an access that must fail, chosen at random.
pub fn access(random: &mut Random) -> i32 {
    let at = Pointers::new().foreign(random);
    execute(random.of(&ACCESSES), at)
}

/// Executes one instruction that must fail, with this value in x0.
pub fn execute(instruction: u32, x0: usize) -> i32 {
    /// `ret`.
    const RETURN: u32 = 0xd65f_03c0;
    let code = code_page(|at| if at == 0 { instruction } else { RETURN });
    // SAFETY: the page is executable and returns after the one instruction, which is to be
    // refused; if it is not, the status shows it.
    unsafe {
        asm!("blr {}", in(reg) code, inout("x0") x0 => _, out("x1") _, out("x2") _, out("x30") _);
    }
    FAILED
}

/// Fills a page with random instructions and jumps there, all registers random.
pub fn code(random: &mut Random) -> i32 {
    let pointers = Pointers::new();
    let code = code_page(|_| instruction(random));
    let mut registers = [0_u64; 32];
    for register in &mut registers {
        *register = pointers.any(random) as u64;
    }
    // SAFETY: never comes back as the program that it was.
    unsafe { enter(code, &registers) }
}

/// A page of instructions that may be executed.
fn code_page(mut word: impl FnMut(usize) -> u32) -> *const u32 {
    let args = [0, PAGE_SIZE, 1 | 2 | 4, 2 | 0x20, usize::MAX, 0];
    // SAFETY: a new mapping takes no memory that is in use.
    let at = unsafe { call(number::MMAP, args) }.expect("one page");
    let code = core::ptr::with_exposed_provenance_mut::<u32>(at);
    for i in 0..WORDS {
        let place = code.wrapping_add(i);
        // SAFETY: the page was just mapped and has that many words.
        unsafe { place.write(word(i)) };
    }
    for line in (0..WORDS).step_by(LINE / 4).map(|i| code.wrapping_add(i)) {
        // SAFETY: cache maintenance changes nothing that a program sees.
        unsafe { asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", in(reg) line) };
    }
    // SAFETY: barriers change nothing.
    unsafe { asm!("dsb ish", "isb") };
    code
}

/// Jumps to `code` with these values in x0 to x30, but for x16 and x17, and in sp.
///
/// # Safety
/// The process is given up: whatever the code does is wanted.
unsafe fn enter(code: *const u32, registers: &[u64; 32]) -> ! {
    // SAFETY: reads the array that it was given; what follows is the caller's.
    unsafe {
        asm!(
            "ldr x2, [x16, #248]",
            "mov sp, x2",
            "ldp x0, x1, [x16]",
            "ldp x2, x3, [x16, #16]",
            "ldp x4, x5, [x16, #32]",
            "ldp x6, x7, [x16, #48]",
            "ldp x8, x9, [x16, #64]",
            "ldp x10, x11, [x16, #80]",
            "ldp x12, x13, [x16, #96]",
            "ldp x14, x15, [x16, #112]",
            "ldp x18, x19, [x16, #144]",
            "ldp x20, x21, [x16, #160]",
            "ldp x22, x23, [x16, #176]",
            "ldp x24, x25, [x16, #192]",
            "ldp x26, x27, [x16, #208]",
            "ldp x28, x29, [x16, #224]",
            "ldr x30, [x16, #240]",
            "br x17",
            in("x16") registers.as_ptr(),
            in("x17") code,
            options(noreturn),
        )
    }
}

/// A random instruction, most often of a group that exists, and never `svc`.
fn instruction(random: &mut Random) -> u32 {
    /// Loads and stores, system instructions, branches and arithmetic, with the bits that
    /// say so.
    const GROUPS: [(u32, u32); 6] = [
        (0x0a00_0000, 0x0800_0000),
        (0xffc0_0000, 0xd500_0000),
        (0xff00_0000, 0xd400_0000),
        (0x1e00_0000, 0x1400_0000),
        (0x1c00_0000, 0x1000_0000),
        (0x0e00_0000, 0x0e00_0000),
    ];
    let (mask, bits) = random.of(&GROUPS);
    let word = random.number() as u32;
    let word = if random.once_in(4) { word } else { word & !mask | bits };
    let is_call = word & 0xffe0_001f == 0xd400_0001;
    if is_call { word + 1 } else { word }
}
