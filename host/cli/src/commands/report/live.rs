//! `querist report --live`: the page, served to a browser on this machine while runs go on.
//!
//! Whoever knows the address may read the page, and nobody else: it holds a token, the server listens on the loopback
//! interface only, and requests that a page from elsewhere makes a browser send are refused by their `Host` and
//! `Origin`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use querist_core::digest::hex;
use querist_protocol::Shown;
use serde_json::json;

use super::watch::{Made, Watch};
use crate::exit::Hinted;
use crate::{output, progress};

/// Connections at the same time at most; browsers open some that they may never use.
const MOST_CONNECTIONS: usize = 256;
/// How long somebody may take to ask, or to take a part of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request at most, and its headers.
const MOST_REQUEST: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Time between two looks at the folders at least; where looking takes long it is looked more seldom.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the random part of the address.
const TOKEN_BYTES: usize = 16;

/// What is served.
struct Served {
    page: Arc<str>,
    digest: String,
    /// Why the folders cannot be looked at any more.
    trouble: Option<String>,
}

/// Who may ask, and what for.
struct Door {
    /// `127.0.0.1:8000` and `localhost:8000`.
    hosts: [String; 2],
    token: String,
}

/// Serves the report of some folders until the user wants to stop.
pub fn serve(folders: &[PathBuf], curves_by: &[String], port: Option<u16>) -> Result<()> {
    progress::stop_on_interrupt()?;
    let mut watch = Watch::new(folders, curves_by);
    let first = watch.page()?.context("the first page is never like one before")?;
    let listener = listen(port)?;
    let port = listener.local_addr()?.port();
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let door = Door { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")], token: hex(&token) };
    let address = format!("http://{}/{}/", door.hosts[0], door.token);
    let served = Mutex::new(Served { page: first.page.into(), digest: first.digest, trouble: None });
    let shared = Arc::new((door, served));
    let answering = Arc::clone(&shared);
    // Nobody waits for it: whoever reads a page slowly must not keep the program from ending.
    std::thread::Builder::new().name("answers".to_owned()).spawn(move || accept(&listener, &answering))?;
    output::line(&address)?;
    output::note("open this address in a browser on this machine; Ctrl-C ends it");
    keep_up_to_date(&mut watch, &shared.1);
    Ok(())
}

fn listen(port: Option<u16>) -> Result<TcpListener> {
    let port = port.unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        let message = format!("cannot listen on port {port} of this machine: {error}");
        Hinted::say(message, "choose another one, or leave out `--port` to have a free one".to_owned())
    })
}

/// Makes the page anew whenever something changed, until the user wants to stop.
fn keep_up_to_date(watch: &mut Watch<'_>, served: &Mutex<Served>) {
    let mut took = Duration::ZERO;
    loop {
        let begun = Instant::now();
        while begun.elapsed() < LOOK_EVERY.max(2 * took) {
            if progress::stopped() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let clock = Instant::now();
        let made = watch.page();
        let mut now = lock(served);
        match made {
            Ok(made) => {
                now.trouble = None;
                if let Some(Made { page, digest }) = made {
                    (now.page, now.digest) = (page.into(), digest);
                }
            }
            Err(error) => now.trouble = Some(Shown::sentence(&format!("{error:#}")).into_string()),
        }
        took = clock.elapsed();
    }
}

/// A poisoned lock only means that another thread panicked while it looked.
fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Talks with everybody at the same time, so that a connection that says nothing keeps nobody waiting.
fn accept(listener: &TcpListener, shared: &Arc<(Door, Mutex<Served>)>) {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    for stream in listener.incoming().flatten() {
        let shared = Arc::clone(shared);
        let talk = move || {
            // Whoever went away meanwhile gets no answer, which is no failure.
            let _ = answer(stream, &shared.0, &shared.1);
            OPEN.fetch_sub(1, Ordering::Relaxed);
        };
        let is_full = OPEN.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS;
        if is_full || std::thread::Builder::new().name("answer".to_owned()).spawn(talk).is_err() {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Reads one request and answers it.
fn answer(mut stream: TcpStream, door: &Door, served: &Mutex<Served>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    let asked = loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(_)) => break door.asked(&request),
            Ok(httparse::Status::Partial) if bytes.len() < MOST_REQUEST => {}
            _ => break Err(("400 Bad Request", "this is no request")),
        }
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut block)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&block[..read]),
        }
    };
    let (status, kind, body): (&str, &str, Arc<str>) = match asked {
        Err((status, why)) => (status, "text/plain; charset=utf-8", why.into()),
        Ok(Asked::Page) => ("200 OK", "text/html; charset=utf-8", Arc::clone(&lock(served).page)),
        Ok(Asked::State) => {
            let Served { digest, trouble, .. } = &*lock(served);
            ("200 OK", "application/json", json!({ "digest": digest, "trouble": trouble }).to_string().into())
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n{HEADERS}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// What every answer has: it is not kept, guessed at, framed, named to others or read by others.
const HEADERS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
                       Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";

enum Asked {
    Page,
    State,
}

impl Door {
    fn asked(&self, request: &httparse::Request<'_, '_>) -> std::result::Result<Asked, (&'static str, &'static str)> {
        let values = |name: &'static str| -> Vec<&[u8]> {
            let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value).collect()
        };
        let hosts = values("Host");
        if hosts.len() != 1 || !self.hosts.iter().any(|host| hosts[0].eq_ignore_ascii_case(host.as_bytes())) {
            return Err(("403 Forbidden", "this server has another name"));
        }
        let is_ours = |origin: &&[u8]| self.hosts.iter().any(|host| *origin == format!("http://{host}").as_bytes());
        if !values("Origin").iter().all(is_ours) {
            return Err(("403 Forbidden", "pages from elsewhere may not ask"));
        }
        if request.method != Some("GET") {
            return Err(("405 Method Not Allowed", "there is nothing but GET"));
        }
        let path = request.path.unwrap_or_default();
        match path.strip_prefix('/').and_then(|rest| rest.strip_prefix(self.token.as_str())) {
            Some("/") => Ok(Asked::Page),
            Some("/state") => Ok(Asked::State),
            _ => Err(("404 Not Found", "there is no such page; the program printed the address of the one there is")),
        }
    }
}
