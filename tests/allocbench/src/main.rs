//! What the page allocator costs and how well it keeps large blocks whole, compared with the crate
//! `buddy_system_allocator`. `scripts/bench-allocator` runs it, under callgrind where instructions
//! are counted, and prints the tables; `docs/price.md` has the results.
//!
//! `allocbench cost WORKLOAD ours|theirs` carries a workload out and prints the number of
//! pairs of operations in it; `allocbench blocks ours|theirs` churns and prints, for
//! each moment, how many pageblocks can be had as wholes.
#![deny(unsafe_code)]

mod churn;
mod env;
mod frames;
mod measured;

use std::env::args;
use std::process::ExitCode;

use churn::{Churn, Op, Random, whole_blocks};
use frames::{FRAMES, Frames, Ours, Theirs};

/// Nine tenths of all frames.
const NINE_TENTHS: usize = FRAMES / 10 * 9;
const HALF: usize = FRAMES / 2;
/// Pairs of operations in a workload.
const PAIRS: usize = 1 << 15;
/// Operations before those that are counted, so that what the filling left is forgotten.
const WARM_UP: usize = 1 << 18;
/// Requests in a round of churn: as many as there are frames.
const ROUND: usize = FRAMES;

fn main() -> ExitCode {
    let words: Vec<String> = args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = match words[..] {
        ["cost", workload, "ours"] => cost(Ours::new(), workload),
        ["cost", workload, "theirs"] => cost(Theirs::new(), workload),
        ["blocks", "ours"] => blocks(Ours::new()),
        ["blocks", "theirs"] => blocks(Theirs::new()),
        _ => false,
    };
    if known {
        return ExitCode::SUCCESS;
    }
    eprintln!("allocbench: (cost pair0|pair9|bulk|bulkrnd|random90)|blocks ours|theirs");
    ExitCode::from(2)
}

/// Carries a workload out; false if there is none of this name.
fn cost(mut frames: impl Frames, workload: &str) -> bool {
    match workload {
        "pair0" => measured::pairs_of_ones(&mut frames, PAIRS),
        "pair9" => measured::pairs_of_blocks(&mut frames, PAIRS),
        "bulk" => bulk(&mut frames, &in_order(PAIRS)),
        "bulkrnd" => bulk(&mut frames, &shuffled(PAIRS)),
        "random90" => random(&mut frames, NINE_TENTHS),
        _ => return false,
    }
    println!("{PAIRS}");
    true
}

fn bulk(frames: &mut impl Frames, order: &[u32]) {
    let mut held = Vec::with_capacity(order.len());
    measured::bulk(frames, &mut held, order);
}

fn in_order(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}

fn shuffled(count: usize) -> Vec<u32> {
    let mut order = in_order(count);
    let mut random = Random::new();
    for i in (1..count).rev() {
        order.swap(i, random.below(i + 1));
    }
    order
}

fn random(frames: &mut impl Frames, level: usize) {
    let mut churn = Churn::filled(frames, level);
    churn.run(frames, WARM_UP, level, level);
    let mut held = churn.held.len();
    let ops: Vec<Op> = (0..2 * PAIRS).map(|_| next(&mut churn, &mut held, level)).collect();
    measured::churn(frames, &mut churn, &ops);
}

/// Chooses the next request for `held` frames held, and counts it.
fn next(churn: &mut Churn, held: &mut usize, level: usize) -> Op {
    let op = churn.next(*held, level);
    match op {
        Op::Take => *held += 1,
        Op::Give(_) => *held -= 1,
    }
    op
}

/// Prints moments of a long churn, and the whole blocks of each.
fn blocks(mut frames: impl Frames) -> bool {
    for rounds in [4, 16, 64] {
        let mut churn = Churn::filled(&mut frames, NINE_TENTHS);
        churn.run(&mut frames, rounds * ROUND, NINE_TENTHS, HALF);
        println!("sunk{rounds} {}", whole_blocks(&mut frames));
        churn.run(&mut frames, rounds * ROUND, HALF, HALF);
        println!("stayed{rounds} {}", whole_blocks(&mut frames));
        churn.held.drain(..).for_each(|frame| frames.give_one(frame));
        frames.settle();
    }
    true
}
