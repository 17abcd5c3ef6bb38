//! Random crops and mirror images.

use querist_core::config::Augmentation;
use querist_protocol::philox::Stream;
use tch::{Device, Kind, TchError, Tensor};

use crate::model::ImageShape;

/// What is drawn for each image, and the tensors that turn draws into pixel positions.
pub(super) struct Moves {
    crop: bool,
    flip: bool,
    shape: ImageShape,
    pad_y: i64,
    pad_x: i64,
    /// `i64 [1, height, 1]`: positions of the rows in the padded image, taken as one line.
    rows: Tensor,
    /// `i64 [1, 1, width]`: 0, 1, ...
    columns: Tensor,
    /// `i64 [1, 1, width]`: what mirroring adds to a column.
    mirror: Tensor,
}

impl Moves {
    /// `None` where nothing is to be changed.
    pub(super) fn new(
        augmentations: &[Augmentation],
        shape: ImageShape,
        device: Device,
    ) -> Result<Option<Self>, TchError> {
        let (crop, flip) = (augmentations.contains(&Augmentation::Crop), augmentations.contains(&Augmentation::Flip));
        if !crop && !flip {
            return Ok(None);
        }
        let ImageShape { height, width, .. } = shape;
        let (pad_y, pad_x) = if crop { (height / 8, width / 8) } else { (0, 0) };
        let columns = Tensor::f_arange(width, (Kind::Int64, device))?.f_view([1, 1, width])?;
        let mirror = columns.f_mul_scalar(-2)?.f_add_scalar(width - 1)?;
        let rows =
            Tensor::f_arange(height, (Kind::Int64, device))?.f_mul_scalar(width + 2 * pad_x)?.f_view([1, height, 1])?;
        Ok(Some(Self { crop, flip, shape, pad_y, pad_x, rows, columns, mirror }))
    }

    /// Draws for `n` images, in their order: `i64 [3, n]` of row offsets, column offsets and mirror flags.
    pub(super) fn draw(&self, stream: &mut Stream, n: usize) -> Result<Tensor, TchError> {
        let mut moves = vec![0i64; 3 * n];
        for image in 0..n {
            if self.crop {
                moves[image] = below(stream, 2 * self.pad_y + 1);
                moves[n + image] = below(stream, 2 * self.pad_x + 1);
            }
            if self.flip {
                moves[2 * n + image] = below(stream, 2);
            }
        }
        Tensor::f_from_slice(&moves)?.f_view([3, n as i64])?.f_to_device(self.rows.device())
    }

    /// Cuts each image out of its zero-padded self at its offsets, and mirrors the flagged ones left to right.
    ///
    /// `bytes` is `[n, channels, height, width]` of any type, `moves` is `i64 [3, n]`; the result has the shape of
    /// `bytes`.
    pub(super) fn apply(&self, bytes: &Tensor, moves: &Tensor) -> Result<Tensor, TchError> {
        let ImageShape { channels, height, width } = self.shape;
        let n = moves.size2()?.1;
        let of_image = |row| moves.f_select(0, row)?.f_view([n, 1, 1]);
        // Position in the padded image = (row + dy) (width + 2 pad) + column + dx, the column mirrored or not.
        let row_offsets = of_image(0)?.f_mul_scalar(width + 2 * self.pad_x)?;
        let columns = of_image(2)?.f_mul(&self.mirror)?.f_add_(&self.columns)?.f_add_(&of_image(1)?)?;
        let positions = self.rows.f_add(&row_offsets)?.f_add(&columns)?;
        let positions = positions.f_view([n, 1, height * width])?.f_expand([n, channels, height * width], false)?;
        let padded = bytes.f_constant_pad_nd([self.pad_x, self.pad_x, self.pad_y, self.pad_y])?;
        padded.f_flatten(2, 3)?.f_gather(2, &positions, false)?.f_view([n, channels, height, width])
    }
}

fn below(stream: &mut Stream, bound: i64) -> i64 {
    // The bound is at least 1 and the number below it, so both casts are exact.
    stream.next_below(bound as u64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(tensor: &Tensor) -> Vec<u8> {
        let mut bytes = vec![0; tensor.numel()];
        tensor.copy_data(&mut bytes, tensor.numel());
        bytes
    }

    /// One pixel at a time, from the definition.
    fn reference(image: &[u8], shape: ImageShape, dy: i64, dx: i64, flip: bool, pads: (i64, i64)) -> Vec<u8> {
        let ImageShape { channels, height, width } = shape;
        let mut out = Vec::new();
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let (sy, sx) = (y + dy - pads.0, if flip { width - 1 - x } else { x } + dx - pads.1);
                    let inside = (0..height).contains(&sy) && (0..width).contains(&sx);
                    out.push(if inside { image[((c * height + sy) * width + sx) as usize] } else { 0 });
                }
            }
        }
        out
    }

    #[test]
    fn crops_and_flips_move_every_pixel_as_defined() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let shape = ImageShape { channels: 3, height: 16, width: 24 };
        let (n, len) = (40usize, 3 * 16 * 24);
        let mut stream = Stream::new(3, 0);
        let images: Vec<u8> = (0..n * len).map(|_| 1 + (stream.next_below(255) as u8)).collect();
        let bytes = Tensor::from_slice(&images).view([n as i64, 3, 16, 24]);
        for (augmentations, pads) in [
            (&[Augmentation::Crop, Augmentation::Flip][..], (2, 3)),
            (&[Augmentation::Crop], (2, 3)),
            (&[Augmentation::Flip], (0, 0)),
        ] {
            let augmenter = Moves::new(augmentations, shape, Device::Cpu).unwrap().unwrap();
            let moves = augmenter.draw(&mut stream, n).unwrap();
            let moved = bytes_of(&augmenter.apply(&bytes, &moves).unwrap());
            let draws = Vec::<i64>::try_from(moves.flatten(0, 1)).unwrap();
            for (i, image) in images.chunks(len).enumerate() {
                let (dy, dx, flip) = (draws[i], draws[n + i], draws[2 * n + i] == 1);
                assert_eq!(moved[i * len..(i + 1) * len], reference(image, shape, dy, dx, flip, pads), "image {i}");
            }
            // Every offset and both sides come up: 40 draws miss one of 7 with a chance below 2 %, and the stream is
            // fixed.
            let seen = |row: usize| {
                let mut values = draws[row * n..(row + 1) * n].to_vec();
                values.sort_unstable();
                values.dedup();
                values.len() as i64
            };
            let flips = if augmentations.contains(&Augmentation::Flip) { 2 } else { 1 };
            assert_eq!([seen(0), seen(1), seen(2)], [2 * pads.0 + 1, 2 * pads.1 + 1, flips]);
        }
    }

    #[test]
    fn nothing_to_move_is_none() {
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        assert!(Moves::new(&[], shape, Device::Cpu).unwrap().is_none());
    }
}
