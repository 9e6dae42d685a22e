//! Hostile programs next to honest ones: random system calls, accesses to unmapped memory, and
//! random code. The kernel continues, only the hostile programs die, the honest ones find every
//! word as they wrote it, and in the end all resources are free again.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `seed=` | 0 or more | what is tried (1) |
//! | `children=` | 1 or more | how many make system calls (12) |
//! | `calls=` | 1 or more | how many each of them makes (3000) |
//! | `accesses=` | 1 or more | how many make one access each (24) |
//! | `codes=` | 1 or more | how many run a page of random instructions each (24) |
//! | `honest=` | 1 or more | the neighbours' memory in percent of RAM (110) |
//! | `swapoff=` | 0 to 1 | whether swap may be taken away: then the honest must fit into RAM (0) |
//!
//! `--files` 16M unless it is given.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::hostile::calls::Hostile;
use programs::hostile::honest::Honest;
use programs::hostile::wild;
use programs::random::Random;
use programs::task::{self, Child, End};
use programs::{FAILED, println};

/// Milliseconds, in nanoseconds.
const MS: u64 = 1_000_000;
/// What a child that calls, and one that runs wild, may take before it is ended.
const TIME_TO_CALL: u64 = 1500 * MS;
const TIME_TO_RUN: u64 = 30 * MS;

programs::entry!(hostile);

/// How children ended.
#[derive(Default)]
struct Ends {
    exited: usize,
    killed: usize,
    faulted: usize,
    wrong: usize,
}

/// What every child is started with.
struct Party {
    honest: Honest,
    seed: usize,
    started: usize,
    ends: Ends,
}

fn hostile(args: &Args) -> i32 {
    let number = |key, default| args.number(key, default);
    let (children, calls) = (number("children", 12), number("calls", 3000));
    let (accesses, codes) = (number("accesses", 24), number("codes", 24));
    let seed = number("seed", 1);
    println!(
        "hostile: seed {seed}: {children} x {calls} calls, {accesses} accesses, {codes} codes"
    );

    let honest = Honest::start(number("honest", 110));
    let mut party = Party { honest, seed, started: 0, ends: Ends::default() };
    let swapoff = number("swapoff", 0) != 0;
    let done = party
        .each(children, TIME_TO_CALL, is_any, |random| call(random, swapoff, calls))
        .and_then(|()| party.each(accesses, TIME_TO_CALL, is_fatal, |mut r| wild::access(&mut r)))
        .and_then(|()| party.each(codes, TIME_TO_RUN, is_any, |mut r| wild::code(&mut r)))
        .and_then(|()| party.privileged());
    if let Err((Child(number), end)) = done {
        println!("hostile: seed {seed}: the honest process {number} ended with {end:?}");
        return FAILED;
    }
    let Party { honest, ends, .. } = party;
    let harmed = honest.finish();
    let Ends { exited, killed, faulted, wrong } = ends;
    println!("hostile: {exited} exited, {killed} were killed, {faulted} faulted, {wrong} wrongly");
    if harmed + wrong > 0 {
        println!("hostile: seed {seed} did harm");
        return FAILED;
    }
    println!("hostile: nobody else was harmed");
    0
}

impl Party {
    /// Runs `count` children, one after the other, and judges how they end.
    fn each(
        &mut self,
        count: usize,
        nanos: u64,
        is_right: fn(End) -> bool,
        work: impl Fn(Random) -> i32,
    ) -> Result<(), (Child, End)> {
        for _ in 0..count {
            let random = Random::new(self.seed, self.started);
            self.started += 1;
            let end = self.honest.supervise(nanos, || work(random))?;
            self.note(end, is_right(end));
        }
        Ok(())
    }

    /// One child for each instruction that is not a program's to use.
    fn privileged(&mut self) -> Result<(), (Child, End)> {
        for (name, instruction) in wild::PRIVILEGED {
            let end = self.honest.supervise(TIME_TO_CALL, || wild::execute(instruction, 0))?;
            if end != End::Signal(task::SIGILL) {
                println!("hostile: {name} ended with {end:?}");
            }
            self.note(end, end == End::Signal(task::SIGILL));
        }
        Ok(())
    }

    fn note(&mut self, end: End, is_right: bool) {
        match end {
            End::Status(_) => self.ends.exited += 1,
            End::Signal(task::SIGKILL) => self.ends.killed += 1,
            End::Signal(_) => self.ends.faulted += 1,
        }
        if !is_right {
            println!("hostile: child {} ended with {end:?}", self.started);
            self.ends.wrong += 1;
        }
    }
}

/// Makes calls; the exit status.
fn call(random: Random, swapoff: bool, calls: usize) -> i32 {
    match Hostile::new(random, swapoff).run(calls) {
        Ok(()) => 0,
        Err(leak) => {
            println!("hostile: the kernel answered with an address of its own: {leak:x?}");
            FAILED
        }
    }
}

/// An access of memory that is not there ends in nothing but a signal for that.
fn is_fatal(end: End) -> bool {
    matches!(end, End::Signal(task::SIGSEGV | task::SIGBUS | task::SIGILL))
}

/// Everything but an expectation that failed.
fn is_any(end: End) -> bool {
    end != End::Status(FAILED as u32)
}
