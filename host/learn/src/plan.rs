//! What a strategy changes in the training of a round, checked and merged with the recipe.

use querist_core::config::{Averaging, EpochSamples, Evaluation, Init, Pass, Recipe, Stop, Trained};
use querist_core::{LearnError, Round};
use querist_protocol::{EpochLength, InitPolicy, TrainOverrides, UnlabelledStream};

use crate::model::{Architecture, names_of};

/// Most images of the pool beside a minibatch.
pub(crate) const LARGEST_MINIBATCH: usize = 65_536;

/// The training of one round.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The recipe with the strategy's changes.
    pub(crate) recipe: Recipe,
    /// The architecture with the strategy's changes.
    pub(crate) architecture: Architecture,
    /// Where weights come from.
    pub(crate) init: Init,
    /// Length of an epoch.
    pub(crate) epoch_length: Length,
    /// Images of the pool beside each minibatch.
    pub(crate) unlabelled: Option<UnlabelledStream>,
    /// Whether `batch_loss` sees stage maps.
    pub(crate) stage_maps: bool,
    /// Whether `batch_loss` sees the loss of each sample.
    pub(crate) sample_losses: bool,
}

/// Length of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// One pass over the labelled set.
    Labelled,
    /// One pass over the longer of labelled set and pool.
    Longest,
    /// So many samples.
    Samples(usize),
    /// One pass over the labelled set, or so many samples where it has fewer.
    AtLeast(usize),
}

impl From<EpochSamples> for Length {
    fn from(samples: EpochSamples) -> Self {
        match samples {
            EpochSamples::Pass(Pass::Labelled) => Self::Labelled,
            EpochSamples::Pass(Pass::Longest) => Self::Longest,
            EpochSamples::Samples(count) => Self::Samples(count),
            EpochSamples::AtLeast(least) => Self::AtLeast(least.at_least),
        }
    }
}

impl Plan {
    /// Checks what a strategy asks for and merges it with the recipe.
    ///
    /// `has_batch_loss` says whether the strategy looks at minibatches.
    ///
    /// # Errors
    /// A sentence about the request that has no meaning or contradicts another.
    pub(crate) fn merge(
        overrides: &TrainOverrides,
        recipe: &Recipe,
        architecture: &Architecture,
        has_batch_loss: bool,
    ) -> Result<Self, String> {
        let (mut recipe, mut architecture) = (recipe.clone(), architecture.clone());
        if let Some(decay) = overrides.weight_decay {
            if !(decay.is_finite() && decay >= 0.0) {
                return Err(format!("its plan sets `weight_decay` to {decay}, expected 0 or more"));
            }
            recipe.weight_decay = decay;
        }
        if let Some(dropout) = overrides.dropout {
            if !(0.0..1.0).contains(&dropout) {
                return Err(format!("its plan sets `dropout` to {dropout}, expected 0 or more and below 1"));
            }
            architecture = architecture.with_dropout(dropout);
        }
        if overrides.epoch_length == Some(EpochLength::Longest) && overrides.unlabelled.is_none() {
            return Err("its plan sets `epoch_length` to `longest`, which needs `unlabelled` beside it".to_owned());
        }
        if let Some(size) = overrides.unlabelled.and_then(|stream| stream.minibatch)
            && !(1..=LARGEST_MINIBATCH).contains(&(size as usize))
        {
            return Err(format!("its plan sets `unlabelled.minibatch` to {size}, expected 1 to {LARGEST_MINIBATCH}"));
        }
        if overrides.stage_maps && architecture.stages().is_empty() {
            return Err(format!(
                "its plan asks for `stage_maps`, but model.name = {} has none; choose {}",
                architecture.label(),
                names_of(|spec| !spec.stages.is_empty())
            ));
        }
        let unused = [
            ("unlabelled", overrides.unlabelled.is_some()),
            ("stage_maps", overrides.stage_maps),
            ("sample_losses", overrides.sample_losses),
        ];
        if let Some((name, _)) = unused.iter().find(|(_, asked)| *asked && !has_batch_loss) {
            return Err(format!("its plan asks for `{name}`, which only `batch_loss` sees, and it has no such hook"));
        }
        if has_batch_loss && recipe.mixup().is_some() {
            return Err(
                "it looks at minibatches, whose images `mixup` of recipe.augment would mix; leave mixup out, or \
                 choose another strategy"
                    .to_owned(),
            );
        }
        if overrides.stage_maps && recipe.train == Trained::Head {
            return Err(
                "its plan asks for `stage_maps`, but recipe.train is `head`, so the body is not trained".to_owned()
            );
        }
        let init = overrides.init.map(|init| match init {
            InitPolicy::Reinit => Init::Reinit,
            InitPolicy::Warm => Init::Warm,
            InitPolicy::SameInit => Init::SameInit,
        });
        Ok(Self {
            init: init.unwrap_or(recipe.init),
            epoch_length: overrides.epoch_length.map_or_else(
                || recipe.epoch_length.into(),
                |length| match length {
                    EpochLength::Labelled => Length::Labelled,
                    EpochLength::Longest => Length::Longest,
                },
            ),
            recipe,
            architecture,
            unlabelled: overrides.unlabelled,
            stage_maps: overrides.stage_maps,
            sample_losses: overrides.sample_losses,
        })
    }

