//! The kernel's command line: words separated by spaces.
//!
//! | word | meaning |
//! | --- | --- |
//! | `init=NAME` | the program in the initrd to run |
//! | `ramdisk=SIZE[,async][,delay=US][,bw=KBPS]` | a swap device in memory |
//! | `ramdisk.async` | its requests always go through the queue |
//! | `ramdisk.fail_read=N`, `ramdisk.fail_write=N` | every N-th such request fails |
//! | `zones=DMA_END,DMA32_END` | where the zones DMA and DMA32 end |
//! | `mem=SIZE` | use no more memory than this |
//! | `min_free_kbytes=N`, `swappiness=N` | knobs of the memory management |
//! | `maxcpus=N` | start no more CPUs than this |
//! | `test.hooks` | programs may make swap slow or failing, and time the allocator |
//! | `semihosting` | console without a UART, and the exit status, by semihosting |
//! | `end=halt`, `end=reset`, `end=off` | what becomes of the machine after a run without semihosting |
//! | `uart_clock=HZ` | the rate of the console UART's clock, where nobody else tells it |
//! | `laptop_mode` | reclaim writes nothing before it is in trouble |
//! | `page_cluster=N` | a swap-in reads 2^N neighbours; 0 just the one (0 to 5) |
//! | `anon_rule=second-chance`, `anon_rule=activate` | what one reference to an anonymous page earns |
//! | `--` | what follows are the program's arguments |
//!
//! Sizes and limits are bytes, with an optional suffix K, M or G. A bad value of a known
//! word is an error that names the word; unknown words are kept for a warning, as the
//! firmware may add its own.
//!
//! Pure: text in, [`BootArgs`] out.

use core::fmt;

use mm_reclaim::reclaim::references::ReferenceRule;
use mm_reclaim::units::PhysAddr;

/// The RAM disk that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RamdiskArgs {
    /// Bytes; 0 for none.
    pub size: u64,
    /// Requests always go through the queue.
    pub queued: bool,
    /// Microseconds that each request takes.
    pub delay_us: u32,
    /// KiB a second that pass at most; `None` for no limit.
    pub bandwidth_kbps: Option<u32>,
    /// Every so many-th read fails.
    pub fail_read: Option<u32>,
    /// Every so many-th write fails.
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

/// What becomes of the machine after a run without semihosting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It waits for ever.
    Halt,
    /// It boots again.
    Reset,
    /// It is switched off.
    Off,
}

/// The command line, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BootArgs<'a> {
    /// `init=`
    pub init: Option<&'a str>,
    /// `ramdisk=` and `ramdisk.*`
    pub ramdisk: RamdiskArgs,
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
    /// `page_cluster=`, 0 to 5
    pub page_cluster: Option<u8>,
    /// `anon_rule=`
    pub anon_rule: Option<ReferenceRule>,
    /// What follows `--`, with its spaces.
    pub program: &'a str,
    /// The whole line.
    line: &'a str,
}

