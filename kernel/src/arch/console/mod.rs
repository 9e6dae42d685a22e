//! The console: text out, bytes in, from any context.
//!
//! **Data.** The address of the PL011's registers, and whether text goes to the debugger's
//! semihosting instead. **Owner.** [`init`]. **Lock.** One that keeps messages whole; it is
//! a leaf, and masks interrupts while a message is sent, which at 115,200 baud takes 87 µs
//! a character: long messages belong into several calls. A message sent by code that
//! panicked takes no lock, since its holder may never go on, and may be mixed with another.
//!
//! Before the console is known, text is dropped, except that of a failure
//! ([`print_urgently`]): that takes semihosting if somebody answers, else the fallback
//! UART, an address fixed when the kernel is built (environment variable `FALLBACK_UART`,
//! by default that of QEMU's `virt`).

mod pl011;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use boot::layout::PAGE_SIZE;
use mm_reclaim::units::{Pfn, PhysAddr};
use semihosting::sys::arm_compat as host;

use super::exit;
use super::lock::IrqLock;
use super::mmu::{self, MapError};
use pl011::Pl011;

/// Where a failure is reported when there is no device tree to say it.
const FALLBACK_UART: PhysAddr = PhysAddr(match option_env!("FALLBACK_UART") {
    Some(text) => match u64::from_str_radix(text, 16) {
        Ok(address) => address,
        Err(_) => panic!("FALLBACK_UART must be a physical address in hexadecimal digits"),
    },
    None => 0x0900_0000,
});

/// Where text goes: the values of [`SINK`].
const NOWHERE: u8 = 0;
const UART: u8 = 1;
const HOST: u8 = 2;

static SINK: AtomicU8 = AtomicU8::new(NOWHERE);
/// The registers' address; written before [`SINK`] says that there is one.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);
/// Held while a message is sent.
static MESSAGE: IrqLock<()> = IrqLock::new(());

/// Sends text to the PL011 at `pa`, or to the debugger if there is none or it does not answer
/// and `semihosting` allows it.
///
/// # Errors
/// [`MapError`], when the registers cannot be mapped.
pub fn init(pl011: Option<PhysAddr>, semihosting: bool) -> Result<(), MapError> {
    let answers = pl011.map_or(Ok(false), use_uart)?;
    if !answers {
        SINK.store(if semihosting { HOST } else { NOWHERE }, Ordering::Release);
    }
    Ok(())
}

/// Whether there is a UART at `pa`, which is used then.
fn use_uart(pa: PhysAddr) -> Result<bool, MapError> {
    let mut no_frames = || None::<Pfn>;
    let registers = mmu::map_device(pa, PAGE_SIZE, &mut no_frames)?;
    if !uart(registers.addr()).start() {
        return Ok(false);
    }
    REGISTERS.store(registers.addr(), Ordering::Relaxed);
    // Release: whoever sees that there is a UART (Acquire in `Sink::now`) sees its address.
    SINK.store(UART, Ordering::Release);
    Ok(true)
}

fn uart(registers: usize) -> Pl011 {
    // SAFETY: the address comes from `map_device`, which maps the registers for ever.
    unsafe { Pl011::new(registers as *mut u8) }
}

/// Where a message goes.
enum Sink {
    Nowhere,
    Uart(Pl011),
    Host,
}

impl Sink {
    fn now() -> Self {
        match SINK.load(Ordering::Acquire) {
            UART => Self::Uart(uart(REGISTERS.load(Ordering::Relaxed))),
            HOST => Self::Host,
            _ => Self::Nowhere,
        }
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self {
            Self::Nowhere => {}
            Self::Uart(uart) => text.bytes().for_each(|byte| send_byte(uart, byte)),
            Self::Host => write_to_host(text),
        }
        Ok(())
    }
}

/// Terminals want a carriage return before a line feed.
fn send_byte(uart: &Pl011, byte: u8) {
    if byte == b'\n' {
        uart.send(b'\r');
    }
    uart.send(byte);
}

/// SYS_WRITE0, a piece at a time, since it wants a zero at the end.
fn write_to_host(text: &str) {
    for piece in text.as_bytes().chunks(63) {
        let mut buffer = [0; 64];
        buffer[..piece.len()].copy_from_slice(piece);
        if let Ok(piece) = core::ffi::CStr::from_bytes_until_nul(&buffer) {
            host::sys_write0(piece);
        }
    }
}

/// Prints a message, whole. For [`print!`](crate::print) and
/// [`println!`](crate::println).
pub fn print(message: fmt::Arguments<'_>) {
    let _whole = MESSAGE.lock();
    send(message);
}

/// Prints a message unless another is being printed; says whether it did.
pub fn try_print(message: fmt::Arguments<'_>) -> bool {
    let Some(_whole) = MESSAGE.try_lock() else { return false };
    send(message);
    true
}

/// Prints a message of a kernel that is about to end: without the lock, and on whatever is
/// there if there is no console yet.
pub fn print_urgently(message: fmt::Arguments<'_>) {
    if SINK.load(Ordering::Acquire) == NOWHERE {
        use_fallback();
    }
    send(message);
}

fn use_fallback() {
    if exit::host_answers() {
        SINK.store(HOST, Ordering::Release);
    } else {
        // Nothing is left to be told to if even this fails.
        let _ = use_uart(FALLBACK_UART);
    }
}

fn send(message: fmt::Arguments<'_>) {
    // The sink itself never fails; what a `Display` returns cannot be helped here.
    let _ = Sink::now().write_fmt(message);
}

/// The next byte that was typed, if there is one.
pub fn read_byte() -> Option<u8> {
    match Sink::now() {
        Sink::Uart(uart) => uart.receive(),
        _ => None,
    }
}

/// Sends bytes as they are, whole like a message.
pub fn write_bytes(bytes: &[u8]) {
    let _whole = MESSAGE.lock();
    match Sink::now() {
        Sink::Nowhere => {}
        Sink::Uart(uart) => bytes.iter().for_each(|&byte| send_byte(&uart, byte)),
        Sink::Host => bytes.utf8_chunks().for_each(|chunk| write_to_host(chunk.valid())),
    }
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::arch::console::print(::core::format_args!($($argument)*))
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

/// Prints to the console unless a message is being printed; says whether it did.
#[macro_export]
macro_rules! try_print {
    ($($argument:tt)*) => {
        $crate::arch::console::try_print(::core::format_args!($($argument)*))
    };
}
