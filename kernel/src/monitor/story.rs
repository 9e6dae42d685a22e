//! What happened, in three sentences: what the programs waited for, what reclaim did, and what
//! went to swap and was lost. Pure.

use core::fmt::{self, Write};

use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, PAGE_SIZE};

use super::line::MOST;

/// The sentences, each on a line of its own or, if that is too long, on two.
pub struct Story<'a> {
    /// How long the program ran.
    pub elapsed: Nanos,
    /// What was counted.
    pub count: &'a dyn Fn(VmEvent) -> u64,
}

impl Story<'_> {
    fn write_faults(&self, out: &mut Lines<'_, '_>) -> fmt::Result {
        let tenths = self.elapsed.0 / 100_000_000;
        let (all, waited) = ((self.count)(VmEvent::PgFault), (self.count)(VmEvent::PgMajFault));
        write!(out, "In {}.{} s there were {}", tenths / 10, tenths % 10, many(all, "page fault"))?;
        match waited {
            0 => out.end(", and none of them waited for a disk."),
            _ => out.end(format_args!(", of which {waited} waited for a disk.")),
        }
    }

    fn write_reclaim(&self, out: &mut Lines<'_, '_>) -> fmt::Result {
        let sum = |events: [VmEvent; 3]| events.map(self.count).iter().sum::<u64>();
        let looked = sum([VmEvent::PgScanKswapd, VmEvent::PgScanDirect, VmEvent::PgScanProactive]);
        let kswapd = (self.count)(VmEvent::PgStealKswapd);
        let direct = (self.count)(VmEvent::PgStealDirect);
        let asked = (self.count)(VmEvent::PgStealProactive);
        let freed = kswapd + direct + asked;
        if looked == 0 {
            return out.end("There was memory enough: reclaim had nothing to do.");
        }
        write!(out, "Reclaim looked at {} and freed {freed}", many(looked, "page"))?;
        if freed == 0 {
            return out.end(".");
        }
        let percent = |part: u64| part * 100 / freed;
        write!(out, ": {} % by kswapd, {} % by programs", percent(kswapd), percent(direct))?;
        match asked {
            0 => out.end(" that had to wait."),
            _ => out.end(format_args!(" that had to wait, {} % on request.", percent(asked))),
        }
    }

    fn write_swap(&self, out: &mut Lines<'_, '_>) -> fmt::Result {
        let (gone, back) = ((self.count)(VmEvent::PswpOut), (self.count)(VmEvent::PswpIn));
        let failed = (self.count)(VmEvent::SwapWriteError) + (self.count)(VmEvent::SwapReadError);
        let killed = (self.count)(VmEvent::OomKill);
        match gone {
            0 => write!(out, "Nothing went to swap")?,
            _ => {
                let size = (gone * PAGE_SIZE as u64) >> 20;
                write!(
                    out,
                    "{} ({size} MiB) went to swap and {back} came back",
                    many(gone, "page")
                )?;
            }
        }
        if failed > 0 {
            write!(out, ", {} failed", many(failed, "request"))?;
        }
        match killed {
            0 => out.end("; nothing was killed for its memory."),
            1 => out.end("; 1 program was killed for its memory."),
            n => out.end(format_args!("; {n} programs were killed for their memory.")),
        }
    }
}

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines { out: f, column: 0, word: [0; LONGEST], used: 0 };
        self.write_faults(&mut lines)?;
        self.write_reclaim(&mut lines)?;
        self.write_swap(&mut lines)
    }
}

/// A number and a noun.
fn many(count: u64, what: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{count} {what}{}", if count == 1 { "" } else { "s" }))
}

/// Bytes of the longest word: a number of 64 bits and a little more.
const LONGEST: usize = 32;

/// Text, word by word, in lines of at most [`MOST`] columns.
struct Lines<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    column: usize,
    word: [u8; LONGEST],
    used: usize,
}

impl Lines<'_, '_> {
    /// The end of a sentence, and of its line.
    fn end(&mut self, text: impl fmt::Display) -> fmt::Result {
        write!(self, "{text}")?;
        self.put_word()?;
        self.column = 0;
        self.out.write_char('\n')
    }

    fn put_word(&mut self) -> fmt::Result {
        let word = core::str::from_utf8(&self.word[..self.used]).unwrap_or("?");
        let between = match self.column {
            0 => "",
            column if column + 1 + word.len() > MOST => "\n  ",
            _ => " ",
        };
        self.column = if between == "\n  " { 2 } else { self.column + between.len() } + word.len();
        self.used = 0;
        write!(self.out, "{between}{word}")
    }
}

impl Write for Lines<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b' ' {
                self.put_word()?;
            } else {
                *self.word.get_mut(self.used).ok_or(fmt::Error)? = byte;
                self.used += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(millis: u64, counts: &[(VmEvent, u64)]) -> String {
        let count = |event| counts.iter().find(|(known, _)| *known == event).map_or(0, |(_, n)| *n);
        Story { elapsed: Nanos::from_millis(millis), count: &count }.to_string()
    }

    /// The numbers of the demonstration.
    #[test]
    fn a_run_under_pressure_is_three_sentences() {
        let said = story(
            11_695,
            &[
                (VmEvent::PgFault, 539_893),
                (VmEvent::PgMajFault, 348_591),
                (VmEvent::PgScanKswapd, 728_267),
                (VmEvent::PgScanDirect, 175_090),
                (VmEvent::PgStealKswapd, 367_992),
                (VmEvent::PgStealDirect, 45_752),
                (VmEvent::PswpIn, 348_591),
                (VmEvent::PswpOut, 410_982),
            ],
        );
        let wanted = "\
In 11.6 s there were 539893 page faults, of which 348591 waited for a disk.
Reclaim looked at 903357 pages and freed 413744: 88 % by kswapd, 11 % by
  programs that had to wait.
410982 pages (1605 MiB) went to swap and 348591 came back; nothing was killed
  for its memory.
";
        assert_eq!(said, wanted);
    }

    #[test]
    fn a_run_without_pressure_says_so() {
        let said = story(7, &[(VmEvent::PgFault, 12)]);
        assert!(said.starts_with("In 0.0 s there were 12 page faults, and none"), "{said}");
        assert!(said.contains("\nThere was memory enough"), "{said}");
        assert!(said.ends_with("\nNothing went to swap; nothing was killed for its memory.\n"));
    }

    #[test]
    fn failures_and_kills_are_told() {
        let said = story(
            5,
            &[
                (VmEvent::PswpOut, 1),
                (VmEvent::SwapWriteError, 3),
                (VmEvent::SwapReadError, 1),
                (VmEvent::OomKill, 2),
                (VmEvent::PgScanProactive, 4),
                (VmEvent::PgStealProactive, 4),
            ],
        );
        let flat = said.replace("\n  ", " ");
        assert!(flat.contains("1 page (0 MiB) went to swap and 0 came back, 4 requests failed"));
        assert!(flat.ends_with("; 2 programs were killed for their memory.\n"), "{flat}");
        assert!(flat.contains("0 % by programs that had to wait, 100 % on request."), "{flat}");
    }

    #[test]
    fn no_line_exceeds_79_columns() {
        let most = u64::from(u32::MAX);
        let said = Story { elapsed: Nanos(u64::MAX), count: &|_| most }.to_string();
        assert!(said.lines().all(|line| line.len() <= 79), "{said}");
    }
}
