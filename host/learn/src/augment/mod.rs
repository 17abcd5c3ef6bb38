//! Random changes of training images, for a whole minibatch at once, on the device.
//!
//! What happens to each image is drawn on the host, for a whole epoch, from the run's own random numbers.

mod choices;
mod colour;
mod mixup;
mod moves;
mod warp;

use std::ops::Range;

use querist_core::config::{Augmentation, Jitter};
use querist_protocol::philox::Stream;
use tch::{Device, Kind, TchError, Tensor};

use crate::model::ImageShape;
use choices::Choices;
pub(crate) use mixup::Mixed;
use moves::Moves;

/// Makes the changes of a recipe.
pub(crate) struct Augmenter {
    /// Crops and mirror images, which come first.
    moves: Option<Moves>,
    /// The others, in their order.
    changes: Vec<Change>,
    mixup: Option<f64>,
    shape: ImageShape,
    device: Device,
}

/// One change beside crops and mirror images.
enum Change {
    Rotate(f64),
    ResizedCrop(querist_core::config::ResizedCrop),
    Jitter(Jitter),
    Cutout(f64),
    Choices(Choices),
}

/// Minibatches, and of each change the places of their images in each step.
type Shares = (Vec<Range<usize>>, Vec<Vec<Tensor>>);

/// What happens to each image of an epoch.
pub(crate) struct Draws {
    /// `i64 [3, images]`; see [`Moves::draw`].
    moves: Option<Tensor>,
    /// Of each change, `f32 [numbers, images]` on the device.
    numbers: Vec<Tensor>,
    /// Of each change, what is chosen for each image in each step.
    chosen: Vec<Vec<Vec<u8>>>,
    /// Minibatches that were shared out, and of each change the places of their images in each step.
    shared: Option<Shares>,
    /// Shares of the images themselves in their mixtures, `f32 [images]`.
    shares: Option<Tensor>,
}

impl Augmenter {
    /// `None` where nothing is to be changed.
    pub(crate) fn new(
        augmentations: &[Augmentation],
        shape: ImageShape,
        device: Device,
    ) -> Result<Option<Self>, TchError> {
        if augmentations.is_empty() {
            return Ok(None);
        }
        let mut mixup = None;
        let mut changes = Vec::new();
        for augmentation in augmentations {
            changes.push(match *augmentation {
                Augmentation::Crop | Augmentation::Flip => continue,
                Augmentation::Mixup(alpha) => {
                    mixup = Some(alpha);
                    continue;
                }
                Augmentation::Rotate(degrees) => Change::Rotate(degrees),
                Augmentation::ResizedCrop(crop) => Change::ResizedCrop(crop),
                Augmentation::Jitter(jitter) => Change::Jitter(jitter),
                Augmentation::Cutout(side) => Change::Cutout(side.into()),
                Augmentation::RandAugment(settings) => Change::Choices(Choices::new(settings, shape)),
            });
        }
        let moves = Moves::new(augmentations, shape, device)?;
        Ok(Some(Self { moves, changes, mixup, shape, device }))
    }

    /// Draws for `n` images, in their order.
    pub(crate) fn draw(&self, stream: &mut Stream, n: usize) -> Result<Draws, TchError> {
        let moves = self.moves.as_ref().map(|moves| moves.draw(stream, n)).transpose()?;
        let (mut numbers, mut chosen) = (Vec::new(), Vec::new());
        for change in &self.changes {
            let mut rows = Rows::new(change.width(), n);
            let mut steps = vec![vec![0; n]; change.steps()];
            for image in 0..n {
                change.draw(stream, self.shape, image, &mut rows, &mut steps);
            }
            numbers.push(rows.on(self.device)?);
            chosen.push(steps);
        }
        let shares = match self.mixup {
            None => None,
            Some(alpha) => {
                let shares: Vec<f32> = (0..n).map(|_| mixup::share(stream, alpha) as f32).collect();
                Some(Tensor::f_from_slice(&shares)?.f_to_device(self.device)?)
            }
        };
        Ok(Draws { moves, numbers, chosen, shared: None, shares })
    }

