//! What TA-VAAL adds: a ranker beside the task, and networks whose condition its ranks are.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_parts::LossModule;
use querist_torch_testkit::{Bench, InProcess, at_least, bars, seeded, settled};
use serde_json::{Value, json};
use strategy_vaal::{Adversaries, Batch, Condition, DiscRank, PACKAGE, RankLoss, Shape, TaVaalParams, rank_loss};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

#[test]
fn the_networks_have_the_published_sizes() {
    seeded(1);
    let shape = Shape { channels: 3, height: 32, width: 32, black: vec![0.0; 3] };
    let adversaries = Adversaries::new(TaVaalParams::default().objective(), shape, Device::Cpu).unwrap();
    assert_eq!(adversaries.parameters(), [22_851_523, 280_577]);
    let settings = querist_torch_parts::Settings { units: 128, lr: 0.1, momentum: 0.9, weight_decay: 5e-4 };
    assert_eq!(LossModule::new(&settings, &[64, 128, 256, 512], Device::Cpu).unwrap().parameters(), 123_905);
}

fn loss(ranks: &[f32], losses: &[f32]) -> f64 {
    let (ranks, losses) = (Tensor::from_slice(ranks), Tensor::from_slice(losses));
    rank_loss(&ranks, &losses, RankLoss::Bce, 1.0).unwrap().unwrap().double_value(&[])
}

#[test]
fn pairs_cost_what_their_order_says() {
    seeded(1);
    let ln2 = 2f64.ln();
    // Equal ranks say nothing; ranks far apart in the right order cost nothing.
    assert!((loss(&[3.0; 6], &[0.1, 0.9, 2.0, 0.3, 0.2, 5.0]) - ln2).abs() < 1e-7);
    assert!(loss(&[100.0, -100.0], &[2.0, 1.0]) < 1e-12);
    assert!((loss(&[-50.0, 50.0], &[2.0, 1.0]) - 100.0).abs() < 1e-4);
    // Swapping the two of a pair changes nothing, also where their losses are equal.
    for losses in [[2.0, 0.5, 0.5, 1.0], [2.0, 0.5, 0.7, 2.0]] {
        let swap = |v: [f32; 4]| [v[3], v[1], v[2], v[0]];
        let ranks = [0.3, 0.1, -0.4, 0.9];
        assert!((loss(&ranks, &losses) - loss(&swap(ranks), &swap(losses))).abs() < 1e-7, "{losses:?}");
    }
    // The last of an odd number is left out, and one alone has no pair.
    assert_eq!(loss(&[1.0, 0.0, 9.0], &[1.0, 2.0, 3.0]), loss(&[1.0, 0.0], &[1.0, 2.0]));
    let one = Tensor::from_slice(&[1.0f32]);
    assert!(rank_loss(&one, &one, RankLoss::Bce, 1.0).unwrap().is_none());
    // The hinge: ranks 1 and 0 in the wrong order cost the margin and 1 more.
    let (ranks, losses) = (Tensor::from_slice(&[1.0f32, 0.0]), Tensor::from_slice(&[1.0f32, 2.0]));
    assert_eq!(rank_loss(&ranks, &losses, RankLoss::Hinge, 0.5).unwrap().unwrap().double_value(&[]), 1.5);
}

#[test]
fn losses_are_held_fixed() {
    seeded(1);
    let losses = Tensor::from_slice(&[2.0f32, 1.0]).set_requires_grad(true);
    let ranks = Tensor::from_slice(&[0.0f32, 0.0]).set_requires_grad(true);
    rank_loss(&ranks, &losses, RankLoss::Bce, 1.0).unwrap().unwrap().backward();
    assert!(!losses.grad().defined());
    assert_eq!(floats(&ranks.grad()).unwrap(), [-0.5, 0.5]);
}

#[test]
fn defaults_follow_the_preset_and_the_number_of_epochs() {
    let peer = TaVaalParams::default();
    assert_eq!((peer.schedule().cut(200), peer.schedule().cut(100), peer.disc_rank), (120, 60, DiscRank::Raw));
    assert_eq!([159, 160].map(|epoch| peer.schedule().rate(peer.lr_ranker, epoch, 200)), [0.1, 0.1 * 0.1]);
    // (1000 + 10,000) * 100 / 128.
    assert_eq!(peer.iterations(11_000), 8593);
    assert_eq!(settled::<TaVaalParams>(&json!({"preset": "paper"})).disc_rank, DiscRank::Sigmoid);
}

