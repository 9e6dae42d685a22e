//! Runs the kernel on disks that the host made, and checks what it left on them.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`folder`] | folders that go away again |
//! | [`image`] | images of ext2, by the tools of e2fsprogs |
//! | [`machine`] | a boot of the kernel by `scripts/run`, and what it said |
//! | [`model`] | what a file system must do: an independent one, in memory |
//! | [`plant`] | the model's tree as a folder of the host, and the comparison with one |
//! | [`server`] | a disk that logs, fails, or answers no more: an NBD server |
//!
//! The tests need the kernel's image and its programs as `scripts/build` leaves them, QEMU, and
//! e2fsprogs; without them they fail. `TEST_LONG` in the environment adds seeds.

pub mod folder;
pub mod image;
pub mod machine;
pub mod model;
pub mod plant;
pub mod server;

/// The seeds of a test: some, and with `TEST_LONG` set so many times as many.
pub fn seeds(first: u32, count: u32, longer: u32) -> impl Iterator<Item = u32> {
    let is_long = std::env::var_os("TEST_LONG").is_some();
    first..first + if is_long { count * longer } else { count }
}
