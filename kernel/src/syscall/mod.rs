//! System calls, under the numbers that Linux has for them on arm64.
//!
//! | file | what |
//! | --- | --- |
//! | `table` | which number is which call |
//! | [`errno`] | error numbers |
//! | [`args`] | ranges and flags, checked: pure, tested on the host |
//! | `mem` | `mmap` and its relatives, `sysinfo`, `getrusage` |
//! | `process` | `fork`, `wait4`, `kill`, `exit`, names |
//! | `io` | `write`, clocks, sleep |
//! | `swap` | `swapon`, `swapoff` |
//! | [`hooks`] | what test programs may ask for |
//!
//! **Data.** The caller's registers. **Lock.** None is held on entry. Every argument is
//! hostile until checked; what is wrong is answered with an error number, and an unknown
//! call with `ENOSYS`.

pub mod args;
pub mod errno;

#[cfg(target_os = "none")]
pub mod hooks;
#[cfg(target_os = "none")]
mod io;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod process;
#[cfg(target_os = "none")]
mod swap;
#[cfg(target_os = "none")]
mod table;

#[cfg(target_os = "none")]
pub use table::dispatch;
