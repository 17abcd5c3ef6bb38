//! A strategy that has every hook, as the learner calls it.

use std::cell::RefCell;

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_sdk_torch::prelude::*;
use querist_torch_testkit::{Bench, InProcess, bars};
use serde_json::json;

thread_local! {
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static DRAWS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn called(what: impl Into<String>) {
    CALLS.with_borrow_mut(|calls| calls.push(what.into()));
}

/// No parameters.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessParams {}

impl Strategy for WitnessParams {
    const ID: &'static str = "witness";
    const SUMMARY: &'static str = "Writes down how it is called";
    const PAPER: &'static str = "None";

    fn needs(&self) -> Vec<Need> {
        vec![]
    }
}

/// Writes down how it is called.
pub struct Witness {
    stream: Option<ImageStream>,
}

impl TorchStrategy for Witness {
    type Params = WitnessParams;
    const HOOKS: Hooks = Hooks {
        plan_round: true,
        train_begin: true,
        epoch_begin: true,
        batch_loss: true,
        batch_step: true,
        epoch_end: true,
        train_end: true,
    };

    fn new(_: WitnessParams, _: &Round, state: Option<&[u8]>) -> Result<Self> {
        called(format!("new {state:?}"));
        Ok(Self { stream: None })
    }

    fn plan_round(&mut self, round: &Round) -> Result<TrainOverrides> {
        called(format!("plan of {}", round.task().labelled));
        assert!(round.parameters().is_err(), "there is no model yet");
        Ok(TrainOverrides { stage_maps: true, ..TrainOverrides::default() })
    }

    fn train_begin(&mut self, round: &Round) -> Result<()> {
        called(format!("begin with {}", round.parameters()?.len()));
        // Whatever is drawn from libtorch or from another name does not matter to a name.
        DRAWS.with_borrow_mut(|draws| {
            let _ = Tensor::rand([3], (Kind::Float, Device::Cpu));
            let [mut a, mut other] = [round.rng("a").unwrap(), round.rng("b").unwrap()];
            draws.extend([a.next_bits(), other.next_bits(), round.rng("a").unwrap().next_bits()]);
        });
        self.stream = Some(round.images(Of::Labelled).batch(3).shuffled("x").infinite().open()?);
        Ok(())
    }

    fn epoch_begin(&mut self, _: &Round, epoch: u32) -> Result<()> {
        called(format!("epoch {epoch}"));
        Ok(())
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        let (sizes, maps) = (minibatch.labels.size(), minibatch.stages.len());
        called(format!("loss {}.{} of {sizes:?}, {maps} maps", minibatch.epoch, minibatch.step));
        let batch = self.stream.as_ref().unwrap().next(round)?.unwrap();
        assert_eq!(batch.labels.unwrap().size(), [3]);
        assert!(minibatch.losses.is_none() && minibatch.unlabelled.is_none());
        let gradient = grad(&minibatch.logits.sum(Kind::Float), std::slice::from_ref(&minibatch.embeddings), true)?;
        assert_eq!(gradient[0].size(), minibatch.embeddings.size());
        Ok(Loss { extra: None, task_scale: 0.5 })
    }

    fn batch_step(&mut self, _: &Round, epoch: u32, step: u32) -> Result<()> {
        called(format!("step {epoch}.{step}"));
        Ok(())
    }

    fn epoch_end(&mut self, round: &Round, epoch: u32, figures: &EpochFigures) -> Result<()> {
        called(format!("end of {epoch}"));
        round.log_metric("accuracy", figures.accuracy)
    }

    fn train_end(&mut self, _: &Round) -> Result<()> {
        called("end");
        Ok(())
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        called(format!("query for {}", query.wanted()));
        assert!(self.stream.as_ref().unwrap().next(round).is_err(), "a stream of the training");
        let images = round.images(Of::Pool).batch(5).open()?.next(round)?.unwrap().images;
        let out = round.forward(&images).grad().run()?;
        let targets = out.logits.detach().softmax(1, Kind::Float);
        assert_eq!(round.gradient_norms(&images, &targets)?.size(), [5]);
        assert!(out.logits.requires_grad() && out.stages.is_empty());
        let rows = round.subset(Some(6))?;
        assert!(rows.len() == 6 && rows.windows(2).all(|pair| pair[0] < pair[1]));
        largest(&rows, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], query.wanted())
    }

    fn save_state(&mut self, _: &Round) -> Result<Option<Vec<u8>>> {
        Ok(Some(vec![1, 2]))
    }
}

torch_package!(Witness);

#[test]
fn hooks_are_called_in_order_with_what_they_are_promised() {
    let recipe = Recipe { epochs: 1, minibatch: 4, ..Recipe::default() };
    let mut bench = Bench::new(&bars(20, 8, 1), 7, 3, ModelName::Cnn, &recipe);
    let mut strategy = InProcess::new(&PACKAGE, "witness", &json!({})).unwrap();
    let fitted = bench.fit(Some(&mut strategy)).unwrap();
    assert_eq!(fitted.metrics["accuracy"], fitted.epochs[0].accuracy);
    assert!(fitted.overrides.stage_maps);
    let selection = bench.query(&mut strategy, &Silent).unwrap();
    assert_eq!((selection.scores, selection.state), (vec![5.0, 4.0, 3.0], Some(vec![1, 2])));
    let expected = [
        "new None",
        "plan of 7",
        "begin with 10",
        "epoch 0",
        "loss 0.0 of [4], 3 maps",
        "step 0.0",
        "loss 0.1 of [3], 3 maps",
        "step 0.1",
        "end of 0",
        "end",
        "query for 3",
    ];
    assert_eq!(CALLS.take(), expected);
    let first = DRAWS.take();
    assert!(first[0] == first[2] && first[0] != first[1], "{first:?}");
    bench.fit(Some(&mut strategy)).unwrap();
    assert_eq!(DRAWS.take(), first, "the same round");
    bench.round = 1;
    bench.fit(Some(&mut strategy)).unwrap();
    assert_ne!(DRAWS.take(), first, "another round");
}
