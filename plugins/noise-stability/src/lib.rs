//! Samples whose predictions move much, and differently, when the weights of the model are jogged.
//!
//! With p the class probabilities of a sample and p_k those of the k-th copy of the model, whose weights have noise,
//! its change is the vector of all `(p_k - p) / |p|`. Samples are selected by furthest-first traversal of these
//! vectors, which begins at the origin: a sample that no noise moves is not selected, nor one that moves as another
//! does.
//!
//! Changes are `p_c expm1(d)` with d the difference of two log-probabilities: differences of rounded probabilities
//! would be rounding for small noise.
//!
//! Li, Yang, Gu, Zhan, Wang, Xu and Xu, "Deep Active Learning with Noise Stability", AAAI 2024 (arXiv 2205.13340).

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// The median change of one copy below which single precision is most of it.
const RESOLVED: f64 = 1e-4;

params! {
    /// Parameters of noise stability.
    #[schemars(extend("examples" = [{}, {"K": 4, "scale": 0.01}]))]
    pub struct NoiseStability {
        /// Copies of the model.
        #[serde(rename = "K")]
        #[schemars(range(min = 1, max = 200))]
        pub copies: u32 = 30,
        /// Length of the noise in a tensor of weights, as a share of the length of the tensor.
        #[schemars(range(min = 1e-6, max = 1.0))]
        pub scale: f64 = 1e-3,
    }
}

impl Strategy for NoiseStability {
    const ID: &'static str = "noise-stability";
    const SUMMARY: &'static str = "Samples whose predictions move much, and differently, when weights are jogged";
    const PAPER: &'static str = "Li et al., Deep Active Learning with Noise Stability, AAAI 2024 (arXiv 2205.13340)";
    const COST: &'static str = "K passes of the model over the pool; then O(N K C b) time at most, and 8 N K C bytes.";
    const ALIASES: &'static [&'static str] = &["NoiseStability"];

    fn needs(&self) -> Vec<Need> {
        let perturbed = Need::new(names::PERTURBED_LOGITS).with("K", self.copies).with("scale", self.scale);
        vec![Need::new(names::LOGITS), perturbed]
    }
}

impl Selector for NoiseStability {
    fn select(&self, query: &Query) -> Result<Selection> {
        let classes = query.classes();
        if classes < 2 {
            return Err(StrategyError::Failed(format!("two classes or more are needed, this task has {classes}")));
        }
        let changes = self.changes(query, classes)?;
        let (_, columns) = changes.shape()?;
        let lengths = self.lengths(query, &changes)?;
        let nearest = changes.points()?.nearest(Metric::Euclidean)?;
        nearest.add_points(&query.new_matrix(1, columns, &vec![0.0; columns as usize])?.points()?)?;
        let mut picks = query.picks()?;
        picks.note("resolution", lengths);
        for (row, distance) in nearest.furthest_first(picks.missing(), picks.taken())? {
            picks.take(row, distance)?;
        }
        picks.fill_by(&query.vector(&vec![0.0; query.rows() as usize])?, None)
    }
}

impl NoiseStability {
    /// The change of every row, `[rows, copies * classes]`.
    fn changes(&self, query: &Query, classes: u32) -> Result<Matrix> {
        let (logits, perturbed) = (query.matrix(names::LOGITS)?, query.matrix(names::PERTURBED_LOGITS)?);
        let (rows, columns) = perturbed.shape()?;
        if u64::from(columns) != u64::from(self.copies) * u64::from(classes) {
            let message = format!(
                "`perturbed_logits` has {columns} values a row, expected {} copies of {classes} classes; set `K` to as \
                 many copies as there are",
                self.copies
            );
            return Err(StrategyError::Failed(message));
        }
        let mut plain = Vec::with_capacity(rows as usize * classes as usize);
        logits.for_each_row(|_, row| {
            plain.extend_from_slice(row);
            Ok(())
        })?;
        let mut changes = Vec::with_capacity(rows as usize * columns as usize);
        perturbed.for_each_row(|row, copies| {
            let own = Softmax::of(&plain[(row * classes) as usize..][..classes as usize]);
            let length = own.probs.iter().map(|p| p * p).sum::<f64>().sqrt();
            for copy in copies.chunks_exact(classes as usize) {
                let noisy = Softmax::of(copy);
                let apart = |class: usize| {
                    let logs = (log(&own, class), log(&noisy, class));
                    own.probs[class] * math::expm1(logs.1 - logs.0) / length
                };
                changes.extend((0..classes as usize).map(|class| apart(class) as f32));
            }
            Ok(())
        })?;
        query.new_matrix(rows, columns, &changes)
    }

    /// The median change of one copy; warns where single precision is most of it.
    fn lengths(&self, query: &Query, changes: &Matrix) -> Result<f64> {
        let mut lengths = changes.sq_norms()?.to_vec()?;
        lengths.sort_by(f64::total_cmp);
        let median = (lengths[lengths.len() / 2] / f64::from(self.copies)).sqrt();
        if median < RESOLVED {
            let message = format!("predictions move by {median:e} only, which is mostly rounding: raise `scale`");
            query.log(LogLevel::Warning, &message)?;
        }
        Ok(median)
    }
}

/// Logarithm of a probability: that of the largest one is 1 minus the rest.
fn log(softmax: &Softmax, class: usize) -> f64 {
    math::ln_1p(-softmax.rest) - softmax.gaps[class]
}

package!(selectors: [NoiseStability]);
