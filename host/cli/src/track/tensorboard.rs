//! TensorBoard's event files: records framed as in TFRecord files, each an `Event` message with scalars.
//!
//! The file is derived from the rounds, like `rounds.jsonl`: it is written anew when a run begins or goes on, and grows
//! by each round.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use querist_core::Round;
use querist_files::{Links, open_or_create, shown};

use super::figures;
use crate::round_files::{EPOCHS, MOST_TEXT, RECORD, read_json};
use crate::run_folder::round_name;
use crate::stored_run::refuse_linked;
use crate::study::folder::replace;

/// Its folder in a run folder.
const FOLDER: &str = "tensorboard";
/// Its name; TensorBoard looks for `tfevents` in it.
const NAME: &str = "events.out.tfevents.0000000000.querist";

/// The event file of a run.
pub struct Board {
    run: PathBuf,
    /// Epochs of all rounds so far, the step of the training curve.
    epochs: i64,
}

impl Board {
    /// Writes the file anew with the rounds that are finished.
    pub fn open(run: &Path, rounds: usize) -> Result<Self> {
        let mut board = Self { run: run.to_owned(), epochs: 0 };
        let folder = run.join(FOLDER);
        let cannot = || format!("cannot write in {}", shown(&folder));
        if fs::symlink_metadata(&folder).is_err() {
            fs::create_dir(&folder).with_context(cannot)?;
        }
        refuse_linked(&folder)?;
        let mut bytes = framed(&version());
        for round in 0..rounds as u32 {
            bytes.extend(board.events(Round(round))?);
        }
        replace(&board.file(), &bytes).with_context(cannot)?;
        Ok(board)
    }

    fn file(&self) -> PathBuf {
        self.run.join(FOLDER).join(NAME)
    }

    /// Adds a round that is finished.
    pub fn add(&mut self, round: Round) -> Result<()> {
        let bytes = self.events(round)?;
        let path = self.file();
        let mut file = open_or_create(&path)?;
        let written = file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&bytes));
        written.with_context(|| format!("cannot append to {} (it is written anew on resume)", shown(&path)))
    }

    /// The events of a round: its figures by labelled samples, its training curve by epochs of all rounds.
    fn events(&mut self, round: Round) -> Result<Vec<u8>> {
        let folder = self.run.join("rounds").join(round_name(round));
        let path = folder.join(RECORD);
        let record: querist_core::RoundRecord = read_json(&path, MOST_TEXT)?;
        let written = fs::symlink_metadata(&path).and_then(|found| found.modified());
        let wall = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |t| t.as_secs_f64());
        let mut bytes = framed(&event(wall, record.labelled as i64, &figures(&record)));
        let path = folder.join(EPOCHS);
        if fs::symlink_metadata(&path).is_ok() {
            let text = querist_files::read(&path, Links::Refuse, MOST_TEXT)?;
            for row in csv::Reader::from_reader(&text[..]).deserialize() {
                let Epoch { loss, accuracy } = row.with_context(|| shown(&path).into_string())?;
                let curve = [("epochs/loss".to_owned(), loss), ("epochs/accuracy".to_owned(), accuracy)];
                bytes.extend(framed(&event(wall, self.epochs, &curve)));
                self.epochs += 1;
            }
        }
        Ok(bytes)
    }
}

#[derive(serde::Deserialize)]
struct Epoch {
    loss: f64,
    accuracy: f64,
}

/// What every file begins with.
fn version() -> Vec<u8> {
    let mut event = field_double(1, 0.0);
    event.extend(field_bytes(3, b"brain.Event:2"));
    event
}

/// An `Event` whose summary has these scalars.
fn event(wall: f64, step: i64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = field_bytes(1, tag.as_bytes());
        scalar.push(2 << 3 | 5);
        scalar.extend((*value as f32).to_le_bytes());
        summary.extend(field_bytes(1, &scalar));
    }
    let mut event = field_double(1, wall);
    event.push(2 << 3);
    event.extend(varint(step as u64));
    event.extend(field_bytes(5, &summary));
    event
}

/// A field of eight bytes.
fn field_double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// A field of some length: text, or another message.
fn field_bytes(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(value.len() as u64), value].concat()
}

/// Seven bits a byte, the lowest first; the highest bit says that more come.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A record: length and its checksum, content and its checksum.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), content, &masked(content).to_le_bytes()].concat()
}

/// CRC-32C, turned and shifted, as TFRecord files have it.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's checksum, bit by bit: a round has a few kilobytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let next = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_numbers_are_the_published_ones() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // Protocol Buffers' own example.
        assert_eq!(varint(150), [0x96, 0x01]);
        assert_eq!(varint(0), [0]);
    }
}
