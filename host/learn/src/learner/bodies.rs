//! Bodies from files: those that training starts from, and those that it leaves alone.

use querist_core::config::{ModelConfig, Normalise, Trained, WeightsConfig};
use querist_core::progress::{Phase, Progress};
use querist_core::{Dataset, KeepsEmbeddings, LearnError, Learner, SampleId};
use querist_torchx::{random, runtime};
use tch::{Device, Tensor};

use super::{Settings, TorchLearner};
use crate::backbone::Backbone;
use crate::fault::{Doing, config};
use crate::infer::{Wanted, predict, reporter};
use crate::model::{Architecture, Model};
use crate::rows::Scratch;
use crate::weights::read_body;

/// Where embeddings are kept, and what says which weights they are by.
pub(super) struct Kept {
    store: Box<dyn KeepsEmbeddings>,
    weights: String,
}

impl TorchLearner {
    /// A learner whose body is a network from a file. Its images are pixels from 0 to 1, which the network's sidecar
    /// normalises. Where the recipe trains the head alone, every image is embedded once.
    ///
    /// # Errors
    /// As for [`Self::new`]; if images, recipe and network do not fit each other.
    pub fn with_backbone(
        dataset: &Dataset,
        pool: &[SampleId],
        settings: &Settings<'_>,
        backbone: Backbone,
    ) -> Result<Self, LearnError> {
        let channels = dataset.images().channels;
        if dataset.normalisation() != Normalise::None.numbers(channels).as_ref() {
            return config(
                "the sidecar of a network normalises its images: set `dataset.normalise = \"none\"` and leave \
                 `dataset.statistics` out",
            );
        }
        let mut learner = Self::set_up(dataset, pool, settings, Some(backbone))?;
        if learner.recipe.train == Trained::Head {
            learner.architecture = learner.architecture.clone().with_fixed_body();
            learner.pretrained = Some(learner.architecture.build(Device::Cpu)?);
        }
        Ok(learner)
    }

    /// Embeddings of samples by the body from a file, `[samples, width]`, and their width.
    ///
    /// # Errors
    /// If the body fails.
    pub fn embeddings(&self, samples: &[SampleId], progress: &dyn Progress) -> Result<(Vec<f32>, usize), LearnError> {
        let model = self.architecture.build(self.images.device())?;
        let report = reporter(progress, Phase::Features, samples.len());
        let rows = predict(&model, &self.images, samples, Wanted::EMBEDDINGS, &Scratch::memory(), report)?.embeddings;
        finite(&rows, samples, model.width())?;
        Ok((rows.into_vec(), model.width()))
    }

    /// The same learner, which keeps embeddings by a body that no training changes in `store`. `weights` says which
    /// weights that body has: a digest of their file, and how it is read.
    #[must_use]
    pub fn keeping_embeddings(self, store: Box<dyn KeepsEmbeddings>, weights: String) -> Self {
        Self { kept: Some(Kept { store, weights }), ..self }
    }

    /// The same learner, whose fresh models start from the body in the bytes of a file; their heads start afresh. With
    /// it comes a sentence about what was loaded, and what was not. `prefix` is what names in the file start with,
    /// where that is known.
    ///
    /// # Errors
    /// [`LearnError::Config`] if the file cannot be read or lacks a tensor of the body.
    pub fn with_weights(mut self, file: &[u8], prefix: Option<&str>) -> Result<(Self, String), LearnError> {
        if self.recipe.train == Trained::Head {
            self.architecture = self.architecture.clone().with_fixed_body();
        }
        // On the CPU: it is read again in every round.
        let model = self.architecture.build(Device::Cpu)?;
        let report = read_body(&model, &self.architecture, file, prefix)?;
        self.pretrained = Some(model);
        Ok((self, report.to_string()))
    }

    /// The model of a round that has no labels: its body from the file, if there is one, and the first weights of its
    /// head.
    pub(super) fn untrained(&self) -> Result<Model, LearnError> {
        let bits = self.seeds.model_stream("weights", self.round).next_bits();
        let seeded = || random::seed(bits).doing("seeding the weights");
        let model = self.architecture.build_from(self.images.device(), seeded)?;
        if let Some(pretrained) = &self.pretrained {
            model.parameters().copy_body_from(pretrained.parameters()).doing("copying pretrained weights")?;
        }
        Ok(model)
    }

