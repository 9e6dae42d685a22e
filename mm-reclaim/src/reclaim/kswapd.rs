//! kswapd: the task that reclaims ahead of need (CTRL-01).
//!
//! It sleeps until an allocation finds a zone below LOW, then works until every zone that
//! the request could use has HIGH free pages. A round that scanned too little or freed nothing
//! raises the priority of the next. After 16 fruitless wakeups it stops until another task's
//! reclaim has succeeded: the allocating tasks then reclaim for themselves.
//!
//! Locks: none of its own. A [`CallWord`] holds the largest order and class requested; it is raised
//! before kswapd is woken and taken when it wakes, so no request is lost.
//!
//! [`CallWord`]: crate::base::wait::CallWord
//!
//! Counterpart in Linux: `kswapd`, `balance_pgdat`.

use super::{May, Reclaim, SWAP_CLUSTER_MAX, ScanProgress, ScanRequest};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::{Nanos, Order};
use crate::base::wait::KSWAPD_WAIT;
use crate::base::wait::PFMEMALLOC_WAIT;
use crate::env::{Env, Tasks, WaitEnd, WaitMode};
use crate::zone::{Mark, Reach, Zone, ZoneFlags, ZoneId};

/// Fruitless rounds after which kswapd stops (`MAX_RECLAIM_RETRIES`).
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

/// The longest that kswapd gives way, if nobody asks for more: it goes on until every zone has
/// its HIGH mark.
const PAUSE: Nanos = Nanos::from_millis(1);

/// What kswapd was woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Call {
    order: Order,
    class: ZoneId,
}

impl Call {
    /// A non-zero word: the order, and above it the class plus one.
    fn encode(self) -> u32 {
        u32::from(self.order.get()) | (self.class as u32 + 1) << 8
    }

    /// `None` for zero: there is no request.
    fn decode(word: u32) -> Option<Self> {
        let class = (word >> 8).checked_sub(1)? as usize;
        let order = Order::new(word as u8)?;
        Some(Self { order, class: ZoneId::ALL[class.min(ZoneId::ALL.len() - 1)] })
    }

    /// A call that serves both.
    fn join(self, other: Self) -> Self {
        Self { order: self.order.max(other.order), class: self.class.max(other.class) }
    }
}

impl<'m, E: Env> Reclaim<'m, E> {
    /// Wakes kswapd for a request of `order` that `class` zones could serve, unless they
    /// are balanced or it has given up.
    pub(crate) fn wakeup_kswapd(&self, order: Order, class: ZoneId) {
        if self.kswapd_failures.load(Ordering::Relaxed) >= MAX_RECLAIM_RETRIES
            || self.is_balanced(order, class)
        {
            return;
        }
        let call = Call { order, class };
        let join = |word| Call::decode(word).map_or(call, |c| c.join(call)).encode();
        let is_paused = self.kswapd_pauses.load(Ordering::Relaxed)
            && self.kswapd_pauses.swap(false, Ordering::Relaxed);
        if self.kswapd_call.raise(join) || is_paused {
            self.env.tasks().wake(KSWAPD_WAIT);
        }
    }

    /// The body of the kswapd task; its [`crate::env::TaskFlags`] are `KSWAPD` and `KERNEL`.
    pub fn kswapd(&self) -> ! {
        self.env.tasks().set_memalloc(true);
        loop {
            let mut call = None;
            let _end = self.env.tasks().wait_until(KSWAPD_WAIT, WaitMode::UNTIL_READY, &mut || {
                call = Call::decode(self.kswapd_call.take());
                call.is_some()
            });
            if let Some(call) = call {
                self.kswapd_works.store(true, Ordering::Relaxed);
                self.balance_pgdat(call);
                self.kswapd_works.store(false, Ordering::Relaxed);
            }
        }
    }

    /// kswapd has scanned `looked_at` pages more of a zone, and holds nothing: after a few batches
    /// it pauses, so that no access waits for more than these. It continues when an allocation
    /// finds a zone below LOW again, or after a moment.
    pub(super) fn give_way(&self, zone: &Zone<'m, E::Cpu>, looked_at: u32) {
        let done = self.kswapd_looked_at.load(Ordering::Relaxed) + looked_at;
        let (low, min) = (zone.true_mark(Mark::Low), zone.true_mark(Mark::Min));
        if batches_in_a_row(zone.free(), low, min).is_none_or(|most| done < most * SWAP_CLUSTER_MAX)
        {
            self.kswapd_looked_at.store(done, Ordering::Relaxed);
            return self.env.tasks().yield_now();
        }
        self.kswapd_looked_at.store(0, Ordering::Relaxed);
        // A call that comes between here and the wait is seen by the wait's first check; one that
        // came just before is made good by the next, or by the end of the pause.
        self.kswapd_pauses.store(true, Ordering::Relaxed);
        let mode = WaitMode { timeout: Some(PAUSE), killable: false };
        let ready = &mut || !self.kswapd_pauses.load(Ordering::Relaxed);
        let _: WaitEnd = self.env.tasks().wait_until(KSWAPD_WAIT, mode, ready);
        self.kswapd_pauses.store(false, Ordering::Relaxed);
    }

