//! Pages for browsers on this machine.
//!
//! Whoever knows the address may ask, and nobody else: it holds a token, the server listens on the loopback interface
//! only, and requests that a page from elsewhere makes a browser send are refused by their `Host` and `Origin`. What
//! comes is bounded in size, in time and in number.

mod door;
mod talk;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use door::Door;
use querist_core::digest::hex;

use crate::exit::Hinted;

/// Bytes of the random part of the address.
const TOKEN_BYTES: usize = 16;

/// What pages are made of: asked at the same time by everybody.
pub trait Site: Send + Sync + 'static {
    /// Says what there is under a path.
    fn answer(&self, asked: &Asked<'_>) -> Reply;

    /// Bytes at most that somebody may send in a `POST`; none where there is nothing to send.
    fn most_sent(&self) -> Option<usize> {
        None
    }
}

/// How somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To read.
    Get,
    /// To change something.
    Post,
}

/// What somebody asks who knows the address.
#[derive(Debug)]
pub struct Asked<'a> {
    /// To read, or to change something.
    pub method: Method,
    /// What follows the token and its `/`, without the query.
    pub path: &'a str,
    /// What follows the `?`, as it came.
    pub query: &'a str,
    /// What was sent.
    pub body: &'a [u8],
}

/// What is answered.
#[derive(Debug)]
pub struct Reply {
    status: &'static str,
    kind: &'static str,
    policy: Option<&'static str>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Text(Arc<str>),
    Bytes(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Reply {
    /// A text of a media type.
    pub fn text(kind: &'static str, text: impl Into<Arc<str>>) -> Self {
        Self { status: "200 OK", kind, policy: None, body: Body::Text(text.into()) }
    }

    /// A page.
    pub fn html(text: impl Into<Arc<str>>) -> Self {
        Self::text("text/html; charset=utf-8", text)
    }

    /// A value for programs.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text("application/json", value.to_string())
    }

    /// Bytes of a media type.
    pub fn bytes(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self { status: "200 OK", kind, policy: None, body: Body::Bytes(bytes) }
    }

    /// What is not done, and why; the status with its words, such as `404 Not Found`.
    pub fn refusal(status: &'static str, why: impl Into<Arc<str>>) -> Self {
        Self { status, ..Self::text("text/plain; charset=utf-8", why) }
    }

    /// There is nothing under this path.
    pub fn nothing() -> Self {
        Self::refusal("404 Not Found", "there is no such page; the program printed the address of the one there is")
    }

    /// The path is for reading only, or for sending only.
    pub fn wrong_method() -> Self {
        Self::refusal("405 Method Not Allowed", "this is not done in this way")
    }

    /// The status with its words.
    #[cfg(test)]
    pub fn status(&self) -> &'static str {
        self.status
    }

    /// What is sent.
    #[cfg(test)]
    pub fn sent(&self) -> &[u8] {
        self.body.bytes()
    }

    /// What the browser may do with it, as `Content-Security-Policy` says it.
    pub fn with_policy(self, policy: &'static str) -> Self {
        Self { policy: Some(policy), ..self }
    }
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    door: Door,
}

impl Server {
    /// Listens on a port of this machine, a free one where none is given, under a token that nobody knows.
    pub fn listen(port: Option<u16>) -> Result<Self> {
        Self::listen_as(port, None)
    }

    /// The same under a token that was made before.
    pub fn listen_as(port: Option<u16>, token: Option<String>) -> Result<Self> {
        let wanted = port.unwrap_or(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).map_err(|error| {
            let message = format!("cannot listen on port {wanted} of this machine: {error}");
            Hinted::say(message, "choose another one, or leave out `--port` to have a free one".to_owned())
        })?;
        let port = listener.local_addr()?.port();
        let token = token.map_or_else(new_token, Ok)?;
        Ok(Self { listener, door: Door::new(port, token) })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.door.port
    }

    /// The secret part of the address.
    pub fn token(&self) -> &str {
        &self.door.token
    }

    /// Where a browser finds it.
    pub fn address(&self) -> String {
        self.door.address()
    }

    /// Answers from now on, until the process ends.
    pub fn answer(self, site: Arc<dyn Site>) -> Result<()> {
        let Self { listener, door } = self;
        let shared = Arc::new((door, site));
        // Nobody waits for it: whoever reads a page slowly must not keep the program from ending.
        std::thread::Builder::new().name("answers".to_owned()).spawn(move || talk::accept(&listener, &shared))?;
        Ok(())
    }
}

fn new_token() -> Result<String> {
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(hex(&token))
}
