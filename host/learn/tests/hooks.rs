//! Training in which a strategy takes part, and the services it may ask for.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::{bars, ids, labelled, learner, quick};
use querist_core::config::{Augmentation, ModelName, Recipe};
use querist_core::progress::{Progress, Silent};
use querist_core::{
    FitTask, Fitted, HooksPresent, HostServices, Label, LearnError, Learner, Round, SampleId, Seeds, ServiceError,
    ServiceScope, StrategyIdentity, StrategyKind, Synthetic, TrainingHooks,
};
use querist_core::{QueryError, QueryErrorKind};
use querist_learn::TorchLearner;
use querist_protocol::{EpochLength, InitPolicy, TrainOverrides, Transform, UnlabelledStream, abi};
use querist_torchx::runtime;
use tch::{Device, Kind, Tensor};

const NO_LOSS: abi::Loss = abi::Loss { extra: std::ptr::null_mut(), task_scale: 1.0 };

type OnLoss = Box<dyn FnMut(&dyn HostServices, &abi::Minibatch) -> abi::Loss>;
type OnStep = Box<dyn FnMut(&dyn HostServices)>;

/// A strategy made of closures, each of which runs guarded, as a plugin's code does.
struct Part {
    plan: TrainOverrides,
    loss: Option<OnLoss>,
    step: Option<OnStep>,
    begin: Option<OnStep>,
}

impl Part {
    fn new(plan: TrainOverrides) -> Self {
        Self { plan, loss: None, step: None, begin: None }
    }

    fn on_loss(mut self, hook: impl FnMut(&dyn HostServices, &abi::Minibatch) -> abi::Loss + 'static) -> Self {
        self.loss = Some(Box::new(hook));
        self
    }

    fn on_step(mut self, hook: impl FnMut(&dyn HostServices) + 'static) -> Self {
        self.step = Some(Box::new(hook));
        self
    }

    fn on_begin(mut self, hook: impl FnMut(&dyn HostServices) + 'static) -> Self {
        self.begin = Some(Box::new(hook));
        self
    }

    fn error(message: String) -> QueryError {
        let identity = StrategyIdentity {
            id: "part".to_owned(),
            package: "test".to_owned(),
            version: "0".to_owned(),
            kind: StrategyKind::NativeTorch,
            digest: String::new(),
        };
        QueryError::new(&identity, QueryErrorKind::Contract, message)
    }
}

fn guarded(services: &dyn HostServices, call: &mut dyn FnMut()) -> Result<(), QueryError> {
    services.guarded(call).map_err(|error| Part::error(error.0))
}

impl TrainingHooks for Part {
    fn present(&self) -> HooksPresent {
        HooksPresent {
            train_begin: self.begin.is_some(),
            batch_loss: self.loss.is_some(),
            batch_step: self.step.is_some(),
            ..HooksPresent::default()
        }
    }

    fn plan_round(
        &mut self,
        _: &dyn HostServices,
        _: Option<&[u8]>,
        _: &dyn Progress,
    ) -> Result<TrainOverrides, QueryError> {
        Ok(self.plan.clone())
    }

    fn train_begin(&mut self, services: &dyn HostServices) -> Result<(), QueryError> {
        let hook = self.begin.as_mut().unwrap();
        guarded(services, &mut || hook(services))
    }

    fn epoch_begin(&mut self, _: &dyn HostServices, _: u32) -> Result<(), QueryError> {
        unreachable!("it is not present")
    }

    fn batch_loss(&mut self, services: &dyn HostServices, minibatch: &abi::Minibatch) -> Result<abi::Loss, QueryError> {
        let (hook, mut loss) = (self.loss.as_mut().unwrap(), NO_LOSS);
        guarded(services, &mut || loss = hook(services, minibatch))?;
        Ok(loss)
    }

    fn batch_step(&mut self, services: &dyn HostServices, _: u32, _: u32) -> Result<(), QueryError> {
        let hook = self.step.as_mut().unwrap();
        guarded(services, &mut || hook(services))
    }

    fn epoch_end(&mut self, _: &dyn HostServices, _: u32, _: &abi::EpochFigures) -> Result<(), QueryError> {
        unreachable!("it is not present")
    }

    fn train_end(&mut self, _: &dyn HostServices) -> Result<(), QueryError> {
        unreachable!("it is not present")
    }

    fn broke_rule(&self, message: String) -> QueryError {
        Self::error(message)
    }
}

