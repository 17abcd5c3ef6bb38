//! Changes of colours, as torchvision defines them. Images are `f32 [n, channels, height, width]` from 0 to 255; a
//! factor is `f32 [n]`, where 1 changes nothing.

use querist_core::config::Jitter;
use querist_protocol::philox::Stream;
use tch::{Kind, TchError, Tensor};

use super::between;

const WHITE: f64 = 255.0;
/// What red, green and blue bring to a grey.
const GREY: [f64; 3] = [0.2989, 0.587, 0.114];

/// Factors of brightness, contrast and saturation, and how far the hue moves.
pub(super) fn draw(stream: &mut Stream, jitter: &Jitter) -> [f64; 4] {
    let mut factor = |by: f64| between(stream, (1.0 - by).max(0.0), 1.0 + by);
    let factors = [factor(jitter.brightness), factor(jitter.contrast), factor(jitter.saturation)];
    [factors[0], factors[1], factors[2], between(stream, -jitter.hue, jitter.hue)]
}

/// What was drawn, on images; `numbers` is `f32 [4, n]`.
pub(super) fn jitter(images: &Tensor, numbers: &Tensor, jitter: &Jitter) -> Result<Tensor, TchError> {
    let mut images = images.shallow_clone();
    if jitter.brightness > 0.0 {
        images = brightness(&images, &numbers.f_select(0, 0)?)?;
    }
    if jitter.contrast > 0.0 {
        images = contrast(&images, &numbers.f_select(0, 1)?)?;
    }
    if jitter.saturation > 0.0 {
        images = saturation(&images, &numbers.f_select(0, 2)?)?;
    }
    if jitter.hue > 0.0 {
        images = hue(&images, &numbers.f_select(0, 3)?)?;
    }
    Ok(images)
}

/// Between images and others, or beyond: `other + factor (image - other)`, within 0 and 255.
fn blend(images: &Tensor, other: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    let factor = factor.f_view([-1, 1, 1, 1])?;
    images.f_sub(other)?.f_mul(&factor)?.f_add(other)?.f_clamp(0.0, WHITE)
}

/// `[n, 1, height, width]`.
fn grey(images: &Tensor) -> Result<Tensor, TchError> {
    if images.size4()?.1 != 3 {
        return images.f_narrow(1, 0, 1);
    }
    let channel = |at: i64| images.f_narrow(1, at, 1)?.f_mul_scalar(GREY[at as usize]);
    channel(0)?.f_add(&channel(1)?)?.f_add(&channel(2)?)
}

pub(super) fn brightness(images: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    images.f_mul(&factor.f_view([-1, 1, 1, 1])?)?.f_clamp(0.0, WHITE)
}

pub(super) fn contrast(images: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    let mean = grey(images)?.f_mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float)?;
    blend(images, &mean, factor)
}

/// Nothing happens to images without three colours.
pub(super) fn saturation(images: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    if images.size4()?.1 != 3 {
        return Ok(images.shallow_clone());
    }
    blend(images, &grey(images)?, factor)
}

/// Moves hues by `by`, `f32 [n]`, of the circle. Nothing happens to images without three colours.
fn hue(images: &Tensor, by: &Tensor) -> Result<Tensor, TchError> {
    let (n, channels, _, _) = images.size4()?;
    if channels != 3 {
        return Ok(images.shallow_clone());
    }
    let channel = |at: i64| images.f_select(1, at);
    let (r, g, b) = (channel(0)?, channel(1)?, channel(2)?);
    let (high, low) = (images.f_amax([1i64].as_slice(), false)?, images.f_amin([1i64].as_slice(), false)?);
    let range = high.f_sub(&low)?;
    let divisor = range.f_where_self(&range.f_gt(0)?, &range.f_ones_like()?)?;
    // Sixths of the circle from red, by which colour is highest.
    let sixth = |one: &Tensor, other: &Tensor, from: f64| one.f_sub(other)?.f_div(&divisor)?.f_add_scalar(from);
    let of_red = sixth(&g, &b, 0.0)?;
    let of_green = sixth(&b, &r, 2.0)?;
    let of_blue = sixth(&r, &g, 4.0)?;
    let sixths =
        of_red.f_where_self(&high.f_eq_tensor(&r)?, &of_green.f_where_self(&high.f_eq_tensor(&g)?, &of_blue)?)?;
    let moved = sixths.f_add(&by.f_mul_scalar(6)?.f_view([n, 1, 1])?)?;
    // Each colour lies between lowest and highest by its distance from where it is highest.
    let colour = |from: f64| {
        let k = moved.f_add_scalar(from)?.f_remainder(6)?;
        let share = k.f_minimum(&k.f_neg()?.f_add_scalar(4)?)?.f_clamp(0.0, 1.0)?;
        high.f_sub(&share.f_mul(&range)?)
    };
    Tensor::f_stack(&[colour(5.0)?, colour(3.0)?, colour(1.0)?], 1)
}

