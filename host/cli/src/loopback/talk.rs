//! Connections: requests are read, replies written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::door::{Door, Head};
use super::{Asked, Reply, Site};

/// Connections at the same time at most; browsers open some that they may never use.
const MOST_CONNECTIONS: usize = 256;
/// How long somebody may take to ask, or to take a part of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is kept on which nothing more is asked.
const KEPT: Duration = Duration::from_secs(60);
/// Bytes of a request's head at most, and its headers.
const MOST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Bytes at most that are read after a refusal, so that it arrives, and how long.
const MOST_DRAINED: usize = 1 << 20;
const DRAINING: Duration = Duration::from_secs(1);

/// What every answer has: it is not kept, guessed at, framed, named to others or read by others.
const HEADERS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
                       Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";

/// Talks with everybody at the same time, so that a connection that says nothing keeps nobody waiting.
pub(super) fn accept(listener: &TcpListener, shared: &Arc<(Door, Arc<dyn Site>)>) {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    for stream in listener.incoming().flatten() {
        let shared = Arc::clone(shared);
        let talk = move || {
            // Whoever went away meanwhile gets no answer, which is no failure.
            let _ = Talk { stream, read: Vec::new() }.go_on(&shared.0, &*shared.1);
            OPEN.fetch_sub(1, Ordering::Relaxed);
        };
        let is_full = OPEN.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS;
        if is_full || std::thread::Builder::new().name("answer".to_owned()).spawn(talk).is_err() {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One connection, and what was read of it but not used yet.
struct Talk {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came of a request's head.
enum Came {
    /// The other side closed.
    Nothing,
    /// It may ask this; its head took so many bytes.
    Head(Head, usize),
    Refused(Reply),
}

impl Talk {
    /// Answers one request after the other until one side has enough.
    fn go_on(&mut self, door: &Door, site: &dyn Site) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        // An answer is not held back until the one before it was acknowledged.
        self.stream.set_nodelay(true)?;
        let mut patience = PATIENCE;
        loop {
            let (head, used) = match self.head(door, site, patience)? {
                Came::Nothing => return Ok(()),
                Came::Head(head, used) => (head, used),
                Came::Refused(reply) => {
                    self.write(&reply, false)?;
                    return self.drain();
                }
            };
            self.read.drain(..used);
            let until = Instant::now() + PATIENCE;
            while self.read.len() < head.length {
                if self.more(until)? == 0 {
                    return Ok(());
                }
            }
            let (path, query, body) = (head.path.as_str(), head.query.as_str(), &self.read[..head.length]);
            let reply = site.answer(&Asked { method: head.method, path, query, body });
            self.read.drain(..head.length);
            self.write(&reply, head.keeps)?;
            if !head.keeps {
                return Ok(());
            }
            patience = KEPT;
        }
    }

    fn head(&mut self, door: &Door, site: &dyn Site, patience: Duration) -> io::Result<Came> {
        let mut until = Instant::now() + patience;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&self.read) {
                Ok(httparse::Status::Complete(used)) if used <= MOST_HEAD => {
                    return Ok(match door.asked(&request, site.most_sent()) {
                        Ok(head) => Came::Head(head, used),
                        Err(reply) => Came::Refused(reply),
                    });
                }
                Ok(httparse::Status::Partial) if self.read.len() < MOST_HEAD => {}
                _ => return Ok(Came::Refused(Reply::refusal("400 Bad Request", "this is no request"))),
            }
            let is_first = self.read.is_empty();
            if self.more(until)? == 0 {
                return Ok(Came::Nothing);
            }
            if is_first {
                until = Instant::now() + PATIENCE;
            }
        }
    }

    /// Reads what comes until a moment; 0 bytes where the other side closed or had its time.
    fn more(&mut self, until: Instant) -> io::Result<usize> {
        let mut block = [0; 16 << 10];
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(0);
        }
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match self.stream.read(&mut block) {
            Ok(read) => {
                self.read.extend_from_slice(&block[..read]);
                Ok(read)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, reply: &Reply, keeps: bool) -> io::Result<()> {
        let Reply { status, kind, policy, body } = reply;
        let body = body.bytes();
        let (length, after) = (body.len(), if keeps { "keep-alive" } else { "close" });
        let policy = policy.map_or_else(String::new, |policy| format!("Content-Security-Policy: {policy}\r\n"));
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {after}\r\n\
             {policy}{HEADERS}\r\n"
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)
    }

    /// Reads what else was sent: a connection that is closed before takes the answer with it.
    fn drain(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let (until, mut drained) = (Instant::now() + DRAINING, 0);
        while drained < MOST_DRAINED {
            self.read.clear();
            match self.more(until)? {
                0 => break,
                read => drained += read,
            }
        }
        Ok(())
    }
}
