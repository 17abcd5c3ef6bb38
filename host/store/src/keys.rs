//! Whom the user trusts: public keys of minisign, and identities that sigstore vouches for.

use std::path::{Path, PathBuf};

use minisign_verify::PublicKey;
use querist_files::{Links, make_cache_folder};
use querist_loader::package::file::{parsed_toml, write_whole};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::signature::key_id;

/// Bytes of the file of keys at most.
const MAX_BYTES: u64 = 1 << 20;
/// What is said of the file of keys on top of it.
const HEAD: &str =
    "# Written by `querist plugin trust`. Packages that these keys signed are installed from anywhere.\n";

/// The user's trusted keys.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Keys of minisign.
    pub minisign: Vec<Key>,
    /// Identities that sigstore vouches for.
    pub identities: Vec<Identity>,
}

/// A public key of minisign.
#[derive(Debug, Clone)]
pub struct Key {
    /// As minisign prints it.
    pub id: String,
    /// The key in base64.
    pub text: String,
    /// Whose it is, as the user says.
    pub name: String,
    key: PublicKey,
}

/// Somebody who signs by way of sigstore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Who: an address of mail, or of a workflow.
    pub identity: String,
    /// Who vouches for that: the address of an issuer.
    pub issuer: String,
}

/// The file of trusted keys.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    #[serde(default, rename = "key", skip_serializing_if = "Vec::is_empty")]
    keys: Vec<KeyLine>,
    #[serde(default, rename = "identity", skip_serializing_if = "Vec::is_empty")]
    identities: Vec<Identity>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    key: String,
    #[serde(default)]
    name: String,
}

/// Why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum KeyError {
    #[error("`{0}` is no public key of minisign; one begins with RW and has 56 letters and digits")]
    NoKey(Shown),
    #[error("trusted keys {}: {reason}", querist_files::shown(path))]
    File { path: PathBuf, reason: Shown },
}

impl Key {
    /// Reads a public key: its one line, or the two lines of a `.pub` file.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str, name: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::NoKey(Shown::name(text));
        let text = text.trim().lines().next_back().unwrap_or_default().trim();
        let key = PublicKey::from_base64(text).map_err(|_| wrong())?;
        let id = key_id(text).ok_or_else(wrong)?;
        let name = if name.is_empty() { "a key that you trust" } else { name };
        Ok(Self { id, text: text.to_owned(), name: Shown::name(name).into_string(), key })
    }

    pub(crate) fn verify(&self, bytes: &[u8], signature: &minisign_verify::Signature) -> bool {
        self.key.verify(bytes, signature, true).is_ok()
    }
}

impl Keys {
    /// Reads the user's keys; there are none where there is no file.
    ///
    /// # Errors
    /// If the file is malformed, or lies where others can write.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = match querist_files::read_text(path, Links::Follow, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            Err(error) => return Err(wrong(path, error.reason.to_string())),
        };
        // Whoever writes here decides what is trusted.
        let folder = path.parent().unwrap_or(Path::new("."));
        querist_files::check_cache_folder(folder).map_err(|why| wrong(path, crate::reason_of(why)))?;
        let file: KeyFile = parsed_toml(&text).map_err(|reason| wrong(path, reason))?;
        if file.version != 1 {
            return Err(wrong(path, format!("version {}, this host reads version 1", file.version)));
        }
        let minisign = file.keys.iter().map(|line| Key::parse(&line.key, &line.name)).collect::<Result<_, _>>();
        Ok(Self { minisign: minisign.map_err(|error| wrong(path, error.to_string()))?, identities: file.identities })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let keys = self.minisign.iter().map(|key| KeyLine { key: key.text.clone(), name: key.name.clone() });
        let file = KeyFile { version: 1, keys: keys.collect(), identities: self.identities.clone() };
        let text = toml::to_string(&file).map_err(|error| wrong(path, error.to_string()))?;
        make_cache_folder(path.parent().unwrap_or(Path::new("."))).map_err(|why| wrong(path, crate::reason_of(why)))?;
        write_whole(path, format!("{HEAD}{text}").as_bytes(), 0o600).map_err(|error| wrong(path, error.to_string()))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.minisign.is_empty() && self.identities.is_empty()
    }

    /// Trusts a key; says whether it was unknown.
    pub fn add(&mut self, key: Key) -> bool {
        let known = self.minisign.iter().any(|old| old.text == key.text);
        self.minisign.retain(|old| old.id != key.id);
        self.minisign.push(key);
        !known
    }

    /// Trusts a key no more, by its text or id; says whether it was known.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.minisign.len() + self.identities.len();
        self.minisign.retain(|old| old.text != key && !old.id.eq_ignore_ascii_case(key));
        self.identities.retain(|old| old.identity != key);
        before != self.minisign.len() + self.identities.len()
    }
}

fn wrong(path: &Path, reason: String) -> KeyError {
    KeyError::File { path: path.to_owned(), reason: Shown::sentence(&reason) }
}
