//! DeepFool as a strategy.

use querist_sdk_torch::prelude::*;

use crate::attack::{Boundary, DeepFool};
use crate::{candidates, classify, nearest};

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

params! {
    /// Parameters of adversarial sampling by DeepFool.
    pub struct AdversarialDeepfoolParams {
        /// Which boundary an image walks towards.
        pub boundary: Boundary = Boundary::Nearest,
        /// Most steps of an image.
        #[schemars(range(min = 1, max = 100_000))]
        pub max_iter: u32 = 50,
        /// By which share the sum of steps overshoots.
        #[schemars(range(min = 0.0, max = 10.0))]
        pub overshoot: f64 = 0.02,
        /// Classes that are looked at, those of largest logits. 10, or all where there are fewer, if it is left
        /// out.
        #[schemars(range(min = 2, max = 65_536))]
        pub top_k_classes: Option<u32> = None,
        /// What a distance is measured in.
        pub units: Units = Units::Normalised,
        /// How many rows of the pool are looked at, drawn at random; all where it has no more.
        #[schemars(range(min = 1))]
        pub subset_size: Option<u32> = Some(10_000),
        /// Images that walk at once.
        #[schemars(range(min = 1, max = 65_536))]
        pub batch_size: u32 = 128,
        /// Whether later rounds train on each pick's adversarial twin too: the perturbed image with the pick's label. A
        /// pick whose class never changed has none.
        pub add_twins: bool = false,
    }
}

impl AdversarialDeepfoolParams {
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
            boundary: self.boundary,
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

    fn layers() -> Vec<Layer<Self>> {
        let set = |params: &mut Self| params.boundary = Boundary::Last;
        vec![
            Layer::preset("paper", "The paper's: the defaults.", |_: &mut Self| ()).once_called("profile", "paper"),
            Layer::preset("authors-code", "The released code: each image walks towards the last class.", set)
                .once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::new(names::IMAGES)];
        if self.add_twins {
            needs.push(Need::new(names::SYNTHETIC_IMAGES));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::SYNTHETIC_IMAGES)]
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
        let selection = nearest(found, query.wanted())?;
        if self.0.add_twins {
            self.add_twins(round, &deepfool, &selection.rows)?;
        }
        Ok(selection)
    }
}

impl AdversarialDeepfool {
    /// Attacks the picks once more, which is cheaper than keeping the images of all candidates, and hands their twins
    /// in.
    fn add_twins(&self, round: &Round, deepfool: &DeepFool, picks: &[u32]) -> Result<()> {
        let (classify, mut done, mut added) = (classify(round), 0, 0);
        let stream = round.images(Of::Rows(picks)).batch(self.0.batch_size).open()?;
        while let Some(batch) = stream.next(round)? {
            let go_on = &mut || round.progress(done as u64, picks.len() as u64);
            let (moved, twins) = deepfool.twins(&batch.images, &classify, go_on)?;
            let flipped = (0..moved.len()).filter(|&at| moved[at].flipped);
            let (at, rows): (Vec<i64>, Vec<u32>) = flipped.map(|at| (at as i64, picks[done + at])).unzip();
            let at = Tensor::f_from_slice(&at)?.f_to_device(round.task().device)?;
            round.add_synthetic(&rows, &twins.f_index_select(0, &at)?)?;
            (done, added) = (done + moved.len(), added + rows.len());
        }
        round.log_metric("twins", added as f64)
    }
}
