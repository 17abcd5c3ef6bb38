//! Downloads public sets: resumed, bounded, verified, and put in place in one step.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use querist_core::digest::sha256_of;
use querist_protocol::Shown;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::catalogue::{PublicSet, RemoteFile};
use crate::check::file_sha256;
use crate::error::DataError;
use crate::search::Search;
use crate::source::is_there;

/// How to download.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions<'a> {
    /// Address that replaces the published ones; the files lie directly under it.
    pub mirror: Option<&'a str>,
    /// Tries at each address before the next one is taken, at least 1.
    pub attempts: u32,
    /// Pause before the second try; each further one waits twice as long.
    pub pause: Duration,
}

impl Default for FetchOptions<'_> {
    fn default() -> Self {
        Self { mirror: None, attempts: 4, pause: Duration::from_secs(1) }
    }
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress {
    /// The file.
    pub file: &'static str,
    /// Bytes of it that are there.
    pub done: u64,
    /// Its size in bytes.
    pub total: u64,
}

/// What happened to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it had to be downloaded; a good one is left alone.
    pub downloaded: bool,
}

/// Downloads the files of a set into its folder of the cache.
///
/// A file grows as `NAME.part`; a broken download goes on from there. Only when size and SHA-256 are right does it get
/// its name. `progress` is called about every megabyte and may stop the work.
///
/// # Errors
/// If no address gives the right file, the disk refuses, or `progress` says stop.
pub fn fetch(
    set: &'static PublicSet,
    search: &Search,
    options: FetchOptions<'_>,
    progress: &mut dyn FnMut(FetchProgress) -> ControlFlow<()>,
) -> Result<Vec<Fetched>, DataError> {
    if set.is_built_in() {
        return Ok(Vec::new());
    }
    if set.files.is_empty() {
        let message = "it has no public address with checksums; get its files from their makers and set `dataset.path` \
                       (docs/data.md says what must lie there)";
        return Err(DataError::Config { dataset: set.name.to_owned(), message: message.to_owned() });
    }
    let folder = search.folder_of(set)?;
    fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
    let bases: Vec<&str> = options.mirror.map_or_else(|| set.addresses.to_vec(), |mirror| vec![mirror]);
    set.files.iter().map(|file| fetch_file(file, &folder, &bases, options, progress)).collect()
}

fn fetch_file(
    file: &'static RemoteFile,
    folder: &Path,
    bases: &[&str],
    options: FetchOptions<'_>,
    progress: &mut dyn FnMut(FetchProgress) -> ControlFlow<()>,
) -> Result<Fetched, DataError> {
    let path = folder.join(file.name);
    if is_there(&path) && file_sha256(&path)? == file.sha256 {
        return Ok(Fetched { path, downloaded: false });
    }
    let mut part = Part::open(folder, file)?;
    let agent = agent();
    let mut tries = Vec::new();
    for base in bases {
        let url = format!("{}/{}", base.trim_end_matches('/'), file.name);
        for attempt in 0..options.attempts.max(1) {
            if attempt > 0 {
                std::thread::sleep(options.pause.saturating_mul(1 << (attempt - 1).min(6)));
            }
            match download(&agent, &url, &mut part, progress) {
                Ok(()) => {
                    part.finish(&path)?;
                    return Ok(Fetched { path, downloaded: true });
                }
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Retry(reason)) => tries.push(Shown::sentence(&format!("{url}: {reason}"))),
                Err(Trouble::NextAddress(reason)) => {
                    tries.push(Shown::sentence(&format!("{url}: {reason}")));
                    break;
                }
            }
        }
    }
    Err(DataError::Fetch { file: file.name.to_owned(), tries })
}

fn agent() -> Agent {
    querist_web::client().build().into()
}

/// Why a try failed, and what to do.
enum Trouble {
    Retry(String),
    NextAddress(String),
    Fatal(DataError),
}

impl From<DataError> for Trouble {
    fn from(error: DataError) -> Self {
        Self::Fatal(error)
    }
}

/// The growing file, held by one process at a time.
struct Part {
    of: &'static RemoteFile,
    path: PathBuf,
    file: File,
    length: u64,
}

