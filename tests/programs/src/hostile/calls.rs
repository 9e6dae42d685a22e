//! Random system calls.
//!
//! Half of them look like what a program would ask for, so that they get far; in the others
//! every register is random. Kept from the hostile program are only these:
//!
//! - to take swap away where the honest need it, or to be spared by the out-of-memory killer
//!   instead of them, which every process may do here;
//! - to exit, which would only end the work early;
//! - to kill a process of [`super::honest`], as there are no users;
//! - to sleep for long, and to write much to the console, which would only take time;
//! - to give a file much memory at once, which no kill gives back.
//!
//! Calls that take its own code or stack away, and those that let others run, are made
//! seldom, so that it lives to make more.

use core::ffi::CStr;

use super::pointer::{Pointers, TEXT};
use crate::pages::PAGE_SIZE;
use crate::random::Random;
use crate::sys::files::{flags, open};
use crate::sys::{Errno, call, number};

/// Calls that the kernel has, those that change memory several times.
const KNOWN: [usize; 58] = [
    35, 46, 47, 56, 56, 57, 62, 63, 63, 67, 68, 68, 80, 81, 82, 83, 84, 213, 223, 227, 227, 279,
    279, 46, 57, 64, 96, 101, 113, 124, 129, 165, 167, 172, 173, 178, 179, 220, 260, 222, 222, 222,
    222, 215, 215, 215, 226, 226, 226, 228, 228, 229, 232, 233, 233, 233, 224, 225,
];
/// Calls on paths and on what is open, for where a file system is mounted.
const OF_PATHS: [usize; 16] = [
    number::MKDIRAT,
    number::MKDIRAT,
    number::UNLINKAT,
    number::UNLINKAT,
    number::SYMLINKAT,
    number::LINKAT,
    number::RENAMEAT2,
    number::FSTATFS,
    number::OPENAT,
    number::OPENAT,
    number::CLOSE,
    number::FSYNC,
    number::GETDENTS64,
    number::READLINKAT,
    number::NEWFSTATAT,
    number::STATX,
];
/// What these are called with.
const PATHS: [&CStr; 10] = [
    c"/mnt",
    c"/mnt/h",
    c"/mnt/d",
    c"/mnt/d/h",
    c"/mnt/d/d",
    c"/mnt/d/d/../../l",
    c"h",
    c"",
    c"../d",
    c"/mnt/l/x",
];
/// What every mapping is here.
const PRIVATE_ANONYMOUS: usize = 0x22;
/// Pages that are more than many a machine has.
const MANY: [usize; 3] = [1 << 13, 1 << 16, 1 << 24];
/// Flags of `mmap` that have a meaning here, or none.
const MAP_FLAGS: [usize; 7] = [0, 0x10, 0x2000, 0x4000, 0x8000, 0x2_0000, 0x10_0000];
/// Advice that has a meaning, and one that has none.
const ADVICE: [usize; 9] = [0, 3, 4, 4, 8, 20, 21, 21, 99];
/// The honest have no higher numbers. Not a field: a program may have other bytes in its memory soon.
pub const LAST_HONEST: usize = 8;
/// Calls that a child of a hostile program makes.
const CALLS_OF_A_CHILD: usize = 100;
/// What code and stack are near to, in bytes.
const STACK: usize = 64 * PAGE_SIZE;
/// `wait4`: do not wait, as the child might wait as well.
const WNOHANG: usize = 1;
/// This kernel's own option of `prctl`: `oom_score_adj`.
const PREFER: usize = 0x4f4f_4d00;
/// The swap device.
const SWAP: &CStr = c"/dev/ram0";
/// The file on the disk.
pub const PATH: &CStr = c"/disk/hostile";
const AT_FDCWD: usize = -100_isize as usize;
/// `O_RDWR | O_CREAT`.
const CREATE: usize = 0o102;
/// `O_TMPFILE | O_RDWR`.
const TMPFILE: usize = 0o2004_0002;
/// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
const PUNCH_HOLE: usize = 3;
/// Descriptors that may be open.
const MOST_FDS: usize = 12;
/// Bytes that one call writes to a file: memory in files is nobody's when somebody is killed for
/// memory.
const MOST_WRITTEN: usize = 64 * PAGE_SIZE;
/// The longest sleep, in nanoseconds.
const MOST_SLEEP: u64 = 2_000_000;
/// What a child may be: a copy that shares nothing.
const SIGCHLD: usize = 17;

/// A program that makes random system calls.
pub struct Hostile {
    random: Random,
    pointers: Pointers,
    /// It may take swap away.
    swapoff: bool,
    /// There is a file system with directories.
    is_mounted: bool,
    /// Its parent is hostile too.
    is_child: bool,
    /// A time that is short enough to sleep.
    pause: [u64; 2],
}

/// An answer that no system call gives: an address of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Leak {
    /// The call.
    pub number: usize,
    /// Its arguments.
    pub args: [usize; 6],
    /// The answer.
    pub answer: usize,
}

