//! The vector table. Each entry saves what the compiler may clobber, calls one function, and
//! returns in one of three ways: to user mode after checking the work flags, to the kernel after
//! checking for preemption, or not at all.
//!
//! The functions are symbols, which a layer above defines, with the C calling convention. For an
//! exception they get FAR_EL1, ESR_EL1 and a pointer to the [`TrapFrame`].
//!
//! | symbol | called for | gets |
//! | --- | --- | --- |
//! | `user_abort` | a data abort from user mode; interrupts masked | all three |
//! | `user_syscall` | a system call | the frame |
//! | `user_exception` | any other synchronous exception from user mode | all three |
//! | `user_work` | work flags on the way to user mode, interrupts masked | nothing |
//! | `interrupt` | an interrupt | nothing |
//! | `reschedule` | an interrupt that made a task ready, where preemption is allowed; interrupts masked | nothing |
//! | `kernel_exception` | a synchronous exception of the kernel | all three |
//! | `stack_overflow` | a push below the end of a kernel stack; does not return | all three |
//! | `system_error` | an asynchronous error of the memory system; does not return | all three |
//!
//! A data abort from user mode, the most frequent entry, is handled with interrupts masked as they
//! come, so that ELR_EL1 and SPSR_EL1 stay as they are, neither saved nor restored. `user_abort`
//! returns what prevents that ([`super::NotYet`]). The way costs 19 instructions before `user_abort`
//! and 13 after it.

use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};

use super::TrapFrame;
use crate::arch::cpu;

unsafe extern "C" {
    static vectors: [u32; 512];
    fn enter_user_frame(frame: *const TrapFrame) -> !;
}

/// Makes this CPU take its exceptions through the table below.
pub fn install() {
    // SAFETY: the symbol is the table, aligned to 2 KiB.
    let table = &raw const vectors;
    // SAFETY: the table handles every exception.
    unsafe { asm!("msr vbar_el1, {}", "isb", in(reg) table, options(nostack, preserves_flags)) };
}

/// Enters user mode for the first time after an exec, with the registers in `frame`.
pub fn enter_user(frame: &TrapFrame) -> ! {
    cpu::irqs_off();
    // SAFETY: the frame lies on this task's stack and is not used again: the stack pointer
    // moves to it, above everything that this call chain still uses, none of which is needed.
    unsafe { enter_user_frame(frame) }
}

const _: () = assert!(size_of::<TrapFrame>() == 272);
const _: () = assert!(offset_of!(TrapFrame, sp) == 248);
const _: () = assert!(offset_of!(TrapFrame, elr) == 256);
const _: () = assert!(offset_of!(TrapFrame, spsr) == 264);

