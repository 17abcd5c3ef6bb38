//! Changes chosen out of a list: Cubuk, Zoph, Shlens and Le, "RandAugment: Practical Automated Data Augmentation with a
//! Reduced Search Space", NeurIPS 2020 (arXiv 1909.13719). List, strengths and signs are torchvision's.

use std::ops::Range;

use querist_core::config::RandAugment;
use querist_protocol::philox::Stream;
use tch::{Device, Kind, TchError, Tensor};

use super::{Drawn, Rows, colour, warp};
use crate::model::ImageShape;

/// The list, in torchvision's order.
const LIST: [Op; 14] = [
    Op::Identity,
    Op::ShearX,
    Op::ShearY,
    Op::TranslateX,
    Op::TranslateY,
    Op::Rotate,
    Op::Brightness,
    Op::Colour,
    Op::Contrast,
    Op::Sharpness,
    Op::Posterise,
    Op::Solarise,
    Op::AutoContrast,
    Op::Equalise,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Colour,
    Contrast,
    Sharpness,
    Posterise,
    Solarise,
    AutoContrast,
    Equalise,
}

/// Strengths from 0 to 30.
const STRONGEST: f64 = 30.0;
/// Numbers of each choice: those of a warp, or a factor first.
const NUMBERS: usize = warp::NUMBERS;

/// Some changes of each image, one after the other.
pub(super) struct Choices {
    steps: usize,
    /// Share of the strongest.
    strength: f64,
    shape: ImageShape,
}

impl Choices {
    pub(super) fn new(settings: RandAugment, shape: ImageShape) -> Self {
        let strength = f64::from(settings.magnitude) / STRONGEST;
        Self { steps: settings.changes as usize, strength, shape }
    }

    /// Choices of each image.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Numbers of each image.
    pub(super) fn width(&self) -> usize {
        self.steps * NUMBERS
    }

    pub(super) fn draw(&self, stream: &mut Stream, image: usize, rows: &mut Rows, steps: &mut [Vec<u8>]) {
        for (step, chosen) in steps.iter_mut().enumerate() {
            let choice = stream.next_below(LIST.len() as u64) as usize;
            let sign = if stream.next_below(2) == 0 { 1.0 } else { -1.0 };
            chosen[image] = choice as u8;
            rows.set(step * NUMBERS, image, &self.numbers(LIST[choice], sign));
        }
    }

    /// What a choice comes to.
    fn numbers(&self, op: Op, sign: f64) -> [f64; NUMBERS] {
        let ImageShape { height, width, .. } = self.shape;
        let by = |most: f64| sign * most * self.strength;
        // As PIL moves pixels: by whole ones.
        let pixels = |side: i64| by(150.0 / 331.0 * side as f64).trunc();
        match op {
            Op::ShearX => [1.0, by(0.3), 0.0, 0.0, 1.0, 0.0],
            Op::ShearY => [1.0, 0.0, 0.0, by(0.3), 1.0, 0.0],
            Op::TranslateX => [1.0, 0.0, pixels(width), 0.0, 1.0, 0.0],
            Op::TranslateY => [1.0, 0.0, 0.0, 0.0, 1.0, pixels(height)],
            Op::Rotate => warp::rotation(by(30.0).to_radians(), self.shape),
            _ => [1.0 + by(0.9), 0.0, 0.0, 0.0, 0.0, 0.0],
        }
    }

    /// The images, changed; images with one choice are changed together.
    pub(super) fn apply(&self, images: &Tensor, numbers: &Tensor, drawn: &Drawn<'_>) -> Result<Tensor, TchError> {
        let Drawn { chosen, of, places: sent } = drawn;
        let mut images = images.shallow_clone();
        for (step, chosen) in chosen.iter().enumerate() {
            let numbers = numbers.f_narrow(0, (step * NUMBERS) as i64, NUMBERS as i64)?;
            let chosen = &chosen[of.clone()];
            let places = match sent {
                Some(sent) => sent[step].f_narrow(1, of.start as i64, of.len() as i64)?,
                None => on(&places(chosen), images.device())?,
            };
            images = self.step(&images, &numbers, chosen, &places)?;
        }
        Ok(images)
    }

    fn step(&self, images: &Tensor, numbers: &Tensor, chosen: &[u8], places: &Tensor) -> Result<Tensor, TchError> {
        let (order, back) = (places.f_select(0, 0)?, places.f_select(0, 1)?);
        let (sorted, numbers) = (images.f_index_select(0, &order)?, numbers.f_index_select(1, &order)?);
        let mut changed = Vec::new();
        let mut start = 0;
        let mut groups: Vec<u8> = chosen.iter().map(|&choice| group(choice)).collect();
        groups.sort_unstable();
        for run in groups.chunk_by(|a, b| a == b) {
            let len = run.len() as i64;
            let (part, numbers) = (sorted.f_narrow(0, start, len)?, numbers.f_narrow(1, start, len)?);
            changed.push(self.change(LIST[usize::from(run[0])], &part, &numbers)?);
            start += len;
        }
        Tensor::f_cat(&changed, 0)?.f_index_select(0, &back)
    }

    fn change(&self, op: Op, images: &Tensor, numbers: &Tensor) -> Result<Tensor, TchError> {
        let factor = numbers.f_select(0, 0)?;
        match op {
            Op::Identity => Ok(images.shallow_clone()),
            Op::ShearX | Op::ShearY | Op::TranslateX | Op::TranslateY | Op::Rotate => warp::nearest(images, numbers),
            Op::Brightness => colour::brightness(images, &factor),
            Op::Colour => colour::saturation(images, &factor),
            Op::Contrast => colour::contrast(images, &factor),
            Op::Sharpness => colour::sharpness(images, &factor),
            Op::Posterise => colour::posterise(images, 8 - (4.0 * self.strength).round_ties_even() as u32),
            Op::Solarise => colour::solarise(images, 255.0 * (1.0 - self.strength)),
            Op::AutoContrast => colour::auto_contrast(images),
            Op::Equalise => colour::equalise(&images.f_to_kind(Kind::Float)?),
        }
    }
}

