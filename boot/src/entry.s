// The entry code: from the firmware to `kernel_entry`, the first Rust function.
//
// Contract on entry (arm64 boot protocol): x0 is the physical address of the device tree,
// the image lies at a 2 MiB-aligned physical address (any page will do; a Raspberry Pi's older
// firmware loads at 512 KiB) and is clean to the point of coherency, the MMU and the data cache
// are off, the CPU is at EL2 or EL1.
//
// Until the MMU is on, memory is of Device type: accesses are aligned and none is
// exclusive. What is written here bypasses the caches, so stale lines over it are evicted before
// the first write and discarded after the last.
//
// Registers preserved throughout: x19 the physical address of the image, x20 that of the device
// tree. Addresses are formed PC-relative and are therefore physical until the jump through the
// literal `high_half`.
//
// A secondary CPU takes the same steps without clearing or building anything. It enters at
// `_secondary_start`, whose address was given to PSCI or written to its release address, and
// which is here so that the identity map covers it. Until its own caches are on, it reads no memory
// that was written with caches on.

// Calls `dc \op` on every cache line from x9 up to x10, page-aligned addresses.
.macro dcache op
    mrs     x11, ctr_el0
    ubfx    x11, x11, #16, #4           // log2 of the words in the smallest line
    mov     x12, #4
    lsl     x12, x12, x11
    mov     x11, x9
8:  dc      \op, x11
    add     x11, x11, x12
    cmp     x11, x10
    b.lo    8b
    dsb     sy
.endm

// Maps the image's pages from symbol \from up to symbol \to with the bits \bits.
.macro map_image from, to, bits
    adrp    x9, \from
    adrp    x10, \to
    ldr     x11, =\bits
    bl      fill_pages
.endm

