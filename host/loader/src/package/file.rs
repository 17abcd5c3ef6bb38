//! The files of packages: how they are read, told apart and written.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use querist_core::digest::sha256;
use querist_files::Links;
use querist_protocol::Shown;

use super::refused::{Refusal, RefusedPackage, refuse_as};

/// Bytes of an artifact at most.
pub const MAX_ARTIFACT_BYTES: u64 = 64 << 20;
/// Bytes of a manifest or schema file at most.
pub(crate) const MAX_TEXT_BYTES: u64 = 1 << 20;

/// A file name that stays in its folder.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf, RefusedPackage> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) => Ok(folder.join(part)),
        _ => {
            let name = Shown::name(name);
            let reason = format!("plugin.toml names the file `{name}`; a package's files lie in its own folder");
            refuse_as(Refusal::File, reason)
        }
    }
}

/// Reads a text of a package.
pub(crate) fn read_text(path: &Path) -> Result<String, RefusedPackage> {
    String::from_utf8(read_capped(path, MAX_TEXT_BYTES)?)
        .map_err(|_| RefusedPackage::new(format!("{}: not UTF-8", file_name(path))))
}

/// TOML of a package. An error has its place but no line of the text: a file that is none may be somebody's secret.
///
/// # Errors
/// If it is no TOML, or says something else than `T`.
pub fn parsed_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })
}

/// Reads a file of a package, of at most `limit` bytes.
pub(crate) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    read(path, Links::Refuse, limit)
}

/// Reads a file that the user named, of at most `limit` bytes.
pub(crate) fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    read(path, Links::Follow, limit)
}

/// Reads a file of a package that was checked before, if its SHA-256 still is `digest`.
///
/// # Errors
/// If it is not there, longer than `limit` bytes, or another by now.
pub fn read_checked(path: &Path, limit: u64, digest: &str) -> Result<Vec<u8>, RefusedPackage> {
    let bytes = read_capped(path, limit)?;
    if sha256(&bytes) == digest {
        Ok(bytes)
    } else {
        let reason = format!("{}: the file changed since it was checked", querist_files::shown(path));
        refuse_as(Refusal::Changed, reason)
    }
}

fn read(path: &Path, links: Links, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    querist_files::read(path, links, limit)
        .map_err(|error| RefusedPackage::new(format!("{}: {}", file_name(path), error.reason)).of(Refusal::File))
}

/// A file's name, as it can be shown.
pub(crate) fn file_name(path: &Path) -> Shown {
    path.file_name().map_or_else(|| querist_files::shown(path), |name| Shown::name(&name.to_string_lossy()))
}

/// Writes a file so that it is there whole or not at all.
///
/// `mode` are its permissions, less those that the process withholds.
///
/// # Errors
/// If the folder or disk refuse.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
