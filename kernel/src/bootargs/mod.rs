//! The kernel's command line: words separated by spaces.
//!
#![doc = include_str!("words.md")]
//!
//! Everything after the word `--` is passed to the program. Sizes and limits are bytes, with an
//! optional suffix K, M or G. A bad value of a known word is an error that names the word; unknown
//! words are kept for a warning, as the firmware may add its own. `scripts/run` reads the same
//! table and refuses both; `words.rs` describes the format.
//!
//! Pure: text in, [`BootArgs`] out.

mod words;

pub use words::Why;

use core::fmt;

use mm_reclaim::reclaim::references::ReferenceRule;
use mm_reclaim::units::PhysAddr;
use words::{limits, number, size};

/// The requested RAM disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RamdiskArgs {
    /// Bytes; 0 for none.
    pub size: u64,
    /// Requests always go through the queue.
    pub queued: bool,
    /// Microseconds that each request takes.
    pub delay_us: u32,
    /// The most KiB transferred per second; `None` for no limit.
    pub bandwidth_kbps: Option<u32>,
    /// Every n-th read fails.
    pub fail_read: Option<u32>,
    /// Every n-th write fails.
    pub fail_write: Option<u32>,
}

/// Where the lower zones end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneEnds {
    /// The end of zone DMA.
    pub dma: PhysAddr,
    /// The end of zone DMA32, not below that of DMA.
    pub dma32: PhysAddr,
}

/// What the machine does after a run without semihosting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It halts.
    Halt,
    /// It boots again.
    Reset,
    /// It powers off.
    Off,
}

/// The parsed command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootArgs<'a> {
    /// `init=`
    pub init: Option<&'a str>,
    /// `ramdisk=` and `ramdisk.*`
    pub ramdisk: RamdiskArgs,
    /// `files=`
    pub files: u64,
    /// `zones=`
    pub zones: Option<ZoneEnds>,
    /// `mem=`
    pub mem: Option<u64>,
    /// `min_free_kbytes=`
    pub min_free_kbytes: Option<u32>,
    /// `swappiness=`, 0 to 200
    pub swappiness: Option<u8>,
    /// `maxcpus=`, 1 or more
    pub max_cpus: Option<u32>,
    /// `test.hooks`
    pub test_hooks: bool,
    /// `laptop_mode`
    pub laptop_mode: bool,
    /// `semihosting`
    pub semihosting: bool,
    /// `end=`
    pub end: Option<End>,
    /// `uart_clock=`, in Hz
    pub uart_clock: Option<u32>,
    /// `columns=`
    pub columns: Option<u16>,
    /// `page_cluster=`, 0 to 5
    pub page_cluster: Option<u8>,
    /// `anon_rule=`
    pub anon_rule: Option<ReferenceRule>,
    /// The text after `--`, with its spaces.
    pub program: &'a str,
    /// The whole line.
    line: &'a str,
}

/// A word that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadWord<'a> {
    /// The word.
    pub word: &'a str,
    /// What is wrong with it.
    pub why: Why,
}

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bootargs word \"{}\": {}", self.word, self.why)
    }
}

impl core::error::Error for BadWord<'_> {}

impl<'a> BootArgs<'a> {
    /// Reads a command line.
    ///
    /// # Errors
    /// [`BadWord`], the first known word with a bad value.
    pub fn parse(line: &'a str) -> Result<Self, BadWord<'a>> {
        let (line, program) = split_program(line);
        let mut args = Self { program, line, ..Self::default() };
        for word in line.split_ascii_whitespace() {
            args.word(word).map_err(|why| BadWord { word, why })?;
        }
        Ok(args)
    }

    /// Whether a line asks for semihosting, even if other words of it are bad: an error must be
    /// reported too.
    pub fn asks_for_semihosting(line: &str) -> bool {
        split_program(line).0.split_ascii_whitespace().any(|word| word == "semihosting")
    }

    /// The end that a line requests, even if other words of it are bad.
    pub fn wanted_end(line: &str) -> Option<End> {
        let words = split_program(line).0.split_ascii_whitespace();
        words.rev().find_map(|word| end(word.strip_prefix("end=")?))
    }

    /// The unknown words, for a warning each.
    pub fn unknown(&self) -> impl Iterator<Item = &'a str> {
        self.line.split_ascii_whitespace().filter(|word| Self::default().word(word) == Ok(false))
    }

    /// Parses one word; false if it is unknown.
    fn word(&mut self, word: &'a str) -> Result<bool, Why> {
        if !words::check(word)? {
            return Ok(false);
        }
        let (name, value) = words::split(word);
        self.set(name, value)
    }