    /// Embeds every image once, where no training changes the body.
    pub(super) fn embed_once(&mut self, progress: &dyn Progress) -> Result<(), LearnError> {
        let Some(pretrained) = self.pretrained.as_ref().filter(|model| model.is_fixed()) else { return Ok(()) };
        if self.images.embedded().is_some() {
            return Ok(());
        }
        let shape = [self.images.len() as i64, self.architecture.width()];
        let of = self.kept.as_ref().map(|kept| self.named(&kept.weights));
        let before = self.kept.as_ref().zip(of.as_deref());
        let before = before.and_then(|(kept, of)| kept.store.read(of, (shape[0] * shape[1]) as usize));
        let rows = match before {
            Some(rows) => rows,
            None => {
                let rows = self.embed_all(pretrained, progress)?;
                if let Some((kept, of)) = self.kept.as_ref().zip(of) {
                    kept.store.write(&of, &rows);
                }
                rows
            }
        };
        let kept = Tensor::f_from_slice(&rows).and_then(|rows| rows.f_view(shape)?.f_to_device(self.images.device()));
        self.images.keep_embedded(kept.doing("keeping embeddings")?);
        Ok(())
    }

    /// Embeddings of every image by a body.
    fn embed_all(&self, body: &Model, progress: &dyn Progress) -> Result<Vec<f32>, LearnError> {
        let model = self.architecture.build(self.images.device())?;
        model.parameters().copy_from(body.parameters()).doing("copying pretrained weights")?;
        let samples: Vec<SampleId> = (0..self.images.len() as u64).map(SampleId).collect();
        let report = reporter(progress, Phase::Features, samples.len());
        let rows = predict(&model, &self.images, &samples, Wanted::EMBEDDINGS, &Scratch::memory(), report)?.embeddings;
        finite(&rows, &samples, model.width())?;
        Ok(rows.into_vec())
    }

    /// Everything that embeddings of all images by these weights hang on.
    fn named(&self, weights: &str) -> String {
        let gpu = if self.images.device().is_cuda() { runtime::describe().cuda.to_string() } else { String::new() };
        let (backend, body, transform) = (self.backend(), self.architecture.of_body(), self.images.transform());
        let dataset = &self.digest;
        format!("{backend}\n{gpu}\n{body}\n{transform}\nweights {weights}\ndataset {dataset}\n")
    }

