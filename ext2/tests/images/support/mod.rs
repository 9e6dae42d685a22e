//! What the tests share: a device with a cache, files above the crate, a model, and the tools.

pub mod content;
pub mod disk;
pub mod files;
pub mod model;
pub mod plant;
pub mod random;
pub mod session;
pub mod tools;
pub mod verify;
