//! What the methods promise, on linear models with known distances and over a real one.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use std::collections::BTreeMap;

use querist_core::QueryErrorKind;
use querist_core::config::{ModelName, Recipe};
use querist_core::progress::{Cancelled, Phase, Progress, Silent};
use querist_sdk_torch::floats;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, at_least, at_most, bars, planted, seeded, settled};
use serde_json::{Value, json};
use strategy_adversarial::{AdversarialDeepfoolParams, Boundary, Classify, DeepFool, Iterative, Moved, PACKAGE};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn deepfool(boundary: Boundary, unit: f32) -> DeepFool {
    let unit = Tensor::from_slice(&[unit]).view([1, 1, 1, 1]);
    DeepFool { max_iter: 50, overshoot: 0.02, classes: 10, boundary, unit }
}

/// Logits `W x + b` of images of `[1, 3, 4]`.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(classes: i64) -> Self {
        Self { weight: Tensor::randn([classes, 12], FLOAT), bias: Tensor::randn([classes], FLOAT) }
    }

    fn logits(&self, images: &Tensor) -> Tensor {
        images.flatten(1, -1).matmul(&self.weight.tr()) + &self.bias
    }

    /// Distance of each image to a boundary of its class.
    fn distances(&self, images: &Tensor, boundary: Boundary) -> Vec<f64> {
        let logits = self.logits(images);
        let (n, classes) = logits.size2().unwrap();
        let to = |image: i64, own: i64, k: i64| {
            let height = logits.double_value(&[image, own]) - logits.double_value(&[image, k]);
            height / (self.weight.get(own) - self.weight.get(k)).norm().double_value(&[])
        };
        let distance = |image: i64| {
            let own = logits.get(image).argmax(0, false).int64_value(&[]);
            let last = if own == classes - 1 { classes - 2 } else { classes - 1 };
            match boundary {
                Boundary::Last => to(image, own, last),
                Boundary::Nearest => {
                    (0..classes).filter(|&k| k != own).map(|k| to(image, own, k)).fold(f64::MAX, f64::min)
                }
            }
        };
        (0..n).map(distance).collect()
    }
}

fn attack(deepfool: &DeepFool, classify: Classify<'_>, images: &Tensor) -> (Vec<Moved>, usize) {
    let mut asked = 0;
    let moved = deepfool.attack(images, classify, &mut || {
        asked += 1;
        Ok(())
    });
    (moved.unwrap(), asked)
}

#[test]
fn on_a_linear_model_one_step_gives_the_exact_distance() {
    seeded(1);
    let (model, images) = (Linear::new(5), Tensor::randn([40, 1, 3, 4], FLOAT));
    let classify = |images: &Tensor, _: bool| Ok(model.logits(images));
    for boundary in [Boundary::Nearest, Boundary::Last] {
        let (moved, asked) = attack(&deepfool(boundary, 1.0), &classify, &images);
        for (moved, expected) in moved.iter().zip(model.distances(&images, boundary)) {
            let found = moved.length / 1.02;
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected), "{boundary:?}: {found} {expected}");
        }
        // Towards the nearest boundary the class changes at once. Towards the last class others may come first.
        assert!(moved.iter().all(|moved| moved.flipped), "{boundary:?}");
        let passes = if boundary == Boundary::Nearest { 5 } else { 2 };
        assert_eq!(asked, passes + 1, "{boundary:?}: more than one step");
    }
}

#[test]
fn distances_may_be_those_of_pixels() {
    seeded(2);
    let (model, images) = (Linear::new(3), Tensor::randn([20, 1, 3, 4], FLOAT));
    let classify = |images: &Tensor, _: bool| Ok(model.logits(images));
    let (plain, _) = attack(&deepfool(Boundary::Nearest, 1.0), &classify, &images);
    // A unit of distance is a quarter of the images', so there are four times as many.
    let (pixels, _) = attack(&deepfool(Boundary::Nearest, 0.25), &classify, &images);
    for (plain, pixels) in plain.iter().zip(&pixels) {
        assert!((4.0 * plain.length / pixels.length - 1.0).abs() < 1e-4, "{plain:?} {pixels:?}");
    }
}