fn read(tensor: abi::Tensor) -> Tensor {
    assert!(!tensor.is_null());
    // SAFETY: tensors of a minibatch live as long as the hook.
    unsafe { Tensor::clone_from_ptr(tensor.cast()) }
}

fn take(tensor: abi::Tensor) -> Tensor {
    assert!(!tensor.is_null());
    // SAFETY: tensors of a result are given.
    unsafe { Tensor::from_ptr(tensor.cast()) }
}

fn give(tensor: Tensor) -> abi::Tensor {
    std::mem::ManuallyDrop::new(tensor).as_mut_ptr().cast()
}

fn extra(tensor: Tensor) -> abi::Loss {
    abi::Loss { extra: give(tensor), task_scale: 1.0 }
}

/// A round over samples 0 to 19 as the labelled set and 20 to 51 as the pool.
fn scope<'a>(pool: &'a [SampleId], labelled: &'a [(SampleId, Label)], round: u32) -> ServiceScope<'a> {
    ServiceScope { round: Round(round), pool, labelled, initial: 20, batch: 4, streams: Seeds::new(3).strategy("part") }
}

fn fit(learner: &mut TorchLearner, round: u32, part: Option<&mut Part>) -> Result<Fitted, LearnError> {
    let (pool, labelled) = (ids(20..52), labelled(0..20));
    let hooks = part.map(|part| (part as &mut dyn TrainingHooks, None));
    learner.fit(
        FitTask { scope: scope(&pool, &labelled, round), hooks, needs: &[], synthetic: &[], validation: &[] },
        &Silent,
    )
}

fn trained(name: ModelName, recipe: &Recipe, part: Option<&mut Part>) -> Vec<u8> {
    let mut learner = learner(&bars(60, 16, 1), name, recipe);
    fit(&mut learner, 0, part).unwrap();
    learner.model().unwrap()
}

fn wants_all() -> TrainOverrides {
    TrainOverrides { stage_maps: true, sample_losses: true, ..TrainOverrides::default() }
}

fn refused(part: &mut Part, parts: &[&str]) {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    match fit(&mut learner, 0, Some(part)) {
        Err(LearnError::Strategy(error)) => {
            for part in parts {
                assert!(error.message.as_str().contains(part), "`{part}` is not in: {error}");
            }
        }
        other => panic!("expected an error of the strategy, got {other:?}"),
    }
}

/// Draws from libtorch's generator, computes an extra loss of exactly 0 from everything it is given, leaves the
/// thread's settings changed, and does the same again in `batch_step`.
fn nothing_in_effect() -> Part {
    let disturb = |_: &dyn HostServices| {
        let _ = Tensor::rand([7], (Kind::Float, Device::Cpu));
        std::mem::forget(tch::no_grad_guard());
    };
    Part::new(wants_all())
        .on_begin(disturb)
        .on_loss(move |services, minibatch| {
            let mut sum = read(minibatch.logits).sum(Kind::Float) + read(minibatch.embeddings).sum(Kind::Float);
            sum += read(minibatch.losses).sum(Kind::Float);
            for map in &minibatch.stages[..minibatch.stage_count as usize] {
                sum += read(*map).mean(Kind::Float);
            }
            disturb(services);
            let _grad = querist_torchx::ambient::GradMode::set(true);
            extra(sum * 0.0)
        })
        .on_step(disturb)
}

#[test]
fn an_extra_loss_of_zero_changes_no_bit() {
    let recipe = Recipe { augment: vec![Augmentation::Crop, Augmentation::Flip], ..quick() };
    for name in [ModelName::Cnn, ModelName::Lenet, ModelName::Resnet18] {
        let plain = trained(name, &recipe, None);
        assert!(plain == trained(name, &recipe, Some(&mut nothing_in_effect())), "{name:?}: an extra loss of 0");
        let mut absent = Part::new(TrainOverrides::default());
        assert!(plain == trained(name, &recipe, Some(&mut absent)), "{name:?}: no hooks");
        let mut halved = Part::new(TrainOverrides::default())
            .on_loss(|_, _| abi::Loss { extra: std::ptr::null_mut(), task_scale: 0.5 });
        assert!(plain != trained(name, &recipe, Some(&mut halved)), "{name:?}: half the loss");
    }
}

