//! Translations that the processor may have cached are gone when they must be.
//!
//! These tests use tables of their own, with two frames and no areas, so that user addresses lead
//! to what the entries say and no fault handler repairs anything. The tables stay in use from one
//! check to the next, with preemption off: a switch away and back may make an emulator, or a
//! processor, drop by itself what had to be flushed.

use core::arch::asm;

use kernel::arch::cpu;
use kernel::arch::paging::{self, Tables};
use mm_reclaim::env::{Env, FrameMemory, Mapping, PageTables, Prot, Pte, TlbEntry};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, Pfn, Vpn};
use suite::Test;

use crate::support::{books, mm, nothing_leaked_since};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("tlb::another_frame_is_seen_at_once", || in_tables(another_frame)),
    Test::new("tlb::a_flushed_page_leads_to_the_new_frame", || in_tables(flushed_page)),
    Test::new("tlb::a_flushed_space_forgets_every_page", || in_tables(flushed_space)),
    Test::new("tlb::a_batch_of_any_length_is_flushed", || in_tables(batches)),
    Test::new("tlb::spaces_do_not_see_each_other", || in_tables(two_spaces)),
    Test::new("tlb::numbers_that_are_used_again_lead_nowhere_old", || in_tables(rollover)),
];

/// Tables, and two frames that hold the numbers 1 and 2.
struct Rig {
    tables: Tables,
    one: Pfn,
    two: Pfn,
}

fn frame() -> Pfn {
    mm().alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::ZERO).expect("a frame")
}

fn frame_with(number: u64) -> Pfn {
    let frame = frame();
    mm().env().frames().write(frame, 0, &number.to_le_bytes());
    frame
}

impl Rig {
    fn new() -> Self {
        let tables = mm().env().new_tables(frame());
        Self { tables, one: frame_with(1), two: frame_with(2) }
    }

    fn set(&mut self, vpn: Vpn, pfn: Pfn) {
        let mapping = Mapping { pfn, prot: Prot::READ, young: true, dirty: false };
        while self.tables.set(vpn, Pte::Present(mapping)).is_err() {
            assert_eq!(self.tables.install_table(vpn, frame()), None);
        }
    }

    /// What user mode would read at `vpn`.
    fn look(&self, vpn: Vpn) -> u64 {
        let (used, word): (u64, u64);
        // SAFETY: it only reads a register.
        unsafe { asm!("mrs {}, ttbr0_el1", out(reg) used, options(nomem, nostack)) };
        if used != self.tables.ttbr0() {
            paging::use_tables(self.tables.ttbr0());
        }
        // SAFETY: the tests map the page before they look.
        unsafe { asm!("ldtr {}, [{}]", out(reg) word, in(reg) vpn.addr(), options(nostack)) };
        word
    }

    fn release(mut self) {
        let mut from = Vpn(0);
        while let Some((vpn, _)) = self.tables.next_entry(from, Vpn(1 << 27)) {
            self.tables.replace(vpn, Pte::None);
            from = vpn;
        }
        mm().env().flush_tlb_space(self.tables.asid());
        self.tables.release(&mut |frame| mm().free_pages(frame, Order::ZERO));
        mm().free_pages(self.one, Order::ZERO);
        mm().free_pages(self.two, Order::ZERO);
    }
}

fn in_tables(check: fn(&mut Rig)) {
    let before = books();
    let mut rig = Rig::new();
    cpu::preempt_disable();
    check(&mut rig);
    paging::use_tables(paging::empty_tables());
    cpu::preempt_enable();
    rig.release();
    nothing_leaked_since(&before);
}

const PAGE: Vpn = Vpn(0x1234);

/// RMAP-06: an entry that changes its frame is broken first.
fn another_frame(rig: &mut Rig) {
    for _ in 0..50 {
        rig.set(PAGE, rig.one);
        assert_eq!(rig.look(PAGE), 1);
        let mapping = Mapping { pfn: rig.two, prot: Prot::READ, young: true, dirty: false };
        rig.tables.replace(PAGE, Pte::Present(mapping));
        assert_eq!(rig.look(PAGE), 2, "a stale translation after replace");
        rig.set(PAGE, rig.one);
        assert_eq!(rig.look(PAGE), 1, "a stale translation after set");
    }
}

/// RMAP-06: taken out, flushed, used for something else.
fn flushed_page(rig: &mut Rig) {
    let asid = rig.tables.asid();
    for round in 0..50 {
        let (now, next) = if round % 2 == 0 { (rig.one, rig.two) } else { (rig.two, rig.one) };
        rig.set(PAGE, now);
        let before = rig.look(PAGE);
        rig.tables.replace(PAGE, Pte::None);
        mm().env().flush_tlb(&[TlbEntry { asid, vpn: PAGE }]);
        rig.set(PAGE, next);
        assert_eq!(rig.look(PAGE), 3 - before, "a stale translation in round {round}");
    }
}

fn swap_all(rig: &mut Rig, pages: u32, flush: impl Fn(&Rig)) {
    let all = || (0..pages).map(|n| PAGE + n * 3);
    for vpn in all() {
        rig.set(vpn, rig.one);
        assert_eq!(rig.look(vpn), 1);
    }
    for vpn in all() {
        rig.tables.replace(vpn, Pte::None);
    }
    flush(rig);
    // Backwards: what was used last is what is still cached.
    for vpn in all().rev() {
        rig.set(vpn, rig.two);
        assert_eq!(rig.look(vpn), 2, "a stale translation of {vpn:?}, one of {pages}");
    }
    for vpn in all() {
        rig.tables.replace(vpn, Pte::None);
    }
    flush(rig);
}

fn flushed_space(rig: &mut Rig) {
    swap_all(rig, 100, |rig| mm().env().flush_tlb_space(rig.tables.asid()));
}

/// RMAP-06: page by page, and whole spaces from some length on.
fn batches(rig: &mut Rig) {
    const MOST: usize = 1024;
    for pages in [1, 2, 31, 511, 512, MOST] {
        swap_all(rig, pages as u32, |rig| {
            let asid = rig.tables.asid();
            let mut stale = [TlbEntry::default(); MOST];
            for (n, entry) in stale[..pages].iter_mut().enumerate() {
                *entry = TlbEntry { asid, vpn: PAGE + n as u32 * 3 };
            }
            mm().env().flush_tlb(&stale[..pages]);
        });
    }
}

fn two_spaces(rig: &mut Rig) {
    let mut other = Rig::new();
    rig.set(PAGE, rig.one);
    other.set(PAGE, other.two);
    for _ in 0..20 {
        assert_eq!(rig.look(PAGE), 1);
        assert_eq!(other.look(PAGE), 2);
    }
    other.release();
}

/// More spaces than there are numbers, one of them alive throughout.
fn rollover(rig: &mut Rig) {
    rig.set(PAGE, rig.one);
    let root = frame();
    let mut other = Rig::new();
    for n in 0..70_000_u32 {
        let mut tables = mm().env().new_tables(root);
        assert_ne!(tables.asid(), rig.tables.asid(), "space {n} got a number in use");
        tables.release(&mut |frame| assert_eq!(frame, root));
        if n % 5000 == 0 {
            other.release();
            other = Rig::new();
            other.set(PAGE, other.two);
            assert_eq!((rig.look(PAGE), other.look(PAGE)), (1, 2), "after {n} spaces");
        }
    }
    other.release();
    mm().free_pages(root, Order::ZERO);
}
