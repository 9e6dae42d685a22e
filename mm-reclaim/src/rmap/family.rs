//! From a page to its family, and to the lock of its tree.
//!
//! A page carries its family's handle even after the last area has left the family: then the handle
//! may name another family, or lie in a frame that is something else. So a walk
//!
//! 1. holds the frame that the handle lies in, which stays one of families from then on, or gives
//!    up;
//! 2. reads the family's root and holds its frame in the same way, usually the same one;
//! 3. takes the root's lock, and reads the family's root again.
//!
//! If it is the same, the family is in the tree whose lock is held, and does not change. If it is
//! not, the family was freed in between, which does not happen while an area is in it: so nothing
//! maps the page any more. `root` changes under the lock of the root that it names before or after,
//! so the second read is reliable.

use super::Rmap;
use crate::base::sync::Proof;
use crate::base::units::Pfn;
use crate::env::Env;
use crate::page::pool::{Handle, Pool};
use crate::page::{Page, PageRef};
use crate::space::{Area, Family, FamilyHandle, Spaces, TreeLock};

/// A frame of objects that is held, or none.
pub(super) struct Held<'m> {
    /// Its number; [`NOWHERE`] for none.
    pub(super) at: Pfn,
    frame: Option<PageRef<'m>>,
}

/// The number of no frame.
const NOWHERE: Pfn = Pfn(u32::MAX);

impl Held<'_> {
    const NONE: Self = Self { at: NOWHERE, frame: None };
}

/// The frames of families that a walk followed, held for the next one: the families of a batch of
/// pages usually lie in one frame. To be released by [`Rmap::let_go_families`].
pub(crate) struct FamilyFrames<'m> {
    family: Held<'m>,
    /// The root's, if it is in another frame; or that of a file.
    pub(super) root: Held<'m>,
}

impl FamilyFrames<'_> {
    /// No frame is held.
    pub(crate) const NONE: Self = Self { family: Held::NONE, root: Held::NONE };
}

/// A family whose tree is locked.
pub(crate) struct LockedFamily<'m, E: Env> {
    family: &'m Family<E::Cpu>,
    /// The root whose lock it is.
    root: FamilyHandle,
    tree: TreeLock<'m, E::Cpu>,
}

impl<'m, E: Env> LockedFamily<'m, E> {
    /// Its holder is not preempted.
    #[inline(always)]
    pub(super) fn proof(&self) -> Proof<'_> {
        self.tree.proof()
    }

    /// The areas that may map the family's pages.
    #[inline(always)]
    pub(crate) fn areas<'a>(
        &self,
        spaces: &'a Spaces<'m, E>,
    ) -> impl Iterator<Item = &'m Area> + use<'a, 'm, E> {
        debug_assert_eq!(self.family.root(), Some(self.root), "the lock of another tree is held");
        self.family.areas(&spaces.areas, &spaces.links)
    }
}

impl<'m, E: Env> Rmap<'m, E> {
    /// Runs `look` on the page's family, if it has one, under the lock of its tree.
    pub(crate) fn with_family(&self, page: &Page, look: impl FnOnce(&LockedFamily<'m, E>)) {
        let mut frames = FamilyFrames::NONE;
        if let Some(family) = self.lock_family(page, &mut frames) {
            look(&family);
        }
        self.let_go_families(frames);
    }

    /// The page's family, if it has one, with its tree locked; `frames` holds the frames that the
    /// lookup used from now on, and outlives the lock.
    #[inline(always)]
    pub(super) fn lock_family(
        &self,
        page: &Page,
        frames: &mut FamilyFrames<'m>,
    ) -> Option<LockedFamily<'m, E>> {
        let handle = FamilyHandle::new(page.owner())?;
        let there = self.spaces.families.frame_of(handle);
        if frames.family.at != there {
            self.hold_frame(&self.spaces.families, handle, &mut frames.family)?;
        }
        let family = self.spaces.families.at_held(handle);
        let root = family.root()?;
        let top = if root == handle { family } else { self.root_of(root, frames)? };
        let tree = top.lock_tree();
        // The recheck: from here on the answer is stable.
        (family.root() == Some(root)).then_some(LockedFamily { family, root, tree })
    }

    /// The root of the family that was followed last, in a held frame.
    #[inline(never)]
    fn root_of(
        &self,
        root: FamilyHandle,
        frames: &mut FamilyFrames<'m>,
    ) -> Option<&'m Family<E::Cpu>> {
        let frame = self.spaces.families.frame_of(root);
        if frame != frames.family.at && frame != frames.root.at {
            self.hold_frame(&self.spaces.families, root, &mut frames.root)?;
        }
        Some(self.spaces.families.at_held(root))
    }

    /// Holds the frame that a handle leads to, if it is one of the pool, in place of the one held
    /// before.
    #[cold]
    pub(super) fn hold_frame<T, const KIND: u32>(
        &self,
        pool: &Pool<'m, E::Cpu, T, KIND>,
        handle: Handle<KIND>,
        held: &mut Held<'m>,
    ) -> Option<()> {
        self.let_go_frame(held);
        match pool.hold(handle) {
            Ok(frame) => {
                *held = Held { at: pool.frame_of(handle), frame: Some(frame) };
                Some(())
            }
            Err(other) => {
                self.spaces.put_surplus(other);
                None
            }
        }
    }

    #[inline]
    fn let_go_frame(&self, held: &mut Held<'m>) {
        held.at = NOWHERE;
        if let Some(frame) = held.frame.take() {
            self.lru.put(frame);
        }
    }

    /// Releases the frames: no further walk uses them.
    #[inline]
    pub(crate) fn let_go_families(&self, mut frames: FamilyFrames<'m>) {
        self.let_go_frame(&mut frames.family);
        self.let_go_frame(&mut frames.root);
    }
}