impl Part {
    fn open(folder: &Path, of: &'static RemoteFile) -> Result<Self, DataError> {
        let path = folder.join(format!("{}.part", of.name));
        let file = querist_files::open_or_create(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataError::Busy { part: path }),
            Err(TryLockError::Error(error)) => return Err(DataError::io(&path)(error)),
        }
        let length = file.metadata().map_err(DataError::io(&path))?.len();
        let mut part = Self { of, path, file, length };
        part.keep(if length > of.size { 0 } else { length })?;
        Ok(part)
    }

    /// Cuts the file to `length` bytes and goes to its end.
    fn keep(&mut self, length: u64) -> Result<(), DataError> {
        self.file.set_len(length).map_err(DataError::io(&self.path))?;
        self.file.seek(SeekFrom::Start(length)).map_err(DataError::io(&self.path))?;
        self.length = length;
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> Result<(), DataError> {
        self.file.write_all(block).map_err(DataError::io(&self.path))?;
        self.length += block.len() as u64;
        Ok(())
    }

    /// Compares the checksum; a wrong file is deleted, so that the next try starts anew.
    fn verify(&mut self) -> Result<(), Trouble> {
        let hashed = self.file.rewind().and_then(|()| sha256_of(&self.file));
        let found = hashed.map_err(DataError::io(&self.path))?;
        if found == self.of.sha256 {
            return Ok(());
        }
        self.keep(0)?;
        fs::remove_file(&self.path).map_err(DataError::io(&self.path))?;
        let reason =
            format!("wrong checksum: sha256 {found}, expected {}; what was downloaded is deleted", self.of.sha256);
        Err(Trouble::NextAddress(reason))
    }

    /// Makes the file durable under its own name.
    fn finish(self, path: &Path) -> Result<(), DataError> {
        self.file.sync_all().map_err(DataError::io(&self.path))?;
        fs::rename(&self.path, path).map_err(DataError::io(path))?;
        match path.parent() {
            Some(folder) => Ok(querist_files::sync_folder(folder)?),
            None => Ok(()),
        }
    }
}

/// One try: what is missing of the part, then its checksum.
fn download(
    agent: &Agent,
    url: &str,
    part: &mut Part,
    progress: &mut dyn FnMut(FetchProgress) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    if !part.path.exists() {
        // The part of a former address was wrong and is gone.
        let folder = part.path.parent().map(Path::to_owned).unwrap_or_default();
        *part = Part::open(&folder, part.of)?;
    }
    if part.length < part.of.size {
        let mut response = request(agent, url, part)?;
        receive(response.body_mut().as_reader(), part, progress)?;
    }
    part.verify()
}

/// Asks for the missing bytes and checks that the server gives these.
fn request(agent: &Agent, url: &str, part: &mut Part) -> Result<Response<ureq::Body>, Trouble> {
    let mut request = agent.get(url);
    if part.length > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.length));
    }
    let response = request.call().map_err(|error| Trouble::Retry(querist_web::reason(&error)))?;
    let status = response.status();
    let number = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::OK => part.keep(0)?,
        StatusCode::PARTIAL_CONTENT => {
            let expected = format!("bytes {}-", part.length);
            let range = number(header::CONTENT_RANGE).unwrap_or("none").to_owned();
            if !range.starts_with(&expected) {
                part.keep(0)?;
                return Err(Trouble::Retry(format!("the server sent the range `{range}`, expected `{expected}...`")));
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            part.keep(0)?;
            return Err(Trouble::Retry(format!("{status}; starting anew")));
        }
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Trouble::Retry(status.to_string()));
        }
        _ => return Err(Trouble::NextAddress(status.to_string())),
    }
    let offered = number(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let missing = part.of.size - part.length;
    match offered {
        Some(length) if length != missing => {
            Err(Trouble::NextAddress(format!("the server offers {length} bytes, expected {missing}")))
        }
        _ => Ok(response),
    }
}

fn receive(
    mut body: impl Read,
    part: &mut Part,
    progress: &mut dyn FnMut(FetchProgress) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    const REPORT_BYTES: u64 = 1 << 20;
    let mut block = vec![0; 1 << 16];
    let mut reported = part.length;
    let size = part.of.size;
    loop {
        let got = body.read(&mut block).map_err(|error| {
            Trouble::Retry(format!("the connection broke after {} of {size} bytes ({error})", part.length))
        })?;
        if part.length + got as u64 > size {
            part.keep(0)?;
            return Err(Trouble::NextAddress(format!("the server sends more than {size} bytes")));
        }
        part.write(&block[..got])?;
        if got == 0 || part.length - reported >= REPORT_BYTES {
            reported = part.length;
            let report = FetchProgress { file: part.of.name, done: part.length, total: size };
            if progress(report).is_break() {
                return Err(Trouble::Fatal(DataError::Cancelled));
            }
        }
        match got {
            0 if part.length == size => return Ok(()),
            0 => return Err(Trouble::Retry(format!("the server stopped after {} of {size} bytes", part.length))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
