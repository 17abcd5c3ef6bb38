//! A small run of a strategy that takes part in training, to see whether it does the same twice.

use querist_conformance::{Broken, Make, Verdict};
use querist_core::config::{RunConfig, Task};
use querist_core::observer::FinishedRound;
use querist_core::progress::{Progress, Silent};
use querist_core::{DatasetOracle, Observer, Position, QueryOptions, Run, SampleId, Split, Strategy, run};
use querist_protocol::TILE_BYTES;
use serde_json::json;

use crate::trainer::Trainer;

/// Three rounds on digits, with a network that has everything that strategies look at.
const RUN: &str = r#"
version = 1
dataset = { name = "digits", test = 397, size = 16 }
model = { name = "cnn", dropout = 0.2 }
recipe = { optimiser = "adam", lr = 0.002, epochs = 3, minibatch = 32 }
budget = { initial = 20, per_class = true, batch = 15, rounds = 2 }
strategy = { id = "under-check" }
compute = { threads = 1 }
"#;

/// Whether two runs end alike.
pub fn repeats(make: &dyn Make, trainer: &dyn Trainer) -> Result<Verdict, Broken> {
    let (first, second) = (once(make, trainer)?, once(make, trainer)?);
    if first != second {
        return Err(Broken("the two runs picked other samples or ended with other accuracies".to_owned()));
    }
    let overrides = first.iter().any(|round| round.changed_training);
    let said = if overrides { ", and changes how the model is trained" } else { "" };
    Ok(Verdict::Note(format!("answers {} queries{said}", first.len() - 1)))
}

/// What a round came to.
#[derive(PartialEq)]
struct Outcome {
    accuracy: f64,
    picks: Vec<SampleId>,
    changed_training: bool,
}

fn once(make: &dyn Make, trainer: &dyn Trainer) -> Result<Vec<Outcome>, Broken> {
    let params = querist_conformance::least_params(make)?;
    let mut strategy = make.make(&params, 1, TILE_BYTES).map_err(Broken)?;
    trial(&mut *strategy, trainer).map_err(|error| Broken(format!("{error:#}")))
}

fn trial(strategy: &mut dyn Strategy, trainer: &dyn Trainer) -> anyhow::Result<Vec<Outcome>> {
    let config = toml::from_str::<RunConfig>(RUN)?.resolved();
    let dataset = querist_data::load(&config.experiment.dataset, &querist_data::Search::from_env())?;
    let data = &config.experiment.dataset;
    let split = Split::draw(&dataset, data.validation, data.test, config.seeds.split_stream())?;
    let task = Task { pool: split.pool.len(), classes: dataset.classes(), listed: None };
    let plan = config.experiment.budget.plan(task)?;
    let mut learner = trainer.learner(&dataset, &split.pool, &config, None, None, &|_| ())?;
    let mut oracle = DatasetOracle::new(&dataset);
    let initial = oracle.initial_set(&split, plan.initial_set(), &[], config.seeds.initial_stream())?;
    let mut memory = Memory::default();
    let mut parts = Run {
        dataset: &dataset,
        split: &split,
        plan: &plan,
        options: QueryOptions::default(),
        seeds: config.seeds,
        learner: &mut *learner,
        strategy,
        oracle: &mut oracle,
        observer: &mut memory,
        stop_after: None,
    };
    run(&mut parts, Position::start(&split.pool, &initial)?)?;
    Ok(memory.rounds)
}

/// Keeps what rounds came to.
#[derive(Default)]
struct Memory {
    rounds: Vec<Outcome>,
}

impl Observer for Memory {
    fn progress(&self) -> &dyn Progress {
        &Silent
    }

    fn round_done(&mut self, round: &FinishedRound<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let record = round.record;
        self.rounds.push(Outcome {
            accuracy: record.metrics.accuracy,
            picks: record.acquired.clone(),
            changed_training: json!(record.overrides) != json!({}),
        });
        Ok(())
    }
}
