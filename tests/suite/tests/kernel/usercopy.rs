//! User memory from the kernel: faults are handled, bad pointers are errors.

use core::arch::asm;

use kernel::arch::paging::USER_END;
use kernel::arch::usercopy::{Fault, copy_from_user, copy_to_user, put_words, string_from_user};
use mm_reclaim::env::Prot;
use mm_reclaim::mmap::Advice;
use suite::Test;

use crate::support::{READ_WRITE, map, mm, own_space, with_space};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("usercopy::bad_pointers_are_errors", || with_space(bad_pointers, 0)),
    Test::new("usercopy::a_task_without_memory_has_no_pointers", no_space),
    Test::new("usercopy::any_length_at_any_place_is_copied", || with_space(lengths, 0)),
    Test::new("usercopy::a_copy_brings_its_pages_in", || with_space(fault_in, 0)),
    Test::new("usercopy::a_copy_brings_swapped_pages_back", || with_space(swap_in, 0)),
    Test::new("usercopy::a_copy_stops_where_memory_ends", || with_space(end_of_area, 0)),
    Test::new("usercopy::read_only_memory_is_not_written", || with_space(read_only, 0)),
    Test::new("usercopy::strings_end_at_their_zero", || with_space(strings, 0)),
    Test::fatal(
        "usercopy::an_ordinary_load_of_user_memory_ends_the_run",
        "data abort in the kernel (class 0x25): permission fault on a read, level 3",
        || with_space(ordinary_load, 0),
    )
    .only_if(has_pan),
];

fn bad_pointers(_: usize) -> i32 {
    let kernel = boot::image::rodata().start;
    let bad = [0, 8, 0xffff, USER_END, USER_END - 4, 1 << 47, u64::MAX - 3, 1 << 63, kernel];
    for address in bad {
        let mut bytes = [0xaa; 16];
        assert_eq!(copy_from_user(&mut bytes, address), Err(Fault), "from {address:#x}");
        assert_eq!(copy_to_user(address, &bytes), Err(Fault), "to {address:#x}");
        assert_eq!(put_words(address, &[1]), Err(Fault), "words to {address:#x}");
        assert_eq!(string_from_user(&mut bytes, address), Err(Fault), "string {address:#x}");
        assert_eq!(copy_from_user(&mut [], address), Ok(()), "nothing from {address:#x}");
    }
    0
}

/// A kernel task, such as the one that runs this.
fn no_space() {
    let mut bytes = [0; 8];
    for address in [0, 0x1_0000, USER_END - 8] {
        assert_eq!(copy_from_user(&mut bytes, address), Err(Fault), "{address:#x}");
        assert_eq!(copy_to_user(address, &bytes), Err(Fault), "{address:#x}");
    }
}

fn lengths(_: usize) -> i32 {
    let base = map(2, READ_WRITE).start.addr();
    let source: [u8; 80] = core::array::from_fn(|i| i as u8 + 1);
    for length in 0..=source.len() {
        for place in [0, 1, 7, 4096 - 40, 4096 - 8, 4095] {
            let at = base + place as u64;
            copy_to_user(at, &[0; 80]).expect("writable");
            copy_to_user(at, &source[..length]).expect("writable");
            let mut found = [0xff; 80];
            copy_from_user(&mut found, at).expect("readable");
            assert_eq!(found[..length], source[..length], "{length} bytes at {place}");
            assert!(found[length..].iter().all(|byte| *byte == 0), "{length} bytes at {place}");
        }
    }
    0
}

fn fault_in(_: usize) -> i32 {
    let pages = map(16, READ_WRITE);
    let mut bytes = [1; 64];
    for page in 0..15 {
        let at = (pages.start + page).addr() + 4096 - 32;
        copy_from_user(&mut bytes, at).expect("readable");
        assert_eq!(bytes, [0; 64]);
        copy_to_user(at, &[page as u8; 64]).expect("writable");
    }
    assert_eq!(mm().space_stat(own_space()).resident, 16);
    0
}

fn swap_in(_: usize) -> i32 {
    let pages = map(32, READ_WRITE);
    for page in 0..32 {
        copy_to_user((pages.start + page).addr() + 100, &[page as u8; 300]).expect("writable");
    }
    let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
    for page in (0..32).rev() {
        let mut bytes = [0; 300];
        copy_from_user(&mut bytes, (pages.start + page).addr() + 100).expect("readable");
        assert_eq!(bytes, [page as u8; 300]);
    }
    0
}

fn end_of_area(_: usize) -> i32 {
    let pages = map(2, READ_WRITE);
    mm().munmap(own_space(), pages.start + 1..pages.end).expect("it is mapped");
    let at = pages.start.addr() + 4096 - 24;
    let mut bytes = [0; 48];
    assert_eq!(copy_to_user(at, &[9; 48]), Err(Fault));
    assert_eq!(copy_from_user(&mut bytes, at), Err(Fault));
    copy_from_user(&mut bytes[..24], at).expect("this part is there");
    assert_eq!(bytes[..24], [9; 24], "what fits was written");
    0
}

fn read_only(_: usize) -> i32 {
    let page = map(1, READ_WRITE);
    let at = page.start.addr();
    copy_to_user(at, &[5; 8]).expect("writable");
    mm().mprotect(own_space(), page, Prot::READ).expect("it is mapped");
    assert_eq!(copy_to_user(at, &[6; 8]), Err(Fault));
    let mut bytes = [0; 8];
    copy_from_user(&mut bytes, at).expect("readable");
    assert_eq!(bytes, [5; 8]);
    0
}

fn strings(_: usize) -> i32 {
    let at = map(2, READ_WRITE).start.addr() + 4096 - 3;
    copy_to_user(at, b"across\0more").expect("writable");
    let mut text = [0xff; 16];
    assert_eq!(string_from_user(&mut text, at), Ok(6));
    assert_eq!(&text[..6], b"across");
    assert_eq!(string_from_user(&mut text[..3], at), Ok(3), "cut");
    0
}

/// ID_AA64MMFR1_EL1 offers PAN.
fn has_pan() -> bool {
    let features: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features, options(nomem, nostack)) };
    (features >> 20) & 0xf != 0
}

/// User memory cannot be accessed by other instructions than this module's.
fn ordinary_load(_: usize) -> i32 {
    let at = map(1, READ_WRITE).start.addr();
    copy_to_user(at, &[1; 8]).expect("writable");
    // SAFETY: the page is mapped; where the processor lets the kernel in, the load is harmless.
    unsafe { asm!("ldr {0}, [{0}]", inout(reg) at => _, options(nostack, readonly)) };
    0
}
