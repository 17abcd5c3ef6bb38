//! Where the page of a run is found: at the same address every time, so that pages that are open find a server again
//! that was started anew, and what a browser keeps for the page is not lost.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use querist_core::digest::sha256;
use querist_files::{Links, cache_folder_or_temporary, make_cache_folder};
use serde::{Deserialize, Serialize};
use tempfile::{Builder, NamedTempFile};

use crate::loopback::Server;

/// Bytes of the file at most.
const MOST_BYTES: u64 = 4096;

/// What is kept of an address. Whoever reads it could answer for the user, so only the user can.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    port: u16,
    token: String,
}

/// Names a run for as long as it lies where it lies.
pub(super) fn name(run: &Path) -> String {
    sha256(run.as_os_str().as_encoded_bytes())[..16].to_owned()
}

/// Listens for the page of a run, and makes a file that leads there. The address itself is given to no other program:
/// everybody on this machine can read how programs are called.
pub(super) fn listen(run: &Path, port: Option<u16>) -> Result<(Server, NamedTempFile)> {
    let folder = cache_folder_or_temporary().join("label");
    make_cache_folder(&folder).with_context(|| format!("the folder {}", querist_files::shown(&folder)))?;
    let path = folder.join(format!("{}.json", name(run)));
    let kept = read(&path);
    let token = kept.as_ref().map(|kept| kept.token.clone());
    let server = match (port, &kept) {
        (Some(port), _) => Server::listen_as(Some(port), token)?,
        // Where the run is served already, the second server has a port of its own.
        (None, Some(kept)) => {
            Server::listen_as(Some(kept.port), token.clone()).or_else(|_| Server::listen_as(None, token))?
        }
        (None, None) => Server::listen(None)?,
    };
    let now = Kept { port: server.port(), token: server.token().to_owned() };
    if kept.is_none_or(|kept| kept.port != now.port) {
        write(&folder, &path, &now).with_context(|| format!("cannot write {}", querist_files::shown(&path)))?;
    }
    let mut opens = Builder::new().prefix("open-").suffix(".html").tempfile_in(&folder)?;
    // The address is made of digits, letters and slashes.
    let page = format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={}\">\n", server.address());
    opens.write_all(page.as_bytes())?;
    opens.flush()?;
    Ok((server, opens))
}

/// What is kept, if it is an address; else there will be a new one.
fn read(path: &Path) -> Option<Kept> {
    let bytes = querist_files::read(path, Links::Refuse, MOST_BYTES).ok()?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    let is_token = kept.token.len() == 32 && kept.token.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_token && kept.port > 0).then_some(kept)
}

/// Temporary files are closed to others.
fn write(folder: &Path, path: &PathBuf, kept: &Kept) -> Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, kept)?;
    file.persist(path)?;
    Ok(())
}
