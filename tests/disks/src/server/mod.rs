//! A disk that does what a test wants: an NBD server on a Unix socket, for QEMU.
//!
//! It keeps the contents in memory. Every write and flush that succeeds is logged, with what was
//! written, in the order of completion, which is the order of the answers: what a cut of power may
//! leave is computed from that ([`log`]). Requests fail, come late, are answered in another order or
//! not at all as [`Trouble`] says.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`log`] | what was written and flushed, and the images that a cut may leave |
//! | [`protocol`] | NBD: the greeting and the requests |
//! | [`trouble`] | which requests come to harm |

pub mod log;
pub mod protocol;
pub mod trouble;

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{Event, Log};
use protocol::{Action, Request};
use splitmix::SplitMix64;
use trouble::{Fate, SILENCE, Trouble};

/// Linux's number for a device that failed, which is NBD's.
const EIO: u32 = 5;
/// As long as more requests may come before one is chosen out of order.
const GATHERING: Duration = Duration::from_micros(300);

/// What the disk holds, and what happened to it.
#[derive(Debug, Default)]
struct State {
    contents: Vec<u8>,
    log: Vec<Event>,
    /// Requests that failed.
    failed: u32,
}

/// A server, which serves one disk of one machine.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    thread: JoinHandle<()>,
}

/// What a server leaves behind.
#[derive(Debug)]
pub struct Left {
    /// What the disk holds.
    pub contents: Vec<u8>,
    /// What happened.
    pub log: Log,
    /// Requests that were made to fail.
    pub failed: u32,
}

impl Server {
    /// Starts a server with these contents.
    ///
    /// # Panics
    /// If there can be no socket.
    #[must_use]
    pub fn start(socket: PathBuf, contents: Vec<u8>, trouble: Trouble) -> Self {
        let listener = UnixListener::bind(&socket).expect("a socket for the disk");
        let state = Arc::new(Mutex::new(State { contents, ..State::default() }));
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            // From here on there is only this connection: a disk that is gone does not come back.
            drop(listener);
            // QEMU ends without a farewell when the machine is killed.
            _ = serve(&stream, &shared, trouble);
        });
        Self { socket, state, thread }
    }

    /// QEMU's options for a drive on it.
    #[must_use]
    pub fn drive(&self) -> String {
        let socket = self.socket.display();
        format!(
            "file.driver=nbd,file.server.type=unix,file.server.path={socket},format=raw,\
             cache=writeback,werror=report,rerror=report"
        )
    }

    /// Waits until the machine is gone.
    ///
    /// # Panics
    /// If the server has.
    #[must_use]
    pub fn finish(self) -> Left {
        if !self.thread.is_finished() {
            // A machine that never came would be waited for without an end.
            _ = UnixStream::connect(&self.socket);
        }
        self.thread.join().expect("the server ends with its connection");
        let state = &mut *self.state.lock().expect("the server has ended");
        let (contents, log) = (std::mem::take(&mut state.contents), std::mem::take(&mut state.log));
        Left { contents, log: Log(log), failed: state.failed }
    }
}

/// Serves a connection until it ends.
fn serve(stream: &UnixStream, state: &Mutex<State>, trouble: Trouble) -> io::Result<()> {
    let size = lock(state).contents.len() as u64;
    if !protocol::greet(stream, size)? {
        return Ok(());
    }
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        scope.spawn(move || read_requests(stream, &sender));
        let done =
            Worker { stream, state, trouble, random: trouble.random(), seen: 0 }.run(&receiver);
        // The reader waits for requests: it must not wait any longer.
        _ = stream.shutdown(std::net::Shutdown::Both);
        done
    })
}

fn read_requests(mut stream: &UnixStream, to: &Sender<Request>) {
    while let Ok(Some(request)) = protocol::read_request(&mut stream) {
        if to.send(request).is_err() {
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().expect("nobody panics with it")
}

/// What answers the requests.
struct Worker<'a> {
    stream: &'a UnixStream,
    state: &'a Mutex<State>,
    trouble: Trouble,
    random: SplitMix64,
    seen: u32,
}

impl Worker<'_> {
    fn run(&mut self, from: &Receiver<Request>) -> io::Result<()> {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Ok(request) = from.recv() else { return Ok(()) };
                waiting.push(request);
            }
            if self.trouble.out_of_order {
                thread::sleep(GATHERING);
                waiting.extend(from.try_iter());
            }
            let chosen = match self.trouble.out_of_order {
                true => (self.random.next() % waiting.len() as u64) as usize,
                false => 0,
            };
            let request = waiting.swap_remove(chosen);
            let fate = self.trouble.fate(self.seen, &request, &lock(self.state).contents);
            match fate {
                Fate::Dropped => return Ok(()),
                Fate::Silent => {
                    thread::sleep(SILENCE);
                    return Ok(());
                }
                Fate::Fails => {
                    lock(self.state).failed += 1;
                    self.answer(&request, EIO, &[])?;
                }
                Fate::Succeeds => self.succeed(&request)?,
            }
            self.seen += 1;
        }
    }

    fn succeed(&self, request: &Request) -> io::Result<()> {
        thread::sleep(self.trouble.delay);
        let mut state = lock(self.state);
        let Some(range) = request.range(state.contents.len()) else {
            drop(state);
            return self.answer(request, EIO, &[]);
        };
        match &request.action {
            Action::Read => {
                let data = state.contents[range].to_vec();
                drop(state);
                return self.answer(request, 0, &data);
            }
            Action::Write(data) => {
                state.contents[range.clone()].copy_from_slice(data);
                state.log.push(Event::Write { at: range.start, data: data.clone() });
            }
            Action::Flush => state.log.push(Event::Flush),
            Action::Trim => {}
        }
        drop(state);
        self.answer(request, 0, &[])
    }

    fn answer(&self, request: &Request, error: u32, data: &[u8]) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(&protocol::answer(request.cookie, error))?;
        stream.write_all(data)
    }
}