#[test]
fn of_two_classes_the_order_is_that_of_margins() {
    seeded(3);
    let (model, images) = (Linear::new(2), Tensor::randn([60, 1, 3, 4], FLOAT));
    let classify = |images: &Tensor, _: bool| Ok(model.logits(images));
    let (moved, _) = attack(&deepfool(Boundary::Nearest, 1.0), &classify, &images);
    let logits = model.logits(&images);
    let margins = floats(&(logits.select(1, 0) - logits.select(1, 1)).abs()).unwrap();
    let order = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        order
    };
    assert_eq!(order(&moved.iter().map(|moved| moved.length).collect::<Vec<_>>()), order(&margins));
}

/// A network with curved boundaries.
fn curved(images: &Tensor, weights: &[Tensor; 2]) -> Tensor {
    images.flatten(1, -1).matmul(&weights[0]).tanh().matmul(&weights[1])
}

#[test]
fn a_batch_moves_as_its_images_alone() {
    seeded(4);
    let weights = [Tensor::randn([12, 16], FLOAT), Tensor::randn([16, 6], FLOAT)];
    let images = Tensor::randn([25, 1, 3, 4], FLOAT);
    let classify = |images: &Tensor, _: bool| Ok(curved(images, &weights));
    let walk = Iterative { max_iter: 200, eps: 0.05 };
    let fool = deepfool(Boundary::Nearest, 1.0);
    let by_fool = |images: &Tensor| attack(&fool, &classify, images).0;
    let by_steps = |images: &Tensor| walk.attack(images, &classify, &mut || Ok(())).unwrap();
    alike(&images, by_fool);
    alike(&images, by_steps);
}

#[test]
fn twins_are_the_images_where_their_class_changed() {
    seeded(6);
    let weights = [Tensor::randn([12, 16], FLOAT), Tensor::randn([16, 6], FLOAT)];
    let images = Tensor::randn([25, 1, 3, 4], FLOAT);
    let classify = |images: &Tensor, _: bool| Ok(curved(images, &weights));
    let (moved, twins) = deepfool(Boundary::Nearest, 1.0).twins(&images, &classify, &mut || Ok(())).unwrap();
    let class = |images: &Tensor| floats(&curved(images, &weights).argmax(1, false)).unwrap();
    let distances = floats(&(&twins - &images).flatten(1, -1).norm_scalaropt_dim(2, [1], false)).unwrap();
    for (at, (before, after)) in class(&images).into_iter().zip(class(&twins)).enumerate() {
        assert!(moved[at].flipped && before != after, "{at}: {:?}", moved[at]);
        assert!((distances[at] / moved[at].length - 1.0).abs() < 1e-3, "{at}: {:?} {}", moved[at], distances[at]);
    }
}

fn alike(images: &Tensor, way: impl Fn(&Tensor) -> Vec<Moved>) {
    let together = way(images);
    assert!(together.iter().all(|moved| moved.flipped && moved.length > 0.0), "{together:?}");
    let apart = together.iter().enumerate().map(|(at, moved)| {
        let alone = way(&images.narrow(0, at as i64, 1))[0];
        (moved.length / alone.length - 1.0).abs()
    });
    at_most("apart", apart.fold(0.0, f64::max), 1e-3);
}

