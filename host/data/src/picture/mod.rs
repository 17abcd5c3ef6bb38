//! One picture: from the bytes of a file to pixels.

mod resize;

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::memory::Shared;

pub(crate) use resize::{resized, scale};

/// Largest side of a picture, and most bytes that one may have decoded.
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 512 << 20;
/// Pixels that a byte of a JPEG can stand for at most: a block of 64 takes a bit or more, and twice that is let pass.
const JPEG_PIXELS_A_BYTE: u64 = 1024;
/// Most bytes that a decoder may take for what stands before the pixels.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Memory of all decoders that are in work at a time, whatever the number of threads.
static DECODING: Shared = Shared::new(2 << 30);
/// A decoder holds the pixels, their like in other colours, and coefficients of two bytes each.
const DECODING_RATIO: u64 = 4;

/// Shape and bytes of a picture, scaled where a size is wanted.
pub(crate) fn decode(bytes: &[u8], size: Option<u32>) -> Result<([usize; 3], Vec<u8>), String> {
    let image = decode_image(bytes)?;
    let image = match size {
        Some(side) if (image.width(), image.height()) != (side, side) => scale(&image, side)?,
        _ => image,
    };
    let channels = usize::from(image.color().channel_count());
    Ok(([image.height() as usize, image.width() as usize, channels], image.into_bytes()))
}

fn decode_image(bytes: &[u8]) -> Result<DynamicImage, String> {
    let said = |error: ImageError| error.to_string();
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_HEADER_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    reader.limits(limits.clone());
    let format = reader.format();
    let decoder = reader.into_decoder().map_err(said)?;
    let (width, height) = decoder.dimensions();
    let can_hold = (bytes.len() as u64).saturating_mul(JPEG_PIXELS_A_BYTE);
    if format == Some(ImageFormat::Jpeg) && u64::from(width) * u64::from(height) > can_hold {
        // The decoder would paint what is missing.
        return Err(format!("it claims {width}x{height} pixels, more than {} bytes can hold", bytes.len()));
    }
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(said)?;
    // A small file may claim a large picture, and as many do so at once as there are threads.
    let _loan = DECODING.lend(decoder.total_bytes().saturating_mul(DECODING_RATIO));
    let image = DynamicImage::from_decoder(decoder).map_err(said)?;
    let grey = matches!(image.color(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16);
    Ok(if grey { DynamicImage::ImageLuma8(image.into_luma8()) } else { DynamicImage::ImageRgb8(image.into_rgb8()) })
}
