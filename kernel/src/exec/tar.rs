//! A reader of ustar archives (POSIX.1-1988): finds a file by its name.
//!
//! Pure. The archive is not trusted: every number is checked, and the walk moves forward by at
//! least one block per step, so that it ends.

use core::fmt;

/// Bytes in a block; headers and contents are padded to it.
const BLOCK: usize = 512;

/// Why a file was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TarError {
    /// The archive ends, and the file was not there.
    NotFound,
    /// The header at this offset is no ustar header.
    BadMagic(usize),
    /// The checksum of the header at this offset is wrong.
    BadChecksum(usize),
    /// The size in the header at this offset is no octal number.
    BadSize(usize),
    /// The contents of the file at this offset go beyond the archive's end.
    Truncated(usize),
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => write!(f, "no such file in the archive"),
            Self::BadMagic(at) => write!(f, "no ustar header at offset {at}"),
            Self::BadChecksum(at) => write!(f, "wrong checksum of the header at offset {at}"),
            Self::BadSize(at) => write!(f, "bad size in the header at offset {at}"),
            Self::Truncated(at) => write!(f, "the file at offset {at} is cut off"),
        }
    }
}

impl core::error::Error for TarError {}

/// One file of an archive.
struct Entry<'a> {
    header: &'a [u8; BLOCK],
    contents: &'a [u8],
    next: usize,
}

/// The contents of the regular file `name`; a leading `./` in the archive is ignored.
///
/// # Errors
/// [`TarError`].
pub fn find<'a>(archive: &'a [u8], name: &str) -> Result<&'a [u8], TarError> {
    let mut at = 0;
    while let Some(entry) = entry(archive, at)? {
        let regular = matches!(entry.header[156], b'0' | 0);
        if regular && has_name(entry.header, name.as_bytes()) {
            return Ok(entry.contents);
        }
        at = entry.next;
    }
    Err(TarError::NotFound)
}

/// The entry at `at`; `None` at the end: a block of zeroes, or nothing.
fn entry(archive: &[u8], at: usize) -> Result<Option<Entry<'_>>, TarError> {
    let Some(header) = archive.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) else {
        return Ok(None);
    };
    if header.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    if &header[257..262] != b"ustar" {
        return Err(TarError::BadMagic(at));
    }
    if octal(&header[148..156]) != Some(checksum(header)) {
        return Err(TarError::BadChecksum(at));
    }
    let size = octal(&header[124..136])
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(TarError::BadSize(at))?;
    let start = at + BLOCK;
    let end = start.checked_add(size).ok_or(TarError::BadSize(at))?;
    let contents = archive.get(start..end).ok_or(TarError::Truncated(at))?;
    Ok(Some(Entry { header, contents, next: end.next_multiple_of(BLOCK) }))
}

/// The sum of the header's bytes, with its own field read as spaces.
fn checksum(header: &[u8; BLOCK]) -> u64 {
    let byte = |(i, b): (usize, &u8)| if (148..156).contains(&i) { b' ' } else { *b };
    header.iter().enumerate().map(byte).map(u64::from).sum()
}

/// An octal number, with spaces before and a space or zero after it.
fn octal(field: &[u8]) -> Option<u64> {
    let text = field.trim_ascii_start();
    let end = text.iter().position(|b| *b == 0 || *b == b' ').unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() || !digits.iter().all(|b| (b'0'..=b'7').contains(b)) {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| n.checked_mul(8)?.checked_add(u64::from(b - b'0')))
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(&[])
}

