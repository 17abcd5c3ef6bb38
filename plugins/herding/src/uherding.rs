//! Coverage weighted by uncertainty, under a similarity as wide as labels are apart.

use std::collections::BTreeSet;

use querist_sdk::prelude::*;

use crate::herd::{self, Features, Kernel, REFERENCES};

/// What weighs a sample.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unsure {
    /// 1 minus the difference between the two largest class probabilities.
    #[default]
    Margin,
    /// Entropy of the class probabilities.
    Entropy,
    /// 1 minus the largest class probability.
    Conf,
}

/// Where the temperature of the class probabilities comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Calibration {
    /// The parameter `tau`.
    #[default]
    Provided,
    /// That of `tau_grid` with the smallest calibration error on the calibration set.
    ValLogits,
    /// 1: logits are taken as they are.
    None,
}

params! {
    /// Parameters of Uncertainty Herding.
    #[schemars(extend("examples" = [
        {},
        {"uncertainty": "margin", "adaptive": true, "tau": 2.0},
        {"uncertainty": "margin", "adaptive": false, "tau": 2.0},
        {"uncertainty": "entropy", "adaptive": true, "tau": 2.0},
        {"uncertainty": "entropy", "adaptive": false, "tau": 2.0},
        {"uncertainty": "conf", "adaptive": true, "tau": 2.0},
        {"uncertainty": "conf", "adaptive": false, "tau": 2.0},
    ]))]
    pub struct Uherding {
        /// What weighs a sample.
        pub uncertainty: Unsure = Unsure::Margin,
        /// Form of the similarity.
        pub kernel: Kernel = Kernel::Rbf,
        /// Whether the similarity is as wide as the two nearest labelled samples are apart.
        pub adaptive: bool = true,
        /// Its width where it is not adaptive, or where there are no two different labelled samples.
        #[schemars(range(min = 1e-100, max = 1e100), extend("x-querist-search" = {"log": [0.1, 10.0]}))]
        pub h: f64 = 1.0,
        /// Samples that coverage is measured on, at most.
        #[schemars(range(min = 1))]
        pub max_rows: u32 = 35_000,
        /// Where the temperature of the class probabilities comes from.
        pub calibration: Calibration = Calibration::Provided,
        /// The temperature where it is provided.
        #[schemars(range(min = 1e-6, max = 1e6))]
        pub tau: f64 = 1.0,
        /// Temperatures that `val-logits` tries.
        #[schemars(length(min = 1, max = 10_000), inner(range(min = 1e-6, max = 1e6)))]
        pub tau_grid: Vec<f64> = (10..200).map(|tenths| f64::from(tenths) / 10.0).collect(),
    }
}

impl Strategy for Uherding {
    const ID: &'static str = "uherding";
    const SUMMARY: &'static str = "Samples that cover most of the uncertain part of the dataset that no label covers";
    const PAPER: &'static str = "Bae, Oliveira and Sutherland, Uncertainty Herding: One Active Learning Method for All \
                                 Label Budgets, ICLR 2025";
    const COST: &'static str =
        "O(A^2 D) time once for the gains, then a few rows a pick; O(A) memory, and A D for the reference rows.";
    const ALIASES: &'static [&'static str] = &["uherding_margin"];

    fn needs(&self) -> Vec<Need> {
        let mut needs = herd::needs();
        needs.push(Need::new(names::LOGITS));
        if self.calibration == Calibration::ValLogits {
            needs.extend([names::CALIBRATION_LOGITS, names::CALIBRATION_LABELS].map(Need::new));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        [names::CALIBRATION_LOGITS, names::CALIBRATION_LABELS].map(Need::new).to_vec()
    }
}

impl Selector for Uherding {
    fn select(&self, query: &Query) -> Result<Selection> {
        let temperature = self.temperature(query)?;
        let features = Features::of(query)?;
        let references = query.part_of_dataset(REFERENCES, self.max_rows)?;
        let weights = self.weights(query, &references, temperature)?;
        let width = match self.adaptive {
            true => smallest_gap(&features.labelled)?.unwrap_or(self.h),
            false => self.h,
        };
        let mut selection = herd::herd(query, &features, &references, weights.as_deref(), self.kernel.of_width(width))?;
        selection.diagnostics.push(("tau".to_owned(), temperature));
        Ok(selection)
    }
}

impl Uherding {
    fn temperature(&self, query: &Query) -> Result<f64> {
        match self.calibration {
            Calibration::None => Ok(1.0),
            Calibration::Provided => Ok(self.tau),
            Calibration::ValLogits => {
                let logits = query.matrix(names::CALIBRATION_LOGITS)?;
                let (rows, classes) = logits.shape()?;
                let labels = query.labels(names::CALIBRATION_LABELS, rows)?;
                let logits = logits.read(0, rows)?;
                let rows = || logits.chunks_exact(classes as usize).zip(labels.iter().copied());
                let errors = self.tau_grid.iter().map(|&tau| (calibration_error(rows(), tau), tau));
                let best = errors.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                Ok(best.map_or(1.0, |(_, tau)| tau))
            }
        }
    }

