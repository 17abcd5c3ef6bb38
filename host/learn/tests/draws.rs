//! Predictions with dropout on.

mod common;

use common::{bars, ids, labelled, quick, settings};
use querist_core::config::{ModelConfig, ModelName};
use querist_core::dataset::DatasetParts;
use querist_core::progress::Silent;
use querist_core::{Array, Dataset, FeatureTask, FitTask, Images, Learner, Round, SampleId};
use querist_learn::TorchLearner;
use querist_protocol::Need;
use querist_torch_testkit::{at_least, at_most};

const DRAWS: usize = 8;

/// The last picture is the first one again, in another block.
fn pictures() -> Dataset {
    let bars = bars(700, 16, 1);
    let mut bytes = bars.images().bytes.to_vec();
    bytes.copy_within(0..256, 699 * 256);
    Dataset::new(DatasetParts {
        name: "bars".to_owned(),
        images: Images { bytes: bytes.into(), ..bars.images().clone() },
        labels: (0..700).map(|i| i % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["upright".to_owned(), "level".to_owned()],
        normalisation: None,
        files: vec![],
    })
    .unwrap()
}

fn fitted(name: ModelName) -> TorchLearner {
    with_head(name, None)
}

fn with_head(name: ModelName, head_hidden: Option<u32>) -> TorchLearner {
    let model = ModelConfig { dropout: Some(0.3), head_hidden, ..ModelConfig::of(name) };
    let recipe = quick();
    let mut learner = TorchLearner::new(&pictures(), &ids(0..700), &settings(&model, &recipe)).unwrap();
    learner.fit(FitTask::plain(Round(2), &labelled(0..40)), &Silent).unwrap();
    learner
}

fn draw(learner: &mut TorchLearner, need: &str, samples: &[SampleId]) -> Array {
    let needs = [need.parse().unwrap()];
    let mut named =
        learner.features(FeatureTask { needs: &needs, pool: samples, ..FeatureTask::default() }, &Silent).unwrap();
    named.remove("mc_log_probs").unwrap()
}

fn rows(array: &Array) -> Vec<&[f32]> {
    array.as_f32().unwrap().chunks(DRAWS * 2).collect()
}

#[test]
fn draws_are_distributions_of_each_sample_that_differ_and_repeat() {
    for name in [ModelName::Lenet, ModelName::Resnet18, ModelName::BayesianCnn] {
        let mut learner = fitted(name);
        let before = learner.model().unwrap();
        let samples = ids(0..600);
        let all = draw(&mut learner, "mc_log_probs(T=8)", &samples);
        assert_eq!(all.shape(), [600, DRAWS, 2]);
        for row in rows(&all) {
            for draw in row.chunks(2) {
                let sum: f64 = draw.iter().map(|&l| f64::from(l).exp()).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{name:?}: {sum}");
            }
        }
        let varied = rows(&all).iter().filter(|row| row.chunks(2).any(|draw| draw != &row[..2])).count();
        at_least(&format!("{name:?}, rows of 600 that vary over draws"), varied as f64, 580.0);
        // Weights and batch-norm statistics stay as they were, and a row does not depend on the others.
        assert!(learner.model().unwrap() == before, "{name:?}: drawing changed the model");
        let some: Vec<SampleId> = samples[..512].to_vec();
        assert_eq!(rows(&draw(&mut learner, "mc_log_probs(T=8)", &some))[..512], rows(&all)[..512], "{name:?}");
    }
}

#[test]
fn coherent_draws_are_the_same_networks_for_every_sample() {
    for name in [ModelName::Lenet, ModelName::BayesianCnn, ModelName::GalCnn] {
        let mut learner = fitted(name);
        let samples = ids(0..700);
        let coherent = draw(&mut learner, "mc_log_probs(T=8, coherent)", &samples);
        let apart = draw(&mut learner, "mc_log_probs(T=8)", &samples);
        let (first, second) = (0, 699);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-5);
        assert!(close(rows(&coherent)[first], rows(&coherent)[second]), "{name:?}: equal images, the same draws");
        assert!(!close(rows(&apart)[first], rows(&apart)[second]), "{name:?}: independent masks differ by sample");
    }
}

/// With one linear layer after the mask, the mean of the dropped logits is the logits. Of two classes, the difference
/// of log-probabilities is that of the logits.
#[test]
fn many_draws_average_to_the_prediction_without_dropout() {
    const MANY: usize = 400;
    let samples = ids(0..64);
    let (mut drawn, mut logits) = (Vec::new(), Vec::new());
    for head_hidden in [None, Some(20)] {
        let mut learner = with_head(ModelName::Cnn, head_hidden);
        drawn.extend_from_slice(draw(&mut learner, "mc_log_probs(T=400)", &samples).as_f32().unwrap());
        logits.extend(learner.logits(&samples, &Silent).unwrap());
    }
    let mut most = 0f64;
    for (row, exact) in drawn.chunks(MANY * 2).zip(logits.chunks(2)) {
        let differences: Vec<f64> = row.chunks(2).map(|draw| f64::from(draw[1] - draw[0])).collect();
        let mean = differences.iter().sum::<f64>() / MANY as f64;
        let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (MANY - 1) as f64;
        let error = (variance / MANY as f64).sqrt();
        let exact = f64::from(exact[1] - exact[0]);
        most = most.max(((mean - exact).abs() - 1e-5) / error);
    }
    // Of 128 rows, one is further out once in a million times.
    at_most("standard errors", most, 6.0);
}

/// Draw t is the same network for pool and targets.
#[test]
fn coherent_draws_of_a_target_set_drop_what_those_of_the_pool_drop() {
    let mut learner = fitted(ModelName::Lenet);
    let needs: Vec<Need> =
        ["mc_log_probs(T=8, coherent)", "target.mc_log_probs(T=8, coherent, n=9)"].map(|n| n.parse().unwrap()).to_vec();
    learner.check_needs(&needs).unwrap();
    let task = FeatureTask { needs: &needs, pool: &ids(50..70), labelled: &[], target: &ids(60..69) };
    let arrays = learner.features(task, &Silent).unwrap();
    let (pool, target) = (rows(&arrays["mc_log_probs"]), rows(&arrays["target.mc_log_probs"]));
    assert_eq!(target.len(), 9);
    for (a, b) in pool[10..19].iter().flat_map(|row| row.iter()).zip(target.iter().flat_map(|row| row.iter())) {
        assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
    }
}

/// Where values lie does not change them, and nothing is left behind.
#[test]
fn arrays_beyond_the_memory_are_the_same_bits_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let needs: Vec<Need> = ["logits", "embeddings", "mc_log_probs(T=3)", "grad_embeddings", "labelled.logits"]
        .map(|need| need.parse().unwrap())
        .to_vec();
    let arrays = |mut learner: TorchLearner| {
        let task = FeatureTask { needs: &needs, pool: &ids(20..660), labelled: &ids(0..20), target: &[] };
        let arrays = learner.features(task, &Silent).unwrap();
        arrays.into_iter().map(|(name, array)| (name, array.as_f32().unwrap().to_vec())).collect::<Vec<_>>()
    };
    let in_memory = arrays(fitted(ModelName::Lenet));
    for limit in [0, 6000] {
        assert!(arrays(fitted(ModelName::Lenet).with_scratch(folder.path(), limit)) == in_memory, "{limit}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
