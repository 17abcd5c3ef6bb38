//! The bytes of pictures, as browsers may have them: pictures and nothing else, whatever their files are called.

use std::path::Path;

use image::ImageFormat;
use querist_files::{FileError, Links, Reason};
use querist_protocol::Shown;

use crate::loopback::Reply;

/// Bytes of a picture at most.
const MOST_BYTES: u64 = 256 << 20;
/// A file that a browser opens by itself does nothing.
const POLICY: &str = "default-src 'none'; sandbox";

/// The file of a picture, or why there is none that can be shown.
pub(super) fn reply(path: &Path) -> Reply {
    let bytes = match querist_files::read(path, Links::Follow, MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(FileError { reason: Reason::NotFound, .. }) => {
            return refusal("404 Not Found", "the file is gone", path);
        }
        Err(error) => return refusal("422 Unprocessable Content", &error.reason.to_string(), path),
    };
    match kind(&bytes) {
        Some(kind) => Reply::bytes(kind, bytes).with_policy(POLICY),
        None => {
            let why = "the file is no PNG, JPEG, WebP, GIF or BMP, which are the pictures that are shown";
            refusal("415 Unsupported Media Type", why, path)
        }
    }
}

fn refusal(status: &'static str, why: &str, path: &Path) -> Reply {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Reply::refusal(status, format!("{}: {}", Shown::name(&name), Shown::sentence(why)))
}

/// What a file is, by its first bytes. SVG is none of these: it can hold programs.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    let format = image::guess_format(bytes).ok()?;
    matches!(format, Png | Jpeg | WebP | Gif | Bmp).then(|| format.to_mime_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_they_begin_with() {
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(kind(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(kind(b"GIF89a"), Some("image/gif"));
        assert_eq!(kind(b"RIFF\x10\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(kind(b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"), Some("image/bmp"));
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"<html>", b"%PDF-1.7", b"II*\0", b""] {
            assert_eq!(kind(other), None, "{other:?}");
        }
        assert_eq!(kind(b"RIFF\x10\0\0\0WAVEfmt "), None);
    }
}
