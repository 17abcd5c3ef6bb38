//! Mixing anchors into embeddings under a head of any form, which the host is asked for logits and gradients.

use querist_sdk::prelude::*;

use crate::mixing::{Anchors, Learning, Noise, dot, sq_distance};

/// The cap that is tried, and its number in the loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cap {
    pub(crate) number: u32,
    pub(crate) size: f64,
}

/// Samples of one block, and which of the pool's rows flip.
pub(crate) struct Block<'a> {
    query: &'a Query,
    flips: &'a mut [bool],
    open: Vec<Sample<'a>>,
}

/// A sample that no mixture has flipped so far.
#[derive(Debug, Clone, Copy)]
struct Sample<'a> {
    row: u32,
    predicted: u32,
    embedding: &'a [f32],
}

/// A sample with what its mixtures are made of: its gradient's direction, or the shares of the anchor.
struct Mixed<'a> {
    sample: Sample<'a>,
    by: Vec<f64>,
}

impl<'a> Block<'a> {
    /// The rows from `start` on that have not flipped, of logits `[n, classes]` and embeddings `[n, width]`.
    pub(crate) fn new(
        query: &'a Query,
        start: u32,
        (logits, embeddings): (&[f32], &'a [f32]),
        flips: &'a mut [bool],
    ) -> Self {
        let classes = query.classes() as usize;
        let width = (embeddings.len() * classes / logits.len().max(1)).max(1);
        let rows = (start..).zip(logits.chunks_exact(classes)).zip(embeddings.chunks_exact(width));
        let open = rows
            .filter(|((row, _), _)| !flips[*row as usize])
            .map(|((row, logits), embedding)| Sample { row, predicted: math::argmax(logits) as u32, embedding })
            .collect();
        Self { query, flips, open }
    }

    /// Mixes each anchor in along the gradient of the predicted class's loss, by `cap / sqrt(width)` times the distance
    /// to the anchor, but not in coordinates where anchor and embedding agree.
    pub(crate) fn along_gradients(&mut self, anchors: &Anchors, cap: Cap) -> Result<()> {
        if anchors.len() == 0 || self.open.is_empty() {
            return Ok(());
        }
        let mut mixed: Vec<Mixed<'_>> =
            self.open.iter().map(|sample| Mixed { sample: *sample, by: Vec::new() }).collect();
        let gradients = self.gradients(&mixed, |mixed, place| place.extend(mixed.sample.embedding))?;
        for (mixed, gradient) in mixed.iter_mut().zip(gradients) {
            let norm = dot(&gradient, &gradient).sqrt();
            // Without a gradient there is no direction to go in.
            mixed.by = if norm > 0.0 { gradient.iter().map(|g| g / norm).collect() } else { Vec::new() };
        }
        mixed.retain(|mixed| !mixed.by.is_empty());
        for number in 0..anchors.len() {
            let anchor = anchors.get(number);
            self.sift(&mut mixed, |Mixed { sample, by }, place| {
                let reach = sq_distance(anchor, sample.embedding).sqrt();
                let length = cap.size * reach / (anchor.len() as f64).sqrt();
                let coordinates = anchor.iter().zip(sample.embedding).zip(by);
                place.extend(
                    coordinates.map(|((a, z), by)| if a == z { *z } else { (f64::from(*z) + length * by) as f32 }),
                );
            })?;
        }
        Ok(())
    }

    /// Mixes each anchor in by random shares up to the cap, and by those learnt from them. `keys` has a number for each
    /// row of the pool.
    pub(crate) fn by_shares(&mut self, anchors: &Anchors, cap: Cap, keys: &[f64], learning: &Learning) -> Result<()> {
        for number in 0..anchors.len() {
            let anchor = anchors.get(number);
            let drawn = |sample: &Sample<'a>| {
                let mut noise = Noise::new(keys[sample.row as usize], number as u32, cap.number);
                Mixed { sample: *sample, by: noise.shares(anchor.len(), cap.size) }
            };
            let mix = |Mixed { sample, by }: &Mixed<'_>, place: &mut Vec<f32>| {
                let shares = sample.embedding.iter().zip(by);
                place.extend(
                    shares.zip(anchor).map(|((&z, by), &a)| (f64::from(z) + by * (f64::from(a) - f64::from(z))) as f32),
                );
            };
            let mut mixed: Vec<Mixed<'_>> = self.open.iter().map(drawn).collect();
            for step in 0..learning.steps {
                self.sift(&mut mixed, mix)?;
                if step + 1 == learning.steps || mixed.is_empty() {
                    break;
                }
                let gradients = self.gradients(&mixed, mix)?;
                for (Mixed { sample, by }, gradient) in mixed.iter_mut().zip(gradients) {
                    let towards: Vec<f64> =
                        anchor.iter().zip(sample.embedding).map(|(&a, &z)| f64::from(a) - f64::from(z)).collect();
                    learning.step(step, by, &gradient, &towards, cap.size);
                }
            }
        }
        Ok(())
    }

    /// Marks the samples that flip where `mix` puts them, and drops them here and from `mixed`.
    fn sift(&mut self, mixed: &mut Vec<Mixed<'_>>, mix: impl Fn(&Mixed<'_>, &mut Vec<f32>)) -> Result<()> {
        if mixed.is_empty() {
            return Ok(());
        }
        let logits = self.mixtures(mixed, mix)?.head_logits()?.read(0, mixed.len() as u32)?;
        let mut rows = logits.chunks_exact(self.query.classes() as usize);
        mixed.retain(|mixed| {
            let Sample { row, predicted, .. } = mixed.sample;
            let is_flip = rows.next().is_some_and(|logits| math::argmax(logits) as u32 != predicted);
            self.flips[row as usize] |= is_flip;
            !is_flip
        });
        self.open.retain(|sample| !self.flips[sample.row as usize]);
        Ok(())
    }

    /// Gradients of the predicted class's loss where `mix` puts the samples.
    fn gradients(&self, mixed: &[Mixed<'_>], mix: impl Fn(&Mixed<'_>, &mut Vec<f32>)) -> Result<Vec<Vec<f64>>> {
        let classes: Vec<u32> = mixed.iter().map(|mixed| mixed.sample.predicted).collect();
        let gradients = self.mixtures(mixed, mix)?.head_gradients(&classes)?;
        let width = gradients.shape()?.1.max(1) as usize;
        let values = gradients.read(0, mixed.len() as u32)?;
        Ok(values.chunks_exact(width).map(|row| row.iter().map(|&g| f64::from(g)).collect()).collect())
    }

    /// The rows that `mix` adds, one for each sample.
    fn mixtures(&self, mixed: &[Mixed<'_>], mix: impl Fn(&Mixed<'_>, &mut Vec<f32>)) -> Result<Matrix> {
        let width = mixed.first().map_or(0, |mixed| mixed.sample.embedding.len());
        let mut values = Vec::with_capacity(mixed.len() * width);
        mixed.iter().for_each(|mixed| mix(mixed, &mut values));
        self.query.new_matrix(mixed.len() as u32, width as u32, &values)
    }
}
