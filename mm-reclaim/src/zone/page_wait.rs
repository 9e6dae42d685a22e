//! Waiting for a page: for its lock, and for the end of its write-back (PAGE-01).
//!
//! Data: one bit of the page's flags says that a task may be asleep; the key that sleepers share is
//! a bucket of the zone's hashed wait table. Locks: none. A sleeper sets the bit before each test
//! of what it waits for; the code that ends that state reads the bit afterwards, and wakes the
//! bucket if it was set.
//!
//! Counterpart in Linux: `folio_wait_table`, `lock_page`.

use super::Zones;
use crate::env::{Env, Tasks, WaitEnd, WaitMode};
use crate::page::{Page, PageFlags, PageLock, PageRef};

/// How tasks wait for a page.
const KILLABLE: WaitMode = WaitMode { timeout: None, killable: true };

impl<'m, E: Env> Zones<'m, E> {
    /// Releases the page lock and wakes its waiters.
    #[doc(alias = "unlock_page")]
    #[inline]
    pub(crate) fn unlock(&self, lock: PageLock<'m>) {
        if let Some(page) = lock.unlock() {
            self.wake_waiters(page);
        }
    }

    /// Wakes the sleepers for `page`, which test again.
    #[cold]
    pub(crate) fn wake_waiters(&self, page: &Page) {
        self.env.tasks().wake(self.of(page).wait_key(page));
    }

    /// Sleeps until the page lock is the caller's, or the caller is killed.
    ///
    /// # Errors
    /// The caller was killed.
    #[doc(alias = "lock_page_killable")]
    #[inline]
    pub(crate) fn lock_page(&self, held: &PageRef<'m>) -> Result<PageLock<'m>, WaitEnd> {
        #[cfg(debug_assertions)]
        self.env.tasks().might_sleep();
        match held.page().try_lock() {
            Some(lock) => Ok(lock),
            None => self.lock_page_slowly(held.page()),
        }
    }

    #[cold]
    fn lock_page_slowly(&self, page: &'m Page) -> Result<PageLock<'m>, WaitEnd> {
        let key = self.of(page).wait_key(page);
        let mut got = None;
        let end = self.env.tasks().wait_until(key, KILLABLE, &mut || {
            // Announced first: an unlock from now on either lets `try_lock` succeed or
            // finds WAITERS set and wakes.
            page.announce_waiter();
            got = page.try_lock();
            got.is_some()
        });
        got.ok_or(end)
    }

    /// Sleeps until the page lock is the caller's, killed or not: for those who must finish.
    pub(crate) fn lock_page_surely(&self, held: &PageRef<'m>) -> PageLock<'m> {
        loop {
            if let Some(lock) = held.page().try_lock() {
                return lock;
            }
            let (key, mut got) = (self.of(held.page()).wait_key(held.page()), None);
            let _: WaitEnd = self.env.tasks().wait_until(key, WaitMode::UNTIL_READY, &mut || {
                held.page().announce_waiter();
                got = held.page().try_lock();
                got.is_some()
            });
            if let Some(lock) = got {
                return lock;
            }
        }
    }

    /// Sleeps until the page is not under write-back, killed or not.
    pub(crate) fn wait_for_writeback_surely(&self, page: &'m Page) {
        while page.has(PageFlags::WRITEBACK) {
            let key = self.of(page).wait_key(page);
            let _: WaitEnd = self.env.tasks().wait_until(key, WaitMode::UNTIL_READY, &mut || {
                page.announce_waiter();
                !page.has(PageFlags::WRITEBACK)
            });
        }
    }

    /// Sleeps until the page is not under write-back, or the caller is killed.
    #[doc(alias = "folio_wait_writeback_killable")]
    #[cold]
    pub(crate) fn wait_on_page_writeback(&self, page: &'m Page) -> WaitEnd {
        let key = self.of(page).wait_key(page);
        self.env.tasks().wait_until(key, KILLABLE, &mut || {
            // Announced first, as for the page lock.
            page.announce_waiter();
            !page.has(PageFlags::WRITEBACK)
        })
    }
}
