//! What an operation returned, as it is written to the file of results.

/// Bytes of a record.
pub const BYTES: usize = 16;

/// The status of a child that a bus error ended.
pub const SIGBUS: i64 = -1007;

/// What an operation returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// A count of bytes or names, or a negative error.
    pub status: i64,
    /// The hash of what was found, 0 if nothing was asked for; with an error how many calls of the
    /// operation had succeeded before.
    pub hash: u64,
}

impl Record {
    /// A success that has nothing to say.
    pub const DONE: Self = Self { status: 0, hash: 0 };

    /// Only a count.
    #[must_use]
    pub const fn count(count: usize) -> Self {
        Self { status: count as i64, hash: 0 }
    }

    /// A positive error number, of a call behind so many that succeeded.
    #[must_use]
    pub const fn error(errno: usize, calls: u64) -> Self {
        Self { status: -(errno as i64), hash: calls }
    }

    /// Whether the operation failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.status < 0
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.status.to_le_bytes());
        bytes[8..].copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    /// From bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        Self { status: word(0).cast_signed(), hash: word(8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_as_bytes() {
        let record = Record { status: -28, hash: u64::MAX - 5 };
        assert_eq!(Record::from_bytes(record.to_bytes()), record);
    }
}
