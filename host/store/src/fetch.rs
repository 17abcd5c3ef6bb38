//! Asking servers, none of which is trusted: over https, to the host that was named, and for no more than was asked.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use querist_protocol::Shown;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// Redirects that are followed one after the other.
const MOST_REDIRECTS: usize = 5;
/// Time for one answer with all that belongs to it.
const ANSWER_TIME: Duration = Duration::from_secs(900);

/// Where something lies: an address with https, or one with http on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none, or leads over a network in clear text.
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        let wrong = |reason: &'static str| FetchError::Address { address: Shown::sentence(text), reason };
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read as one"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("it begins with https:// and a host"));
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong("a host is expected after https://, without a user's name"));
        }
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if is_this_machine(authority.host()) => Ok(Self(uri)),
            _ => Err(wrong("only https:// is asked over a network")),
        }
    }

    /// Its host without a port.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Its host with the port.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The same place with something behind its path.
    ///
    /// # Errors
    /// If that makes no address.
    pub fn with(&self, more: &str) -> Result<Self, FetchError> {
        Self::parse(&format!("{}{more}", self.to_string().trim_end_matches('/')))
    }

    /// Where a redirect leads that was met here.
    fn follow(&self, location: &str) -> Result<Self, FetchError> {
        match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => {
                Self::parse(&format!("{}://{}{location}", self.0.scheme_str().unwrap_or("https"), self.authority()))
            }
            _ => Self::parse(location),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown::sentence(&self.0.to_string()))
    }
}

/// Whether a name means the machine that one works at.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Asks servers.
pub struct Client {
    agent: Agent,
    also: Vec<String>,
}

impl Client {
    /// A client that follows redirects within a host, and to the hosts that the user named.
    pub fn new(also: &[String]) -> Self {
        let agent = querist_web::client()
            // They are followed here, where hosts are compared.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(ANSWER_TIME))
            .build();
        Self { agent: agent.into(), also: also.to_vec() }
    }

    /// What lies at an address, of at most `most` bytes.
    ///
    /// # Errors
    /// If the server does not give it, gives more, or leads elsewhere.
    pub fn get(&self, address: &Address, most: u64) -> Result<Vec<u8>, FetchError> {
        match self.ask(address, &[], most)? {
            Answer::Given(bytes) => Ok(bytes),
            Answer::Refused { status, .. } => Err(FetchError::Status { address: address.clone(), status }),
        }
    }

    /// The same, or `None` where there is nothing.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn get_if_there(&self, address: &Address, most: u64) -> Result<Option<Vec<u8>>, FetchError> {
        match self.ask(address, &[], most)? {
            Answer::Given(bytes) => Ok(Some(bytes)),
            Answer::Refused { status, .. } if status.is_client_error() => Ok(None),
            Answer::Refused { status, .. } => Err(FetchError::Status { address: address.clone(), status }),
        }
    }

    /// Asks with headers. Another host, which a redirect leads to, is not told them.
    pub(crate) fn ask(&self, address: &Address, headers: &[(&str, &str)], most: u64) -> Result<Answer, FetchError> {
        let mut at = address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.agent.get(&at.0);
            if at.authority() == address.authority() {
                request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            }
            let failed = |error: ureq::Error| FetchError::Failed {
                address: at.clone(),
                reason: Shown::sentence(&querist_web::reason(&error)),
            };
            let response = request.call().map_err(failed)?;
            let status = response.status();
            if status.is_redirection() {
                at = self.led(&at, &response)?;
            } else if status == StatusCode::OK {
                return Ok(Answer::Given(read(&at, response, most)?));
            } else {
                let challenge = text_of(&response, header::WWW_AUTHENTICATE);
                return Ok(Answer::Refused { status, challenge });
            }
        }
        Err(FetchError::Circle { address: address.clone() })
    }

    /// Where a redirect leads, if it may lead there.
    fn led(&self, from: &Address, response: &Response<Body>) -> Result<Address, FetchError> {
        let location = text_of(response, header::LOCATION).unwrap_or_default();
        let to = from.follow(&location)?;
        self.check_host(from, &to)?;
        Ok(to)
    }

    /// Whether a server may lead to another.
    pub(crate) fn check_host(&self, from: &Address, to: &Address) -> Result<(), FetchError> {
        if to.authority() == from.authority() || self.also.iter().any(|host| host == to.host()) {
            return Ok(());
        }
        Err(FetchError::Elsewhere { address: from.clone(), host: Shown::name(to.host()) })
    }
}

/// What a server answered.
pub(crate) enum Answer {
    /// What was asked for.
    Given(Vec<u8>),
    /// Another status than 200.
    Refused {
        /// Which.
        status: StatusCode,
        /// How the server wants to know who asks.
        challenge: Option<String>,
    },
}

fn text_of(response: &Response<Body>, name: header::HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn read(address: &Address, mut response: Response<Body>, most: u64) -> Result<Vec<u8>, FetchError> {
    let too_large = || FetchError::TooLarge { address: address.clone(), most };
    let said = text_of(&response, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if said.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let body = response.body_mut().with_config().limit(most.saturating_add(2)).reader();
    let read = body.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| FetchError::Failed {
        address: address.clone(),
        reason: Shown::sentence(&format!("the connection broke: {error}")),
    })?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// Why a server gave nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum FetchError {
    #[error("`{address}` is no address to fetch from: {reason}")]
    Address { address: Shown, reason: &'static str },
    #[error("{address}: {reason}")]
    Failed { address: Address, reason: Shown },
    #[error("{address}: the server answers {status}")]
    Status { address: Address, status: StatusCode },
    #[error("{address}: the server sends more than {most} bytes")]
    TooLarge { address: Address, most: u64 },
    #[error(
        "{address}: the server leads to another host or port, at `{host}`; if that is its owner's as well, say so with \
         `--allow-host {host}`"
    )]
    Elsewhere { address: Address, host: Shown },
    #[error("{address}: the server leads on and on, more than {MOST_REDIRECTS} times")]
    Circle { address: Address },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_machine() {
        for good in ["https://a.org/x.wasm", "http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/x"] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://a.org/x",
            "http://127.0.0.1.a.org/x",
            "http://localhost.a.org",
            "http://127.0.0.1@a.org/",
            "https://user:word@a.org/",
            "ftp://a.org",
            "file:///etc/passwd",
            "a.org/x",
            "https://",
            "https://a.org/\u{1b}[31m",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn redirects_are_read_as_servers_write_them() {
        let at = Address::parse("https://a.org/b/c").unwrap();
        for (location, led) in [("/d?e", Some("https://a.org/d?e")), ("https://x.org/", Some("https://x.org/"))] {
            assert_eq!(at.follow(location).ok().map(|to| to.to_string()).as_deref(), led);
        }
        for bad in ["", "d", "//x.org/d", "http://x.org/", "file:///d"] {
            assert!(at.follow(bad).is_err(), "{bad}");
        }
    }
}
