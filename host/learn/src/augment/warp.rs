//! Changes that move pixels: rotations, shears, parts brought to full size, black squares.
//!
//! Places are counted from the upper left corner of the image; pixel (0, 0) has its middle at (0.5, 0.5).

use querist_core::config::ResizedCrop;
use querist_protocol::philox::Stream;
use tch::{Kind, TchError, Tensor};

use super::between;
use crate::model::ImageShape;

/// Numbers of a warp: pixel (x, y) of the result comes from (a x + b y + c, d x + e y + f).
pub(super) const NUMBERS: usize = 6;

/// What libtorch calls its ways to sample.
const BILINEAR: i64 = 0;
const NEAREST: i64 = 1;
/// Nothing outside.
const ZEROS: i64 = 0;

/// A turn around the middle.
pub(super) fn rotation(angle: f64, ImageShape { height, width, .. }: ImageShape) -> [f64; NUMBERS] {
    let (sin, cos) = angle.sin_cos();
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
}

/// Warped images, each pixel the nearest one, black outside. `images` is `f32 [n, channels, height, width]`, `numbers`
/// `f32 [6, n]`.
pub(super) fn nearest(images: &Tensor, numbers: &Tensor) -> Result<Tensor, TchError> {
    let (n, _, height, width) = images.size4()?;
    let number = |row| numbers.f_select(0, row)?.f_view([n, 1, 1]);
    let options = (Kind::Float, images.device());
    let x = Tensor::f_arange(width, options)?.f_add_scalar(0.5)?.f_view([1, 1, width])?;
    let y = Tensor::f_arange(height, options)?.f_add_scalar(0.5)?.f_view([1, height, 1])?;
    let place = |first| x.f_mul(&number(first)?)?.f_add(&y.f_mul(&number(first + 1)?)?)?.f_add(&number(first + 2)?);
    sampled(images, &place(0)?, &place(3)?, NEAREST)
}

/// Samples at places `[n, height, width]` each.
fn sampled(images: &Tensor, x: &Tensor, y: &Tensor, how: i64) -> Result<Tensor, TchError> {
    let (_, _, height, width) = images.size4()?;
    let scaled = |places: &Tensor, side: i64| places.f_mul_scalar(2.0 / side as f64)?.f_sub_scalar(1);
    let grid = Tensor::f_stack(&[scaled(x, width)?, scaled(y, height)?], 3)?;
    images.f_grid_sampler(&grid, how, ZEROS, false)
}

/// Top, left, height and width of a random part, as torchvision draws them: ten tries at an area and a ratio, then the
/// largest part in the middle whose ratio is allowed.
pub(super) fn part(stream: &mut Stream, crop: &ResizedCrop, shape: ImageShape) -> [f64; 4] {
    let (full_height, full_width) = (shape.height as f64, shape.width as f64);
    let [low, high] = crop.ratio;
    for _ in 0..10 {
        let area = full_height * full_width * between(stream, crop.scale[0], crop.scale[1]);
        let ratio = between(stream, low.ln(), high.ln()).exp();
        let (height, width) = ((area / ratio).sqrt().round_ties_even(), (area * ratio).sqrt().round_ties_even());
        if (1.0..=full_height).contains(&height) && (1.0..=full_width).contains(&width) {
            let mut place = |free: f64| stream.next_below(free as u64 + 1) as f64;
            let (top, left) = (place(full_height - height), place(full_width - width));
            return [top, left, height, width];
        }
    }
    let ratio = full_width / full_height;
    let (height, width) = if ratio < low {
        ((full_width / low).round_ties_even(), full_width)
    } else if ratio > high {
        (full_height, (full_height * high).round_ties_even())
    } else {
        (full_height, full_width)
    };
    [((full_height - height) / 2.0).floor(), ((full_width - width) / 2.0).floor(), height, width]
}