    /// The round whose random numbers make the weights.
    pub(crate) fn weights_round(&self, round: Round) -> Round {
        match self.init {
            // What the first round draws, so that a first round is the same under both policies.
            Init::SameInit => Round(0),
            Init::Reinit | Init::Warm | Init::HeadOnly | Init::Pretrained => round,
        }
    }

    /// Whether weights of the round before are this round's start.
    ///
    /// # Errors
    /// If they are not at hand.
    pub(crate) fn goes_on(&self, round: Round, has_before: bool) -> Result<bool, LearnError> {
        let wanted = self.init.goes_on() && round.0 > 0;
        if wanted && !has_before {
            return Err(LearnError::Config(format!(
                "round {} starts from the model of round {}, which is not at hand: run from round 0 in one go, or \
                 choose a setting of strategy or `recipe.init` that starts afresh",
                round.0,
                round.0 - 1
            )));
        }
        Ok(wanted)
    }

    /// The same for models that have no round before.
    pub(crate) fn afresh(mut self) -> Self {
        if self.init.goes_on() {
            self.init = Init::Reinit;
        }
        self.recipe.keep_optimiser = false;
        self
    }
}

/// Choices of a recipe that contradict each other.
///
/// # Errors
/// A sentence about them.
pub(crate) fn contradiction(recipe: &Recipe) -> Result<(), String> {
    let refuse = |message: &str| Err(message.to_owned());
    let mut names: Vec<&str> = recipe.augment.iter().map(|augmentation| augmentation.name()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("recipe.augment has `{}` twice", pair[0]));
    }
    if let Some((name, problem)) = recipe.augment.iter().find_map(|one| Some((one.name(), one.problem()?))) {
        return Err(format!("recipe.augment, `{name}`: {problem}"));
    }
    if recipe.keep_optimiser && recipe.init != Init::Warm {
        return refuse(
            "recipe.keep_optimiser goes on with the optimiser of the round before, which needs `init = \"warm\"`",
        );
    }
    if recipe.even_minibatch && recipe.minibatch % 2 == 1 {
        return Err(format!("recipe.even_minibatch needs an even recipe.minibatch, not {}", recipe.minibatch));
    }
    if matches!(recipe.average, Averaging::Swa(_)) && recipe.uses_validation().is_some() {
        return refuse(
            "recipe.average = { swa = ... } has its weights at the end alone, when nothing is left to choose by \
             validation; use `ema`, or `stop` and `evaluate` without validation",
        );
    }
    if matches!(recipe.average, Averaging::Swa(_)) && recipe.stop != Stop::None {
        return refuse(
            "recipe.average = { swa = ... } counts epochs from the end, which `stop` would move; leave one out",
        );
    }
    if recipe.evaluate == Evaluation::BestValidation && recipe.keep_optimiser {
        return refuse(
            "recipe.evaluate = \"best-validation\" goes back to earlier weights, which recipe.keep_optimiser does \
             not; leave one out",
        );
    }
    if recipe.average != Averaging::None && recipe.keep_optimiser {
        return refuse("recipe.average replaces the weights that recipe.keep_optimiser goes on from; leave one out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName, Recipe};
    use querist_protocol::Transform;

    use super::*;
    use crate::model::ImageShape;

    fn merge(name: ModelName, has_batch_loss: bool, overrides: &TrainOverrides) -> Result<Plan, String> {
        let shape = ImageShape { channels: 1, height: 16, width: 16 };
        let architecture = Architecture::new(&ModelConfig::of(name), shape, 10).unwrap();
        Plan::merge(overrides, &Recipe::default(), &architecture, has_batch_loss)
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let plan = merge(ModelName::Cnn, false, &TrainOverrides::default()).unwrap();
        assert_eq!(plan.recipe, Recipe::default());
        assert_eq!((plan.init, plan.epoch_length), (Init::Reinit, Length::Labelled));
        assert_eq!(plan.weights_round(Round(3)), Round(3));
    }

    #[test]
    fn what_has_no_meaning_or_contradicts_is_refused() {
        let base = TrainOverrides::default;
        let stream = |minibatch| Some(UnlabelledStream { transform: Transform::Eval, minibatch });
        for (overrides, part) in [
            (TrainOverrides { weight_decay: Some(-1.0), ..base() }, "`weight_decay` to -1"),
            (TrainOverrides { weight_decay: Some(f64::INFINITY), ..base() }, "`weight_decay` to inf"),
            (TrainOverrides { dropout: Some(1.0), ..base() }, "`dropout` to 1"),
            (TrainOverrides { epoch_length: Some(EpochLength::Longest), ..base() }, "needs `unlabelled`"),
            (TrainOverrides { unlabelled: stream(Some(0)), ..base() }, "`unlabelled.minibatch` to 0"),
        ] {
            let error = merge(ModelName::Cnn, true, &overrides).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let maps = TrainOverrides { stage_maps: true, ..base() };
        assert!(merge(ModelName::Mlp, true, &maps).unwrap_err().contains("resnet18"));
        assert!(merge(ModelName::Cnn, false, &maps).unwrap_err().contains("no such hook"));
        assert!(merge(ModelName::Cnn, true, &maps).unwrap().stage_maps);
    }

    #[test]
    fn a_strategy_goes_before_the_recipe() {
        let shape = ImageShape { channels: 1, height: 16, width: 16 };
        let architecture = Architecture::new(&ModelConfig::of(ModelName::Cnn), shape, 10).unwrap();
        let recipe = Recipe { init: Init::HeadOnly, epoch_length: EpochSamples::Samples(50), ..Recipe::default() };
        let of = |overrides: &TrainOverrides| Plan::merge(overrides, &recipe, &architecture, true).unwrap();
        let own = of(&TrainOverrides::default());
        assert_eq!((own.init, own.epoch_length), (Init::HeadOnly, Length::Samples(50)));
        let (init, epoch_length) = (Some(InitPolicy::SameInit), Some(EpochLength::Labelled));
        let changed = of(&TrainOverrides { init, epoch_length, ..TrainOverrides::default() });
        assert_eq!((changed.init, changed.epoch_length), (Init::SameInit, Length::Labelled));
    }

    #[test]
    fn contradictions_are_told() {
        let base = Recipe::default;
        let flip = querist_core::config::Augmentation::Flip;
        for (recipe, part) in [
            (Recipe { augment: vec![flip, flip], ..base() }, "`flip` twice"),
            (Recipe { keep_optimiser: true, ..base() }, "init = \"warm\""),
            (Recipe { even_minibatch: true, minibatch: 7, ..base() }, "not 7"),
            (Recipe { average: Averaging::Swa(0.5), stop: Stop::Patience(2), ..base() }, "use `ema`"),
            (Recipe { average: Averaging::Swa(0.5), stop: Stop::TrainAccuracy(0.9), ..base() }, "leave one out"),
        ] {
            let error = contradiction(&recipe).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(contradiction(&base()), Ok(()));
    }
}
