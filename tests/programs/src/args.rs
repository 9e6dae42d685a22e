//! A program's arguments: its name, then words, some of the form `key=value`.

use core::ffi::{CStr, c_char};

/// The arguments as the kernel laid them on the stack.
#[derive(Clone, Copy)]
pub struct Args {
    words: &'static [*const c_char],
}

impl Args {
    /// Reads `argc` and the pointers after it.
    ///
    /// # Safety
    /// `stack` points at a count and that many pointers to strings that end in zero; none
    /// of it changes while the process lives.
    pub(crate) unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the caller vouches for the count.
        let count = unsafe { *stack };
        let first = stack.wrapping_add(1).cast();
        // SAFETY: the caller vouches for `count` pointers right behind it.
        let words = unsafe { core::slice::from_raw_parts(first, count) };
        Self { words }
    }

    /// Every argument in UTF-8, the program's name first.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.words.iter().filter_map(|&word| {
            // SAFETY: `from_stack`'s caller vouched for each string.
            unsafe { CStr::from_ptr(word) }.to_str().ok()
        })
    }

    /// The text after `key=`, if such an argument was given.
    pub fn text(&self, key: &str) -> Option<&'static str> {
        self.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The number after `key=`, or `default` if there is no such argument.
    ///
    /// # Panics
    /// If the text after `key=` is no number.
    pub fn number(&self, key: &str, default: usize) -> usize {
        self.text(key).map_or(default, |text| match text.parse() {
            Ok(number) => number,
            Err(_) => panic!("{key}={text} is no number"),
        })
    }
}