#[test]
fn an_extra_loss_reaches_the_weights_and_the_record() {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let plain = fit(&mut learner, 0, None).unwrap();
    assert_eq!(plain.epochs[0].extra_loss, None);
    let plain_model = learner.model().unwrap();
    // 20 samples make minibatches of 8, 8 and 4; the second of them adds 6 times one of its logits less itself, plus 6.
    let mut part = Part::new(TrainOverrides::default()).on_loss(|_, minibatch| {
        let sum = read(minibatch.logits).sum(Kind::Float);
        if minibatch.step == 1 { extra(&sum - sum.detach() + 6.0) } else { NO_LOSS }
    });
    let fitted = fit(&mut learner, 0, Some(&mut part)).unwrap();
    assert_eq!(fitted.epochs[0].extra_loss, Some(2.0));
    assert!(learner.model().unwrap() != plain_model);
    assert_ne!(fitted.epochs[0].loss.to_bits(), plain.epochs[0].loss.to_bits());
}

#[test]
fn sample_losses_are_those_whose_mean_is_trained_on() {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let sums = Rc::new(RefCell::new(vec![0.0f64; 2]));
    let seen = sums.clone();
    let mut part = Part::new(wants_all()).on_loss(move |_, minibatch| {
        seen.borrow_mut()[minibatch.epoch as usize] += read(minibatch.losses).sum(Kind::Double).double_value(&[]);
        assert_eq!(read(minibatch.losses).size(), read(minibatch.labels).size());
        NO_LOSS
    });
    let fitted = fit(&mut learner, 0, Some(&mut part)).unwrap();
    for (sum, epoch) in sums.borrow().iter().zip(&fitted.epochs) {
        assert!((sum / 20.0 - epoch.loss).abs() < 1e-5, "{sum} {}", epoch.loss);
    }
}

#[test]
fn wrong_losses_are_refused_with_their_place() {
    let with = |make: fn(&abi::Minibatch) -> abi::Loss| {
        Part::new(TrainOverrides::default()).on_loss(move |_, minibatch| make(minibatch))
    };
    refused(&mut with(|m| extra(read(m.logits).sum_dim_intlist(0, false, Kind::Float))), &["shape [2]", "scalar"]);
    refused(&mut with(|m| extra(read(m.logits).sum(Kind::Float).detach())), &["on no graph", "return none"]);
    refused(&mut with(|m| extra(read(m.logits).sum(Kind::Double))), &["Double", "expected Float"]);
    refused(
        &mut with(|m| extra(read(m.logits).sum(Kind::Float) * f64::NAN)),
        &["extra loss is NaN", "epoch 0, minibatch 0"],
    );
    refused(&mut with(|_| abi::Loss { task_scale: 1.5, ..NO_LOSS }), &["1.5", "0 to 1"]);
    refused(&mut with(|_| abi::Loss { task_scale: f64::NAN, ..NO_LOSS }), &["NaN"]);
    let backward = |m: &abi::Minibatch| {
        let sum = read(m.logits).sum(Kind::Float);
        sum.backward();
        extra(sum)
    };
    refused(&mut with(backward), &["must not run backward itself", "minibatch 0"]);
}

#[test]
fn changed_parameters_are_named() {
    let change = |services: &dyn HostServices| {
        let mut weights: Vec<Tensor> = services.parameters().unwrap().into_iter().map(take).collect();
        let _no_grad = tch::no_grad_guard();
        let _ = weights[1].fill_(0.0);
    };
    let mut part = Part::new(TrainOverrides::default()).on_step(change);
    refused(&mut part, &["changed the task's model in place", "`conv1.bias`"]);
    let mut part = Part::new(TrainOverrides::default()).on_loss(move |services, _| {
        change(services);
        NO_LOSS
    });
    refused(&mut part, &["`conv1.bias`"]);
}

/// Gradients that a plugin's own backward pass leaves in the task's weights would be added to the next step.
#[test]
fn gradients_left_behind_are_dropped() {
    let plain = trained(ModelName::Cnn, &quick(), None);
    let mut part = Part::new(TrainOverrides::default()).on_step(|services| {
        for weight in services.parameters().unwrap().into_iter().map(take) {
            weight.sum(Kind::Float).backward();
        }
    });
    assert!(plain == trained(ModelName::Cnn, &quick(), Some(&mut part)));
}

