//! Signatures over an artifact, and the three words that are said of them everywhere.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use querist_files::Links;
use querist_protocol::Shown;

use crate::cosign;
use crate::keys::Keys;

/// Bytes of a signature file at most; a bundle of sigstore has certificates.
pub(crate) const MAX_SIGNATURE_BYTES: u64 = 64 << 10;
/// What a file of minisign is called, behind the name of the file that it signs.
pub(crate) const MINISIGN: &str = ".minisig";
/// What a bundle of sigstore is called, behind the name of the file that it signs.
pub(crate) const SIGSTORE: &str = ".sigstore.json";

/// What is known of who made an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// No signature lies beside it.
    NotSigned,
    /// There is one of a kind that cannot be looked at here.
    NotLookedAt {
        /// Why not.
        why: Shown,
    },
    /// There is one, and it is not that of a trusted key over these bytes.
    Failed {
        /// Why not.
        reason: Shown,
    },
    /// A trusted key signed these bytes.
    Verified {
        /// Whose, by the name that the user gave, and which.
        by: Shown,
    },
}

impl Signature {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotSigned | Self::NotLookedAt { .. } => "not signed",
            Self::Failed { .. } => "verification failed",
            Self::Verified { .. } => "verified",
        }
    }

    pub(crate) fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: Shown::sentence(reason.as_ref()) }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned => f.write_str(self.word()),
            Self::NotLookedAt { why } => write!(f, "{} ({why})", self.word()),
            Self::Failed { reason } => write!(f, "{}: {reason}", self.word()),
            Self::Verified { by } => write!(f, "{}: {by}", self.word()),
        }
    }
}

/// The signature files that came with an artifact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pub(crate) minisign: Option<Vec<u8>>,
    pub(crate) sigstore: Option<Vec<u8>>,
}

impl Files {
    /// Those that lie beside a file.
    pub(crate) fn beside(artifact: &Path) -> Result<Self, querist_files::FileError> {
        let read = |ending| match querist_files::read(&beside(artifact, ending), Links::Refuse, MAX_SIGNATURE_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Self { minisign: read(MINISIGN)?, sigstore: read(SIGSTORE)? })
    }

    pub(crate) fn are_none(&self) -> bool {
        self.minisign.is_none() && self.sigstore.is_none()
    }

    /// Who signed these bytes, as far as the user's keys say.
    pub(crate) fn of(&self, bytes: &[u8], keys: &Keys) -> Signature {
        match (&self.minisign, &self.sigstore) {
            (Some(text), _) => minisigned(bytes, text, keys),
            (None, Some(bundle)) => cosign::verified(bytes, bundle, keys),
            (None, None) => Signature::NotSigned,
        }
    }
}

/// The path of a signature beside its file.
pub(crate) fn beside(artifact: &Path, ending: &str) -> PathBuf {
    let mut name = artifact.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn minisigned(bytes: &[u8], text: &[u8], keys: &Keys) -> Signature {
    let Some((id, signature)) = decoded(text) else { return Signature::failed("no signature of minisign") };
    let Some(key) = keys.minisign.iter().find(|key| key.id == id) else {
        return Signature::failed(format!("signed by the key {id}, which you do not trust"));
    };
    match key.verify(bytes, &signature) {
        true => Signature::Verified { by: Shown::sentence(&format!("{} (key {id})", key.name)) },
        false => Signature::failed(format!("the signature of key {id} is not one over these bytes")),
    }
}

fn decoded(text: &[u8]) -> Option<(String, minisign_verify::Signature)> {
    let text = std::str::from_utf8(text).ok()?;
    let signature = minisign_verify::Signature::decode(text).ok()?;
    Some((key_id(text.lines().nth(1)?)?, signature))
}

/// The id in a key or signature, as minisign prints it: two letters of an algorithm stand before its eight bytes.
pub(crate) fn key_id(line: &str) -> Option<String> {
    let bytes = STANDARD.decode(line.trim_end()).ok()?;
    let id = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_minisign_prints() {
        // The key of minisign's own releases, whose id its page states.
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(key_id(key).as_deref(), Some("E7620F1842B4E81F"));
        assert_eq!(key_id("RWQ"), None);
    }
}
