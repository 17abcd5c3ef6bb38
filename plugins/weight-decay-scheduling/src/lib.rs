//! Entropy sampling from a model whose weight decay falls as labels come in, and which may learn from the model of the
//! round before.
//!
//! The weight decay of a round is `lambda_0 L_0 / L`, with L_0 and L the samples labelled at the start of the run and
//! now. With distillation, from the second round on, a minibatch costs
//! `(1 - alpha) CE + alpha T^2 KL(softmax(t / T) || softmax(f / T))`, where f are the model's logits and t those of the
//! model of the round before, on the same augmented images. The samples of largest entropy are selected.
//!
//! Yun, Kim and Kim, "Weight Decay Scheduling and Knowledge Distillation for Active Learning", ECCV 2020.

// More than 150 lines: its parameters take half of it, and its schedule, its distillation and its ranking are one
// method.
#![deny(missing_docs)]

use querist_sdk_torch::prelude::*;

/// How weight decay goes from round to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
pub enum Schedule {
    /// By the number of labelled samples: what the run started with over what there is now.
    InverseLabelled,
    /// By one over the number of the round, the first being 1.
    InverseRound,
    /// Not at all.
    Constant,
}

/// What weights a round starts from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
pub enum Init {
    /// Fresh ones.
    #[default]
    Reinit,
    /// Those of the round before.
    Warm,
}

/// Which samples are selected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
pub enum SamplingType {
    /// Those of largest entropy.
    #[default]
    Descending,
    /// Those of smallest entropy.
    Ascending,
    /// Those of largest entropy among `sampled_size` that are drawn at random.
    SampledDescending,
    /// Random ones.
    Random,
}

params! {
    /// Parameters of weight decay scheduling.
    pub struct WeightDecaySchedulingParams {
        /// Weight decay of the first round, above 0. The recipe's where it is left out, which may be 0 if
        /// the schedule is constant.
        #[schemars(range(min = 0.0))]
        pub base_weight_decay: Option<f64> = None,
        /// How weight decay goes from round to round.
        pub schedule: Schedule = Schedule::InverseLabelled,
        /// What weights a round starts from.
        pub init: Init = Init::Reinit,
        /// Share of the distillation in the loss; 0 for none.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub kd_alpha: f64 = 0.0,
        /// Temperature of the distillation, above 0.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub kd_temperature: f64 = 1.0,
        /// Which samples are selected.
        pub sampling_type: SamplingType = SamplingType::Descending,
        /// Samples that `sampled-descending` draws.
        #[schemars(range(min = 1))]
        pub sampled_size: u32 = 10_000,
        /// Images of a forward pass at the query.
        #[schemars(range(min = 1, max = 65_536))]
        pub batch_size: u32 = 256,
    }
}

impl WeightDecaySchedulingParams {
    /// What the first round's weight decay is multiplied with, where `labelled` samples have labels and `initial` had
    /// at the start of the run.
    pub fn factor(&self, round: u32, initial: u32, labelled: u32) -> f64 {
        match self.schedule {
            Schedule::InverseLabelled => f64::from(initial) / f64::from(labelled.max(1)),
            Schedule::InverseRound => 1.0 / (f64::from(round) + 1.0),
            Schedule::Constant => 1.0,
        }
    }
}

impl Strategy for WeightDecaySchedulingParams {
    const ID: &'static str = "weight-decay-scheduling";
    const SUMMARY: &'static str = "Samples of largest entropy, under a weight decay that falls as labels come in";
    const PAPER: &'static str =
        "Yun et al., Weight Decay Scheduling and Knowledge Distillation for Active Learning, ECCV 2020";
    const COST: &'static str =
        "O(N C) time; with distillation one pass of the model of the round before in every step.";
    const ALIASES: &'static [&'static str] = &["ws", "WeightDecayScheduling"];

    fn layers() -> Vec<Layer<Self>> {
        let text = "euphoria0-0/Active-Learning-for-Image-Classification: weight decay by one over the round's number.";
        let set = |params: &mut Self| params.schedule = Schedule::InverseRound;
        vec![
            Layer::preset("paper", "The paper's: the defaults.", |_: &mut Self| ()).once_called("profile", "paper"),
            Layer::preset("al-baselines", text, set).once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES)]
    }

    fn check(&self) -> Result<(), String> {
        if self.base_weight_decay == Some(0.0) {
            return Err("base_weight_decay is 0, expected more than 0; leave it out for the recipe's".to_owned());
        }
        if self.kd_temperature == 0.0 {
            return Err("kd_temperature is 0, expected more than 0".to_owned());
        }
        Ok(())
    }
}

