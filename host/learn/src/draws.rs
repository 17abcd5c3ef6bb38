//! Predictions with dropout on: draws from the model's approximate posterior.
//!
//! Only dropout is on; batch-norm keeps its running statistics, and they do not move. Masks come from named numbers of
//! each sample and draw, so a row's draws do not depend on which other rows are asked for. Coherent draws drop the same
//! units for every sample: each draw is then one network. Where dropout lies before the last layer alone, the rest runs
//! once.
//!
//! Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017.

use querist_core::{LearnError, SampleId};
use querist_protocol::philox::Stream;
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::infer::{BLOCK, fill};
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
    let _no_grad = tch::no_grad_guard();
    let width = draws.count * model.classes();
    let mut rows = scratch.rows(samples.len() * width)?;
    for (at, block) in samples.chunks(BLOCK).enumerate() {
        let ids = images.index(block.iter().copied())?;
        let masks = Masks { samples: block, draws, stream, device: images.device() };
        let drawn = draw_block(model, images, &ids, &masks).doing(DOING)?;
        fill(&mut rows, &(at * BLOCK..at * BLOCK + block.len()), width, &drawn).doing(DOING)?;
        done(block.len())?;
    }
    Ok(rows)
}

/// `[n, draws, classes]`.
fn draw_block(model: &Model, images: &ImageStore, ids: &Tensor, masks: &Masks<'_>) -> Result<Tensor, TchError> {
    let pictures = images.normalise(&images.gather(ids)?)?;
    let head = model.head();
    let fixed = match model.channel_dropout() {
        None => Some(model.penultimate(&model.embed(&pictures)?)?),
        Some(_) => None,
    };
    let mut drawn = Vec::with_capacity(masks.draws.count);
    for draw in 0..masks.draws.count {
        let inputs = match (&fixed, model.channel_dropout()) {
            (Some(inputs), _) => inputs.shallow_clone(),
            (None, inner) => {
                let (channels, share) = inner.unwrap_or_default();
                let mask = masks.of(draw, 1, channels, share)?.f_view([-1, channels, 1, 1])?;
                model.penultimate(&model.embed_masked(&pictures, mask)?)?
            }
        };
        let logits = match head.dropout() {
            0.0 => head.last(&inputs)?,
            share => head.last(&inputs.f_mul(&masks.of(draw, 0, head.last_width() as i64, share)?)?)?,
        };
        drawn.push(logits.f_log_softmax(1, Kind::Float)?);
    }
    Tensor::f_stack(&drawn, 1)?.f_contiguous()
}

/// Where the masks of one block come from.
struct Masks<'a> {
    samples: &'a [SampleId],
    draws: Draws,
    stream: Stream,
    device: Device,
}

impl Masks<'_> {
    /// The mask of one draw at one of the model's two sites, `f32 [n or 1, units]`: 0 for a dropped unit, else
    /// 1 / (1 - share).
    fn of(&self, draw: usize, site: u32, units: i64, share: f64) -> Result<Tensor, TchError> {
        let one = [SampleId(0)];
        let rows = if self.draws.coherent { &one[..] } else { self.samples };
        let kept = (1.0 / (1.0 - share)) as f32;
        // A 32-bit number below this drops a unit.
        let bound = (share * 2f64.powi(32)) as u32;
        let pairs = (units as u32).div_ceil(2);
        let mut mask = Vec::with_capacity(rows.len() * units as usize);
        for row in rows {
            for pair in 0..pairs {
                let bits = self.stream.item_bits(row.0, (draw as u32 * 2 + site) * pairs + pair);
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
