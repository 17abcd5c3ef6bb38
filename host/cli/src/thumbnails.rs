//! The queried pictures of a round as one PNG strip.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use image::imageops::FilterType;
use image::{DynamicImage, GenericImage, GrayImage, RgbImage};
use querist_core::{Dataset, SampleId};

/// Pictures in a strip at most.
pub const MAX_PICTURES: usize = 48;
/// Side of a picture in a strip at most; larger ones are scaled down.
const MAX_SIDE: u32 = 64;

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
    strip.write_to(&mut png, image::ImageFormat::Png)?;
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

/// Cuts a strip of `count` pictures apart.
pub fn tiles(path: &Path, count: usize) -> Result<Vec<Tile>> {
    let strip = image::open(path)?;
    let width = strip.width() / u32::try_from(count.max(1))?;
    let tile = |i: u32| {
        let picture = strip.crop_imm(i * width, 0, width, strip.height());
        let channels = usize::from(picture.color().channel_count());
        Tile {
            height: picture.height() as usize,
            width: picture.width() as usize,
            channels,
            pixels: picture.into_bytes(),
        }
    };
    Ok((0..u32::try_from(count)?).map(tile).collect())
}
