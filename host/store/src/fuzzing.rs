//! What fuzzers call; nothing for users.

use querist_loader::package::file::parsed_toml;
use querist_protocol::Shown;

use crate::archive::{files, is_archive};
use crate::digest::Digest;
use crate::keys::Keys;
use crate::oci::{OciError, Part, Parts, component, realm_of};
use crate::origin::Origin;
use crate::registry::Entry;
use crate::signature::Files;

/// An image of two parts, of which the second is the component whatever its digest.
struct TwoParts<'a>(&'a [u8], &'a [u8]);

impl Parts for TwoParts<'_> {
    fn part(&mut self, kind: Part, _: &Digest, most: u64) -> Result<Vec<u8>, OciError> {
        let part = match kind {
            Part::Manifest => self.0,
            Part::Blob => self.1,
        };
        Ok(part[..part.len().min(most as usize)].to_vec())
    }
}

/// Takes bytes of somebody else as what `form` says: an archive, an image (a manifest, a zero byte, a component), a
/// signature, a plugin of a registry, what a server wants to know, or an origin.
///
/// # Errors
/// What the program would say.
pub fn take(form: u8, bytes: &[u8]) -> Result<(), String> {
    let text = || std::str::from_utf8(bytes).map_err(|error| error.to_string());
    match form % 6 {
        0 => {
            let _ = is_archive(bytes);
            let files = files(bytes).map_err(|error| error.to_string())?;
            assert!(files.keys().all(|name| !name.contains('/') && name != ".." && name != "."));
        }
        1 => {
            let (manifest, rest) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
            let parts = &mut TwoParts(manifest, rest.get(1..).unwrap_or_default());
            component(parts, &Digest::of(manifest)).map_err(|error| error.to_string())?;
        }
        2 => {
            let files = Files { minisign: Some(bytes.to_vec()), sigstore: None };
            return Err(files.of(b"bytes", &Keys::default()).to_string());
        }
        3 => {
            let entry: Entry = parsed_toml(text()?).map_err(|error| Shown::sentence(&error).into_string())?;
            entry.chosen(None).map_err(|error| error.to_string())?;
        }
        4 => {
            realm_of(text()?).map_err(|error| error.to_string())?;
        }
        _ => {
            let origin = Origin::parse(text()?).map_err(|error| error.to_string())?;
            return Err(origin.to_string());
        }
    }
    Ok(())
}
