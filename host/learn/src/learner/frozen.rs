//! Embeddings by a body that nothing trains, where speed counts and the last bits do not.

use std::ops::Range;

use querist_core::config::{ModelConfig, WeightsConfig};
use querist_core::progress::{Phase, Progress};
use querist_core::{LearnError, SampleId};
use tch::Tensor;

use super::TorchLearner;
use crate::fault::Doing;
use crate::infer::{BLOCK, Blocks, fill, network_inputs, reporter};
use crate::model::{Architecture, ImageShape, Model};
use crate::replicas::Replicas;
use crate::rows::Scratch;
use crate::weights::read_body;

const DOING: &str = "embedding";

/// Pixels of the images of a block: what goes through a layer then stays near the processor.
const PIXELS: i64 = 32 * 224 * 224;

impl TorchLearner {
    /// Embeddings of samples as [`Self::frozen_embeddings`] gives them, but for roundings, in less time: batch-norms
    /// are taken into the convolutions before them, the channels of a pixel lie together, and blocks are small.
    ///
    /// # Errors
    /// As for [`Self::frozen_embeddings`].
    pub fn fast_embeddings(
        &self,
        options: &ModelConfig,
        file: &[u8],
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<(Vec<f32>, usize), LearnError> {
        let images = &self.images;
        let architecture = Architecture::new(options, images.shape(), self.classes as i64)?;
        let architecture = architecture.with_precision(self.architecture.precision());
        let model = architecture.build(images.device())?;
        read_body(&model, &architecture, file, options.weights.as_ref().and_then(WeightsConfig::prefix))?;
        let replicas = Replicas::new(&architecture, images.others())?;
        let width = model.width();
        let mut rows = Scratch::memory().rows(samples.len() * width)?;
        let mut done = reporter(progress, Phase::Features, samples.len());
        let work = |model: &Model, inputs: Tensor, _: Range<usize>| {
            let _no_grad = tch::no_grad_guard();
            model.embed_folded(&inputs)
        };
        let blocks =
            Blocks { model: &model, images, samples, size: block(images.shape()), replicas: replicas.as_ref() };
        blocks.each(
            |ids| network_inputs(images, ids),
            work,
            |place, found| {
                fill(&mut rows, &place, width, &found).doing(DOING)?;
                done(place.len())
            },
        )?;
        Ok((rows.into_vec(), width))
    }
}

/// Images of a block.
fn block(shape: ImageShape) -> usize {
    let images = PIXELS / (shape.height * shape.width).max(1);
    (images as usize).clamp(8, BLOCK)
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelName, Precision, Recipe};
    use querist_core::progress::Silent;
    use querist_core::{FitTask, Label, Learner, Round, Seeds};
    use querist_torch_testkit::bars;

    use super::*;
    use crate::Settings;

    #[test]
    fn blocks_are_of_so_many_pixels() {
        let of = |side| block(ImageShape { channels: 3, height: side, width: side });
        assert_eq!([of(32), of(224), of(448), of(4000)], [BLOCK, 32, 8, 8]);
    }

    /// Every kind of body with batch-norm, trained, so that its statistics are no zeros and ones; and one without.
    #[test]
    fn fast_embeddings_are_the_others_but_for_roundings() {
        let dataset = bars(80, 32, 3);
        let samples: Vec<SampleId> = (0..80).map(SampleId).collect();
        let labelled: Vec<_> = samples.iter().map(|&id| (id, Label((id.0 % 2) as u32))).collect();
        let recipe = Recipe { epochs: 2, minibatch: 16, lr: 0.02, ..Recipe::default() };
        for name in [ModelName::Resnet18By16, ModelName::Vgg16BnLinear, ModelName::EfficientnetLite0, ModelName::Cnn] {
            let model = ModelConfig::of(name);
            let (seeds, precision) = (Seeds::new(3), Precision::Float32);
            let settings = Settings { model: &model, recipe: &recipe, seeds, device: "cpu", precision, threads: 1 };
            let mut learner = TorchLearner::new(&dataset, &samples, &settings).unwrap();
            learner.fit(FitTask::plain(Round(0), &labelled), &Silent).unwrap();
            let file = learner.model().unwrap();
            let (plain, width) = learner.frozen_embeddings(&model, &file, &samples, &Silent).unwrap();
            let (fast, again) = learner.fast_embeddings(&model, &file, &samples, &Silent).unwrap();
            assert_eq!(width, again);
            let most = plain.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let off = plain.iter().zip(&fast).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(most > 0.0 && off <= 1e-4 * most, "{name:?}: off by {off} of {most}");
        }
    }
}
