//! The basic iterative method as a strategy.

use querist_sdk_torch::prelude::*;

use crate::attack::Iterative;
use crate::{candidates, classify, nearest};

params! {
    /// Parameters of adversarial sampling by the basic iterative method.
    pub struct AdversarialBimParams {
        /// Change of each value in a step, above 0, in values of the normalised images.
        #[schemars(range(min = 0.0, max = 1000.0))]
        pub eps: f64 = 0.05,
        /// Most steps of an image.
        #[schemars(range(min = 1, max = 100_000))]
        pub max_iter: u32 = 1000,
        /// How many rows of the pool are looked at, drawn at random; all where it has no more.
        #[schemars(range(min = 1))]
        pub subset_size: Option<u32> = Some(10_000),
        /// Images that walk at once.
        #[schemars(range(min = 1, max = 65_536))]
        pub batch_size: u32 = 128,
    }
}

impl Strategy for AdversarialBimParams {
    const ID: &'static str = "adversarial-bim";
    const SUMMARY: &'static str = "Samples that the fewest signed gradient steps move to another class";
    const PAPER: &'static str = "Kurakin et al., Adversarial Examples in the Physical World, 2016";
    const COST: &'static str = "At most max_iter gradients with respect to each image, batched; memory for one batch.";
    const ALIASES: &'static [&'static str] = &["bim", "AdversarialBIM"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES)]
    }

    fn check(&self) -> Result<(), String> {
        match self.eps > 0.0 {
            true => Ok(()),
            false => Err(format!("eps is {}, expected more than 0", self.eps)),
        }
    }
}

/// Adversarial sampling by the basic iterative method, in one round.
pub struct AdversarialBim(AdversarialBimParams);

impl TorchStrategy for AdversarialBim {
    type Params = AdversarialBimParams;
    const HOOKS: Hooks = Hooks::NONE;

    fn new(params: AdversarialBimParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let rows = round.subset(self.0.subset_size)?;
        let walk = Iterative { max_iter: self.0.max_iter, eps: self.0.eps };
        let classify = classify(round);
        let found = candidates(round, &rows, self.0.batch_size, |images, go_on| {
            let margins = floats(&margins(&classify(images, false)?)?)?;
            // Perturbations are whole steps, so many are of one length.
            Ok(walk.attack(images, &classify, go_on)?.into_iter().zip(margins).collect())
        })?;
        nearest(found, query.wanted())
    }
}

/// Difference of the two largest probabilities, `f64 [n]`.
fn margins(logits: &Tensor) -> Result<Tensor> {
    let two = logits.f_softmax(1, Kind::Double)?.f_topk(2, 1, true, true)?.0;
    Ok(two.f_select(1, 0)?.f_sub(&two.f_select(1, 1)?)?)
}
