//! What a hostile program does: system calls, accesses and code made up at random.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mod@pointer`] | addresses and lengths that have broken kernels before |
//! | [`calls`] | random system calls |
//! | [`wild`] | accesses to what is not there, and code that nobody wrote |
//! | [`honest`] | neighbours whose memory must come to no harm |
//!
//! A hostile program may end itself in many ways, and nobody but itself. What it is kept
//! from is listed where it is kept from it: [`calls`] and [`wild`].

pub mod calls;
pub mod honest;
pub mod pointer;
pub mod wild;
