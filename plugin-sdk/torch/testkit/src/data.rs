//! Small data and learners.

use querist_core::QueryError;
use querist_core::config::{ModelConfig, ModelName, Optimiser, Precision, Recipe};
use querist_core::dataset::DatasetParts;
use querist_core::progress::{Progress, Silent};
use querist_core::{
    Array, Arrays, Buffer, Dataset, FitTask, Fitted, Images, Label, LearnError, Learner, Question, Round, SampleId,
    Seeds, ServiceScope, Strategy, TrainingHooks,
};
use querist_learn::{Settings, TorchLearner};
use querist_protocol::Selection;
use querist_protocol::philox::Stream;

use crate::trajectory::{shift, threads};

/// Noise with one bright bar: upright in class 0, level in class 1. Labels alternate.
///
/// # Panics
/// If the sizes make no dataset.
pub fn bars(count: usize, side: usize, channels: usize) -> Dataset {
    let mut stream = Stream::new(11 + shift(), 0);
    let mut bytes = Vec::with_capacity(count * side * side * channels);
    for image in 0..count {
        let bar = stream.next_below(side as u64) as usize;
        for y in 0..side {
            for x in 0..side {
                let lit = if image % 2 == 0 { x == bar } else { y == bar };
                for _ in 0..channels {
                    bytes.push(stream.next_below(100) as u8 + if lit { 100 } else { 0 });
                }
            }
        }
    }
    Dataset::new(DatasetParts {
        name: "bars".to_owned(),
        images: Images { bytes: bytes.into(), count, height: side, width: side, channels },
        labels: (0..count as u32).map(|i| i % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["upright".to_owned(), "level".to_owned()],
        normalisation: None,
        files: vec![],
    })
    .expect("the sizes fit each other")
}

/// Noise in ten classes, for what does not depend on what is learnt.
///
/// # Panics
/// If the sizes make no dataset.
pub fn noise(count: usize, side: usize, channels: usize) -> Dataset {
    let mut stream = Stream::new(0, 0);
    let bytes: Vec<u8> = (0..count * side * side * channels).map(|_| stream.next_bits() as u8).collect();
    Dataset::new(DatasetParts {
        name: "noise".to_owned(),
        images: Images { bytes: bytes.into(), count, height: side, width: side, channels },
        labels: (0..count as u32).map(|i| i % 10).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: (0..10).map(|class| class.to_string()).collect(),
        normalisation: None,
        files: vec![],
    })
    .expect("the sizes fit each other")
}

/// A learner with a labelled set and a pool: the first samples are labelled, the others are not.
pub struct Bench {
    /// The learner.
    pub learner: TorchLearner,
    /// The labelled set.
    pub labelled: Vec<(SampleId, Label)>,
    /// The pool.
    pub pool: Vec<SampleId>,
    /// Samples to ask for.
    pub batch: usize,
    /// Seeds of the strategy.
    pub seeds: Seeds,
    /// The round.
    pub round: u32,
    /// What the strategy kept in the round before.
    pub state: Option<Vec<u8>>,
}

impl Bench {
    /// Over these images, of which the first `labelled` have labels; from seed 3, on one thread of the CPU, unless
    /// [`shift`] and [`threads`] say otherwise.
    ///
    /// # Panics
    /// If data, model and recipe do not fit each other.
    pub fn new(data: &Dataset, labelled: usize, batch: usize, model: ModelName, recipe: &Recipe) -> Self {
        Self::from_seed(3, data, labelled, batch, model, recipe)
    }

    /// The same from another seed.
    ///
    /// # Panics
    /// As [`Bench::new`].
    pub fn from_seed(
        seed: u64,
        data: &Dataset,
        labelled: usize,
        batch: usize,
        model: ModelName,
        recipe: &Recipe,
    ) -> Self {
        let all: Vec<SampleId> = (0..data.len() as u64).map(SampleId).collect();
        let model = ModelConfig::of(model);
        let seeds = Seeds::new(seed + shift());
        let settings =
            Settings { model: &model, recipe, seeds, device: "cpu", precision: Precision::Float32, threads: threads() };
        let learner = TorchLearner::new(data, &all, &settings).expect("the settings fit");
        let label = |&id: &SampleId| (id, Label((id.0 % data.classes() as u64) as u32));
        Self {
            learner,
            labelled: all[..labelled].iter().map(label).collect(),
            pool: all[labelled..].to_vec(),
            batch,
            seeds,
            round: 0,
            state: None,
        }
    }

    /// Trains, with a strategy's part where one is given.
    ///
    /// # Errors
    /// As the learner's.
    pub fn fit<'a>(&'a mut self, strategy: Option<&'a mut dyn TrainingHooks>) -> Result<Fitted, LearnError> {
        let Self { learner, labelled, pool, batch, seeds, round, state } = self;
        let scope = scope(pool, labelled, *batch, *seeds, *round);
        learner.fit(
            FitTask {
                scope,
                hooks: strategy.map(|hooks| (hooks, state.as_deref())),
                needs: &[],
                synthetic: &[],
                validation: &[],
            },
            &Silent,
        )
    }

    /// Asks a strategy for the batch.
    ///
    /// # Errors
    /// As the strategy's.
    ///
    /// # Panics
    /// If the arrays do not fit each other.
    pub fn query(&self, strategy: &mut dyn Strategy, progress: &dyn Progress) -> Result<Selection, QueryError> {
        let ids = |ids: &mut dyn Iterator<Item = SampleId>| Buffer::from(ids.map(|id| id.0).collect::<Vec<_>>());
        let named = std::collections::BTreeMap::<String, Array>::new();
        let labelled = ids(&mut self.labelled.iter().map(|(id, _)| *id));
        let arrays = Arrays::new(ids(&mut self.pool.iter().copied()), labelled, 2, named).expect("ids ascend");
        let services = self.learner.services(scope(&self.pool, &self.labelled, self.batch, self.seeds, self.round));
        let question = Question::new(&arrays, self.batch)
            .in_round(Round(self.round))
            .with_seeds(self.seeds)
            .with_state(self.state.as_deref())
            .with_services(services.as_deref())
            .with_progress(progress);
        let mut selection = strategy.answer(&question)?.selection;
        // As the loop joins them in a round's record.
        selection.diagnostics.extend(services.map(|services| services.metrics()).unwrap_or_default());
        Ok(selection)
    }

    /// The fitted model's logits of the pool, a row after the other.
    ///
    /// # Panics
    /// If nothing was fitted.
    pub fn logits(&mut self) -> Vec<f32> {
        self.learner.logits(&self.pool, &Silent).expect("a model was fitted")
    }

    /// The fitted model's tensors, as bytes.
    ///
    /// # Panics
    /// If nothing was fitted.
    pub fn model(&self) -> Vec<u8> {
        self.learner.model().expect("a model was fitted")
    }
}

