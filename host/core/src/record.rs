//! What is written down of each round.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use querist_protocol::{Need, Shown, TrainOverrides};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::acquisition::ContractError;
use crate::fitted::EnsembleRecord;
use crate::ids::{Round, SampleId};
use crate::metric::Metrics;
use crate::outcome::Outcome;

/// Wall-clock seconds of each part of a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Training.
    pub fit: f64,
    /// Predicting the test set.
    pub evaluate: f64,
    /// Computing the strategy's arrays.
    pub features: f64,
    /// The strategy itself.
    pub query: f64,
}

/// Bytes at the peak of each part of a round, where they could be measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMemory {
    /// Device memory during training.
    pub fit: Option<u64>,
    /// Device memory while computing arrays.
    pub features: Option<u64>,
    /// Plugin memory and host objects made for it, during the query.
    pub query: Option<u64>,
}

/// One line of `rounds.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// The round, from 0.
    pub round: Round,
    /// Labelled samples that the model of this round was trained on.
    pub labelled: usize,
    /// Images made by the strategy that the model was trained on beside them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub synthetic: usize,
    /// Labels of the validation set that took part in the training: they cost as much as those of the labelled set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub validation_labels: usize,
    /// Labels of the reserve that the upper baseline judged batches by; they are beside those of the labelled set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reserve_labels: usize,
    /// Labels that are held out of those bought, where no other test set is: the figures are of these samples.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_out: usize,
    /// Samples whose labels were ever bought, where batches take the place of those before, or not all of them are
    /// trained on: those held out, and those that turned out to be of none of the classes, count, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bought: Option<usize>,
    /// Whether the run ended here because validation had not got better for as many rounds as its patience lasts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_patience: bool,
    /// Unlabelled samples when the strategy was asked.
    pub pool: usize,
    /// Samples of the pool that the strategy could choose from, where they were not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<usize>,
    /// Whether no more samples were left than were asked for, so that all of them were taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short: bool,
    /// Figures on the test set.
    pub metrics: Metrics,
    /// Figures on the validation set, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Metrics>,
    /// Samples acquired at the end of this round, in pick order; empty in the last round.
    pub acquired: Vec<SampleId>,
    /// How many acquired samples turned out to be of each class.
    pub query_class_histogram: Vec<usize>,
    /// How many acquired samples turned out to be of none of the classes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: usize,
    /// Of how many acquired samples nobody could tell what they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unsure: usize,
    /// Wall-clock seconds.
    pub seconds: Seconds,
    /// Peaks of memory.
    pub peak_memory: PeakMemory,
    /// WebAssembly fuel of the query.
    pub fuel: Option<u64>,
    /// Device and libraries that trained.
    pub backend: String,
    /// What the strategy changed in the training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overrides: TrainOverrides,
    /// The ensemble, where one was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleRecord>,
    /// Named figures that the strategy reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct")]
    pub diagnostics: BTreeMap<String, f64>,
    /// What each term of a sum of wishes added to each acquired sample, in pick order, where the strategy is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct")]
    pub terms: BTreeMap<String, Vec<f64>>,
}

impl RoundRecord {
    /// A record of a round that has been evaluated but not queried.
    pub fn new(round: Round, labelled: usize, pool: usize, metrics: Metrics, backend: String) -> Self {
        Self {
            round,
            labelled,
            synthetic: 0,
            validation_labels: 0,
            reserve_labels: 0,
            held_out: 0,
            bought: None,
            out_of_patience: false,
            pool,
            subset: None,
            short: false,
            metrics,
            validation: None,
            acquired: Vec::new(),
            query_class_histogram: Vec::new(),
            rejected: 0,
            unsure: 0,
            seconds: Seconds::default(),
            peak_memory: PeakMemory::default(),
            fuel: None,
            backend,
            overrides: TrainOverrides::default(),
            ensemble: None,
            diagnostics: BTreeMap::new(),
            terms: BTreeMap::new(),
        }
    }

    /// Counts what the acquired samples turned out to be.
    pub fn count(&mut self, outcomes: &[(SampleId, Outcome)], classes: usize) {
        self.query_class_histogram = vec![0; classes];
        (self.rejected, self.unsure) = (0, 0);
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Label(label) | Outcome::HeldOut(label) => self.query_class_histogram[label.index()] += 1,
                Outcome::Rejected => self.rejected += 1,
                Outcome::Unsure => self.unsure += 1,
            }
        }
    }
}

/// The figures of a query together with those of the training before it.
///
/// # Errors
/// If two have one name, of which one would be lost unseen.
pub(crate) fn joined(
    mut figures: BTreeMap<String, f64>,
    more: impl IntoIterator<Item = (String, f64)>,
) -> Result<BTreeMap<String, f64>, ContractError> {
    for (name, value) in more {
        if figures.contains_key(&name) {
            return Err(ContractError::DiagnosticTwice { name: Shown::name(&name) });
        }
        figures.insert(name, value);
    }
    Ok(figures)
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_default(overrides: &TrainOverrides) -> bool {
    *overrides == TrainOverrides::default()
}

/// Reads a map in which no name may stand twice; of two values one would be lost unseen.
///
/// # Errors
/// If a name stands twice, or a value is none.
pub fn distinct<'de, D, V>(from: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Distinct<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Distinct<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map in which each name stands once")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((name, value)) = entries.next_entry::<String, V>()? {
                if map.contains_key(&name) {
                    return Err(A::Error::custom(format!("`{}` stands twice", Shown::name(&name))));
                }
                map.insert(name, value);
            }
            Ok(map)
        }
    }

    from.deserialize_map(Distinct(PhantomData))
}

/// The names of needs, for headers and messages.
pub fn need_names(needs: &[Need]) -> Vec<String> {
    needs.iter().map(Need::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_diagnostic_takes_the_place_of_another() {
        let of_training = BTreeMap::from([("loss".to_owned(), 1.0)]);
        let both = joined(of_training, [("gap".to_owned(), 2.0)]).unwrap();
        assert_eq!((both["loss"], both["gap"]), (1.0, 2.0));
        let error = joined(both, [("other".to_owned(), 3.0), ("loss".to_owned(), 1.0)]).unwrap_err();
        assert!(error.to_string().starts_with("two diagnostics are called `loss`"), "{error}");
    }
}
