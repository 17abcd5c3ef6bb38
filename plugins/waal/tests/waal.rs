//! What the method promises, on its critic and formulas alone and over real trainings.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, at_least, at_most, bars, inverted, odd_picks, seeded, settled};
use serde_json::{Value, json};
use strategy_waal::{
    Bias, Critic, CriticOptimiser, CriticOutput, PACKAGE, Settings, Uncertainty, WaalParams, Weights, distance,
    penalty, uncertainty, weights,
};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

#[test]
fn the_factor_falls_from_one_to_nothing_as_the_batch_grows() {
    let factor = |labelled, unlabelled, batch| {
        let Weights { whole, labelled: same } = weights(Bias::Balanced, unlabelled, labelled, batch);
        let Weights { whole: one, labelled: printed } = weights(Bias::Paper, unlabelled, labelled, batch);
        assert_eq!((whole, same, one), (printed, 1.0, 1.0));
        whole
    };
    for (labelled, unlabelled) in [(1000, 49_000), (10_000, 40_000), (7, 3)] {
        assert_eq!(factor(labelled, unlabelled, 0), 1.0);
        assert_eq!(factor(labelled, unlabelled, unlabelled), 0.0);
        let falling: Vec<f64> = (0..=unlabelled).map(|batch| factor(labelled, unlabelled, batch)).collect();
        assert!(falling.windows(2).all(|pair| pair[1] < pair[0]));
    }
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 5e-4, "{found} {expected}");
    near(factor(1000, 49_000, 1000), 0.490);
    near(factor(10_000, 40_000, 1000), 0.886);
    near(weights(Bias::AuthorsCode, 49_000, 1000, 1000).labelled, 0.020);
    near(weights(Bias::AuthorsCode, 40_000, 10_000, 1000).labelled, 0.25);
    // A batch larger than the pool is the pool.
    assert_eq!(factor(10, 5, 50), 0.0);
}

/// The distance that the model and the critic see is that between all samples and those with labels after the query, if
/// the batch is like the pool: counted out here sample by sample.
#[test]
fn the_distance_is_that_of_the_labelled_set_after_the_query() {
    for (l, u, b) in [(4, 6, 2), (1, 30, 7), (20, 5, 5)] {
        let (of_labelled, of_pool) = (0.7, -1.9);
        let sum = |labelled: u32, pool: u32| f64::from(labelled) * of_labelled + f64::from(pool) * of_pool;
        let apart = sum(l, u) / f64::from(l + u) - sum(l, b) / f64::from(l + b);
        let Weights { whole, labelled } = weights(Bias::Balanced, u, l, b);
        let number = |value: f64| Tensor::from_slice(&[value]);
        let found = distance(&number(of_pool), &number(of_labelled), labelled).unwrap().double_value(&[]) * whole;
        assert!((found - apart * f64::from(l + u) / f64::from(u)).abs() < 1e-12, "{found} {apart}");
    }
}

#[test]
fn bounds_are_smallest_for_the_uniform_prediction() {
    seeded(1);
    let sides =
        |logits: &[f32], of| floats(&uncertainty(&Tensor::from_slice(logits).view([1, -1]), of).unwrap()).unwrap()[0];
    let ln4 = 4f64.ln();
    let uniform = [0.0f32; 4];
    let by_hand = [ln4, 4.0 * ln4, 2.0 * ln4, 2.5 * ln4, 3.0 * ln4];
    use Uncertainty::{L1, L2, Mix, MixL2, Worst};
    for (of, expected) in [Worst, L1, L2, Mix, MixL2].into_iter().zip(by_hand) {
        assert!((sides(&uniform, of) - expected).abs() < 1e-6, "{of:?}");
        let others = Tensor::randn([200, 4], FLOAT);
        let least = floats(&uncertainty(&others, of).unwrap()).unwrap().into_iter().fold(f64::MAX, f64::min);
        assert!(least > expected, "{of:?}: {least} {expected}");
        // A probability that underflowed counts as one of exp(-30).
        assert!(sides(&[1e4, -1e4, 0.0, 0.0], of).is_finite());
    }
    assert_eq!(sides(&[1e4, -1e4, 0.0, 0.0], Worst), 30.0);
}

