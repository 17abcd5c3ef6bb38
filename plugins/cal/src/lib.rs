//! Contrastive examples: samples predicted otherwise than the labelled ones that lie around them.
//!
//! With p the model's class probabilities of a sample and q_1 .. q_k those of the labelled samples whose embeddings are
//! nearest to its own, its score is the mean of
//!
//! `KL(q || p) = sum_c q_c (ln q_c - ln p_c) - q_c + p_c`
//!
//! over them: the neighbour comes first. Logarithms are those of the logits, never of rounded probabilities, so samples
//! that the model is sure of are told apart, too.
//!
//! Margatina, Vernikos, Barrault and Aletras, "Active Learning by Acquiring Contrastive Examples", EMNLP 2021 (arXiv
//! 2109.03764).

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// What is made of the divergences from all neighbours of a sample.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// Their mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// The middle one, or the mean of the two in the middle.
    Median,
}

params! {
    /// Parameters of contrastive active learning.
    #[schemars(extend("examples" = [{}, {"k": 3, "normalise": false}, {"reduce": "max"}, {"reduce": "median"}]))]
    pub struct Cal {
        /// Labelled neighbours of a sample; all labelled samples where there are fewer.
        #[schemars(range(min = 1, max = 1000), extend("x-querist-search" = {"log": [1, 100]}))]
        pub k: u32 = 10,
        /// Whether embeddings are divided by their length first.
        pub normalise: bool = true,
        /// What is made of the divergences from all neighbours.
        pub reduce: Reduce = Reduce::Mean,
    }
}

impl Strategy for Cal {
    const ID: &'static str = "cal";
    const SUMMARY: &'static str = "Samples predicted otherwise than the labelled ones with similar embeddings";
    const PAPER: &'static str =
        "Margatina et al., Active Learning by Acquiring Contrastive Examples, EMNLP 2021 (arXiv 2109.03764)";
    const COST: &'static str = "O(N L D + N k C) time; O(N k + L C) memory.";
    const ALIASES: &'static [&'static str] = &["ContrastiveActiveLearning", "contrastive-al"];

    fn needs(&self) -> Vec<Need> {
        Need::all([names::LOGITS, names::EMBEDDINGS, "labelled.logits", "labelled.embeddings"])
    }
}

impl Selector for Cal {
    fn select(&self, query: &Query) -> Result<Selection> {
        if query.labelled_rows() == 0 {
            return query.picks()?.fill_at_random();
        }
        let k = self.k.min(query.labelled_rows());
        let around = self.embeddings(query, names::EMBEDDINGS)?.nearest_rows(
            &self.embeddings(query, "labelled.embeddings")?,
            k,
            Metric::Euclidean,
        )?;
        let labelled = Predictions::of(&query.matrix("labelled.logits")?)?;
        let mut scores = Vec::with_capacity(query.rows() as usize);
        let mut divergences = Vec::with_capacity(k as usize);
        query.matrix(names::LOGITS)?.for_each_row(|row, logits| {
            let p = Prediction::of(logits);
            divergences.clear();
            let neighbours = around.0.read(row * k, k)?;
            divergences.extend(neighbours.iter().map(|&neighbour| labelled.divergence(neighbour as usize, &p)));
            scores.push(self.reduce.of(&mut divergences));
            Ok(())
        })?;
        query.largest(&scores, &scores)
    }
}

impl Cal {
    fn embeddings(&self, query: &Query, name: &str) -> Result<Matrix> {
        let embeddings = query.matrix(name)?;
        if self.normalise { embeddings.normalise() } else { Ok(embeddings) }
    }
}

impl Reduce {
    fn of(self, divergences: &mut [f64]) -> f64 {
        let count = divergences.len();
        match self {
            Self::Mean => divergences.iter().sum::<f64>() / count as f64,
            Self::Max => divergences.iter().copied().fold(0.0, f64::max),
            Self::Median => {
                divergences.sort_by(f64::total_cmp);
                f64::midpoint(divergences[(count - 1) / 2], divergences[count / 2])
            }
        }
    }
}

/// The class distribution of one sample, with its logarithms.
struct Prediction {
    probs: Vec<f64>,
    logs: Vec<f64>,
}

impl Prediction {
    fn of(logits: &[f32]) -> Self {
        let Softmax { probs, gaps, rest, .. } = Softmax::of(logits);
        // The largest probability is 1 - rest, and the others lie below it by their gaps.
        let top = math::ln_1p(-rest);
        Self { probs, logs: gaps.iter().map(|gap| top - gap).collect() }
    }
}

/// Class distributions of several samples.
struct Predictions {
    classes: usize,
    probs: Vec<f64>,
    logs: Vec<f64>,
}

impl Predictions {
    fn of(logits: &Matrix) -> Result<Self> {
        let (rows, classes) = logits.shape()?;
        let length = rows as usize * classes as usize;
        let (mut probs, mut logs) = (Vec::with_capacity(length), Vec::with_capacity(length));
        logits.for_each_row(|_, row| {
            let one = Prediction::of(row);
            probs.extend(one.probs);
            logs.extend(one.logs);
            Ok(())
        })?;
        Ok(Self { classes: classes as usize, probs, logs })
    }

    /// KL(q || p) of the sample `at`, which is not below 0.
    fn divergence(&self, at: usize, p: &Prediction) -> f64 {
        let own = at * self.classes..(at + 1) * self.classes;
        let q = self.probs[own.clone()].iter().zip(&self.logs[own]);
        let terms = q.zip(p.probs.iter().zip(&p.logs)).map(|((q, ln_q), (p, ln_p))| q * (ln_q - ln_p) - q + p);
        terms.sum::<f64>().max(0.0)
    }
}

package!(selectors: [Cal]);
