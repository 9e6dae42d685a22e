//! The translation tables of one address space: three levels of 512 words in frames.
//!
//! The tables really live in the machine's memory, so their frames are counted truthfully,
//! and a table that is freed too early or written through a stray pointer shows.
//!
//! A word is one of
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | nothing |
//! | bit 63, value from bit 1 | the crate's 32 bits (a swap entry) |
//! | bits 0 and 1, frame from bit 12 | the next table |
//! | bit 0, rights, young, dirty, frame from bit 12 | a mapping |

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::{Asid, Cpu, EntryAt, Mapping, NoTable, PageTables, Prot, Pte, TlbEntry};
use mm_reclaim::units::{PAGE_SIZE, Pfn, Vpn};

use crate::arena::WORDS;
use crate::current::SimCpu;
use crate::mmu::Line;
use crate::world::World;

/// The binary logarithm of [`WORDS`]: the bits of a page number that one level takes.
const LEVEL_BITS: u32 = WORDS.trailing_zeros();
/// Levels of tables; the root is the last one.
const LEVELS: u32 = 3;

const VALID: u64 = 1;
const TABLE: u64 = 2;
const PROT_SHIFT: u32 = 2;
const PROT: u64 = 7 << PROT_SHIFT;
const YOUNG: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const FRAME_SHIFT: u32 = 12;
const FRAME: u64 = 0xffff_ffff << FRAME_SHIFT;
const SWAP: u64 = 1 << 63;

/// What a program does with an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Loads a word.
    Load,
    /// Stores a word.
    Store(u64),
    /// Fetches an instruction word.
    Fetch,
}

impl Touch {
    const fn needs(self) -> Prot {
        match self {
            Self::Load => Prot::READ,
            Self::Store(_) => Prot::WRITE,
            Self::Fetch => Prot::EXEC,
        }
    }

    /// Whether the access is a store.
    pub const fn is_store(self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// The access did not happen: the kernel must look at the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// The tables of one address space.
#[derive(Debug)]
pub struct SoftTables<'w> {
    world: &'w World,
    root: Pfn,
    asid: Asid,
    frames: u32,
}

fn encode(pte: Pte) -> u64 {
    match pte {
        Pte::None => 0,
        Pte::NotPresent(value) => SWAP | u64::from(value) << 1,
        Pte::Present(m) => {
            let flags = (u64::from(m.young) * YOUNG) | (u64::from(m.dirty) * DIRTY);
            let prot = u64::from(m.prot.bits()) << PROT_SHIFT;
            VALID | prot | flags | u64::from(m.pfn.0) << FRAME_SHIFT
        }
    }
}

fn decode(word: u64) -> Pte {
    if word == 0 {
        return Pte::None;
    }
    if word & SWAP != 0 {
        assert_eq!(word & !(SWAP | 0x1_ffff_fffe), 0, "{word:#x} is no entry");
        return Pte::NotPresent((word >> 1) as u32);
    }
    assert_eq!(word & !(FRAME | PROT | YOUNG | DIRTY), VALID, "{word:#x} is no entry");
    Pte::Present(Mapping {
        pfn: frame_of(word),
        prot: Prot::from_bits_truncate((word >> PROT_SHIFT) as u8),
        young: word & YOUNG != 0,
        dirty: word & DIRTY != 0,
    })
}

const fn frame_of(word: u64) -> Pfn {
    Pfn((word >> FRAME_SHIFT) as u32)
}

/// The table that a word names; `None` if it names nothing.
fn table_of(word: u64) -> Option<Pfn> {
    if word == 0 {
        return None;
    }
    let valid = word & !FRAME == VALID | TABLE;
    assert!(valid, "{word:#x} is no table: a table frame was overwritten or freed");
    Some(frame_of(word))
}

/// Pages that one word of a table at `level` covers.
const fn span(level: u32) -> u32 {
    1 << (LEVEL_BITS * level)
}

impl<'w> SoftTables<'w> {
    pub(crate) fn new(world: &'w World, root: Pfn) -> Self {
        assert!(world.arena.is_zero(root), "the root {root:?} is not zeroed");
        Self { world, root, asid: world.mmu.take_asid(), frames: 1 }
    }

    fn word(&self, table: Pfn, level: u32, vpn: Vpn) -> &'w AtomicU64 {
        let index = (vpn.0 >> (LEVEL_BITS * level)) as usize % WORDS;
        &self.world.arena.words(table)[index]
    }

