//! Output about the memory management: the zones at boot, a live line while a program runs, and at
//! the end a summary, in three sentences and in tables.
//!
//! | file | what |
//! | --- | --- |
//! | [`line`](mod@line) | the live line: its fields, and how they fit a terminal |
//! | [`story`] | three sentences of what happened |
//! | [`tables`] | counters and reasons, grouped, with a phrase each |
//! | [`ended`] | how the program ended, in words |
//! | `watch` | draws, prints and calls `validate()` |
//!
//! All but `watch` only formats numbers: pure, and tested on the host.

pub mod ended;
pub mod line;
pub mod story;
pub mod tables;

#[cfg(target_os = "none")]
mod watch;

#[cfg(target_os = "none")]
pub use watch::{Monitor, Watch, end_programs, prepare, print_zones, set_columns, show_progress};
