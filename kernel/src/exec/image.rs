//! A program's file: where its parts are loaded.
//!
//! Pure. The file is input from outside: what is returned was checked, so that loading can only
//! fail because memory runs out.
//!
//! Each loadable segment has pages of its own, as linkers make them by default (64 KiB alignment on
//! AArch64): pages with the rights of two segments are refused.

use core::fmt;

use elf::ElfBytes;
use elf::abi::{EM_AARCH64, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use mm_reclaim::env::Prot;
use mm_reclaim::units::{PAGE_SIZE, Vpn};

/// The most segments of a program.
pub const MAX_SEGMENTS: usize = 8;

/// The lowest and the highest page that a program's segments may use: not page 0 and its
/// neighbours, and nothing in the upper half, where the stack and mappings are.
const LOWEST: u64 = 0x1_0000;
const HIGHEST: u64 = 1 << 38;

/// Why a file cannot be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Not an ELF file, or one that is truncated or inconsistent.
    NotElf,
    /// Not for 64-bit Arm, or not a statically linked, fixed-address executable.
    WrongKind {
        /// The machine that it is for.
        machine: u16,
        /// The kind of file.
        kind: u16,
    },
    /// It needs a dynamic linker.
    NeedsInterpreter,
    /// More loadable segments than [`MAX_SEGMENTS`], or none.
    SegmentCount(usize),
    /// A segment's bytes are not all in the file, or exceed its size in memory.
    BadSegmentSize {
        /// The segment's address.
        address: u64,
    },
    /// A segment lies outside the addresses that programs may use.
    OutOfRange {
        /// The segment's address.
        address: u64,
    },
    /// Two segments share a page, or are not in ascending order.
    SharedPage {
        /// The later segment's address.
        address: u64,
    },
    /// Writable and executable at once.
    WritableAndExecutable {
        /// The segment's address.
        address: u64,
    },
    /// The entry point lies in no executable segment.
    BadEntry(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not a valid 64-bit little-endian ELF file"),
            Self::WrongKind { machine, kind } => {
                write!(f, "not a static AArch64 executable (machine {machine}, kind {kind})")
            }
            Self::NeedsInterpreter => write!(f, "it wants a dynamic linker"),
            Self::SegmentCount(n) => write!(f, "{n} loadable segments, not 1 to {MAX_SEGMENTS}"),
            Self::BadSegmentSize { address } => {
                write!(f, "the segment at {address:#x} has bad sizes")
            }
            Self::OutOfRange { address } => {
                write!(f, "the segment at {address:#x} is out of a program's reach")
            }
            Self::SharedPage { address } => {
                write!(f, "the segment at {address:#x} shares a page with the one before")
            }
            Self::WritableAndExecutable { address } => {
                write!(f, "the segment at {address:#x} is writable and executable")
            }
            Self::BadEntry(entry) => write!(f, "the entry point {entry:#x} is not executable"),
        }
    }
}

impl core::error::Error for ImageError {}

/// A part of the program's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Its first address; not necessarily page-aligned.
    pub address: u64,
    /// Its first bytes; the rest is zero.
    pub bytes: &'a [u8],
    /// Its size in memory.
    pub size: u64,
    /// What the program may do with it.
    pub prot: Prot,
}

impl Segment<'_> {
    /// Its first page.
    pub fn first_page(&self) -> Vpn {
        // Below HIGHEST, so that the number fits.
        Vpn((self.address / PAGE_SIZE as u64) as u32)
    }

    /// Its pages.
    pub fn pages(&self) -> u32 {
        let end = (self.address + self.size).div_ceil(PAGE_SIZE as u64);
        end as u32 - self.first_page().0
    }
}

/// A checked program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// The entry point.
    pub entry: u64,
    segments: [Option<Segment<'a>>; MAX_SEGMENTS],
}

impl<'a> Image<'a> {
    /// Reads and checks an ELF file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ImageError::NotElf)?;
        let (machine, kind) = (elf.ehdr.e_machine, elf.ehdr.e_type);
        if elf.ehdr.class != elf::file::Class::ELF64 {
            return Err(ImageError::NotElf);
        }
        if machine != EM_AARCH64 || kind != ET_EXEC {
            return Err(ImageError::WrongKind { machine, kind });
        }
        let headers = elf.segments().ok_or(ImageError::SegmentCount(0))?;
        if headers.iter().any(|h| h.p_type == PT_INTERP) {
            return Err(ImageError::NeedsInterpreter);
        }
        let loadable = || headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_memsz != 0);
        let count = loadable().count();
        if count == 0 || count > MAX_SEGMENTS {
            return Err(ImageError::SegmentCount(count));
        }
        let mut segments = [None; MAX_SEGMENTS];
        let mut free_from = Vpn(0);
        for (slot, header) in segments.iter_mut().zip(loadable()) {
            let segment = segment(file, &header)?;
            if segment.first_page() < free_from {
                return Err(ImageError::SharedPage { address: segment.address });
            }
            free_from = segment.first_page() + segment.pages();
            *slot = Some(segment);
        }
        let image = Self { entry: elf.ehdr.e_entry, segments };
        if image.is_executable(image.entry) {
            Ok(image)
        } else {
            Err(ImageError::BadEntry(image.entry))
        }
    }

    /// The parts of its memory, in ascending order.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().flatten()
    }

    fn is_executable(&self, address: u64) -> bool {
        address.is_multiple_of(4)
            && self.segments().any(|s| {
                s.prot.contains(Prot::EXEC) && address >= s.address && address - s.address < s.size
            })
    }
}

