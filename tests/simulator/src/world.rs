//! The environment: everything of a machine that is not the crate under test.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use mm_reclaim::env::{
    AllocFaults, Asid, Env, TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use mm_reclaim::units::{Pfn, SpaceId};

use crate::arena::Arena;
use crate::current::SimCpu;
use crate::disk::{DiskConfig, Disks};
use crate::faults::AllocInjector;
use crate::files::Files;
use crate::mmu::Mmu;
use crate::sched::Sched;
use crate::tables::SoftTables;

/// What a machine consists of.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The frames that exist: ascending ranges with holes between them.
    pub memory: Vec<Range<u32>>,
    /// CPUs, at most [`mm_reclaim::env::MAX_CPUS`].
    pub cpus: usize,
    /// The swap devices.
    pub disks: Vec<DiskConfig>,
    /// The MMU sets young and dirty by itself; else a first access faults.
    pub sets_flags: bool,
    /// The largest ASID.
    pub max_asid: u16,
    /// Look at every reuse of a freed frame whether its poison is still there.
    pub check_poison: bool,
    /// A task is preempted on average at every n-th chance; 0 for never.
    pub preempt_every: u64,
    /// What decides everything that is left to chance.
    pub seed: u64,
}

impl Default for Hardware {
    /// 16 MiB, one CPU, no disk, no flags by hardware, never preempted.
    fn default() -> Self {
        Self {
            memory: std::iter::once(0..4096).collect(),
            cpus: 1,
            disks: Vec::new(),
            sets_flags: false,
            max_asid: 255,
            check_poison: true,
            preempt_every: 0,
            seed: 0,
        }
    }
}

/// The parts of one machine.
#[derive(Debug)]
pub struct World {
    /// The frames.
    pub arena: Arena,
    /// Tasks and time.
    pub sched: Arc<Sched>,
    /// TLBs and ASIDs.
    pub mmu: Mmu,
    /// The swap devices, and those that files lie on.
    pub disks: Disks,
    /// The files.
    pub files: Files,
    /// What makes page allocations fail.
    pub alloc_faults: AllocInjector,
    oom_report: Mutex<Option<String>>,
}

impl World {
    /// The machine that `hardware` describes, switched off.
    pub fn new(hardware: &Hardware) -> Self {
        let seed = hardware.seed;
        Self {
            arena: Arena::new(&hardware.memory, hardware.check_poison),
            sched: Sched::new(seed, hardware.cpus, hardware.preempt_every),
            mmu: Mmu::new(hardware.cpus, hardware.max_asid, hardware.sets_flags),
            disks: Disks::new(&hardware.disks, crate::rng::mix(seed ^ 0xd15c)),
            files: Files::default(),
            alloc_faults: AllocInjector::new(crate::rng::mix(seed ^ 0xfa17)),
            oom_report: Mutex::new(None),
        }
    }

    /// What the out-of-memory killer said last.
    pub fn last_oom_report(&self) -> Option<String> {
        self.oom_report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<'w> Env for &'w World {
    type Cpu = SimCpu;
    type Frames = World;
    type Tables = SoftTables<'w>;
    type Tasks = World;
    type Blocks = World;
    type Files = World;
    type Clock = Sched;

    fn frames(&self) -> &World {
        self
    }

    fn tasks(&self) -> &World {
        self
    }

    fn blocks(&self) -> &World {
        self
    }

    fn files(&self) -> &World {
        self
    }

    fn clock(&self) -> &Sched {
        &self.sched
    }

    fn new_tables(&self, root: Pfn) -> SoftTables<'w> {
        SoftTables::new(self, root)
    }

    fn flush_tlb(&self, stale: &[TlbEntry]) {
        self.mmu.flush(stale);
    }

    fn flush_tlb_space(&self, asid: Asid) {
        self.mmu.flush_space(asid);
    }

    fn alloc_faults(&self) -> Option<&dyn AllocFaults> {
        self.alloc_faults.as_env()
    }
}

impl Tasks for World {
    fn flags(&self) -> TaskFlags {
        self.sched.flags()
    }

    fn set_memalloc(&self, on: bool) -> bool {
        self.sched.set_flag(TaskFlags::MEMALLOC, on)
    }

    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        self.send_held();
        self.sched.wait_until(key, mode, ready)
    }

    fn might_sleep(&self) {
        crate::current::assert_no_lock_held("a wait");
        crate::current::assert_preemptible("a wait");
    }

    fn wake(&self, key: WaitKey) {
        self.sched.wake(key);
    }

    fn yield_now(&self) {
        self.sched.yield_now();
    }

    fn kill_for_memory(&self, space: SpaceId) -> bool {
        self.sched.kill(space);
        true
    }

    fn show_oom_report(&self, report: &dyn fmt::Display) {
        *self.oom_report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.to_string());
        // A console is slow: the others continue in the meantime, the victim perhaps to its end.
        self.sched.yield_now();
    }
}