/// A word that was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadWord<'a> {
    /// The word.
    pub word: &'a str,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Not a decimal number.
    NotANumber,
    /// Not a number with an optional suffix K, M or G.
    NotASize,
    /// Too large, or zero where that makes no sense.
    OutOfRange,
    /// `zones=` wants two limits in ascending order.
    NotTwoLimits,
    /// `ramdisk=` knows `async`, `delay=` and `bw=`.
    UnknownOption,
    /// `end=` knows `halt`, `reset` and `off`.
    UnknownEnd,
    /// A value is missing after `=`.
    Empty,
}

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::NotANumber => "not a decimal number",
            Why::NotASize => "not a size such as 4096, 64K, 32M or 1G",
            Why::OutOfRange => "out of range",
            Why::NotTwoLimits => "not two limits in ascending order",
            Why::UnknownOption => "an option that is neither async, delay= nor bw=",
            Why::UnknownEnd => "neither halt, reset nor off",
            Why::Empty => "the value is missing",
        };
        write!(f, "bootargs word \"{}\": {why}", self.word)
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

    /// Whether a line asks for semihosting, even if other words of it are bad: an error
    /// must find its way out too.
    pub fn asks_for_semihosting(line: &str) -> bool {
        split_program(line).0.split_ascii_whitespace().any(|word| word == "semihosting")
    }

    /// What a line says of the end, even if other words of it are bad.
    pub fn wanted_end(line: &str) -> Option<End> {
        let words = split_program(line).0.split_ascii_whitespace();
        words.rev().find_map(|word| end(word.strip_prefix("end=")?).ok())
    }

    /// The words that mean nothing here, for a warning each.
    pub fn unknown(&self) -> impl Iterator<Item = &'a str> {
        self.line.split_ascii_whitespace().filter(|word| Self::default().word(word) == Ok(false))
    }

    /// Takes one word in; false if it is unknown.
    fn word(&mut self, word: &'a str) -> Result<bool, Why> {
        match word.split_once('=') {
            None => Ok(self.flag(word)),
            Some((name, value)) => self.setting(name, value),
        }
    }

    fn flag(&mut self, word: &str) -> bool {
        match word {
            "semihosting" => self.semihosting = true,
            "ramdisk.async" => self.ramdisk.queued = true,
            "test.hooks" => self.test_hooks = true,
            "laptop_mode" => self.laptop_mode = true,
            _ => return false,
        }
        true
    }

    fn setting(&mut self, name: &str, value: &'a str) -> Result<bool, Why> {
        match name {
            "init" => self.init = Some(name_of(value)?),
            "page_cluster" => self.page_cluster = Some(at_most(value, 5)?),
            "anon_rule" => self.anon_rule = Some(anon_rule(value)?),
            "end" => self.end = Some(end(value)?),
            "uart_clock" => self.uart_clock = Some(positive(value)?),
            "mem" => self.mem = Some(size(value)?),
            "zones" => self.zones = Some(zones(value)?),
            "maxcpus" => self.max_cpus = Some(number(value)?).filter(|n| *n > 0),
            "min_free_kbytes" => self.min_free_kbytes = Some(number(value)?),
            "swappiness" => self.swappiness = Some(at_most(value, 200)?),
            // The other spelling of `ramdisk.async`.
            "ramdisk" if value == "async" => self.ramdisk.queued = true,
            "ramdisk" => self.ramdisk(value)?,
            "ramdisk.fail_read" => self.ramdisk.fail_read = Some(positive(value)?),
            "ramdisk.fail_write" => self.ramdisk.fail_write = Some(positive(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn ramdisk(&mut self, value: &str) -> Result<(), Why> {
        let mut options = value.split(',');
        self.ramdisk.size = size(options.next().unwrap_or(""))?;
        for option in options {
            match option.split_once('=') {
                None if option == "async" => self.ramdisk.queued = true,
                Some(("delay", us)) => self.ramdisk.delay_us = number(us)?,
                Some(("bw", kbps)) => self.ramdisk.bandwidth_kbps = Some(positive(kbps)?),
                _ => return Err(Why::UnknownOption),
            }
        }
        Ok(())
    }
}

/// The kernel's words, and what follows the word `--`.
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

fn name_of(value: &str) -> Result<&str, Why> {
    if value.is_empty() { Err(Why::Empty) } else { Ok(value) }
}

fn number(value: &str) -> Result<u32, Why> {
    digits(value, Why::NotANumber).and_then(|n| u32::try_from(n).map_err(|_| Why::OutOfRange))
}

fn positive(value: &str) -> Result<u32, Why> {
    number(value).and_then(|n| if n == 0 { Err(Why::OutOfRange) } else { Ok(n) })
}

fn at_most(value: &str, most: u8) -> Result<u8, Why> {
    let n = number(value)?;
    u8::try_from(n).ok().filter(|&n| n <= most).ok_or(Why::OutOfRange)
}

fn anon_rule(value: &str) -> Result<ReferenceRule, Why> {
    match value {
        "second-chance" => Ok(ReferenceRule::SecondChance),
        "activate" => Ok(ReferenceRule::ActivateAnon),
        _ => Err(Why::UnknownOption),
    }
}

fn end(value: &str) -> Result<End, Why> {
    match value {
        "halt" => Ok(End::Halt),
        "reset" => Ok(End::Reset),
        "off" => Ok(End::Off),
        _ => Err(Why::UnknownEnd),
    }
}

fn zones(value: &str) -> Result<ZoneEnds, Why> {
    let (dma, dma32) = value.split_once(',').ok_or(Why::NotTwoLimits)?;
    let (dma, dma32) = (PhysAddr(size(dma)?), PhysAddr(size(dma32)?));
    if dma <= dma32 { Ok(ZoneEnds { dma, dma32 }) } else { Err(Why::NotTwoLimits) }
}

/// Bytes, with an optional suffix.
fn size(value: &str) -> Result<u64, Why> {
    let (text, shift) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    digits(text, Why::NotASize)?.checked_mul(1 << shift).ok_or(Why::OutOfRange)
}

/// Digits only: `parse` would take a sign.
fn digits(text: &str, otherwise: Why) -> Result<u64, Why> {
    match text.parse() {
        _ if text.is_empty() => Err(Why::Empty),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(otherwise),
        Ok(number) => Ok(number),
        Err(_) => Err(Why::OutOfRange),
    }
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
                    min_free_kbytes=1024 swappiness=200 end=off uart_clock=250000000 -- 7 two  words";
        let args = BootArgs::parse(line).unwrap();
        assert_eq!((args.init, args.page_cluster), (Some("hog"), Some(0)));
        assert_eq!(args.anon_rule, Some(ReferenceRule::ActivateAnon));
        assert!(args.semihosting);
        assert_eq!((args.end, args.uart_clock), (Some(End::Off), Some(250_000_000)));
        assert_eq!((args.max_cpus, args.test_hooks), (Some(2), true));
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
        assert_eq!(bad("end=never"), ("end=never", Why::UnknownEnd));
    }

    #[test]
    fn a_bad_value_names_its_word_and_the_reason() {
        assert_eq!(bad("mem=12Q"), ("mem=12Q", Why::NotASize));
        assert_eq!(bad("mem="), ("mem=", Why::Empty));
        assert_eq!(bad("mem=M"), ("mem=M", Why::Empty));
        assert_eq!(bad("mem=99999999999G"), ("mem=99999999999G", Why::OutOfRange));
        assert_eq!(bad("semihosting swappiness=201"), ("swappiness=201", Why::OutOfRange));
        assert_eq!(bad("page_cluster=6"), ("page_cluster=6", Why::OutOfRange));
        assert_eq!(bad("anon_rule=never"), ("anon_rule=never", Why::UnknownOption));
        assert_eq!(bad("swappiness=+1"), ("swappiness=+1", Why::NotANumber));
        assert_eq!(bad("zones=1G"), ("zones=1G", Why::NotTwoLimits));
        assert_eq!(bad("zones=2G,1G"), ("zones=2G,1G", Why::NotTwoLimits));
        assert_eq!(bad("ramdisk=1M,slow"), ("ramdisk=1M,slow", Why::UnknownOption));
        assert_eq!(bad("ramdisk.fail_read=0"), ("ramdisk.fail_read=0", Why::OutOfRange));
        assert_eq!(bad("init="), ("init=", Why::Empty));
    }
}