    /// The images `of` the epoch, changed. `values` is `[n, channels, height, width]` on the scale of bytes, of any
    /// type; so is the result, as bytes or as `f32`.
    pub(crate) fn apply(&self, values: &Tensor, draws: &Draws, of: Range<usize>) -> Result<Tensor, TchError> {
        let _no_grad = tch::no_grad_guard();
        let mut images = match (&self.moves, &draws.moves) {
            (Some(moves), Some(drawn)) => moves.apply(values, &drawn.f_narrow(1, of.start as i64, of.len() as i64)?)?,
            _ => values.shallow_clone(),
        };
        let shared = draws.shared.as_ref().filter(|(parts, _)| parts.contains(&of)).map(|(_, places)| places);
        for (at, change) in self.changes.iter().enumerate() {
            let numbers = draws.numbers[at].f_narrow(1, of.start as i64, of.len() as i64)?;
            let drawn =
                Drawn { chosen: &draws.chosen[at], of: of.clone(), places: shared.map(|places| &places[at][..]) };
            images = change.apply(&images.f_to_kind(Kind::Float)?, &numbers, &drawn)?;
        }
        Ok(images)
    }
}

/// What was chosen for the images of an epoch in each step, and which of them are changed now.
struct Drawn<'a> {
    chosen: &'a [Vec<u8>],
    of: Range<usize>,
    /// Their places by choice in each step, on the device, where they were sent before.
    places: Option<&'a [Tensor]>,
}

impl Draws {
    /// Prepares minibatches that follow each other from the first image on, all in one go: what is sent to a device in
    /// the middle of an epoch makes the host wait for it.
    pub(crate) fn share_out(&mut self, minibatches: &[Range<usize>], device: Device) -> Result<(), TchError> {
        let of_change = |chosen: &Vec<Vec<u8>>| choices::places_of(chosen, minibatches, device);
        let places = self.chosen.iter().map(of_change).collect::<Result<_, _>>()?;
        self.shared = Some((minibatches.to_vec(), places));
        Ok(())
    }

    /// With what the images `of` the epoch are mixed, where they are.
    pub(crate) fn mixed(&self, of: Range<usize>) -> Result<Option<Mixed>, TchError> {
        let Some(shares) = &self.shares else { return Ok(None) };
        shares.f_narrow(0, of.start as i64, of.len() as i64).map(|shares| Some(Mixed::new(shares)))
    }
}

impl Change {
    /// Numbers of each image.
    fn width(&self) -> usize {
        match self {
            Self::Rotate(_) => warp::NUMBERS,
            Self::ResizedCrop(_) | Self::Jitter(_) => 4,
            Self::Cutout(_) => 2,
            Self::Choices(choices) => choices.width(),
        }
    }

    /// Choices of each image.
    fn steps(&self) -> usize {
        match self {
            Self::Choices(choices) => choices.steps(),
            _ => 0,
        }
    }

    fn draw(&self, stream: &mut Stream, shape: ImageShape, image: usize, rows: &mut Rows, steps: &mut [Vec<u8>]) {
        match self {
            Self::Rotate(degrees) => {
                let angle = between(stream, -degrees, *degrees).to_radians();
                rows.set(0, image, &warp::rotation(angle, shape));
            }
            Self::ResizedCrop(crop) => rows.set(0, image, &warp::part(stream, crop, shape)),
            Self::Jitter(jitter) => rows.set(0, image, &colour::draw(stream, jitter)),
            Self::Cutout(_) => {
                let place = |stream: &mut Stream, side: i64| stream.next_below(side as u64) as f64;
                let (y, x) = (place(stream, shape.height), place(stream, shape.width));
                rows.set(0, image, &[y, x]);
            }
            Self::Choices(choices) => choices.draw(stream, image, rows, steps),
        }
    }

    fn apply(&self, images: &Tensor, numbers: &Tensor, drawn: &Drawn<'_>) -> Result<Tensor, TchError> {
        match self {
            Self::Rotate(_) => warp::nearest(images, numbers),
            Self::ResizedCrop(_) => warp::resized(images, numbers),
            Self::Jitter(jitter) => colour::jitter(images, numbers, jitter),
            Self::Cutout(side) => warp::cutout(images, numbers, *side),
            Self::Choices(choices) => choices.apply(images, numbers, drawn),
        }
    }
}

/// Numbers of images, drawn one image after the other, laid out one number after the other.
struct Rows {
    values: Vec<f32>,
    images: usize,
}

impl Rows {
    fn new(width: usize, images: usize) -> Self {
        Self { values: vec![0.0; width * images], images }
    }

    /// Sets numbers of an image from number `first` on.
    fn set(&mut self, first: usize, image: usize, numbers: &[f64]) {
        for (at, &number) in numbers.iter().enumerate() {
            self.values[(first + at) * self.images + image] = number as f32;
        }
    }

