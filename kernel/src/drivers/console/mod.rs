//! The console: text out, bytes in, from any context.
//!
//! | file | what |
//! | --- | --- |
//! | `pl011`, `mini` | the supported UARTs, polled |
//! | `pins` | routes a Raspberry Pi's UARTs to the pins of the console |
//!
//! **Data.** The address of a UART's registers and its kind, or whether text goes to the
//! debugger's semihosting instead. **Owner.** [`init`], and [`close`] at the end of a run.
//! **Lock.** One that keeps messages whole; it is outside all others, since formatting a message
//! may take any lock, and masks interrupts while a message is sent, which at 115,200 baud takes 87
//! µs per character: long messages should be split into several calls. A message sent by code that
//! panicked takes no lock, since its holder may never continue, and may be mixed with another.
//!
//! **The live line** ([`draw`]) is overwritten in place and has no line feed: whatever is printed
//! next begins with one, so that it is on a line of its own.
//!
//! Before the console is known, text is dropped, except that of a failure
//! ([`print_urgently`]): that uses semihosting if there is a host, else the fallback UART. Its
//! address is fixed when the kernel is built (environment variable `FALLBACK_UART`); otherwise it
//! is that of QEMU's `virt`, or the Raspberry Pi's if the image is where `virt` has no RAM.

mod mini;
mod pins;
mod pl011;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use boot::dtb::{Span, Summary, Uart, UartKind};
use boot::layout::PAGE_SIZE;
use mm_reclaim::lock_order::KERNEL_OUTER;
use mm_reclaim::units::PhysAddr;
use semihosting::sys::arm_compat as host;

use super::guess;
use crate::arch::lock::IrqLock;
use crate::arch::mmu::{self, MapError};
use mini::MiniUart;
use pl011::Pl011;

/// Where a failure is reported if there is no device tree to name the console.
const FALLBACK_UART: Option<u64> = match option_env!("FALLBACK_UART") {
    Some(text) => match u64::from_str_radix(text, 16) {
        Ok(address) => Some(address),
        Err(_) => panic!("FALLBACK_UART must be a physical address in hexadecimal digits"),
    },
    None => None,
};
/// The PL011 of QEMU's `virt`.
const VIRT_UART: u64 = 0x0900_0000;
/// On a Raspberry Pi 4, as CPU addresses: the pins, the first PL011, the mini-UART.
const PI_GPIO: u64 = 0xfe20_0000;
const PI_PL011: u64 = 0xfe20_1000;
const PI_MINI: u64 = 0xfe21_5040;

/// Polls of the flags before a character is dropped: far more than sending one takes at any baud
/// rate, so that a UART without a clock does not hang the kernel.
const MAX_POLLS: u32 = 1 << 20;

/// The destinations of text: the values of [`SINK`].
const NOWHERE: u8 = 0;
const PL011: u8 = 1;
const MINI: u8 = 2;
const HOST: u8 = 3;
/// The last line was printed.
const CLOSED: u8 = 4;

static SINK: AtomicU8 = AtomicU8::new(NOWHERE);
/// The registers' address; written before [`SINK`] says that there is a UART.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);
/// The UART had no room for the last character within [`MAX_POLLS`]: no further one waits.
static STUCK: AtomicBool = AtomicBool::new(false);
/// Held while a message is formatted and sent.
static MESSAGE: IrqLock<(), KERNEL_OUTER> = IrqLock::new(());

/// The position of the cursor: the values of [`CURSOR`].
const AT_START: u8 = 0;
const INSIDE: u8 = 1;
const BEHIND_LIVE_LINE: u8 = 2;
/// Written when printing; a message of a panic may be mixed with another anyway.
static CURSOR: AtomicU8 = AtomicU8::new(AT_START);

/// The rates of a UART.
#[derive(Clone, Copy)]
struct Rate {
    /// Its clock in Hz, if known.
    clock: Option<u32>,
    baud: u32,
}

const FALLBACK_RATE: Rate = Rate { clock: None, baud: 115_200 };

/// Sends text to the best UART of the tree that responds; if none does, to one that a Raspberry Pi
/// has even if its tree marks all as disabled; else to the debugger if `semihosting` allows it.
/// `clock` is the rate of a UART's clock, if the command line gives it.
///
/// # Errors
/// [`MapError`], when registers cannot be mapped.
pub fn init(tree: &Summary<'_>, clock: Option<u32>, semihosting: bool) -> Result<(), MapError> {
    for uart in tree.uarts.iter() {
        let rate = Rate { clock: clock.or(uart.clock), baud: tree.baud() };
        if use_uart(uart, tree.bcm2711.gpio, rate)? {
            return Ok(());
        }
    }
    if tree.bcm2711.gpio.is_some() && use_fallback_of_pi()? {
        return Ok(());
    }
    SINK.store(if semihosting { HOST } else { NOWHERE }, Ordering::Release);
    Ok(())
}

