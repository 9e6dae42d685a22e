//! Objects that live in frames: areas, families, links, address spaces.
//!
//! Data: a *chunk* is one frame of the page allocator, cut into slots of one object type. Its
//! first slot's place holds a head: the free slots, how many are used, and the neighbours
//! among the chunks with room. An object is named by a 32-bit handle: its place in memory,
//! counted in lines of 64 bytes from the first frame of the memory map. Line 0 always belongs to a
//! head, so that 0 means none.
//!
//! ```text
//!   frame:  [ head | object | object | object | ... ]      handle = address / 64
//! ```
//!
//! Owner: the pool owns its chunks, each with one reference to its frame, and the caller that took
//! an object owns it until it returns it. Chunks come from the page allocator when an operation
//! needs an object and none is free: `mmap`, `fork` and a first touch, never reclaim. Empty chunks
//! are freed, except for one that is kept as a spare.
//!
//! Lock: the pool's own, which nests inside every other lock. Objects are atomics and locks.
//!
//! # Handles that outlive their object
//!
//! Objects are neither moved nor dropped. Code that reaches one under a lock that its owner takes
//! before returning it (an area's index, a family's list) knows that it is valid. A page
//! descriptor, however, keeps its family's handle after the last mapping is gone. Code that follows
//! such a handle first takes a reference to the frame it lies in ([`Pool::hold`]): a frame that is
//! a chunk of this pool stays one while the reference is held, and its slots hold only objects of
//! this type. The slot may hold another object by then, so the caller checks what it finds. The
//! reference to a frame that is no longer such a chunk is dropped.
//!
//! Freeing a chunk clears the descriptor's mark before it drops the pool's reference, and `hold`
//! reads the mark after taking its own. At least one of the two therefore sees the other.

#![allow(unsafe_code, reason = "makes typed objects out of the bytes of a frame")]

mod handle;

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::base::lock_order::TABLE;
use crate::base::sync::{AtomicU32, Lock, Ordering};
use crate::base::units::{PAGE_SIZE, Pfn};
use crate::env::Cpu;
use crate::page::PageRef;
use crate::page::memmap::MemMap;

pub use handle::Handle;
pub(crate) use handle::HandleCell;

/// The kinds of chunks: which objects a pool holds.
pub(crate) mod kind {
    /// Areas of address spaces.
    pub(crate) const AREA: u32 = 1;
    /// Families of areas.
    pub(crate) const FAMILY: u32 = 2;
    /// Address spaces.
    pub(crate) const SPACE: u32 = 3;
    /// Links of areas to families.
    pub(crate) const LINK: u32 = 4;
    /// Files.
    pub(crate) const FILE: u32 = 5;
    /// Nodes of files' indices.
    pub(crate) const NODE: u32 = 6;
}

/// The unit of handles, in bytes.
const LINE: usize = 64;
/// Lines in a frame.
const LINES: u32 = (PAGE_SIZE / LINE) as u32;
/// The most frames that handles can reach: 256 GiB.
pub(crate) const MOST_FRAMES: u32 = 1 << 26;

/// The linear map of the environment, as handles count it.
#[derive(Clone, Copy)]
pub(crate) struct Window<'m> {
    base: NonNull<u8>,
    memory: PhantomData<&'m ()>,
}

// SAFETY: a window is only an address; `at` is what accesses memory through it.
unsafe impl Send for Window<'_> {}
// SAFETY: as above.
unsafe impl Sync for Window<'_> {}

impl<'m> Window<'m> {
    /// `base` is the address of the first frame of the memory map.
    pub(crate) fn new(base: NonNull<u8>) -> Self {
        Self { base, memory: PhantomData }
    }

    #[inline(always)]
    fn line(self, line: u32) -> NonNull<u8> {
        // Wrapping, so that a wrong handle is not undefined behaviour by itself.
        let address = self.base.as_ptr().wrapping_add(line as usize * LINE);
        // SAFETY: the linear map does not wrap around the address space (FrameMemory).
        unsafe { NonNull::new_unchecked(address) }
    }

    /// The object of type `T` that `handle` names.
    ///
    /// # Safety
    /// The handle names an object of this type, in a chunk that stays one for as long as the
    /// reference is used.
    #[inline(always)]
    pub(crate) unsafe fn at<T, const KIND: u32>(self, handle: Handle<KIND>) -> &'m T {
        let slot = self.line(handle.raw()).cast::<Slot<T>>();
        // SAFETY: the caller's promise; slots are aligned to lines.
        let slot = unsafe { slot.as_ref() };
        &slot.value
    }

    /// The handle of an object in a chunk.
    #[inline(always)]
    pub(crate) fn handle_of<T, const KIND: u32>(self, object: &T) -> Handle<KIND> {
        let offset = (object as *const T).addr() - self.base.as_ptr().addr();
        Handle::of_line((offset / LINE) as u32)
    }
}

