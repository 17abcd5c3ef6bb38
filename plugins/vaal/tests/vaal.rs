//! What the method promises, on its networks alone and over real images.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::QueryErrorKind;
use querist_core::config::{ModelName, Recipe};
use querist_core::progress::{Cancelled, Phase, Progress, Silent};
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, at_least, at_most, bars, seeded, settled};
use serde_json::json;
use strategy_vaal::{Adversaries, KlReduction, PACKAGE, Pair, Shape, VaalParams, kl, reconstruction};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn shape(channels: i64, side: i64) -> Shape {
    Shape { channels, height: side, width: side, black: vec![-0.5; channels as usize] }
}

fn pair(labelled: Tensor, unlabelled: Tensor) -> Pair {
    Pair { labelled: labelled.into(), unlabelled: unlabelled.into() }
}

fn go_on() -> Result<()> {
    Ok(())
}

#[test]
fn the_networks_have_the_published_sizes() {
    seeded(1);
    let adversaries = Adversaries::new(VaalParams::default().objective(), shape(3, 32), Device::Cpu).unwrap();
    assert_eq!(adversaries.parameters(), [22_835_139, 280_065]);
}

#[test]
fn a_standard_normal_posterior_has_no_divergence() {
    seeded(1);
    let zeros = Tensor::zeros([4, 3], FLOAT);
    let value =
        |mean: &Tensor, log_variance: &Tensor, reduction| kl(mean, log_variance, reduction).unwrap().double_value(&[]);
    for reduction in [KlReduction::Sum, KlReduction::Mean, KlReduction::SumDim] {
        assert_eq!(value(&zeros, &zeros, reduction), 0.0);
    }
    // Mean 2 and variance 1 diverge by 2 in each of 12 places.
    let twos = Tensor::full([4, 3], 2.0, FLOAT);
    let by = |reduction| value(&twos, &zeros, reduction);
    assert_eq!([by(KlReduction::Sum), by(KlReduction::Mean), by(KlReduction::SumDim)], [24.0, 2.0, 6.0]);
    // Variance e: (e - 2) / 2.
    let ones = Tensor::ones([4, 3], FLOAT);
    assert!((value(&zeros, &ones, KlReduction::Mean) - (1f64.exp() - 2.0) / 2.0).abs() < 1e-6);
}

/// Share of pairs of which the unlabelled one scores higher.
fn auc(labelled: &[f64], unlabelled: &[f64]) -> f64 {
    let won = labelled.iter().flat_map(|l| unlabelled.iter().map(move |u| f64::from(u8::from(u > l))));
    won.sum::<f64>() / (labelled.len() * unlabelled.len()) as f64
}

#[test]
fn the_discriminator_alone_tells_blobs_apart_and_the_query_follows_it() {
    seeded(2);
    let mut adversaries = Adversaries::new(VaalParams::default().objective(), shape(1, 16), Device::Cpu).unwrap();
    let blob = |centre: f64, n: i64| Tensor::randn([n, 32], FLOAT) * 0.5 + centre;
    for _ in 0..100 {
        drop(adversaries.step_discriminator_on(&blob(-1.0, 32), &blob(1.0, 32)).unwrap());
    }
    let (labelled, unlabelled) = (blob(-1.0, 100), blob(1.0, 100));
    let scores = |codes: &Tensor| adversaries.score_codes(codes).unwrap();
    let area = auc(&scores(&labelled), &scores(&unlabelled));
    at_least("area", area, 0.98);
    // A pool of which rows 100 to 199 are unlike the labelled samples.
    let pool = scores(&Tensor::cat(&[labelled, unlabelled], 0));
    let rows: Vec<u32> = (0..200).collect();
    let unlike = largest(&rows, &pool, 50).unwrap().rows.iter().filter(|&&row| row >= 100).count();
    at_least("unlike of 50", unlike as f64, 45.0);
}

