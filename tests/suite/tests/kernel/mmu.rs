//! The kernel's half of the address space, read back from the tables (BOOT-04).

use boot::image;
use kernel::arch::mmu::{self, LINEAR_BASE, STACK_SIZE, Translation};
use kernel::ramdisk;
use mm_reclaim::env::DeviceId;
use mm_reclaim::units::PAGE_SIZE;
use suite::Test;

use crate::support::{machine, sleep_ms, spawn};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("mmu::the_tables_allow_nothing_that_they_must_not", audit),
    Test::new("mmu::text_is_executable_at_one_address_and_writable_at_none", text),
    Test::new("mmu::constants_are_read_only_at_both_addresses", constants),
    Test::new("mmu::data_is_writable_and_not_executable", data),
    Test::new("mmu::every_kernel_stack_has_an_unmapped_guard", guards),
    Test::new("mmu::all_memory_is_in_the_linear_map_and_nothing_else", linear_map),
    Test::new("mmu::the_identity_map_is_gone", identity_map),
];

const PAGE: u64 = PAGE_SIZE as u64;

fn pages(range: core::ops::Range<u64>) -> impl Iterator<Item = u64> {
    range.step_by(PAGE_SIZE)
}

fn at(va: u64) -> Translation {
    mmu::translate(va).unwrap_or_else(|| panic!("{va:#x} is not mapped"))
}

/// The same frame by the linear map.
fn linear(of: &Translation) -> Translation {
    let found = at(LINEAR_BASE + of.pa.0);
    assert_eq!(found.pa, of.pa);
    found
}

/// BOOT-04: W^X over every entry there is, aliases included.
fn audit() {
    let found = mmu::audit();
    assert_eq!((found.findings, found.first), (0, None));
    let text = image::text();
    assert_eq!(found.executable, text.end - text.start, "only text can be executed");
    assert!(found.writable > 64 << 20, "{found:?}");
    assert!(found.mega_blocks > 0, "the linear map uses large blocks: {found:?}");
}

fn text() {
    for va in pages(image::text()) {
        let here = at(va);
        assert!(here.entry.is_kernel_executable() && !here.entry.is_writable(), "{va:#x}");
        let alias = linear(&here);
        assert!(!alias.entry.is_kernel_executable() && !alias.entry.is_writable(), "{va:#x}");
    }
}

fn constants() {
    for va in pages(image::rodata()) {
        for found in [at(va), linear(&at(va))] {
            assert!(!found.entry.is_kernel_executable() && !found.entry.is_writable(), "{va:#x}");
        }
    }
}

fn data() {
    // The boot's stack lies among it, and was given back; its guard was never mapped.
    let boot = image::boot_stack();
    for va in pages(image::rodata().end..boot.start - PAGE).chain(pages(boot.end..image::all().end))
    {
        for found in [at(va), linear(&at(va))] {
            assert!(!found.entry.is_kernel_executable() && found.entry.is_writable(), "{va:#x}");
        }
    }
}

/// BOOT-04: below a stack there is nothing.
fn guards() {
    for _ in 0..3 {
        let low = spawn(|_| sleep_ms(20), 0).task().stack_low();
        assert!(low > 0, "a task that was spawned has a stack of its own");
        assert!(pages(low..low + STACK_SIZE).all(|va| at(va).entry.is_writable()));
        assert!(pages(low - STACK_SIZE..low).all(|va| mmu::translate(va).is_none()), "{low:#x}");
    }
    crate::support::join_kernel_tasks();
}

/// BOOT-04: what is no memory, or must not be mapped, cannot be reached.
fn linear_map() {
    let tree = &machine().tree;
    let no_map = |pa: u64| {
        let mut marked = tree.reserved.iter().filter(|reserved| reserved.no_map);
        marked.any(|reserved| reserved.span.base <= pa && pa < reserved.span.end())
    };
    let mut left = machine().args.mem.unwrap_or(u64::MAX);
    for span in tree.memory.iter() {
        let used = span.base..span.base + span.size.min(left);
        left -= used.end - used.start;
        for pa in pages(span.base..span.end()) {
            let expected = used.contains(&pa) && !no_map(pa);
            assert_eq!(mmu::translate(LINEAR_BASE + pa).is_some(), expected, "{pa:#x}");
        }
        assert!(mmu::translate(LINEAR_BASE + span.base - PAGE).is_none());
        assert!(mmu::translate(LINEAR_BASE + span.end()).is_none());
    }
    let uart = tree.uarts.first().expect("a machine for tests has a UART").registers.base;
    assert!(mmu::translate(LINEAR_BASE + uart).is_none(), "registers are no memory");
    assert!(ramdisk::disk(DeviceId(0)).is_some(), "the RAM disk was part of what was looked at");
}

/// BOOT-03: it served the entry code only. An access there ends in `fatal`; here it is what
/// `AT` says, which asks the hardware.
fn identity_map() {
    let pa = at(image::text().start).pa.0;
    let result: u64;
    // SAFETY: it asks for a translation and reads the answer.
    unsafe {
        core::arch::asm!("at s1e1r, {}", "isb", "mrs {}, par_el1", in(reg) pa, out(reg) result,
                         options(nostack));
    }
    assert_eq!(result & 1, 1, "{pa:#x} is still mapped at its own address");
}