/// An object, with a link for the list of free slots.
#[repr(C)]
struct Slot<T> {
    value: T,
    /// The next free slot's handle, while this one is free.
    next_free: AtomicU32,
}

/// What a chunk begins with. All of it is guarded by the pool's lock.
#[repr(C)]
struct Head {
    /// The first free slot's handle; 0 if every slot is used.
    first_free: AtomicU32,
    used: AtomicU32,
    /// Neighbours among the chunks with free and used slots, by name.
    next: AtomicU32,
    prev: AtomicU32,
}

fn get(field: &AtomicU32) -> u32 {
    field.load(Ordering::Relaxed)
}

fn put(field: &AtomicU32, value: u32) {
    field.store(value, Ordering::Relaxed);
}

/// The chunks that have free slots. A chunk's name is its first line plus one.
struct Chunks {
    /// The first of those that have used slots, too.
    partial: u32,
    /// One that has none.
    spare: u32,
    /// All chunks.
    count: u32,
    /// Objects in use.
    used: u32,
}

/// Objects of type `T`; `KIND` distinguishes the chunks of the machine's pools.
pub(crate) struct Pool<'m, C: Cpu, T, const KIND: u32> {
    window: Window<'m>,
    map: MemMap<'m>,
    chunks: Lock<C, Chunks, TABLE>,
    objects: PhantomData<&'m T>,
}

impl<'m, C: Cpu, T, const KIND: u32> Pool<'m, C, T, KIND> {
    /// Lines that a slot takes.
    const STEP: u32 = size_of::<Slot<T>>().div_ceil(LINE) as u32;
    /// Objects in a chunk.
    pub(crate) const CAPACITY: u32 = (LINES - 1) / Self::STEP;
    const FITS: () = assert!(Self::CAPACITY > 0 && align_of::<Slot<T>>() <= LINE);

    /// A pool without chunks, whose frames `map` describes.
    pub(crate) fn new(map: MemMap<'m>, window: Window<'m>) -> Self {
        const { Self::FITS };
        let none = Chunks { partial: 0, spare: 0, count: 0, used: 0 };
        Self { window, map, chunks: Lock::new(none), objects: PhantomData }
    }