impl Hostile {
    /// A program that leaves the processes up to number [`LAST_HONEST`] alone, and swap on unless
    /// `swapoff` is true.
    #[must_use]
    pub fn new(random: Random, swapoff: bool) -> Self {
        let pointers = Pointers::new();
        let is_mounted = open(c"/mnt", flags::DIRECTORY).is_ok();
        Self { random, pointers, swapoff, is_mounted, is_child: false, pause: [0; 2] }
    }

    /// Makes `calls` calls, if it lives so long.
    ///
    /// # Errors
    /// The first answer that must not be.
    pub fn run(&mut self, calls: usize) -> Result<(), Leak> {
        let mut left = calls;
        while left > 0 {
            left -= 1;
            let (number, args) = self.choose();
            // SAFETY: nothing is safe from this. What it breaks is this process, whose end
            // is expected; that it breaks no other is what is being tested.
            let answer = unsafe { call(number, args) };
            match answer {
                Ok(0) if number == number::CLONE => {
                    left = left.min(CALLS_OF_A_CHILD);
                    self.become_child();
                }
                Ok(at) if number == number::MMAP => self.pointers.remember(at),
                Ok(answer) if answer >> 63 != 0 => return Err(Leak { number, args, answer }),
                Ok(_) | Err(Errno(_)) => {}
            }
        }
        Ok(())
    }

    fn become_child(&mut self) {
        self.is_child = true;
        self.random.number();
    }

    fn choose(&mut self) -> (usize, [usize; 6]) {
        if self.is_mounted && self.random.once_in(4) {
            return self.choose_of_paths();
        }
        let number = match self.random.below(16) {
            0..13 => self.random.of(&KNOWN),
            13 | 14 => self.random.below(512),
            _ => self.random.number() as usize,
        };
        let likely = self.random.once_in(2);
        let mut args = [0; 6].map(|_| self.argument());
        if likely {
            self.make_likely(number, &mut args);
        }
        self.restrain(number, args)
    }

    /// A call on a path: the kernel reads what it needs, and writes to memory that is mapped.
    fn choose_of_paths(&mut self) -> (usize, [usize; 6]) {
        let random = &mut self.random;
        let mut path = || random.of(&PATHS).as_ptr().addr();
        let (one, other) = (path(), path());
        let fd = random.below(MOST_FDS);
        let dir = random.of(&[AT_FDCWD, AT_FDCWD, fd]);
        let out = self.pointers.mapped(random);
        let number = random.of(&OF_PATHS);
        let args = match number {
            number::UNLINKAT => [dir, one, random.of(&[0, 0x200]), 0, 0, 0],
            number::SYMLINKAT => [one, dir, other, 0, 0, 0],
            number::LINKAT | number::RENAMEAT2 => [dir, one, dir, other, random.below(4), 0],
            number::FSTATFS | number::GETDENTS64 => {
                [random.below(MOST_FDS), out, random.below(8192), 0, 0, 0]
            }
            number::OPENAT => {
                let how = random.of(&[0, 2, CREATE, CREATE | 0o200, 0o4_0000, TMPFILE]);
                [dir, one, how, 0o777, 0, 0]
            }
            number::CLOSE | number::FSYNC => [random.below(MOST_FDS), 0, 0, 0, 0, 0],
            number::READLINKAT | number::NEWFSTATAT => {
                [dir, one, out, random.of(&[0, 64, 0x100, 0x1000]), 0, 0]
            }
            number::STATX => [dir, one, random.of(&[0, 0x100, 0x1000]), 0x7ff, out, 0],
            _ => [dir, one, random.below(512), 0, 0, 0],
        };
        // With other bytes in its own memory it might do what it must not.
        if self.is_near_own(out, STACK) {
            return (number::GETPPID, args);
        }
        self.restrain(number, args)
    }

    fn argument(&mut self) -> usize {
        match self.random.below(8) {
            0..3 => self.pointers.any(&mut self.random),
            3 | 4 => self.pointers.length(&mut self.random),
            5 => self.random.below(256),
            6 => (self.random.below(64) as isize - 32) as usize,
            _ => self.random.number() as usize,
        }
    }

