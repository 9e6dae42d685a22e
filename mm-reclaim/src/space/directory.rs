//! From the name of an address space to the space.
//!
//! Data: one word for each place, allocated at boot. The upper half is a generation, incremented
//! when a space enters or leaves the place: odd while there is one, even while there is none. The
//! lower half is the space's handle, or the next vacant place plus one.
//!
//! Lock: that of the vacant places, to enter or leave; a lookup takes none. The words are never
//! freed, so a stale name finds another generation.

use crate::base::lock_order::TABLE;
use crate::base::sync::{AtomicU64, Lock, Ordering};
use crate::base::units::SpaceId;
use crate::env::Cpu;
use crate::space::SpaceHandle;

/// Names of address spaces.
pub(crate) struct Directory<'m, C: Cpu> {
    words: &'m [AtomicU64],
    /// The first vacant place plus one.
    vacant: Lock<C, u32, TABLE>,
}

const fn word(generation: u32, low: u32) -> u64 {
    (generation as u64) << 32 | low as u64
}

impl<'m, C: Cpu> Directory<'m, C> {
    /// Every place is vacant.
    pub(crate) fn new(words: &'m [AtomicU64]) -> Self {
        for (i, place) in words.iter().enumerate() {
            let next = if i + 1 < words.len() { i as u32 + 2 } else { 0 };
            place.store(word(0, next), Ordering::Relaxed);
        }
        Self { words, vacant: Lock::new(u32::from(!words.is_empty())) }
    }

    /// Gives the space with this handle a name, if a place is vacant.
    pub(crate) fn enter(&self, handle: SpaceHandle) -> Option<SpaceId> {
        let mut vacant = self.vacant.lock();
        let index = vacant.checked_sub(1)?;
        let place = &self.words[index as usize];
        let was = place.load(Ordering::Relaxed);
        *vacant = was as u32;
        let generation = ((was >> 32) as u32).wrapping_add(1);
        // Release pairs with the Acquire of `find`: the space is seen initialised.
        place.store(word(generation, handle.raw()), Ordering::Release);
        Some(SpaceId::new(index, generation))
    }

    /// Makes the name invalid.
    pub(crate) fn leave(&self, id: SpaceId) {
        let mut vacant = self.vacant.lock();
        let place = &self.words[id.index() as usize];
        debug_assert_eq!((place.load(Ordering::Relaxed) >> 32) as u32, id.generation());
        place.store(word(id.generation().wrapping_add(1), *vacant), Ordering::Relaxed);
        *vacant = id.index() + 1;
    }

    /// The handle of the space of that name, if there is one.
    #[inline(always)]
    pub(crate) fn find(&self, id: SpaceId) -> Option<SpaceHandle> {
        let word = self.words.get(id.index() as usize)?.load(Ordering::Acquire);
        // A name's generation is odd, so that a vacant place matches no name.
        if (word >> 32) as u32 != id.generation() {
            return None;
        }
        SpaceHandle::new(word as u32)
    }

    /// The names in use at this moment.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.words.iter().enumerate().filter_map(|(i, place)| {
            let generation = (place.load(Ordering::Acquire) >> 32) as u32;
            (generation & 1 != 0).then(|| SpaceId::new(i as u32, generation))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TestCpu;

    fn handle(raw: u32) -> SpaceHandle {
        SpaceHandle::new(raw).expect("not 0")
    }

    fn with_directory(places: usize, test: impl FnOnce(Directory<'_, TestCpu>)) {
        let words: Vec<_> = (0..places).map(|_| AtomicU64::new(0)).collect();
        test(Directory::new(&words));
    }

    #[test]
    fn a_name_finds_its_space_until_it_leaves() {
        with_directory(2, |directory| {
            let (a, b) = (directory.enter(handle(7)).unwrap(), directory.enter(handle(9)).unwrap());
            assert_eq!((directory.find(a), directory.find(b)), (Some(handle(7)), Some(handle(9))));
            assert_eq!(directory.enter(handle(11)), None);
            directory.leave(a);
            assert_eq!((directory.find(a), directory.find(b)), (None, Some(handle(9))));
            assert_eq!(directory.iter().collect::<Vec<_>>(), [b]);
        });
    }

    /// BUDY-12: the next space at the same place has another name.
    #[test]
    fn a_name_is_not_used_again() {
        with_directory(1, |directory| {
            let first = directory.enter(handle(7)).unwrap();
            directory.leave(first);
            let second = directory.enter(handle(7)).unwrap();
            assert_ne!(first, second);
            assert_eq!((directory.find(first), directory.find(second)), (None, Some(handle(7))));
        });
    }

    #[test]
    fn what_is_no_name_finds_nothing() {
        with_directory(2, |directory| {
            for bits in [0, 1, 1 << 32, 2 << 32, u64::MAX] {
                assert_eq!(directory.find(SpaceId::from_bits(bits)), None, "{bits:#x}");
            }
            let id = directory.enter(handle(3)).unwrap();
            assert_ne!(id.bits(), 0);
            assert_eq!(directory.find(SpaceId::from_bits(id.bits())), Some(handle(3)));
        });
    }
}