    /// Weights of the references: 0 for labelled ones. `None` (all 1) without labels, or where none is uncertain.
    fn weights(&self, query: &Query, references: &[u32], temperature: f64) -> Result<Option<Vec<f64>>> {
        if query.labelled_rows() == 0 {
            return Ok(None);
        }
        let logits = query.matrix(names::LOGITS)?;
        let mut unsure = Vec::with_capacity(query.rows() as usize);
        logits.for_each_row(|_, row| {
            unsure.push(uncertainty(row, temperature, self.uncertainty));
            Ok(())
        })?;
        if unsure.iter().all(|&u| u == 0.0) {
            return Ok(None);
        }
        Ok(Some(references.iter().map(|&row| unsure.get(row as usize).copied().unwrap_or(0.0)).collect()))
    }
}

/// Uncertainty of the tempered softmax of logits, from sums that do not cancel.
fn uncertainty(logits: &[f32], temperature: f64, measure: Unsure) -> f64 {
    let top = math::argmax(logits);
    let gap = |&logit: &f32| (f64::from(logits[top]) - f64::from(logit)) / temperature;
    // All in units of the largest probability.
    let (mut others, mut second, mut weighted) = (0.0, 0.0f64, 0.0);
    for gap in logits.iter().enumerate().filter(|(class, _)| *class != top).map(|(_, logit)| gap(logit)) {
        let share = math::exp(-gap);
        others += share;
        second = second.max(share);
        weighted += if share > 0.0 { share * gap } else { 0.0 };
    }
    match measure {
        Unsure::Margin => (others + second) / (1.0 + others),
        Unsure::Entropy => math::ln_1p(others) + weighted / (1.0 + others),
        Unsure::Conf => others / (1.0 + others),
    }
}

/// Expected calibration error over 15 bins of confidence, of rows with their labels.
fn calibration_error<'a>(rows: impl Iterator<Item = (&'a [f32], u32)>, temperature: f64) -> f64 {
    const BINS: usize = 15;
    let mut excess = [0.0f64; BINS];
    let mut count = 0.0;
    for (logits, label) in rows {
        let confidence = 1.0 - uncertainty(logits, temperature, Unsure::Conf);
        // Bins are closed above.
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let is_right = math::argmax(logits) as u32 == label;
        excess[bin] += confidence - f64::from(u8::from(is_right));
        count += 1.0;
    }
    if count == 0.0 { 0.0 } else { excess.iter().map(|excess| excess.abs()).sum::<f64>() / count }
}

/// Smallest distance between two different rows, if there are two.
fn smallest_gap(rows: &Matrix) -> Result<Option<f64>> {
    let mut seen: BTreeSet<Vec<u32>> = BTreeSet::new();
    let mut different = Vec::new();
    rows.for_each_row(|number, row| {
        // Adding 0 makes the two zeros one.
        if seen.insert(row.iter().map(|value| (value + 0.0).to_bits()).collect()) {
            different.push(number);
        }
        Ok(())
    })?;
    if different.len() < 2 {
        return Ok(None);
    }
    let nearest = rows.gather(&different)?.neighbour_distance(1, Metric::Euclidean)?.to_vec()?;
    let gap = nearest.into_iter().fold(f64::INFINITY, f64::min);
    // Rows so near that their distance underflows count as one.
    Ok(Some(gap).filter(|&gap| gap >= 1e-100))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]
mod tests {
    use super::*;

    #[test]
    fn uncertainty_is_that_of_the_tempered_softmax() {
        let logits = [1.0f32, 2.5, -0.5, 2.0];
        for temperature in [0.2, 1.0, 7.0] {
            let e: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
            let mut p: Vec<f64> = e.iter().map(|x| x / e.iter().sum::<f64>()).collect();
            p.sort_by(|a, b| b.total_cmp(a));
            let entropy = -p.iter().map(|p| p * p.ln()).sum::<f64>();
            for (measure, expected) in
                [(Unsure::Margin, 1.0 - (p[0] - p[1])), (Unsure::Entropy, entropy), (Unsure::Conf, 1.0 - p[0])]
            {
                let found = uncertainty(&logits, temperature, measure);
                assert!((found - expected).abs() < 1e-12, "{measure:?} at {temperature}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn calibration_error_weighs_bins_by_their_samples() {
        let of = |p: f64| [(p / (1.0 - p)).ln() as f32, 0.0];
        // Three of confidence .9, two of them right; one of .6, wrong.
        let logits = [of(0.9), of(0.9), of(0.9), of(0.6)];
        let rows = || logits.iter().map(|row| &row[..]).zip([0, 0, 1, 1]);
        let expected = (3.0 * (0.9 - 2.0 / 3.0) + 0.6) / 4.0;
        assert!((calibration_error(rows(), 1.0) - expected).abs() < 1e-7);
        // At a high temperature all have confidence near one half, in one bin with half of them right.
        assert!(calibration_error(rows(), 1e4) < 1e-4);
    }
}
