//! Read-ahead of swap, by area (SWAP-05).
//!
//! A program that reads its memory in order will want the next pages too; one that jumps will not.
//! So each area remembers where its last swap-in was and how much was read then, and whether the
//! pages read ahead were wanted:
//!
//! ```text
//!   since the last read             pages read now
//!   some read ahead were wanted     4 or more: wanted pages + 2, rounded up to a power of two
//!   none, but this is next to it    2
//!   none                            1: no read-ahead
//! ```
//!
//! It never reads more than the knob allows, nor less than half as much as the last time: one jump
//! does not end a sequence. The pages lie after the fault if the area is read upwards, before it if
//! downwards, else around it.
//!
//! Data: three hints in the area, without a lock. Two faults of a space may mix theirs: then too
//! much or too little is read.
//!
//! Counterpart in Linux: `swap_vma_readahead`, `__swapin_nr_pages`.

use core::ops::Range;

use super::{Faults, Site};
use crate::base::stat::VmEvent;
use crate::base::units::{Order, Vpn};
use crate::env::{BlockDevice, Env, PageTables, Pte};
use crate::space::{AreaView, ReadAhead};
use crate::swap::map::{Held, SlotState};
use crate::swap::{Ahead, NotPresent, SwapEntry};
use crate::zone::gfp::Gfp;

/// The most pages of one read-ahead: the knob's largest value is 5.
const MOST: usize = 1 << 5;

impl<'m, E: Env> Faults<'m, E> {
    /// The page of a fault was in the cache; `was_ahead`: as it was read ahead.
    pub(super) fn note_cache_hit(&self, site: &Site<'m, E>, was_ahead: bool) {
        let before = site.place.read_ahead();
        let hits = before.hits.saturating_add(u8::from(was_ahead));
        site.place.set_read_ahead(ReadAhead { last: site.vpn, hits, ..before });
    }

    /// Reads the neighbours of a page that is being read, as far as they are stored and memory is
    /// available without reclaim. It is of no use for a synchronous device.
    #[doc(alias = "swap_vma_readahead")]
    pub(super) fn read_ahead(&self, site: &Site<'m, E>, entry: SwapEntry) {
        let cluster = self.swap.page_cluster();
        let device = self.swap.device(entry);
        if cluster == 0 || self.env.blocks().is_synchronous(device.id) {
            return;
        }
        let before = site.place.read_ahead();
        let pages = pages_to_read(before, site.vpn, 1 << cluster);
        site.place.set_read_ahead(ReadAhead { last: site.vpn, pages, hits: 0 });
        let mut entries = [entry; MOST];
        let range = around(before.last, site.vpn, u32::from(pages), &site.area);
        let count = self.entries_in(site, range, &mut entries);
        if count > 0 {
            self.read_all(&entries[..count]);
        }
    }

    /// The swap entries of a range, but for that of the fault.
    fn entries_in(
        &self,
        site: &Site<'m, E>,
        range: Range<Vpn>,
        out: &mut [SwapEntry; MOST],
    ) -> usize {
        let (mut count, mut at) = (0, range.start);
        let locked = site.space.tables.lock();
        let Some(tables) = locked.as_ref() else { return 0 };
        while let Some((vpn, pte)) = tables.next_entry(at, range.end) {
            at = vpn + 1;
            if let Pte::NotPresent(word) = pte
                && vpn != site.vpn
            {
                let NotPresent::Swap(entry) = NotPresent::decode(word);
                out[count % MOST] = entry;
                count += 1;
            }
        }
        count
    }

    fn read_all(&self, entries: &[SwapEntry]) {
        let mut ahead = 0;
        self.env.blocks().plug();
        for entry in entries.iter().copied() {
            if !is_stored(self.swap.device(entry).state(entry.slot())) {
                continue;
            }
            let gfp = Gfp::MOVABLE | Gfp::NOWARN;
            let Some(new) = self.alloc.alloc_page(gfp, Order::ZERO) else { break };
            if let Ok(held) = self.swap.read_into(entry, new, Ahead::Yes) {
                ahead += 1;
                self.lru.put(held);
            }
        }
        self.events.count(VmEvent::SwapRa, ahead);
        self.env.blocks().unplug();
    }
}

/// How many pages a fault at `at` reads, its own among them.
fn pages_to_read(before: ReadAhead, at: Vpn, most: u8) -> u8 {
    let is_next = at.0.abs_diff(before.last.0) == 1;
    let wanted = match before.hits {
        0 if is_next => 2,
        0 => 1,
        hits => hits.saturating_add(2).min(64).next_power_of_two(),
    };
    wanted.max(before.pages / 2).min(most).max(1)
}

/// Where they lie: in the area, and from `at` on in the direction in which it was reached.
fn around(last: Vpn, at: Vpn, pages: u32, area: &AreaView) -> Range<Vpn> {
    let before = match at.0.wrapping_sub(last.0) {
        1 => 0,
        u32::MAX => pages - 1,
        _ => (pages - 1) / 2,
    };
    let start = at.0.saturating_sub(before);
    Vpn(start.max(area.start.0))..Vpn((start + pages).min(area.end.0))
}

fn is_stored(state: SlotState) -> bool {
    state.uses > 0 && matches!(state.held, Held::Nothing | Held::Shadow(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Prot;
    use crate::space::AreaFlags;

    /// SWAP-05: hits and neighbouring faults grow the window, misses shrink it by half a time.
    #[test]
    fn hits_and_neighbours_grow_the_window_and_misses_shrink_it() {
        let table = [
            // Pages and hits of the last time, the distance from there, pages now.
            (0, 0, 100, 1),
            (1, 0, 1, 2),
            (1, 0, -1, 2),
            (1, 0, 2, 1),
            (2, 1, 2, 4),
            (4, 3, 4, 8),
            (8, 7, 8, 8),
            (8, 0, 100, 4),
            (4, 0, 100, 2),
            (2, 0, 100, 1),
            (8, 0, 1, 4),
            (8, 255, 100, 8),
        ];
        for (pages, hits, step, want) in table {
            let before = ReadAhead { last: Vpn(1000), pages, hits };
            let at = Vpn(1000_u32.wrapping_add_signed(step));
            assert_eq!(pages_to_read(before, at, 8), want, "{pages} {hits} {step}");
        }
        let eager = ReadAhead { last: Vpn(1000), pages: 8, hits: 8 };
        assert_eq!(pages_to_read(eager, Vpn(1001), 2), 2, "the knob");
    }

    /// SWAP-05: the window follows the direction, and stays in the area.
    #[test]
    fn the_window_follows_the_direction_and_stays_in_the_area() {
        let area = AreaView::anonymous(Vpn(100)..Vpn(120), Prot::READ, AreaFlags::empty());
        for (last, at, want) in [
            (104, 105, 105..113),
            (106, 105, 100..106),
            (119, 118, 111..119),
            (117, 118, 118..120),
            (0, 110, 107..115),
            (0, 100, 100..105),
        ] {
            let got = around(Vpn(last), Vpn(at), 8, &area);
            assert_eq!(got.start.0..got.end.0, want, "{last} {at}");
        }
    }
}
