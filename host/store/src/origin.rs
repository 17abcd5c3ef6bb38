//! Where a package is to come from, as users write it.

use std::fmt;
use std::path::PathBuf;

use querist_protocol::Shown;

use crate::digest::{Digest, NoDigest};
use crate::fetch::{Address, FetchError, is_this_machine};

/// Where a package is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file or folder.
    Path(PathBuf),
    /// A folder in the layout of images: that of this digest, or the only one.
    Layout(PathBuf, Option<Digest>),
    /// An address.
    Web(Address),
    /// An image of a registry of images.
    Oci(Reference),
}

/// An image of a registry of images, by the digest of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry: a host, and perhaps a port.
    pub registry: String,
    /// The image's name there.
    pub name: String,
    /// SHA-256 of its manifest.
    pub digest: Digest,
}

/// A text that names no place.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum OriginError {
    #[error(transparent)]
    Address(#[from] FetchError),
    #[error(transparent)]
    Digest(#[from] NoDigest),
    #[error("`{text}`: {reason}; write oci://REGISTRY/NAME@sha256:DIGEST")]
    Reference { text: Shown, reason: &'static str },
    #[error("`{0}` is no place that packages come from: give a file, a folder, https://.. or oci://..")]
    Unknown(Shown),
}

impl Origin {
    /// Reads what a user wrote.
    ///
    /// # Errors
    /// If it is an address of another kind, or an image without a digest.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        match text.split_once("://") {
            None => Self::local(text),
            Some(("oci", rest)) => Ok(Self::Oci(Reference::parse(rest)?)),
            Some(("https" | "http", _)) => Ok(Self::Web(Address::parse(text)?)),
            Some(_) => Err(OriginError::Unknown(Shown::sentence(text))),
        }
    }

    fn local(text: &str) -> Result<Self, OriginError> {
        let Some(layout) = text.strip_prefix("oci:") else { return Ok(Self::Path(PathBuf::from(text))) };
        let (folder, digest) = match layout.rsplit_once("@sha256:") {
            Some((folder, digest)) => (folder, Some(digest.parse()?)),
            None => (layout, None),
        };
        Ok(Self::Layout(PathBuf::from(folder), digest))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", querist_files::shown(path)),
            Self::Layout(folder, Some(digest)) => write!(f, "oci:{}@{digest}", querist_files::shown(folder)),
            Self::Layout(folder, None) => write!(f, "oci:{}", querist_files::shown(folder)),
            Self::Web(address) => write!(f, "{address}"),
            Self::Oci(reference) => write!(f, "{reference}"),
        }
    }
}

impl Reference {
    fn parse(rest: &str) -> Result<Self, OriginError> {
        let wrong = |reason| OriginError::Reference { text: Shown::sentence(&format!("oci://{rest}")), reason };
        let (image, digest) = rest
            .rsplit_once('@')
            .ok_or_else(|| wrong("an image is installed by the digest of its manifest, which cannot be exchanged"))?;
        let digest = digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        let digest = digest.ok_or_else(|| wrong("its digest is not sha256: with 64 of 0-9 and a-f"))?;
        let (registry, name) = image.split_once('/').ok_or_else(|| wrong("the image's name is missing"))?;
        // A tag says nothing beside a digest.
        let name = name.split_once(':').map_or(name, |(name, _tag)| name);
        let in_hosts = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if registry.is_empty() || !registry.chars().all(in_hosts) {
            return Err(wrong("the registry is a host, and perhaps a port"));
        }
        let in_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let is_part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(in_names);
        if name.len() > 255 || !name.split('/').all(is_part) {
            return Err(wrong("an image's name is of a-z, 0-9, `.`, `_` and `-`, in parts with `/` between them"));
        }
        Ok(Self { registry: registry.to_owned(), name: name.to_owned(), digest })
    }

    /// Where the registry answers about this image.
    pub(crate) fn address(&self) -> Result<Address, FetchError> {
        let authority = &self.registry;
        // As in `Address`, clear text stays on this machine.
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
        let is_here = is_this_machine(host) || is_this_machine(authority);
        let scheme = if is_here { "http" } else { "https" };
        Address::parse(&format!("{scheme}://{authority}/v2/{}", self.name))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}@{}", self.registry, self.name, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_digest_and_cannot_lead_elsewhere() {
        let digest = Digest::of(b"").to_string();
        let text = format!("oci://ghcr.io/lab/apart:1.2@{digest}");
        let Origin::Oci(image) = Origin::parse(&text).unwrap() else { panic!("it is an image") };
        assert_eq!(image.to_string(), format!("oci://ghcr.io/lab/apart@{digest}"));
        assert_eq!(image.address().unwrap().to_string(), "https://ghcr.io/v2/lab/apart");
        for (registry, address) in
            [("127.0.0.1:5000", "http://127.0.0.1:5000/v2/a"), ("[::1]:1", "http://[::1]:1/v2/a")]
        {
            let Ok(Origin::Oci(here)) = Origin::parse(&format!("oci://{registry}/a@{digest}")) else {
                panic!("{registry}")
            };
            assert_eq!(here.address().unwrap().to_string(), address);
        }
        for bad in [
            "oci://ghcr.io/lab/apart".to_owned(),
            "oci://ghcr.io/lab/apart:latest".to_owned(),
            format!("oci://ghcr.io@{digest}"),
            format!("oci:///lab@{digest}"),
            format!("oci://ghcr.io/../lab@{digest}"),
            format!("oci://ghcr.io/lab/@{digest}"),
            format!("oci://user@evil.org/lab@{digest}"),
            format!("oci://ghcr.io/lab?x@{digest}"),
            "oci://ghcr.io/lab@sha256:12".to_owned(),
            "ftp://a.org/x".to_owned(),
        ] {
            assert!(Origin::parse(&bad).is_err(), "{bad}");
        }
        assert_eq!(Origin::parse("a/b.wasm").unwrap(), Origin::Path("a/b.wasm".into()));
        assert_eq!(Origin::parse("oci:a").unwrap(), Origin::Layout("a".into(), None));
        let of = Origin::parse(&format!("oci:a@{digest}")).unwrap();
        assert_eq!(of, Origin::Layout("a".into(), Some(Digest::of(b""))));
    }
}