#[test]
fn a_plane_of_slope_one_has_no_penalty() {
    seeded(2);
    let direction = Tensor::randn([5], FLOAT);
    let direction = &direction / direction.norm();
    let points = Tensor::randn([30, 5], FLOAT) * 4.0;
    let of = |slope: f64| {
        let judge = |points: &Tensor| Ok(points.f_mv(&(&direction * slope))?);
        penalty(&judge, &points).unwrap().double_value(&[])
    };
    assert!(of(1.0) < 1e-10 && (of(3.0) - 4.0).abs() < 1e-4 && (of(0.0) - 1.0).abs() < 1e-4);
}

/// With w the slope of a linear critic between two points at distance d, `-w d + gp (w - 1)^2` is least at
/// `w = 1 + d / (2 gp)`.
#[test]
fn a_linear_critic_converges_to_the_distance_of_two_points() {
    seeded(3);
    let d = 0.7;
    for gp in [1.0, 10.0, 100.0, -2.0] {
        let weight = Tensor::from_slice(&[1.5f32, 0.0]).set_requires_grad(true);
        let (labelled, unlabelled) =
            (Tensor::zeros([8, 2], FLOAT), Tensor::from_slice(&[d as f32, 0.0]).expand([8, 2], false));
        let points = Tensor::cat(&[&labelled, &unlabelled], 0);
        let mut reached = 0.0;
        for _ in 0..400 {
            let judge = |points: &Tensor| Ok(points.f_mv(&weight)?);
            let w = distance(&judge(&unlabelled).unwrap(), &judge(&labelled).unwrap(), 1.0).unwrap();
            reached = w.double_value(&[]);
            let loss = penalty(&judge, &points).unwrap() * gp - w;
            let slope = grad(&loss, std::slice::from_ref(&weight), false).unwrap().remove(0);
            let _no_grad = tch::no_grad_guard();
            let _ = weight.shallow_clone().subtract_(&(slope * (0.2 / f64::abs(gp))));
        }
        let expected = d * (1.0 + d / (2.0 * gp));
        match gp > 0.0 {
            true => assert!((reached - expected).abs() < 1e-3, "{gp}: {reached} {expected}"),
            // The sign of the released code rewards steepness.
            false => assert!(reached.is_nan() || reached > 1e6, "{reached}"),
        }
    }
}

fn settings() -> Settings {
    WaalParams::default().critic()
}

#[test]
fn the_critic_has_its_size_and_learns_what_is_unlabelled() {
    seeded(4);
    let mut critic = Critic::new(settings(), 512, Device::Cpu).unwrap();
    // (512 + 1) 50 + (50 + 1).
    assert_eq!(critic.parameters(), 25_701);
    let cloud = |at: f64| Tensor::randn([64, 512], FLOAT) * 0.1 + at;
    for _ in 0..300 {
        drop(critic.step(&cloud(0.05), &cloud(-0.05), 1.0).unwrap());
    }
    let mean = |at: f64| critic.judge(&cloud(at), true, false).unwrap().mean(Kind::Float).double_value(&[]);
    // The clouds are d = sqrt(512) / 10 apart, and the penalty has its weight: see above.
    let (found, d) = (mean(0.05) - mean(-0.05), 512f64.sqrt() / 10.0);
    let expected = d * (1.0 + d / (2.0 * settings().gp_weight));
    at_most("error", (found / expected - 1.0).abs(), 0.2);
}

/// Share of pairs of which the one of `others` scores higher.
fn auc(these: &[f64], others: &[f64]) -> f64 {
    let won = these.iter().flat_map(|a| others.iter().map(move |b| f64::from(u8::from(b > a))));
    won.sum::<f64>() / (these.len() * others.len()) as f64
}