#[test]
fn what_never_changes_class_stops_at_the_cap_or_where_nothing_leads_anywhere() {
    seeded(5);
    let images = Tensor::randn([3, 1, 3, 4], FLOAT);
    let constant =
        |images: &Tensor, _: bool| Ok(images.flatten(1, -1).narrow(1, 0, 2) * 0.0 + Tensor::from_slice(&[1.0f32, 0.0]));
    let (moved, asked) = attack(&deepfool(Boundary::Nearest, 1.0), &constant, &images);
    assert_eq!(moved, [Moved { length: 0.0, flipped: false }; 3]);
    assert_eq!(asked, 3);
    // A class that always wins by the same, however far one walks.
    let running = |images: &Tensor, _: bool| {
        let x = images.flatten(1, -1).narrow(1, 0, 1);
        Ok(Tensor::cat(&[&x, &(&x * 0.5 + x.tanh() * 0.5 - 5.0)], 1).clamp_min(-1e3))
    };
    let high = Tensor::ones([2, 1, 3, 4], FLOAT) * 50.0;
    let capped = DeepFool { max_iter: 2, ..deepfool(Boundary::Nearest, 1.0) };
    let (moved, _) = attack(&capped, &running, &high);
    assert!(moved.iter().all(|moved| moved.length.is_finite()), "{moved:?}");
    let steps = Iterative { max_iter: 7, eps: 0.5 };
    let moved = steps.attack(&high, &running, &mut || Ok(())).unwrap();
    // Seven steps of a half along the one value that matters.
    assert_eq!(moved, [Moved { length: 7.0 * 7.0 * 0.25, flipped: false }; 2]);
}

#[test]
fn signed_steps_have_the_length_that_they_have() {
    // One value decides: from 0.12 it takes three steps of 0.05 to pass 0, and all other values stay.
    seeded(6);
    let classify = |images: &Tensor, _: bool| {
        let x = images.flatten(1, -1).narrow(1, 0, 1);
        Ok(Tensor::cat(&[&x, &-&x], 1))
    };
    let images = Tensor::ones([2, 1, 3, 4], FLOAT) * Tensor::from_slice(&[0.12f32, -0.31]).view([2, 1, 1, 1]);
    let moved = Iterative { max_iter: 1000, eps: 0.05 }.attack(&images, &classify, &mut || Ok(())).unwrap();
    assert_eq!(moved.iter().map(|moved| moved.flipped).collect::<Vec<_>>(), [true, true]);
    for (moved, steps) in moved.iter().zip([3.0, 7.0]) {
        assert!((moved.length - 0.05 * 0.05 * steps * steps).abs() < 1e-12, "{moved:?}");
    }
}

fn strategy(id: &str, params: &Value) -> InProcess {
    InProcess::new(&PACKAGE, id, params).unwrap()
}

const IDS: [&str; 2] = ["adversarial-deepfool", "adversarial-bim"];

#[test]
fn queries_repeat_and_leave_the_model_alone() {
    let mut bench = planted(3);
    bench.fit(None).unwrap();
    let before = bench.model();
    for id in IDS {
        let ask = |bench: &Bench, params: Value| bench.query(&mut strategy(id, &params), &Silent).unwrap();
        let asked = ask(&bench, json!({}));
        assert!(asked.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{id}: {:?}", asked.scores);
        // Whatever walks together, and however many rows there are to be looked at.
        assert_eq!(asked, ask(&bench, json!({})), "{id}");
        assert_eq!(asked.rows, ask(&bench, json!({ "batch_size": 7, "subset_size": null })).rows, "{id}");
        assert_eq!(ask(&bench, json!({ "subset_size": 1, "max_iter": 1 })).rows.len(), 10);
        bench.batch = 100;
        assert_eq!(ask(&bench, json!({ "max_iter": 1 })).rows.len(), 80);
        bench.batch = 10;
    }
    assert!(before == bench.model());
    let pixels = bench.query(&mut strategy(IDS[0], &json!({ "units": "pixels" })), &Silent).unwrap();
    let plain = bench.query(&mut strategy(IDS[0], &json!({})), &Silent).unwrap();
    // One channel: another unit, the same order.
    assert_eq!(pixels.rows, plain.rows);
    assert!(pixels.scores[9] > plain.scores[9], "{:?} {:?}", pixels.scores, plain.scores);
}

/// Whichever way one walks, an image near a boundary is near it.
#[test]
fn both_ways_to_a_boundary_agree_on_who_is_near_it() {
    // A model that still learns: one that is sure of everything has boundaries far off, and no two walks meet there.
    let recipe = Recipe { epochs: 5, minibatch: 8, lr: 0.01, ..Recipe::default() };
    let mut bench = Bench::new(&bars(160, 16, 1), 80, 10, ModelName::Cnn, &recipe);
    bench.fit(None).unwrap();
    // All but one of the pool, so that both are scored.
    bench.batch = 79;
    let [fool, steps] = IDS.map(|id| {
        let asked = bench.query(&mut strategy(id, &json!({})), &Silent).unwrap();
        asked.rows.into_iter().zip(0u32..).collect::<BTreeMap<u32, u32>>()
    });
    let both: Vec<(u32, u32)> = fool.iter().filter_map(|(row, a)| steps.get(row).map(|b| (*a, *b))).collect();
    let n = both.len() as f64;
    let squares: f64 = both.iter().map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    // Spearman's, but for a rank that moves by one where a row is missing.
    at_least("agreement", 1.0 - 6.0 * squares / (n * (n * n - 1.0)), 0.7);
}

/// A user who has pressed the key already.
struct Stop;

impl Progress for Stop {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        Err(Cancelled)
    }
}