#[test]
fn a_score_does_not_depend_on_its_batch() {
    seeded(3);
    let mut adversaries = Adversaries::new(VaalParams::default().objective(), shape(1, 16), Device::Cpu).unwrap();
    let images = Tensor::randn([12, 1, 16, 16], FLOAT);
    // Running statistics that differ from those of any batch.
    drop(adversaries.step_vae(&pair(images.shallow_clone(), &images * 2.0), &go_on).unwrap());
    let whole = adversaries.score(&images.shallow_clone().into()).unwrap();
    let split: Vec<f64> = [(0, 5), (5, 7)]
        .iter()
        .flat_map(|&(at, n)| adversaries.score(&images.narrow(0, at, n).into()).unwrap())
        .collect();
    let mut turned = adversaries.score(&images.flip([0]).into()).unwrap();
    turned.reverse();
    for other in [split, turned] {
        let apart = whole.iter().zip(&other).map(|(a, b)| (a - b).abs() / (1.0 + a.abs())).fold(0.0, f64::max);
        at_most("apart", apart, 1e-4);
    }
    assert!(whole.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn without_an_adversary_the_autoencoder_learns_its_images() {
    seeded(4);
    let params = VaalParams { adversary_weight: 0.0, ..VaalParams::default() };
    let mut adversaries = Adversaries::new(params.objective(), shape(1, 16), Device::Cpu).unwrap();
    let images = Tensor::randn([64, 1, 16, 16], FLOAT);
    let batches = pair(images.narrow(0, 0, 32), images.narrow(0, 32, 32));
    let losses: Vec<f64> = (0..7).map(|_| adversaries.step_vae(&batches, &go_on).unwrap().double_value(&[])).collect();
    // What is left of the loss.
    at_most("last loss", losses[6] / losses[0], 0.9);
}

#[test]
fn the_discriminator_learns_from_its_own_loss_alone() {
    seeded(5);
    let params = VaalParams::default();
    let images = pair(Tensor::randn([4, 1, 16, 16], FLOAT), Tensor::randn([4, 1, 16, 16], FLOAT));
    let codes = [Tensor::randn([4, 32], FLOAT), Tensor::randn([4, 32], FLOAT)];
    let after = |through_autoencoder: bool| {
        seeded(6);
        let mut adversaries = Adversaries::new(params.objective(), shape(1, 16), Device::Cpu).unwrap();
        if through_autoencoder {
            drop(adversaries.step_vae(&images, &go_on).unwrap());
        }
        drop(adversaries.step_discriminator_on(&codes[0], &codes[1]).unwrap());
        adversaries.score_codes(&codes[0]).unwrap()
    };
    assert_eq!(after(false), after(true));
}

#[test]
fn sizes_are_padded_with_black_and_the_padding_counts_nothing() {
    seeded(7);
    let shape = shape(2, 28);
    assert_eq!(shape.padded(), (32, 32));
    let images = Tensor::ones([3, 2, 28, 28], FLOAT);
    let padded = shape.fit(&images).unwrap();
    assert_eq!(padded.size(), [3, 2, 32, 32]);
    assert_eq!((padded.double_value(&[0, 0, 1, 16]), padded.double_value(&[0, 0, 2, 2])), (-0.5, 1.0));
    assert_eq!(padded.double_value(&[2, 1, 30, 30]), -0.5);
    assert_eq!(shape.inner(&padded).unwrap(), images);
    // Only the border differs.
    let rebuilt = shape.fit(&images).unwrap().constant_pad_nd([-2, -2, -2, -2]).constant_pad_nd([2, 2, 2, 2]);
    assert_eq!(reconstruction(&shape, &rebuilt, &padded).unwrap().double_value(&[]), 0.0);
    assert_eq!(reconstruction(&shape, &(&rebuilt + 2.0), &padded).unwrap().double_value(&[]), 4.0);
    // Larger images are scaled, each side for itself.
    let small = Shape { height: 16, width: 24, ..shape };
    let large = Tensor::randn([1, 2, 32, 48], FLOAT);
    let fitted = small.fit(&large).unwrap();
    assert_eq!(fitted.size(), [1, 2, 16, 32]);
    let corner = large.narrow(2, 0, 2).narrow(3, 0, 2).mean_dim([2, 3].as_slice(), false, Kind::Float);
    assert!((fitted.double_value(&[0, 0, 0, 4]) - corner.double_value(&[0, 0])).abs() < 1e-6);
    let mut adversaries = Adversaries::new(VaalParams::default().objective(), small, Device::Cpu).unwrap();
    drop(adversaries.step_vae(&pair(large.shallow_clone(), large.shallow_clone()), &go_on).unwrap());
    assert!(floats(&Tensor::from_slice(&adversaries.score(&large.into()).unwrap())).unwrap()[0].is_finite());
}

#[test]
fn iterations_count_the_whole_pool() {
    let params = VaalParams::default();
    assert_eq!((params.batch_size, params.iterations(50_000), params.vae_size), (128, 39_062, 64));
    let paper: VaalParams = settled(&json!({"profile": "paper"}));
    assert_eq!((paper.batch_size, paper.iterations(1)), (64, 1));
    assert_eq!(VaalParams { iterations: Some(7), ..params }.iterations(50_000), 7);
}

fn bench() -> Bench {
    let recipe = Recipe { epochs: 1, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(40, 16, 1), 10, 4, ModelName::Mlp, &recipe);
    bench.fit(None).unwrap();
    bench
}

fn strategy(params: &serde_json::Value) -> InProcess {
    InProcess::new(&PACKAGE, "vaal", params).unwrap()
}

#[test]
fn a_query_repeats_and_leaves_the_model_alone() {
    let mut bench = bench();
    let params = json!({ "iterations": 2, "batch_size": 8, "vae_steps": 1 });
    let before = bench.model();
    let first = bench.query(&mut strategy(&params), &Silent).unwrap();
    assert_eq!(first.rows.len(), 4);
    assert!(first.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", first.scores);
    assert_eq!(first, bench.query(&mut strategy(&params), &Silent).unwrap());
    assert!(before == bench.model());
    let figures: Vec<&str> = first.diagnostics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(figures, ["autoencoder_loss", "discriminator_loss"]);
    bench.round = 1;
    assert_ne!(first, bench.query(&mut strategy(&params), &Silent).unwrap());
    // The whole pool needs no training.
    bench.batch = 30;
    let all = bench.query(&mut strategy(&json!({})), &Silent).unwrap();
    assert_eq!(all.rows, (0..30).collect::<Vec<_>>());
}

/// A user who has pressed the key already.
struct Stop;

impl Progress for Stop {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        Err(Cancelled)
    }
}

#[test]
fn training_stops_when_the_user_wants() {
    // Without a look at the user this would go on for hours.
    let error = bench().query(&mut strategy(&json!({ "iterations": 1_000_000 })), &Stop).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Cancelled, "{error}");
}

#[test]
fn the_user_is_asked_between_passes() {
    seeded(8);
    let mut adversaries = Adversaries::new(VaalParams::default().objective(), shape(1, 16), Device::Cpu).unwrap();
    let images = || Tensor::randn([2, 1, 16, 16], FLOAT);
    let asked = std::cell::Cell::new(0);
    let count = || -> Result<()> {
        asked.set(asked.get() + 1);
        if asked.get() == 3 { Err(Error::failed("stop")) } else { Ok(()) }
    };
    assert!(adversaries.step_vae(&pair(images(), images()), &count).is_err());
    assert_eq!(asked.get(), 3);
}