/// Embeddings after a ReLU lie on one side of 0. What the labelled set lacks may well be nearer to 0 than all it has,
/// and a critic that grows along what both sets share would take it for the most labelled of all.
#[test]
fn what_the_labelled_set_lacks_is_found_wherever_it_lies() {
    const ROWS: i64 = 64;
    let sees = |bias: Bias| {
        seeded(8);
        let mut critic = Critic::new(settings(), 32, Device::Cpu).unwrap();
        let cloud = |at: f64| (Tensor::randn([ROWS, 32], FLOAT) * 0.3 + at).relu();
        // Half of the pool is like the labelled samples, the other half at half their length.
        let weight = weights(bias, 4000, 1000, 1000).labelled;
        for _ in 0..400 {
            let pool = Tensor::cat(&[cloud(2.0), cloud(1.0)], 0);
            drop(critic.step(&pool, &cloud(2.0), weight).unwrap());
        }
        let judge = |at: f64| floats(&critic.judge(&cloud(at), true, false).unwrap()).unwrap();
        auc(&judge(2.0), &judge(1.0))
    };
    at_least("balanced", sees(Bias::Balanced), 0.9);
    // The formula as it is printed, with a critic that nothing bounds.
    at_most("paper", sees(Bias::Paper), 0.1);
}

#[test]
fn frozen_weights_get_no_gradient_but_embeddings_do() {
    seeded(5);
    let critic = Critic::new(Settings { output: CriticOutput::Sigmoid, ..settings() }, 6, Device::Cpu).unwrap();
    let z = Tensor::randn([3, 6], FLOAT).set_requires_grad(true);
    let judged = critic.judge(&z, true, true).unwrap();
    assert!(judged.min().double_value(&[]) > 0.0 && judged.max().double_value(&[]) < 1.0);
    judged.sum(Kind::Float).backward();
    assert!(z.grad().defined() && z.grad().abs().max().double_value(&[]) > 0.0);
}

#[test]
fn defaults_follow_the_preset() {
    let paper = WaalParams::default();
    assert_eq!((paper.bias, paper.uncertainty), (Bias::Paper, Uncertainty::Mix));
    assert_eq!(settled::<WaalParams>(&json!({})), paper);
    assert_eq!(settled::<WaalParams>(&json!({"profile": "paper"})), paper);
    let peer: WaalParams = settled(&json!({"preset": "authors-code"}));
    let old = json!({"profile": "peer", "bias": "peer", "uncertainty": "mix_l2"});
    assert_eq!(settled::<WaalParams>(&old), peer);
    assert_eq!((peer.bias, peer.uncertainty), (Bias::AuthorsCode, Uncertainty::MixL2));
    let critic = peer.critic();
    assert_eq!((critic.output, critic.dropout, critic.gp_weight), (CriticOutput::Sigmoid, 0.5, -2.0));
    assert_eq!((critic.optimiser, critic.lr, critic.momentum), (CriticOptimiser::Sgd, 0.01 * 2e-3, 0.3));
    assert_eq!((paper.critic().gp_weight, paper.critic().dropout), (2.0, 0.0));
    assert_eq!(settled::<WaalParams>(&json!({"preset": "authors-code", "gp_weight": 5.0})).critic().gp_weight, 5.0);
}

fn strategy(params: &Value) -> InProcess {
    InProcess::new(&PACKAGE, "waal", params).unwrap()
}

/// The tensors of a model's file, by name.
fn tensors(model: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let header = u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&model[8..8 + header]).unwrap();
    let data = &model[8 + header..];
    let of = |value: &Value, at: usize| value["data_offsets"][at].as_u64().unwrap() as usize;
    let named = names.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    named.map(|(name, value)| (name.clone(), data[of(value, 0)..of(value, 1)].to_vec())).collect()
}

#[test]
fn the_head_does_not_feel_the_distance_and_the_body_does() {
    let train = |params: Option<Value>| {
        // One step: as many labelled as fit into a minibatch, and no more in the pool.
        let recipe = Recipe { epochs: 1, minibatch: 32, ..Recipe::default() };
        let mut bench = Bench::new(&bars(60, 16, 1), 32, 4, ModelName::Cnn, &recipe);
        let mut strategy = params.map(|params| strategy(&params));
        bench.fit(strategy.as_mut().map(|s| s as _)).unwrap();
        tensors(&bench.model())
    };
    let (alone, without) = (train(None), train(Some(json!({ "mu_train": 0.0 }))));
    assert!(alone == without, "a distance that counts nothing changed the model");
    let with = train(Some(json!({ "mu_train": 1.0 })));
    for (name, values) in &with {
        assert_eq!(*values == alone[name], name.starts_with("head"), "{name}");
    }
}

