//! The only reader of hidden labels.

use querist_protocol::philox::Stream;

use crate::acquisition::Acquisition;
use crate::config::InitialSet;
use crate::dataset::Dataset;
use crate::ids::{Label, SampleId};
use crate::outcome::Outcome;
use crate::split::Split;

/// Gives labels for checked acquisitions.
pub trait Oracle {
    /// What the samples turn out to be, in their order.
    ///
    /// # Errors
    /// If a label cannot be had.
    fn label(&mut self, acquired: &Acquisition) -> Result<Vec<(SampleId, Outcome)>, OracleError>;

    /// Whether a batch waits for its labels outside the loop, which then ends until they are there.
    fn waits(&self) -> bool {
        false
    }

    /// Labels of pool samples, in their order, for strategies that declare the capability `oracle-labels`; the samples
    /// stay in the pool.
    ///
    /// # Errors
    /// If the oracle does not know the labels beforehand, as people do not.
    fn reveal(&self, pool: &[SampleId]) -> Result<Vec<Label>, OracleError> {
        let samples = pool.len();
        Err(OracleError(format!(
            "the strategy wants the hidden labels of all {samples} pool samples, which this oracle learns one batch \
             at a time; use a dataset with labels, or another strategy"
        )))
    }
}

/// An oracle that cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oracle: {0}")]
pub struct OracleError(pub String);

/// Answers with the dataset's own labels.
#[derive(Debug, Clone, Copy)]
pub struct DatasetOracle<'a> {
    dataset: &'a Dataset,
}

impl<'a> DatasetOracle<'a> {
    /// An oracle over all of a dataset.
    pub fn new(dataset: &'a Dataset) -> Self {
        Self { dataset }
    }

    /// The initial labelled set: samples of the pool, each equally likely; of a balanced set as many of each class as
    /// of any other (the remainder goes to the first classes in keyed order); of a list the samples of `listed`.
    ///
    /// # Errors
    /// If the pool, or a class of it, has too few samples, or a listed one is not in the pool.
    pub fn initial_set(
        &self,
        split: &Split,
        set: &InitialSet,
        listed: &[SampleId],
        stream: Stream,
    ) -> Result<Vec<(SampleId, Label)>, OracleError> {
        let count = set.len();
        if count > split.pool.len() {
            let pool = split.pool.len();
            return Err(OracleError(format!("an initial set of {count} does not fit a pool of {pool} samples")));
        }
        if self.dataset.is_unlabelled() {
            return Err(OracleError("the labels of the pool are not known; set `oracle = \"people\"`".to_owned()));
        }
        let with_label = |sample| Some((sample, self.dataset.hidden_label(sample)?));
        let wanted = match set {
            InitialSet::Listed(_) => {
                return match listed.iter().find(|sample| split.pool.binary_search(sample).is_err()) {
                    None => Ok(listed.iter().copied().filter_map(with_label).collect()),
                    Some(sample) => Err(OracleError(format!("sample {sample} of the initial set is not in the pool"))),
                };
            }
            InitialSet::Random(_) => None,
            InitialSet::Classes(wanted) => Some(wanted.clone()),
            InitialSet::Balanced(_) => Some(self.balanced(count, stream)),
        };
        let labelled = in_keyed_order(&split.pool, stream).filter_map(with_label);
        match wanted {
            None => Ok(labelled.take(count).collect()),
            Some(wanted) => self.of_classes(wanted, labelled),
        }
    }

    /// How many of each class make `count`.
    fn balanced(&self, count: usize, stream: Stream) -> Vec<usize> {
        let classes = self.dataset.classes();
        let mut order: Vec<usize> = (0..classes).collect();
        order.sort_by_key(|&class| (stream.item_bits(class as u64, 1), class));
        let mut wanted = vec![count / classes; classes];
        for &class in &order[..count % classes] {
            wanted[class] += 1;
        }
        wanted
    }

    /// The first samples that are wanted of each class.
    fn of_classes(
        &self,
        mut wanted: Vec<usize>,
        labelled: impl Iterator<Item = (SampleId, Label)>,
    ) -> Result<Vec<(SampleId, Label)>, OracleError> {
        let (count, classes) = (wanted.iter().sum(), wanted.len());
        let mut set = Vec::with_capacity(count);
        for (sample, label) in labelled {
            if wanted[label.index()] > 0 {
                wanted[label.index()] -= 1;
                set.push((sample, label));
            }
        }
        match wanted.iter().position(|&missing| missing > 0) {
            None => Ok(set),
            Some(class) => Err(OracleError(format!(
                "the pool has {} samples of class `{}` too few for an initial set of {count} balanced over {classes} \
                 classes",
                wanted[class],
                self.dataset.class_names()[class]
            ))),
        }
    }
}

impl Oracle for DatasetOracle<'_> {
    fn label(&mut self, acquired: &Acquisition) -> Result<Vec<(SampleId, Outcome)>, OracleError> {
        let labels = self.reveal(acquired.ids())?.into_iter().map(Outcome::Label);
        Ok(acquired.ids().iter().copied().zip(labels).collect())
    }

    fn reveal(&self, pool: &[SampleId]) -> Result<Vec<Label>, OracleError> {
        let unknown = |sample: SampleId| OracleError(format!("the label of sample {sample} is not known"));
        pool.iter().map(|&sample| self.dataset.hidden_label(sample).ok_or_else(|| unknown(sample))).collect()
    }
}

/// People, who are asked outside the loop and answer when they have time.
#[derive(Debug, Clone, Copy)]
pub struct People;

impl People {
    /// The samples that people are asked about before the first round: of the pool, each equally likely.
    ///
    /// # Errors
    /// If the pool has too few samples, or the set hangs on labels, which nobody knows.
    pub fn initial_set(split: &Split, set: &InitialSet, stream: Stream) -> Result<Vec<SampleId>, OracleError> {
        let InitialSet::Random(count) = *set else {
            return Err(OracleError(
                "people label an initial set that is a number or a share of the pool, drawn at random: its classes are \
                 not known before; labels that are known go to `dataset.labels`"
                    .to_owned(),
            ));
        };
        let pool = split.pool.len();
        if count > pool {
            return Err(OracleError(format!("an initial set of {count} does not fit a pool of {pool} samples")));
        }
        Ok(in_keyed_order(&split.pool, stream).take(count).collect())
    }
}

impl Oracle for People {
    fn label(&mut self, _: &Acquisition) -> Result<Vec<(SampleId, Outcome)>, OracleError> {
        Err(OracleError("people have not answered yet".to_owned()))
    }

    fn waits(&self) -> bool {
        true
    }
}

/// The samples of a pool in an order that the stream decides.
fn in_keyed_order(pool: &[SampleId], stream: Stream) -> impl Iterator<Item = SampleId> {
    let mut keyed: Vec<_> = pool.iter().map(|&sample| (stream.item_bits(sample.0, 0), sample)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, sample)| sample)
}