/// Codes of noise alone, so that only the rank beside them tells labelled from unlabelled.
#[test]
fn the_discriminator_uses_the_rank_and_the_query_follows_it() {
    seeded(2);
    let params = TaVaalParams { latent_dim: 2, ..TaVaalParams::default() };
    let shape = Shape { channels: 1, height: 16, width: 16, black: vec![0.0] };
    let mut adversaries = Adversaries::new(params.objective(), shape, Device::Cpu).unwrap();
    let codes = |rank: f64| Tensor::cat(&[Tensor::randn([32, 2], FLOAT), Tensor::full([32, 1], rank, FLOAT)], 1);
    for _ in 0..150 {
        drop(adversaries.step_discriminator_on(&codes(0.0), &codes(1.0)).unwrap());
    }
    // Rows 32 to 63 are ranked unlike the labelled samples.
    let pool = adversaries.score_codes(&Tensor::cat(&[codes(0.0), codes(1.0)], 0)).unwrap();
    let rows: Vec<u32> = (0..64).collect();
    let unlike = largest(&rows, &pool, 30).unwrap().rows.iter().filter(|&&row| row >= 32).count();
    at_least("unlike of 30", unlike as f64, 27.0);
    // Through images, too, the rank is what counts: the same ones, told otherwise.
    let images = Tensor::randn([4, 1, 16, 16], FLOAT);
    let told = |rank: f64| {
        let rank = || Tensor::full([4, 1], rank, FLOAT);
        adversaries
            .score(&Batch {
                images: images.shallow_clone(),
                condition: Some(Condition { decoder: rank(), discriminator: rank() }),
            })
            .unwrap()
    };
    let more = told(1.0).iter().zip(told(0.0)).map(|(one, none)| one - none).fold(f64::MAX, f64::min);
    at_least("by the rank", more, 1.0);
}

fn recipe() -> Recipe {
    // 21 samples in minibatches of 8: the last one is odd.
    Recipe { epochs: 2, minibatch: 8, ..Recipe::default() }
}

fn bench(model: ModelName) -> Bench {
    Bench::new(&bars(33, 16, 1), 21, 4, model, &recipe())
}

fn strategy(params: &Value) -> InProcess {
    InProcess::new(&PACKAGE, "ta-vaal", params).unwrap()
}

#[test]
fn after_the_cut_the_model_trains_as_if_alone() {
    let train = |params: Option<Value>| {
        let mut bench = bench(ModelName::Cnn);
        let mut strategy = params.map(|params| strategy(&params));
        bench.fit(strategy.as_mut().map(|s| s as _)).unwrap();
        bench.model()
    };
    let alone = train(None);
    assert!(alone == train(Some(json!({ "epoch_loss": 0 }))), "the model felt the ranker after the cut");
    assert!(alone == train(Some(json!({ "weight": 0.0 }))), "weight 0");
    assert!(alone != train(Some(json!({ "epoch_loss": 2 }))), "the model never felt the ranker");
}

#[test]
fn a_query_repeats_and_leaves_the_model_alone() {
    let params = json!({ "iterations": 1, "batch_size": 4, "latent_dim": 4 });
    let ask = |params: &Value| {
        let (mut bench, mut strategy) = (bench(ModelName::Cnn), strategy(params));
        bench.fit(Some(&mut strategy)).unwrap();
        let before = bench.model();
        let asked = bench.query(&mut strategy, &Silent).unwrap();
        assert!(before == bench.model());
        asked
    };
    let first = ask(&params);
    assert_eq!(first.rows.len(), 4);
    assert!(first.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", first.scores);
    assert_eq!(first, ask(&params));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bench = bench(ModelName::Cnn);
    bench.fit(None).unwrap();
    let error = bench.query(&mut strategy(&json!({})), &Silent).unwrap_err().to_string();
    assert!(error.contains("was not trained"), "{error}");
    let error = self::bench(ModelName::Mlp).fit(Some(&mut strategy(&json!({})))).unwrap_err().to_string();
    assert!(error.contains("no stage maps"), "{error}");
    let needs: Vec<String> = TaVaalParams::default().needs().iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["stage_maps", "images(min_side=16)"]);
    let error = InProcess::new(&PACKAGE, "ta-vaal", &json!({ "momentum": 1.0 })).err().unwrap().to_string();
    assert!(error.contains("momentum is 1"), "{error}");
}

#[test]
fn losses_that_all_agree_leave_the_ranker_as_it_is() {
    seeded(1);
    let ranks = Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5]).set_requires_grad(true);
    let losses = Tensor::from_slice(&[1.0f32; 4]);
    for rule in [RankLoss::Bce, RankLoss::Hinge] {
        let slope = grad(&rank_loss(&ranks, &losses, rule, 1.0).unwrap().unwrap(), std::slice::from_ref(&ranks), false);
        assert_eq!(floats(&slope.unwrap()[0]).unwrap(), [0.0; 4], "{rule:?}");
    }
}
