//! What a hostile program does: system calls, accesses and code made up at random.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mod@pointer`] | addresses and lengths that have broken kernels before |
//! | [`calls`] | random system calls |
//! | [`wild`] | accesses to unmapped memory, and random code |
//! | [`honest`] | neighbours whose memory must come to no harm |
//!
//! A hostile program may end itself in many ways, but no other. What it is kept from doing is
//! listed where that happens: [`calls`] and [`wild`].

pub mod calls;
pub mod honest;
pub mod pointer;
pub mod wild;
