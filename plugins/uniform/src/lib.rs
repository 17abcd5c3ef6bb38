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

/// Settings of published systems; a preset only sets defaults of the other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `remainder = "drop"`.
    S2,
    /// `per_class = 100`.
    S3,
}

/// Parameters of class-balanced sampling.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Uniform {
    /// Published settings that replace the defaults below.
    pub preset: Option<Preset>,
    /// What happens to the part of a batch that the number of classes does not divide; `distribute` by default.
    pub remainder: Option<Remainder>,
    /// Samples of a class, labelled ones included, after which it gives no more; no limit by default. What is missing
    /// then is drawn at random.
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
        let budget = match self.remainder() {
            Remainder::Distribute => query.wanted(),
            Remainder::Drop => query.wanted() - query.wanted() % query.classes().max(1),
        };
        let limit = self.per_class().unwrap_or(u32::MAX);
        let mut selection = Selection::default();
        for _ in 0..budget {
            let open = order.iter().copied().filter(|&class| !left[class].is_empty() && counts[class] < limit);
            // The first of equals: the order of the classes breaks ties.
            let Some(class) = open.min_by_key(|&class| counts[class]) else { break };
            counts[class] += 1;
            selection.rows.extend(left[class].pop());
        }
        query.refill_at_random(&mut selection)?;
        Ok(selection)
    }
}

impl Uniform {
    fn remainder(&self) -> Remainder {
        let preset = if self.preset == Some(Preset::S2) { Remainder::Drop } else { Remainder::Distribute };
        self.remainder.unwrap_or(preset)
    }

    fn per_class(&self) -> Option<u32> {
        self.per_class.or((self.preset == Some(Preset::S3)).then_some(100))
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

package!(scorers: [], selectors: [Uniform]);
