//! The training of both networks over the images of a round, and what they say of the pool.

use std::cell::RefCell;

use querist_sdk_torch::prelude::*;

use crate::game::{Batch, Game, Rules};
use crate::network::Shape;
use crate::params::TrainTransform;

/// What the networks are told of images `[n, channels, height, width]`.
pub(crate) type Tell<'a> = &'a dyn Fn(Tensor) -> Result<Batch>;

/// A training to be run.
pub(crate) struct Duel {
    pub(crate) rules: Rules,
    /// Longest side of the images that the autoencoder sees.
    pub(crate) longest_side: u32,
    /// Images of a batch of each kind.
    pub(crate) batch: u32,
    pub(crate) iterations: u64,
    /// Updates of autoencoder and discriminator in an iteration.
    pub(crate) steps: [u32; 2],
    pub(crate) transform: TrainTransform,
}

/// The whole pool where all of it is wanted.
///
/// # Errors
/// If there is something to choose, but too little to tell it from.
pub(crate) fn nothing_to_choose(round: &Round, query: &Query) -> Result<Option<Selection>> {
    if query.wanted() == query.rows() {
        return Ok(Some(Selection { rows: (0..query.rows()).collect(), ..Selection::default() }));
    }
    match round.task().labelled {
        0 | 1 => Err(Error::failed("2 labelled samples or more are needed to tell the pool from")),
        _ => Ok(None),
    }
}

impl Duel {
    /// Trains fresh networks on labelled images and on these rows of the pool. For each row the discriminator's certainty
    /// that it is unlabelled, as log-odds.
    pub(crate) fn fight(self, round: &Round, rows: &[u32], tell: Tell<'_>) -> Result<Vec<f64>> {
        let task = round.task();
        let mut game = Game::new(self.rules.clone(), Shape::of(task, self.longest_side), task.device)?;
        self.train(round, rows, &mut game, tell)?;
        self.score(round, rows, &game, tell)
    }

    fn train(&self, round: &Round, rows: &[u32], game: &mut Game, tell: Tell<'_>) -> Result<()> {
        let labelled = self.stream(round, Of::Labelled, "labelled")?;
        let unlabelled = self.stream(round, Of::Rows(rows), "unlabelled")?;
        let pair = || -> Result<[Batch; 2]> { Ok([next(&labelled, round, tell)?, next(&unlabelled, round, tell)?]) };
        let pace = RefCell::new(Pace::new("iterations", "a lower `iterations` or `epochs`", self.iterations));
        for iteration in 0..self.iterations {
            // Asked between passes, the longest stretches of work, so that the user need not wait for an iteration.
            let go_on = || pace.borrow_mut().report(round, iteration);
            let mut batches = pair()?;
            let mut losses = [None, None];
            for step in 0..self.steps[0] {
                if step > 0 {
                    batches = pair()?;
                }
                losses[0] = Some(game.step_autoencoder(&batches, &go_on)?);
            }
            for _ in 0..self.steps[1] {
                losses[1] = Some(game.step_discriminator(&batches, &go_on)?);
            }
            if iteration + 1 == self.iterations {
                // Networks that diverged end here: a figure must be finite.
                for (loss, name) in losses.iter().flatten().zip(["autoencoder_loss", "discriminator_loss"]) {
                    round.log_metric(name, loss.f_double_value(&[])?)?;
                }
            }
        }
        round.progress(self.iterations, self.iterations)?;
        labelled.close(round)?;
        unlabelled.close(round)
    }

    fn stream(&self, round: &Round, of: Of, tag: &str) -> Result<ImageStream> {
        let stream = round.images(of).batch(self.batch).shuffled(tag).infinite().drop_last();
        match self.transform {
            TrainTransform::Train => stream.augmented().open(),
            TrainTransform::Eval => stream.open(),
        }
    }

    /// In eval mode and of unchanged images.
    fn score(&self, round: &Round, rows: &[u32], game: &Game, tell: Tell<'_>) -> Result<Vec<f64>> {
        let mut scores = Vec::with_capacity(rows.len());
        let stream = round.images(Of::Rows(rows)).batch(self.batch).open()?;
        while let Some(batch) = stream.next(round)? {
            scores.extend(game.score(&tell(batch.images)?)?);
            round.progress(scores.len() as u64, rows.len() as u64)?;
        }
        Ok(scores)
    }
}

fn next(stream: &ImageStream, round: &Round, tell: Tell<'_>) -> Result<Batch> {
    let batch = stream.next(round)?;
    tell(batch.ok_or_else(|| Error::failed("an infinite stream of images ended"))?.images)
}