#[test]
fn the_plugin_draws_on_from_call_to_call_and_repeats_by_round() {
    let run = |round| {
        let draws = Rc::new(RefCell::new(Vec::new()));
        let seen = draws.clone();
        let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
        let mut part = Part::new(TrainOverrides::default())
            .on_step(move |_| seen.borrow_mut().push(Tensor::rand([], (Kind::Double, Device::Cpu)).double_value(&[])));
        fit(&mut learner, round, Some(&mut part)).unwrap();
        drop(part);
        draws.take()
    };
    let first = run(0);
    assert_eq!(first.len(), 6);
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "{first:?}");
    assert_eq!(first, run(0));
    assert_ne!(first, run(1));
}

#[test]
fn what_a_panic_leaves_is_put_back() {
    let learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let (pool, labelled) = (ids(20..52), labelled(0..20));
    let services = learner.services(scope(&pool, &labelled, 0)).unwrap();
    runtime::set_threads(1).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = services.guarded(&mut || {
            std::mem::forget(tch::no_grad_guard());
            tch::set_num_threads(2);
            panic!("on purpose");
        });
    }));
    assert!(caught.is_err());
    assert_eq!(tch::get_num_threads(), 1);
    let x = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
    assert!((x * 2.0).requires_grad(), "grad mode is on again");
}

#[test]
fn where_weights_come_from() {
    let run = |init| {
        let mut learner = learner(&bars(60, 16, 1), ModelName::Resnet18, &quick());
        let start = Rc::new(RefCell::new(Vec::new()));
        let seen = start.clone();
        let mut part = Part::new(TrainOverrides { init: Some(init), ..TrainOverrides::default() }).on_begin(move |s| {
            let weights: Vec<Tensor> = s.parameters().unwrap().into_iter().map(take).collect();
            seen.borrow_mut().push(weights[0].detach().copy());
        });
        fit(&mut learner, 0, Some(&mut part)).unwrap();
        let services = learner.services(scope(&[], &[], 0)).unwrap();
        let end = take(services.parameters().unwrap()[0]).detach().copy();
        drop(services);
        fit(&mut learner, 1, Some(&mut part)).unwrap();
        let start = start.take();
        (start[1] == start[0], start[1] == end)
    };
    assert_eq!(run(InitPolicy::Reinit), (false, false));
    assert_eq!(run(InitPolicy::SameInit), (true, false));
    assert_eq!(run(InitPolicy::Warm), (false, true));
    let mut part = Part::new(TrainOverrides { init: Some(InitPolicy::Warm), ..TrainOverrides::default() });
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let error = fit(&mut learner, 3, Some(&mut part)).unwrap_err().to_string();
    assert!(error.contains("the model of round 2, which is not at hand"), "{error}");
}

#[test]
fn the_pool_runs_beside_the_labelled_set() {
    for (length, minibatch, steps, sizes) in [
        (None, None, 3, vec![8, 8, 4]),
        (None, Some(16), 3, vec![16, 16, 16]),
        (Some(EpochLength::Longest), Some(5), 7, vec![5; 7]),
        (None, Some(100), 3, vec![32; 3]),
    ] {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        let plan = TrainOverrides {
            epoch_length: length,
            unlabelled: Some(UnlabelledStream { transform: Transform::Eval, minibatch }),
            ..TrainOverrides::default()
        };
        let mut part = Part::new(plan).on_loss(move |_, minibatch| {
            let n = read(minibatch.labels).numel();
            log.borrow_mut().push((minibatch.epoch, read(minibatch.unlabelled).size()[0], n));
            NO_LOSS
        });
        let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
        fit(&mut learner, 0, Some(&mut part)).unwrap();
        let seen = seen.take();
        assert_eq!(seen.len(), 2 * steps);
        let first: Vec<i64> = seen.iter().filter(|(epoch, ..)| *epoch == 0).map(|(_, size, _)| *size).collect();
        assert_eq!(first, sizes);
        let labels: Vec<usize> = seen[..steps].iter().map(|(.., n)| *n).collect();
        assert_eq!(labels, [8, 8, 4].into_iter().cycle().take(steps).collect::<Vec<_>>());
    }
}

