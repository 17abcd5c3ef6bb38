//! Predictions with dropout on: draws from the model's approximate posterior.
//!
//! Only dropout is on; batch-norm keeps its running statistics, and they do not move. Masks come from named numbers of
//! each sample and draw, so a row's draws do not depend on which other rows are asked for. Coherent draws drop the same
//! units for every sample: each draw is then one network. Where dropout lies before the last layer alone, the rest runs
//! once.
//!
//! Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017.

use std::ops::Range;

use querist_core::{LearnError, SampleId};
use querist_protocol::philox::Stream;
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::infer::{Blocks, Source, embedded, fill};
use crate::model::Model;
use crate::rows::{Rows, Scratch};

const DOING: &str = "predicting with dropout";

/// How many draws, and whether they drop the same units for every sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draws {
    pub(crate) count: usize,
    pub(crate) coherent: bool,
}

/// Draws at most; a request for more is a mistake.
pub(crate) const MOST_DRAWS: usize = 1000;

/// Log-probabilities by row, draw and class, `[samples, draws, classes]`.
pub(crate) fn log_probs(
    model: &Model,
    images: &ImageStore,
    samples: &[SampleId],
    draws: Draws,
    stream: Stream,
    scratch: &Scratch,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Rows, LearnError> {
    let width = draws.count * model.classes();
    let mut rows = scratch.rows(samples.len() * width)?;
    // What is dropped inside the body is dropped from its inputs on.
    let source = if model.drops().is_empty() { Source::of(model, images) } else { Source::pictures(images) };
    let is_embedded = source.is_embedded();
    let work = |model: &Model, inputs: Tensor, place: Range<usize>| {
        let _no_grad = tch::no_grad_guard();
        let masks = Masks { samples: &samples[place], draws, stream, device: inputs.device() };
        draw_block(model, inputs, is_embedded, &masks)
    };
    Blocks::of(model, images, samples).each(
        |ids| source.inputs(ids),
        work,
        |place, drawn| {
            fill(&mut rows, &place, width, &drawn).doing(DOING)?;
            done(place.len())
        },
    )?;
    Ok(rows)
}

/// What every draw starts from.
enum From {
    /// Inputs of the last layer, where nothing is dropped before it.
    Inputs(Tensor),
    /// Network inputs.
    Pictures(Tensor),
}

/// `[n, draws, classes]`.
fn draw_block(model: &Model, inputs: Tensor, is_embedded: bool, masks: &Masks<'_>) -> Result<Tensor, TchError> {
    let head = model.head();
    let from = match model.drops().is_empty() {
        true => From::Inputs(model.penultimate(&embedded(model, inputs, is_embedded)?)?),
        false => From::Pictures(inputs),
    };
    let sites = Sites::of(model);
    let mut drawn = Vec::with_capacity(masks.draws.count);
    for draw in 0..masks.draws.count {
        let inputs = match &from {
            From::Inputs(inputs) => inputs.shallow_clone(),
            From::Pictures(pictures) => {
                let inner = (1..).zip(model.drops()).map(|(site, drop)| {
                    let mask = masks.of(sites.first(draw, site), drop.units, drop.share)?;
                    if drop.channels { mask.f_view([-1, drop.units, 1, 1]) } else { Ok(mask) }
                });
                model.penultimate(&model.embed_masked(pictures, inner.collect::<Result<_, _>>()?)?)?
            }
        };
        let logits = match head.dropout() {
            0.0 => head.last(&inputs)?,
            share => head.last(&inputs.f_mul(&masks.of(sites.first(draw, 0), sites.units[0], share)?)?)?,
        };
        drawn.push(logits.f_log_softmax(1, Kind::Float)?);
    }
    Tensor::f_stack(&drawn, 1)?.f_contiguous()
}

/// The places where a model drops: before the last layer, then inside the body. They say which numbers a mask is made
/// of.
struct Sites {
    /// Units of each.
    units: Vec<i64>,
}

impl Sites {
    fn of(model: &Model) -> Self {
        let head = model.head().last_width() as i64;
        Self { units: std::iter::once(head).chain(model.drops().iter().map(|drop| drop.units)).collect() }
    }

    /// The first number of a mask; each is of two units.
    fn first(&self, draw: usize, site: usize) -> u32 {
        let pairs = |units: i64| (units as u32).div_ceil(2);
        let all: u32 = self.units.iter().copied().map(pairs).sum();
        draw as u32 * all + self.units[..site].iter().copied().map(pairs).sum::<u32>()
    }
}

/// Where the masks of one block come from.
struct Masks<'a> {
    samples: &'a [SampleId],
    draws: Draws,
    stream: Stream,
    device: Device,
}

impl Masks<'_> {
    /// The mask that starts with the number `first`, `f32 [n or 1, units]`: 0 for a dropped unit, else
    /// 1 / (1 - share).
    fn of(&self, first: u32, units: i64, share: f64) -> Result<Tensor, TchError> {
        let one = [SampleId(0)];
        let rows = if self.draws.coherent { &one[..] } else { self.samples };
        let kept = (1.0 / (1.0 - share)) as f32;
        // A 32-bit number below this drops a unit.
        let bound = (share * 2f64.powi(32)) as u32;
        let pairs = (units as u32).div_ceil(2);
        let mut mask = Vec::with_capacity(rows.len() * units as usize);
        for row in rows {
            for pair in 0..pairs {
                let bits = self.stream.item_bits(row.0, first + pair);
                let left = units as usize - 2 * pair as usize;
                mask.extend(
                    [bits as u32, (bits >> 32) as u32].iter().take(left).map(
                        |&word| {
                            if word < bound { 0.0 } else { kept }
                        },
                    ),
                );
            }
        }
        Tensor::f_from_slice(&mask)?.f_view([-1, units])?.f_to_device(self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks share no number, or what is dropped at one place would follow from what is dropped at another.
    #[test]
    fn sites_have_numbers_of_their_own() {
        for units in [vec![512], vec![50, 20], vec![128, 32, 63]] {
            let pairs: Vec<u32> = units.iter().map(|&units: &i64| (units as u32).div_ceil(2)).collect();
            let sites = Sites { units };
            let mut numbers: Vec<u32> = Vec::new();
            for (draw, site) in (0..4).flat_map(|draw| (0..pairs.len()).map(move |site| (draw, site))) {
                let first = sites.first(draw, site);
                numbers.extend(first..first + pairs[site]);
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..4 * pairs.iter().sum::<u32>()).collect::<Vec<u32>>());
        }
    }
}
