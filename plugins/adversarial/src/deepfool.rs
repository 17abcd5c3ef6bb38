//! DeepFool as a strategy.

use querist_sdk_torch::prelude::*;

use crate::attack::{Boundary, DeepFool};
use crate::{candidates, classify, nearest};

/// Where paper and released code differ, whose values are the defaults.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The paper's.
    #[default]
    Paper,
    /// The code's.
    Peer,
}

/// What a distance is measured in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// Values of the normalised images that the model sees.
    #[default]
    Normalised,
    /// From black, 0, to white, 1.
    Pixels,
}

/// Parameters of adversarial sampling by DeepFool.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdversarialDeepfoolParams {
    /// Sets the default of `boundary`.
    pub profile: Profile,
    /// Which boundary an image walks towards. Null: `nearest`; `last` in profile `peer`.
    pub boundary: Option<Boundary>,
    /// Most steps of an image.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_iter: u32,
    /// By which share the sum of steps overshoots.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub overshoot: f64,
    /// Classes that are looked at, those of largest logits. Null: 10, or all where there are fewer.
    #[schemars(range(min = 2, max = 65_536))]
    pub top_k_classes: Option<u32>,
    /// What a distance is measured in.
    pub units: Units,
    /// How many rows of the pool are looked at, drawn at random; null for all.
    #[schemars(range(min = 1))]
    pub subset_size: Option<u32>,
    /// Images that walk at once.
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: u32,
}

impl Default for AdversarialDeepfoolParams {
    fn default() -> Self {
        Self {
            profile: Profile::Paper,
            boundary: None,
            max_iter: 50,
            overshoot: 0.02,
            top_k_classes: None,
            units: Units::Normalised,
            subset_size: Some(10_000),
            batch_size: 128,
        }
    }
}

impl AdversarialDeepfoolParams {
    /// Which boundary an image walks towards.
    pub fn boundary(&self) -> Boundary {
        self.boundary.unwrap_or(match self.profile {
            Profile::Paper => Boundary::Nearest,
            Profile::Peer => Boundary::Last,
        })
    }

    fn attack(&self, round: &Round) -> Result<DeepFool> {
        let task = round.task();
        let channels = task.channels as usize;
        let unit = match self.units {
            Units::Normalised => vec![1.0; channels],
            Units::Pixels if task.white.len() < channels => {
                return Err(Error::failed(format!(
                    "`units = \"pixels\"` knows {} channels, but the images have {channels}; choose `normalised`",
                    task.white.len()
                )));
            }
            Units::Pixels => task.white.iter().zip(&task.black).map(|(white, black)| white - black).collect(),
        };
        let unit = Tensor::f_from_slice(&unit)?.f_view([1, -1, 1, 1])?.f_to_device(task.device)?;
        Ok(DeepFool {
            max_iter: self.max_iter,
            overshoot: self.overshoot,
            classes: i64::from(self.top_k_classes.unwrap_or(10)),
            boundary: self.boundary(),
            unit,
        })
    }
}

impl Strategy for AdversarialDeepfoolParams {
    const ID: &'static str = "adversarial-deepfool";
    const SUMMARY: &'static str = "Samples nearest to a boundary of the model, by DeepFool";
    const PAPER: &'static str =
        "Ducoffe and Precioso, Adversarial Active Learning for Deep Networks: a Margin Based Approach, 2018";
    const COST: &'static str =
        "At most max_iter gradients with respect to each image and top_k_classes, batched; memory for one batch.";
    const ALIASES: &'static [&'static str] = &["deepfool", "AdversarialDeepFool", "dfal"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES)]
    }
}

/// Adversarial sampling by DeepFool, in one round.
pub struct AdversarialDeepfool(AdversarialDeepfoolParams);

impl TorchStrategy for AdversarialDeepfool {
    type Params = AdversarialDeepfoolParams;
    const HOOKS: Hooks = Hooks::NONE;

    fn new(params: AdversarialDeepfoolParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let (rows, deepfool) = (round.subset(self.0.subset_size)?, self.0.attack(round)?);
        let classify = classify(round);
        let found = candidates(round, &rows, self.0.batch_size, |images, go_on| {
            let moved = deepfool.attack(images, &classify, go_on)?;
            Ok(moved.into_iter().map(|moved| (moved, 0.0)).collect())
        })?;
        nearest(found, query.wanted())
    }
}
