//! Pictures as addresses that hold them.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use crate::report::ReportError;
use crate::run::Picture;

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A `data:` address of the picture as PNG.
pub(crate) fn address(picture: &Picture) -> Result<String, ReportError> {
    let encoded = match picture {
        Picture::Png(bytes) if bytes.starts_with(PNG_MAGIC) => STANDARD.encode(bytes),
        Picture::Png(bytes) => return Err(ReportError::Picture(format!("{} bytes that are no PNG file", bytes.len()))),
        Picture::Raw { height, width, channels, pixels } => {
            STANDARD.encode(encode(*height, *width, *channels, pixels.clone())?)
        }
    };
    Ok(format!("data:image/png;base64,{encoded}"))
}

fn encode(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Result<Vec<u8>, ReportError> {
    let misfit = format!("{} bytes for {height}x{width} pixels of {channels} channels", pixels.len());
    let misfit = || ReportError::Picture(misfit);
    if Some(pixels.len()) != height.checked_mul(width).and_then(|n| n.checked_mul(channels)) {
        return Err(misfit());
    }
    let image = match (u32::try_from(width), u32::try_from(height), channels) {
        (Ok(w), Ok(h), 1) => GrayImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (Ok(w), Ok(h), 3) => RgbImage::from_raw(w, h, pixels).map(DynamicImage::from),
        _ => None,
    };
    let mut bytes = Cursor::new(Vec::new());
    let image = image.ok_or_else(misfit)?;
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|error| ReportError::Picture(error.to_string()))?;
    Ok(bytes.into_inner())
}
