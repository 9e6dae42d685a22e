//! Switching between tasks: callee-saved registers, and what user mode keeps elsewhere.
//!
//! **Data.** A [`Context`] and a [`UserState`] in every task. **Owner.** The scheduler of
//! the CPU that the task lives on, with interrupts masked; a task that does not exist yet
//! belongs to its creator.
//!
//! **Floating point.** The kernel is built without it, so that the registers can stay what
//! they are until *another user task* is to run. `fp_owner` of the CPU names the task whose
//! state they hold; a switch to kswapd and back costs nothing.

use core::arch::{asm, global_asm};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

use crate::arch::cpu;
use crate::task::Task;

/// What a task that does not run needs to go on: `x19` to `x28`, the frame pointer, the
/// address to go on at, and the stack pointer. The assembly below knows the layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Context {
    saved: [u64; 10],
    fp: u64,
    lr: u64,
    sp: u64,
}

impl Context {
    /// A context of no task.
    pub const EMPTY: Self = Self { saved: [0; 10], fp: 0, lr: 0, sp: 0 };

    /// A kernel task that will call `body` on the stack that ends at `stack_top`.
    pub fn kernel(body: fn() -> !, stack_top: usize) -> Self {
        let mut context = Self::EMPTY;
        context.saved[0] = body as usize as u64;
        context.lr = (enter_kernel_task as *const () as usize) as u64;
        context.sp = stack_top as u64;
        context
    }

    /// A user task that will return to user mode through the trap frame at `frame`.
    pub fn user(frame: usize) -> Self {
        let mut context = Self::EMPTY;
        context.lr = (enter_user_task as *const () as usize) as u64;
        context.sp = frame as u64;
        context
    }
}

/// What user mode sees and the kernel does not use: kept in registers while the task runs.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct UserState {
    q: [u128; 32],
    fpcr: u64,
    fpsr: u64,
    sp: u64,
    tls: u64,
}

impl UserState {
    /// The state of a new program whose stack pointer is `sp`.
    pub const fn new(sp: u64) -> Self {
        Self { q: [0; 32], fpcr: 0, fpsr: 0, sp, tls: 0 }
    }
}

unsafe extern "C" {
    fn context_switch(
        prev: *mut Context,
        next: *const Context,
        prev_task: &'static Task,
    ) -> &'static Task;
    fn fp_save(state: *mut UserState);
    fn fp_load(state: *const UserState);
    fn enter_kernel_task();
    fn enter_user_task();
}

/// Runs `next` instead of `prev` and returns, when `prev` runs again, the task that ran
/// just before it.
///
/// # Safety
/// Interrupts are masked, `prev` is the running task, and `next` is a task of this CPU that
/// does not run and whose context is complete.
pub unsafe fn switch(prev: &'static Task, next: &'static Task) -> &'static Task {
    if prev.is_user() {
        save_user(prev);
    }
    if next.is_user() {
        load_user(next);
    }
    super::paging::use_tables(next.ttbr0());
    // SAFETY: both pointers are into the static task table, and the caller vouches for the
    // right to use these two contexts.
    unsafe { context_switch(prev.context(), next.context(), prev) }
}

fn save_user(task: &'static Task) {
    let (sp, tls): (u64, u64);
    // SAFETY: it only reads registers that the kernel does not use.
    unsafe {
        asm!("mrs {}, sp_el0", "mrs {}, tpidr_el0", out(reg) sp, out(reg) tls,
             options(nomem, nostack, preserves_flags));
    }
    // SAFETY: the scheduler of this CPU owns the state of its tasks.
    let state = unsafe { &mut *task.user_state() };
    state.sp = sp;
    state.tls = tls;
}

fn load_user(task: &'static Task) {
    // SAFETY: the scheduler of this CPU owns the state of its tasks.
    let state = unsafe { &*task.user_state() };
    // SAFETY: the kernel does not use these registers.
    unsafe {
        asm!("msr sp_el0, {}", "msr tpidr_el0, {}", in(reg) state.sp, in(reg) state.tls,
             options(nomem, nostack, preserves_flags));
    }
    let owner = &cpu::this().fp_owner;
    let old = owner.load(Relaxed);
    if !ptr::eq(old, task) {
        // SAFETY: null, or a task of the static table.
        if let Some(old) = unsafe { old.as_ref() } {
            // SAFETY: the registers hold this task's state, which this CPU owns.
            unsafe { fp_save(old.user_state()) };
        }
        // SAFETY: the state is initialised, and the kernel does not use the registers.
        unsafe { fp_load(state) };
        owner.store(ptr::from_ref(task).cast_mut(), Relaxed);
    }
}

/// Copies what the registers hold of the running task into `child`, for fork. Interrupts
/// may be on: a switch away and back restores the registers.
pub fn fork_user_state(parent: &'static Task, child: &'static Task) {
    let _masked = cpu::IrqGuard::new();
    save_user(parent);
    if ptr::eq(cpu::this().fp_owner.load(Relaxed), parent) {
        // SAFETY: the registers hold the parent's state.
        unsafe { fp_save(parent.user_state()) };
    }
    // SAFETY: the parent's state belongs to this CPU, whose interrupts are masked.
    let state = unsafe { *parent.user_state() };
    child.init_user_state(state);
}

/// Gives the running task a new state, in memory and in the registers: the end of exec.
pub fn set_user_state(task: &'static Task, state: UserState) {
    let _masked = cpu::IrqGuard::new();
    task.init_user_state(state);
    forget_fp(task);
    load_user(task);
}

/// The floating-point registers no longer matter to `task`, which exits.
pub fn forget_fp(task: &'static Task) {
    let owner = &cpu::this().fp_owner;
    if ptr::eq(owner.load(Relaxed), task) {
        owner.store(ptr::null_mut(), Relaxed);
    }
}

global_asm!(
    r#"
    .arch_extension fp
    .arch_extension simd
    .section .text.context, "ax"

    // x0: context to save into, x1: context to load, x2: handed through to the next task.
    .global context_switch
context_switch:
    mov     x9, sp
    stp     x19, x20, [x0, #0]
    stp     x21, x22, [x0, #16]
    stp     x23, x24, [x0, #32]
    stp     x25, x26, [x0, #48]
    stp     x27, x28, [x0, #64]
    stp     x29, x30, [x0, #80]
    str     x9, [x0, #96]
    ldp     x19, x20, [x1, #0]
    ldp     x21, x22, [x1, #16]
    ldp     x23, x24, [x1, #32]
    ldp     x25, x26, [x1, #48]
    ldp     x27, x28, [x1, #64]
    ldp     x29, x30, [x1, #80]
    ldr     x9, [x1, #96]
    mov     sp, x9
    mov     x0, x2
    ret

    // A kernel task's first instructions: x19 is its body, x0 the task that ran before.
enter_kernel_task:
    bl      finish_switch
    msr     daifclr, #2
    mov     x29, xzr
    blr     x19
    brk     #1

    // A user task's: sp is at its trap frame.
enter_user_task:
    bl      finish_switch
    b       return_to_user_first

    .global fp_save
fp_save:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    mrs     x1, fpcr
    mrs     x2, fpsr
    str     x1, [x0, #512]
    str     x2, [x0, #520]
    ret

    .global fp_load
fp_load:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    ldr     x1, [x0, #512]
    ldr     x2, [x0, #520]
    msr     fpcr, x1
    msr     fpsr, x2
    ret
    .text
"#
);
