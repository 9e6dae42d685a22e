//! Programs: found in the initrd, read, and run.
//!
//! | file | what |
//! | --- | --- |
//! | [`tar`] | finds a file in a ustar archive; pure, tested on the host |
//! | [`image`] | reads an ELF file and checks it; pure, tested on the host |
//! | [`stack`] | the initial stack of a program; pure, tested on the host |
//! | `load` | makes the process and fills its memory |
//!
//! **Data.** The initrd, which is read-only, and free once the only program has been loaded; it is
//! input from outside and not trusted. **Lock.** Only that of the hand-over in `load`.

pub mod image;
pub mod stack;
pub mod tar;

#[cfg(target_os = "none")]
mod load;

#[cfg(target_os = "none")]
pub use load::{ExecError, spawn, spawn_only};