/// Parts brought to the size of the image, with straight lines between pixels and none from outside the part.
/// `numbers` is `f32 [4, n]`.
pub(super) fn resized(images: &Tensor, numbers: &Tensor) -> Result<Tensor, TchError> {
    let (n, _, height, width) = images.size4()?;
    let options = (Kind::Float, images.device());
    let places = |first: i64, part: i64, side: i64| {
        let (first, part) = (numbers.f_select(0, first)?.f_view([n, 1])?, numbers.f_select(0, part)?.f_view([n, 1])?);
        let middles = Tensor::f_arange(side, options)?.f_add_scalar(0.5)?.f_view([1, side])?;
        let places = middles.f_mul(&part.f_div_scalar(side as f64)?)?.f_add(&first)?;
        let (low, high) = (first.f_add_scalar(0.5)?, first.f_add(&part)?.f_sub_scalar(0.5)?);
        places.f_maximum(&low)?.f_minimum(&high)
    };
    let y = places(0, 2, height)?.f_view([n, height, 1])?.f_expand([n, height, width], false)?;
    let x = places(1, 3, width)?.f_view([n, 1, width])?.f_expand([n, height, width], false)?;
    sampled(images, &x, &y, BILINEAR)
}

/// Images with a black square of `side` pixels around pixel (y, x), `f32 [2, n]`, as far as it lies inside.
pub(super) fn cutout(images: &Tensor, numbers: &Tensor, side: f64) -> Result<Tensor, TchError> {
    let (n, _, height, width) = images.size4()?;
    let options = (Kind::Float, images.device());
    let inside = |row: i64, length: i64, shape: [i64; 4]| {
        let first = numbers.f_select(0, row)?.f_sub_scalar((side / 2.0).floor())?.f_view([n, 1, 1, 1])?;
        let at = Tensor::f_arange(length, options)?.f_view(shape)?.f_sub(&first)?;
        at.f_ge(0)?.f_logical_and(&at.f_lt(side)?)
    };
    let square = inside(0, height, [1, 1, height, 1])?.f_logical_and(&inside(1, width, [1, 1, 1, width])?)?;
    images.f_masked_fill(&square, 0)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 11, width: 14 };

    fn images(n: i64) -> (Tensor, Vec<f32>) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(4).unwrap();
        let images = Tensor::randint(256, [n, 2, 11, 14], (Kind::Float, Device::Cpu));
        let values = Vec::try_from(images.flatten(0, 3)).unwrap();
        (images, values)
    }

    fn columns(rows: &[Vec<f64>]) -> Tensor {
        let (n, width) = (rows.len(), rows[0].len());
        let values: Vec<f32> = (0..width).flat_map(|at| rows.iter().map(move |row| row[at] as f32)).collect();
        Tensor::from_slice(&values).view([width as i64, n as i64])
    }

    fn at(values: &[f32], image: usize, channel: usize, y: i64, x: i64) -> f32 {
        let inside = (0..11).contains(&y) && (0..14).contains(&x);
        if inside { values[((image * 2 + channel) * 11 + y as usize) * 14 + x as usize] } else { 0.0 }
    }

    /// Every pixel of the result against a function of image, channel, row and column.
    fn compare(found: &Tensor, expected: impl Fn(usize, usize, usize, usize) -> Option<f32>) {
        let n = found.size()[0] as usize;
        let found = Vec::<f32>::try_from(found.contiguous().flatten(0, 3)).unwrap();
        for (place, found) in found.into_iter().enumerate() {
            let (x, y, channel, image) = (place % 14, place / 14 % 11, place / 154 % 2, place / 308);
            assert!(image < n);
            if let Some(expected) = expected(image, channel, y, x) {
                assert!((found - expected).abs() < 0.01, "{image} {channel} {y} {x}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn turned_pixels_come_from_the_nearest() {
        let (images, values) = images(4);
        let turns = [0.0, 0.3, -1.1, 3.0].map(|angle| rotation(angle, SHAPE).to_vec());
        let found = nearest(&images, &columns(&turns)).unwrap();
        assert_eq!(found.narrow(0, 0, 1), images.narrow(0, 0, 1), "a turn by nothing");
        compare(&found, |image, channel, y, x| {
            let angle = [0.0, 0.3, -1.1f64, 3.0][image];
            let (sin, cos) = angle.sin_cos();
            let (dx, dy) = (x as f64 - 6.5, y as f64 - 5.0);
            let (from_x, from_y) = (cos * dx - sin * dy + 6.5, sin * dx + cos * dy + 5.0);
            // Half way between two pixels rounding decides.
            let unclear = |v: f64| ((v - v.floor()) - 0.5).abs() < 1e-4;
            (!unclear(from_x) && !unclear(from_y))
                .then(|| at(&values, image, channel, from_y.round() as i64, from_x.round() as i64))
        });
    }

    #[test]
    fn parts_are_brought_to_full_size() {
        let (images, values) = images(3);
        let parts = [vec![0.0, 0.0, 11.0, 14.0], vec![3.0, 2.0, 4.0, 7.0], vec![10.0, 5.0, 1.0, 9.0]];
        let found = resized(&images, &columns(&parts)).unwrap();
        compare(&found, |image, channel, y, x| {
            let [top, left, height, width] = parts[image][..] else { return None };
            let place = |at: usize, first: f64, part: f64, side: f64| {
                ((at as f64 + 0.5) * part / side - 0.5).clamp(0.0, part - 1.0) + first
            };
            let (y, x) = (place(y, top, height, 11.0), place(x, left, width, 14.0));
            let pixel = |dy: i64, dx: i64| {
                let (y, x) = ((y.floor() as i64 + dy).min(10), (x.floor() as i64 + dx).min(13));
                f64::from(at(&values, image, channel, y, x))
            };
            let (fy, fx) = (y.fract(), x.fract());
            let upper = pixel(0, 0) * (1.0 - fx) + pixel(0, 1) * fx;
            let lower = pixel(1, 0) * (1.0 - fx) + pixel(1, 1) * fx;
            Some((upper * (1.0 - fy) + lower * fy) as f32)
        });
    }

    #[test]
    fn parts_keep_to_scale_and_ratio() {
        let shape = ImageShape { channels: 3, height: 64, width: 48 };
        let crop = ResizedCrop { scale: [0.2, 0.5], ratio: [0.5, 2.0] };
        let mut stream = Stream::new(5, 0);
        let mut tops = 0.0;
        for _ in 0..500 {
            let [top, left, height, width] = part(&mut stream, &crop, shape);
            assert!(top >= 0.0 && left >= 0.0 && top + height <= 64.0 && left + width <= 48.0);
            let (area, ratio) = (height * width / (64.0 * 48.0), width / height);
            assert!((0.17..=0.55).contains(&area) && (0.46..=2.2).contains(&ratio), "{area} {ratio}");
            tops += top;
        }
        assert!(tops > 0.0);
        // No part of such a ratio has the whole area: the largest in the middle.
        let narrow = ResizedCrop { scale: [1.0, 1.0], ratio: [0.25, 0.25] };
        assert_eq!(part(&mut stream, &narrow, shape), [0.0, 16.0, 64.0, 16.0]);
    }

    #[test]
    fn squares_are_black() {
        let (images, values) = images(2);
        let places = [vec![5.0, 6.0], vec![0.0, 13.0]];
        let found = cutout(&images, &columns(&places), 4.0).unwrap();
        compare(&found, |image, channel, y, x| {
            let (cy, cx) = (places[image][0] as i64, places[image][1] as i64);
            let inside = (cy - 2..cy + 2).contains(&(y as i64)) && (cx - 2..cx + 2).contains(&(x as i64));
            Some(if inside { 0.0 } else { at(&values, image, channel, y as i64, x as i64) })
        });
    }
}
