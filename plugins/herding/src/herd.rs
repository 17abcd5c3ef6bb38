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

/// The arrays that both need.
pub(crate) fn needs() -> Vec<Need> {
    vec![Need::new(names::FIXED_EMBEDDINGS), Need::new("labelled.fixed_embeddings")]
}

/// Checks what both have.
pub(crate) fn check(width: f64, max_rows: u32) -> Result<(), String> {
    if !(width.is_finite() && (1e-100..=1e100).contains(&width)) {
        return Err(format!("h is {width}, but it must lie between 1e-100 and 1e100"));
    }
    if max_rows == 0 {
        return Err("max_rows is 0, but it must be at least 1".to_owned());
    }
    Ok(())
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

/// The samples that the mean is over: rows of the pool and of the labelled set, ascending.
pub(crate) struct References {
    pub(crate) pool: Vec<u32>,
    labelled: Vec<u32>,
}

impl References {
    /// Every sample, or a random `most` of them.
    pub(crate) fn of(query: &Query, most: u32) -> Result<Self> {
        let (rows, labelled) = (query.rows(), query.labelled_rows());
        if rows.saturating_add(labelled) <= most {
            return Ok(Self { pool: (0..rows).collect(), labelled: (0..labelled).collect() });
        }
        let numbers = query.stream("references", StreamScope::Run)?;
        let mut keys = numbers.by_row(0)?.to_vec()?;
        keys.extend(numbers.uniforms(labelled)?);
        let mut chosen = query.vector(&keys)?.top(None, most, None)?;
        chosen.sort_unstable();
        let (pool, others): (Vec<u32>, Vec<u32>) = chosen.into_iter().partition(|&row| row < rows);
        Ok(Self { pool, labelled: others.into_iter().map(|row| row - rows).collect() })
    }

    pub(crate) fn len(&self) -> usize {
        self.pool.len() + self.labelled.len()
    }

    fn matrix(&self, features: &Features) -> Result<Matrix> {
        features.pool.gather(&self.pool)?.stack(&features.labelled.gather(&self.labelled)?)
    }
}

/// Picks by falling gain until enough are picked or nothing gains; then at random.
pub(crate) fn herd(
    query: &Query,
    features: &Features,
    references: &References,
    weights: Option<&[f64]>,
    similarity: Similarity,
) -> Result<Selection> {
    let wanted = query.wanted();
    let mut selection = Selection::default();
    let weights = weights.map(|weights| query.vector(weights)).transpose()?;
    let engine = features.pool.facility(&references.matrix(features)?, weights.as_ref(), similarity)?;
    engine.add_others(&features.labelled)?;
    let picked = query.mask(query.rows())?;
    while (selection.rows.len() as u32) < wanted {
        let Some((row, gain)) = engine.best(Some(&picked))?.filter(|&(_, gain)| gain > 0.0) else { break };
        selection.rows.push(row);
        selection.scores.push(gain);
        picked.exclude(&[row])?;
        engine.add(&[row])?;
        query.progress(selection.rows.len() as u64, u64::from(wanted))?;
    }
    selection.diagnostics.push(("width".to_owned(), similarity.width));
    query.refill_at_random(&mut selection)?;
    Ok(selection)
}
