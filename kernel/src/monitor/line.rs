//! The live line: the progress of the program, and where the pages are.
//!
//! Its length does not change from one drawing to the next, so that each covers the previous one, and it
//! is never longer than [`MOST`] columns or the width of the terminal: otherwise it would
//! wrap. Fields that do not fit are left out, from the right. Pure.

use core::fmt::{self, Write};

/// The most columns of the line.
pub const MOST: usize = 79;

/// What the fields mean, printed once before the first drawing.
pub const LEGEND: &str = "\
live line, in pages (k: thousands): free; on the inactive and the active list;
freed by kswapd + by programs that had to wait; swapped out and in; and as soon
as there are files: anonymous; of files, inactive + active; dirty + being
written back; come back soon after they were freed";

/// What the line shows, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Free, including those on the per-CPU lists.
    pub free: u64,
    /// On the inactive lists: anonymous, and of files.
    pub inactive: [u64; 2],
    /// On the active lists, likewise.
    pub active: [u64; 2],
    /// Pages of files that are dirty.
    pub dirty: u64,
    /// Pages of files that are being written back.
    pub writeback: u64,
    /// Pages that came back while their shadow was there.
    pub refaults: u64,
    /// Freed by kswapd since the boot.
    pub by_kswapd: u64,
    /// Freed by direct reclaim.
    pub by_direct: u64,
    /// Written to swap.
    pub swapped_out: u64,
    /// Read from swap.
    pub swapped_in: u64,
}

/// The line for a terminal of a given width.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The program's progress: fifteen bytes, such as `write 45%`.
    pub progress: &'a str,
    /// The pages.
    pub figures: Figures,
    /// Columns of the terminal. The last one stays empty: some terminals wrap as soon as it is
    /// written.
    pub columns: usize,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = MOST.min(self.columns.saturating_sub(1));
        let mut fields = Fields { out: f, room: width, left: width };
        fields.put(format_args!("{:<15.15}", self.progress))?;
        fields.put(format_args!(" free {}", Short(self.figures.free)))?;
        if self.figures.has_files() {
            self.figures.with_files(&mut fields)?;
        } else {
            self.figures.without_files(&mut fields)?;
        }
        fields.fill()
    }
}

impl Figures {
    fn has_files(&self) -> bool {
        self.inactive[1] + self.active[1] > 0
    }

    fn without_files(&self, fields: &mut Fields<'_, '_>) -> fmt::Result {
        fields.put(format_args!(" inact {}", Short(self.inactive[0])))?;
        fields.put(format_args!(" act {}", Short(self.active[0])))?;
        fields.put(format_args!(" freed {}+{}", Short(self.by_kswapd), Short(self.by_direct)))?;
        fields.put(format_args!(" out {}", Short(self.swapped_out)))?;
        fields.put(format_args!(" in {}", Short(self.swapped_in)))
    }

    fn with_files(&self, fields: &mut Fields<'_, '_>) -> fmt::Result {
        fields.put(format_args!(" anon {}", Short(self.inactive[0] + self.active[0])))?;
        fields.put(format_args!(" file {}+{}", Short(self.inactive[1]), Short(self.active[1])))?;
        fields.put(format_args!(" dirty {}+{}", Short(self.dirty), Short(self.writeback)))?;
        fields.put(format_args!(" back {}", Short(self.refaults)))
    }
}

/// Writes fields as long as there is room for whole ones.
struct Fields<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
    /// Columns up to the end of the line.
    left: usize,
}

impl Fields<'_, '_> {
    fn put(&mut self, field: fmt::Arguments<'_>) -> fmt::Result {
        let mut length = Length(0);
        length.write_fmt(field)?;
        if length.0 > self.room {
            self.room = 0;
            return Ok(());
        }
        self.room -= length.0;
        self.left -= length.0;
        self.out.write_fmt(field)
    }

    /// Spaces up to the end, so that the line covers whatever was drawn before.
    fn fill(self) -> fmt::Result {
        write!(self.out, "{:1$}", "", self.left)
    }
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// A number in four columns: `9999`, `12k`, `1.2M`.
struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 0..10_000 => write!(f, "{n:>4}"),
            n @ 10_000..1_000_000 => write!(f, "{:>3}k", n / 1000),
            n @ 1_000_000..10_000_000 => write!(f, "{}.{}M", n / 1_000_000, n / 100_000 % 10),
            n => write!(f, "{:>3}M", n / 1_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        free: 559,
        inactive: [63_317, 0],
        active: [2, 0],
        dirty: 0,
        writeback: 0,
        refaults: 0,
        by_kswapd: 21_344,
        by_direct: 13_970,
        swapped_out: 1_235_327,
        swapped_in: 3,
    };

    fn line(columns: usize) -> String {
        Line { progress: "write       76%", figures: FIGURES, columns }.to_string()
    }

    #[test]
    fn the_line_shows_progress_and_pages() {
        let wanted =
            "write       76% free  559 inact  63k act    2 freed  21k+ 13k out 1.2M in    3";
        assert_eq!(line(80).trim_end(), wanted);
    }

    /// It once reached 133 columns and wrapped at 80, 100 and 130.
    #[test]
    fn the_line_never_exceeds_79_columns_nor_the_terminal() {
        let large = u64::from(u32::MAX) / 8;
        let figures = |files| Figures {
            free: large,
            inactive: [large, files],
            active: [large, files],
            dirty: large,
            writeback: large,
            refaults: large,
            by_kswapd: large,
            by_direct: large,
            swapped_out: large,
            swapped_in: large,
        };
        for columns in 0..200 {
            for progress in ["", "x", "writes fail100%", "a name that is too long"] {
                for files in [0, large] {
                    let line = Line { progress, figures: figures(files), columns }.to_string();
                    assert_eq!(line.len(), columns.saturating_sub(1).min(79), "{line}");
                }
            }
        }
        assert!(LEGEND.lines().all(|line| line.len() <= 79));
    }

    /// FILE-01: as soon as there are files, the line shows them.
    #[test]
    fn the_line_shows_files_as_soon_as_there_are_any() {
        let figures = Figures {
            inactive: [900, 14_321],
            active: [70, 3_210],
            dirty: 440,
            writeback: 12,
            refaults: 35_208,
            ..FIGURES
        };
        let said = Line { progress: "stream", figures, columns: 80 }.to_string();
        let wanted = "stream          free  559 anon  970 file  14k+3210 dirty  440+  12 back  35k";
        assert_eq!(said.trim_end(), wanted);
    }

    #[test]
    fn a_narrow_terminal_gets_whole_fields_only() {
        assert_eq!(line(41).trim_end(), "write       76% free  559 inact  63k");
        assert_eq!(line(16), "write       76%");
        assert_eq!(line(15).trim_end(), "");
    }

    #[test]
    fn numbers_take_four_columns() {
        let short = |n| Short(n).to_string();
        assert_eq!(short(9_999), "9999");
        assert_eq!(short(10_000), " 10k");
        assert_eq!(short(999_999), "999k");
        assert_eq!(short(1_000_000), "1.0M");
        assert_eq!(short(33_554_432), " 33M");
    }
}
