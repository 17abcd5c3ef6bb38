//! As many samples of each class as of any other, by the hidden labels: a control, **not** a legal strategy.
//!
//! Water-filling: again and again the class with the fewest labelled or picked samples, among those with samples left,
//! gives its next one in random order. Ties between classes follow a random order of the classes.
//!
//! Baseline of Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021
//! (arXiv 2110.12033).

use querist_sdk::prelude::*;
use querist_sdk::protocol::Capability;

/// What happens to the part of a batch that the number of classes does not divide.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Remainder {
    /// The classes that come first in their random order give one more.
    #[default]
    Distribute,
    /// No class is preferred: the remainder is drawn at random and counted in `fallback_count`.
    Drop,
}

/// Parameters of class-balanced sampling.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{}, {"preset": "low-budget"}, {"per_class": 9}]))]
pub struct Uniform {
    /// What happens to the part of a batch that the number of classes does not divide.
    pub remainder: Remainder,
    /// Samples of a class, labelled ones included, after which it gives no more; no limit where it is left out. What is
    /// missing then is drawn at random.
    #[schemars(range(min = 1))]
    pub per_class: Option<u32>,
}

impl Strategy for Uniform {
    const ID: &'static str = "uniform";
    const SUMMARY: &'static str = "As many samples of each class as of any other, by the hidden labels: a control";
    const PAPER: &'static str =
        "Pourahmadi, Nooralinejad and Pirsiavash, A Simple Baseline for Low-Budget Active Learning, 2021";
    const COST: &'static str = "O(N) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["class-balanced", "balanced_random"];
    const CAPABILITIES: &'static [Capability] = &[Capability::OracleLabels];

    fn layers() -> Vec<Layer<Self>> {
        vec![
            Layer::preset(
                "low-budget",
                "UCDvision/low-budget-al: what does not divide evenly is drawn at random.",
                |uniform: &mut Self| uniform.remainder = Remainder::Drop,
            )
            .once_called("preset", "s2"),
            Layer::preset("ift780", "sgiardl/ActiveLearning: at most 100 samples of a class.", |uniform: &mut Self| {
                uniform.per_class = Some(100);
            })
            .once_called("preset", "s3"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LABELLED_LABELS), Need::new(names::ORACLE_LABELS)]
    }
}

impl Selector for Uniform {
    fn select(&self, query: &Query) -> Result<Selection> {
        let classes = query.classes() as usize;
        let mut counts = vec![0u32; classes];
        for label in query.labelled_labels()? {
            counts[label as usize] += 1;
        }
        let mut left = shuffled_by_class(query, classes)?;
        let order = random_order(&query.stream("classes", StreamScope::Round)?.uniforms(query.classes())?);
        let budget = match self.remainder {
            Remainder::Distribute => query.wanted(),
            Remainder::Drop => query.wanted() - query.wanted() % query.classes().max(1),
        };
        let limit = self.per_class.unwrap_or(u32::MAX);
        let mut picks = query.picks()?;
        for _ in 0..budget {
            let open = order.iter().copied().filter(|&class| !left[class].is_empty() && counts[class] < limit);
            // The first of equals: the order of the classes breaks ties.
            let Some(class) = open.min_by_key(|&class| counts[class]) else { break };
            counts[class] += 1;
            picks.take_all(left[class].pop())?;
        }
        picks.fill_at_random()
    }
}

/// The pool rows of each class, the first in random order last.
fn shuffled_by_class(query: &Query, classes: usize) -> Result<Vec<Vec<u32>>> {
    let labels = query.oracle_labels()?;
    let keys = query.stream("items", StreamScope::Round)?.by_row(0)?.to_vec()?;
    let mut left = vec![Vec::new(); classes];
    for row in random_order(&keys).into_iter().rev() {
        left[labels[row] as usize].push(row as u32);
    }
    Ok(left)
}

/// Positions by ascending key; the lower position first among equals.
fn random_order(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}

package!(selectors: [Uniform]);