    /// The word that maps `vpn`, or else the empty word above it, with its level.
    fn find(&self, vpn: Vpn) -> Result<&'w AtomicU64, (&'w AtomicU64, u32)> {
        assert!(vpn.0 < span(LEVELS), "{vpn:?} is no user page");
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            let word = self.word(table, level, vpn);
            match table_of(word.load(Relaxed)) {
                Some(next) => table = next,
                None => return Err((word, level)),
            }
        }
        Ok(self.word(table, 0, vpn))
    }

    /// The word of an entry whose table exists.
    fn existing(&self, vpn: Vpn) -> &'w AtomicU64 {
        self.find(vpn).unwrap_or_else(|_| panic!("{vpn:?} was seen present, but has no table"))
    }

    /// Swaps the word and breaks the translation where one frame takes another's place.
    fn write(&self, word: &AtomicU64, vpn: Vpn, pte: Pte) -> Pte {
        let old = decode(word.swap(encode(pte), Relaxed));
        if let (Pte::Present(a), Pte::Present(b)) = (old, pte)
            && a.pfn != b.pfn
        {
            self.world.mmu.flush(&[TlbEntry { asid: self.asid, vpn }]);
        }
        old
    }

    /// What a CPU does with an address of this space: by its TLB, else by these tables.
    ///
    /// # Errors
    /// [`Fault`] where a CPU would trap. Nothing was loaded or stored then.
    pub fn touch(&mut self, addr: u64, touch: Touch) -> Result<u64, Fault> {
        let vpn = Vpn::of(addr).filter(|v| v.0 < span(LEVELS)).ok_or(Fault)?;
        let cpu = SimCpu::current();
        let result = self.translate(cpu, vpn, touch);
        let Ok(pfn) = result else {
            self.world.mmu.drop_line(cpu, self.asid, vpn);
            return Err(Fault);
        };
        let word = &self.world.arena.words(pfn)[addr as usize % PAGE_SIZE / 8];
        Ok(match touch {
            Touch::Load | Touch::Fetch => word.load(Relaxed),
            Touch::Store(value) => word.swap(value, Relaxed),
        })
    }

    fn translate(&self, cpu: usize, vpn: Vpn, touch: Touch) -> Result<Pfn, Fault> {
        if let Some(line) = self.world.mmu.look_up(cpu, self.asid, vpn) {
            if !line.prot.contains(touch.needs()) {
                return Err(Fault);
            }
            if line.dirty || !touch.is_store() {
                return Ok(line.pfn);
            }
        }
        self.walk(cpu, vpn, touch)
    }

    /// The word that maps `vpn`, by the upper levels as this CPU has them cached.
    fn walk_tables(&self, cpu: usize, vpn: Vpn) -> Result<&'w AtomicU64, Fault> {
        let block = vpn.0 >> LEVEL_BITS;
        if let Some(leaf) = self.world.mmu.walk_cached(cpu, self.asid, block) {
            return Ok(self.word(leaf, 0, vpn));
        }
        let leaf = self.leaf(vpn).ok_or(Fault)?;
        self.world.mmu.cache_walk(cpu, self.asid, block, leaf);
        Ok(self.word(leaf, 0, vpn))
    }

    /// The table of the lowest level for `vpn`.
    fn leaf(&self, vpn: Vpn) -> Option<Pfn> {
        (1..LEVELS).rev().try_fold(self.root, |table, level| {
            table_of(self.word(table, level, vpn).load(Relaxed))
        })
    }

    /// Reads the tables, sets the flags if this hardware does so, and fills the TLB.
    fn walk(&self, cpu: usize, vpn: Vpn, touch: Touch) -> Result<Pfn, Fault> {
        let word = self.walk_tables(cpu, vpn)?;
        let Pte::Present(mut m) = decode(word.load(Relaxed)) else {
            return Err(Fault);
        };
        let flags_suffice = m.young && (m.dirty || !touch.is_store());
        if !m.prot.contains(touch.needs()) || !(flags_suffice || self.world.mmu.sets_flags) {
            return Err(Fault);
        }
        m.young = true;
        m.dirty |= touch.is_store();
        word.store(encode(Pte::Present(m)), Relaxed);
        let line = Line { asid: self.asid, vpn, pfn: m.pfn, prot: m.prot, dirty: m.dirty };
        self.world.mmu.fill(cpu, line);
        Ok(m.pfn)
    }

    /// Unlinks the table that `word` names, which covers the pages from `start` on, if it lies
    /// in `free`; it must be empty.
    fn unlink(&self, word: &AtomicU64, level: u32, start: u32, free: &Range<Vpn>) -> Option<Pfn> {
        let covered = free.start.0 <= start && start + span(level) <= free.end.0;
        let table = table_of(word.load(Relaxed)).filter(|_| covered)?;
        let empty = self.world.arena.words(table).iter().all(|word| word.load(Relaxed) == 0);
        assert!(empty, "{table:?} is unlinked with an entry in it");
        word.store(0, Relaxed);
        Some(table)
    }

    /// Unlinks tables of the lowest level for `range`, which lies below one word of the root,
    /// and then the one above them; where to continue if `take` is full.
    fn unlink_below(
        &mut self,
        range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Result<(), Vpn> {
        let above = self.word(self.root, 2, range.start);
        let Some(table) = table_of(above.load(Relaxed)) else { return Ok(()) };
        let first = range.start.0 / span(1) * span(1);
        for start in (first..range.end.0).step_by(span(1) as usize) {
            let word = self.word(table, 1, Vpn(start));
            // The same block again, if need be: the table above is still to come.
            let again = range.start.max(Vpn(start));
            self.hand_over(self.unlink(word, 1, start, free), again, take)?;
        }
        let start = range.start.0 / span(2) * span(2);
        self.hand_over(self.unlink(above, 2, start, free), range.end, take)
    }

    /// Counts an unlinked table; `next` is where to continue if `take` has no room for another.
    fn hand_over(
        &mut self,
        frame: Option<Pfn>,
        next: Vpn,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Result<(), Vpn> {
        let Some(frame) = frame else { return Ok(()) };
        self.frames -= 1;
        if take(frame) { Ok(()) } else { Err(next) }
    }

    fn release_below(&self, table: Pfn, level: u32, give: &mut dyn FnMut(Pfn)) -> u32 {
        let mut given = 0;
        for word in self.world.arena.words(table) {
            let word = word.load(Relaxed);
            if level == 0 {
                assert_eq!(decode(word), Pte::None, "tables released with an entry in them");
            } else if let Some(below) = table_of(word) {
                given += self.release_below(below, level - 1, give);
            }
        }
        give(table);
        given + 1
    }
}

impl PageTables for SoftTables<'_> {
    type Entry<'t>
        = EntryAt<'t, Self>
    where
        Self: 't;

    fn asid(&self) -> Asid {
        self.asid
    }

    fn sets_young(&self) -> bool {
        self.world.mmu.sets_flags
    }

    fn get(&self, vpn: Vpn) -> Pte {
        self.find(vpn).map_or(Pte::None, |word| decode(word.load(Relaxed)))
    }

    fn entry(&mut self, vpn: Vpn) -> Option<EntryAt<'_, Self>> {
        self.find(vpn).is_ok().then(|| EntryAt::new(self, vpn))
    }

    fn set(&mut self, vpn: Vpn, pte: Pte) -> Result<(), NoTable> {
        match self.find(vpn) {
            Ok(word) => {
                self.write(word, vpn, pte);
                Ok(())
            }
            Err(_) if pte == Pte::None => Ok(()),
            Err(_) => Err(NoTable),
        }
    }

    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte {
        self.write(self.existing(vpn), vpn, new)
    }

    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool {
        let word = self.existing(vpn);
        let present = matches!(decode(word.load(Relaxed)), Pte::Present(_));
        assert!(present, "{vpn:?} has no flags: it is not present");
        word.fetch_and(!YOUNG, Relaxed) & YOUNG != 0
    }

    fn mark_accessed(&mut self, vpn: Vpn, write: bool) {
        let word = self.existing(vpn);
        let Pte::Present(m) = decode(word.load(Relaxed)) else {
            panic!("{vpn:?} has no flags: it is not present");
        };
        assert!(m.prot.contains(Prot::WRITE) || !write, "a store to {vpn:?} is not allowed");
        word.fetch_or(YOUNG | if write { DIRTY } else { 0 }, Relaxed);
    }

    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)> {
        let mut vpn = from;
        while vpn < end {
            let step = match self.find(vpn) {
                Ok(word) => match decode(word.load(Relaxed)) {
                    Pte::None => 1,
                    pte => return Some((vpn, pte)),
                },
                Err((_, level)) => span(level) - vpn.0 % span(level),
            };
            vpn = vpn + step;
        }
        None
    }

    fn install_table(&mut self, vpn: Vpn, frame: Pfn) -> Option<Pfn> {
        let Err((word, _)) = self.find(vpn) else {
            return Some(frame);
        };
        assert!(self.world.arena.is_zero(frame), "the table {frame:?} is not zeroed");
        word.store(VALID | TABLE | u64::from(frame.0) << FRAME_SHIFT, Relaxed);
        self.frames += 1;
        None
    }

    fn unlink_tables(
        &mut self,
        range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        let mut at = range.start;
        while at < range.end {
            let end = Vpn((at.0 / span(2) + 1) * span(2));
            let full = self.unlink_below(at..range.end.min(end), free, take).err();
            if full.is_some() {
                return full.filter(|vpn| *vpn < range.end);
            }
            at = end;
        }
        None
    }

    fn table_frames(&self) -> u32 {
        self.frames
    }

    fn release(&mut self, give: &mut dyn FnMut(Pfn)) {
        let given = self.release_below(self.root, LEVELS - 1, give);
        assert_eq!(given, self.frames, "tables appeared or vanished unseen");
    }
}

impl Drop for SoftTables<'_> {
    fn drop(&mut self) {
        self.world.mmu.give_asid(self.asid);
    }
}
