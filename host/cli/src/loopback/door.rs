//! Who may ask, and what for.

use httparse::{Header, Request};

use super::{Method, Reply};

/// What is known of a request before its body is read.
pub(super) struct Head {
    pub method: Method,
    /// What follows the token and its `/`.
    pub path: String,
    pub query: String,
    /// Bytes of the body.
    pub length: usize,
    /// Whether the other side will ask again on the same connection.
    pub keeps: bool,
}

pub(super) struct Door {
    /// `127.0.0.1:8000` and `localhost:8000`.
    hosts: [String; 2],
    pub port: u16,
    pub token: String,
}

impl Door {
    pub fn new(port: u16, token: String) -> Self {
        Self { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")], port, token }
    }

    pub fn address(&self) -> String {
        format!("http://{}/{}/", self.hosts[0], self.token)
    }

    /// What is asked, if whoever asks may; `most_sent` is what may be sent in a `POST`.
    pub fn asked(&self, request: &Request<'_, '_>, most_sent: Option<usize>) -> Result<Head, Reply> {
        let forbidden = |why: &str| Err(Reply::refusal("403 Forbidden", why));
        let hosts = values(request.headers, "Host");
        if hosts.len() != 1 || !self.hosts.iter().any(|host| hosts[0].eq_ignore_ascii_case(host.as_bytes())) {
            return forbidden("this server has another name");
        }
        let is_ours = |origin: &&[u8]| self.hosts.iter().any(|host| *origin == format!("http://{host}").as_bytes());
        if !values(request.headers, "Origin").iter().all(is_ours) {
            return forbidden("pages from elsewhere may not ask");
        }
        let method = match (request.method, most_sent) {
            (Some("GET"), _) => Method::Get,
            (Some("POST"), Some(_)) => Method::Post,
            (_, None) => return Err(Reply::refusal("405 Method Not Allowed", "there is nothing but GET")),
            _ => return Err(Reply::refusal("405 Method Not Allowed", "there is nothing but GET and POST")),
        };
        let whole = request.path.unwrap_or_default();
        let (whole, query) = whole.split_once('?').unwrap_or((whole, ""));
        let below = whole.strip_prefix('/').and_then(|rest| rest.strip_prefix(self.token.as_str()));
        let Some(path) = below.and_then(|rest| rest.strip_prefix('/')) else { return Err(Reply::nothing()) };
        let length = match method {
            // Nothing comes with a question; what follows it would be taken for the next one.
            Method::Get if has_body(request.headers) => {
                return Err(Reply::refusal("400 Bad Request", "nothing is sent with GET"));
            }
            Method::Get => 0,
            Method::Post => length(request.headers, most_sent.unwrap_or(0))?,
        };
        Ok(Head { method, path: path.to_owned(), query: query.to_owned(), length, keeps: keeps(request) })
    }
}

fn values<'a>(headers: &[Header<'a>], name: &str) -> Vec<&'a [u8]> {
    headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value).collect()
}

fn has_body(headers: &[Header<'_>]) -> bool {
    !values(headers, "Transfer-Encoding").is_empty()
        || values(headers, "Content-Length").iter().any(|length| *length != b"0")
}

/// Bytes of what is sent; only JSON, which no form of a page from elsewhere can send unasked.
fn length(headers: &[Header<'_>], most: usize) -> Result<usize, Reply> {
    let lengths = values(headers, "Content-Length");
    if lengths.len() != 1 || !values(headers, "Transfer-Encoding").is_empty() {
        return Err(Reply::refusal("411 Length Required", "what is sent has one `Content-Length`"));
    }
    let kinds = values(headers, "Content-Type");
    let is_json = |kind: &[u8]| {
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    if kinds.len() != 1 || !is_json(kinds[0]) {
        return Err(Reply::refusal("415 Unsupported Media Type", "what is sent is `application/json`"));
    }
    let digits = std::str::from_utf8(lengths[0]).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse::<usize>().ok()) {
        Some(length) if length <= most => Ok(length),
        // Digits that are no number are too many.
        Some(_) => Err(too_long(most)),
        None if digits.is_some_and(|text| !text.is_empty()) => Err(too_long(most)),
        None => Err(Reply::refusal("400 Bad Request", "`Content-Length` is no number")),
    }
}

fn too_long(most: usize) -> Reply {
    Reply::refusal("413 Content Too Large", format!("at most {most} bytes are sent at once"))
}

/// Connections are kept as HTTP/1.1 has it, unless the other side says otherwise.
fn keeps(request: &Request<'_, '_>) -> bool {
    let closes =
        |value: &[u8]| value.split(|&byte| byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
    request.version == Some(1) && !values(request.headers, "Connection").into_iter().any(closes)
}
