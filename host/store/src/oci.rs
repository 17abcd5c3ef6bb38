//! Images of registries as `wkg` writes them: a manifest whose config says that it is WebAssembly, and one layer, the
//! component. Both from a registry and from a folder in the layout of images.

use std::path::{Path, PathBuf};

use http_auth::ChallengeRef;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use querist_files::Links;
use querist_loader::package::file::MAX_ARTIFACT_BYTES;
use querist_protocol::Shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::StatusCode;

use crate::digest::Digest;
use crate::fetch::{Address, Answer, Client, FetchError};
use crate::origin::Reference;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
/// Bytes of a manifest, an index or a token at most.
const MAX_TEXT: u64 = 1 << 20;

/// Why an image gives no component.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    File(#[from] querist_files::FileError),
    #[error("{what}: {reason}")]
    Text { what: &'static str, reason: Shown },
    #[error("{what} has the digest {found}, expected {expected}")]
    Digest { what: &'static str, found: Digest, expected: Digest },
    #[error("{what} has {found} bytes, its manifest says {expected}")]
    Size { what: &'static str, found: u64, expected: u64 },
    #[error("the image's {what} is `{found}`, expected `{expected}`: it is no component as `wkg` publishes them")]
    Kind { what: &'static str, found: Shown, expected: &'static str },
    #[error("the image has {0} layers, expected one, the component")]
    Layers(usize),
    #[error("the folder has {0} images: name one by the digest of its manifest, as oci:DIR@sha256:DIGEST")]
    Which(usize),
    #[error(
        "{address}: the server answers {status}; an image is named by the digest of its manifest, which `wkg oci push` \
         prints, not by that of the component"
    )]
    NoManifest { address: Address, status: StatusCode },
    #[error("the registry wants to know who asks, and gives nobody a name: only public images can be installed")]
    Unauthorised,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// Where the parts of an image come from.
pub(crate) trait Parts {
    /// The bytes that should have this digest, at most `most` of them.
    fn part(&mut self, kind: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError>;
}

/// What a part of an image is.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Manifest,
    Blob,
}

/// The component of an image in a registry.
pub(crate) fn pull(image: &Reference, client: &Client) -> Result<Vec<u8>, OciError> {
    let mut registry = InRegistry { client, address: image.address()?, token: None };
    component(&mut registry, &image.digest)
}

/// Whether a folder has the layout of images.
pub(crate) fn is_layout(folder: &Path) -> bool {
    folder.join("oci-layout").is_file()
}

/// The component of an image in a folder: of that with this digest, or of the only one.
pub(crate) fn read_layout(folder: &Path, digest: Option<&Digest>) -> Result<Vec<u8>, OciError> {
    let index: Index =
        parsed("index.json", &querist_files::read(&folder.join("index.json"), Links::Refuse, MAX_TEXT)?)?;
    check_version("index.json", index.schema_version)?;
    let named = match digest {
        Some(digest) => digest.clone(),
        None => match &index.manifests[..] {
            [only] => digest_of("index.json", only)?,
            several => return Err(OciError::Which(several.len())),
        },
    };
    component(&mut InFolder(folder.join("blobs/sha256")), &named)
}

pub(crate) fn component(parts: &mut dyn Parts, digest: &Digest) -> Result<Vec<u8>, OciError> {
    let text = parts.part(Part::Manifest, digest, MAX_TEXT)?;
    check("the image's manifest", &text, digest)?;
    let manifest: Manifest = parsed("the image's manifest", &text)?;
    check_version("the image's manifest", manifest.schema_version)?;
    let [layer] = &manifest.layers[..] else { return Err(OciError::Layers(manifest.layers.len())) };
    for (what, descriptor, expected) in [("config", &manifest.config, CONFIG), ("layer", layer, LAYER)] {
        if descriptor.media_type != expected {
            return Err(OciError::Kind { what, found: Shown::name(&descriptor.media_type), expected });
        }
    }
    let what = "the image's component";
    let digest = digest_of("the image's manifest", layer)?;
    let bytes = parts.part(Part::Blob, &digest, layer.size.min(MAX_ARTIFACT_BYTES))?;
    if bytes.len() as u64 != layer.size {
        return Err(OciError::Size { what, found: bytes.len() as u64, expected: layer.size });
    }
    check(what, &bytes, &digest)?;
    Ok(bytes)
}

fn check(what: &'static str, bytes: &[u8], expected: &Digest) -> Result<(), OciError> {
    let found = Digest::of(bytes);
    if found == *expected { Ok(()) } else { Err(OciError::Digest { what, found, expected: expected.clone() }) }
}

fn check_version(what: &'static str, version: u32) -> Result<(), OciError> {
    if version == 2 {
        return Ok(());
    }
    Err(OciError::Text { what, reason: Shown::sentence(&format!("schemaVersion {version}, expected 2")) })
}

fn digest_of(what: &'static str, descriptor: &Descriptor) -> Result<Digest, OciError> {
    let digest = descriptor.digest.strip_prefix("sha256:").unwrap_or_default();
    digest.parse().map_err(|_| OciError::Text {
        what,
        reason: Shown::sentence(&format!("`{}` is no sha256 digest", Shown::name(&descriptor.digest))),
    })
}

fn parsed<T: DeserializeOwned>(what: &'static str, text: &[u8]) -> Result<T, OciError> {
    serde_json::from_slice(text).map_err(|error| OciError::Text { what, reason: Shown::sentence(&error.to_string()) })
}

/// Parts in a folder in the layout of images.
struct InFolder(PathBuf);

impl Parts for InFolder {
    fn part(&mut self, _: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError> {
        Ok(querist_files::read(&self.0.join(digest.hex()), Links::Refuse, most)?)
    }
}

/// Parts of an image in a registry, which may want a token from everybody.
struct InRegistry<'a> {
    client: &'a Client,
    address: Address,
    token: Option<String>,
}

impl Parts for InRegistry<'_> {
    fn part(&mut self, kind: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError> {
        let (folder, accept) = match kind {
            Part::Manifest => ("manifests", MANIFEST),
            Part::Blob => ("blobs", "*/*"),
        };
        let address = self.address.with(&format!("/{folder}/{digest}"))?;
        for is_first in [true, false] {
            let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
            let mut headers = vec![("Accept", accept)];
            headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
            match self.client.ask(&address, &headers, most)? {
                Answer::Given(bytes) => return Ok(bytes),
                Answer::Refused { status, challenge } => match challenge {
                    Some(challenge) if is_first && status == StatusCode::UNAUTHORIZED => {
                        self.token = Some(self.ask_token(&challenge)?);
                    }
                    _ if status == StatusCode::UNAUTHORIZED => return Err(OciError::Unauthorised),
                    _ if matches!(kind, Part::Manifest) => return Err(OciError::NoManifest { address, status }),
                    _ => return Err(FetchError::Status { address, status }.into()),
                },
            }
        }
        Err(OciError::Unauthorised)
    }
}

impl InRegistry<'_> {
    /// Asks for the token that everybody gets. Whoever gives it must be the registry, or a host that the user named.
    fn ask_token(&self, challenge: &str) -> Result<String, OciError> {
        let realm = realm_of(challenge)?;
        self.client.check_host(&self.address, &realm)?;
        let text = self.client.get(&realm, MAX_TEXT)?;
        let Token { token } = parsed("the registry's token", &text)?;
        if token.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(token) } else { Err(OciError::Unauthorised) }
    }
}

/// Where a challenge says that there is a token.
pub(crate) fn realm_of(challenge: &str) -> Result<Address, OciError> {
    let challenges = http_auth::parse_challenges(challenge).unwrap_or_default();
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    let bearer = bearer.ok_or(OciError::Unauthorised)?;
    let realm = Address::parse(&parameter(bearer, "realm").ok_or(OciError::Unauthorised)?)?;
    let value = |name| Some((name, parameter(bearer, name)?));
    let query: Vec<String> = ["service", "scope"]
        .into_iter()
        .filter_map(value)
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
        .collect();
    Ok(realm.with(&format!("?{}", query.join("&")))?)
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}
