//! What both strategies share: features, references and the greedy loop.

use querist_sdk::prelude::*;

/// Similarity of two samples at distance d, with width h.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// exp(-(d / h)²).
    #[default]
    Rbf,
    /// exp(-d / h).
    Laplace,
    /// (1 + 2 (d / h)²) ^ -0.75.
    Student,
    /// 1 / (1 + d²), whatever h.
    Cauchy,
    /// 1 where d < h, else 0.
    Tophat,
}

impl Kernel {
    pub(crate) fn of_width(self, width: f64) -> Similarity {
        let kind = match self {
            Self::Rbf => SimilarityKind::Rbf,
            Self::Laplace => SimilarityKind::Laplace,
            Self::Student => SimilarityKind::Student,
            Self::Cauchy => SimilarityKind::Cauchy,
            Self::Tophat => SimilarityKind::TopHat,
        };
        Similarity { kind, width }
    }
}

/// Random numbers that draw the samples which the mean is over.
pub(crate) const REFERENCES: &str = "references";

/// The arrays that both need.
pub(crate) fn needs() -> Vec<Need> {
    Need::all([names::FIXED_EMBEDDINGS, "labelled.fixed_embeddings"])
}

/// Features of the dataset, scaled to norm 1.
pub(crate) struct Features {
    pub(crate) pool: Matrix,
    pub(crate) labelled: Matrix,
}

impl Features {
    pub(crate) fn of(query: &Query) -> Result<Self> {
        Ok(Self {
            pool: query.matrix(names::FIXED_EMBEDDINGS)?.normalise()?,
            labelled: query.matrix("labelled.fixed_embeddings")?.normalise()?,
        })
    }
}

/// Picks by falling gain until enough are picked or nothing gains; then at random.
pub(crate) fn herd(
    query: &Query,
    features: &Features,
    references: &[u32],
    weights: Option<&[f64]>,
    similarity: Similarity,
) -> Result<Selection> {
    let weights = weights.map(|weights| query.vector(weights)).transpose()?;
    let references = features.pool.stack(&features.labelled)?.gather(references)?;
    let engine = features.pool.facility(&references, weights.as_ref(), similarity)?;
    engine.add_others(&features.labelled)?;
    let mut picks = query.picks()?;
    picks.note("width", similarity.width);
    while picks.missing() > 0 {
        let Some((row, gain)) = engine.best(Some(picks.taken()))?.filter(|&(_, gain)| gain > 0.0) else { break };
        picks.take(row, gain)?;
        engine.add(&[row])?;
    }
    picks.fill_at_random()
}