    fn on(&self, device: Device) -> Result<Tensor, TchError> {
        let width = self.values.len().checked_div(self.images).unwrap_or(0) as i64;
        Tensor::f_from_slice(&self.values)?.f_view([width, self.images as i64])?.f_to_device(device)
    }
}

/// A number between two.
fn between(stream: &mut Stream, low: f64, high: f64) -> f64 {
    low + (high - low) * stream.next_uniform()
}

#[cfg(test)]
mod tests {
    use querist_core::config::{RandAugment, ResizedCrop};

    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 16, width: 24 };

    fn images(n: i64) -> Tensor {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(4).unwrap();
        Tensor::randint(256, [n, 3, 16, 24], (Kind::Uint8, Device::Cpu))
    }

    /// Whatever follows draws after them, so crops and flips stay what they are in older runs.
    #[test]
    fn other_changes_leave_crops_and_flips_alone() {
        let x = images(10);
        let both = [Augmentation::Crop, Augmentation::Flip];
        let plain = Augmenter::new(&both, SHAPE, Device::Cpu).unwrap().unwrap();
        let draws = plain.draw(&mut Stream::new(3, 0), 10).unwrap();
        let moved = plain.apply(&x, &draws, 0..10).unwrap();
        assert_eq!(moved.kind(), Kind::Uint8, "bytes stay bytes");
        let more = [Augmentation::Rotate(0.0), Augmentation::Flip, Augmentation::Crop];
        let more = Augmenter::new(&more, SHAPE, Device::Cpu).unwrap().unwrap();
        let draws = more.draw(&mut Stream::new(3, 0), 10).unwrap();
        assert_eq!(more.apply(&x, &draws, 0..10).unwrap(), moved.to_kind(Kind::Float));
    }

    /// Every change on every image alone is what it is in a minibatch.
    #[test]
    fn minibatches_are_images_one_by_one() {
        let x = images(30);
        for augmentation in [
            Augmentation::Rotate(20.0),
            Augmentation::ResizedCrop(ResizedCrop::default()),
            Augmentation::Jitter(Jitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
            Augmentation::Cutout(5),
            Augmentation::RandAugment(RandAugment { changes: 2, magnitude: 9 }),
        ] {
            let augmenter = Augmenter::new(&[augmentation], SHAPE, Device::Cpu).unwrap().unwrap();
            let draws = augmenter.draw(&mut Stream::new(8, 0), 30).unwrap();
            let whole = augmenter.apply(&x, &draws, 0..30).unwrap();
            let name = augmentation.name();
            assert_eq!(whole.size(), x.size(), "{name}");
            assert!(whole.min().double_value(&[]) >= 0.0 && whole.max().double_value(&[]) <= 255.001, "{name}");
            assert_ne!(whole, x.to_kind(Kind::Float), "{name} changes nothing");
            for image in 0..30 {
                let one = augmenter.apply(&x.narrow(0, image as i64, 1), &draws, image..image + 1).unwrap();
                let off = (one - whole.narrow(0, image as i64, 1)).abs().max().double_value(&[]);
                assert!(off < 1e-3, "{name}, image {image}: off by {off}");
            }
        }
    }

    /// Prepared for an epoch in one go or not, minibatches are the same bits.
    #[test]
    fn shared_out_minibatches_are_what_they_were() {
        let x = images(30);
        let random = [Augmentation::Flip, Augmentation::RandAugment(RandAugment { changes: 2, magnitude: 9 })];
        let augmenter = Augmenter::new(&random, SHAPE, Device::Cpu).unwrap().unwrap();
        let mut draws = augmenter.draw(&mut Stream::new(8, 0), 30).unwrap();
        let parts = [0..7, 7..19, 19..30];
        let apply = |draws: &Draws, of: &Range<usize>| {
            augmenter.apply(&x.narrow(0, of.start as i64, of.len() as i64), draws, of.clone()).unwrap()
        };
        let before = parts.each_ref().map(|of| apply(&draws, of));
        draws.share_out(&parts, Device::Cpu).unwrap();
        assert_eq!(parts.each_ref().map(|of| apply(&draws, of)), before);
        let off = (apply(&draws, &(0..19)) - Tensor::cat(&before[..2], 0)).abs().max().double_value(&[]);
        assert!(off < 1e-3, "others than those, too: off by {off}");
    }

    #[test]
    fn nothing_to_change_is_no_augmenter() {
        assert!(Augmenter::new(&[], SHAPE, Device::Cpu).unwrap().is_none());
    }
}