#[test]
fn what_has_no_meaning_is_refused_and_walks_stop_when_the_user_wants() {
    let recipe = Recipe { epochs: 1, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(40, 16, 1), 10, 4, ModelName::Mlp, &recipe);
    bench.fit(None).unwrap();
    for id in IDS {
        let error = bench.query(&mut strategy(id, &json!({})), &Stop).unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::Cancelled, "{id}: {error}");
    }
    let error = InProcess::new(&PACKAGE, IDS[1], &json!({ "eps": 0.0 })).err().unwrap().to_string();
    assert!(error.contains("eps is 0"), "{error}");
    let peer: AdversarialDeepfoolParams = settled(&json!({"profile": "peer"}));
    assert_eq!(settled::<AdversarialDeepfoolParams>(&json!({"preset": "authors-code"})), peer);
    assert_eq!(
        settled::<AdversarialDeepfoolParams>(&json!({"profile": "paper"})),
        AdversarialDeepfoolParams::default()
    );
    assert_eq!((peer.boundary, AdversarialDeepfoolParams::default().boundary), (Boundary::Last, Boundary::Nearest));
}

#[test]
#[expect(clippy::disallowed_types, reason = "a measurement")]
#[ignore = "a measurement: 512 images one by one, a minute"]
fn a_batch_is_faster_than_its_images_one_by_one() {
    for (name, model) in [("lenet", ModelName::Lenet), ("cnn", ModelName::Cnn)] {
        let recipe = Recipe { epochs: 4, minibatch: 32, ..Recipe::default() };
        let mut bench = Bench::new(&bars(612, 28, 1), 100, 10, model, &recipe);
        bench.fit(None).unwrap();
        for id in IDS {
            let time = |batch: u32| {
                let params = json!({ "batch_size": batch, "subset_size": null, "max_iter": 50 });
                let clock = std::time::Instant::now();
                let asked = bench.query(&mut strategy(id, &params), &Silent).unwrap();
                (clock.elapsed().as_secs_f64(), asked.rows)
            };
            let ((alone, rows), (together, same)) = (time(1), time(256));
            assert_eq!(rows, same);
            eprintln!("{id} on {name}: {alone:.2} s one by one, {together:.2} s together, {:.0}x", alone / together);
        }
    }
}

#[test]
fn a_model_that_saw_one_class_has_boundaries_all_the_same() {
    let recipe = Recipe { epochs: 2, minibatch: 8, ..Recipe::default() };
    let mut bench = Bench::new(&bars(40, 16, 1), 20, 4, ModelName::Cnn, &recipe).of_one_class();
    bench.fit(None).unwrap();
    for id in IDS {
        let asked = bench.query(&mut strategy(id, &json!({ "max_iter": 20 })), &Silent).unwrap();
        assert!(asked.rows.len() == 4 && asked.scores.iter().all(|score| score.is_finite()), "{id}: {asked:?}");
    }
}