// Makes entry \index of the table at \table point to the table at \next.
.macro link_table table, index, next
    adrp    x9, \table
    adrp    x10, \next
    orr     x10, x10, #3                // a valid table entry
    mov     x11, \index
    str     x10, [x9, x11, lsl #3]
.endm

    .section .head.text, "ax"
    .global _start
_start:
    b       primary_entry
    .long   0
    .quad   0                           // offset from a 2 MiB boundary
    .quad   _image_size                 // the BSS included
    .quad   0xa                         // little-endian, 4 KiB pages, anywhere in memory
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .long   0

primary_entry:
    msr     daifset, #0xf
    mov     x20, x0
    adrp    x19, _start
    bl      drop_to_el1
    bl      reset_el1
    bl      clear_bss
    bl      build_tables
    bl      enable_mmu
    ldr     x8, =high_half
    br      x8

    .global _secondary_start
_secondary_start:
    msr     daifset, #0xf
    bl      drop_to_el1
    bl      reset_el1
    bl      enable_mmu
    ldr     x8, =secondary_high
    br      x8

// Returns at EL1 with the MMU off and a known SCTLR_EL1. Clobbers x8, x9.
drop_to_el1:
    ldr     x8, ={SCTLR_EL1_OFF}
    mrs     x9, CurrentEL
    cmp     x9, #(2 << 2)
    b.eq    1f
    msr     sctlr_el1, x8
    isb
    ret
1:  mov     x9, #(1 << 31)              // HCR_EL2.RW: EL1 is AArch64; nothing is trapped.
    msr     hcr_el2, x9                 // First, since with E2H set the names of EL1's
    isb                                 // registers mean those of EL2
    msr     sctlr_el1, x8
    ldr     x8, ={SCTLR_EL2_OFF}
    msr     sctlr_el2, x8
    isb
    mov     x8, #3                      // EL1 reads the physical counter and its timer
    msr     cnthctl_el2, x8
    msr     cntvoff_el2, xzr
    mrs     x8, midr_el1
    msr     vpidr_el2, x8
    mrs     x8, mpidr_el1
    msr     vmpidr_el2, x8
    mov     x8, #0x33ff                 // CPTR_EL2: its reserved ones; FP is not trapped
    msr     cptr_el2, x8
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x8, id_aa64dfr0_el1         // MDCR_EL2.HPMN: every event counter is EL1's
    ubfx    x8, x8, #8, #4
    sub     x9, x8, #1
    cmp     x9, #14                     // 0: no PMU, 15: not the architecture's
    mov     x8, xzr
    b.hs    2f
    mrs     x8, pmcr_el0
    ubfx    x8, x8, #11, #5
2:  msr     mdcr_el2, x8
    mrs     x8, id_aa64mmfr0_el1        // FEAT_FGT: no fine-grained traps
    ubfx    x8, x8, #56, #4
    cbz     x8, 3f
    msr     s3_4_c1_c1_4, xzr           // HFGRTR_EL2
    msr     s3_4_c1_c1_5, xzr           // HFGWTR_EL2
    msr     s3_4_c1_c1_6, xzr           // HFGITR_EL2
    msr     s3_4_c3_c1_4, xzr           // HDFGRTR_EL2
    msr     s3_4_c3_c1_5, xzr           // HDFGWTR_EL2
3:  mrs     x8, id_aa64mmfr1_el1        // FEAT_HCX: HCRX_EL2 traps and enables nothing
    ubfx    x8, x8, #40, #4
    cbz     x8, 4f
    msr     s3_4_c1_c2_2, xzr
4:  mrs     x8, id_aa64pfr0_el1         // GICv3: EL1 may use the system registers
    ubfx    x8, x8, #24, #4
    cbz     x8, 5f
    mrs     x8, s3_4_c12_c9_5           // ICC_SRE_EL2: SRE, Enable
    orr     x8, x8, #8
    orr     x8, x8, #1
    msr     s3_4_c12_c9_5, x8
    isb
    mrs     x8, s3_4_c12_c9_5
    tbz     x8, #0, 5f                  // the CPU has them, the machine does not
    msr     s3_4_c12_c11_0, xzr         // ICH_HCR_EL2
5:  adrp    x8, el2_vectors
    add     x8, x8, :lo12:el2_vectors
    msr     vbar_el2, x8
    mov     x8, #0x3c5                  // EL1 on its own stack pointer, all masked
    msr     spsr_el2, x8
    msr     elr_el2, x30
    eret

// Disables what else a firmware may have used at EL1: debug events and the timers, whose interrupts
// would arrive as soon as the kernel unmasks its own. Clobbers x8.
reset_el1:
    msr     mdscr_el1, xzr
    mov     x8, #2                      // off and masked
    msr     cntv_ctl_el0, x8
    msr     cntp_ctl_el0, x8
    ret

// Clears the BSS. Clobbers x9 to x12. Lines of the image that a loader left in the caches, against
// its contract, are written to memory first, where instructions are fetched from.
clear_bss:
    adrp    x9, _start
    adrp    x10, _image_end
    dcache  civac
    ic      iallu
    dsb     sy
    isb
    adrp    x9, _bss_start
1:  stp     xzr, xzr, [x9], #16
    cmp     x9, x10
    b.lo    1b
    ret

// Builds the identity map and the kernel image map. Clobbers x9 to x14, x28.
build_tables:
    mov     x28, x30
    ubfx    x13, x19, #30, #9
    link_table identity_root, x13, identity_l2
    ubfx    x13, x19, #21, #9
    link_table identity_l2, x13, identity_l3
    adrp    x9, identity_l3             // the first page of the image
    ldr     x11, ={TEXT}
    orr     x10, x19, x11
    ubfx    x13, x19, #12, #9
    str     x10, [x9, x13, lsl #3]

    link_table _kernel_root, #{KIMAGE_ROOT_INDEX}, kernel_l2
    adrp    x9, kernel_l2
    adrp    x10, image_l3
    orr     x10, x10, #3
    mov     x11, #{IMAGE_L3_TABLES}
1:  str     x10, [x9], #8
    add     x10, x10, #4096
    subs    x11, x11, #1
    b.ne    1b

    map_image _start, _text_end, {TEXT}
    map_image _text_end, _rodata_end, {RODATA}
    map_image _rodata_end, _boot_guard, {DATA}
    map_image _boot_stack_bottom, _image_end, {DATA}

    adrp    x9, _bss_start
    adrp    x10, _image_end
    dsb     sy
    dcache  ivac
    ret     x28

// Writes the page entries of the image's part x9 up to x10 (physical) with the bits x11.
// The level-3 tables lie one after the other, so an entry's place is the page's number
// within the image. Clobbers x12 to x14.
fill_pages:
    adrp    x12, image_l3
    sub     x13, x9, x19
    lsr     x13, x13, #12
    add     x12, x12, x13, lsl #3
1:  cmp     x9, x10
    b.hs    2f
    orr     x14, x9, x11
    str     x14, [x12], #8
    add     x9, x9, #4096
    b       1b
2:  ret

// Turns the MMU and the caches on. Clobbers x8 to x10.
enable_mmu:
    adrp    x8, identity_root
    msr     ttbr0_el1, x8
    adrp    x8, _kernel_root
    msr     ttbr1_el1, x8
    ldr     x8, ={MAIR}
    msr     mair_el1, x8
    ldr     x8, ={TCR}
    mrs     x9, id_aa64mmfr0_el1
    and     x10, x9, #0xf               // PARange, at most 48 bits
    cmp     x10, #5
    mov     x9, #5
    csel    x10, x10, x9, lo
    bfi     x8, x10, #32, #3            // TCR_EL1.IPS
    mrs     x9, id_aa64mmfr0_el1
    ubfx    x9, x9, #4, #4              // ASIDBits: 2 means 16 bits
    cmp     x9, #2
    cset    x9, eq
    bfi     x8, x9, #36, #1             // TCR_EL1.AS
    msr     tcr_el1, x8
    msr     cpacr_el1, xzr              // the kernel has no use for FP registers
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    ldr     x8, ={SCTLR_EL1_ON}
    msr     sctlr_el1, x8
    isb
    ic      iallu
    dsb     nsh
    isb
    ret

    .ltorg
    // The identity map covers one page; the linker script asserts that all of this is in it.

    .section .text.entry, "ax"
// The first instructions at the link address.
high_half:
    ldr     x8, =_boot_stack_top
    mov     sp, x8
    ldr     x8, =early_vectors
    msr     vbar_el1, x8
    isb
    msr     tpidr_el1, xzr
    mov     x29, xzr                    // ends the chain of frames
    mov     x30, xzr
    mov     x0, x20
    mov     x1, x19
    bl      kernel_entry
    brk     #1

// A secondary CPU at its high address: it finds its record by its affinity (MPIDR_EL1 without the
// other bits) and starts as the record says. A CPU without a record is parked.
secondary_high:
    ldr     x8, =early_vectors
    msr     vbar_el1, x8
    isb
    msr     tpidr_el1, xzr
    mov     x29, xzr
    mov     x30, xzr
    mrs     x0, mpidr_el1
    ldr     x8, =0xff00ffffff
    and     x0, x0, x8
    ldr     x9, =_secondary_records
    mov     x10, #{SECONDARIES}
1:  ldp     x11, x12, [x9], #16         // affinity, end of the stack
    ldp     x13, x14, [x9], #16         // first function, its argument
    cbz     x12, 2f                     // an empty record
    cmp     x11, x0
    b.eq    3f
2:  subs    x10, x10, #1
    b.ne    1b
4:  wfe
    b       4b
3:  mov     sp, x12
    mov     x0, x14
    br      x13

// Any exception until the kernel has vectors of its own. A semihosting call without a host is an
// undefined instruction: it returns -1, so that the caller can try another way to exit. Everything
// else is fatal. The stack may be what is broken, so the two registers needed are saved in system
// registers that are not used yet.
early_trap_entry:
    msr     tpidr_el0, x9
    msr     tpidrro_el0, x10
    mrs     x9, esr_el1
    lsr     x9, x9, #26
    cbnz    x9, 1f                      // class 0: undefined instruction
    mrs     x9, elr_el1
    ldr     w9, [x9]
    mov     w10, #0xd45e0000            // hlt #0xf000
    cmp     w9, w10
    b.ne    1f
    mrs     x9, elr_el1
    add     x9, x9, #4
    msr     elr_el1, x9
    mov     x0, #-1
    mrs     x9, tpidr_el0
    mrs     x10, tpidrro_el0
    eret
1:  ldr     x9, =_trap_stack_top
    mov     sp, x9
    mrs     x0, esr_el1
    mrs     x1, elr_el1
    mrs     x2, far_el1
    mov     x3, x29
    bl      early_trap
    brk     #1
    .ltorg

    .balign 2048
early_vectors:
    .rept   16
    .balign 128
    b       early_trap_entry
    .endr

// The vectors that stay at EL2: a call returns -1, anything else stops the CPU.
    .balign 2048
el2_vectors:
    .rept   8
    .balign 128
    wfe
    b       . - 4
    .endr
    .balign 128                         // synchronous, from EL1
    mov     x0, #-1
    eret
    .rept   7
    .balign 128
    wfe
    b       . - 4
    .endr

    .section .bss.tables, "aw", %nobits
    .balign 4096
    .global _kernel_root
    .global _empty_root
_kernel_root:   .skip 4096
_empty_root:    .skip 4096
kernel_l2:      .skip 4096
image_l3:       .skip 4096 * {IMAGE_L3_TABLES}
identity_root:  .skip 4096
identity_l2:    .skip 4096
identity_l3:    .skip 4096
