//! What the benchmark is made of: the accesses that a workload consists of, the pages it
//! works on, the clock, and what is remembered of every duration.
//!
//! The same workloads exist as a program for Linux. Both make exactly the same accesses, which a
//! hash over them proves, so the figures of both kernels can be compared. Everything here is
//! therefore a definition: a change of any constant or of the order in which random numbers are
//! drawn makes another workload.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mod@array`] | typed memory straight from `mmap`, locked on request |
//! | [`double`] | logarithm and exponential whose every bit is defined |
//! | [`trace`] | workloads, their segments, and the trace of accesses |
//! | [`pattern`] | what a page holds, and one timed access to it |
//! | [`histogram`] | durations, to within 1.6 % |
//! | [`file`](mod@file) | a file that is written and read in order |
//! | [`machine`] | the clock, the program's own pages, and a hog that leaves a given number free |

pub mod array;
pub mod double;
pub mod file;
pub mod histogram;
pub mod machine;
pub mod pattern;
pub mod trace;
