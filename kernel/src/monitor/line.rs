//! The live line: the progress of the program, and where the pages are.
//!
//! Its length does not change from one drawing to the next, so that each covers the previous one,
//! and it is never longer than [`MOST`] columns or the width of the terminal: otherwise it would
//! wrap. Fields that do not fit are left out, from the right. Pure.

use core::fmt::{self, Write};

/// The most columns of the line.
pub const MOST: usize = 79;

/// What the fields mean. Two lines, printed once before the first drawing.
pub const LEGEND: &str = "\
live line, in pages (k: thousands): free; on the inactive and the active list;
freed by kswapd + by programs that had to wait; swapped out and in";

/// What the line shows, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Free, including those on the per-CPU lists.
    pub free: u64,
    /// On the inactive lists.
    pub inactive: u64,
    /// On the active lists.
    pub active: u64,
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
        let Figures { free, inactive, active, .. } = self.figures;
        let Figures { by_kswapd, by_direct, swapped_out, swapped_in, .. } = self.figures;
        let short = Short;
        let mut fields = Fields { out: f, room: MOST.min(self.columns.saturating_sub(1)) };
        fields.put(format_args!("{:<15.15}", self.progress))?;
        fields.put(format_args!(" free {}", short(free)))?;
        fields.put(format_args!(" inact {}", short(inactive)))?;
        fields.put(format_args!(" act {}", short(active)))?;
        fields.put(format_args!(" freed {}+{}", short(by_kswapd), short(by_direct)))?;
        fields.put(format_args!(" out {}", short(swapped_out)))?;
        fields.put(format_args!(" in {}", short(swapped_in)))
    }
}

/// Writes fields as long as there is room for whole ones.
struct Fields<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
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
        self.out.write_fmt(field)
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
        inactive: 63_317,
        active: 2,
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
        assert_eq!(line(80), wanted);
    }

    /// It once reached 133 columns and wrapped at 80, 100 and 130.
    #[test]
    fn the_line_never_exceeds_79_columns_nor_the_terminal() {
        let large = u64::from(u32::MAX) / 8;
        let figures = Figures {
            free: large,
            inactive: large,
            active: large,
            by_kswapd: large,
            by_direct: large,
            swapped_out: large,
            swapped_in: large,
        };
        for columns in 0..200 {
            for progress in ["", "x", "writes fail100%", "a name that is too long"] {
                let line = Line { progress, figures, columns }.to_string();
                assert!(line.len() <= 79, "{line}");
                assert!(line.len() < columns.max(1), "{columns}: {line}");
            }
        }
        assert!(LEGEND.lines().all(|line| line.len() <= 79) && LEGEND.lines().count() == 2);
    }

    /// A shorter drawing would leave the end of a longer one on the screen.
    #[test]
    fn every_drawing_is_as_long_as_the_one_before() {
        for columns in [40, 79, 80, 130] {
            let nothing = Line { progress: "", figures: Figures::default(), columns };
            assert_eq!(line(columns).len(), nothing.to_string().len(), "{columns}");
        }
    }

    #[test]
    fn a_narrow_terminal_gets_whole_fields_only() {
        assert_eq!(line(41), "write       76% free  559 inact  63k");
        assert_eq!(line(16), "write       76%");
        assert_eq!(line(15), "");
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
