//! Switching between tasks: callee-saved registers, and what user mode keeps elsewhere.
//!
//! **Data.** A [`Thread`] in every task. **Owner.** Of its registers, while it does not run,
//! the scheduler of the CPU that the task lives on, with interrupts masked; a task that is not
//! complete yet belongs to its creator.
//!
//! The layers above define the rest of a task. A new task's first instructions call
//! `finish_switch`, a symbol that the scheduler defines, with what the previous task passed to
//! [`switch`].
//!
//! **Floating point.** The kernel is built without it, so that the registers can keep their values
//! until *another user task* runs. `fp_owner` of the CPU names the task whose state they hold; a
//! switch to kswapd and back costs nothing. Their place in memory is the end of the task's stack, so
//! that only user tasks that exist take room for it: [`FpState`] is three times the rest of a task.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed};

use crate::arch::{cpu, paging};

/// What a task that does not run needs to resume: `x19` to `x28`, the frame pointer, the address to
/// resume at, and the stack pointer. The assembly below knows the layout.
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

/// The floating-point registers of a user task. The assembly below knows the layout.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct FpState {
    q: [u128; 32],
    fpcr: u64,
    fpsr: u64,
}

impl FpState {
    /// That of a new program.
    const NEW: Self = Self { q: [0; 32], fpcr: 0, fpsr: 0 };
}

/// User state that the kernel does not use, besides floating point: kept in registers while the
/// task runs.
#[derive(Clone, Copy)]
pub struct UserState {
    sp: u64,
    tls: u64,
}

impl UserState {
    /// The state of a new program whose stack pointer is `sp`.
    pub const fn new(sp: u64) -> Self {
        Self { sp, tls: 0 }
    }
}

/// The processor state of a task. All zeroes where there is no task.
pub struct Thread {
    /// Whether it runs a user program, whose registers have to be kept.
    user: AtomicBool,
    /// The value of TTBR0 while it runs; 0 for no address space.
    ttbr0: AtomicU64,
    context: UnsafeCell<Context>,
    user_state: UnsafeCell<UserState>,
    /// On the stack of a user task, which outlives its time as a CPU's `fp_owner`; else null.
    fp_state: AtomicPtr<FpState>,
}

// SAFETY: the two cells and what `fp_state` points to are accessed only by the owner that the
// module's head names: by raw pointers, under masked interrupts or before the task runs.
unsafe impl Sync for Thread {}