global_asm!(
    r#"
    // What the compiler may clobber, with x0 and x1 saved already.
    .macro save_clobbered
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x29, x30, [sp, #232]
    .endm

    // Where to return to, through x2 and x3, which are saved already.
    .macro save_return
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    stp     x2, x3, [sp, #256]
    .endm

    .macro save_preserved
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    str     x28, [sp, #224]
    .endm

    .macro restore_return
    ldp     x2, x3, [sp, #256]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    .endm

    .macro restore_clobbered
    ldp     x29, x30, [sp, #232]
    ldr     x18, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp], #272
    .endm

    .macro vector target
    .balign 128
    b       \target
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global vectors
vectors:
    // The kernel with SP_EL0, which it never uses.
    vector  el1_sync
    vector  el1_sync
    vector  el1_sync
    vector  el1_serror
    // The kernel.
    vector  el1_sync
    vector  el1_irq
    vector  el1_irq
    vector  el1_serror
    // User mode, AArch64. The synchronous entry lies in the table itself.
    .balign 128
    stp     x0, x1, [sp, #-272]!
    mrs     x1, esr_el1
    save_clobbered
    lsr     w2, w1, #26
    mrs     x0, far_el1
    cmp     w2, #0x24
    b.ne    el0_other
    mov     x2, sp
    mov     x29, xzr
    bl      user_abort
    cbz     w0, el0_done
    tbnz    w0, #0, return_to_user
    save_return
    b       return_to_user_masked
    vector  el0_irq
    vector  el0_irq
    vector  el0_serror
    // User mode, AArch32: not offered.
    vector  el0_serror
    vector  el0_serror
    vector  el0_serror
    vector  el0_serror

    // With elr and spsr as they came.
el0_done:
    restore_clobbered
    eret

el0_other:
    save_preserved
    mov     w4, w2
    save_return
    msr     daifclr, #2
    mov     x29, xzr
    cmp     w4, #0x15
    mov     x2, sp
    b.ne    1f
    mov     x0, sp
    bl      user_syscall
    b       return_to_user
1:  bl      user_exception
    b       return_to_user

el0_irq:
    stp     x0, x1, [sp, #-272]!
    save_clobbered
    save_return
    mov     x29, xzr
    bl      interrupt
    b       return_to_user_masked

    // Back to user mode: sp is at the frame.
    .global return_to_user
return_to_user:
    msr     daifset, #2
return_to_user_masked:
    mrs     x0, tpidr_el1
    ldr     w0, [x0, #{WORK}]
    cbnz    w0, 2f
1:  restore_return
    restore_clobbered
    eret
2:  bl      user_work
    b       1b

    // A new program, or the child of a fork: x0 is its frame, every register is loaded.
    .global enter_user_frame
enter_user_frame:
    mov     sp, x0
    .global return_to_user_first
return_to_user_first:
    msr     daifset, #2
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldr     x28, [sp, #224]
    ldr     x19, [sp, #152]
    b       return_to_user_masked

    // The kernel. An overflow of its stack must not be reported on that stack; the only register
    // available is one that user mode can read, and it is cleared again.
el1_sync:
    msr     tpidrro_el0, x0
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{STACK_LOW}]
    add     x0, x0, #512
    cmp     sp, x0
    b.lo    3f
    mrs     x0, tpidrro_el0
    msr     tpidrro_el0, xzr
    stp     x0, x1, [sp, #-272]!
    save_clobbered
    save_return
    save_preserved
    add     x2, sp, #272
    str     x2, [sp, #248]
    mrs     x0, far_el1
    mrs     x1, esr_el1
    mov     x2, sp
    bl      kernel_exception
    msr     daifset, #2
    restore_return
    restore_clobbered
    eret

3:  // The address of the overflow is in FAR; x0 and x1 are lost.
    msr     tpidrro_el0, x1
    mov     x1, sp
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{EMERGENCY}]
    mov     sp, x0
    mov     x0, x1
    mrs     x1, tpidrro_el0
    stp     x0, x1, [sp, #-272]!
    save_clobbered
    save_return
    save_preserved
    str     x0, [sp, #248]
    mrs     x0, far_el1
    mrs     x1, esr_el1
    mov     x2, sp
    bl      stack_overflow
    brk     #2

el1_irq:
    stp     x0, x1, [sp, #-272]!
    save_clobbered
    save_return
    stp     x29, x2, [sp, #-16]!
    mov     x29, sp
    bl      interrupt
    add     sp, sp, #16
    mrs     x0, tpidr_el1
    ldp     w1, w2, [x0, #{PREEMPT}]
    cbnz    w1, 4f
    tbz     w2, #0, 4f
    bl      reschedule
4:  restore_return
    restore_clobbered
    eret

el1_serror:
el0_serror:
    stp     x0, x1, [sp, #-272]!
    save_clobbered
    save_return
    save_preserved
    add     x2, sp, #272
    str     x2, [sp, #248]
    mrs     x0, far_el1
    mrs     x1, esr_el1
    mov     x2, sp
    bl      system_error
    brk     #3
    .text
"#,
    WORK = const cpu::WORK,
    PREEMPT = const cpu::PREEMPT,
    STACK_LOW = const cpu::STACK_LOW,
    EMERGENCY = const cpu::EMERGENCY,
);

const _: () = assert!(cpu::WORK == cpu::PREEMPT + 4, "the interrupt path loads both at once");
