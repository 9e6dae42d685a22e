//! The names of devices: `vda` is a disk, `vda1` its first partition. Pure.

use core::fmt;

/// The longest: a disk's three letters, and the digits of a partition's number.
const LONGEST: usize = 6;

/// A name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    text: [u8; LONGEST],
    len: u8,
}

impl Name {
    /// That of the RAM disk.
    pub const RAM: Self = Self { text: *b"ram0\0\0", len: 4 };

    /// That of the disk with this last letter.
    pub const fn disk(letter: u8) -> Self {
        Self { text: [b'v', b'd', letter, 0, 0, 0], len: 3 }
    }

    /// That of the disk's partition of this number, below 1000.
    pub fn partition(letter: u8, number: u16) -> Self {
        let mut name = Self::disk(letter);
        for power in [100, 10, 1] {
            if number >= power && name.len() < LONGEST {
                name.text[name.len()] = b'0' + (number / power % 10) as u8;
                name.len += 1;
            }
        }
        name
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.text[..self.len()]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.bytes()).unwrap_or("?"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_partition_is_named_by_its_disk_and_its_number() {
        let names = [1, 9, 10, 99, 100, 128, 999].map(|n| Name::partition(b'c', n).to_string());
        assert_eq!(names, ["vdc1", "vdc9", "vdc10", "vdc99", "vdc100", "vdc128", "vdc999"]);
        assert_eq!(Name::disk(b'a').to_string(), "vda");
        assert_eq!(Name::RAM.bytes(), b"ram0");
    }
}
