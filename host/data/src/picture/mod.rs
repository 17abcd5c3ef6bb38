//! One picture: from the bytes of a file to pixels.
//!
//! A picture becomes grey or red-green-blue bytes, turned upright as its Exif data says. Transparency is dropped and 16
//! bits become 8. Of the four inks of a printer come the colours that a screen shows, without a profile.

mod header;
mod jpeg;
mod pnm;
mod resize;
mod wanted;

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, Limits, RgbImage};

use crate::memory::Shared;
use header::Format;
use jpeg::{Jpeg, Output};

pub(crate) use header::Header;
pub(crate) use resize::resized;
pub(crate) use wanted::{Square, Wanted};

/// Changes with everything that changes a pixel, so that no cache holds the pixels of another version.
pub(crate) const VERSION: &str = "mozjpeg 2.2, png 0.18, fast_image_resize 6.1; 1";

/// Largest side of a picture, and most bytes that one may have decoded.
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 512 << 20;
/// Pixels that a byte of a JPEG can stand for at most: a block of 64 takes a bit or more, and twice that is let pass.
const JPEG_PIXELS_A_BYTE: u64 = 1024;
/// Memory of all decoders that are in work at a time, whatever the number of threads.
static DECODING: Shared = Shared::new(2 << 30);
/// Of a JPEG of many scans all coefficients are held, two bytes each, and of any one the pixels that come out.
const JPEG_BYTES_A_VALUE: u64 = 4;
/// What a decoder needs beside that, for strips and tables.
const DECODER_BYTES: u64 = 16 << 20;
/// A decoder of PNG holds the pixels and their like in other colours.
const PNG_BYTES_A_VALUE: u64 = 2;
/// Pictures of fewer pixels are decoded whole before they are resized: that takes no time, and every pixel counts.
const SMALL: u64 = 512 * 512;

/// Pixels, `[height, width, channels]`.
#[derive(Debug)]
struct Pixels {
    width: u32,
    height: u32,
    channels: usize,
    bytes: Vec<u8>,
}

/// Whether a picture of this header, in a file of so many bytes, is one that will be decoded.
pub(crate) fn check(header: &Header, bytes: u64, wanted: Wanted) -> Result<(), String> {
    let (width, height) = (header.width, header.height);
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || width.max(height) > MAX_SIDE {
        return Err(format!("{width}x{height} pixels, expected 1 to {MAX_SIDE} a side"));
    }
    if header.format == Format::Jpeg && pixels > bytes.saturating_mul(JPEG_PIXELS_A_BYTE) {
        return Err(format!("it claims {width}x{height} pixels, more than {bytes} bytes can hold"));
    }
    if pixels.saturating_mul(header.shape()[2] as u64) > MAX_DECODED_BYTES {
        return Err(format!("{width}x{height} pixels are more than {MAX_DECODED_BYTES} bytes"));
    }
    wanted.square.map_or(Ok(()), |square| resize::check(width, height, square))
}

/// Height, width and channels of what [`decode`] makes of a picture.
pub(crate) fn shape(header: &Header, wanted: Wanted) -> [usize; 3] {
    let [height, width, channels] = header.shape();
    wanted.side().map_or([height, width, channels], |side| [side, side, channels])
}

/// Decodes a picture into `to`, whose length says whether grey is to become red-green-blue.
///
/// `header` was read from the same bytes. The picture is resized to the wanted square as [`crate::load()`] says.
pub(crate) fn decode(bytes: &[u8], header: &Header, wanted: Wanted, to: &mut [u8]) -> Result<(), String> {
    check(header, bytes.len() as u64, wanted)?;
    let pixels = match header.format {
        Format::Jpeg => decode_jpeg(bytes, header, wanted)?,
        Format::Png => decode_png(bytes, header)?,
        Format::Pnm => pnm::decode(bytes, header)?,
    };
    let pixels = upright(pixels, header.orientation)?;
    let pixels = match wanted.square {
        Some(square) => resize::to_square(pixels, square)?,
        None => pixels,
    };
    spread(pixels, to)
}

fn decode_jpeg(bytes: &[u8], header: &Header, wanted: Wanted) -> Result<Pixels, String> {
    let area = u64::from(header.width) * u64::from(header.height);
    // Four inks at most.
    let most_bytes = area * 4 * JPEG_BYTES_A_VALUE + DECODER_BYTES;
    let _loan = DECODING.lend(most_bytes);
    let mut jpeg = Jpeg::open(bytes, most_bytes)?;
    let (width, height) = jpeg.size();
    if (width, height) != (header.width, header.height) {
        return Err(format!("two sizes, {}x{} and {width}x{height}", header.width, header.height));
    }
    if let Some(square) = wanted.square.filter(|_| area > SMALL) {
        jpeg.reduce(square.short);
    }
    let Output { width, height, channels } = jpeg.output()?;
    let mut bytes = vec![0; width as usize * height as usize * channels];
    jpeg.decode(&mut bytes)?;
    Ok(Pixels { width, height, channels, bytes })
}

fn decode_png(bytes: &[u8], header: &Header) -> Result<Pixels, String> {
    let said = |error: ImageError| error.to_string();
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits.clone()).map_err(said)?;
    limits.reserve(decoder.total_bytes()).map_err(said)?;
    // A small file may claim a large picture, and as many do so at once as there are threads.
    let _loan = DECODING.lend(decoder.total_bytes().saturating_mul(PNG_BYTES_A_VALUE) + DECODER_BYTES);
    let image = DynamicImage::from_decoder(decoder).map_err(said)?;
    let (width, height) = (image.width(), image.height());
    let (channels, bytes) =
        if header.grey { (1, image.into_luma8().into_raw()) } else { (3, image.into_rgb8().into_raw()) };
    Ok(Pixels { width, height, channels, bytes })
}

/// Turns a picture as its Exif data says.
fn upright(pixels: Pixels, orientation: Orientation) -> Result<Pixels, String> {
    if orientation == Orientation::NoTransforms {
        return Ok(pixels);
    }
    let Pixels { width, height, channels, bytes } = pixels;
    let image = match channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
    };
    let mut image = image.ok_or_else(|| format!("{width}x{height} pixels that are fewer or more"))?;
    image.apply_orientation(orientation);
    Ok(Pixels { width: image.width(), height: image.height(), channels, bytes: image.into_bytes() })
}

/// Copies pixels; grey ones become three values each where there is room for them.
fn spread(pixels: Pixels, to: &mut [u8]) -> Result<(), String> {
    let Pixels { width, height, channels, bytes, .. } = pixels;
    match to.len() {
        length if length == bytes.len() => to.copy_from_slice(&bytes),
        length if channels == 1 && length == 3 * bytes.len() => {
            to.chunks_exact_mut(3).zip(bytes).for_each(|(pixel, grey)| pixel.fill(grey));
        }
        length => return Err(format!("{width}x{height} pixels of {channels} channels for {length} bytes")),
    }
    Ok(())
}
