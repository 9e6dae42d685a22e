//! System calls, with Linux's numbers on arm64.
//!
//! | file | what |
//! | --- | --- |
//! | `table` | dispatch by number |
//! | [`errno`] | error numbers |
//! | [`args`] | ranges and flags, checked: pure, tested on the host |
//! | `file` | open files: reading, writing, their size, their way to the disk |
//! | `names` | paths: opening, making, linking, removing, renaming, what is known |
//! | `mem` | `mmap` and its relatives, `sysinfo`, `getrusage` |
//! | `process` | `fork`, `wait4`, `kill`, `exit`, names |
//! | `io` | `write`, clocks, sleep |
//! | `swap` | `swapon`, `swapoff` |
//! | [`hooks`] | additional calls for test programs |
//!
//! **Data.** The caller's registers. **Lock.** None is held on entry. No argument is trusted until
//! checked; a wrong one gives an error number, and an unknown call `ENOSYS`.

pub mod args;
pub mod errno;

#[cfg(target_os = "none")]
mod file;
#[cfg(target_os = "none")]
pub mod hooks;
#[cfg(target_os = "none")]
mod io;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod names;
#[cfg(target_os = "none")]
mod process;
#[cfg(target_os = "none")]
mod swap;
#[cfg(target_os = "none")]
mod table;

#[cfg(target_os = "none")]
pub use table::dispatch;
