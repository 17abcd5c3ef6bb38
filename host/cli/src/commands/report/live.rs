//! `querist report --live`: the page, served to a browser on this machine while runs go on.
//!
//! Whoever knows the address may read the page, and nobody else: it holds a token, the server listens on the loopback
//! interface only, and requests that a page from elsewhere makes a browser send are refused by their `Host` and
//! `Origin`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use querist_core::digest::hex;
use querist_protocol::Shown;
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use super::watch::{Made, Watch};
use crate::exit::Hinted;
use crate::{output, progress};

/// Requests that are answered at the same time.
const ANSWERERS: usize = 4;
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
    let server = Server::from_listener(listener, None).map_err(|error| anyhow!("cannot serve the page: {error}"))?;
    let served = Mutex::new(Served { page: first.page.into(), digest: first.digest, trouble: None });
    let shared = Arc::new((server, door, served));
    for _ in 0..ANSWERERS {
        let shared = Arc::clone(&shared);
        // Nobody waits for them: whoever reads a page slowly must not keep the program from ending.
        std::thread::Builder::new().name("answers".to_owned()).spawn(move || {
            let (server, door, served) = &*shared;
            while let Ok(request) = server.recv() {
                answer(request, door, served);
            }
        })?;
    }
    output::line(&address)?;
    output::note("open this address in a browser on this machine; Ctrl-C ends it");
    keep_up_to_date(&mut watch, &shared.2);
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

/// Whoever went away meanwhile gets no answer, which is no failure.
fn answer(request: Request, door: &Door, served: &Mutex<Served>) {
    let (status, kind, body): (u16, &str, Arc<str>) = match door.asked(&request) {
        Err((status, why)) => (status, "text/plain; charset=utf-8", why.into()),
        Ok(Asked::Page) => (200, "text/html; charset=utf-8", Arc::clone(&lock(served).page)),
        Ok(Asked::State) => {
            let Served { digest, trouble, .. } = &*lock(served);
            (200, "application/json", json!({ "digest": digest, "trouble": trouble }).to_string().into())
        }
    };
    let headers = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| Header::from_bytes(name, value).ok()).collect();
    let response = Response::new(StatusCode(status), headers, body.as_bytes(), Some(body.len()), None)
        .with_chunked_threshold(usize::MAX);
    let _ = request.respond(response);
}

enum Asked {
    Page,
    State,
}

impl Door {
    fn asked(&self, request: &Request) -> std::result::Result<Asked, (u16, &'static str)> {
        let values = |name: &'static str| {
            let named = request.headers().iter().filter(move |header| header.field.equiv(name));
            named.map(|header| header.value.as_str()).collect::<Vec<_>>()
        };
        let hosts = values("Host");
        if hosts.len() != 1 || !self.hosts.iter().any(|host| hosts[0].eq_ignore_ascii_case(host)) {
            return Err((403, "this server has another name"));
        }
        let is_ours = |origin: &&str| self.hosts.iter().any(|host| *origin == format!("http://{host}"));
        if !values("Origin").iter().all(is_ours) {
            return Err((403, "pages from elsewhere may not ask"));
        }
        if *request.method() != Method::Get {
            return Err((405, "there is nothing but GET"));
        }
        let path = request.url().strip_prefix('/').and_then(|rest| rest.strip_prefix(self.token.as_str()));
        match path {
            Some("/") => Ok(Asked::Page),
            Some("/state") => Ok(Asked::State),
            _ => Err((404, "there is no such page; the program printed the address of the one there is")),
        }
    }
}