/// Weight decay scheduling in one round.
pub struct WeightDecayScheduling {
    params: WeightDecaySchedulingParams,
    has_teacher: bool,
}

impl TorchStrategy for WeightDecayScheduling {
    type Params = WeightDecaySchedulingParams;
    const HOOKS: Hooks = Hooks { plan_round: true, batch_loss: true, ..Hooks::NONE };

    fn new(params: WeightDecaySchedulingParams, round: &Round, _: Option<&[u8]>) -> Result<Self> {
        // The first round has nobody to learn from.
        let has_teacher = params.kd_alpha > 0.0 && round.task().round > 0;
        Ok(Self { params, has_teacher })
    }

    fn plan_round(&mut self, round: &Round) -> Result<TrainOverrides> {
        let task = round.task();
        let base = self.params.base_weight_decay.unwrap_or(task.weight_decay);
        if base == 0.0 && self.params.schedule != Schedule::Constant {
            return Err(Error::failed(
                "recipe.weight_decay is 0, so no schedule would change anything: set it, or `base_weight_decay` of the \
                 strategy, above 0",
            ));
        }
        let factor = self.params.factor(task.round, task.initial, task.labelled);
        round.log_metric("weight_decay", base * factor)?;
        Ok(TrainOverrides {
            weight_decay: Some(base * factor),
            init: Some(match self.params.init {
                Init::Reinit => InitPolicy::Reinit,
                Init::Warm => InitPolicy::Warm,
            }),
            keep_previous_model: self.params.kd_alpha > 0.0,
            ..TrainOverrides::default()
        })
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        if !self.has_teacher {
            return Ok(Loss::none());
        }
        let teacher = round.forward(&minibatch.images).previous().run()?.logits;
        let loss = distillation(&minibatch.logits, &teacher, self.params.kd_temperature)?;
        let alpha = self.params.kd_alpha;
        Ok(Loss { extra: Some(loss.f_mul_scalar(alpha)?), task_scale: 1.0 - alpha })
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        match self.params.sampling_type {
            SamplingType::Descending => self.by_entropy(round, query, None, 1.0),
            SamplingType::Ascending => self.by_entropy(round, query, None, -1.0),
            SamplingType::SampledDescending => self.by_entropy(round, query, Some(self.params.sampled_size), 1.0),
            SamplingType::Random => {
                let mut rows: Vec<u32> = (0..query.rows()).collect();
                round.rng("random")?.shuffle(&mut rows);
                rows.truncate(query.wanted() as usize);
                Ok(Selection { rows, ..Selection::default() })
            }
        }
    }
}

impl WeightDecayScheduling {
    /// The rows with the largest entropy times `sign`, of `drawn` random ones.
    fn by_entropy(&self, round: &Round, query: &Query, drawn: Option<u32>, sign: f64) -> Result<Selection> {
        let rows = round.subset(drawn)?;
        let mut scores = Vec::with_capacity(rows.len());
        let stream = round.images(Of::Rows(&rows)).batch(self.params.batch_size).open()?;
        while let Some(batch) = stream.next(round)? {
            let entropies = entropy(&round.forward(&batch.images).run()?.logits)?;
            scores.extend(floats(&entropies)?.into_iter().map(|entropy| sign * entropy));
            round.progress(scores.len() as u64, rows.len() as u64)?;
        }
        largest(&rows, &scores, query.wanted())
    }
}

/// Entropy in nats, `f64 [n]`, of softmax distributions with logits `[n, classes]`.
///
/// # Errors
/// If libtorch fails.
pub fn entropy(logits: &Tensor) -> Result<Tensor> {
    let log_probs = logits.f_log_softmax(1, Kind::Double)?;
    Ok(log_probs.f_exp()?.f_mul(&log_probs)?.f_sum_dim_intlist(1, false, Kind::Double)?.f_neg()?)
}

/// Mean over the minibatch of `T^2 KL(softmax(teacher / T) || softmax(student / T))`, logits being `[n, classes]`; the
/// teacher is held fixed.
///
/// # Errors
/// If shapes differ.
pub fn distillation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let log_probs = |logits: &Tensor| logits.f_div_scalar(temperature)?.f_log_softmax(1, None);
    let (student, teacher) = (log_probs(student)?, log_probs(&teacher.f_detach()?)?);
    let each = teacher.f_exp()?.f_mul(&teacher.f_sub(&student)?)?.f_sum_dim_intlist(1, false, None)?;
    Ok(each.f_mean(None)?.f_mul_scalar(temperature * temperature)?)
}

torch_package!(WeightDecayScheduling);
