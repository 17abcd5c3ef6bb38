//! What the method promises, on its networks and formulas alone and over real images.

use std::collections::BTreeSet;

use querist_core::QueryErrorKind;
use querist_core::config::{ModelName, Recipe};
use querist_core::progress::{Cancelled, Phase, Progress, Silent};
use querist_sdk_torch::prelude::*;
use querist_sdk_torch::{Task, floats};
use querist_torch_testkit::{Bench, InProcess, at_least, at_most, bars, seeded};
use serde_json::{Value, json};
use strategy_asal::{
    AsalParams, Ascent, Frame, Gan, MatchFeatures, Networks, PACKAGE, Pca, Training, entropy, nearest_free, penalty,
};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

#[test]
fn the_networks_have_their_sizes_and_make_images() {
    seeded(1);
    for (gan, sizes) in [(Gan::WganGp, [1_204_483, 627_073]), (Gan::Dcgan, [1_187_907, 663_745])] {
        let params = AsalParams { gan, match_features: MatchFeatures::Autoencoder, ..AsalParams::default() };
        let networks = Networks::new(&params, params.sizes(3), Device::Cpu);
        let [generator, critic, autoencoder] = networks.parameters();
        assert_eq!(([generator, critic], autoencoder), (sizes, 1_121_539), "{gan:?}");
    }
    for (gan, side) in [(Gan::WganGp, 8), (Gan::WganGp, 16), (Gan::Dcgan, 8), (Gan::Dcgan, 32)] {
        let params = AsalParams { gan, gan_size: side, gan_channels: 4, ..AsalParams::default() };
        let networks = Networks::new(&params, params.sizes(2), Device::Cpu);
        let images = networks.generator.forward(&Tensor::randn([3, 128], FLOAT), false).unwrap();
        assert_eq!(images.size(), [3, 2, i64::from(side), i64::from(side)]);
        assert!(images.abs().max().double_value(&[]) <= 1.0);
        assert_eq!(networks.critic.judge(&images, true).unwrap().size(), [3]);
    }
}

#[test]
fn a_critic_of_slope_one_has_no_penalty() {
    seeded(2);
    let direction = Tensor::randn([12], FLOAT);
    let direction = &direction / direction.norm();
    let judge = |images: &Tensor| Ok(images.f_flatten(1, -1)?.f_mv(&direction)?);
    let images = || Tensor::randn([6, 3, 2, 2], FLOAT);
    assert!(penalty(&judge, &images(), &images()).unwrap().double_value(&[]) < 1e-10);
    let steep = |images: &Tensor| Ok(judge(images)? * 3.0);
    assert!((penalty(&steep, &images(), &images()).unwrap().double_value(&[]) - 4.0).abs() < 1e-4);
}

#[test]
fn generators_learn_what_images_look_like() {
    for (gan, iterations) in [(Gan::WganGp, 100), (Gan::Dcgan, 160)] {
        seeded(3);
        let params = AsalParams {
            gan,
            gan_size: 8,
            gan_channels: 16,
            batch_size: 8,
            latent_dim: 4,
            lr_gan: 5e-4,
            critic_steps: 5,
            // A strong penalty holds so small a critic to the slope that it happens to start with.
            gp_weight: 0.1,
            ..AsalParams::default()
        };
        let mut networks = Networks::new(&params, params.sizes(1), Device::Cpu);
        let mut real = || -> Result<Tensor> { Ok(Tensor::randn([8, 1, 8, 8], FLOAT) * 0.05 - 0.6) };
        let mut training = Training::new(&params, &mut networks).unwrap();
        for _ in 0..iterations {
            drop(training.step(&mut real, &|| Ok(())).unwrap());
        }
        let made = networks.generator.forward(&Tensor::randn([16, 4], FLOAT), false).unwrap();
        let (mean, spread) = (made.mean(Kind::Float).double_value(&[]), made.std(true).double_value(&[]));
        at_most(&format!("{gan:?} error of the mean"), (mean + 0.6).abs(), 0.15);
        at_most(&format!("{gan:?} spread"), spread, 0.3);
    }
}