/// Sharper, or smoothed where the factor is below 1. The rim stays as it is.
pub(super) fn sharpness(images: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    let (_, channels, height, width) = images.size4()?;
    if height <= 2 || width <= 2 {
        return Ok(images.shallow_clone());
    }
    // Made on the device: what is sent there makes the host wait.
    let kernel = Tensor::f_ones([channels, 1, 3, 3], (Kind::Float, images.device()))?;
    let _ = kernel.f_narrow(2, 1, 1)?.f_narrow(3, 1, 1)?.f_fill_(5)?;
    let kernel = kernel.f_div_scalar(13)?;
    let smooth = images.f_conv2d(&kernel, None::<Tensor>, [1i64, 1], [0i64, 0], [1i64, 1], channels)?;
    let mut smoothed = images.f_empty_like()?;
    smoothed.f_copy_(images)?;
    let inner = smoothed.f_narrow(2, 1, height - 2)?.f_narrow(3, 1, width - 2)?;
    inner.shallow_clone().f_copy_(&smooth)?;
    blend(images, &smoothed, factor)
}

/// Keeps the upper `bits` of each byte.
pub(super) fn posterise(images: &Tensor, bits: u32) -> Result<Tensor, TchError> {
    let step = f64::from(1u32 << (8 - bits.min(8)));
    images.f_floor()?.f_div_scalar(step)?.f_floor()?.f_mul_scalar(step)
}

/// Inverts what is at least `threshold`.
pub(super) fn solarise(images: &Tensor, threshold: f64) -> Result<Tensor, TchError> {
    let inverted = images.f_neg()?.f_add_scalar(WHITE)?;
    inverted.f_where_self(&images.f_ge(threshold)?, images)
}

/// Stretches each channel to 0 and 255; one of a single value stays as it is.
pub(super) fn auto_contrast(images: &Tensor) -> Result<Tensor, TchError> {
    let sides = [2i64, 3];
    let (low, high) = (images.f_amin(sides.as_slice(), true)?, images.f_amax(sides.as_slice(), true)?);
    let range = high.f_sub(&low)?;
    let stretches = range.f_gt(0)?;
    let scale = range.f_where_self(&stretches, &range.f_ones_like()?)?.f_reciprocal()?.f_mul_scalar(WHITE)?;
    let stretched = images.f_sub(&low)?.f_mul(&scale)?.f_clamp(0.0, WHITE)?;
    stretched.f_where_self(&stretches, images)
}

