//! Before there are zones: which addresses are memory, and how large the tables will be.

pub mod memblock;
pub mod plan;
pub mod zoning;
