//! The kernel image against everything that firmware may do: device trees that are missing or
//! broken, memory of every shape, unusual addresses of the image, registers in the worst state, and
//! a Raspberry Pi 4 (BOOT-01, BOOT-02, BOOT-05, BOOT-06, MEMB-01, MEMB-02).
//!
//! A host test: it builds the image, and boots it in QEMU behind a stub of a few words that
//! loads x0 and jumps to the image, since QEMU's own `-dtb` refuses broken trees and rewrites
//! the memory of good ones. Every run has a time limit, so that a hang is a failure.

mod board;
mod ends;
mod firmware;
mod layouts;
mod mutated;
mod pi;
mod qemu;
mod refused;
mod usable;
mod watched;

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../../../boot/tests/trees/mod.rs"]
mod trees;