    /// Sets a word of the table, whose value is valid.
    fn set(&mut self, name: &str, value: &'a str) -> Result<bool, Why> {
        match name {
            "semihosting" => self.semihosting = true,
            "ramdisk.async" => self.ramdisk.queued = true,
            "test.hooks" => self.test_hooks = true,
            "laptop_mode" => self.laptop_mode = true,
            "init=" => self.init = Some(value),
            "page_cluster=" => self.page_cluster = Some(number(value)?),
            "anon_rule=" => self.anon_rule = anon_rule(value),
            "end=" => self.end = end(value),
            "uart_clock=" => self.uart_clock = Some(number(value)?),
            "columns=" => self.columns = Some(number(value)?),
            "mem=" => self.mem = Some(size(value)?),
            "zones=" => self.zones = Some(zones(value)?),
            "maxcpus=" => self.max_cpus = Some(number(value)?),
            "min_free_kbytes=" => self.min_free_kbytes = Some(number(value)?),
            "swappiness=" => self.swappiness = Some(number(value)?),
            "files=" => self.files = size(value)?,
            "ramdisk=" => self.ramdisk(value)?,
            "ramdisk.fail_read=" => self.ramdisk.fail_read = Some(number(value)?),
            "ramdisk.fail_write=" => self.ramdisk.fail_write = Some(number(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn ramdisk(&mut self, value: &str) -> Result<(), Why> {
        for part in value.split(',') {
            match words::split(part) {
                ("async", _) => self.ramdisk.queued = true,
                ("delay=", us) => self.ramdisk.delay_us = number(us)?,
                ("bw=", kbps) => self.ramdisk.bandwidth_kbps = Some(number(kbps)?),
                (bytes, _) => self.ramdisk.size = size(bytes)?,
            }
        }
        Ok(())
    }
}

/// The kernel's words, and the text after the word `--`.
fn split_program(line: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(found) = line[from..].find("--") {
        let (start, end) = (from + found, from + found + 2);
        let is_space = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
        let before = start.checked_sub(1).and_then(|at| line.as_bytes().get(at));
        if is_space(before) && is_space(line.as_bytes().get(end)) {
            return (&line[..start], line[end..].trim_ascii());
        }
        from = end;
    }
    (line, "")
}

fn anon_rule(value: &str) -> Option<ReferenceRule> {
    match value {
        "second-chance" => Some(ReferenceRule::SecondChance),
        "activate" => Some(ReferenceRule::ActivateAnon),
        _ => None,
    }
}

fn end(value: &str) -> Option<End> {
    match value {
        "halt" => Some(End::Halt),
        "reset" => Some(End::Reset),
        "off" => Some(End::Off),
        _ => None,
    }
}

fn zones(value: &str) -> Result<ZoneEnds, Why> {
    let (dma, dma32) = limits(value)?;
    Ok(ZoneEnds { dma: PhysAddr(dma), dma32: PhysAddr(dma32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(line: &str) -> (&str, Why) {
        let error = BootArgs::parse(line).unwrap_err();
        (error.word, error.why)
    }

    #[test]
    fn an_empty_line_asks_for_nothing() {
        assert_eq!(BootArgs::parse(""), Ok(BootArgs::default()));
        assert_eq!(BootArgs::parse("   ").unwrap().unknown().count(), 0);
    }

    #[test]
    fn every_word_is_understood() {
        let line = "init=hog maxcpus=2 test.hooks laptop_mode semihosting ramdisk=64M,async,delay=100,bw=2000 page_cluster=0 anon_rule=activate \
                    ramdisk.fail_read=3 ramdisk.fail_write=5 zones=1088M,1152M mem=1G \
                    min_free_kbytes=1024 swappiness=200 columns=0 end=off uart_clock=250000000 -- 7 two  words";
        let args = BootArgs::parse(line).unwrap();
        assert_eq!((args.init, args.page_cluster), (Some("hog"), Some(0)));
        assert_eq!(args.anon_rule, Some(ReferenceRule::ActivateAnon));
        assert!(args.semihosting);
        assert_eq!((args.end, args.uart_clock), (Some(End::Off), Some(250_000_000)));
        assert_eq!((args.max_cpus, args.test_hooks, args.columns), (Some(2), true, Some(0)));
        assert!(args.laptop_mode);
        let ramdisk = RamdiskArgs {
            size: 64 << 20,
            queued: true,
            delay_us: 100,
            bandwidth_kbps: Some(2000),
            fail_read: Some(3),
            fail_write: Some(5),
        };
        assert_eq!(args.ramdisk, ramdisk);
        let (dma, dma32) = (PhysAddr(1088 << 20), PhysAddr(1152 << 20));
        assert_eq!(args.zones, Some(ZoneEnds { dma, dma32 }));
        assert_eq!((args.mem, args.min_free_kbytes), (Some(1 << 30), Some(1024)));
        assert_eq!(args.swappiness, Some(200));
        assert_eq!(args.program, "7 two  words");
        assert_eq!(args.unknown().count(), 0);
    }

    /// SWAP-06: the queue can be forced, before or after the size, in either spelling.
    #[test]
    fn the_queue_of_the_ramdisk_can_be_forced_by_its_own_word() {
        for line in
            ["ramdisk=1M ramdisk.async", "ramdisk.async ramdisk=1M", "ramdisk=async ramdisk=1M"]
        {
            let ramdisk = BootArgs::parse(line).unwrap().ramdisk;
            assert!(ramdisk.queued && ramdisk.size == 1 << 20, "{line}");
        }
    }

    #[test]
    fn unknown_words_are_kept_for_a_warning() {
        let args = BootArgs::parse("quiet root=/dev/x semihosting -- unknown=1").unwrap();
        assert_eq!(args.unknown().collect::<Vec<_>>(), ["quiet", "root=/dev/x"]);
    }

    #[test]
    fn only_a_lone_double_dash_ends_the_words() {
        let args = BootArgs::parse("init=a--b --x -- --y").unwrap();
        assert_eq!((args.init, args.program), (Some("a--b"), "--y"));
        assert_eq!(BootArgs::parse("semihosting --").unwrap().program, "");
        assert_eq!(BootArgs::parse("-- semihosting").unwrap().program, "semihosting");
    }

    #[test]
    fn semihosting_is_seen_beside_bad_words() {
        assert!(BootArgs::asks_for_semihosting("mem=x semihosting -- 1"));
        assert!(!BootArgs::asks_for_semihosting("mem=1M -- semihosting"));
    }

    #[test]
    fn the_end_is_seen_beside_bad_words() {
        assert_eq!(BootArgs::parse("end=reset").unwrap().end, Some(End::Reset));
        assert_eq!(BootArgs::wanted_end("mem=x end=off end=halt end=x"), Some(End::Halt));
        assert_eq!(BootArgs::wanted_end("mem=x -- end=off"), None);
        assert_eq!(bad("end=never"), ("end=never", Why::NotOneOf("halt/reset/off")));
    }

    #[test]
    fn a_bad_value_names_its_word_and_the_reason() {
        assert_eq!(bad("mem=12Q"), ("mem=12Q", Why::NotASize));
        assert_eq!(bad("mem="), ("mem=", Why::Empty));
        assert_eq!(bad("mem=M"), ("mem=M", Why::Empty));
        assert_eq!(bad("mem=99999999999G"), ("mem=99999999999G", Why::TooLarge));
        assert_eq!(bad("semihosting swappiness=201"), ("swappiness=201", Why::OutOfRange(0, 200)));
        assert_eq!(bad("page_cluster=6"), ("page_cluster=6", Why::OutOfRange(0, 5)));
        let rules = Why::NotOneOf("second-chance/activate");
        assert_eq!(bad("anon_rule=never"), ("anon_rule=never", rules));
        assert_eq!(bad("swappiness=+1"), ("swappiness=+1", Why::NotANumber));
        assert_eq!(bad("zones=1G"), ("zones=1G", Why::NotTwoLimits));
        assert_eq!(bad("zones=2G,1G"), ("zones=2G,1G", Why::NotTwoLimits));
        assert_eq!(bad("ramdisk=1M,slow"), ("ramdisk=1M,slow", Why::UnknownOption));
        assert_eq!(
            bad("ramdisk.fail_read=0"),
            ("ramdisk.fail_read=0", Why::OutOfRange(1, u32::MAX))
        );
        assert_eq!(bad("init="), ("init=", Why::Empty));
    }
    /// A word of the table that the code does not know would be ignored without a warning.
    #[test]
    fn every_word_of_the_table_is_taken_in() {
        for (word, kind) in words::all().filter(|(word, _)| !word.starts_with(',')) {
            let value = match kind {
                "" => "",
                "NAME" => "demo",
                "SIZE" | "SIZE,OPTION..." => "1M",
                "SIZE,SIZE" => "1M,2M",
                _ => kind.split(['/', ' ']).next().unwrap(),
            };
            let line = format!("{word}{value}");
            let args = BootArgs::parse(&line).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(args.unknown().count(), 0, "{line}");
            let changed = BootArgs { line: "", ..args } != BootArgs::default();
            assert!(changed, "{line} changes nothing");
        }
    }

    #[test]
    fn the_message_says_what_would_be_right() {
        let say = |line| BootArgs::parse(line).unwrap_err().to_string();
        let range = "bootargs word \"swappiness=9999\": out of range: 0 to 200";
        assert_eq!(say("swappiness=9999"), range);
        assert!(say("maxcpus=0").ends_with("out of range: 1 or more"));
        assert!(say("end=never").ends_with("not one of halt/reset/off"));
    }
}