fn segment<'a>(file: &'a [u8], header: &ProgramHeader) -> Result<Segment<'a>, ImageError> {
    let address = header.p_vaddr;
    let bad_size = ImageError::BadSegmentSize { address };
    let start = usize::try_from(header.p_offset).map_err(|_| bad_size)?;
    let len = usize::try_from(header.p_filesz).map_err(|_| bad_size)?;
    // Linkers let a segment without bytes begin anywhere, even behind the file's end.
    let start = if len == 0 { 0 } else { start };
    let end = start.checked_add(len).ok_or(bad_size)?;
    let bytes = file.get(start..end).ok_or(bad_size)?;
    if header.p_filesz > header.p_memsz {
        return Err(bad_size);
    }
    let last = address.checked_add(header.p_memsz).ok_or(ImageError::OutOfRange { address })?;
    if address < LOWEST || last > HIGHEST {
        return Err(ImageError::OutOfRange { address });
    }
    let prot = prot(header.p_flags);
    if prot.contains(Prot::WRITE | Prot::EXEC) {
        return Err(ImageError::WritableAndExecutable { address });
    }
    Ok(Segment { address, bytes, size: header.p_memsz, prot })
}

fn prot(flags: u32) -> Prot {
    [(PF_R, Prot::READ), (PF_W, Prot::WRITE), (PF_X, Prot::EXEC)]
        .into_iter()
        .filter(|(flag, _)| flags & flag != 0)
        .fold(Prot::empty(), |all, (_, right)| all | right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these loadable segments (flags, address, bytes in memory), whose
    /// bytes in the file are the four of `code` each.
    fn file(segments: &[(u32, u64, u64)], entry: u64) -> Vec<u8> {
        let mut out = vec![0; 64 + 56 * segments.len()];
        out[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        out[16..18].copy_from_slice(&ET_EXEC.to_le_bytes());
        out[18..20].copy_from_slice(&EM_AARCH64.to_le_bytes());
        out[20..24].copy_from_slice(&1u32.to_le_bytes());
        out[24..32].copy_from_slice(&entry.to_le_bytes());
        out[32..40].copy_from_slice(&64u64.to_le_bytes());
        for (at, value) in [(52, 64u16), (54, 56), (56, segments.len() as u16)] {
            out[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        for (i, (flags, address, size)) in segments.iter().enumerate() {
            let offset = out.len() as u64;
            let at = 64 + 56 * i;
            out[at..at + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
            out[at + 4..at + 8].copy_from_slice(&flags.to_le_bytes());
            let words = [offset, *address, 0, 4.min(*size), *size, 4096];
            for (j, word) in words.into_iter().enumerate() {
                out[at + 8 + 8 * j..at + 16 + 8 * j].copy_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(b"code");
        }
        out
    }

    const TEXT: (u32, u64, u64) = (PF_R | PF_X, 0x40_0000, 0x1800);
    const DATA: (u32, u64, u64) = (PF_R | PF_W, 0x41_0ff0, 0x5000);

    /// Segments are returned with their places, sizes and rights.
    #[test]
    fn a_static_program_is_read() {
        let file = file(&[TEXT, DATA], 0x40_0010);
        let image = Image::parse(&file).unwrap();
        let segments: Vec<_> = image.segments().collect();
        assert_eq!(segments.len(), 2);
        assert_eq!((segments[0].first_page(), segments[0].pages()), (Vpn(0x400), 2));
        assert_eq!((segments[1].first_page(), segments[1].pages()), (Vpn(0x410), 6));
        assert_eq!(segments[1].bytes, b"code");
        assert_eq!(segments[0].prot, Prot::READ | Prot::EXEC);
    }

    /// A segment of zeroes only may claim an offset behind the end of the file.
    #[test]
    fn a_segment_without_bytes_may_begin_behind_the_file() {
        let mut file = file(&[TEXT, DATA], 0x40_0000);
        let header = 64 + 56;
        file[header + 8..header + 16].copy_from_slice(&0x10_0000u64.to_le_bytes());
        file[header + 32..header + 40].fill(0);
        let image = Image::parse(&file).unwrap();
        assert_eq!(image.segments().last().unwrap().bytes, b"");
    }

    /// Each kind of error is reported with the value that shows it.
    #[test]
    fn unfit_files_are_refused_with_the_reason() {
        let refusal = |segments: &[_], entry| Image::parse(&file(segments, entry)).unwrap_err();
        let entry = 0x40_0000;
        assert_eq!(Image::parse(b"#!/bin/sh"), Err(ImageError::NotElf));
        assert_eq!(refusal(&[], entry), ImageError::SegmentCount(0));
        assert_eq!(refusal(&[TEXT; 9], entry), ImageError::SegmentCount(9));
        assert_eq!(refusal(&[TEXT, TEXT], entry), ImageError::SharedPage { address: 0x40_0000 });
        assert_eq!(refusal(&[TEXT], 0x40_1800), ImageError::BadEntry(0x40_1800));
        assert_eq!(refusal(&[TEXT, DATA], DATA.1), ImageError::BadEntry(DATA.1));
        let wx = (PF_W | PF_X, 0x40_0000, 8);
        assert_eq!(refusal(&[wx], entry), ImageError::WritableAndExecutable { address: entry });
        for bad in
            [(PF_R, 0, 8), (PF_R, u64::MAX - 4, 8), (PF_R, HIGHEST, 8), (PF_R, 0x1_0000, u64::MAX)]
        {
            assert_eq!(refusal(&[bad], entry), ImageError::OutOfRange { address: bad.1 });
        }
    }

    /// A truncated file is refused at every length.
    #[test]
    fn every_truncation_is_refused() {
        let file = file(&[TEXT, DATA], 0x40_0000);
        for len in 0..file.len() {
            assert!(Image::parse(&file[..len]).is_err(), "{len} bytes");
        }
    }

    /// No single wrong byte makes the reader panic, and what it accepts satisfies [`assert_sound`].
    #[test]
    fn every_mutation_of_a_byte_is_survived() {
        let good = file(&[TEXT, DATA], 0x40_0000);
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(image) = Image::parse(&bad) {
                    assert!(image.segments().all(|s| s.bytes.len() as u64 <= s.size));
                    assert!(image.segments().all(|s| u64::from(s.pages()) * 4096 <= HIGHEST));
                }
            }
        }
    }

    /// What [`Image::parse`] promises about a file that it accepts.
    fn assert_sound(file: &[u8], image: &Image<'_>) {
        let mut free_from = LOWEST;
        for s in image.segments() {
            assert!(s.address >= free_from && s.size > 0 && s.bytes.len() as u64 <= s.size);
            assert!(file.as_ptr_range().contains(&s.bytes.as_ptr()) || s.bytes.is_empty());
            assert!(!s.prot.contains(Prot::WRITE | Prot::EXEC));
            free_from = (s.address + s.size).next_multiple_of(PAGE_SIZE as u64);
            assert!(free_from <= HIGHEST);
            assert_eq!(s.first_page() + s.pages(), Vpn((free_from / PAGE_SIZE as u64) as u32));
        }
        assert!(image.is_executable(image.entry));
    }

    /// Whatever two fields of the headers hold, including edge values and sums that wrap around,
    /// nothing panics, and what is accepted is valid.
    #[test]
    fn every_pair_of_bad_fields_is_survived() {
        const WORDS: [u64; 12] = [
            0,
            1,
            8,
            0xfff,
            0x40_0000,
            0x41_0ff0,
            HIGHEST - 1,
            HIGHEST,
            1 << 63,
            i64::MAX as u64,
            u64::MAX - 0xfff,
            u64::MAX,
        ];
        let good = file(&[TEXT, DATA], 0x40_0000);
        // The entry, the tables' places and shape; of each segment type, flags, offset,
        // address, and the two sizes.
        let header = [(16, 8), (24, 8), (32, 8), (40, 8), (48, 8), (52, 4), (56, 8)];
        let segment = [(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8)];
        let of_segment = |base: usize| segment.map(|(at, len)| (base + at, len));
        let fields: Vec<_> =
            header.into_iter().chain(of_segment(64)).chain(of_segment(64 + 56)).collect();
        let with = |file: &[u8], (at, len): (usize, usize), word: u64| {
            let mut bad = file.to_vec();
            bad[at..at + len].copy_from_slice(&word.to_le_bytes()[..len]);
            bad
        };
        let mut accepted = 0;
        for first in &fields {
            for one in WORDS {
                let bad = with(&good, *first, one);
                for second in &fields {
                    for two in WORDS {
                        let worse = with(&bad, *second, two);
                        if let Ok(image) = Image::parse(&worse) {
                            assert_sound(&worse, &image);
                            accepted += 1;
                        }
                    }
                }
            }
        }
        assert!(accepted > 0, "some of them are harmless");
    }
}
