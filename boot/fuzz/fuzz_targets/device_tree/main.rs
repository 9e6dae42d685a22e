//! Any bytes as a device tree (BOOT-02). To run it, with `cargo-fuzz` and a nightly compiler,
//! in folder `boot`:
//!
//! ```text
//! mkdir -p fuzz/corpus/device_tree && cp tests/fixtures/*.dtb fuzz/corpus/device_tree
//! cargo +nightly fuzz run device_tree
//! ```
//!
//! What is done with the bytes is shared with `boot/tests/mutations.rs`, which runs it on
//! stable Rust in every test run.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../tests/trees/check.rs"]
mod check;

fuzz_target!(|data: &[u8]| {
    let _either_will_do = check::survives(data);
});
