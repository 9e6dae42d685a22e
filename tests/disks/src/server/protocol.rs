//! NBD, as far as QEMU speaks it: the fixed newstyle greeting, and simple replies.
//!
//! The numbers are those of `doc/proto.md` of the project NBD.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const FIXED_NEWSTYLE_NO_ZEROES: u16 = 1 | 2;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_UNSUPPORTED: u32 = 1 << 31 | 1;
/// There are flags, and requests to flush and to trim.
const FLAGS: u16 = 1 | 4 | 32;
const REQUEST: u32 = 0x2560_9513;
const SIMPLE_REPLY: u32 = 0x6744_6698;
/// The most bytes of one request, or of an option.
const MOST: u32 = 64 << 20;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say everything")]
pub enum Action {
    Read,
    Write(Vec<u8>),
    Flush,
    Trim,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What is asked for.
    pub action: Action,
    /// What the answer is known by.
    pub cookie: u64,
    /// The place on the disk.
    pub at: u64,
    /// How many bytes.
    pub len: u32,
}

impl Request {
    /// The bytes of a disk of that size that it is about; `None` if it has not as many.
    #[must_use]
    pub fn range(&self, size: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(self.len.into())?;
        (end <= size as u64).then_some(self.at as usize..end as usize)
    }
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_u16(stream: &mut impl Read) -> io::Result<u16> {
    take(stream).map(u16::from_be_bytes)
}

fn take_u32(stream: &mut impl Read) -> io::Result<u32> {
    take(stream).map(u32::from_be_bytes)
}

fn take_u64(stream: &mut impl Read) -> io::Result<u64> {
    take(stream).map(u64::from_be_bytes)
}

fn take_bytes(stream: &mut impl Read, len: u32) -> io::Result<Vec<u8>> {
    if len > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Greets a client, and negotiates; false if it has gone again.
///
/// # Errors
/// If it does not speak NBD.
pub fn greet(mut stream: &UnixStream, size: u64) -> io::Result<bool> {
    stream.write_all(GREETING)?;
    stream.write_all(&FIXED_NEWSTYLE_NO_ZEROES.to_be_bytes())?;
    take_u32(&mut stream)?;
    let export: Vec<u8> = [&size.to_be_bytes() as &[u8], &FLAGS.to_be_bytes()].concat();
    loop {
        let _magic = take_u64(&mut stream)?;
        let option = take_u32(&mut stream)?;
        let len = take_u32(&mut stream)?;
        take_bytes(&mut stream, len)?;
        match option {
            OPT_EXPORT_NAME => return stream.write_all(&export).map(|()| true),
            OPT_INFO | OPT_GO => {
                let info = [vec![0, 0], export.clone()].concat();
                reply(stream, option, REP_INFO, &info)?;
                reply(stream, option, REP_ACK, &[])?;
                if option == OPT_GO {
                    return Ok(true);
                }
            }
            OPT_ABORT => return reply(stream, option, REP_ACK, &[]).map(|()| false),
            _ => reply(stream, option, REP_UNSUPPORTED, &[])?,
        }
    }
}

fn reply(mut stream: &UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    stream.write_all(&OPTION_REPLY.to_be_bytes())?;
    for number in [option, kind, data.len() as u32] {
        stream.write_all(&number.to_be_bytes())?;
    }
    stream.write_all(data)
}

/// The next request; `None` when the client leaves.
///
/// # Errors
/// If the connection ends, or it is no request.
pub fn read_request(stream: &mut impl Read) -> io::Result<Option<Request>> {
    if take_u32(stream)? != REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (_flags, kind) = (take_u16(stream)?, take_u16(stream)?);
    let (cookie, at, len) = (take_u64(stream)?, take_u64(stream)?, take_u32(stream)?);
    let action = match kind {
        0 => Action::Read,
        1 => Action::Write(take_bytes(stream, len)?),
        2 => return Ok(None),
        3 => Action::Flush,
        4 => Action::Trim,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some(Request { action, cookie, at, len }))
}

/// The head of an answer.
#[must_use]
pub fn answer(cookie: u64, error: u32) -> Vec<u8> {
    let head = [SIMPLE_REPLY, error].map(u32::to_be_bytes).concat();
    [head, cookie.to_be_bytes().to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_beyond_the_end_has_no_range() {
        let request = |at, len| Request { action: Action::Read, cookie: 1, at, len };
        assert_eq!(request(512, 512).range(1024), Some(512..1024));
        assert_eq!(request(512, 513).range(1024), None);
        assert_eq!(request(u64::MAX, 1).range(1024), None);
    }

    #[test]
    fn a_write_brings_its_bytes() {
        let numbers = [[0x25, 0x60, 0x95, 0x13], [0, 0, 0, 1]].concat();
        let bytes = [&numbers[..], &[0; 8], &[0; 7], &[9, 0, 0, 0, 2, 7, 8]].concat();
        let request = read_request(&mut &bytes[..]).expect("a request").expect("no farewell");
        assert_eq!(
            request,
            Request { action: Action::Write(vec![7, 8]), cookie: 0, at: 9, len: 2 }
        );
    }
}
