//! What the method promises, on its module alone and over a real training.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, at_least, bars, seeded, settled};
use serde_json::json;
use strategy_learning_loss::{LearningLossParams, LossModule, PACKAGE, Ties, pair_loss};

fn loss(predicted: &[f32], losses: &[f32], ties: Ties) -> f64 {
    let (predicted, losses) = (Tensor::from_slice(predicted), Tensor::from_slice(losses));
    pair_loss(&predicted, &losses, 1.0, ties).unwrap().unwrap().double_value(&[])
}

#[test]
fn right_predictions_far_apart_cost_nothing_and_equal_ones_the_margin() {
    seeded(1);
    let losses = [0.3, 1.0, 0.1, 2.0, 0.7, 0.2];
    let scaled = losses.map(|l| 100.0 * l);
    assert_eq!(loss(&scaled, &losses, Ties::Skip), 0.0);
    assert_eq!(loss(&[5.0; 6], &losses, Ties::Skip), 1.0);
    // By hand: pairs (0, 3) and (1, 2), with r differences 1 and -2 and the losses in the other and the same order.
    let by_hand = (1.0 + 1.0) / 2.0;
    assert_eq!(loss(&[1.0, 0.0, 2.0, 0.0], &[1.0, 1.0, 2.0, 3.0], Ties::Skip), by_hand);
}

#[test]
fn the_order_of_pairs_does_not_matter_and_a_lone_sample_is_left_out() {
    seeded(1);
    let (r, l) = ([0.1, 0.7, -0.3, 0.2, 0.9, 0.4], [1.0, 0.2, 0.5, 0.8, 0.1, 2.0]);
    // Pairs (0, 5), (1, 4), (2, 3) become (2, 3), (5, 0), (4, 1).
    let moved = |v: [f32; 6]| [v[2], v[5], v[4], v[1], v[0], v[3]];
    let (plain, permuted) = (loss(&r, &l, Ties::Skip), loss(&moved(r), &moved(l), Ties::Skip));
    assert!((plain - permuted).abs() < 1e-7, "{plain} {permuted}");
    let odd = |v: [f32; 6]| [v[0], v[1], v[2], v[3], v[4], v[5], 9.0];
    assert_eq!(loss(&odd(r), &odd(l), Ties::Skip), plain);
    let one = Tensor::from_slice(&[1.0f32]);
    assert!(pair_loss(&one, &one, 1.0, Ties::Skip).unwrap().is_none());
}

#[test]
fn equal_losses_count_nothing_or_as_the_peers_have_them() {
    seeded(1);
    let (r, l) = ([3.0, 0.0, 0.5, 0.0], [1.0, 1.0, 2.0, 1.0]);
    // The pair (0, 3) is a tie; (1, 2) costs max(0, 1 - 0.5).
    assert_eq!(loss(&r, &l, Ties::Skip), 0.25);
    assert_eq!(loss(&r, &l, Ties::Smaller), (4.0 + 0.5) / 2.0);
}

#[test]
fn losses_are_held_fixed() {
    seeded(1);
    let losses = Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true);
    let predicted = Tensor::from_slice(&[1.0f32, 0.5]).set_requires_grad(true);
    pair_loss(&predicted, &losses, 1.0, Ties::Skip).unwrap().unwrap().backward();
    assert!(!losses.grad().defined());
    assert_eq!(floats(&predicted.grad()).unwrap(), [1.0, -1.0]);
}

#[test]
fn the_module_has_the_published_size() {
    seeded(1);
    let module = LossModule::new(&LearningLossParams::default().module(), &[64, 128, 256, 512], Device::Cpu).unwrap();
    assert_eq!(module.parameters(), 123_905);
    assert!(LossModule::new(&LearningLossParams::default().module(), &[], Device::Cpu).is_err());
}

#[test]
fn defaults_follow_the_preset_and_the_number_of_epochs() {
    let paper = LearningLossParams::default();
    assert_eq!((paper.schedule().cut(200), paper.schedule().cut(100), paper.ties), (120, 60, Ties::Skip));
    assert_eq!([159, 160].map(|epoch| paper.schedule().rate(paper.lr, epoch, 200)), [0.1, 0.1 * 0.1]);
    let peer: LearningLossParams = settled(&json!({"preset": "authors-code"}));
    assert_eq!(settled::<LearningLossParams>(&json!({"profile": "peer"})), peer);
    assert_eq!(settled::<LearningLossParams>(&json!({})), paper);
    assert_eq!((peer.schedule().cut(200), peer.ties), (121, Ties::Smaller));
    let set: LearningLossParams = settled(&json!({"preset": "authors-code", "epoch_loss": 7, "ties": "skip"}));
    assert_eq!((set.schedule().cut(200), set.ties), (7, Ties::Skip));
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order.iter().enumerate().for_each(|(rank, &at)| ranks[at] = rank as f64);
    ranks
}

fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let squares: f64 = ranks(a).iter().zip(ranks(b)).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[test]
fn maps_that_hold_the_loss_are_learned_from() {
    seeded(4);
    let params = LearningLossParams { lr: 0.02, ..LearningLossParams::default() };
    let mut module = LossModule::new(&params.module(), &[4, 3], Device::Cpu).unwrap();
    let sample = |n: i64| {
        let losses = Tensor::rand([n], (Kind::Float, Device::Cpu));
        let noise = |c| Tensor::rand([n, c, 2, 2], (Kind::Float, Device::Cpu));
        let hidden = losses.view([n, 1, 1, 1]).expand([n, 1, 2, 2], false);
        (vec![Tensor::cat(&[hidden, noise(3)], 1), noise(3)], losses)
    };
    let (test_maps, test_losses) = sample(200);
    let agreement = |module: &LossModule| {
        spearman(&floats(&module.predict(&test_maps, true).unwrap()).unwrap(), &floats(&test_losses).unwrap())
    };
    for _ in 0..300 {
        let (maps, losses) = sample(64);
        pair_loss(&module.predict(&maps, false).unwrap(), &losses, 1.0, Ties::Skip).unwrap().unwrap().backward();
        module.step(0.02);
    }
    at_least("agreement", agreement(&module), 0.9);
}

fn recipe(epochs: usize) -> Recipe {
    // 21 samples in minibatches of 8: the last one is odd.
    Recipe { epochs, minibatch: 8, ..Recipe::default() }
}

fn strategy(params: &serde_json::Value) -> InProcess {
    InProcess::new(&PACKAGE, "learning-loss", params).unwrap()
}

/// The same bits with and without the strategy where the model does not feel it, others where it does.
#[test]
fn after_the_cut_the_model_trains_as_if_alone() {
    for name in [ModelName::Cnn, ModelName::Resnet18] {
        let data = bars(60, 16, 1);
        let train = |params: Option<serde_json::Value>| {
            let mut bench = Bench::new(&data, 21, 4, name, &recipe(2));
            let mut strategy = params.map(|params| strategy(&params));
            let fitted = bench.fit(strategy.as_mut().map(|s| s as _)).unwrap();
            (bench.model(), fitted.epochs[0].extra_loss)
        };
        let (alone, no_extra) = train(None);
        let (cut, extra) = train(Some(json!({ "epoch_loss": 0 })));
        assert!(alone == cut, "{name:?}: the model felt the module after the cut");
        assert!(no_extra.is_none() && extra.unwrap() > 0.0);
        assert!(alone == train(Some(json!({ "weight": 0.0 }))).0, "{name:?}: weight 0");
        assert!(alone != train(Some(json!({ "epoch_loss": 2 }))).0, "{name:?}: the model never felt the module");
    }
}

#[test]
fn the_largest_predictions_are_asked_and_rounds_repeat() {
    let data = bars(80, 16, 1);
    let ask = |params: serde_json::Value| {
        let mut bench = Bench::new(&data, 21, 6, ModelName::Cnn, &recipe(3));
        let mut strategy = strategy(&params);
        bench.fit(Some(&mut strategy)).unwrap();
        bench.query(&mut strategy, &Silent).unwrap()
    };
    let all = ask(json!({ "subset_size": null }));
    assert_eq!(all.rows.len(), 6);
    assert!(all.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", all.scores);
    assert_eq!(all, ask(json!({ "subset_size": null })));
    // The ten thousand rows of the default are more than the pool has.
    assert_eq!(all, ask(json!({})));
    let some = ask(json!({ "subset_size": 20 }));
    assert!(some.scores[5] < all.scores[5] || some.rows == all.rows);
    assert!(some.rows.iter().all(|&row| row < 59));
    // A subset smaller than the batch grows to it.
    assert_eq!(ask(json!({ "subset_size": 1 })).rows.len(), 6);
}

#[test]
fn a_query_without_training_is_refused() {
    let mut bench = Bench::new(&bars(60, 16, 1), 20, 4, ModelName::Cnn, &recipe(1));
    bench.fit(None).unwrap();
    let error = bench.query(&mut strategy(&json!({})), &Silent).unwrap_err().to_string();
    assert!(error.contains("was not trained"), "{error}");
}

#[test]
fn parameters_are_checked() {
    for (params, part) in [(json!({ "momentum": 1.0 }), "momentum is 1"), (json!({ "lambda": 1 }), "lambda")] {
        let error = InProcess::new(&PACKAGE, "learning-loss", &params).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
}
