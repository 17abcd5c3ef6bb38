//! The bytes of pictures, as browsers may have them: pictures and nothing else, whatever their files are called.

use std::path::Path;

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
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        // Two letters are little: the header that follows has one of the known sizes.
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0, ..] => {
            Some("image/bmp")
        }
        _ => None,
    }
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
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"<html>", b"BM<script>alert(1)</script>", b""]
        {
            assert_eq!(kind(other), None, "{other:?}");
        }
        assert_eq!(kind(b"RIFF\x10\0\0\0WAVEfmt "), None);
    }
}
