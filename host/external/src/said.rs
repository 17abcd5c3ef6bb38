//! What a learner writes to standard error: kept in a file for people, its end for messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use querist_protocol::Shown;

/// Bytes that messages are made of.
const TAIL: usize = 8 << 10;
/// Lines of a message at most, the last ones.
const LINES: usize = 12;
/// Bytes of a process's log file at most; what follows is read and dropped.
const MOST_LOG: usize = 16 << 20;

/// What was written so far.
#[derive(Default)]
struct Kept {
    tail: VecDeque<u8>,
    /// What came before there was a file.
    early: Vec<u8>,
    file: Option<File>,
    written: usize,
}

/// What a learner wrote to standard error, of which a thread takes care.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Kept>>);

impl Said {
    /// Takes everything that comes until its end.
    pub fn take(&self, mut from: impl Read) {
        let mut block = vec![0; 8 << 10];
        while let Ok(read @ 1..) = from.read(&mut block) {
            self.kept().add(&block[..read]);
        }
    }

    /// From here on everything goes to a file, too.
    pub fn write_to(&self, file: File) {
        let mut kept = self.kept();
        kept.file = Some(file);
        let early = std::mem::take(&mut kept.early);
        kept.write(&early);
    }

    /// The last lines, each behind a mark; empty where nothing was written.
    pub fn last_lines(&self) -> String {
        let tail: Vec<u8> = self.kept().tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        last.iter().map(|line| format!("\n  | {}", Shown::sentence(line))).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        if self.file.is_some() {
            self.write(bytes);
        } else {
            let room = TAIL.saturating_sub(self.early.len());
            self.early.extend(&bytes[..bytes.len().min(room)]);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = MOST_LOG.saturating_sub(self.written);
        let bytes = &bytes[..bytes.len().min(room)];
        self.written += bytes.len();
        // The log is for people; a full disk shows where rounds are saved.
        if self.file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_bounded() {
        let said = Said::default();
        assert_eq!(said.last_lines(), "");
        let text: String = (0..100_000).map(|line| format!("line {line}\n\n")).collect();
        said.take(text.as_bytes());
        said.take(&b"\x1b[31mred\xff"[..]);
        let last = said.last_lines();
        assert_eq!(last.lines().count(), LINES + 1, "a line break before each");
        assert!(last.contains("\n  | line 99999\n") && !last.contains("line 99988"), "{last}");
        assert!(last.ends_with("[31mred\u{fffd}") && !last.contains('\u{1b}'), "{last}");
        assert!(said.kept().tail.len() <= TAIL && said.kept().early.len() <= TAIL);
    }

    #[test]
    fn a_file_has_what_came_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learner.log");
        let said = Said::default();
        said.take(&b"early\n"[..]);
        said.write_to(File::create(&path).unwrap());
        said.take(&b"late\n"[..]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "early\nlate\n");
        said.take(std::io::repeat(b'x').take(2 * MOST_LOG as u64));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), MOST_LOG as u64);
    }
}
