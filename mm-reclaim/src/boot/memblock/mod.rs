//! Physical memory before the page allocator exists: which addresses are memory, and which
//! of those are taken.
//!
//! **Data.** Three sets of address ranges, each a sorted table of disjoint regions:
//! what *is memory*, what is *reserved*, and what must *never be mapped*. They are
//! independent sets and not flags on one another, so every operation is plain set algebra:
//! a no-map mark outlives a later `add` of the memory below it, a reservation may name
//! addresses that are no memory, and the order in which a device tree lists things does not
//! matter. What is free is the difference, computed on demand and never stored.
//!
//! **Owner.** The boot CPU, through `&mut`. There is no lock, and
//! [`hand_over`](Memblock::hand_over) ends the life of the value.
//!
//! **Order.** Every operation first makes sure that its table has room for the result, then
//! changes it: an operation that fails has changed no set.
//!
//! **Growth.** The tables start in memory that the caller passes in ([`StaticTables`]). A full one
//! moves to a bigger place that memblock allocates from itself. Only the kernel knows whether
//! memory can be accessed (before the linear map exists it cannot), so the place is passed to
//! [`TableMemory`], which turns it into a slice or refuses. There are two complications: the new
//! place must be reserved too, so the reserved table grows first when it is full itself; and the
//! place must not overlap the range that the operation is about to reserve, remove or unmap.
//!
//! Left out on purpose: NUMA nodes, hot-plug and mirrored memory.
//!
//! Counterpart in Linux: `mm/memblock.c`, whose no-map mark is a flag of memory regions.
//!
//! ```
//! use mm_reclaim::memblock::{Direction, Memblock, Region, StaticTables, Unreachable};
//! use mm_reclaim::units::PhysAddr;
//!
//! let mut tables: StaticTables = StaticTables::new();
//! let mut memblock = Memblock::new(&mut tables, Unreachable);
//! memblock.add(Region::new(PhysAddr(0x4000_0000), 0x1000_0000)?)?;
//! memblock.reserve(Region::new(PhysAddr(0x4020_0000), 0x10_0000)?)?;
//! let page = memblock.alloc(0x1000, 0x1000, Region::ALL, Direction::TopDown)?;
//! assert_eq!(page.start, PhysAddr(0x4fff_f000));
//! # Ok::<(), mm_reclaim::memblock::MemblockError>(())
//! ```

mod error;
mod map;
mod region;
mod table;

use core::mem::{MaybeUninit, size_of};
use core::ops::Deref;

pub use error::{MemblockError, NoGrowth, Set};
pub use map::{MemoryMap, Minus};
pub use region::Region;
use table::Table;

use crate::base::units::{PAGE_SIZE, PhysAddr};

/// Entries of each table that memblock starts with, as in Linux.
pub const STATIC_REGIONS: usize = 128;

/// The memory that the tables start in; a kernel keeps it in a static.
pub struct StaticTables<const N: usize = STATIC_REGIONS> {
    slots: [[Region; N]; 3],
}

impl<const N: usize> StaticTables<N> {
    /// Empty tables.
    pub const fn new() -> Self {
        Self { slots: [[Region::EMPTY; N]; 3] }
    }
}

impl<const N: usize> Default for StaticTables<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// From which end [`Memblock::alloc`] looks for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The highest fitting address.
    TopDown,
    /// The lowest fitting address.
    BottomUp,
}

/// Turns physical memory into table slots, as far as the kernel can reach it.
///
/// A closure will do.
pub trait TableMemory<'a> {
    /// The slots in `at`, a page-aligned free range that memblock is about to reserve, or
    /// `None` if that memory cannot be reached. Slots beyond the range must not be given;
    /// fewer are a refusal.
    fn slots(&mut self, at: Region) -> Option<&'a mut [MaybeUninit<Region>]>;
}

impl<'a, F> TableMemory<'a> for F
where
    F: FnMut(Region) -> Option<&'a mut [MaybeUninit<Region>]>,
{
    fn slots(&mut self, at: Region) -> Option<&'a mut [MaybeUninit<Region>]> {
        self(at)
    }
}

/// The [`TableMemory`] of a kernel that cannot reach memory yet: it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Unreachable;

impl<'a> TableMemory<'a> for Unreachable {
    fn slots(&mut self, _at: Region) -> Option<&'a mut [MaybeUninit<Region>]> {
        None
    }
}

/// The boot-time memory map and allocator.
///
/// It dereferences to the [`MemoryMap`], whose iterators show the sets.
#[derive(Debug)]
pub struct Memblock<'a, T> {
    map: MemoryMap<'a>,
    growth: T,
}

