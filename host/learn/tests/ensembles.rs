//! Ensembles as the loop uses them, on images made here.

mod common;

use common::{bars, ids, labelled, learner, model, quick, seeds, settings};
use querist_core::config::{Adversarial, EnsembleConfig, Evaluate, ModelName};
use querist_core::progress::Silent;
use querist_core::{Dataset, FeatureTask, FitTask, Fitted, Learner, Round, ServiceScope};
use querist_learn::{Settings, TorchLearner};
use querist_protocol::Need;

const CLASSES: usize = 2;

fn ensemble(dataset: &Dataset, name: ModelName, config: &EnsembleConfig) -> TorchLearner {
    learner(dataset, name, &quick()).with_ensemble(config).unwrap()
}

/// Trains on samples 0 to 19, with 20 to 39 as the pool and `batch` to ask for.
fn fit(learner: &mut TorchLearner, needs: &[Need], batch: usize) -> Fitted {
    let (pool, labelled) = (ids(20..40), labelled(0..20));
    let seeds = seeds(3);
    let scope = ServiceScope {
        round: Round(1),
        pool: &pool,
        labelled: &labelled,
        initial: 20,
        batch,
        streams: seeds.strategy(""),
    };
    learner.fit(FitTask { scope, hooks: None, needs, synthetic: &[], validation: &[] }, &Silent).unwrap()
}

/// `[rows, members, classes]` of the pool.
fn members(learner: &mut TorchLearner, needs: &[Need]) -> Vec<f32> {
    let arrays =
        learner.features(FeatureTask { needs, pool: &ids(20..40), ..FeatureTask::default() }, &Silent).unwrap();
    let array = &arrays[needs[0].name()];
    assert_eq!(array.shape(), [20, members_of(needs), CLASSES]);
    array.as_f32().unwrap().to_vec()
}

fn members_of(needs: &[Need]) -> usize {
    needs[0].arg("M").unwrap().parse().unwrap()
}

fn need(members: usize) -> Vec<Need> {
    vec![Need::new("member_log_probs").with("M", members)]
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
    row.iter().map(|&x| f64::from(x) - sum.ln()).collect()
}

/// The rows of one member.
fn of(rows: &[f32], count: usize, member: usize) -> Vec<f32> {
    rows.chunks(count * CLASSES).flat_map(|row| row[member * CLASSES..(member + 1) * CLASSES].to_vec()).collect()
}

#[test]
fn a_member_alone_is_the_model_of_a_run_with_its_seeds() {
    let dataset = bars(40, 16, 1);
    for name in [ModelName::Mlp, ModelName::Lenet] {
        let mut whole = ensemble(&dataset, name, &EnsembleConfig::default());
        let record = fit(&mut whole, &need(3), 5).ensemble.unwrap();
        assert_eq!((record.seconds.len(), record.seconds[0], record.unlabelled), (3, 0.0, 0));
        let rows = members(&mut whole, &need(3));
        for member in 0..3 {
            let (options, recipe) = (model(name), quick());
            let alone = Settings { seeds: seeds(3).member(member), ..settings(&options, &recipe) };
            let mut alone = TorchLearner::new(&dataset, &ids(0..40), &alone).unwrap();
            fit(&mut alone, &[], 5);
            let logits = alone.logits(&ids(20..40), &Silent).unwrap();
            for (found, logits) in of(&rows, 3, member).chunks(CLASSES).zip(logits.chunks(CLASSES)) {
                for (found, expected) in found.iter().zip(log_softmax(logits)) {
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-6 * (10.0 + expected.abs()),
                        "{name:?} {member}: {found} {expected}"
                    );
                }
            }
        }
        assert_ne!(of(&rows, 3, 0), of(&rows, 3, 1));
        assert_ne!(of(&rows, 3, 1), of(&rows, 3, 2));
        // A part of the ensemble is the ensemble of its first members, and training again gives the same bits.
        let mut again = ensemble(&dataset, name, &EnsembleConfig::default());
        fit(&mut again, &need(2), 5);
        let two = members(&mut again, &need(2));
        assert_eq!(of(&two, 2, 1), of(&rows, 3, 1));
    }
}

#[test]
fn the_task_model_is_the_one_without_an_ensemble() {
    let dataset = bars(40, 8, 1);
    let plain = {
        let mut plain = learner(&dataset, ModelName::Cnn, &quick());
        fit(&mut plain, &[], 5);
        plain.model().unwrap()
    };
    for adversarial in [Adversarial::None, Adversarial::Fgsm, Adversarial::Vat] {
        let config = EnsembleConfig { adversarial, ..EnsembleConfig::default() };
        let mut whole = ensemble(&dataset, ModelName::Cnn, &config);
        assert!(fit(&mut whole, &need(2), 5).ensemble.is_some());
        assert!(whole.model().unwrap() == plain, "{adversarial:?}");
    }
}