impl Thread {
    /// The state of no task.
    pub const fn new() -> Self {
        Self {
            user: AtomicBool::new(false),
            ttbr0: AtomicU64::new(0),
            context: UnsafeCell::new(Context::EMPTY),
            user_state: UnsafeCell::new(UserState::new(0)),
            fp_state: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Whether it runs a user program, whose registers have to be kept.
    #[inline(always)]
    pub fn is_user(&self) -> bool {
        self.user.load(Relaxed)
    }

    /// Makes it a user task, with these tables.
    pub fn set_tables(&self, ttbr0: u64) {
        self.ttbr0.store(ttbr0, Relaxed);
        self.user.store(true, Relaxed);
    }

    /// Undoes [`Thread::set_tables`].
    pub fn clear_tables(&self) {
        self.user.store(false, Relaxed);
        self.ttbr0.store(0, Relaxed);
    }

    #[inline(always)]
    fn ttbr0(&self) -> u64 {
        match self.ttbr0.load(Relaxed) {
            0 => paging::empty_tables(),
            tables => tables,
        }
    }

    /// Sets where a task that never ran starts.
    pub fn init_context(&self, context: Context) {
        // SAFETY: the caller is the creator of a task that does not run yet.
        unsafe { self.context.get().write(context) };
    }

    /// Makes room for the floating-point registers of a user task below the end `top` of its stack;
    /// returns where the rest of the stack ends.
    ///
    /// # Safety
    /// The caller is the creator of a task that does not run yet, whose stack is mapped and unused,
    /// and stays mapped until [`forget_fp`].
    pub unsafe fn place_fp_state(&self, top: usize) -> usize {
        let place = top - size_of::<FpState>();
        self.fp_state.store(place as *mut FpState, Relaxed);
        place
    }

    /// Undoes [`Thread::place_fp_state`], for the next task in this place.
    pub fn clear_fp_state(&self) {
        self.fp_state.store(ptr::null_mut(), Relaxed);
    }

    /// Where the part of its stack for calls ends, of a stack that ends at `top`.
    pub fn stack_end(&self, top: u64) -> u64 {
        match self.fp_state.load(Relaxed).addr() {
            0 => top,
            place => place as u64,
        }
    }

    /// Sets the registers with which user mode starts. The task is a user task, to whose state
    /// [`Thread::place_fp_state`] gave room.
    pub fn init_user_state(&self, state: UserState) {
        self.set_state(state, FpState::NEW);
    }

    fn set_state(&self, state: UserState, fp: FpState) {
        // SAFETY: the caller is the creator of a task that does not run yet, or the task
        // itself with interrupts masked.
        unsafe { self.user_state.get().write(state) };
        // SAFETY: as above; a user task has room for it at the end of its stack.
        unsafe { self.fp_state.load(Relaxed).write(fp) };
    }
}

impl Default for Thread {
    fn default() -> Self {
        Self::new()
    }
}

unsafe extern "C" {
    fn context_switch(prev: *mut Context, next: *const Context, left: *const ()) -> *const ();
    fn fp_save(state: *mut FpState);
    fn fp_load(state: *const FpState);
    fn enter_kernel_task();
    fn enter_user_task();
}

/// Leaves the stack that it is called on, for good: calls `body` with `argument` on the stack that
/// ends at `top`.
///
/// # Safety
/// Interrupts are masked. The other stack is mapped and unused; nothing refers to the present one.
pub unsafe fn leave_stack(top: u64, body: extern "C" fn(usize) -> !, argument: usize) -> ! {
    // SAFETY: as the caller promises; `body` does not return.
    unsafe {
        asm!("mov sp, {}", "mov x29, xzr", "mov x30, xzr", "br {}",
             in(reg) top, in(reg) body, in("x0") argument, options(noreturn))
    }
}

/// Runs `next` instead of `prev`. Returns, when `prev` runs again, the `left` of the task that ran
/// just before it: the scheduler's own handle of a task.
///
/// # Safety
/// Interrupts are masked, `prev` is that of the running task, and `next` that of a task of this
/// CPU that does not run and whose context is complete. `T` is the type that `finish_switch`
/// takes a reference to.
pub unsafe fn switch<T>(
    prev: &'static Thread,
    next: &'static Thread,
    left: &'static T,
) -> &'static T {
    if prev.is_user() {
        save_user(prev);
    }
    if next.is_user() {
        load_user(next);
    }
    paging::use_tables(next.ttbr0());
    let left = ptr::from_ref(left).cast();
    // SAFETY: both threads are never freed, and the caller guarantees the right to use these two
    // contexts.
    let last = unsafe { context_switch(prev.context.get(), next.context.get(), left) };
    // SAFETY: it is what another call of this function made of a reference to the same type.
    unsafe { &*last.cast() }
}

fn save_user(thread: &'static Thread) {
    let (sp, tls): (u64, u64);
    // SAFETY: it only reads registers that the kernel does not use.
    unsafe {
        asm!("mrs {}, sp_el0", "mrs {}, tpidr_el0", out(reg) sp, out(reg) tls,
             options(nomem, nostack, preserves_flags));
    }
    // SAFETY: the scheduler of this CPU owns the state of its tasks.
    let state = unsafe { &mut *thread.user_state.get() };
    state.sp = sp;
    state.tls = tls;
}

fn load_user(thread: &'static Thread) {
    // SAFETY: the scheduler of this CPU owns the state of its tasks.
    let state = unsafe { &*thread.user_state.get() };
    // SAFETY: the kernel does not use these registers.
    unsafe {
        asm!("msr sp_el0, {}", "msr tpidr_el0, {}", in(reg) state.sp, in(reg) state.tls,
             options(nomem, nostack, preserves_flags));
    }
    let owner = &cpu::this().fp_owner;
    let old = owner.load(Relaxed);
    if !ptr::eq(old, thread) {
        // SAFETY: null, or one that is never freed.
        if let Some(old) = unsafe { old.as_ref() } {
            // SAFETY: the registers hold this thread's state, which this CPU owns.
            unsafe { fp_save(old.fp_state.load(Relaxed)) };
        }
        // SAFETY: the state is initialised, and the kernel does not use the registers.
        unsafe { fp_load(thread.fp_state.load(Relaxed)) };
        owner.store(ptr::from_ref(thread).cast_mut(), Relaxed);
    }
}

/// Copies the running task's state in the registers into `child`, for fork. Interrupts may be on: a
/// switch away and back restores the registers.
pub fn fork_user_state(parent: &'static Thread, child: &'static Thread) {
    let _masked = cpu::IrqGuard::new();
    save_user(parent);
    if ptr::eq(cpu::this().fp_owner.load(Relaxed), parent) {
        // SAFETY: the registers hold the parent's state.
        unsafe { fp_save(parent.fp_state.load(Relaxed)) };
    }
    // SAFETY: the parent's state belongs to this CPU, whose interrupts are masked.
    let state = unsafe { *parent.user_state.get() };
    // SAFETY: as above; the parent is a user task, which has such a state.
    let fp = unsafe { *parent.fp_state.load(Relaxed) };
    child.set_state(state, fp);
}

/// Gives the running task a new state, in memory and in the registers: the end of exec.
pub fn set_user_state(thread: &'static Thread, state: UserState) {
    let _masked = cpu::IrqGuard::new();
    thread.init_user_state(state);
    forget_fp(thread);
    load_user(thread);
}

/// The floating-point registers no longer matter to the task, which exits.
pub fn forget_fp(thread: &'static Thread) {
    let owner = &cpu::this().fp_owner;
    if ptr::eq(owner.load(Relaxed), thread) {
        owner.store(ptr::null_mut(), Relaxed);
    }
}

global_asm!(
    r#"
    .arch_extension fp
    .arch_extension simd
    .section .text.context, "ax"

    // x0: context to save into, x1: context to load, x2: passed to the next task.
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