    /// Whether kswapd is working, or was woken and is about to.
    pub(crate) fn is_kswapd_awake(&self) -> bool {
        self.kswapd_works.load(Ordering::Relaxed) || self.kswapd_call.is_raised()
    }

    fn is_zone_balanced(&self, zone: &Zone<'m, E::Cpu>, order: Order, class: ZoneId) -> bool {
        zone.watermark_ok(order, zone.mark(Mark::High), class, Reach::empty())
    }

    /// Whether every zone that may serve the request has HIGH free pages.
    fn is_balanced(&self, order: Order, class: ZoneId) -> bool {
        self.zones.zonelist(class).all(|zone| self.is_zone_balanced(zone, order, class))
    }

    /// Works until the zones are balanced or the lowest priority has failed.
    fn balance_pgdat(&self, call: Call) {
        self.events.count(VmEvent::PageOutRun, 1);
        let mut order = call.order;
        let mut progress = ScanProgress::default();
        let mut total = 0;
        while progress.priority >= 1 && !self.is_balanced(order, call.class) {
            let round = self.kswapd_round(order, call.class, &mut progress);
            total += progress.reclaimed;
            self.wake_throttled();
            if order > Order::ZERO && progress.reclaimed >= u64::from(order.pages()) * 2 {
                order = Order::ZERO;
            }
            let raise = !round.scanned_enough || !round.freed;
            let priority = progress.priority - u8::from(raise);
            let passed_over = progress.passed_over;
            progress = ScanProgress { priority, passed_over, ..ScanProgress::default() };
        }
        self.snapshot_refaults();
        self.finish_balance(call, total);
    }

    /// One round over the zones up to the class zone, lowest first.
    fn kswapd_round(&self, order: Order, class: ZoneId, progress: &mut ScanProgress) -> Round {
        let mut round = Round { scanned_enough: false, freed: false };
        progress.force_writepage = progress.priority < 10;
        for zone in self.zones.iter().filter(|zone| zone.id() <= class) {
            if self.is_zone_balanced(zone, order, class) {
                continue;
            }
            let target = zone.mark(Mark::High).max(SWAP_CLUSTER_MAX);
            let request =
                ScanRequest { nr_to_reclaim: target, ..ScanRequest::kswapd(order, class) }
                    .without(May::WRITEPAGE, self.laptop_mode());
            let before = progress.scanned;
            round.freed |= self.shrink_zone(zone, &request, progress);
            round.scanned_enough |= progress.scanned - before >= u64::from(target);
            // The visit has dealt with what the flag said, or will set it again.
            zone.clear_flags(ZoneFlags::WRITEBACK);
            if self.is_zone_balanced(zone, order, class) {
                zone.clear_flags(ZoneFlags::all());
            }
        }
        round
    }

    fn finish_balance(&self, call: Call, total: u64) {
        self.zones.iter().for_each(Zone::clear_boost);
        if self.is_balanced(Order::ZERO, call.class) {
            self.zones.zonelist(call.class).for_each(|zone| zone.clear_flags(ZoneFlags::all()));
        }
        if total > 0 {
            self.note_reclaim_success();
        } else if !self.is_balanced(call.order, call.class) {
            self.kswapd_failures.fetch_add(1, Ordering::Relaxed);
        }
        self.wake_throttled();
    }

    /// A task's reclaim on the node succeeded: kswapd may try again.
    pub(crate) fn note_reclaim_success(&self) {
        if self.kswapd_failures.load(Ordering::Relaxed) != 0 {
            self.kswapd_failures.store(0, Ordering::Relaxed);
        }
    }

    /// The reserves are refilled, or kswapd has given up: wakes throttled direct reclaimers.
    fn wake_throttled(&self) {
        if self.allow_direct_reclaim() {
            self.env.tasks().wake(PFMEMALLOC_WAIT);
        }
    }
}

/// How many batches kswapd does before it pauses: one while a zone has its LOW mark, up to five
/// as its free pages fall to MIN, and below that as many as it takes (CTRL-06).
fn batches_in_a_row(free: u32, low: u32, min: u32) -> Option<u32> {
    let lacking = low.saturating_sub(free);
    (free >= min).then(|| 1 + 4 * lacking / low.saturating_sub(min).max(1))
}

/// The result of one round over the zones.
struct Round {
    /// Some zone scanned as much as it was to free.
    scanned_enough: bool,
    /// Some zone freed a page.
    freed: bool,
}

#[cfg(test)]
mod tests;
