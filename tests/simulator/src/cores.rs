//! A core of the host for each machine.
//!
//! Only one thread of a machine runs at a time, so the others gain nothing from a second core,
//! and handing the baton to a thread on another core costs several times as much. Each machine
//! therefore takes the core that the fewest machines of this process use. If the host has no call
//! to choose one, the machine runs on any core.

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::{Mutex, PoisonError};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Machines on each core.
    static MACHINES: Mutex<[u32; CpuSet::MAX_CPU]> = Mutex::new([0; CpuSet::MAX_CPU]);

    /// The calling thread, and those that it starts, stay on one core while this lives.
    pub(crate) struct Core {
        number: usize,
        before: CpuSet,
    }

    impl Core {
        /// Takes the core with the fewest machines.
        pub(crate) fn take() -> Option<Self> {
            let before = sched_getaffinity(None).ok()?;
            let mut machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
            let allowed = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
            let number = allowed.min_by_key(|core| machines[*core])?;
            let mut only = CpuSet::new();
            only.set(number);
            sched_setaffinity(None, &only).ok()?;
            machines[number] += 1;
            Some(Self { number, before })
        }
    }

    impl Drop for Core {
        fn drop(&mut self) {
            MACHINES.lock().unwrap_or_else(PoisonError::into_inner)[self.number] -= 1;
            // The thread had these cores before.
            let _ = sched_setaffinity(None, &self.before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    /// No core in particular.
    pub(crate) struct Core;

    impl Core {
        pub(crate) fn take() -> Option<Self> {
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Core;
#[cfg(target_os = "linux")]
pub(crate) use linux::Core;