/// The running statistics move by a training pass in `batch_loss` and nowhere else.
#[test]
fn training_passes_of_a_plugin_move_statistics_only_in_batch_loss() {
    fn pass(services: &dyn HostServices) {
        let mut stream = STREAM;
        stream.batch = 8;
        let stream = services.open_stream(&stream, "x", &[]).unwrap();
        let batch = services.next_batch(stream).unwrap();
        let images = take(batch.images);
        drop(take(batch.rows));
        services.close_stream(stream);
        // SAFETY: `images` lives.
        let out = unsafe { services.forward(images.as_ptr().cast_mut().cast(), abi::FORWARD_TRAIN) }.unwrap();
        drop(take(out.logits));
        drop(take(out.embeddings));
    }
    let plain = trained(ModelName::Resnet18, &quick(), None);
    let mut part = Part::new(TrainOverrides::default()).on_step(pass).on_begin(pass);
    assert!(plain == trained(ModelName::Resnet18, &quick(), Some(&mut part)));
    let mut part = Part::new(TrainOverrides::default()).on_loss(|services, _| {
        pass(services);
        NO_LOSS
    });
    assert!(plain != trained(ModelName::Resnet18, &quick(), Some(&mut part)));
}

const STREAM: abi::StreamSpec = abi::StreamSpec {
    of: 1,
    transform: 1,
    batch: 10,
    shuffle: false,
    infinite: false,
    drop_last: false,
    tag: abi::Bytes { data: std::ptr::null(), len: 0 },
    rows: std::ptr::null(),
    row_count: 0,
};

#[test]
fn streams_and_passes_agree_with_the_learner() {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Resnet18, &quick());
    fit(&mut learner, 0, None).unwrap();
    let (pool, labelled) = (ids(20..52), labelled(0..20));
    let expected = learner.logits(&pool, &Silent).unwrap();
    let services = learner.services(scope(&pool, &labelled, 0)).unwrap();
    let (mut rows, mut logits) = (Vec::new(), Vec::new());
    let stream = services.open_stream(&STREAM, "all", &[]).unwrap();
    loop {
        let batch = services.next_batch(stream).unwrap();
        if batch.images.is_null() {
            break;
        }
        assert!(batch.labels.is_null(), "a label of the pool");
        let images = take(batch.images);
        // SAFETY: `images` lives.
        let out = unsafe { services.forward(images.as_ptr().cast_mut().cast(), abi::FORWARD_STAGES) }.unwrap();
        assert_eq!(out.stage_count, 4);
        out.stages[..4].iter().for_each(|&map| drop(take(map)));
        let embeddings = take(out.embeddings);
        // SAFETY: `embeddings` lives.
        let head = unsafe { services.head_forward(embeddings.as_ptr().cast_mut().cast(), 0) }.unwrap();
        let here = take(out.logits);
        assert_eq!(take(head), here);
        assert!(!here.requires_grad());
        rows.extend(Vec::<i64>::try_from(take(batch.rows)).unwrap());
        logits.extend(Vec::<f32>::try_from(here.flatten(0, 1)).unwrap());
    }
    assert_eq!(rows, (0..32).collect::<Vec<_>>());
    for (a, b) in logits.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
    }
    let some = services.open_stream(&abi::StreamSpec { of: 2, ..STREAM }, "some", &[5, 3]).unwrap();
    assert_eq!(Vec::<i64>::try_from(take(services.next_batch(some).unwrap().rows)).unwrap(), [5, 3]);
    let own = services.open_stream(&abi::StreamSpec { of: 0, transform: 0, ..STREAM }, "own", &[]).unwrap();
    let batch = services.next_batch(own).unwrap();
    assert_eq!(Vec::<i64>::try_from(take(batch.labels)).unwrap(), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let task = services.task();
    assert_eq!((task.pool, task.labelled, task.classes, task.embedding), (32, 20, 2, 512));
    assert_eq!((task.stages, task.stage_channels[3], task.device), (4, 512, -1));
    // Noise below 100 with bars of up to 200 lies between black and white.
    let batch = services.next_batch(services.open_stream(&STREAM, "range", &[]).unwrap()).unwrap();
    drop(take(batch.rows));
    let (least, most) = take(batch.images).aminmax(None, false);
    let (least, most) = (least.double_value(&[]) as f32, most.double_value(&[]) as f32);
    assert!(task.black[0] <= least && least < task.black[0] + 0.1, "{least} {:?}", task.black);
    assert!(most < task.white[0], "{most} {:?}", task.white);

    for (spec, rows, part) in [
        (abi::StreamSpec { of: 2, ..STREAM }, &[32][..], "row 32 of a pool of 32"),
        (abi::StreamSpec { of: 3, ..STREAM }, &[], "kind 3"),
        (abi::StreamSpec { transform: 2, ..STREAM }, &[], "transform 2"),
        (abi::StreamSpec { batch: 0, ..STREAM }, &[], "batch is 0"),
        (abi::StreamSpec { of: 2, infinite: true, ..STREAM }, &[], "never gives one"),
    ] {
        let error = services.open_stream(&spec, "", rows).unwrap_err().0;
        assert!(error.contains(part), "{error}");
    }
    let wrong = Tensor::zeros([2, 3, 16, 16], (Kind::Float, Device::Cpu));
    let refused = |tensor: &Tensor, flags| {
        // SAFETY: the tensor lives.
        unsafe { services.forward(tensor.as_ptr().cast_mut().cast(), flags) }.map(|_| ()).unwrap_err().0
    };
    assert!(refused(&wrong, 0).contains("[2, 3, 16, 16], expected [n, 1, 16, 16]"));
    let right = Tensor::zeros([2, 1, 16, 16], (Kind::Float, Device::Cpu));
    assert!(refused(&right.to_kind(Kind::Half), 0).contains("Half, expected Float"));
    assert!(refused(&right, 64).contains("0x40"));
    assert!(refused(&right, abi::FORWARD_PREVIOUS).contains("keep_previous_model"));
    // SAFETY: null is allowed here, and refused.
    assert!(unsafe { services.forward(std::ptr::null_mut(), 0) }.is_err());
    let nan = Tensor::full([2, 1, 16, 16], f64::NAN, (Kind::Float, Device::Cpu));
    let five = Tensor::zeros([5, 1, 16, 16], (Kind::Float, Device::Cpu));
    for (rows, images, part) in [
        (&[0, 1][..], &wrong, "[2, 3, 16, 16], expected [n, 1, 16, 16]"),
        (&[0], &right, "2 synthetic images for 1 rows"),
        (&[3, 3], &right, "for row 3, expected distinct rows"),
        (&[3, 32], &right, "for row 32, expected distinct rows of a pool of 32"),
        (&[0, 1, 2, 3, 4], &five, "5 synthetic images, more than the 4"),
        (&[0, 1], &nan, "for row 0 has a value that is NaN"),
    ] {
        let error = hand_in(&*services, rows, images).unwrap_err().0;
        assert!(error.contains(part), "{error}");
    }
    assert!(services.take_synthetic().is_empty(), "what is refused is not kept");
    hand_in(&*services, &[3, 1], &right).unwrap();
    assert!(hand_in(&*services, &[1, 4], &right).unwrap_err().0.contains("row 1"), "handed in before");
    assert!(hand_in(&*services, &[5, 6, 7], &five.narrow(0, 0, 3)).unwrap_err().0.contains("more than the 4"));
    assert_eq!(services.take_synthetic().iter().map(|image| image.row).collect::<Vec<_>>(), [3, 1]);
    services.log_metric("a", 1.0).unwrap();
    assert!(services.log_metric("a", f64::NAN).is_err());
    assert_eq!(services.metrics()["a"], 1.0);
}

