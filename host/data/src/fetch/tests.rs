//! Downloads from a server on this machine that knows Range and can be made to misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::catalogue;

/// How the server answers.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Says nothing of Range and always sends everything.
    ignores_range: bool,
    /// Hangs up after this many bytes of the first answer.
    cuts_first_at: Option<usize>,
    /// Answers every request with this line.
    status: Option<&'static str>,
    /// Answers a Range with another part than was asked for.
    shifts_range: bool,
}

/// A server for one file; it remembers the Range of each request.
struct Server {
    address: String,
    ranges: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Server {
    fn start(content: Vec<u8>, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/files/", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that hangs up early is part of some tests.
                let _ = answer(stream, &content, manners, &seen);
            }
        });
        Self { address, ranges }
    }

    fn ranges(&self) -> Vec<Option<usize>> {
        self.ranges.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    content: &[u8],
    manners: Manners,
    seen: &Mutex<Vec<Option<usize>>>,
) -> std::io::Result<()> {
    let mut from = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    let first = {
        let mut seen = seen.lock().unwrap();
        seen.push(from);
        seen.len() == 1
    };
    if let Some(status) = manners.status {
        return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let (start, status) = match from.filter(|_| !manners.ignores_range) {
        Some(start) => (start, "206 Partial Content"),
        None => (0, "200 OK"),
    };
    let told = start + usize::from(manners.shifts_range);
    let (length, last) = (content.len() - start, content.len() - 1);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n")?;
    if status.starts_with("206") {
        write!(stream, "Content-Range: bytes {told}-{last}/{}\r\n", content.len())?;
    }
    stream.write_all(b"\r\n")?;
    let end = manners.cuts_first_at.filter(|_| first).unwrap_or(content.len());
    stream.write_all(&content[start..end])
}

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

/// A set of one file whose checksum is that of `bytes`.
fn set_of(bytes: &[u8]) -> &'static PublicSet {
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = RemoteFile {
        name: "file.bin",
        size: bytes.len() as u64,
        sha256: Box::leak(sha256.into_boxed_str()),
        content_sha256: None,
    };
    let set = PublicSet { folder: "set", files: Box::leak(Box::new([file])), ..*catalogue::find("mnist").unwrap() };
    Box::leak(Box::new(set))
}

fn fetch_from(server: &Server, set: &'static PublicSet, cache: &TempDir) -> Result<Vec<Fetched>, DataError> {
    let options = FetchOptions { mirror: Some(&server.address), attempts: 3, pause: Duration::from_millis(1) };
    fetch(set, &Search::at(cache.path()), options, &mut |_| ControlFlow::Continue(()))
}

fn fetched(cache: &TempDir) -> Option<Vec<u8>> {
    fs::read(cache.path().join("set/file.bin")).ok()
}

fn part_length(cache: &TempDir) -> Option<u64> {
    fs::metadata(cache.path().join("set/file.bin.part")).ok().map(|part| part.len())
}

#[test]
fn whole_and_then_left_alone() {
    let (server, cache) = (Server::start(content(), Manners::default()), TempDir::new().unwrap());
    let set = set_of(&content());
    assert!(fetch_from(&server, set, &cache).unwrap()[0].downloaded);
    assert_eq!((fetched(&cache), part_length(&cache)), (Some(content()), None));
    assert!(!fetch_from(&server, set, &cache).unwrap()[0].downloaded);
    assert_eq!(server.ranges(), [None]);
    // A damaged file is no reason to stop: it is fetched anew.
    fs::write(cache.path().join("set/file.bin"), b"damaged").unwrap();
    assert!(fetch_from(&server, set, &cache).unwrap()[0].downloaded);
    assert_eq!(fetched(&cache), Some(content()));
}

#[test]
fn a_cut_download_goes_on_where_it_broke() {
    let manners = Manners { cuts_first_at: Some(500_000), ..Manners::default() };
    let (server, cache) = (Server::start(content(), manners), TempDir::new().unwrap());
    fetch_from(&server, set_of(&content()), &cache).unwrap();
    assert_eq!(fetched(&cache), Some(content()));
    assert_eq!(server.ranges(), [None, Some(500_000)]);
}

#[test]
fn a_server_without_range_sends_everything_again() {
    let manners = Manners { cuts_first_at: Some(500_000), ignores_range: true, ..Manners::default() };
    let (server, cache) = (Server::start(content(), manners), TempDir::new().unwrap());
    fetch_from(&server, set_of(&content()), &cache).unwrap();
    assert_eq!(fetched(&cache), Some(content()));
}

#[test]
fn another_part_than_asked_is_thrown_away() {
    let manners = Manners { cuts_first_at: Some(500_000), shifts_range: true, ..Manners::default() };
    let (server, cache) = (Server::start(content(), manners), TempDir::new().unwrap());
    fetch_from(&server, set_of(&content()), &cache).unwrap();
    assert_eq!(fetched(&cache), Some(content()));
    assert_eq!(server.ranges(), [None, Some(500_000), None]);
}

#[test]
fn a_wrong_checksum_deletes_the_part() {
    let mut other = content();
    other[7] ^= 1;
    let (server, cache) = (Server::start(other, Manners::default()), TempDir::new().unwrap());
    let text = fetch_from(&server, set_of(&content()), &cache).unwrap_err().to_string();
    assert!(text.starts_with("`file.bin` could not be downloaded; tried http://127.0.0.1:"), "{text}");
    assert!(
        text.contains("file.bin: wrong checksum: sha256 ") && text.ends_with("what was downloaded is deleted"),
        "{text}"
    );
    assert_eq!((fetched(&cache), part_length(&cache), server.ranges().len()), (None, None, 1));
}

#[test]
fn what_the_server_lacks_or_makes_too_long_is_said() {
    let cache = TempDir::new().unwrap();
    let server = Server::start(content(), Manners { status: Some("404 Not Found"), ..Manners::default() });
    let text = fetch_from(&server, set_of(&content()), &cache).unwrap_err().to_string();
    assert!(text.ends_with("files/file.bin: 404 Not Found"), "{text}");
    let server = Server::start(content(), Manners { status: Some("503 Busy"), ..Manners::default() });
    let text = fetch_from(&server, set_of(&content()), &cache).unwrap_err().to_string();
    assert_eq!((text.matches("503").count(), server.ranges().len()), (3, 3), "{text}");
    let server = Server::start([content(), vec![0]].concat(), Manners::default());
    let text = fetch_from(&server, set_of(&content()), &cache).unwrap_err().to_string();
    assert!(text.ends_with("the server offers 1200001 bytes, expected 1200000"), "{text}");
}

#[test]
fn one_process_at_a_time_and_a_stop_keeps_what_is_there() {
    let (server, cache) = (Server::start(content(), Manners::default()), TempDir::new().unwrap());
    let set = set_of(&content());
    let options = FetchOptions { mirror: Some(&server.address), ..FetchOptions::default() };
    let mut reports = Vec::new();
    let stopped = fetch(set, &Search::at(cache.path()), options, &mut |report| {
        reports.push(report);
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(DataError::Cancelled)));
    assert_eq!((reports.len(), reports[0].total), (1, 1_200_000));
    assert_eq!(part_length(&cache), Some(reports[0].done));
    let held = Part::open(&cache.path().join("set"), &set.files[0]).unwrap();
    assert!(matches!(fetch_from(&server, set, &cache), Err(DataError::Busy { .. })));
    drop(held);
    fetch_from(&server, set, &cache).unwrap();
    assert_eq!(server.ranges(), [None, Some(reports[0].done as usize)]);
}
