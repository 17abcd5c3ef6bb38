//! When a training ends, and which of its epochs counts.

use querist_core::config::{Evaluation, Recipe, Stop};
use querist_core::progress::Progress;
use querist_core::{Label, LearnError, SampleId};
use tch::Tensor;

use crate::averaging::copies;
use crate::fault::{Doing, config};
use crate::images::ImageStore;
use crate::infer::{Wanted, predict};
use crate::model::Model;
use crate::rows::Scratch;

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EpochEnd {
    /// Training accuracy.
    pub(crate) accuracy: f64,
    /// Sum of the minibatches' losses.
    pub(crate) summed_loss: f64,
    /// Accuracy on the validation set, where it takes part.
    pub(crate) validation: Option<f64>,
}

/// Follows a training from epoch to epoch.
pub(crate) struct Watch {
    stop: Stop,
    keeps_best: bool,
    summed_loss: Option<f64>,
    best: Option<Best>,
    /// Epochs since the best.
    since: u32,
}

/// The best epoch so far.
struct Best {
    accuracy: f64,
    /// All tensors of the model, where they are kept.
    tensors: Vec<Tensor>,
}

impl Watch {
    pub(crate) fn new(recipe: &Recipe) -> Self {
        let keeps_best = recipe.evaluate == Evaluation::BestValidation;
        Self { stop: recipe.stop, keeps_best, summed_loss: None, best: None, since: 0 }
    }

    /// Takes note of an epoch; whether it is the last.
    pub(crate) fn epoch(&mut self, end: EpochEnd, model: &Model) -> Result<bool, LearnError> {
        if let Some(accuracy) = end.validation {
            self.since += 1;
            if self.best.as_ref().is_none_or(|best| accuracy > best.accuracy) {
                let all: Vec<Tensor> = model.parameters().named().map(|(_, tensor)| tensor.shallow_clone()).collect();
                let kept = if self.keeps_best { &all[..] } else { &[] };
                self.best = Some(Best { accuracy, tensors: copies(kept).doing("keeping the best weights")? });
                self.since = 0;
            }
        }
        let before = self.summed_loss.replace(end.summed_loss);
        Ok(match self.stop {
            Stop::None => false,
            Stop::TrainAccuracy(enough) => end.accuracy >= enough,
            Stop::LossChange(little) => before.is_some_and(|before| (before - end.summed_loss).abs() < little),
            Stop::Patience(epochs) => self.since >= epochs,
        })
    }

    /// Gives the model the weights of the epoch that counts, where that is not the last.
    pub(crate) fn settle(self, model: &Model) -> Result<(), LearnError> {
        let Some(best) = self.best.filter(|_| self.keeps_best) else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        for ((_, to), from) in model.parameters().named().zip(&best.tensors) {
            to.shallow_clone().f_copy_(from).doing("taking the best weights")?;
        }
        Ok(())
    }
}

/// The validation set that a recipe looks at, if it does.
///
/// # Errors
/// If it needs one and there is none.
pub(crate) fn looked_at<'a>(
    recipe: &Recipe,
    validation: &'a [(SampleId, Label)],
) -> Result<&'a [(SampleId, Label)], LearnError> {
    match recipe.uses_validation() {
        None => Ok(&[]),
        Some(key) if validation.is_empty() => {
            config(format!("{key} looks at a validation set, and there is none; set `dataset.validation`"))
        }
        Some(_) => Ok(validation),
    }
}

/// Share of these samples that the model gets right; of equal logits the first counts.
pub(crate) fn accuracy(
    model: &Model,
    images: &ImageStore,
    labelled: &[(SampleId, Label)],
    progress: &dyn Progress,
    at: (querist_core::progress::Phase, u64, u64),
) -> Result<f64, LearnError> {
    let samples: Vec<SampleId> = labelled.iter().map(|&(sample, _)| sample).collect();
    let (phase, done, total) = at;
    let report = |_| Ok(progress.report(phase, done, total)?);
    let logits = predict(model, images, &samples, Wanted::LOGITS, &Scratch::memory(), report)?.logits;
    let first_largest = |row: &[f32]| (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
    let rows = logits.chunks_exact(model.classes()).zip(labelled);
    let right = rows.filter(|(row, (_, label))| first_largest(row) == label.index()).count();
    Ok(right as f64 / labelled.len() as f64)
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::Device;

    use super::*;
    use crate::model::{Architecture, ImageShape};

    fn model() -> Model {
        querist_torchx::runtime::set_threads(1).unwrap();
        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        Architecture::new(&ModelConfig::of(ModelName::Mlp), shape, 2).unwrap().build(Device::Cpu).unwrap()
    }

    fn fill(model: &Model, value: f64) {
        let _no_grad = tch::no_grad_guard();
        model.parameters().weights().iter().for_each(|weight| drop(weight.shallow_clone().fill_(value)));
    }

    /// Epochs until the end, by their figures.
    fn epochs(stop: Stop, ends: &[(f64, f64, f64)]) -> usize {
        let model = model();
        let mut watch = Watch::new(&Recipe { stop, ..Recipe::default() });
        let end = |&(accuracy, summed_loss, validation): &(f64, f64, f64)| EpochEnd {
            accuracy,
            summed_loss,
            validation: Some(validation),
        };
        let stops = ends.iter().map(|epoch| watch.epoch(end(epoch), &model).unwrap());
        stops.into_iter().position(|stops| stops).map_or(ends.len() + 1, |at| at + 1)
    }

    #[test]
    fn every_rule_stops_where_it_says() {
        let ends = [(0.5, 9.0, 0.3), (0.9, 4.0, 0.6), (0.99, 3.9996, 0.6), (1.0, 1.0, 0.5), (1.0, 1.0, 0.7)];
        assert_eq!(epochs(Stop::None, &ends), 6);
        assert_eq!(epochs(Stop::TrainAccuracy(0.99), &ends), 3);
        assert_eq!(epochs(Stop::LossChange(5e-4), &ends), 3);
        assert_eq!(epochs(Stop::LossChange(1e-4), &ends), 5);
        // The best is that of the second epoch: the same again is no better.
        assert_eq!(epochs(Stop::Patience(2), &ends), 4);
        assert_eq!(epochs(Stop::Patience(3), &ends), 6);
    }

    #[test]
    fn the_first_best_epoch_counts() {
        let model = model();
        let recipe = Recipe { evaluate: Evaluation::BestValidation, ..Recipe::default() };
        let mut watch = Watch::new(&recipe);
        for (at, validation) in [0.2, 0.8, 0.8, 0.1].into_iter().enumerate() {
            fill(&model, at as f64);
            let end = EpochEnd { accuracy: 0.0, summed_loss: 0.0, validation: Some(validation) };
            assert!(!watch.epoch(end, &model).unwrap());
        }
        watch.settle(&model).unwrap();
        assert_eq!(model.parameters().weights()[0].double_value(&[0, 0]), 1.0);
    }
}