#[test]
fn codes_climb_to_where_the_model_is_uncertain_and_the_nearest_samples_are_asked() {
    seeded(4);
    // A flat image of brightness tanh(z), and a model that is uncertain at 0.3.
    let brightness = |codes: &Tensor| codes.tanh();
    let entropies = std::cell::RefCell::new(Vec::new());
    let logits = |codes: &Tensor| {
        let odds = (brightness(codes) - 0.3) * 6.0;
        let logits = Tensor::cat(&[&odds, &odds.zeros_like()], 1);
        entropies.borrow_mut().push(entropy(&logits).unwrap().mean(Kind::Float).double_value(&[]));
        Ok(logits)
    };
    let start = Tensor::randn([12, 1], FLOAT);
    let (codes, reached) = Ascent { steps: 150, lr: 0.02 }.climb(&start, &logits, &mut |_| Ok(())).unwrap();
    let path = entropies.into_inner();
    // An image that begins near the top is soon past it, where Adam goes on for a while; most begin further down.
    assert!(path[..5].windows(2).all(|pair| pair[1] > pair[0]), "{path:?}");
    at_least("entropy won", path[150] - path[0], 0.2);
    at_least("least entropy", floats(&reached).unwrap().into_iter().fold(f64::MAX, f64::min), 0.69);
    // The pool: flat images of brightness -1, -0.9 to 1. The six nearest to 0.3 are 0 or 0.1 to 0.5 or 0.6.
    let pool = Tensor::arange_start_step(-10, 11, 1, FLOAT).view([21, 1]) / 10.0;
    let found = nearest_free(&pool, &brightness(&codes).narrow(0, 0, 6), &mut |_| Ok(())).unwrap();
    assert!(found.iter().all(|&at| (10..=16).contains(&at)), "{found:?}");
}

#[test]
fn images_of_the_pool_match_themselves_and_no_sample_is_taken_twice() {
    seeded(5);
    let images = Tensor::rand([300, 3, 4, 4], FLOAT).flatten(1, -1);
    for most in [50, 10] {
        let pca = Pca::fit(&images, most, &mut || Ok(())).unwrap();
        let pool = pca.project(&images).unwrap();
        assert_eq!(pool.size(), [300, most.min(48)]);
        let order: Vec<i64> = (0..300).rev().collect();
        let generated = pool.index_select(0, &Tensor::from_slice(&order));
        let found = nearest_free(&pool, &generated, &mut |_| Ok(())).unwrap();
        assert_eq!(found, (0..300).rev().collect::<Vec<_>>());
    }
    // All generated images are one.
    let pool = Tensor::arange(20, FLOAT).view([20, 1]);
    let found = nearest_free(&pool, &Tensor::full([8, 1], 10.2, FLOAT), &mut |_| Ok(())).unwrap();
    assert_eq!(found, [10, 11, 9, 12, 8, 13, 7, 14]);
    // More than there are.
    assert_eq!(nearest_free(&pool, &Tensor::zeros([50, 1], FLOAT), &mut |_| Ok(())).unwrap().len(), 20);
}

#[test]
fn the_first_components_hold_the_variance() {
    seeded(6);
    let hidden = Tensor::randn([400, 2], FLOAT);
    let features = hidden.matmul(&Tensor::randn([2, 30], FLOAT)) + Tensor::randn([400, 30], FLOAT) * 0.01 + 5.0;
    let projected = Pca::fit(&features, 2, &mut || Ok(())).unwrap().project(&features).unwrap();
    let total =
        |x: &Tensor| (x - x.mean_dim([0].as_slice(), true, Kind::Float)).square().sum(Kind::Float).double_value(&[]);
    assert!(total(&projected) / total(&features) > 0.999);
    assert!(projected.mean_dim([0].as_slice(), false, Kind::Float).abs().max().double_value(&[]) < 1e-3);
}

fn task(height: u32, width: u32) -> Task {
    Task {
        round: 0,
        labelled: 1,
        initial: 1,
        pool: 1,
        batch: 1,
        classes: 2,
        channels: 2,
        height,
        width,
        epochs: 1,
        minibatch: 1,
        embedding: 1,
        weight_decay: 0.0,
        device: Device::Cpu,
        stage_channels: vec![],
        black: vec![-2.0, -1.0],
        white: vec![2.0, 3.0],
    }
}