/// Uses `uart` if it responds; returns whether it does.
fn use_uart(uart: &Uart, gpio: Option<Span>, rate: Rate) -> Result<bool, MapError> {
    if let Some(gpio) = gpio.filter(|gpio| pins::can_have(uart, gpio.base)) {
        let registers = map(gpio.base)?;
        // SAFETY: the tree says that they are the pins' registers; they are never unmapped.
        unsafe { pins::give(registers, uart.kind) };
    }
    let (registers, sink, port) = match uart.kind {
        UartKind::Pl011 => {
            let registers = map(uart.registers.base)?;
            (registers, PL011, Port::Pl011(pl011(registers.addr())))
        }
        UartKind::Mini => {
            // The block starts before it, on the same page: its address ends in 0x040.
            let registers = map(uart.registers.base)?.wrapping_sub(mini::OFFSET);
            if !registers.addr().is_multiple_of(PAGE_SIZE as usize) {
                return Ok(false);
            }
            (registers, MINI, Port::Mini(mini_uart(registers.addr())))
        }
    };
    if !port.start(rate) {
        return Ok(false);
    }
    REGISTERS.store(registers.addr(), Ordering::Relaxed);
    // Release pairs with the Acquire in `Sink::now`: if the sink is seen, so is the address.
    SINK.store(sink, Ordering::Release);
    Ok(true)
}

fn map(pa: u64) -> Result<*mut u8, MapError> {
    mmu::map_device(PhysAddr(pa), PAGE_SIZE - pa % PAGE_SIZE, &mut [])
}

fn pl011(registers: usize) -> Pl011 {
    // SAFETY: the address comes from `map_device`, which maps the registers permanently.
    unsafe { Pl011::new(registers as *mut u8) }
}

fn mini_uart(block: usize) -> MiniUart {
    // SAFETY: as above; the block fills the page from its start.
    unsafe { MiniUart::new(block as *mut u8) }
}

/// A UART of either kind.
#[derive(Clone, Copy)]
enum Port {
    Pl011(Pl011),
    Mini(MiniUart),
}

impl Port {
    fn start(self, rate: Rate) -> bool {
        match self {
            Self::Pl011(uart) => uart.start(rate),
            Self::Mini(uart) => uart.start(rate),
        }
    }

    fn has_room(self) -> bool {
        match self {
            Self::Pl011(uart) => uart.has_room(),
            Self::Mini(uart) => uart.has_room(),
        }
    }

    fn is_idle(self) -> bool {
        match self {
            Self::Pl011(uart) => uart.is_idle(),
            Self::Mini(uart) => uart.is_idle(),
        }
    }

    fn receive(self) -> Option<u8> {
        match self {
            Self::Pl011(uart) => uart.receive(),
            Self::Mini(uart) => uart.receive(),
        }
    }

    /// Sends a byte once there is room; drops it if there is none.
    fn send(self, byte: u8) {
        let polls = if STUCK.load(Ordering::Relaxed) { 1 } else { MAX_POLLS };
        let room = (0..polls).any(|_| self.has_room());
        STUCK.store(!room, Ordering::Relaxed);
        match self {
            _ if !room => {}
            Self::Pl011(uart) => uart.send(byte),
            Self::Mini(uart) => uart.send(byte),
        }
    }
}

/// The destination of a message.
enum Sink {
    Nowhere,
    Uart(Port),
    Host,
}

impl Sink {
    fn now() -> Self {
        let sink = SINK.load(Ordering::Acquire);
        let registers = REGISTERS.load(Ordering::Relaxed);
        match sink {
            PL011 => Self::Uart(Port::Pl011(pl011(registers))),
            MINI => Self::Uart(Port::Mini(mini_uart(registers))),
            HOST => Self::Host,
            _ => Self::Nowhere,
        }
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        note_cursor(text.as_bytes().last());
        match self {
            Self::Nowhere => {}
            Self::Uart(port) => text.bytes().for_each(|byte| send_byte(*port, byte)),
            Self::Host => write_to_host(text),
        }
        Ok(())
    }
}

/// Terminals need a carriage return before a line feed.
fn send_byte(port: Port, byte: u8) {
    if byte == b'\n' {
        port.send(b'\r');
    }
    port.send(byte);
}

/// SYS_WRITE0, in pieces, since it needs a zero at the end.
fn write_to_host(text: &str) {
    for piece in text.as_bytes().chunks(63) {
        let mut buffer = [0; 64];
        buffer[..piece.len()].copy_from_slice(piece);
        if let Ok(piece) = core::ffi::CStr::from_bytes_until_nul(&buffer) {
            host::sys_write0(piece);
        }
    }
}

/// Prints a whole message. For [`print!`](crate::print) and [`println!`](crate::println).
pub fn print(message: fmt::Arguments<'_>) {
    let _whole = MESSAGE.lock();
    send(message);
}

/// Prints a message unless another is being printed; returns whether it did.
pub fn try_print(message: fmt::Arguments<'_>) -> bool {
    let Some(_whole) = MESSAGE.try_lock() else { return false };
    send(message);
    true
}

