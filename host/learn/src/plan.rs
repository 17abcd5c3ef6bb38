//! What a strategy changes in the training of a round, checked and merged with the recipe.

use querist_core::config::Recipe;
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
    pub(crate) init: InitPolicy,
    /// Length of an epoch.
    pub(crate) epoch_length: EpochLength,
    /// Images of the pool beside each minibatch.
    pub(crate) unlabelled: Option<UnlabelledStream>,
    /// Whether `batch_loss` sees stage maps.
    pub(crate) stage_maps: bool,
    /// Whether `batch_loss` sees the loss of each sample.
    pub(crate) sample_losses: bool,
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
        let (mut recipe, mut architecture) = (recipe.clone(), *architecture);
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
        let epoch_length = overrides.epoch_length.unwrap_or_default();
        if epoch_length == EpochLength::Longest && overrides.unlabelled.is_none() {
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
        Ok(Self {
            recipe,
            architecture,
            init: overrides.init.unwrap_or(InitPolicy::Reinit),
            epoch_length,
            unlabelled: overrides.unlabelled,
            stage_maps: overrides.stage_maps,
            sample_losses: overrides.sample_losses,
        })
    }

    /// The round whose random numbers make the weights.
    pub(crate) fn weights_round(&self, round: Round) -> Round {
        match self.init {
            // What the first round draws, so that a first round is the same under both policies.
            InitPolicy::SameInit => Round(0),
            InitPolicy::Reinit | InitPolicy::Warm => round,
        }
    }

    /// Whether the weights of the round before are this round's start.
    ///
    /// # Errors
    /// If they are not at hand.
    pub(crate) fn starts_warm(&self, round: Round, has_before: bool) -> Result<bool, LearnError> {
        let wanted = self.init == InitPolicy::Warm && round.0 > 0;
        if wanted && !has_before {
            return Err(LearnError::Config(format!(
                "the strategy starts round {} from the model of round {}, which is not at hand: run from round 0 in \
                 one go, or choose a strategy setting that starts afresh",
                round.0,
                round.0 - 1
            )));
        }
        Ok(wanted)
    }
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
        assert_eq!((plan.init, plan.epoch_length), (InitPolicy::Reinit, EpochLength::Labelled));
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
}