fn hand_in(services: &dyn HostServices, rows: &[u32], images: &Tensor) -> Result<(), ServiceError> {
    // SAFETY: the tensor lives.
    unsafe { services.add_synthetic(rows, images.as_ptr().cast_mut().cast()) }
}

#[test]
fn images_to_train_on_are_handed_in_inside_a_query_only() {
    let said = Rc::new(RefCell::new(String::new()));
    let log = said.clone();
    let image = Tensor::zeros([1, 1, 16, 16], (Kind::Float, Device::Cpu));
    let mut part = Part::new(TrainOverrides::default())
        .on_begin(move |services| *log.borrow_mut() = hand_in(services, &[0], &image).unwrap_err().0);
    fit(&mut learner(&bars(60, 16, 1), ModelName::Cnn, &quick()), 0, Some(&mut part)).unwrap();
    assert!(said.borrow().contains("inside a query"), "{}", said.borrow());
}

/// Copies of samples, handed over as if a strategy had made them, train the model to the same bits as the samples do.
#[test]
fn synthetic_images_train_as_samples_do() {
    let data = bars(60, 16, 3);
    let augment = vec![Augmentation::Crop, Augmentation::Flip];
    for recipe in [quick(), Recipe { augment, ..quick() }] {
        let trained = |real: Vec<(SampleId, Label)>, synthetic: &[Synthetic]| {
            let mut learner = learner(&data, ModelName::Cnn, &recipe);
            let pool = ids(30..52);
            learner
                .fit(
                    FitTask { scope: scope(&pool, &real, 1), hooks: None, needs: &[], synthetic, validation: &[] },
                    &Silent,
                )
                .unwrap();
            learner.model().unwrap()
        };
        let copy = |(sample, label): (SampleId, Label)| {
            let pixels: Vec<&[u8]> = data.images().image(sample).chunks(3).collect();
            let values = (0..3).flat_map(|channel| pixels.iter().map(move |pixel| f32::from(pixel[channel]))).collect();
            Synthetic { sample, label, values }
        };
        let copies: Vec<Synthetic> = labelled(20..30).into_iter().map(copy).collect();
        let model = trained(labelled(0..20), &copies);
        assert!(model == trained(labelled(0..30), &[]), "other bits");
        assert!(model != trained(labelled(0..20), &[]), "they changed nothing");
    }
}