/// Draws the live line over the previous one, unless a line is unfinished; returns whether it did.
pub fn draw(line: fmt::Arguments<'_>) -> bool {
    let _whole = MESSAGE.lock();
    if CURSOR.load(Ordering::Relaxed) == INSIDE {
        return false;
    }
    CURSOR.store(AT_START, Ordering::Relaxed);
    send(format_args!("\r{line}"));
    CURSOR.store(BEHIND_LIVE_LINE, Ordering::Relaxed);
    true
}

/// Prints whole lines, unless a line is unfinished; returns whether it did.
pub fn print_between(lines: fmt::Arguments<'_>) -> bool {
    let _whole = MESSAGE.lock();
    let between = CURSOR.load(Ordering::Relaxed) != INSIDE;
    if between {
        send(lines);
    }
    between
}

/// Prints a message of a kernel that is about to end: without the lock, and on any available output
/// if there is no console yet.
pub fn print_urgently(message: fmt::Arguments<'_>) {
    if SINK.load(Ordering::Acquire) == NOWHERE {
        use_fallback();
    }
    send(message);
}

fn use_fallback() {
    if guess::host_answers() {
        SINK.store(HOST, Ordering::Release);
        return;
    }
    // If even this fails, there is no other output.
    let _ = match FALLBACK_UART {
        Some(at) => use_fallback_pl011(at, None),
        None if !guess::may_be_virt() => use_fallback_of_pi(),
        None => use_fallback_pl011(VIRT_UART, None),
    };
}

fn use_fallback_pl011(at: u64, gpio: Option<Span>) -> Result<bool, MapError> {
    let registers = Span { base: at, size: PAGE_SIZE };
    let uart = Uart { kind: UartKind::Pl011, registers, clock: None };
    use_uart(&uart, gpio, FALLBACK_RATE)
}

/// The mini-UART if the firmware enabled it, since then its rate is right; else the PL011.
fn use_fallback_of_pi() -> Result<bool, MapError> {
    let gpio = Some(Span { base: PI_GPIO, size: PAGE_SIZE });
    let block = map(PI_MINI - mini::OFFSET as u64)?;
    if mini_uart(block.addr()).is_enabled() {
        let registers = Span { base: PI_MINI, size: mini::OFFSET as u64 };
        let uart = Uart { kind: UartKind::Mini, registers, clock: None };
        return use_uart(&uart, gpio, FALLBACK_RATE);
    }
    use_fallback_pl011(PI_PL011, gpio)
}

/// Prints the last message of a run, and waits until the UART has sent it. Further output, also of
/// other CPUs, is dropped.
pub fn close(message: fmt::Arguments<'_>) {
    // A CPU that is printing a message may finish it; but one that panicked never will.
    let _whole = (0..MAX_POLLS).find_map(|_| MESSAGE.try_lock());
    let mut sink = Sink::now();
    SINK.store(CLOSED, Ordering::Release);
    leave_live_line(&mut sink);
    // The sink itself never fails.
    let _ = sink.write_fmt(message);
    if let Sink::Uart(port) = sink {
        let _sent = (0..MAX_POLLS).any(|_| port.is_idle());
    }
}

fn send(message: fmt::Arguments<'_>) {
    let mut sink = Sink::now();
    leave_live_line(&mut sink);
    // The sink itself never fails; an error of a `Display` cannot be handled here.
    let _ = sink.write_fmt(message);
}

fn leave_live_line(sink: &mut Sink) {
    if CURSOR.load(Ordering::Relaxed) == BEHIND_LIVE_LINE {
        // The sink itself never fails.
        let _ = sink.write_str("\n");
    }
}

/// Records where text leaves the cursor.
fn note_cursor(last: Option<&u8>) {
    match last {
        None => {}
        Some(b'\n') => CURSOR.store(AT_START, Ordering::Relaxed),
        Some(_) => CURSOR.store(INSIDE, Ordering::Relaxed),
    }
}

/// The next byte that was typed, if there is one.
pub fn read_byte() -> Option<u8> {
    match Sink::now() {
        Sink::Uart(port) => port.receive(),
        _ => None,
    }
}

/// Sends bytes as they are, whole like a message.
pub fn write_bytes(bytes: &[u8]) {
    let _whole = MESSAGE.lock();
    let mut sink = Sink::now();
    leave_live_line(&mut sink);
    note_cursor(bytes.last());
    match sink {
        Sink::Nowhere => {}
        Sink::Uart(port) => bytes.iter().for_each(|&byte| send_byte(port, byte)),
        Sink::Host => bytes.utf8_chunks().for_each(|chunk| write_to_host(chunk.valid())),
    }
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::drivers::console::print(::core::format_args!($($argument)*))
    };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => {
        $crate::print!("{}\n", ::core::format_args!($($argument)*))
    };
}

/// Prints to the console unless a message is being printed; returns whether it did.
#[macro_export]
macro_rules! try_print {
    ($($argument:tt)*) => {
        $crate::drivers::console::try_print(::core::format_args!($($argument)*))
    };
}