fn scope<'a>(
    pool: &'a [SampleId],
    labelled: &'a [(SampleId, Label)],
    batch: usize,
    seeds: Seeds,
    round: u32,
) -> ServiceScope<'a> {
    let initial = labelled.len();
    ServiceScope { round: Round(round), pool, labelled, initial, batch, streams: seeds.strategy("in-process") }
}

/// Bars as [`bars`] draws them, of which every second pair of those that follow the first `clear` images has both bars:
/// such an image is of neither class, and like no image before it.
///
/// # Panics
/// If the sizes make no dataset.
pub fn crossed(count: usize, clear: usize, side: usize) -> Dataset {
    with_odd_ones(&bars(count, side, 1), clear, |pixels| {
        let brightest = |line: &dyn Fn(usize) -> u32| (0..side).max_by_key(|&at| line(at)).unwrap_or(0);
        let column = brightest(&|x| (0..side).map(|y| u32::from(pixels[y * side + x])).sum());
        let row = brightest(&|y| (0..side).map(|x| u32::from(pixels[y * side + x])).sum());
        for at in 0..side {
            for pixel in [at * side + column, row * side + at] {
                pixels[pixel] = pixels[pixel] % 100 + 100;
            }
        }
    })
}

/// As [`crossed`], but such an image has its bar in black on white.
///
/// # Panics
/// If the sizes make no dataset.
pub fn inverted(count: usize, clear: usize, side: usize) -> Dataset {
    with_odd_ones(&bars(count, side, 1), clear, |pixels| pixels.iter_mut().for_each(|pixel| *pixel = 200 - *pixel))
}

/// The same images, of which every second pair after the first `clear` ones is changed.
fn with_odd_ones(plain: &Dataset, clear: usize, change: impl Fn(&mut [u8])) -> Dataset {
    let Images { count, height, width, channels, .. } = *plain.images();
    let mut bytes = plain.images().bytes.to_vec();
    let size = height * width * channels;
    for image in (clear..count).filter(|&image| is_odd(image - clear)) {
        change(&mut bytes[image * size..][..size]);
    }
    Dataset::new(DatasetParts {
        name: "odd ones".to_owned(),
        images: Images { bytes: bytes.into(), count, height, width, channels },
        labels: (0..count as u32).map(|i| i % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["upright".to_owned(), "level".to_owned()],
        normalisation: None,
        files: vec![],
    })
    .expect("the sizes fit each other")
}

fn is_odd(row: usize) -> bool {
    row / 2 % 2 == 1
}

/// How many of the picks are odd ones, where the labelled images are the clear ones of [`crossed`] or [`inverted`].
pub fn odd_picks(selection: &Selection) -> usize {
    selection.rows.iter().filter(|&&row| is_odd(row as usize)).count()
}

/// A task with a known answer: 80 labelled images with one bar, a pool of 80 of which every second has both, 10 to ask.
/// The recipe trains the model well enough to tell one bar from the other.
pub fn planted(seed: u64) -> Bench {
    let recipe = Recipe { optimiser: Optimiser::Adam, lr: 0.003, epochs: 30, minibatch: 16, ..Recipe::default() };
    Bench::from_seed(seed, &crossed(160, 80, 16), 80, 10, ModelName::Cnn, &recipe)
}

impl Bench {
    /// The same with labels of the first class alone.
    pub fn of_one_class(mut self) -> Self {
        self.labelled.retain(|(_, label)| label.0 == 0);
        self
    }
}
