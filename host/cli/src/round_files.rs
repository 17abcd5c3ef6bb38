//! The files of a round: their names, how long they may be, and that each is as it was written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use querist_core::digest::{hex, sha256};
use querist_core::record::distinct;
use querist_files::{Links, shown};
use querist_protocol::Shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// What the round came to.
pub const RECORD: &str = "record.json";
/// What was asked, with labels.
pub const PICKS: &str = "picks.csv";
/// The asked pictures.
pub const PICTURES: &str = "picks.png";
/// Labels that were asked for inside the batch.
pub const REVEALED: &str = "revealed.csv";
/// The training curve.
pub const EPOCHS: &str = "epochs.csv";
/// What was taken for what on the test set.
pub const CONFUSION: &str = "confusion.csv";
/// What the strategy keeps for the next round.
pub const STATE: &str = "state.bin";
/// Images that the strategy made.
pub const SYNTHETIC: &str = "synthetic.safetensors";
/// The fitted model.
pub const MODEL: &str = "model.safetensors";
/// Where the optimiser stands that goes on in the next round.
pub const OPTIMISER: &str = "optimiser.safetensors";
/// Arrays that the strategy saw.
pub const FEATURES: &str = "features.safetensors";
/// Classes that the model predicts for the samples that are watched.
pub const WATCHED: &str = "watched.csv";
/// The list of all these with their digests.
pub const DIGESTS: &str = "digests.json";

/// Bytes of any text of a run at most that has a line or a number for each sample.
pub const MOST_TEXT: u64 = 256 << 20;

/// Every file that a round may hold beside its digests, with its bytes at most.
const FILES: [(&str, u64); 12] = [
    (RECORD, 64 << 20),
    (PICKS, MOST_TEXT),
    (PICTURES, 4 << 20),
    (REVEALED, MOST_TEXT),
    (EPOCHS, 64 << 20),
    (CONFUSION, MOST_TEXT),
    (STATE, 1 << 30),
    (SYNTHETIC, 2 << 30),
    (MODEL, 4 << 30),
    (OPTIMISER, 8 << 30),
    (FEATURES, 1 << 40),
    (WATCHED, MOST_TEXT),
];

/// Files that older rounds may have given up.
const GIVEN_UP: [&str; 3] = [MODEL, OPTIMISER, FEATURES];

/// Bytes of a list of digests at most.
const MOST_DIGESTS: u64 = 64 << 10;

/// Bytes that files may have beyond [`HOLES`] times what they take on the disk.
const FREE_BYTES: u64 = 1 << 30;
/// How much longer than what they take on the disk files may be; file systems that compress make them longer, too.
const HOLES: u64 = 64;

/// Bytes that a file of a round has at most; `None` of a name that no round has.
pub fn most_bytes(name: &str) -> Option<u64> {
    FILES.iter().find(|(known, _)| *known == name).map(|&(_, most)| most)
}

/// The list of a round's files, and the way to their bytes: none is handed out that is not what was written.
#[derive(Debug, Clone)]
pub struct RoundFiles {
    folder: PathBuf,
    digests: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Digests(#[serde(deserialize_with = "distinct")] BTreeMap<String, String>);

impl RoundFiles {
    /// Reads the list of a round; what it names are files of a round, and it names each that is there.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(DIGESTS);
        let Digests(digests) = read_json(&path, MOST_DIGESTS)?;
        let path = shown(&path);
        for (name, digest) in &digests {
            ensure!(most_bytes(name).is_some(), "{path}: `{}` is no file of a round", Shown::name(name));
            let is_hex = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            ensure!(is_hex, "{path}: the digest of {name} is `{}`, expected 64 hex digits", Shown::name(digest));
        }
        for (name, _) in FILES {
            let is_there = fs::symlink_metadata(folder.join(name)).is_ok();
            ensure!(
                digests.contains_key(name) || !is_there,
                "{} is not named in {DIGESTS}: it was put there after the round was written, or its digest was removed",
                shown(&folder.join(name))
            );
        }
        ensure!(digests.contains_key(RECORD), "{path} does not name {RECORD}, which every round has");
        Ok(Self { folder: folder.to_owned(), digests })
    }

    /// The folder of the round.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files with their digests.
    pub fn digests(&self) -> &BTreeMap<String, String> {
        &self.digests
    }

    /// Whether the round has such a file, or had it.
    pub fn names(&self, name: &str) -> bool {
        self.digests.contains_key(name)
    }

    /// The bytes of a file as they were written; `None` where the round has no such file.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(digest) = self.digests.get(name) else { return Ok(None) };
        let path = self.folder.join(name);
        let bytes = querist_files::read(&path, Links::Refuse, most_bytes(name).unwrap_or(0))?;
        unchanged(&path, &sha256(&bytes), digest)?;
        Ok(Some(bytes))
    }

