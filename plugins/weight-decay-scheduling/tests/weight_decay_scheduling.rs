//! What the method promises, on its formulas alone and over real trainings.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use std::collections::BTreeSet;

use querist_core::Label;
use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, at_most, bars, seeded, settled};
use serde_json::{Value, json};
use strategy_weight_decay_scheduling::{PACKAGE, WeightDecaySchedulingParams, distillation, entropy};

#[test]
fn weight_decay_times_labels_is_constant() {
    let params = WeightDecaySchedulingParams::default();
    for (round, labelled) in [600, 800, 1000, 2000, 15_000].into_iter().enumerate() {
        let factor = params.factor(round as u32, 600, labelled);
        assert!((factor * f64::from(labelled) - 600.0).abs() < 1e-9, "{factor}");
    }
    let peer: WeightDecaySchedulingParams = settled(&json!({"profile": "peer"}));
    assert_eq!([0, 1, 3, 16].map(|round| peer.factor(round, 600, 900)), [1.0, 0.5, 0.25, 1.0 / 17.0]);
    let off: WeightDecaySchedulingParams = settled(&json!({"preset": "al-baselines", "schedule": "constant"}));
    assert_eq!(off.factor(9, 600, 15_000), 1.0);
}

#[test]
fn a_teacher_who_agrees_teaches_nothing() {
    seeded(1);
    let teacher = Tensor::randn([6, 5], (Kind::Float, Device::Cpu)) * 3.0;
    let student = teacher.copy().set_requires_grad(true);
    let loss = distillation(&student, &teacher, 2.0).unwrap();
    assert!(loss.double_value(&[]).abs() < 1e-6);
    loss.backward();
    let slope = student.grad().abs().max().double_value(&[]);
    assert!(slope < 1e-7, "{slope}");
    // By hand: p = (3/4, 1/4) against (1/2, 1/2), so that KL = ln 2 - H(p), once as it is and once at temperature 2.
    let by_hand = 2f64.ln() + 0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln();
    let flat = Tensor::zeros([1, 2], (Kind::Float, Device::Cpu));
    for temperature in [1.0, 2.0] {
        let teacher = Tensor::from_slice(&[temperature as f32 * 3f32.ln(), 0.0]).view([1, 2]);
        let found = distillation(&flat, &teacher, temperature).unwrap().double_value(&[]);
        assert!((found - temperature * temperature * by_hand).abs() < 1e-6, "{found}");
    }
}

#[test]
fn entropy_is_that_of_the_distribution_also_where_it_is_extreme() {
    seeded(1);
    let logits = Tensor::from_slice2(&[[0.0f32, 0.0], [3f32.ln(), 0.0], [1e4, -1e4]]);
    let found = floats(&entropy(&logits).unwrap()).unwrap();
    let quarter = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
    for (found, expected) in found.iter().zip([2f64.ln(), quarter, 0.0]) {
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }
}

fn recipe() -> Recipe {
    // 21 samples in minibatches of 8: the last one is odd.
    Recipe { epochs: 3, minibatch: 8, ..Recipe::default() }
}

fn bench(model: ModelName) -> Bench {
    Bench::new(&bars(80, 16, 1), 21, 6, model, &recipe())
}

fn strategy(params: &Value) -> InProcess {
    InProcess::new(&PACKAGE, "weight-decay-scheduling", params).unwrap()
}

#[test]
fn the_first_round_is_the_plain_recipe_bit_for_bit() {
    let train = |params: Option<Value>| {
        let mut bench = bench(ModelName::Cnn);
        let mut strategy = params.map(|params| strategy(&params));
        bench.fit(strategy.as_mut().map(|s| s as _)).unwrap();
        bench.model()
    };
    let plain = train(None);
    for params in [json!({}), json!({ "kd_alpha": 0.5 }), json!({ "preset": "al-baselines", "init": "warm" })] {
        assert!(plain == train(Some(params.clone())), "{params}");
    }
    assert!(plain != train(Some(json!({ "base_weight_decay": 0.1 }))));
}

/// Two rounds, the second with 10 more labels; the second model.
fn second_model(params: &Value) -> (Vec<u8>, Option<f64>) {
    let mut bench = bench(ModelName::Cnn);
    bench.fit(Some(&mut strategy(params))).unwrap();
    let more = bench.pool.drain(..10).map(|id| (id, Label((id.0 % 2) as u32)));
    bench.labelled.extend(more);
    bench.round = 1;
    let fitted = bench.fit(Some(&mut strategy(params))).unwrap();
    (bench.model(), fitted.epochs[0].extra_loss)
}