#[test]
fn images_come_and_go_between_the_task_and_the_generator() {
    seeded(7);
    let frame = Frame::new(&task(16, 16), 16).unwrap();
    let of = |values: [f32; 2]| Tensor::from_slice(&values).view([1, 2, 1, 1]).expand([1, 2, 16, 16], false);
    for (normalised, expected) in [([-2.0, -1.0], -1.0), ([2.0, 3.0], 1.0), ([0.0, 1.0], 0.0)] {
        let entered = frame.enter(&of(normalised)).unwrap();
        assert!((entered - expected).abs().max().double_value(&[]) < 1e-6);
    }
    let images = Tensor::rand([3, 2, 16, 16], FLOAT);
    let back = frame.leave(&frame.enter(&images).unwrap()).unwrap();
    assert!((back - &images).abs().max().double_value(&[]) < 1e-6);
    for (height, width) in [(28, 28), (40, 24), (4, 4)] {
        let frame = Frame::new(&task(height, width), 32).unwrap();
        let images = Tensor::rand([1, 2, i64::from(height), i64::from(width)], FLOAT);
        let entered = frame.enter(&images).unwrap();
        assert_eq!(entered.size(), [1, 2, 32, 32]);
        assert_eq!(frame.leave(&entered).unwrap().size(), images.size());
    }
}

fn bench() -> Bench {
    let recipe = Recipe { epochs: 2, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(60, 16, 1), 20, 6, ModelName::Cnn, &recipe);
    bench.fit(None).unwrap();
    bench
}

fn small(more: &Value) -> Value {
    let mut params = json!({
        "gan_iterations": 2, "gan_size": 8, "gan_channels": 8, "batch_size": 8, "latent_dim": 4, "z_steps": 3,
        "autoencoder_iterations": 2, "pca_dim": 5, "critic_steps": 1
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

fn strategy(params: &Value) -> InProcess {
    InProcess::new(&PACKAGE, "asal", params).unwrap()
}

#[test]
fn networks_and_index_live_from_round_to_round() {
    for (gan, features) in [
        ("wgan-gp", "classifier"),
        ("dcgan", "classifier"),
        ("wgan-gp", "discriminator"),
        ("dcgan", "autoencoder"),
        ("dcgan", "gray"),
        ("dcgan", "rgb"),
    ] {
        let mut bench = bench();
        let before = bench.model();
        let params = small(&json!({ "gan": gan, "match_features": features, "samples_per_pick": 2 }));
        let first = bench.query(&mut strategy(&params), &Silent).unwrap();
        assert_eq!(first, bench.query(&mut strategy(&params), &Silent).unwrap(), "{gan} {features}");
        assert_eq!(first.rows.iter().collect::<BTreeSet<_>>().len(), 6);
        assert!(first.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", first.scores);
        assert!(before == bench.model());
        // A training in the next round would take for ever.
        bench.state = first.state.clone();
        bench.round = 1;
        bench.pool.remove(3);
        let mut params = params;
        params["gan_iterations"] = json!(100_000_000);
        params["autoencoder_iterations"] = json!(100_000_000);
        let second = bench.query(&mut strategy(&params), &Silent).unwrap();
        assert_eq!(second.state, first.state, "{gan} {features}: what is kept moved");
        assert_eq!(second.rows.len(), 6);
    }
}

/// A user who has pressed the key already.
struct Stop;

impl Progress for Stop {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        Err(Cancelled)
    }
}

#[test]
fn training_stops_when_the_user_wants_and_what_does_not_fit_is_refused() {
    let mut bench = bench();
    let error = bench.query(&mut strategy(&json!({ "gan_size": 8 })), &Stop).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Cancelled, "{error}");
    let state = bench.query(&mut strategy(&small(&json!({}))), &Silent).unwrap().state;
    for (state, params) in [(state, json!({ "latent_dim": 5 })), (Some(vec![1, 2, 3]), json!({}))] {
        bench.state = state;
        let error = bench.query(&mut strategy(&small(&params)), &Silent).unwrap_err().to_string();
        assert!(error.contains("state of the round before does not fit"), "{error}");
    }
    let error = InProcess::new(&PACKAGE, "asal", &json!({ "gan_size": 24 })).err().unwrap().to_string();
    assert!(error.contains("gan_size is 24"), "{error}");
    // The whole pool needs no training.
    (bench.state, bench.batch) = (None, 100);
    assert_eq!(bench.query(&mut strategy(&json!({})), &Silent).unwrap().rows, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_labelled_set_of_one_class_is_enough() {
    let mut bench = bench().of_one_class();
    bench.fit(None).unwrap();
    assert_eq!(bench.query(&mut strategy(&small(&json!({}))), &Silent).unwrap().rows.len(), 6);
}