    /// Checks that every file is as it was written, but those that were checked when they were read.
    pub fn check_others(&self, read: &[&str], length: &mut Length) -> Result<()> {
        for (name, digest) in self.digests.iter().filter(|(name, _)| !read.contains(&name.as_str())) {
            let path = self.folder.join(name);
            match querist_files::open(&path, Links::Refuse) {
                Err(error) if error.is_not_found() && GIVEN_UP.contains(&name.as_str()) => {}
                Err(error) => return Err(error.into()),
                Ok(file) => unchanged(&path, &digest_of(file, &path, most_bytes(name).unwrap_or(0), length)?, digest)?,
            }
        }
        Ok(())
    }
}

fn unchanged(path: &Path, found: &str, written: &str) -> Result<()> {
    ensure!(found == written, "{} was changed after it was written: its SHA-256 is not that in {DIGESTS}", shown(path));
    Ok(())
}

/// The digest of a file that was just written, which must not be longer than what is read again.
pub fn digest_of_written(name: &str, path: &Path) -> Result<String> {
    check_length(name, querist_files::length(path, Links::Refuse)?)?;
    digest_of_file(name, path)
}

/// Refuses what is longer than what is read again.
pub fn check_length(name: &str, bytes: u64) -> Result<()> {
    let most = most_bytes(name).unwrap_or(0);
    ensure!(bytes <= most, "{name} would have {bytes} bytes; at most {most} are read again");
    Ok(())
}

/// SHA-256 of a file of a round, in hex, however long it is.
pub fn digest_of_file(name: &str, path: &Path) -> Result<String> {
    let file = querist_files::open(path, Links::Refuse)?;
    digest_of(file, path, most_bytes(name).unwrap_or(0), &mut Length::default())
}

fn digest_of(mut file: fs::File, path: &Path, most: u64, length: &mut Length) -> Result<String> {
    let mut left = length.add(&file, path, most)?;
    let mut hash = Sha256::new();
    // Most files are small, and a report reads thousands of them.
    let mut block = vec![0; left.clamp(1, 1 << 20) as usize];
    loop {
        let read = file.read(&mut block).with_context(|| shown(path).into_string())?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        left = left.checked_sub(read as u64).with_context(|| format!("{} grows while it is read", shown(path)))?;
        hash.update(&block[..read]);
    }
}

/// How long the files of a run are, and how much of them is on the disk: a hole takes no room, but as much time to
/// read.
#[derive(Debug, Default)]
pub struct Length {
    claimed: u64,
    on_disk: u64,
}

impl Length {
    fn add(&mut self, file: &fs::File, path: &Path, most: u64) -> Result<u64> {
        let facts = file.metadata().with_context(|| shown(path).into_string())?;
        let length = facts.len();
        ensure!(length <= most, "{}: {length} bytes, expected at most {most}", shown(path));
        self.claimed = self.claimed.saturating_add(length);
        self.on_disk = self.on_disk.saturating_add(facts.blocks().saturating_mul(512));
        if self.claimed > FREE_BYTES.saturating_add(self.on_disk.saturating_mul(HOLES)) {
            bail!("{} is full of holes: {length} bytes, of which the disk holds {}", shown(path), facts.blocks() * 512);
        }
        Ok(length)
    }
}

/// Writes a new file, and waits until the disk has it.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = fs::File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", shown(path)))
}

/// Reads a text of a run folder, where there is one.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match querist_files::read(path, Links::Refuse, MOST_TEXT) {
        Err(error) if error.is_not_found() => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// Reads a JSON file of a run folder.
pub fn read_json<T: DeserializeOwned>(path: &Path, most: u64) -> Result<T> {
    parse_json(path, &querist_files::read(path, Links::Refuse, most)?)
}

/// Reads JSON that lies at `path`. The parser repeats what it does not like, so its words are cleaned.
pub fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| anyhow!("{}: {}", shown(path), Shown::sentence(&error.to_string())))
}