/// The images of a minibatch by choice, and where each is among them.
fn places(chosen: &[u8]) -> [Vec<i64>; 2] {
    let mut order: Vec<i64> = (0..chosen.len() as i64).collect();
    order.sort_by_key(|&image| (group(chosen[image as usize]), image));
    let mut back = vec![0; order.len()];
    for (place, &image) in order.iter().enumerate() {
        back[image as usize] = place as i64;
    }
    [order, back]
}

/// Those of minibatches that follow each other from the first image on, `i64 [2, images]` on the device, one for each
/// step.
pub(super) fn places_of(chosen: &[Vec<u8>], of: &[Range<usize>], device: Device) -> Result<Vec<Tensor>, TchError> {
    let step = |chosen: &Vec<u8>| {
        let mut all = [Vec::with_capacity(chosen.len()), Vec::with_capacity(chosen.len())];
        for part in of {
            let found = places(&chosen[part.clone()]);
            all.iter_mut().zip(found).for_each(|(all, found)| all.extend(found));
        }
        on(&all, device)
    };
    chosen.iter().map(step).collect()
}

fn on(places: &[Vec<i64>; 2], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(&places.concat())?.f_view([2, places[0].len() as i64])?.f_to_device(device)
}

/// Choices of one group are changed by one call: all warps are.
fn group(choice: u8) -> u8 {
    const FIRST: u8 = Op::ShearX as u8;
    const LAST: u8 = Op::Rotate as u8;
    if (FIRST..=LAST).contains(&choice) { FIRST } else { choice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 3, height: 20, width: 20 };

    fn choices(magnitude: u32) -> Choices {
        Choices::new(RandAugment { changes: 1, magnitude }, SHAPE)
    }

    fn images(n: i64) -> Tensor {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(9).unwrap();
        Tensor::randint(256, [n, 3, 20, 20], (Kind::Float, Device::Cpu))
    }

    /// One choice for every image.
    fn all(choices: &Choices, op: Op, sign: f64, images: &Tensor) -> Tensor {
        let n = images.size()[0] as usize;
        let mut rows = Rows::new(NUMBERS, n);
        (0..n).for_each(|image| rows.set(0, image, &choices.numbers(op, sign)));
        let place = LIST.iter().position(|other| *other == op).unwrap() as u8;
        let drawn = Drawn { chosen: &[vec![place; n]], of: 0..n, places: None };
        choices.apply(images, &rows.on(Device::Cpu).unwrap(), &drawn).unwrap()
    }

    #[test]
    fn translations_move_whole_pixels() {
        let x = images(2);
        // 150 / 331 of 20 is 9.06; a third of that is 3.02.
        let moved = all(&choices(10), Op::TranslateX, 1.0, &x);
        assert_eq!(moved.narrow(3, 0, 17), x.narrow(3, 3, 17));
        assert_eq!(moved.narrow(3, 17, 3).abs().max().double_value(&[]), 0.0);
        let moved = all(&choices(10), Op::TranslateY, -1.0, &x);
        assert_eq!(moved.narrow(2, 3, 17), x.narrow(2, 0, 17));
    }

    #[test]
    fn shears_move_rows_by_their_height() {
        let x = images(1);
        let sheared = all(&choices(30), Op::ShearX, 1.0, &x);
        for row in 0..20i64 {
            let by = (0.3 * (row as f64 + 0.5) + 0.5).floor() as i64;
            let (found, expected) = (sheared.narrow(2, row, 1), x.narrow(2, row, 1));
            assert_eq!(found.narrow(3, 0, 20 - by), expected.narrow(3, by, 20 - by), "row {row}");
        }
    }

    #[test]
    fn weakest_choices_change_nothing() {
        let x = images(2);
        for op in LIST {
            let same = matches!(op, Op::AutoContrast | Op::Equalise);
            let found = all(&choices(0), op, 1.0, &x);
            // What is white is inverted by the weakest solarisation already.
            let off = (&found - &x).abs() * x.lt(255.0);
            assert!(same || off.max().double_value(&[]) < 1e-3, "{op:?}");
        }
    }

    #[test]
    fn strengths_are_those_of_the_list() {
        let nine = choices(9);
        assert_eq!(nine.numbers(Op::Brightness, -1.0)[0], 1.0 - 0.27);
        assert!((nine.numbers(Op::ShearY, 1.0)[3] - 0.09).abs() < 1e-12);
        let x = images(1);
        assert_eq!(all(&nine, Op::Posterise, 1.0, &x), colour::posterise(&x, 7).unwrap());
        assert_eq!(all(&nine, Op::Solarise, 1.0, &x), colour::solarise(&x, 178.5).unwrap());
    }

    /// Each choice comes up, with both signs.
    #[test]
    fn every_choice_is_drawn() {
        let choices = choices(9);
        let (mut rows, mut steps) = (Rows::new(NUMBERS, 400), vec![vec![0; 400]]);
        let mut stream = Stream::new(1, 0);
        (0..400).for_each(|image| choices.draw(&mut stream, image, &mut rows, &mut steps));
        let mut seen = steps[0].clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), LIST.len());
        let factors: Vec<f32> = (0..400).filter(|&at| steps[0][at] == 6).map(|at| rows.values[at]).collect();
        assert!(factors.contains(&1.27) && factors.contains(&0.73), "{factors:?}");
    }
}