#[test]
fn the_model_of_the_round_before_is_at_hand_if_it_was_kept() {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let seen = Rc::new(Cell::new(None));
    let log = seen.clone();
    let plan = TrainOverrides { keep_previous_model: true, ..TrainOverrides::default() };
    let images = Tensor::ones([2, 1, 16, 16], (Kind::Float, Device::Cpu));
    let logits = |services: &dyn HostServices, images: &Tensor| {
        // SAFETY: `images` lives.
        let out = unsafe { services.forward(images.as_ptr().cast_mut().cast(), abi::FORWARD_PREVIOUS) }.ok()?;
        drop(take(out.embeddings));
        Some(take(out.logits).double_value(&[0, 0]))
    };
    let held = images.copy();
    let mut part = Part::new(plan).on_begin(move |services| log.set(logits(services, &held)));
    fit(&mut learner, 0, Some(&mut part)).unwrap();
    assert_eq!(seen.get(), None, "there is no round before the first");
    let (pool, labelled) = (ids(20..52), labelled(0..20));
    let now = {
        let services = learner.services(scope(&pool, &labelled, 0)).unwrap();
        // SAFETY: `images` lives.
        let out = unsafe { services.forward(images.as_ptr().cast_mut().cast(), 0) }.unwrap();
        drop(take(out.embeddings));
        take(out.logits).double_value(&[0, 0])
    };
    fit(&mut learner, 1, Some(&mut part)).unwrap();
    assert_eq!(seen.get(), Some(now));
    let services = learner.services(scope(&pool, &labelled, 1)).unwrap();
    assert_eq!(logits(&*services, &images), Some(now), "at the query too");
}

#[test]
fn a_restored_model_goes_on_as_in_one_process() {
    let plan = || {
        let plan =
            TrainOverrides { init: Some(InitPolicy::Warm), keep_previous_model: true, ..TrainOverrides::default() };
        Part::new(plan)
    };
    let data = bars(60, 16, 1);
    let mut one = learner(&data, ModelName::Resnet18, &quick());
    fit(&mut one, 0, Some(&mut plan())).unwrap();
    let first = one.model().unwrap();
    fit(&mut one, 1, Some(&mut plan())).unwrap();
    let mut other = learner(&data, ModelName::Resnet18, &quick());
    let asked = TrainOverrides { keep_previous_model: true, ..TrainOverrides::default() };
    other.restore(&first, &asked).unwrap();
    assert!(other.model().unwrap() == first);
    fit(&mut other, 1, Some(&mut plan())).unwrap();
    assert!(other.model().unwrap() == one.model().unwrap());
    for (bytes, part) in [(&first[..100], "reading a model"), (&one.model().unwrap(), "102 tensors, expected")] {
        let error = learner(&data, ModelName::Cnn, &quick()).restore(bytes, &asked).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_stream_of_the_training_is_none_of_the_query() {
    let mut learner = learner(&bars(60, 16, 1), ModelName::Cnn, &quick());
    let kept = Rc::new(Cell::new(0));
    let number = kept.clone();
    let mut part = Part::new(TrainOverrides::default())
        .on_begin(move |services| number.set(services.open_stream(&STREAM, "x", &[]).unwrap()));
    fit(&mut learner, 0, Some(&mut part)).unwrap();
    let (pool, labelled) = (ids(20..52), labelled(0..20));
    let services = learner.services(scope(&pool, &labelled, 0)).unwrap();
    services.open_stream(&STREAM, "y", &[]).unwrap();
    assert!(services.next_batch(kept.get()).is_err());
}
