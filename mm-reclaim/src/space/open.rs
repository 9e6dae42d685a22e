//! A space that is kept open: found without a look-up.
//!
//! Data: a pointer to the space, and one reference to the frame that it lies in. Owner: a task of
//! the space, which opens it before its first fault and closes it before the space is destroyed. If
//! it is destroyed first, the object stays one of an address space, without areas, until another
//! space takes its place: memory stays sound, but the task's faults are then that space's.

#![allow(unsafe_code, reason = "an environment keeps the pointer in a word of its own")]

use core::mem;
use core::ptr::NonNull;

use super::{SpaceError, SpaceId, SpaceOf, Spaces};
use crate::env::Env;

/// An address space that a task keeps open
/// ([`Mm::handle_fault_pinned`](crate::Mm::handle_fault_pinned)).
#[must_use = "it must be closed again"]
pub struct OpenSpace<'m, E: Env> {
    space: &'m SpaceOf<'m, E>,
}

impl<'m, E: Env> OpenSpace<'m, E> {
    /// The space.
    #[inline(always)]
    pub(crate) fn space(&self) -> &'m SpaceOf<'m, E> {
        self.space
    }

    /// As a word, for a field of a task.
    #[inline]
    pub fn into_raw(self) -> NonNull<()> {
        let raw = NonNull::from(self.space).cast();
        mem::forget(self);
        raw
    }

    /// Undoes [`OpenSpace::into_raw`].
    ///
    /// # Safety
    /// The word comes from `into_raw` of the same type, and is used for one value at a time; after
    /// the value was closed, for none.
    #[inline(always)]
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: the word was made from such a reference, and the space's frame is held until it is
        // closed.
        Self { space: unsafe { raw.cast().as_ref() } }
    }
}

impl<E: Env> Drop for OpenSpace<'_, E> {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        panic!("an open space was dropped, and is never closed");
    }
}

impl<'m, E: Env> Spaces<'m, E> {
    /// Opens the space of that name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn open(&self, id: SpaceId) -> Result<OpenSpace<'m, E>, SpaceError> {
        let held = self.hold(id).ok_or(SpaceError::NoSuchSpace)?;
        Ok(OpenSpace { space: held.keep() })
    }

    /// Closes an open space.
    pub(crate) fn close(&self, open: OpenSpace<'m, E>) {
        self.put_frame_of(open.space);
        mem::forget(open);
    }
}
