//! Tokens: what each conversion returns, and that none can be dropped.

use super::super::{Page, PageFlags};
use super::{FrozenPage, IsolatedPage, LockedPage};
use crate::base::sync::NoPreempt;
use crate::tests::{TestCpu, panic_of};

/// A page in use, isolated, with so many references.
fn isolated_page(refs: u32) -> Page {
    let page = Page::reserved(1, true);
    page.unreserve();
    page.own();
    page.enter_lru();
    page.enter_isolation();
    for _ in 1..refs {
        page.get().leak();
    }
    page
}

fn locked(page: &Page) -> LockedPage<'_> {
    match IsolatedPage::adopt(page).try_lock() {
        Ok(locked) => locked,
        Err(_) => panic!("the lock of {page:?} is free"),
    }
}

fn whole() -> NoPreempt<TestCpu> {
    NoPreempt::new()
}

fn give_up(page: LockedPage<'_>) {
    let (isolated, lock) = page.split();
    isolated.leak();
    lock.unlock();
}

fn assert_bomb(what: &str, page: &Page, drop_it: impl FnOnce()) {
    let said = panic_of(drop_it);
    assert_eq!(said, std::format!("a token was dropped: {what} of {page:?}"));
}

#[test]
fn a_dropped_token_panics_with_its_page() {
    let page = isolated_page(2);
    assert_bomb("reference", &page, || drop(super::PageRef::adopt(&page)));
    assert_bomb("isolation", &page, || drop(IsolatedPage::adopt(&page)));
    let lock = page.try_lock().expect("free");
    assert_bomb("lock", &page, || drop(lock));
    assert!(page.has(PageFlags::LOCKED), "a lost lock stays held");
}

#[test]
#[should_panic(expected = "a token was dropped: reference of Page {")]
fn a_dropped_reference_stops_the_test_that_drops_it() {
    let page = isolated_page(1);
    drop(page.get());
}

#[test]
fn a_dropped_frozen_page_panics_with_its_page() {
    let page = isolated_page(1);
    assert!(page.freeze(1));
    assert_bomb("frozen page", &page, || drop(FrozenPage::after_last_put(&page)));
}

/// The first right's bomb reports both rights; the second one does not panic again.
#[test]
fn a_dropped_locked_page_panics_once() {
    let page = isolated_page(1);
    let token = locked(&page);
    assert_bomb("isolation", &page, || drop(token));
}

/// SPL-01: a page whose lock is held elsewhere is returned unchanged.
#[test]
fn locking_a_locked_page_gives_the_isolation_back() {
    let page = isolated_page(1);
    let elsewhere = page.try_lock().expect("free");
    let Err(isolated) = IsolatedPage::adopt(&page).try_lock() else {
        panic!("two holders of one page lock")
    };
    assert!(core::ptr::eq(isolated.page(), &raw const page));
    elsewhere.unlock();
    let Ok(token) = isolated.try_lock() else { panic!("the lock is free now") };
    assert!(page.has(PageFlags::LOCKED | PageFlags::ISOLATED));
    give_up(token);
    assert_eq!((page.refs(), page.has(PageFlags::LOCKED)), (1, false));
}

/// SPL-16: exactly the expected references, or none are taken.
#[test]
fn freezing_at_another_count_gives_the_token_back() {
    let page = isolated_page(3);
    let mut token = locked(&page);
    for wrong in [1, 2, 4] {
        token = match token.freeze(wrong, &whole()) {
            Err(token) => token,
            Ok(frozen) => {
                frozen.leak();
                panic!("frozen at {wrong} of 3 references")
            }
        };
        assert_eq!(page.refs(), 3);
    }
    let Ok(frozen) = token.freeze(3, &whole()) else { panic!("three references were expected") };
    assert!(page.get_unless_zero().is_none());
    frozen.leak();
}

/// SPL-16: a freeze that turns out to be wrong is undone, lock and isolation with it.
#[test]
fn a_thawed_page_is_as_it_was() {
    let page = isolated_page(2);
    let before = page.flags() | PageFlags::LOCKED;
    let Ok(frozen) = locked(&page).freeze(2, &whole()) else {
        panic!("two references were expected")
    };
    assert_eq!(page.refs(), 0);
    let token = frozen.thaw(2);
    assert_eq!((page.refs(), page.flags()), (2, before));
    give_up(token);
}

/// SPL-18: a page that is about to be freed is neither locked nor isolated.
#[test]
fn a_settled_page_can_be_freed() {
    let page = isolated_page(2);
    page.set_dirty();
    let Ok(frozen) = locked(&page).freeze(2, &whole()) else {
        panic!("two references were expected")
    };
    let page = frozen.settle().leak();
    assert_eq!((page.flags(), page.zone_index()), (PageFlags::empty(), 1));
    assert!(page.prepare_free());
}