    /// Embeddings of samples from the body of a model file, `[samples, width]`, and their width. It has the
    /// architecture and stem of `options`, takes the images as this learner does, and may have a head for other
    /// classes.
    ///
    /// # Errors
    /// If the file holds no such model.
    pub fn frozen_embeddings(
        &self,
        options: &ModelConfig,
        file: &[u8],
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<(Vec<f32>, usize), LearnError> {
        if self.images.are_rows() {
            return config("the dataset has embeddings and no pictures that a model could embed");
        }
        let architecture = Architecture::new(options, self.images.shape(), self.classes as i64)?;
        let model = architecture.build(self.images.device())?;
        let prefix = options.weights.as_ref().and_then(WeightsConfig::prefix);
        read_body(&model, &architecture, file, prefix)?;
        let report = reporter(progress, Phase::Features, samples.len());
        let rows = predict(&model, &self.images, samples, Wanted::EMBEDDINGS, &Scratch::memory(), report)?.embeddings;
        Ok((rows.into_vec(), model.width()))
    }
}

/// Refuses embeddings that no head could be trained on.
fn finite(rows: &[f32], samples: &[SampleId], width: usize) -> Result<(), LearnError> {
    match rows.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => config(format!(
            "the body's embedding of sample {} has a value that is {}; use other weights, or correct how its images \
             are normalised",
            samples[at / width.max(1)],
            rows[at]
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use querist_core::config::{Init, ModelName, Precision, Recipe};
    use querist_core::dataset::DatasetParts;
    use querist_core::progress::Silent;
    use querist_core::{Embeddings, FitTask, Images, Label, Round, Seeds};
    use querist_torch_testkit::{at_least, at_most, bars};

    use super::*;

    fn recipe(train: Trained, init: Init) -> Recipe {
        Recipe { epochs: 6, minibatch: 8, lr: 0.02, train, init, ..Recipe::default() }
    }

    fn labelled(range: std::ops::Range<u64>) -> Vec<(SampleId, Label)> {
        range.map(|id| (SampleId(id), Label((id % 2) as u32))).collect()
    }

    fn ids(range: std::ops::Range<u64>) -> Vec<SampleId> {
        range.map(SampleId).collect()
    }

    fn learner(dataset: &Dataset, model: &ModelConfig, recipe: &Recipe) -> TorchLearner {
        let (seeds, precision) = (Seeds::new(3), Precision::Float32);
        let settings = Settings { model, recipe, seeds, device: "cpu", precision, threads: 1 };
        TorchLearner::new(dataset, &ids(0..dataset.len() as u64), &settings).unwrap()
    }

    /// A model of its own, and a dataset that it knows.
    fn pretrained() -> (Dataset, Vec<u8>) {
        let dataset = bars(300, 16, 1);
        // With six epochs one start in twenty knows little yet.
        let long = Recipe { epochs: 24, ..recipe(Trained::All, Init::Reinit) };
        let mut learner = learner(&dataset, &ModelConfig::of(ModelName::Cnn), &long);
        learner.fit(FitTask::plain(Round(0), &labelled(0..100)), &Silent).unwrap();
        let file = learner.model().unwrap();
        (dataset, file)
    }

    fn headed(dataset: &Dataset, file: &[u8], model: &ModelConfig) -> TorchLearner {
        let model = ModelConfig { weights: Some(WeightsConfig::File("kept".to_owned())), ..model.clone() };
        let learner = learner(dataset, &model, &recipe(Trained::Head, Init::Pretrained));
        learner.with_weights(file, None).unwrap().0
    }

    #[test]
    fn embeddings_taken_once_train_the_head_as_images_would() {
        let (dataset, file) = pretrained();
        for normalise in [false, true] {
            let model = ModelConfig { normalise, ..ModelConfig::of(ModelName::Cnn) };
            let logits = |mut learner: TorchLearner| {
                learner.fit(FitTask::plain(Round(0), &labelled(100..140)), &Silent).unwrap();
                let kept = learner.images.embedded().is_some();
                (learner.logits(&ids(200..300), &Silent).unwrap(), kept)
            };
            let (once, kept) = logits(headed(&dataset, &file, &model));
            assert!(kept);
            // The same with a body that nobody promised to leave alone.
            let mut anew = headed(&dataset, &file, &model);
            let other = Architecture::new(&model, anew.images.shape(), 2).unwrap();
            anew.pretrained = Some(other.build(Device::Cpu).unwrap());
            read_body(anew.pretrained.as_ref().unwrap(), &anew.architecture, &file, None).unwrap();
            let (anew, kept) = logits(anew);
            assert!(!kept);
            let worst = once.iter().zip(&anew).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            at_most("a head on embeddings and on images, difference of logits", worst.into(), 1e-4);
            let right = once.chunks(2).enumerate().filter(|(i, row)| (row[1] > row[0]) == (i % 2 == 1)).count();
            at_least("a head on embeddings, right of 100", right as f64, 80.0);
        }
    }

    /// Keeps in memory, and counts.
    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Shelved>>);

    /// What is kept, and how often something was written.
    type Shelved = (BTreeMap<String, Vec<f32>>, usize);

    impl KeepsEmbeddings for Shelf {
        fn read(&self, of: &str, values: usize) -> Option<Vec<f32>> {
            self.0.lock().unwrap().0.get(of).filter(|kept| kept.len() == values).cloned()
        }

        fn write(&self, of: &str, values: &[f32]) {
            let mut shelf = self.0.lock().unwrap();
            shelf.0.insert(of.to_owned(), values.to_vec());
            shelf.1 += 1;
        }
    }

    #[test]
    fn embeddings_that_are_kept_are_those_of_this_body_on_these_images() {
        let (dataset, file) = pretrained();
        let shelf = Shelf::default();
        let plain = ModelConfig::of(ModelName::Cnn);
        let unit = ModelConfig { normalise: true, ..plain.clone() };
        let logits = |dataset: &Dataset, model: &ModelConfig, weights: &str| {
            let learner = headed(dataset, &file, model);
            let mut learner = learner.keeping_embeddings(Box::new(shelf.clone()), weights.to_owned());
            learner.fit(FitTask::plain(Round(0), &labelled(100..140)), &Silent).unwrap();
            (learner.logits(&ids(200..300), &Silent).unwrap(), shelf.0.lock().unwrap().1)
        };
        let (first, _) = logits(&dataset, &plain, "a");
        assert_eq!(logits(&dataset, &plain, "a"), (first.clone(), 1), "found, and not computed again");
        assert_eq!(logits(&dataset, &plain, "b").1, 2, "other weights");
        assert_eq!(logits(&dataset, &unit, "a").1, 3, "divided by their length");
        assert_eq!(logits(&bars(310, 16, 1), &plain, "a").1, 4, "other images");
        assert_eq!(logits(&dataset, &plain, "a"), (first, 4));
        // What is found is used.
        shelf.0.lock().unwrap().0.values_mut().for_each(|kept| kept.fill(0.0));
        let (blank, _) = logits(&dataset, &plain, "a");
        assert!(blank.chunks(2).all(|row| row == &blank[..2]));
    }

    #[test]
    fn embeddings_that_are_kept_are_given_to_no_other_model() {
        let (dataset, file) = pretrained();
        let plain = ModelConfig::of(ModelName::Cnn);
        let mut other = learner(&dataset, &plain, &recipe(Trained::All, Init::Reinit));
        other.fit(FitTask::plain(Round(5), &labelled(0..60)), &Silent).unwrap();
        let other = other.model().unwrap();
        let by_other =
            |learner: &TorchLearner| learner.frozen_embeddings(&plain, &other, &ids(0..20), &Silent).unwrap();
        let mut headed = headed(&dataset, &file, &plain);
        let before = by_other(&headed);
        headed.fit(FitTask::plain(Round(0), &labelled(100..140)), &Silent).unwrap();
        assert!(headed.images.embedded().is_some());
        assert_eq!(by_other(&headed), before, "of the other body, whatever is kept of this one");
        let own = headed.images.embedded().unwrap().narrow(0, 0, 20);
        let theirs = Tensor::from_slice(&before.0).view([20, -1]);
        assert!((own - theirs).abs().max().double_value(&[]) > 1e-3, "two bodies that differ");
    }

    #[test]
    fn a_head_starts_alike_on_images_and_on_their_embeddings() {
        let (dataset, file) = pretrained();
        let model = ModelConfig { head_hidden: Some(12), ..ModelConfig::of(ModelName::Cnn) };
        let recipe = recipe(Trained::Head, Init::Reinit);
        let mut on_images = headed(&dataset, &file, &model);
        on_images.recipe = recipe.clone();
        let samples = ids(0..300);
        let (values, width) = on_images.frozen_embeddings(&model, &file, &samples, &Silent).unwrap();
        let labels = labelled(0..300).into_iter().map(|(_, label)| label.0).collect();
        let parts = DatasetParts {
            name: "rows".to_owned(),
            images: Images::none(300),
            labels,
            official_validation: 0,
            official_test: 0,
            class_names: vec!["a".to_owned(), "b".to_owned()],
            normalisation: None,
            files: Vec::new(),
        };
        let rows = Dataset::embedded(parts, Embeddings { values: values.into(), width }).unwrap();
        let model = ModelConfig { name: ModelName::Head, ..model };
        let mut on_rows = learner(&rows, &model, &recipe);
        for round in [0, 3] {
            let logits = [&mut on_images, &mut on_rows].map(|learner| {
                learner.fit(FitTask::plain(Round(round), &labelled(100..141)), &Silent).unwrap();
                learner.logits(&ids(200..300), &Silent).unwrap()
            });
            assert_eq!(logits[0], logits[1], "round {round}");
        }
        // Without a label both have the head's first weights.
        let logits = [&mut on_images, &mut on_rows].map(|learner| {
            assert!(learner.fit(FitTask::plain(Round(0), &[]), &Silent).unwrap().epochs.is_empty());
            learner.logits(&ids(200..300), &Silent).unwrap()
        });
        assert_eq!(logits[0], logits[1]);
    }

    #[test]
    fn what_is_for_pictures_is_refused_on_rows_and_the_other_way_round() {
        let (dataset, _) = pretrained();
        let parts = DatasetParts {
            name: "rows".to_owned(),
            images: Images::none(4),
            labels: vec![0, 1, 0, 1],
            official_validation: 0,
            official_test: 0,
            class_names: vec!["a".to_owned(), "b".to_owned()],
            normalisation: None,
            files: Vec::new(),
        };
        let rows = Dataset::embedded(parts, Embeddings { values: vec![0.0; 12].into(), width: 3 }).unwrap();
        let flip = vec![querist_core::config::Augmentation::Flip];
        let plain = Recipe::default();
        let head = ModelConfig::of(ModelName::Head);
        let kept = Some(WeightsConfig::File("kept".to_owned()));
        for (dataset, model, recipe, part) in [
            (&dataset, head.clone(), plain.clone(), "`embeddings`"),
            (&rows, ModelConfig::default(), plain.clone(), "`model.name = \"head\"`"),
            (&rows, head.clone(), Recipe { augment: flip, ..plain.clone() }, "`recipe.augment = []`"),
            (&rows, ModelConfig { weights: kept, ..head.clone() }, plain.clone(), "model.weights"),
        ] {
            let (seeds, precision) = (Seeds::new(3), Precision::Float32);
            let settings = Settings { model: &model, recipe: &recipe, seeds, device: "cpu", precision, threads: 1 };
            let error = TorchLearner::new(dataset, &ids(0..4), &settings).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
        let learner = learner(&rows, &head, &plain);
        for need in ["images", "images(min_side=16)", "stage_maps"] {
            let error = learner.check_needs(&[need.parse().unwrap()]).unwrap_err().to_string();
            assert!(error.contains("embeddings and no pictures"), "{error}");
        }
        let untrained = |need: &str| learner.check_untrained(&[need.parse().unwrap()]);
        assert!(untrained("embeddings").is_ok() && untrained("labelled.fixed_embeddings").is_ok());
        let error = untrained("logits").unwrap_err().to_string();
        assert!(error.contains("`logits`") && error.contains("`budget.initial = 0`"), "{error}");
    }

    #[test]
    fn the_body_stays_and_embeddings_have_length_1_where_asked() {
        let (dataset, file) = pretrained();
        let model = ModelConfig { normalise: true, ..ModelConfig::of(ModelName::Cnn) };
        let mut learner = headed(&dataset, &file, &model);
        learner.fit(FitTask::plain(Round(0), &labelled(100..140)), &Silent).unwrap();
        let embeddings = learner.images.embedded().unwrap();
        let lengths = embeddings.norm_scalaropt_dim(2.0, [1], false) - 1.0;
        assert!(lengths.abs().max().double_value(&[]) < 1e-6);
        let plain = ModelConfig::of(ModelName::Cnn);
        let (rows, width) = learner.frozen_embeddings(&plain, &file, &ids(0..10), &Silent).unwrap();
        let first = Tensor::from_slice(&rows[..width]);
        let found = embeddings.get(0) * first.norm();
        assert!((found - first).abs().max().double_value(&[]) < 1e-5);

        let trained = learner.model().unwrap();
        let [before, after] = [&file, &trained].map(|file| safetensors::SafeTensors::deserialize(file).unwrap());
        for name in before.names() {
            let same = before.tensor(name).unwrap().data() == after.tensor(name).unwrap().data();
            assert_eq!(same, !name.starts_with("head."), "{name}");
        }
    }
}
