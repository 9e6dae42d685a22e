//! The initial stack of a program, in Linux's layout.
//!
//! Pure. From the stack pointer upwards: the number of arguments, a pointer to each, a zero,
//! the (empty) environment's zero, the auxiliary vector, and the strings.

use mm_reclaim::units::PAGE_SIZE;

/// The most bytes that it may take.
pub const MAX_BYTES: usize = 2048;

/// Auxiliary vector: end, and the page size.
const AT_NULL: u64 = 0;
const AT_PAGESZ: u64 = 6;

/// The arguments take more than [`MAX_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

/// The top of a new stack.
#[derive(Debug)]
pub struct InitialStack {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl InitialStack {
    /// The stack of a program called `name` with the arguments in `args`, separated by white
    /// space, so that its last byte is just below `top`, a multiple of 16.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn new(name: &str, args: &str, top: u64) -> Result<Self, TooLong> {
        let words = || core::iter::once(name).chain(args.split_ascii_whitespace());
        let count = words().count();
        let strings: usize = words().map(|w| w.len() + 1).sum();
        // argc, the pointers and their zero, the environment's zero, two pairs.
        let numbers = (1 + count + 1 + 1 + 4) * 8;
        let len = (numbers + strings).next_multiple_of(16);
        if len > MAX_BYTES {
            return Err(TooLong);
        }
        let mut stack = Self { bytes: [0; MAX_BYTES], len };
        let base = top - len as u64;
        stack.put(0, count as u64);
        let mut at = numbers;
        for (i, word) in words().enumerate() {
            stack.put(1 + i, base + at as u64);
            stack.bytes[at..at + word.len()].copy_from_slice(word.as_bytes());
            at += word.len() + 1;
        }
        for (i, value) in [AT_PAGESZ, PAGE_SIZE as u64, AT_NULL, 0].into_iter().enumerate() {
            stack.put(1 + count + 2 + i, value);
        }
        Ok(stack)
    }

    fn put(&mut self, index: usize, value: u64) {
        self.bytes[index * 8..index * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Its bytes, from the stack pointer on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x7f_ffff_0000;

    fn word(stack: &InitialStack, index: usize) -> u64 {
        u64::from_le_bytes(stack.bytes()[index * 8..index * 8 + 8].try_into().unwrap())
    }

    /// Arguments are found through their pointers, zero-terminated.
    #[test]
    fn arguments_are_where_the_pointers_say() {
        let stack = InitialStack::new("memload", " zipf  target=64 ", TOP).unwrap();
        let base = TOP - stack.bytes().len() as u64;
        assert_eq!(base % 16, 0);
        assert_eq!(word(&stack, 0), 3);
        for (i, want) in ["memload", "zipf", "target=64"].into_iter().enumerate() {
            let at = (word(&stack, 1 + i) - base) as usize;
            assert_eq!(&stack.bytes()[at..=at + want.len()], format!("{want}\0").as_bytes());
        }
        let rest: Vec<u64> = (4..10).map(|i| word(&stack, i)).collect();
        assert_eq!(rest, [0, 0, AT_PAGESZ, 4096, AT_NULL, 0]);
    }

    /// A program without arguments gets its name.
    #[test]
    fn no_arguments_leave_the_name() {
        let stack = InitialStack::new("init", "", TOP).unwrap();
        assert_eq!((word(&stack, 0), word(&stack, 2)), (1, 0));
    }

    /// Too many arguments are refused, not truncated.
    #[test]
    fn too_many_arguments_are_refused() {
        let long = "x ".repeat(MAX_BYTES / 10);
        assert!(InitialStack::new("init", &long, TOP).is_err());
    }
}
