//! SHA-256 digests as people write them.

use std::fmt;
use std::str::FromStr;

use querist_core::digest::sha256;
use querist_protocol::Shown;

/// A SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

/// A text that is no digest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no digest; a digest is `sha256:` and 64 of 0-9 and a-f")]
pub struct NoDigest(Shown);

impl Digest {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// Its 64 digits.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let fits = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if fits { Ok(Self(hex.to_owned())) } else { Err(NoDigest(Shown::name(text))) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.hex().parse::<Digest>().unwrap(), digest);
        let upper = digest.hex().to_uppercase();
        for wrong in ["", "sha256:", "sha512:00", &digest.hex()[1..], &upper, "sha256:sha256:"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