#[test]
fn later_rounds_learn_from_the_model_before_where_asked() {
    let (plain, none) = second_model(&json!({}));
    let (taught, some) = second_model(&json!({ "kd_alpha": 0.5 }));
    assert!(plain != taught && none.is_none() && some.unwrap() > 0.0);
    // A student who starts as its teacher, and listens to nobody else, has nothing to learn at first.
    let (_, extra) = second_model(&json!({ "kd_alpha": 1.0, "init": "warm" }));
    at_most("taught at first", extra.unwrap() / some.unwrap(), 0.1);
}

fn ask(bench: &Bench, params: Value) -> Selection {
    bench.query(&mut strategy(&params), &Silent).unwrap()
}

#[test]
fn the_four_ways_of_asking() {
    let mut bench = bench(ModelName::Cnn);
    bench.fit(None).unwrap();
    let rows = |selection: &Selection| selection.rows.iter().copied().collect::<BTreeSet<_>>();
    let most = ask(&bench, json!({}));
    let least = ask(&bench, json!({ "sampling_type": "ascending" }));
    assert!(rows(&most).is_disjoint(&rows(&least)));
    assert!(most.scores.windows(2).all(|pair| pair[0] >= pair[1]) && most.scores[5] > -least.scores[0]);
    // A sample of the whole pool is the pool, and one smaller than the batch grows to it.
    assert_eq!(most, ask(&bench, json!({ "sampling_type": "sampled_descending" })));
    let sampled = ask(&bench, json!({ "sampling_type": "sampled_descending", "sampled_size": 1 }));
    assert_eq!(rows(&sampled).len(), 6);
    let random = ask(&bench, json!({ "sampling_type": "random" }));
    assert_eq!(rows(&random).len(), 6);
    assert_eq!(random, ask(&bench, json!({ "sampling_type": "random" })));
    bench.round = 1;
    assert_ne!(random, ask(&bench, json!({ "sampling_type": "random" })));
}

#[test]
fn what_the_model_is_least_sure_of_is_asked() {
    let (mut bench, mut ws) = (bench(ModelName::Cnn), strategy(&json!({})));
    bench.fit(Some(&mut ws)).unwrap();
    let asked = bench.query(&mut ws, &Silent).unwrap();
    // Entropy of two classes whose logits are d apart.
    let unsure = |row: &[f32]| {
        let d = f64::from((row[0] - row[1]).abs());
        (-d).exp().ln_1p() + d / (1.0 + d.exp())
    };
    let entropies: Vec<f64> = bench.logits().chunks(2).map(unsure).collect();
    for (&row, &score) in asked.rows.iter().zip(&asked.scores) {
        assert!((score - entropies[row as usize]).abs() < 1e-5, "{row}: {score} {}", entropies[row as usize]);
    }
    let others = (0..entropies.len()).filter(|&row| !asked.rows.contains(&(row as u32)));
    let most = others.map(|row| entropies[row]).fold(0.0, f64::max);
    assert!(asked.scores[5] > most - 1e-5, "{:?} {most}", asked.scores);
}

#[test]
fn what_would_change_nothing_is_refused() {
    for (params, part) in [
        (json!({ "base_weight_decay": 0.0 }), "base_weight_decay is 0"),
        (json!({ "kd_temperature": 0.0 }), "kd_temperature is 0"),
        (json!({ "alpha": 1 }), "alpha"),
    ] {
        let error = InProcess::new(&PACKAGE, "weight-decay-scheduling", &params).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    let no_decay = Recipe { weight_decay: 0.0, ..recipe() };
    let mut bench = Bench::new(&bars(40, 16, 1), 10, 4, ModelName::Cnn, &no_decay);
    let error = bench.fit(Some(&mut strategy(&json!({})))).unwrap_err().to_string();
    assert!(error.contains("recipe.weight_decay is 0"), "{error}");
    bench.fit(Some(&mut strategy(&json!({ "schedule": "constant" })))).unwrap();
}

#[test]
fn a_labelled_set_of_one_class_is_enough() {
    let mut bench = bench(ModelName::Cnn).of_one_class();
    let mut ws = strategy(&json!({ "kd_alpha": 0.5 }));
    bench.fit(Some(&mut ws)).unwrap();
    assert_eq!(ask(&bench, json!({})).rows.len(), 6);
}