    /// Turns arguments into such as a program would give.
    fn make_likely(&mut self, number: usize, args: &mut [usize; 6]) {
        let random = &mut self.random;
        let at = self.pointers.mapped(random) & !(PAGE_SIZE - 1);
        let pages = if random.once_in(64) { random.of(&MANY) } else { random.below(64) };
        let len = pages * PAGE_SIZE + random.below(2);
        match number {
            number::MMAP => {
                let flags = PRIVATE_ANONYMOUS | random.of(&MAP_FLAGS) | random.of(&MAP_FLAGS);
                let at = if random.once_in(4) { self.pointers.anywhere(random) } else { at };
                *args = [at, len, random.below(8), flags, usize::MAX, 0];
                if random.once_in(2) {
                    let kind = random.of(&[1, 2, 0x21]);
                    let offset = random.below(64) * PAGE_SIZE;
                    args[3] = flags & !PRIVATE_ANONYMOUS | kind;
                    (args[4], args[5]) = (random.below(MOST_FDS), offset);
                }
            }
            number::MPROTECT | number::MSYNC => *args = [at, len, random.below(8), 0, 0, 0],
            number::MADVISE => *args = [at, len, random.of(&ADVICE), 0, 0, 0],
            number::MUNMAP | number::MLOCK | number::MUNLOCK => *args = [at, len, 0, 0, 0, 0],
            number::MINCORE => *args = [at, len, self.pointers.any(random), 0, 0, 0],
            number::CLOCK_GETTIME | number::GETRUSAGE => {
                args[0] = random.below(8);
                args[1] = self.pointers.any(random);
            }
            number::SYSINFO | number::NANOSLEEP => args[0] = self.pointers.any(random),
            // A name, or to be preferred by the out-of-memory killer.
            number::PRCTL if random.once_in(2) => *args = [PREFER, random.below(1002), 0, 0, 0, 0],
            number::PRCTL => args[0] = 15,
            number::SWAPON | number::SWAPOFF => *args = [SWAP.as_ptr().addr(), 0, 0, 0, 0, 0],
            number::CLONE => *args = [SIGCHLD, 0, 0, 0, 0, 0],
            number::WAIT4 => {
                args[0] = usize::MAX;
                args[2] = random.below(4);
            }
            number::KILL => *args = [random.below(200), random.of(&[0, 9]), 0, 0, 0, 0],
            _ => self.make_likely_of_files(number, args, at, len),
        }
    }

    /// The same for calls on files.
    fn make_likely_of_files(
        &mut self,
        number: usize,
        args: &mut [usize; 6],
        at: usize,
        len: usize,
    ) {
        let random = &mut self.random;
        let (fd, place) = (random.below(MOST_FDS), random.below(1 << 20));
        *args = match number {
            number::OPENAT => [AT_FDCWD, PATH.as_ptr().addr(), CREATE, 0, 0, 0],
            number::UNLINKAT => [AT_FDCWD, PATH.as_ptr().addr(), 0, 0, 0, 0],
            number::MEMFD_CREATE => [PATH.as_ptr().addr(), 0, 0, 0, 0, 0],
            number::READ | number::WRITE | number::PREAD64 | number::PWRITE64 => {
                [fd, at, len, place, 0, 0]
            }
            number::FTRUNCATE => [fd, place, 0, 0, 0, 0],
            number::FALLOCATE => [fd, PUNCH_HOLE, place, len, 0, 0],
            number::FADVISE64 => [fd, 0, 0, random.below(7), 0, 0],
            number::READAHEAD => [fd, 0, len, 0, 0, 0],
            number::CLOSE
            | number::FSYNC
            | number::LSEEK
            | number::FSTAT
            | number::SYNC_FILE_RANGE => [fd, args[1], args[2], args[3], args[4], args[5]],
            _ => return,
        };
    }

    /// Takes out, or makes seldom, what the head of this file names.
    fn restrain(&mut self, number: usize, mut args: [usize; 6]) -> (usize, [usize; 6]) {
        if self.is_suicide(number, args) && !self.random.once_in(32) {
            args[0] = self.pointers.mapped(&mut self.random);
            args[1] %= STACK;
        }
        let near = self.is_near_own(args[1], args[2]);
        let random = &mut self.random;
        match number {
            number::SWAPOFF if !self.swapoff => args[0] = self.pointers.foreign(random),
            number::EXIT | number::EXIT_GROUP => return (number::GETPPID, args),
            // With other bytes in its own memory it might do what it must not.
            number::READ | number::PREAD64 if near => {
                return (number::GETPPID, args);
            }
            number::NANOSLEEP | number::SCHED_YIELD if !random.once_in(16) => {
                return (number::GETPPID, args);
            }
            number::KILL if (args[0] as i32 as usize) <= LAST_HONEST => args[0] += LAST_HONEST + 1,
            // Other memory of its own may hold any time by now.
            number::NANOSLEEP if args[0] >> 39 == 0 => {
                self.pause[1] = random.number() % MOST_SLEEP;
                args[0] = (&raw const self.pause).expose_provenance();
            }
            number::WRITE if matches!(args[0], 1 | 2) => {
                args[1] = self.pointers.foreign(random);
                args[2] %= PAGE_SIZE;
            }
            // What it writes to a file stays when it is gone.
            number::WRITE | number::PWRITE64 => args[2] %= MOST_WRITTEN,
            number::FALLOCATE => args[3] %= MOST_WRITTEN,
            // A child's child would make them too many.
            number::CLONE if self.is_child || !random.once_in(8) => args[0] |= 1 << 8,
            number::WAIT4 => args[2] |= WNOHANG,
            _ => {}
        }
        (number, args)
    }

    /// The call changes the memory that this very code runs in.
    fn is_suicide(&self, number: usize, args: [usize; 6]) -> bool {
        let [start, len, ..] = args;
        matches!(number, number::MMAP | number::MUNMAP | number::MPROTECT | number::MADVISE)
            && self.is_near_own(start, len)
    }

    /// The range is, or comes near to, code or stack of this very program.
    fn is_near_own(&self, start: usize, len: usize) -> bool {
        let own = [TEXT, (&raw const *self).addr()];
        own.iter().any(|at| start <= at + STACK && start.saturating_add(len) >= at - STACK)
    }
}
