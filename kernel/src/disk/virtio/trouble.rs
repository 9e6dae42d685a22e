//! Why a device is given up, with the evidence.

use core::fmt;

use virtio_drivers::Error;

use super::pool::Op;

/// Why a device is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The used ring names a request that is not in flight.
    NotInFlight {
        /// Its descriptor.
        token: u16,
    },
    /// The used ring says that the device wrote more than there was room for.
    TooLong {
        /// The bytes that it names.
        wrote: u32,
        /// The room.
        room: u32,
    },
    /// The ring refused a request.
    Ring(Error),
    /// It interrupts without end.
    Storm {
        /// How often, since its interrupts were looked at.
        interrupts: u32,
    },
    /// The device says that it must be reset.
    NeedsReset,
    /// A request has not ended.
    Late {
        /// What it is.
        op: Op,
        /// Its first sector.
        sector: u64,
        /// Its bytes.
        bytes: u32,
        /// For how long it has been in flight, in milliseconds.
        millis: u64,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInFlight { token } => {
                write!(f, "it says that request {token} has ended, which is not in flight")
            }
            Self::TooLong { wrote, room } => {
                write!(f, "it says that it wrote {wrote} bytes to a request with room for {room}")
            }
            Self::Ring(error) => write!(f, "the ring refused a request: {error}"),
            Self::Storm { interrupts } => {
                write!(f, "it interrupted {interrupts} times before anything else could run")
            }
            Self::NeedsReset => write!(f, "it says that it must be reset"),
            Self::Late { op, sector, bytes, millis } => {
                write!(f, "a request has not ended for {millis} ms: ")?;
                write!(f, "{op:?} of {bytes} bytes at sector {sector}")
            }
        }
    }
}

impl core::error::Error for Trouble {}