    fn head(&self, chunk: u32) -> &'m Head {
        // SAFETY: the lists of chunks hold heads of this pool's chunks, which are not freed while
        // the lock is held; `add_chunk` has initialised each.
        unsafe { self.window.line(chunk - 1).cast::<Head>().as_ref() }
    }

    fn slot(&self, line: u32) -> &'m Slot<T> {
        // SAFETY: the callers hold the pool's lock and a handle of one of its slots.
        unsafe { self.window.line(line).cast::<Slot<T>>().as_ref() }
    }

    /// Makes a chunk of `frame`, whose only reference is `page`: its objects are `blank`. Returns
    /// the reference, for the caller to put, if another task has added a chunk first.
    #[must_use = "a frame that is not put is lost"]
    pub(crate) fn add_chunk(
        &self,
        frame: Pfn,
        page: PageRef<'m>,
        blank: impl Fn() -> T,
    ) -> Option<PageRef<'m>> {
        let first = (frame - self.map.base()) * LINES;
        for i in 0..Self::CAPACITY {
            let handle = first + 1 + i * Self::STEP;
            let next = if i + 1 < Self::CAPACITY { handle + Self::STEP } else { 0 };
            let slot = Slot { value: blank(), next_free: AtomicU32::new(next) };
            // SAFETY: the frame is exclusively the caller's, and the slot lies in it, aligned.
            unsafe { self.window.line(handle).cast::<Slot<T>>().write(slot) };
        }
        let head = Head {
            first_free: AtomicU32::new(first + 1),
            used: AtomicU32::new(0),
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
        };
        // SAFETY: as above; no slot begins before the head's end.
        unsafe { self.window.line(first).cast::<Head>().write(head) };
        page.leak().mark_table(KIND);
        let mut chunks = self.chunks.lock();
        chunks.count += 1;
        if chunks.spare != 0 {
            return Some(self.dissolve(&mut chunks, first + 1));
        }
        chunks.spare = first + 1;
        None
    }

    /// Adds a chunk to those with room.
    fn link(&self, chunks: &mut Chunks, chunk: u32) {
        let head = self.head(chunk);
        put(&head.next, chunks.partial);
        put(&head.prev, 0);
        if chunks.partial != 0 {
            put(&self.head(chunks.partial).prev, chunk);
        }
        chunks.partial = chunk;
    }

    fn unlink(&self, chunks: &mut Chunks, chunk: u32) {
        let head = self.head(chunk);
        let (next, prev) = (get(&head.next), get(&head.prev));
        match prev {
            0 => chunks.partial = next,
            _ => put(&self.head(prev).next, next),
        }
        if next != 0 {
            put(&self.head(next).prev, prev);
        }
    }

    /// Takes an object, which is as its last owner left it; `None` if the pool needs a chunk.
    pub(crate) fn take(&self) -> Option<(Handle<KIND>, &'m T)> {
        let mut chunks = self.chunks.lock();
        if chunks.partial == 0 && chunks.spare != 0 {
            let spare = core::mem::take(&mut chunks.spare);
            self.link(&mut chunks, spare);
        }
        if chunks.partial == 0 {
            return None;
        }
        let chunk = chunks.partial;
        let head = self.head(chunk);
        let line = get(&head.first_free);
        let slot = self.slot(line);
        put(&head.first_free, get(&slot.next_free));
        put(&head.used, get(&head.used) + 1);
        if get(&head.first_free) == 0 {
            self.unlink(&mut chunks, chunk);
        }
        chunks.used += 1;
        Some((Handle::of_line(line), &slot.value))
    }

    /// Returns an object to the pool. Returns the reference to its frame, for the caller to put, if
    /// the chunk is no longer needed.
    #[must_use = "a frame that is not put is lost"]
    pub(crate) fn give(&self, handle: Handle<KIND>) -> Option<PageRef<'m>> {
        let line = handle.raw();
        let chunk = line / LINES * LINES + 1;
        let mut chunks = self.chunks.lock();
        let head = self.head(chunk);
        let was_full = get(&head.first_free) == 0;
        put(&self.slot(line).next_free, get(&head.first_free));
        put(&head.first_free, line);
        put(&head.used, get(&head.used) - 1);
        chunks.used -= 1;
        if get(&head.used) > 0 {
            if was_full {
                self.link(&mut chunks, chunk);
            }
            return None;
        }
        if !was_full {
            self.unlink(&mut chunks, chunk);
        }
        if chunks.spare == 0 {
            chunks.spare = chunk;
            return None;
        }
        Some(self.dissolve(&mut chunks, chunk))
    }

    /// The spare chunk's reference, for the caller to put.
    #[must_use = "a frame that is not put is lost"]
    pub(crate) fn trim(&self) -> Option<PageRef<'m>> {
        let mut chunks = self.chunks.lock();
        let spare = core::mem::take(&mut chunks.spare);
        (spare != 0).then(|| self.dissolve(&mut chunks, spare))
    }

    fn dissolve(&self, chunks: &mut Chunks, chunk: u32) -> PageRef<'m> {
        chunks.count -= 1;
        let page = self.map.page(self.frame_at(chunk));
        page.clear_table();
        PageRef::adopt(page)
    }

    #[inline(always)]
    fn frame_at(&self, line: u32) -> Pfn {
        self.map.base() + line / LINES
    }

    /// The frame that `handle` leads to.
    #[inline(always)]
    pub(crate) fn frame_of(&self, handle: Handle<KIND>) -> Pfn {
        self.frame_at(handle.raw())
    }

    /// A reference to the frame in which `handle` may name an object; see the module's head.
    ///
    /// # Errors
    /// The reference, for the caller to put, if the frame is no chunk of this pool; none if it
    /// is free.
    #[inline]
    pub(crate) fn hold(&self, handle: Handle<KIND>) -> Result<PageRef<'m>, Option<PageRef<'m>>> {
        let page = self.map.get(self.frame_of(handle)).ok_or(None)?;
        let held = page.get_unless_zero().ok_or(None)?;
        if page.is_table(KIND) { Ok(held) } else { Err(Some(held)) }
    }

    /// The object that lies where `handle` leads, for the holder of its frame
    /// ([`Pool::hold`]). The pool may be freeing the frame by now: its slots still hold objects.
    #[inline(always)]
    pub(crate) fn at_held(&self, handle: Handle<KIND>) -> &'m T {
        debug_assert!(self.map.page(self.frame_of(handle)).refs() > 0, "the frame is not held");
        // SAFETY: the frame was a chunk of this pool when it was held, and while it is held
        // nothing else is made of it.
        unsafe { self.window.at(handle) }
    }

    /// The object that `handle` names, for a caller that knows it to be valid: its owner, or the
    /// holder of a lock that its owner takes before returning it.
    #[inline(always)]
    pub(crate) fn at(&self, handle: Handle<KIND>) -> &'m T {
        debug_assert!(
            self.map.page(self.frame_of(handle)).is_table(KIND),
            "{handle:?} names nothing"
        );
        // SAFETY: by the rule above, the frame is a chunk of this pool and stays one.
        unsafe { self.window.at(handle) }
    }

    /// The handle of one of the pool's objects.
    #[inline(always)]
    pub(crate) fn handle_of(&self, object: &T) -> Handle<KIND> {
        self.window.handle_of(object)
    }

    /// Objects in use, and frames that the pool owns.
    pub(crate) fn usage(&self) -> (u32, u32) {
        let chunks = self.chunks.lock();
        (chunks.used, chunks.count)
    }
}

#[cfg(test)]
pub(crate) mod tests;
