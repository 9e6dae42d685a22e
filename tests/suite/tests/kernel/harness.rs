//! The harness itself, on the machine.

use suite::Test;

/// The tests of this file.
pub const TESTS: &[Test] = &[Test::new("harness::a_test_that_comes_back_passes", comes_back)];

fn comes_back() {}
