//! A program that serves a page, and a client that asks for it word by word.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Output, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{Place, Said};

/// How long something may take to be served.
const PATIENCE: Duration = Duration::from_secs(90);

/// The program while it serves; it is stopped where it is dropped.
pub struct Serving {
    process: Child,
    /// What it printed: `http://127.0.0.1:PORT/TOKEN/`.
    pub address: String,
    out: BufReader<ChildStdout>,
}

impl Serving {
    /// Starts it in a place and waits until it serves.
    #[track_caller]
    pub fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(args);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
        let mut out = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut address = String::new();
        out.read_line(&mut address).expect("it says where it serves");
        if address.is_empty() {
            let said = place.said(&process.wait_with_output().expect("it ended"));
            panic!("it serves nothing: {}", said.err);
        }
        Self { process, address: address.trim_end().to_owned(), out }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://").split('/').next().expect("it has a host")
    }

    /// `/TOKEN/`.
    pub fn path(&self) -> &str {
        &self.address["http://".len() + self.host().len()..]
    }

    /// Sends a request as it stands; gives status, headers and body.
    #[track_caller]
    pub fn send(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.host()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a limit");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers and closes");
        let answer = String::from_utf8(answer).expect("answers are text");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {answer}")), head.to_owned(), body.to_owned())
    }

    /// Asks for something below the address.
    #[track_caller]
    pub fn get(&self, name: &str) -> (u16, String) {
        let request = format!("GET {}{name} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path(), self.host());
        let (status, _, body) = self.send(&request);
        (status, body)
    }

    /// The state of the page.
    #[track_caller]
    pub fn state(&self) -> Value {
        let (status, body) = self.get("state");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("a state is JSON")
    }

    /// Waits until the page is as it should be, and gives it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let clock = Instant::now();
        loop {
            let (status, page) = self.get("");
            assert_eq!(status, 200, "{page}");
            if is_right(&page) {
                return page;
            }
            assert!(clock.elapsed() < PATIENCE, "{what}: this does not come");
            sleep(Duration::from_millis(50));
        }
    }

    /// Has it killed after a while; whoever drops this joins the thread before, since the number may be another's then.
    pub fn kill_after(&self, moment: Duration) -> JoinHandle<()> {
        let id = Pid::from_raw(self.process.id().cast_signed()).expect("a process has an id");
        std::thread::spawn(move || {
            sleep(moment);
            // It is a child that nobody waited for, so the number is its own still.
            let _ = kill_process(id, Signal::KILL);
        })
    }

    /// Stops it as Ctrl-C does, and gives what it said.
    #[track_caller]
    pub fn interrupt(mut self, place: &Place) -> Said {
        signal(&self.process, Signal::INT);
        let clock = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("it can be asked") {
                break status;
            }
            assert!(clock.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.out.read_to_end(&mut stdout).expect("it is piped");
        self.process.stderr.take().map(|mut err| err.read_to_end(&mut stderr));
        place.said(&Output { status, stdout, stderr })
    }
}

fn signal(process: &Child, signal: Signal) {
    let id = Pid::from_raw(process.id().cast_signed()).expect("a process has an id");
    // It may have ended by itself.
    let _ = kill_process(id, signal);
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
