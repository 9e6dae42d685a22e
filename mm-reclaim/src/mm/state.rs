//! The tasks of the crate, its knobs, its counters, and `validate()`.

use super::Mm;
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Pfn;
use crate::env::{Env, Shrinker};
use crate::page::{Page, PageFlags};
use crate::reclaim::references::ReferenceRule;
use crate::reclaim::{BatchStat, Reason, ScanProgress, ScanRequest, TooManyShrinkers};
use crate::validate::{Books, Census, Violation};

impl<'m, E: Env> Mm<'m, E> {
    /// The body of the kswapd task; its [`crate::env::TaskFlags`] are `KSWAPD` and `KERNEL`.
    pub fn kswapd(&self) -> ! {
        self.reclaim.kswapd()
    }

    /// The body of the reaper task; its [`crate::env::TaskFlags`] is `KERNEL`. A kernel may do
    /// without it: victims' memory is then freed when they exit.
    pub fn oom_reaper(&self) -> ! {
        self.oom.reaper()
    }

    /// Whether reclaim spares the device: it writes nothing until it is in trouble (below
    /// priority 10), so that a disk may stay spun down.
    pub fn laptop_mode(&self) -> bool {
        self.reclaim.laptop_mode()
    }

    /// Sets [`Mm::laptop_mode`].
    pub fn set_laptop_mode(&self, on: bool) {
        self.reclaim.set_laptop_mode(on);
    }

    /// How strongly reclaim prefers swapping, 0 to 200.
    pub fn swappiness(&self) -> u8 {
        self.reclaim.swappiness()
    }

    /// Sets [`Mm::swappiness`]; more than 200 counts as 200.
    pub fn set_swappiness(&self, value: u8) {
        self.reclaim.set_swappiness(value);
    }

    /// What one reference to an anonymous page does for it.
    pub fn reference_rule(&self) -> ReferenceRule {
        self.reclaim.reference_rule()
    }

    /// Sets [`Mm::reference_rule`].
    pub fn set_reference_rule(&self, rule: ReferenceRule) {
        self.reclaim.set_reference_rule(rule);
    }

    /// Registers a cache of the kernel's own, which reclaim scans from now on, in proportion to the
    /// lists of pages.
    ///
    /// # Errors
    /// If there are [`MOST_SHRINKERS`](crate::reclaim::MOST_SHRINKERS) already.
    pub fn register_shrinker(&self, shrinker: &'m dyn Shrinker) -> Result<(), TooManyShrinkers> {
        self.reclaim.register_shrinker(shrinker)
    }

    /// Nodes of files' indices that hold nothing but shadows of evicted pages.
    #[doc(alias = "workingset_nodes")]
    pub fn shadow_nodes(&self) -> u32 {
        self.files.shadow_nodes()
    }

    /// Frees some of them, as reclaim does when there are too many. For tests, whose memory is small.
    #[doc(hidden)]
    pub fn drop_shadow_nodes(&self, nodes: u32) -> u32 {
        self.files.drop_shadow_nodes(nodes)
    }

    /// The count of a reason.
    pub fn verdict_count(&self, reason: Reason) -> u64 {
        self.reclaim.verdict_count(reason)
    }

    /// How often `event` happened. Allocations and faults are counted where they happen,
    /// under the locks that they hold anyway.
    pub fn event(&self, event: VmEvent) -> u64 {
        let spaces = self.spaces;
        let elsewhere = match event {
            VmEvent::PgAlloc => self.zones.traffic().0,
            VmEvent::PgFree => self.zones.traffic().1,
            VmEvent::NrDirtied => self.files.dirty.traffic().0,
            VmEvent::NrWritten => self.files.dirty.traffic().1,
            VmEvent::PgFault => spaces.of_live(|s| s.stat().min_faults + s.stat().maj_faults),
            VmEvent::PgMajFault => spaces.of_live(|s| s.stat().maj_faults),
            VmEvent::PgScanDirectMost => u64::from(self.reclaim.most_looked_at()),
            VmEvent::SwapRaHit => spaces.of_live(|s| s.ra_hits.load(Ordering::Relaxed)),
            _ => 0,
        };
        self.events.read(event as usize) + elsewhere
    }

    /// The families of areas, and the links of areas to their ancestors' families, that are in use.
    pub fn families_in_use(&self) -> (u32, u32) {
        (self.spaces.families.usage().0, self.spaces.links.usage().0)
    }

    /// The most areas that a walk for the page visits; 0 if it carries no family and is in no file.
    pub fn areas_asked(&self, page: &Page) -> usize {
        if page.has(PageFlags::FILE) {
            return self.rmap.areas_of_file_page(page);
        }
        let mut areas = 0;
        self.rmap.with_family(page, |family| areas = family.areas(self.spaces).count());
        areas
    }

    /// Whether this is a moment for [`Mm::validate`], by checking each page and address space:
    /// kswapd has nothing to do and the reaper no victim, no system call or fault is using an
    /// address space, no page is locked, isolated or under write-back, so that no transfer is under
    /// way, and no end of one is being processed.
    ///
    /// A task that is freeing a page for the kernel, or using a file's page, may not show; nor does
    /// work that begins later. The answer is reliable only if the caller is the only task, or has
    /// stopped the other CPUs.
    pub fn is_quiet(&self) -> bool {
        !self.reclaim.is_kswapd_awake()
            && !self.writeback.is_ending()
            && self.with_books(|books| books.is_quiet())
    }

    /// Checks everything; returns where the pages are. It does not sleep, so that a kernel may call
    /// it with all other CPUs stopped. At a moment that is not quiet it may report false
    /// violations: [`Mm::is_quiet`].
    ///
    /// # Errors
    /// The first violation found.
    pub fn validate(&self) -> Result<Census, Violation> {
        self.with_books(|books| books.validate())
    }

    /// The identities between counters that hold at any quiet moment.
    ///
    /// # Errors
    /// The identity that does not hold.
    pub fn check_counters(&self) -> Result<(), Violation> {
        self.with_books(|books| books.check_counters())
    }

    fn with_books<R>(&self, look: impl FnOnce(&Books<'_, 'm, E>) -> R) -> R {
        look(&Books {
            env: self.env,
            map: self.map,
            zones: self.zones,
            lru: self.lru,
            files: self.files,
            swap: self.swap,
            spaces: self.spaces,
            rmap: self.rmap,
            event: &|event| self.event(event),
        })
    }

    /// Isolates those of `frames` that are on a list, reclaims them in their order, and puts back
    /// what is not freed. The frames are of one zone. For the verdict
    /// tables of tests.
    #[doc(hidden)]
    pub fn probe_pages(
        &self,
        frames: &[Pfn],
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        self.reclaim.probe_pages(frames, request, progress)
    }
}
