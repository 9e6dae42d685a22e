//! Many broken device trees (BOOT-02): whatever the bytes are, reading them ends with a valid
//! summary or an error with a message.

use std::time::Instant;

use trees::boards::{PI_8_GIB, raspberry_pi_4, virt};
use trees::builder::Tree;
use trees::check::survives;
use trees::random::{Random, mutated, revalued};

#[allow(dead_code, reason = "each test program uses its part of what they share")]
mod trees;

/// Changed trees of each kind.
const ROUNDS: usize = 10_000;

/// Reads [`ROUNDS`] changed copies of `blob`, of which enough must be readable and enough must not:
/// a mutator that breaks everything or nothing proves nothing.
fn read_mutations(blob: &[u8], seed: u64) {
    assert_eq!(survives(blob), Ok(()));
    let mut random = Random::new(seed);
    let changes = [mutated as fn(&[u8], usize, &mut Random) -> Vec<u8>, revalued];
    for change in changes {
        let read = (0..ROUNDS).filter(|_| survives(&change(blob, 8, &mut random)).is_ok()).count();
        let enough = ROUNDS / 20;
        assert!((enough..ROUNDS - enough).contains(&read), "{read} of {ROUNDS}: a poor mutator");
    }
}

#[test]
fn mutations_of_the_virt_tree_are_read_or_refused() {
    read_mutations(include_bytes!("fixtures/virt-gicv2.dtb"), 1);
    read_mutations(include_bytes!("fixtures/virt-gicv3.dtb"), 2);
}

#[test]
fn mutations_of_a_raspberry_pi_tree_are_read_or_refused() {
    read_mutations(&raspberry_pi_4(PI_8_GIB), 3);
    read_mutations(include_bytes!("fixtures/board.dtb"), 4);
}

/// Bytes without any structure after a good magic number and size.
#[test]
fn noise_is_read_or_refused() {
    let mut random = Random::new(5);
    for _ in 0..ROUNDS {
        let mut blob = vec![0; random.below(600) + 8];
        blob.iter_mut().for_each(|byte| *byte = random.pick(&[0, 0, 0, 1, 2, 3, 9, b'a', 0xff]));
        blob[..4].copy_from_slice(&0xd00d_feed_u32.to_be_bytes());
        let size = blob.len() as u32;
        blob[4..8].copy_from_slice(&size.to_be_bytes());
        survives(&blob).unwrap_err();
    }
}

/// Every word of a small tree replaced by every word that has a meaning.
#[test]
fn each_word_may_be_any_other() {
    let blob = virt("semihosting", &[&[(0x4000_0000, 0x1000_0000)]], |_| {});
    let length = blob.len() as u32;
    let words = [0, 1, 2, 3, 4, 9, length - 4, length, u32::MAX >> 1, 1 << 31, u32::MAX - 3];
    for at in (0..blob.len()).step_by(4) {
        for word in words.into_iter().chain([u32::MAX]) {
            let mut blob = blob.clone();
            let end = blob.len().min(at + 4);
            blob[at..end].copy_from_slice(&word.to_be_bytes()[..end - at]);
            let _either_will_do = survives(&blob);
        }
    }
}

/// The largest possible trees, of the kinds that take longest to read: the time is bounded, too.
#[test]
fn a_tree_as_large_as_can_be_is_read_in_bounded_time() {
    let start = Instant::now();
    let memory = |root: &mut Tree| {
        root.memory("memory@0", 2, 1, &[(0x4000_0000, 0x1000_0000)]);
    };
    let wide = Tree::build(|root| {
        memory(root);
        (0..120_000).for_each(|_| root.node("n", |_| {}));
    });
    let full = Tree::build(|root| {
        (0..120_000).for_each(|_| root.cells("a-name-of-thirty-one-characters", &[0]));
        memory(root);
    });
    for blob in [wide, full] {
        assert!(blob.len() > 1 << 20);
        assert_eq!(survives(&blob), Ok(()));
    }
    // Each property's name is a megabyte long, so that reading every one takes too long.
    let names = Tree::build(|root| {
        root.bytes(&"p".repeat(1 << 20), &[]);
        (0..60_000).for_each(|_| root.bytes_at(0, &[]));
        memory(root);
    });
    survives(&names).unwrap_err();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
