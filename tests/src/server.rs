//! A server on this machine that answers whatever a test wants, the rules of HTTP kept or not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What somebody asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path with the query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status with its words.
    pub status: &'static str,
    /// Headers; the length of the body is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is sent again and again, without a length.
    pub endless: bool,
}

impl Reply {
    /// 200 with a body.
    pub fn good(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", headers: Vec::new(), body: body.into(), endless: false }
    }

    /// 404.
    pub fn nothing() -> Self {
        Self { status: "404 Not Found", ..Self::good("nothing") }
    }

    /// Leads to another address.
    pub fn leads_to(address: &str) -> Self {
        Self { status: "302 Found", headers: vec![("Location".to_owned(), address.to_owned())], ..Self::good("") }
    }

    /// A body without an end.
    pub fn endless() -> Self {
        Self { endless: true, ..Self::good(vec![b'x'; 1 << 16]) }
    }
}

/// The server. It ends with the process.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts one.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let host = listener.local_addr().expect("it has an address").to_string();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let heard = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, heard) = (answer.clone(), heard.clone());
                std::thread::spawn(move || serve(stream, &*answer, &heard));
            }
        });
        Self { host, asked }
    }

    /// Serves files by their paths, and nothing else.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
        Self::start(move |asked| files.get(&asked.path).map_or_else(Reply::nothing, |body| Reply::good(body.clone())))
    }

    /// `http://127.0.0.1:PORT` with a path.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> Reply, heard: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let header = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(header).collect();
    let asked = Asked { path, headers };
    let reply = answer(&asked);
    heard.lock().expect("nobody panicked").push(asked);
    // Whoever has enough closes the connection.
    let _ = send(&stream, &reply);
}

fn send(mut stream: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !reply.endless {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&reply.body)?;
    if reply.endless {
        loop {
            stream.write_all(&reply.body)?;
        }
    }
    Ok(())
}