#[test]
fn the_mean_of_the_members_is_evaluated_unless_the_task_model_is_asked_for() {
    let dataset = bars(40, 8, 1);
    for evaluate in [Evaluate::Mean, Evaluate::Task] {
        let config = EnsembleConfig { evaluate, ..EnsembleConfig::default() };
        let mut learner = ensemble(&dataset, ModelName::Mlp, &config);
        fit(&mut learner, &need(3), 5);
        let rows = members(&mut learner, &need(3));
        let (pool, logits) = (ids(20..40), learner.logits(&ids(20..40), &Silent).unwrap());
        let found = learner.evaluated(&pool, &Silent).unwrap();
        if evaluate == Evaluate::Task {
            assert_eq!(found, logits);
            continue;
        }
        for (row, found) in rows.chunks(3 * CLASSES).zip(found.chunks(CLASSES)) {
            for class in 0..CLASSES {
                let mean = (0..3).map(|m| f64::from(row[m * CLASSES + class]).exp()).sum::<f64>() / 3.0;
                assert!((f64::from(found[class]) - mean.ln()).abs() < 1e-5, "{found:?} {mean}");
            }
        }
    }
}

#[test]
fn members_are_trained_only_where_somebody_looks() {
    let dataset = bars(40, 8, 1);
    let config = EnsembleConfig { evaluate: Evaluate::Task, ..EnsembleConfig::default() };
    let mut learner = ensemble(&dataset, ModelName::Mlp, &config);
    assert!(fit(&mut learner, &[Need::new("logits")], 5).ensemble.is_none());
    assert!(fit(&mut learner, &need(2), 0).ensemble.is_none(), "no query follows, and nobody is evaluated");
    assert!(fit(&mut learner, &need(2), 5).ensemble.is_some());
    let mut learner = ensemble(&dataset, ModelName::Mlp, &EnsembleConfig::default());
    assert!(fit(&mut learner, &need(2), 0).ensemble.is_some(), "the mean is evaluated");
}

/// Adversarial images change what is learned, by as much as the settings say, and the same way each time.
#[test]
fn adversarial_images_take_part() {
    let dataset = bars(40, 8, 1);
    let rows = |config: &EnsembleConfig| {
        let mut learner = ensemble(&dataset, ModelName::Cnn, config);
        let record = fit(&mut learner, &need(2), 5).ensemble.unwrap();
        assert_eq!((record.adversarial, record.seconds.len()), (config.adversarial, 2));
        assert!(record.seconds[0] > 0.0 || config.adversarial == Adversarial::None);
        (members(&mut learner, &need(2)), record.unlabelled)
    };
    let base = EnsembleConfig::default;
    let (plain, none) = rows(&base());
    assert_eq!(none, 0);
    for adversarial in [Adversarial::Fgsm, Adversarial::Vat] {
        let config = EnsembleConfig { adversarial, ..base() };
        let (found, unlabelled) = rows(&config);
        assert_eq!(unlabelled, if adversarial == Adversarial::Vat { 20 } else { 0 });
        assert_ne!(found, plain, "{adversarial:?}");
        assert_eq!(found, rows(&config).0, "{adversarial:?} does not repeat");
    }
    // Without any change of the images, the divergence and its gradient are 0.
    let (still, _) = rows(&EnsembleConfig { adversarial: Adversarial::Vat, vat_eps: 0.0, ..base() });
    for (a, b) in of(&still, 2, 1).iter().zip(of(&plain, 2, 1)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let dataset = bars(40, 8, 1);
    for (config, part) in [
        (EnsembleConfig { fgsm_eps: -0.1, ..EnsembleConfig::default() }, "ensemble.fgsm_eps is -0.1"),
        (EnsembleConfig { vat_eps: f64::NAN, ..EnsembleConfig::default() }, "ensemble.vat_eps is NaN"),
        (EnsembleConfig { vat_xi: 0.0, ..EnsembleConfig::default() }, "ensemble.vat_xi is 0"),
        (EnsembleConfig { vat_iters: 0, ..EnsembleConfig::default() }, "ensemble.vat_iters is 0"),
    ] {
        match learner(&dataset, ModelName::Mlp, &quick()).with_ensemble(&config) {
            Err(error) => assert!(error.to_string().contains(part), "{error}"),
            Ok(_) => panic!("expected `{part}`"),
        }
    }
}
