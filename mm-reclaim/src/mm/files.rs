//! Files: their pages in the cache.

use super::Mm;
use crate::base::units::FilePage;
use crate::cache::CacheError;
use crate::env::Env;
use crate::page::PageRef;

impl<'m, E: Env> Mm<'m, E> {
    /// The page at `at`, read in if it is not cached, and marked as used. To be released by
    /// [`Mm::put_page`].
    ///
    /// # Errors
    /// If there is no such page, or it could not be read, or memory ran out.
    #[doc(alias = "read_mapping_page")]
    pub fn read_cache_page(&self, at: FilePage) -> Result<PageRef<'m>, CacheError> {
        self.filemap.read_cache_page(at)
    }

    /// The contents of a page of a file were changed: the file's device does not have them.
    pub fn set_page_dirty(&self, held: &PageRef<'m>) {
        self.filemap.set_page_dirty(held);
    }

    /// Starts writing the page at `at` if it is cached and dirty; returns whether it did. Waits for
    /// a write that is under way.
    ///
    /// # Errors
    /// If the caller was killed.
    pub fn write_cache_page(&self, at: FilePage) -> Result<bool, CacheError> {
        self.filemap.write_cache_page(at)
    }

    /// Drops the page at `at`, dirty or not: the file was truncated or removed. Returns whether
    /// there was one. Waits for a write that is under way.
    ///
    /// # Errors
    /// If the caller was killed.
    #[doc(alias = "truncate_inode_pages")]
    pub fn drop_cache_page(&self, at: FilePage) -> Result<bool, CacheError> {
        self.filemap.drop_cache_page(at)
    }
}