impl<'a, T: TableMemory<'a>> Memblock<'a, T> {
    /// An empty map whose tables start in `tables`.
    pub fn new<const N: usize>(tables: &'a mut StaticTables<N>, growth: T) -> Self {
        let [memory, reserved, no_map] = &mut tables.slots;
        let map = MemoryMap {
            memory: Table::new(memory),
            reserved: Table::new(reserved),
            no_map: Table::new(no_map),
        };
        Self { map, growth }
    }

    /// Continues with another way of accessing memory, as when the linear map has been built.
    pub fn with_table_memory<U: TableMemory<'a>>(self, growth: U) -> Memblock<'a, U> {
        Memblock { map: self.map, growth }
    }

    /// Declares `region` to be memory; parts that are memory already stay so.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn add(&mut self, region: Region) -> Result<(), MemblockError> {
        self.insert(Set::Memory, region)
    }

    /// Takes `region` out of memory; its reservations and no-map marks stay.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`], when the hole splits a range.
    pub fn remove(&mut self, region: Region) -> Result<(), MemblockError> {
        self.delete(Set::Memory, region)
    }

    /// Reserves `region`, be it memory or not.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn reserve(&mut self, region: Region) -> Result<(), MemblockError> {
        self.insert(Set::Reserved, region)
    }

    /// Cancels a reservation, in whole or in part.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`], when the hole splits a range.
    pub fn free(&mut self, region: Region) -> Result<(), MemblockError> {
        self.delete(Set::Reserved, region)
    }

    /// Marks `region`: whatever of it is memory, now or later, is neither mapped nor
    /// allocated.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn mark_nomap(&mut self, region: Region) -> Result<(), MemblockError> {
        self.insert(Set::NoMap, region)
    }

    /// Reserves `size` free bytes, aligned to `align`, that lie `within` these bounds.
    ///
    /// # Errors
    /// [`MemblockError::BadRequest`], [`MemblockError::NoRoom`],
    /// [`MemblockError::TableFull`].
    pub fn alloc(
        &mut self,
        size: u64,
        align: u64,
        within: Region,
        direction: Direction,
    ) -> Result<Region, MemblockError> {
        let found = self.map.find(size, align, within, direction)?;
        self.reserve(found)?;
        Ok(found)
    }

    /// Like [`Memblock::alloc`], but the range stops being memory altogether, so that
    /// neither a zone nor a descriptor will cover it: the place for a RAM disk.
    ///
    /// # Errors
    /// As [`Memblock::alloc`].
    pub fn carve(
        &mut self,
        size: u64,
        align: u64,
        within: Region,
        direction: Direction,
    ) -> Result<Region, MemblockError> {
        let found = self.map.find(size, align, within, direction)?;
        self.remove(found)?;
        Ok(found)
    }

    /// Takes everything from `end` upwards out of memory.
    pub fn truncate(&mut self, end: PhysAddr) {
        // Cutting off an end splits no range, so the table always has room.
        self.map.memory.remove(Region { start: end, end: Region::ALL.end });
    }

    /// Trims the end so that at most `bytes` of memory remain (`mem=`).
    pub fn cap(&mut self, bytes: u64) {
        let mut left = bytes;
        for region in self.map.memory.regions() {
            if region.size() > left {
                let end = PhysAddr(region.start.0 + left);
                return self.truncate(end);
            }
            left -= region.size();
        }
    }

    /// Ends memblock's life: the page allocator takes over the [`MemoryMap`], which no
    /// longer changes (MEMB-05). Later use does not compile:
    ///
    /// ```compile_fail,E0382
    /// use mm_reclaim::memblock::{Memblock, Region, StaticTables, Unreachable};
    ///
    /// let mut tables: StaticTables = StaticTables::new();
    /// let mut memblock = Memblock::new(&mut tables, Unreachable);
    /// let map = memblock.hand_over();
    /// memblock.reserve(Region::ALL);
    /// ```
    #[must_use = "the map is what the page allocator starts from"]
    pub fn hand_over(self) -> MemoryMap<'a> {
        self.map
    }

    fn insert(&mut self, set: Set, region: Region) -> Result<(), MemblockError> {
        if region.is_empty() {
            return Ok(());
        }
        self.make_room(set, self.map.table(set).len_with(region), region)?;
        self.map.table_mut(set).insert(region);
        Ok(())
    }

    fn delete(&mut self, set: Set, region: Region) -> Result<(), MemblockError> {
        self.make_room(set, self.map.table(set).len_without(region), region)?;
        self.map.table_mut(set).remove(region);
        Ok(())
    }

    /// Makes sure that the table can hold `len` regions, without using `keep_off`.
    fn make_room(&mut self, set: Set, len: usize, keep_off: Region) -> Result<(), MemblockError> {
        if len <= self.map.table(set).capacity() {
            return Ok(());
        }
        // The new place costs the reserved table one entry, the old one's return another.
        let reserved = &self.map.reserved;
        if set != Set::Reserved && reserved.len() + 2 > reserved.capacity() {
            self.grow(Set::Reserved, reserved.len() + 2, keep_off)?;
        }
        self.grow(set, len + 2, keep_off)
    }

    /// Moves a table to a place with room for at least `len` regions.
    fn grow(&mut self, set: Set, len: usize, keep_off: Region) -> Result<(), MemblockError> {
        let capacity = self.map.table(set).capacity();
        let wanted = len.max(2 * capacity);
        let bytes = (wanted * size_of::<Region>()).next_multiple_of(PAGE_SIZE) as u64;
        let (place, slots) = self
            .take_place(bytes, keep_off)
            .map_err(|why| MemblockError::TableFull { set, capacity, why })?;
        let old = self.map.table_mut(set).move_to(slots, place);
        self.map.reserved.insert(place);
        if let Some(old) = old {
            self.map.reserved.remove(old);
        }
        Ok(())
    }

    /// A free place of `bytes` that the kernel can reach, the highest one.
    fn take_place(
        &mut self,
        bytes: u64,
        keep_off: Region,
    ) -> Result<(Region, &'a mut [MaybeUninit<Region>]), NoGrowth> {
        let mut why = NoGrowth::NoRange { bytes };
        let slots_wanted = bytes as usize / size_of::<Region>();
        for range in self.map.free_ranges_off(&keep_off).rev() {
            let Some(at) = range.fit(bytes, PAGE_SIZE as u64, Direction::TopDown) else {
                continue;
            };
            match self.growth.slots(at) {
                Some(slots) if slots.len() >= slots_wanted => return Ok((at, slots)),
                _ => why = NoGrowth::Refused { at },
            }
        }
        Err(why)
    }
}

impl<'a, T> Deref for Memblock<'a, T> {
    type Target = MemoryMap<'a>;
    fn deref(&self) -> &MemoryMap<'a> {
        &self.map
    }
}