fn has_name(header: &[u8; BLOCK], wanted: &[u8]) -> bool {
    let (name, prefix) = (until_zero(&header[..100]), until_zero(&header[345..500]));
    if prefix.is_empty() {
        return name.strip_prefix(b"./").unwrap_or(name) == wanted;
    }
    let rest = wanted.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(b"/"));
    rest == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[148..156].copy_from_slice(sum.as_bytes());
        block
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, contents) in files {
            out.extend_from_slice(&header(name, contents.len()));
            out.extend_from_slice(contents);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    /// A program is found by its name, wherever it is and whatever `tar` put before it.
    #[test]
    fn files_are_found_by_name() {
        let tar = archive(&[("first", b"1"), ("./second", &[2; 700]), ("third", b"")]);
        assert_eq!(find(&tar, "first"), Ok(&b"1"[..]));
        assert_eq!(find(&tar, "second"), Ok(&[2; 700][..]));
        assert_eq!(find(&tar, "third"), Ok(&b""[..]));
        assert_eq!(find(&tar, "fourth"), Err(TarError::NotFound));
        assert_eq!(find(&[], "first"), Err(TarError::NotFound));
    }

    /// A directory of the same name is not the file.
    #[test]
    fn only_regular_files_count() {
        let mut tar = archive(&[("init", b"x")]);
        tar[156] = b'5';
        let sum = format!("{:06o}\0 ", checksum(tar[..BLOCK].try_into().unwrap()));
        tar[148..156].copy_from_slice(sum.as_bytes());
        assert_eq!(find(&tar, "init"), Err(TarError::NotFound));
    }

    /// Damage is reported with its offset.
    #[test]
    fn damage_is_reported_with_its_offset() {
        let tar = archive(&[("first", b"1"), ("second", &[2; 700])]);
        let with = |at: usize, value: u8| {
            let mut bad = tar.clone();
            bad[at] = value;
            find(&bad, "second").unwrap_err()
        };
        assert_eq!(with(2 * BLOCK + 257, b'x'), TarError::BadMagic(2 * BLOCK));
        assert_eq!(with(2 * BLOCK, b'x'), TarError::BadChecksum(2 * BLOCK));
        assert_eq!(find(&tar[..3 * BLOCK + 100], "second"), Err(TarError::Truncated(2 * BLOCK)));
    }

    /// A huge size neither overflows nor loops.
    #[test]
    fn an_absurd_size_is_refused() {
        let mut tar = archive(&[("first", b"1")]);
        for size in [*b"77777777777 ", *b"999999999999", *b"            ", *b"-0000000001 "] {
            tar[124..136].copy_from_slice(&size);
            let sum = format!("{:06o}\0 ", checksum(tar[..BLOCK].try_into().unwrap()));
            tar[148..156].copy_from_slice(sum.as_bytes());
            assert!(matches!(find(&tar, "x"), Err(TarError::BadSize(0) | TarError::Truncated(0))));
        }
    }

    /// No single wrong byte makes the reader panic, or find a file that is not there.
    #[test]
    fn every_mutation_of_a_byte_is_survived() {
        let tar = archive(&[("first", b"1"), ("second", &[2; 700])]);
        for at in 0..tar.len() {
            for value in [0, b'7', b'9', 0xff] {
                let mut bad = tar.clone();
                bad[at] = value;
                let _ = find(&bad, "second");
                assert!(find(&bad, "absent").is_err());
            }
        }
    }

    /// Recomputes the checksum of the header at `at`.
    fn seal(tar: &mut [u8], at: usize) {
        let sum = checksum(tar[at..at + BLOCK].try_into().unwrap());
        tar[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// A wrong byte with a right checksum is handled too, and what is found lies in the archive.
    #[test]
    fn every_mutation_under_a_right_checksum_is_survived() {
        let tar = archive(&[("first", b"1"), ("second", &[2; 700])]);
        for header in [0, 2 * BLOCK] {
            for at in (0..BLOCK).filter(|at| !(148..156).contains(at)) {
                for value in 0..=255 {
                    let mut bad = tar.clone();
                    bad[header + at] = value;
                    seal(&mut bad, header);
                    if let Ok(found) = find(&bad, "second") {
                        assert!(found.len() <= bad.len() - 3 * BLOCK);
                    }
                }
            }
        }
    }

    /// A truncated archive holds its first file, or none.
    #[test]
    fn every_truncation_is_survived() {
        let tar = archive(&[("first", b"1"), ("second", &[2; 700])]);
        for len in 0..tar.len() {
            let end = find(&tar[..len], "second").map(<[u8]>::len);
            let expected = match len {
                512 => Err(TarError::Truncated(0)),
                // The rest of a header is no header: the archive ends before it.
                0..1536 => Err(TarError::NotFound),
                1536..2236 => Err(TarError::Truncated(2 * BLOCK)),
                _ => Ok(700),
            };
            assert_eq!(end, expected, "{len} bytes");
        }
    }
}
