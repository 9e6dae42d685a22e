//! Device trees for tests: a builder, boards, a mutator, and what must hold of any blob.
//!
//! Shared by the tests of `boot`, those of `kernel`, and the fuzz target.

pub mod boards;
pub mod builder;
pub mod check;
pub mod random;
