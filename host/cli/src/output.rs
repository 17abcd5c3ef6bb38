//! Data for standard output, and notes for people on standard error.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use querist_protocol::Shown;

use crate::events;

/// Bytes of a note at most.
const NOTE_BYTES: usize = 16 << 10;

/// Whoever read standard output has seen enough and closed it: an end, and no failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct Closed;

/// Writes text to standard output.
pub fn text(text: &str) -> Result<()> {
    to_stdout(text.as_bytes())
}

/// Writes a line to standard output.
pub fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// Writes bytes to a file, or to standard output.
pub fn bytes(bytes: &[u8], file: Option<&Path>) -> Result<()> {
    match file {
        Some(path) => {
            std::fs::write(path, bytes).with_context(|| format!("cannot write {}", querist_files::shown(path)))
        }
        None => to_stdout(bytes),
    }
}

/// The shortest text that reads back as this number: 1e-300, not three hundred zeros.
pub fn shortest(number: f64) -> String {
    format!("{number:?}")
}

/// Who hears notes, where they are not for standard error.
type Ear = Box<dyn Fn(&str) + Send + Sync>;

static EAR: OnceLock<Ear> = OnceLock::new();
/// Whether this process was called as a command line, whose notes are for standard error in any case.
static IS_COMMAND: AtomicBool = AtomicBool::new(false);

/// Has `ear` hear all notes of calls that are not those of the command line. The first one counts.
pub fn hear(ear: impl Fn(&str) + Send + Sync + 'static) {
    let _ = EAR.set(Box::new(ear));
}

/// From here on, notes are for standard error.
pub fn is_command() {
    IS_COMMAND.store(true, Ordering::Relaxed);
}

/// Tells people something on standard error. Work never ends because nobody listens there.
pub fn note(text: &str) {
    if let Some(ear) = EAR.get().filter(|_| !IS_COMMAND.load(Ordering::Relaxed)) {
        return ear(shown(text).as_str());
    }
    if events::are_json() {
        return events::note(text);
    }
    let _ = writeln!(io::stderr().lock(), "{}", shown(text));
}

/// What is told to people, without anything that steers a terminal.
pub fn shown(text: &str) -> Shown {
    Shown::lines(text, NOTE_BYTES)
}

fn to_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        done => done.context("cannot write to standard output"),
    }
}
