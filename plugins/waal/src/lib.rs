//! The task is trained on features in which unlabelled samples look like labelled ones; it selects samples that are
//! uncertain and still look unlabelled.
//!
//! With g a critic on embeddings z, U and L minibatches of the pool and of the labelled set, and
//! `W = mean g(z_U) - c mean g(z_L)`, the task's model minimises `CE + mu_train W` and the critic `-W + gp_weight GP`,
//! where GP keeps the norm of g's gradient near 1. The factor c comes from the distance between the labelled set with
//! the pool and the labelled set with the batch to be selected, whose own mean the paper leaves out. A sample's score
//! is `mu_query g(z) - u(x)`, where u is a bound on its loss that is smallest for a uniform prediction.
//!
//! As printed, W grows with any constant in g, and a critic without bounds follows what pool and labelled set share: in
//! trials it held images unlike all labelled ones for the most labelled. `bias = "balanced"` expects the batch to be
//! like the pool, which makes W `c (mean g(z_U) - mean g(z_L))`, and finds them; see [`weights`].
//!
//! Once the task is learned, W alone moves the features. Adam then takes steps of the same size however small
//! `mu_train` is, and what the critic sees in the end is a matter of luck; SGD keeps to the weights.
//!
//! An epoch goes through the whole pool once, and through the labelled set as often as that takes.
//!
//! Shui, Zhou, Gagné and Wang, "Deep Active Learning: Unified and Principled Method for Query and Training", AISTATS
//! 2020 (arXiv 1911.09162).

// More than 150 lines: the critic is a network of its own with a training of its own, and parameters take a third of
// it.
#![deny(missing_docs)]

mod critic;
mod params;

pub use critic::{Critic, CriticOptimiser, CriticOutput, Settings, distance, penalty};
pub use params::{Bias, EpochOf, Uncertainty, WaalParams, Weights, uncertainty, weights};
use querist_sdk_torch::prelude::*;

/// WAAL in one round.
pub struct Waal {
    params: WaalParams,
    critic: Critic,
    weights: Weights,
    /// Embeddings of the last minibatch, of the pool and labelled, for the critic's steps.
    seen: Option<[Tensor; 2]>,
    /// Distance and penalty at the critic's last step.
    figures: Option<[Tensor; 2]>,
    trained: bool,
}

impl TorchStrategy for Waal {
    type Params = WaalParams;
    const HOOKS: Hooks = Hooks { plan_round: true, batch_loss: true, batch_step: true, train_end: true, ..Hooks::NONE };
    const MEMORY: &'static str = "unlabelled_minibatch";

    fn new(params: WaalParams, round: &Round, _: Option<&[u8]>) -> Result<Self> {
        let task = round.task();
        let critic = Critic::new(params.critic(), i64::from(task.embedding), task.device)?;
        let weights = weights(params.bias, task.pool, task.labelled, task.batch);
        Ok(Self { params, critic, weights, seen: None, figures: None, trained: false })
    }

    fn plan_round(&mut self, round: &Round) -> Result<TrainOverrides> {
        let task = round.task();
        if task.pool == 0 {
            // Nothing to look at beside the labelled set, and nothing will be queried.
            return Ok(TrainOverrides::default());
        }
        let epoch_length = match self.params.epoch_length {
            EpochOf::Labelled => EpochLength::Labelled,
            EpochOf::Longest => EpochLength::Longest,
        };
        let times = task.pool / task.labelled.max(1);
        if epoch_length == EpochLength::Longest && times >= 10 {
            let message = format!(
                "an epoch goes through the pool, which is {times} times the labelled set; `epoch_length = \
                 \"labelled\"` shortens it to that"
            );
            round.log(LogLevel::Info, &message)?;
        }
        round.log_metric("weight_labelled", self.weights.labelled)?;
        round.log_metric("weight_whole", self.weights.whole)?;
        Ok(TrainOverrides {
            unlabelled: Some(UnlabelledStream {
                transform: Transform::Train,
                minibatch: self.params.unlabelled_minibatch,
            }),
            epoch_length: Some(epoch_length),
            ..TrainOverrides::default()
        })
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        let Some(images) = &minibatch.unlabelled else { return Ok(Loss::none()) };
        let felt = self.params.mu_train > 0.0;
        let pass = round.forward(images).train();
        let unlabelled = if felt { pass.grad() } else { pass }.run()?.embeddings;
        let labelled = &minibatch.embeddings;
        self.seen = Some([unlabelled.f_detach()?, labelled.f_detach()?]);
        if !felt {
            return Ok(Loss::none());
        }
        let judge = |embeddings: &Tensor| self.critic.judge(embeddings, true, true);
        let distance = distance(&judge(&unlabelled)?, &judge(labelled)?, self.weights.labelled)?;
        Ok(Loss::extra(distance.f_mul_scalar(self.params.mu_train * self.weights.whole)?))
    }

    fn batch_step(&mut self, _: &Round, _: u32, _: u32) -> Result<()> {
        let Some([unlabelled, labelled]) = self.seen.take() else { return Ok(()) };
        for _ in 0..self.params.critic_steps {
            self.figures = Some(self.critic.step(&unlabelled, &labelled, self.weights.labelled)?);
        }
        Ok(())
    }

    fn train_end(&mut self, round: &Round) -> Result<()> {
        self.trained = true;
        // A critic that diverged ends here: a figure must be finite.
        for (figure, name) in self.figures.iter().flatten().zip(["critic_distance", "critic_penalty"]) {
            round.log_metric(name, figure.f_double_value(&[])?)?;
        }
        Ok(())
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        if !self.trained {
            return Err(Error::failed("the critic was not trained: ask for a batch after training in the same round"));
        }
        let _no_grad = tch::no_grad_guard();
        let rows: Vec<u32> = (0..query.rows()).collect();
        let (mut bounds, mut unlike) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let stream = round.images(Of::Pool).batch(256).open()?;
        while let Some(batch) = stream.next(round)? {
            let out = round.forward(&batch.images).run()?;
            bounds.extend(floats(&uncertainty(&out.logits, self.params.uncertainty)?)?);
            unlike.extend(floats(&self.critic.judge(&out.embeddings, true, false)?)?);
            round.progress(bounds.len() as u64, rows.len() as u64)?;
        }
        if self.params.critic_output == CriticOutput::Linear {
            // A linear critic has no scale of its own.
            standardise(&mut unlike);
        }
        let score = |(bound, unlike): (&f64, &f64)| self.params.mu_query * unlike - bound;
        let scores: Vec<f64> = bounds.iter().zip(&unlike).map(score).collect();
        largest(&rows, &scores, query.wanted())
    }
}

/// Mean 0 and variance 1; all 0 where all are equal.
fn standardise(values: &mut [f64]) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    values.iter_mut().for_each(|value| *value = (*value - mean) * scale);
}

torch_package!(Waal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critics_are_standardised_over_the_candidates() {
        let mut values = [1.0, 5.0, 1.0, 5.0];
        standardise(&mut values);
        assert_eq!(values, [-1.0, 1.0, -1.0, 1.0]);
        let mut equal = [3.0; 4];
        standardise(&mut equal);
        assert_eq!(equal, [0.0; 4]);
    }
}
