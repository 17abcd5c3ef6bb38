//! Pictures at another size.
//!
//! The shorter side becomes as long as wanted, with a triangle filter that is widened by the factor of reduction, and
//! the middle is cut out. It is computed in whole numbers and is the same on every processor; a value may differ by one
//! from the exact one. A picture that has the size already keeps its pixels.
//!
//! A large JPEG comes here reduced: its decoder leaves out what no smaller picture could show, to a half, a quarter or
//! an eighth, as far as the result is still as large as wanted.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use querist_core::config::{Fit, ResizeFilter};
use rayon::prelude::*;

use super::{Pixels, Square};
use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;

/// Longest side of a scaled image before it is cut.
const MAX_SCALED_SIDE: u64 = 16_384;

/// The same images at another size.
pub(crate) fn resized(mut loaded: Loaded, square: Square) -> Result<Loaded, DataError> {
    let [height, width, channels] = loaded.shape;
    let side = square.side;
    if (height, width) == (side as usize, side as usize) && square.short == side {
        return Ok(loaded);
    }
    let one = side as usize * side as usize * channels;
    let total = loaded.labels.len().saturating_mul(one);
    let mut bytes: Vec<u8> = reserve(total as u64, "the resized images")?;
    bytes.resize(total, 0);
    let pairs = bytes.par_chunks_exact_mut(one).zip(loaded.bytes.par_chunks_exact(height * width * channels));
    let filled = pairs.try_for_each(|(to, from)| {
        let unfit = || format!("images of {height}x{width} pixels");
        let (width, height) = (u32::try_from(width).ok(), u32::try_from(height).ok());
        let (width, height) = width.zip(height).ok_or_else(unfit)?;
        check(width, height, square)?;
        let pixels = Pixels { width, height, channels, bytes: from.to_vec() };
        to.copy_from_slice(&to_square(pixels, square)?.bytes);
        Ok(())
    });
    filled.map_err(|found: String| DataError::malformed("the images", "", found, "a shape that can be resized"))?;
    loaded.bytes = bytes.into();
    loaded.shape = [side as usize, side as usize, channels];
    Ok(loaded)
}

/// Whether a picture has enough of a square in it.
pub(super) fn check(width: u32, height: u32, square: Square) -> Result<(), String> {
    let Square { side, short: scaled, fit, .. } = square;
    let (short, long) = (width.min(height), width.max(height));
    if fit == Fit::Cut && u64::from(long) * u64::from(scaled) / u64::from(short.max(1)) > MAX_SCALED_SIDE {
        return Err(format!("{long} by {short} pixels are too oblong to be cut to a square of {side}"));
    }
    Ok(())
}

/// Scales and cuts to a square.
pub(super) fn to_square(pixels: Pixels, square: Square) -> Result<Pixels, String> {
    scaled_by(&mut Resizer::new(), pixels, square)
}

fn scaled_by(resizer: &mut Resizer, pixels: Pixels, square: Square) -> Result<Pixels, String> {
    let side = square.side;
    let Pixels { width, height, channels, bytes } = pixels;
    if (width, height) == (side, side) && square.short == side {
        return Ok(Pixels { width, height, channels, bytes });
    }
    let [left, top, wide, high] = match square.fit {
        Fit::Cut => middle(width.into(), height.into(), square),
        Fit::Stretch => [0.0, 0.0, width.into(), height.into()],
    };
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(convolved(square.filter)))
        .use_alpha(false)
        .crop(left, top, wide, high);
    let mut to = vec![0; side as usize * side as usize * channels];
    // By type: a resizer that looks at run time is compiled for each kind of pixel there is, two minutes of it.
    let from = (width, height, &bytes[..]);
    match channels {
        1 => typed::<U8>(resizer, from, (side, &mut to), &options)?,
        _ => typed::<U8x3>(resizer, from, (side, &mut to), &options)?,
    }
    Ok(Pixels { width: side, height: side, channels, bytes: to })
}

