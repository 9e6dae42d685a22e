//! Many broken trees, with the real entry code (BOOT-02). The host's tests run the reader ten
//! thousand times; these run the whole boot a few times.

use super::board::{Board, CANNOT_BOOT, PANIC, RAM, VIRT};
use super::trees::boards::virt;
use super::trees::random::{Random, mutated, revalued};

/// Changed trees of each kind.
const ROUNDS: u64 = 40;

/// Boots with changed copies of `blob`: each run is refused, or ends in a panic or an
/// exception that says so, or ends regularly; none hangs.
fn boot_mutations(name: &'static str, blob: &[u8], regular: (i32, &str)) {
    let mut ends = [0; 4];
    for seed in 1..=ROUNDS {
        let mut random = Random::new(seed);
        let change = random.pick(&[mutated, revalued]);
        let tree = change(blob, 2, &mut random);
        let (text, status) = Board::new(name, &tree).run();
        let said = |word| text.contains(word);
        let end = match status {
            Some(status) if status == regular.0 && said(regular.1) => 0,
            Some(CANNOT_BOOT) if said("cannot boot: ") => 1,
            Some(PANIC) if said("panicked") || said("exception") => 2,
            // Powering off carries no status.
            Some(0) if !asks_for_semihosting(&tree) && !text.is_empty() => 3,
            _ => panic!("{name}, seed {seed}: status {status:?}: {text}"),
        };
        ends[end] += 1;
    }
    println!("{name}: regular, refused, panicked, switched off: {ends:?}");
    assert!(ends[0] > 0 && ends[1] > 0, "{name}: {ends:?}: a poor mutator");
}

fn asks_for_semihosting(tree: &[u8]) -> bool {
    tree.windows(12).any(|word| word == b"semihosting\0" || word == b"semihosting ")
}

#[test]
fn no_mutation_of_the_virt_tree_hangs_the_boot() {
    boot_mutations("mutated-virt", VIRT, (1, "there is no initrd"));
}

#[test]
fn no_mutation_of_a_tree_with_holes_hangs_the_boot() {
    const M: u64 = 1 << 20;
    let nodes = [&[(RAM + 128 * M, 128 * M)][..], &[(RAM, 32 * M), (RAM + 48 * M, 16 * M)]];
    let tree = virt("semihosting", &nodes, |root| root.reserve(RAM, 0x1000));
    boot_mutations("mutated-holes", &tree, (0, "no program to run"));
}
