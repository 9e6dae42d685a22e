//! The contents that a file must have: what is not written reads as zeroes.

use std::collections::BTreeMap;

/// Bytes of a piece, which is no larger than the smallest block.
pub const PIECE: usize = 1024;

/// Contents of a file, without its holes.
#[derive(Clone, Default, Debug)]
pub struct Content {
    pub size: u64,
    pieces: BTreeMap<u64, Box<[u8; PIECE]>>,
    /// How often it has changed other than by growing.
    pub changes: u32,
    /// How often it has grown.
    pub growths: u32,
}

impl Content {
    fn note(&mut self, grows: bool) {
        match grows {
            true => self.growths += 1,
            false => self.changes += 1,
        }
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.note(offset >= self.size);
        let mut done = 0;
        while done < bytes.len() {
            let place = offset + done as u64;
            let within = (place % PIECE as u64) as usize;
            let len = (PIECE - within).min(bytes.len() - done);
            let piece = self.pieces.entry(place / PIECE as u64);
            let piece = piece.or_insert_with(|| Box::new([0; PIECE]));
            piece[within..within + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }

    /// A part of whole pieces becomes a hole.
    pub fn clear(&mut self, from: u64, to: u64) {
        self.note(false);
        let pieces = from / PIECE as u64..to / PIECE as u64;
        self.pieces.retain(|at, _| !pieces.contains(at));
    }

    pub fn resize(&mut self, size: u64) {
        self.note(size >= self.size);
        self.size = self.size.min(size);
        let end = self.size / PIECE as u64;
        self.pieces.retain(|at, _| *at <= end);
        if let Some(piece) = self.pieces.get_mut(&end) {
            piece[(self.size % PIECE as u64) as usize..].fill(0);
        }
        self.size = size;
    }

    /// Up to `len` bytes from `offset` on, up to the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (len as u64).min(self.size.saturating_sub(offset)) as usize;
        let mut bytes = Vec::with_capacity(len + 2 * PIECE);
        let first = offset / PIECE as u64;
        let skip = (offset % PIECE as u64) as usize;
        let mut at = first;
        while bytes.len() < skip + len {
            match self.pieces.get(&at) {
                Some(piece) => bytes.extend_from_slice(&piece[..]),
                None => bytes.extend_from_slice(&[0; PIECE]),
            }
            at += 1;
        }
        bytes.truncate(skip + len);
        bytes.split_off(skip)
    }

    /// Whether nothing but zeroes is in a part.
    pub fn is_zero(&self, from: u64, to: u64) -> bool {
        let pieces = from / PIECE as u64..to.div_ceil(PIECE as u64);
        let mut within = self.pieces.range(pieces);
        within.all(|(_, piece)| piece.iter().all(|byte| *byte == 0))
    }

    /// Pieces that are not holes: where they begin.
    pub fn pieces(&self) -> impl Iterator<Item = u64> + '_ {
        self.pieces.keys().map(|at| at * PIECE as u64)
    }
}
