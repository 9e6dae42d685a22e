//! Contents that a disk of a test cannot transfer: so a program decides which request fails.
//!
//! A request to write fails if a sector of it begins with [`WRITE`], and one to read if a sector that is
//! there begins with [`READ`].

/// What a sector that cannot be written begins with.
pub const WRITE: [u8; 8] = *b"POISON:w";
/// What a sector that cannot be read begins with.
pub const READ: [u8; 8] = *b"POISON:r";
/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Whether a sector of these bytes begins so.
#[must_use]
pub fn is_in(bytes: &[u8], poison: [u8; 8]) -> bool {
    bytes.chunks(SECTOR).any(|sector| sector.starts_with(&poison))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_is_found_at_the_start_of_a_sector() {
        let mut bytes = [0; 3 * SECTOR];
        bytes[SECTOR..SECTOR + 8].copy_from_slice(&READ);
        assert!(is_in(&bytes, READ) && !is_in(&bytes, WRITE) && !is_in(&bytes[1..], READ));
    }
}