#[test]
fn an_epoch_goes_through_the_pool_unless_told_otherwise() {
    let epochs = |params: Value| {
        let recipe = Recipe { epochs: 1, minibatch: 8, ..Recipe::default() };
        let mut bench = Bench::new(&bars(90, 16, 1), 10, 4, ModelName::Cnn, &recipe);
        let fitted = bench.fit(Some(&mut strategy(&params))).unwrap();
        (fitted.overrides, fitted.epochs[0].extra_loss)
    };
    let (overrides, extra) = epochs(json!({}));
    assert_eq!(overrides.epoch_length, Some(EpochLength::Longest));
    assert!(extra.unwrap().is_finite());
    assert_eq!(epochs(json!({ "epoch_length": "labelled" })).0.epoch_length, Some(EpochLength::Labelled));
    assert_eq!(epochs(json!({ "preset": "authors-code" })).0, overrides);
}

#[test]
fn images_unlike_the_labelled_ones_are_asked() {
    // The critic decides alone, on features that do not hide from it what it has found: what it still sees in features
    // that do, at the step that happens to be the last, is a matter of luck. A training of 150 steps is short, so it
    // takes more and larger ones of its own.
    let params =
        json!({ "bias": "balanced", "mu_train": 0.0, "mu_query": 1000.0, "critic_lr": 0.003, "critic_steps": 10 });
    let bench = |seed| {
        let recipe = Recipe { lr: 0.01, epochs: 30, minibatch: 16, ..Recipe::default() };
        Bench::from_seed(seed, &inverted(160, 80, 16), 80, 10, ModelName::Cnn, &recipe)
    };
    let hits = (1..=3).map(|seed| {
        let (mut bench, mut waal) = (bench(10 * seed), strategy(&params));
        bench.fit(Some(&mut waal)).unwrap();
        odd_picks(&bench.query(&mut waal, &Silent).unwrap())
    });
    at_least("planted of 30", hits.sum::<usize>() as f64, 24.0);
}

#[test]
fn rounds_repeat() {
    let ask = |seed: u64| {
        let recipe = Recipe { epochs: 2, minibatch: 8, ..Recipe::default() };
        let mut bench = Bench::new(&bars(60, 16, 1), 20, 6, ModelName::Cnn, &recipe);
        bench.seeds = querist_core::Seeds::new(seed);
        let mut waal = strategy(&json!({}));
        bench.fit(Some(&mut waal)).unwrap();
        bench.query(&mut waal, &Silent).unwrap()
    };
    let asked = ask(5);
    assert!(asked.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", asked.scores);
    assert_eq!(asked, ask(5));
    assert_ne!(asked.scores, ask(6).scores, "the strategy's seed does not enter");
}

#[test]
fn an_empty_pool_trains_as_without_and_what_does_not_fit_is_refused() {
    let recipe = Recipe { epochs: 1, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(21, 16, 1), 21, 4, ModelName::Cnn, &recipe);
    bench.fit(Some(&mut strategy(&json!({})))).unwrap();
    let with = bench.model();
    bench.fit(None).unwrap();
    assert!(with == bench.model());
    let mut bench = Bench::new(&bars(40, 16, 1), 21, 4, ModelName::Cnn, &recipe);
    bench.fit(None).unwrap();
    let error = bench.query(&mut strategy(&json!({})), &Silent).unwrap_err().to_string();
    assert!(error.contains("was not trained"), "{error}");
    let error = InProcess::new(&PACKAGE, "waal", &json!({ "critic_dropout": 1.0 })).err().unwrap().to_string();
    assert!(error.contains("critic_dropout is 1"), "{error}");
}

#[test]
fn a_labelled_set_of_one_class_is_enough() {
    let recipe = Recipe { epochs: 2, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(60, 16, 1), 22, 6, ModelName::Cnn, &recipe).of_one_class();
    let mut waal = strategy(&json!({}));
    bench.fit(Some(&mut waal)).unwrap();
    assert_eq!(bench.query(&mut waal, &Silent).unwrap().rows.len(), 6);
}
