//! k-means++ seeding on the gradients that the last layer would receive for the predicted labels.
//!
//! With p the class probabilities, e the one-hot of the predicted class and h the input of the last layer, the gradient
//! embedding of a sample is the outer product `(p - e) (x) h`. The batch is a k-means++ seeding of these: large
//! gradients (unsure samples) in different directions (diverse samples). The outer products are never formed.
//!
//! Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
//! Bounds", ICLR 2020 (arXiv 1906.03671).

use querist_sdk::prelude::*;

/// The first pick.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// The sample with the largest gradient norm, as the authors' code does.
    #[default]
    MaxNorm,
    /// Any sample, equally likely, as the paper's plain k-means++ does.
    Uniform,
}

/// Parameters of BADGE.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{}, {"first": "uniform"}, {"include_bias": true}]))]
pub struct Badge {
    /// The first pick.
    pub first: First,
    /// Whether the gradient of the last layer's bias counts too.
    pub include_bias: bool,
}

impl Strategy for Badge {
    const ID: &'static str = "badge";
    const SUMMARY: &'static str = "Samples with large and diverse gradient embeddings, drawn by k-means++ seeding";
    const PAPER: &'static str =
        "Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, ICLR 2020";
    const COST: &'static str = "O(N (C + D) b) time at most, far less where bounds prune; N (C + D) bytes of sketches \
                                at most, and O(N): the C x D gradients are never formed.";
    const ALIASES: &'static [&'static str] = &["BadgeSampling"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS), Need::new(names::PENULTIMATE)]
    }
}

impl Selector for Badge {
    fn select(&self, query: &Query) -> Result<Selection> {
        let residual = query.matrix(names::LOGITS)?.residual()?;
        let inputs = query.matrix(names::PENULTIMATE)?;
        let gradients = match self.include_bias {
            false => residual.outer_products(&inputs)?,
            true => residual.outer_products(&inputs.with_ones()?)?,
        };
        let norms = gradients.sq_norms()?;
        let numbers = query.stream("seeding", StreamScope::Round)?;
        let nearest = gradients.nearest(Metric::SqEuclidean)?;
        let mut picks = query.picks()?;
        let mut next = Some(match self.first {
            First::MaxNorm => norms.top(None, 1, None)?[0],
            First::Uniform => numbers.below(query.rows())?,
        });
        while let Some(row) = next {
            picks.take(row, None)?;
            if picks.missing() == 0 {
                break;
            }
            nearest.add(&[row])?;
            next = nearest.draw(&numbers, Some(picks.taken()))?;
        }
        // Only duplicates of picked gradients are left: the largest first.
        picks.fill_by(&norms, None)
    }
}

package!(selectors: [Badge]);