/// Spreads the bytes of each channel evenly, by their histogram.
pub(super) fn equalise(images: &Tensor) -> Result<Tensor, TchError> {
    let (n, channels, height, width) = images.size4()?;
    let (rows, pixels) = (n * channels, height * width);
    let bytes = images.f_contiguous()?.f_view([rows, pixels])?.f_to_kind(Kind::Int64)?.f_clamp(0, 255)?;
    let ones = bytes.f_ones_like()?;
    let histogram = Tensor::f_zeros([rows, 256], (Kind::Int64, images.device()))?.f_scatter_add(1, &bytes, &ones)?;
    // All but those of the highest byte, shared out.
    let top = histogram.f_gather(1, &bytes.f_amax([1i64].as_slice(), true)?, false)?;
    let step = top.f_neg()?.f_add_scalar(pixels)?.f_div_scalar_mode(255, "floor")?;
    let divisor = step.f_clamp_min(1)?;
    let half = divisor.f_div_scalar_mode(2, "floor")?;
    let below = histogram.f_cumsum(1, Kind::Int64)?.f_sub(&histogram)?;
    let table = below.f_add(&half)?.f_div_tensor_mode(&divisor, "floor")?.f_clamp(0, 255)?;
    let spread = table.f_gather(1, &bytes, false)?.f_where_self(&step.f_gt(0)?, &bytes)?;
    spread.f_to_kind(Kind::Float)?.f_view([n, channels, height, width])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    const N: usize = 5;
    const SIDE: usize = 6;
    const PIXELS: usize = SIDE * SIDE;

    fn images() -> (Tensor, Vec<f64>) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(4).unwrap();
        let (n, side) = (N as i64, SIDE as i64);
        let mut images = Tensor::randint(256, [n, 3, side, side], (Kind::Float, Device::Cpu));
        // One channel of a single value, and one of few.
        let _ = images.narrow(0, 0, 1).narrow(1, 0, 1).fill_(7.0);
        images = images.maximum(&images.narrow(1, 0, 1).minimum(&Tensor::from(40.0f32)));
        let values: Vec<f32> = Vec::try_from(images.flatten(0, 3)).unwrap();
        (images, values.into_iter().map(f64::from).collect())
    }

    /// Compares with a function of one image: `[channel][pixel]` to the same.
    fn compare(name: &str, found: &Tensor, values: &[f64], expected: impl Fn(usize, &[Vec<f64>]) -> Vec<Vec<f64>>) {
        let found = Vec::<f32>::try_from(found.contiguous().flatten(0, 3)).unwrap();
        for (image, (values, found)) in values.chunks(3 * PIXELS).zip(found.chunks(3 * PIXELS)).enumerate() {
            let channels: Vec<Vec<f64>> = values.chunks(PIXELS).map(<[f64]>::to_vec).collect();
            let expected = expected(image, &channels).concat();
            for (place, (&found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(
                    (f64::from(found) - expected).abs() < 0.02,
                    "{name}, image {image}, {place}: {found}, expected {expected}"
                );
            }
        }
    }

    fn each(channels: &[Vec<f64>], change: impl Fn(usize, usize, f64) -> f64) -> Vec<Vec<f64>> {
        let of = |(c, values): (usize, &Vec<f64>)| values.iter().enumerate().map(|(p, &v)| change(c, p, v)).collect();
        channels.iter().enumerate().map(of).collect()
    }

    fn grey_of(channels: &[Vec<f64>], pixel: usize) -> f64 {
        (0..3).map(|c| GREY[c] * channels[c][pixel]).sum()
    }

    #[test]
    fn blends_are_those_of_single_images() {
        let (images, values) = images();
        let factors = [0.0, 0.3, 1.0, 1.7, 2.5];
        let factor = Tensor::from_slice(&factors.map(|f| f as f32));
        let mixed = |f: f64, value: f64, other: f64| (other + f * (value - other)).clamp(0.0, 255.0);
        compare("brightness", &brightness(&images, &factor).unwrap(), &values, |image, channels| {
            each(channels, |_, _, v| mixed(factors[image], v, 0.0))
        });
        compare("contrast", &contrast(&images, &factor).unwrap(), &values, |image, channels| {
            let mean = (0..PIXELS).map(|pixel| grey_of(channels, pixel)).sum::<f64>() / PIXELS as f64;
            each(channels, |_, _, v| mixed(factors[image], v, mean))
        });
        compare("saturation", &saturation(&images, &factor).unwrap(), &values, |image, channels| {
            each(channels, |_, pixel, v| mixed(factors[image], v, grey_of(channels, pixel)))
        });
        compare("sharpness", &sharpness(&images, &factor).unwrap(), &values, |image, channels| {
            each(channels, |c, pixel, v| {
                let (y, x) = (pixel / SIDE, pixel % SIDE);
                if y == 0 || x == 0 || y == SIDE - 1 || x == SIDE - 1 {
                    return v;
                }
                let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| y * SIDE + x));
                let sum: f64 = around.map(|at| channels[c][at]).sum();
                mixed(factors[image], v, (sum + 4.0 * v) / 13.0)
            })
        });
    }

    #[test]
    fn hues_move_around_the_circle() {
        let (images, values) = images();
        let moves = [0.0, 0.1, -0.25, 0.5, 0.33];
        let moved = hue(&images, &Tensor::from_slice(&moves.map(|m| m as f32))).unwrap();
        compare("hue", &moved, &values, |image, channels| {
            let mut out = channels.to_vec();
            for pixel in 0..PIXELS {
                let [r, g, b] = [0, 1, 2].map(|c| channels[c][pixel]);
                let (high, low) = (r.max(g).max(b), r.min(g).min(b));
                let range = high - low;
                let hue = match range {
                    0.0 => 0.0,
                    _ if high == r => (g - b) / range,
                    _ if high == g => (b - r) / range + 2.0,
                    _ => (r - g) / range + 4.0,
                };
                // The textbook's way back, sector by sector.
                let hue = (hue + 6.0 * moves[image]).rem_euclid(6.0);
                let (sector, rest) = (hue.floor(), hue.fract());
                let (falling, rising) = (high - range * rest, low + range * rest);
                let colour = match sector as u32 % 6 {
                    0 => [high, rising, low],
                    1 => [falling, high, low],
                    2 => [low, high, rising],
                    3 => [low, falling, high],
                    4 => [rising, low, high],
                    _ => [high, low, falling],
                };
                (0..3).for_each(|c| out[c][pixel] = colour[c]);
            }
            out
        });
        let same = hue(&images, &Tensor::zeros([5], (Kind::Float, Device::Cpu))).unwrap();
        assert!((same - &images).abs().max().double_value(&[]) < 1e-3);
    }

    #[test]
    fn tables_are_those_of_single_channels() {
        let (images, values) = images();
        compare("posterise", &posterise(&images, 3).unwrap(), &values, |_, channels| {
            each(channels, |_, _, v| f64::from(v as u8 & 0b1110_0000))
        });
        compare("solarise", &solarise(&images, 100.0).unwrap(), &values, |_, channels| {
            each(channels, |_, _, v| if v >= 100.0 { 255.0 - v } else { v })
        });
        compare("auto-contrast", &auto_contrast(&images).unwrap(), &values, |_, channels| {
            each(channels, |c, _, v| {
                let low = channels[c].iter().copied().fold(f64::INFINITY, f64::min);
                let high = channels[c].iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if high > low { (v - low) * 255.0 / (high - low) } else { v }
            })
        });
        compare("equalise", &equalise(&images).unwrap(), &values, |_, channels| {
            each(channels, |c, _, v| {
                let count = |of: &dyn Fn(f64) -> bool| channels[c].iter().filter(|&&v| of(v)).count();
                let high = channels[c].iter().copied().fold(0.0, f64::max);
                let step = count(&|v| v != high) / 255;
                (count(&|other| other < v) + step / 2).checked_div(step).map_or(v, |spread| spread.min(255) as f64)
            })
        });
    }

    /// 1024 pixels, so that steps are more than one.
    #[test]
    fn bytes_are_spread_evenly() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let bytes: Vec<f32> = (0..1024).map(|at| (at * at % 97) as f32).collect();
        let found = equalise(&Tensor::from_slice(&bytes).view([1, 1, 32, 32])).unwrap();
        let found = Vec::<f32>::try_from(found.flatten(0, 3)).unwrap();
        let high = bytes.iter().copied().fold(0.0, f32::max);
        let step = bytes.iter().filter(|&&v| v != high).count() / 255;
        assert!(step > 1);
        for (v, found) in bytes.iter().zip(found) {
            let below = bytes.iter().filter(|other| *other < v).count();
            assert_eq!(found, ((below + step / 2) / step).min(255) as f32);
        }
    }
}