fn typed<P: PixelTrait>(
    resizer: &mut Resizer,
    (width, height, from): (u32, u32, &[u8]),
    (side, to): (u32, &mut [u8]),
    options: &ResizeOptions,
) -> Result<(), String> {
    let from = TypedImageRef::<P>::from_buffer(width, height, from).map_err(|error| error.to_string())?;
    let mut to = TypedImage::<P>::from_buffer(side, side, to).map_err(|error| error.to_string())?;
    resizer.resize_typed(&from, &mut to, options).map_err(|error| error.to_string())
}

/// The filter as the resizer calls it.
fn convolved(filter: ResizeFilter) -> FilterType {
    match filter {
        ResizeFilter::Triangle => FilterType::Bilinear,
        ResizeFilter::Box => FilterType::Box,
        ResizeFilter::Cubic => FilterType::CatmullRom,
        ResizeFilter::Lanczos => FilterType::Lanczos3,
    }
}

/// Left, top, width and height of what becomes the square: whole pixels of the scaled picture are cut off.
fn middle(width: f64, height: f64, square: Square) -> [f64; 4] {
    let (short, side, scaled) = (width.min(height), f64::from(square.side), f64::from(square.short));
    let cut = |long: f64| (((long * scaled / short).round() - side) / 2.0).floor() * short / scaled;
    let taken = side * short / scaled;
    // Rounded up, the scaled picture can be longer than the picture by half a pixel.
    let within = |long: f64| cut(long).clamp(0.0, long - taken);
    [within(width), within(height), taken, taken]
}

#[cfg(test)]
mod tests {
    use fast_image_resize::CpuExtensions;
    use image::imageops::FilterType;
    use image::{DynamicImage, RgbImage};

    use super::*;

    /// Anything: what is smooth hides mistakes.
    fn noise(width: u32, height: u32, channels: usize) -> Pixels {
        let mut stream = querist_protocol::philox::Stream::new(5, 0);
        let bytes = (0..width * height * channels as u32).map(|_| stream.next_below(256) as u8).collect();
        Pixels { width, height, channels, bytes }
    }

    #[test]
    fn every_processor_gives_the_same() {
        for (width, height, side) in [(33, 47, 16), (300, 211, 64), (20, 20, 31), (640, 480, 224)] {
            for channels in [1, 3] {
                let mut plain = Resizer::new();
                // SAFETY: no extension is used, so none must be there.
                unsafe { plain.set_cpu_extensions(CpuExtensions::None) };
                let plain = scaled_by(&mut plain, noise(width, height, channels), Square::plain(side)).unwrap();
                assert!(plain.bytes == to_square(noise(width, height, channels), Square::plain(side)).unwrap().bytes);
            }
        }
    }

    #[test]
    fn values_are_within_one_of_exact_ones() {
        for (width, height, side) in
            [(28, 28, 32), (64, 64, 16), (480, 480, 224), (96, 96, 31), (64, 32, 16), (33, 66, 11)]
        {
            let Pixels { bytes, .. } = noise(width, height, 3);
            let image = DynamicImage::from(RgbImage::from_raw(width, height, bytes).unwrap());
            let exact = image.resize_to_fill(side, side, FilterType::Triangle).into_rgb8();
            let found = to_square(noise(width, height, 3), Square::plain(side)).unwrap();
            // What was cut off is not looked at for the rim.
            let rim = if width == height { 0 } else { 1 };
            let worst = exact
                .enumerate_pixels()
                .filter(|(x, y, _)| (rim..side - rim).contains(x.min(y)) && (rim..side - rim).contains(x.max(y)));
            let of = |x: u32, y: u32| &found.bytes[((y * side + x) * 3) as usize..][..3];
            let worst =
                worst.flat_map(|(x, y, pixel)| pixel.0.into_iter().zip(of(x, y)).map(|(a, b)| a.abs_diff(*b))).max();
            assert!(worst <= Some(1), "{width}x{height} to {side}: {worst:?}");
        }
    }
}
