//! Pictures at another size.

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, RgbImage};
use rayon::prelude::*;

use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::{Shared, reserve};

/// Longest side of a scaled image before it is cut.
const MAX_SCALED_SIDE: u64 = 16_384;
/// Memory of all images that are scaled at a time, whatever the number of threads, and that of a pixel: four floats and
/// what becomes of them.
static SCALING: Shared = Shared::new(2 << 30);
const SCALING_BYTES: u64 = 20;

/// The same images at another size.
pub(crate) fn resized(mut loaded: Loaded, side: u32) -> Result<Loaded, DataError> {
    let [height, width, channels] = loaded.shape;
    if (height, width) == (side as usize, side as usize) {
        return Ok(loaded);
    }
    let one = side as usize * side as usize * channels;
    let total = loaded.labels.len().saturating_mul(one);
    let mut bytes: Vec<u8> = reserve(total as u64, "the resized images")?;
    bytes.resize(total, 0);
    let pairs = bytes.par_chunks_exact_mut(one).zip(loaded.bytes.par_chunks_exact(height * width * channels));
    let filled = pairs.try_for_each(|(to, from)| {
        let unfit = || format!("images of {height}x{width} pixels with {channels} channels");
        let image = picture([height, width, channels], from.to_vec()).ok_or_else(unfit)?;
        to.copy_from_slice(scale(&image, side)?.as_bytes());
        Ok(())
    });
    filled.map_err(|found: String| DataError::malformed("the images", "", found, "a shape that can be resized"))?;
    loaded.bytes = bytes;
    loaded.shape = [side as usize, side as usize, channels];
    Ok(loaded)
}

fn picture([height, width, channels]: [usize; 3], bytes: Vec<u8>) -> Option<DynamicImage> {
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    match channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
    }
}

/// Scales and cuts to a square, or says why not.
pub(crate) fn scale(image: &DynamicImage, side: u32) -> Result<DynamicImage, String> {
    let (short, long) = (image.width().min(image.height()), image.width().max(image.height()));
    // What is cut off is scaled, too: a line of pixels would become gigabytes.
    let scaled = u64::from(long) * u64::from(side) / u64::from(short.max(1));
    if scaled > MAX_SCALED_SIDE {
        return Err(format!("{long} by {short} pixels are too oblong to be cut to a square of {side}"));
    }
    let (rows, columns) = (u64::from(long.max(side)), u64::from(side).max(u64::from(short)));
    let _loan = SCALING.lend(rows.max(scaled) * columns * SCALING_BYTES);
    Ok(image.resize_to_fill(side, side, FilterType::Triangle))
}
