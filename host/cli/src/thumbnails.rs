//! The queried pictures of a round as one PNG strip.

use std::io::Cursor;

use anyhow::{Context, Result, anyhow, bail, ensure};
use image::imageops::FilterType;
use image::{ColorType, DynamicImage, GenericImage, GrayImage, ImageFormat, ImageReader, Limits, RgbImage};
use querist_core::{Dataset, SampleId};
use querist_protocol::Shown;

/// Pictures in a strip at most.
pub const MAX_PICTURES: usize = 48;
/// Side of a picture in a strip at most; larger ones are scaled down.
const MAX_SIDE: u32 = 64;
/// Bytes that decoding a strip may take: some times what the largest has.
const MAX_BYTES: u64 = 8 << 20;

/// The first pictures side by side, as PNG.
pub fn strip(samples: &[SampleId], dataset: &Dataset) -> Result<Vec<u8>> {
    let images = dataset.images();
    let (height, width) = (u32::try_from(images.height)?, u32::try_from(images.width)?);
    let scale = f64::from(MAX_SIDE) / f64::from(height.max(width));
    let small = |side: u32| if scale < 1.0 { ((f64::from(side) * scale) as u32).max(1) } else { side };
    let (height_out, width_out) = (small(height), small(width));
    let count = samples.len().clamp(1, MAX_PICTURES) as u32;
    let mut strip = if images.channels == 1 {
        DynamicImage::new_luma8(width_out * count, height_out)
    } else {
        DynamicImage::new_rgb8(width_out * count, height_out)
    };
    for (i, &sample) in (0..count).zip(samples) {
        let bytes = images.image(sample).to_vec();
        let picture = if images.channels == 1 {
            GrayImage::from_raw(width, height, bytes).map(DynamicImage::from)
        } else {
            RgbImage::from_raw(width, height, bytes).map(DynamicImage::from)
        };
        let picture = picture.context("an image of the dataset has another size than the others")?;
        let picture = picture.resize_exact(width_out, height_out, FilterType::Triangle);
        strip.copy_from(&picture, i * width_out, 0)?;
    }
    let mut png = Cursor::new(Vec::new());
    strip.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// One picture of a strip, `u8 [height, width, channels]`.
pub struct Tile {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Values a pixel.
    pub channels: usize,
    /// The values.
    pub pixels: Vec<u8>,
}

/// Cuts a strip of `count` pictures, a PNG file, apart.
///
/// A strip that claims to be larger than any that is written is refused before memory is taken for it.
pub fn tiles(png: &[u8], count: usize) -> Result<Vec<Tile>> {
    let count = u32::try_from(count)?;
    ensure!((1..=MAX_PICTURES as u32).contains(&count), "{count} pictures in a strip, expected 1 to {MAX_PICTURES}");
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(count * MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
    reader.limits(limits);
    let strip =
        reader.decode().map_err(|error| anyhow!("no strip of pictures: {}", Shown::sentence(&error.to_string())))?;
    let channels = match strip.color() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => bail!("values are {other:?}, expected grey or red-green-blue bytes"),
    };
    let (width, height) = (strip.width() / count, strip.height());
    ensure!(width > 0 && strip.width() == width * count, "{} columns are no {count} pictures", strip.width());
    let tile = |i: u32| Tile {
        height: height as usize,
        width: width as usize,
        channels,
        pixels: strip.crop_imm(i * width, 0, width, height).into_bytes(),
    };
    Ok((0..count).map(tile).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png).unwrap();
        png.into_inner()
    }

    #[test]
    fn only_strips_as_they_are_written_are_cut() {
        let strip = |width, height| png(&DynamicImage::new_rgb8(width, height));
        assert_eq!(
            tiles(&strip(12, 5), 3).unwrap().iter().map(|tile| (tile.width, tile.height)).collect::<Vec<_>>(),
            [(4, 5); 3]
        );
        assert!(tiles(&strip(12, 5), 5).is_err_and(|error| error.to_string().contains("12 columns are no 5 pictures")));
        assert!(
            tiles(&strip(2, 5), 3).is_err() && tiles(&strip(12, 5), 0).is_err() && tiles(&strip(12, 5), 49).is_err()
        );
        assert!(tiles(&strip(65, 5), 1).is_err() && tiles(&strip(5, 65), 1).is_err());
        let deep = tiles(&png(&DynamicImage::new_rgba16(4, 4)), 1);
        assert!(deep.is_err_and(|error| error.to_string().contains("Rgba16")));
        // The header claims 4 294 967 295 columns; only the check sum could tell.
        let mut huge = strip(4, 4);
        huge[16..20].copy_from_slice(&[0xff; 4]);
        assert!(tiles(&huge, 1).is_err());
    }
}
