//! The arrays that a strategy may ask for: one table that says everything about each.

use crate::Capability;
use crate::need::names;

/// What an array has one row for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Each sample of the pool; with the prefix `labelled.` there is the same array over the labelled set.
    Samples,
    /// Each sample of the pool, and of the pool alone.
    Pool,
    /// Each labelled sample.
    Labelled,
    /// Each sample of a target set.
    Targets,
    /// Each sample that is held out for calibration.
    Calibration,
    /// Each class.
    Classes,
    /// Whatever a user points at.
    Pointed,
}

/// What the other dimensions of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// The classes of the task.
    Classes,
    /// Stochastic passes, equally many in each array of such.
    Draws,
    /// Members of an ensemble.
    Members,
    /// Columns, equally many in each array with a width of this name.
    Width(&'static str),
    /// Columns, as many as there are; equally many over pool and labelled set.
    Columns,
}

/// What an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Finite floats of 32 bits.
    F32,
    /// Labels: classes, as numbers of 32 bits.
    Label,
}

impl Element {
    /// The type as users write it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Label => "u32",
        }
    }
}

/// Who makes an array in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giver {
    /// The learner, of the trained model.
    Model,
    /// The loop: labels, and what belongs to samples that are held out. A learner never sees them.
    Loop,
    /// The user alone.
    User,
}

/// An array that does as well as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandIn {
    /// Its name.
    pub name: &'static str,
    /// When it is the same, in words for people; empty where that need not be said.
    pub when: &'static str,
}

/// All about one array, or about all whose names a user makes up behind one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayKind {
    /// Its name, without the prefix of the labelled set. Ends in [`NAME`] where users make up the rest.
    pub name: &'static str,
    /// What it has one row for.
    pub rows: Rows,
    /// Its dimensions after the first.
    pub dimensions: &'static [Dimension],
    /// What it holds.
    pub element: Element,
    /// Who makes it in a run.
    pub giver: Giver,
    /// What may stand in for it where it is not given.
    pub stand_in: Option<StandIn>,
    /// The powers of which a strategy must have declared one; none where it is no secret.
    pub secret: &'static [Capability],
    /// The name under which probabilities may be given in its place.
    pub probabilities: Option<&'static str>,
    /// What it is, in a sentence for authors.
    pub says: &'static str,
}

/// Ends the names of arrays of which users make up the rest.
pub const NAME: &str = "NAME";

/// Bytes of a made-up name at most.
const MAX_NAME_BYTES: usize = 64;

const WIDTH: Dimension = Dimension::Width("width");

const PLAIN: ArrayKind = ArrayKind {
    name: "",
    rows: Rows::Samples,
    dimensions: &[],
    element: Element::F32,
    giver: Giver::Model,
    stand_in: None,
    secret: &[],
    probabilities: None,
    says: "",
};

/// Every array.
pub const ARRAYS: [ArrayKind; 28] = [
    ArrayKind {
        name: names::LOGITS,
        dimensions: &[Dimension::Classes],
        probabilities: Some("probs"),
        says: "class scores before the softmax",
        ..PLAIN
    },
    ArrayKind { name: names::EMBEDDINGS, dimensions: &[WIDTH], says: "input of the head in eval mode", ..PLAIN },
    ArrayKind {
        name: names::PENULTIMATE,
        dimensions: &[Dimension::Width("width of the last layer")],
        stand_in: Some(StandIn { name: names::EMBEDDINGS, when: "where the head is linear" }),
        says: "input of the last linear layer: what gradients of that layer are made of; the embeddings unless \
               `model.head_hidden` is set",
        ..PLAIN
    },
    ArrayKind {
        name: names::FIXED_EMBEDDINGS,
        dimensions: &[Dimension::Width("fixed width")],
        stand_in: Some(StandIn { name: names::EMBEDDINGS, when: "" }),
        says: "embeddings from a file or a frozen model; the trained model's where the run file names none",
        ..PLAIN
    },
    ArrayKind {
        name: names::MC_LOG_PROBS,
        dimensions: &[Dimension::Draws, Dimension::Classes],
        probabilities: Some("mc_probs"),
        says: "log-probabilities of passes with dropout: `mc_log_probs(T=10)`; `coherent` wants draw t to be the same \
               network for every row",
        ..PLAIN
    },
    ArrayKind {
        name: names::TARGET_MC_LOG_PROBS,
        rows: Rows::Targets,
        dimensions: &[Dimension::Draws, Dimension::Classes],
        probabilities: Some("target.mc_probs"),
        says: "the same passes on samples of `strategy.target`: `target.mc_log_probs(T=10, coherent, n=100)`",
        ..PLAIN
    },
    ArrayKind {
        name: names::MEMBER_LOG_PROBS,
        dimensions: &[Dimension::Members, Dimension::Classes],
        probabilities: Some("member_probs"),
        says: "log-probabilities of the members of an ensemble: `member_log_probs(M=5)`",
        ..PLAIN
    },
    ArrayKind {
        name: names::GRAD_NORM,
        says: "norm of each sample's gradient: `grad_norm(scheme=entropy, norm=tensor-sum)`",
        ..PLAIN
    },
    ArrayKind {
        name: names::GRAD_EMBEDDINGS,
        dimensions: &[WIDTH],
        says: "gradient of the predicted class's loss at the embedding",
        ..PLAIN
    },
    ArrayKind {
        name: names::PERTURBED_LOGITS,
        dimensions: &[Dimension::Width("number of noisy copies"), Dimension::Classes],
        says: "logits of copies of the model with noise in their weights: `perturbed_logits(K=30, scale=0.001)`; copy \
               k is the same network for every row",
        ..PLAIN
    },
    ArrayKind {
        name: names::CALIBRATION_LOGITS,
        rows: Rows::Calibration,
        dimensions: &[Dimension::Classes],
        giver: Giver::Loop,
        says: "logits of the validation set",
        ..PLAIN
    },
    ArrayKind {
        name: names::CALIBRATION_LABELS,
        rows: Rows::Calibration,
        element: Element::Label,
        giver: Giver::Loop,
        says: "labels of the validation set",
        ..PLAIN
    },
    ArrayKind {
        name: names::CALIBRATION_PENULTIMATE,
        rows: Rows::Calibration,
        dimensions: &[Dimension::Width("width of the last layer")],
        giver: Giver::Loop,
        says: "input of the last linear layer for the validation set",
        ..PLAIN
    },
    ArrayKind {
        name: names::HEAD_W,
        rows: Rows::Classes,
        dimensions: &[WIDTH],
        says: "weights of a head of one linear layer; not where `model.head_hidden` is set",
        ..PLAIN
    },
    ArrayKind { name: names::HEAD_B, rows: Rows::Classes, says: "biases of that head", ..PLAIN },
    ArrayKind {
        name: names::LABELLED_LABELS,
        rows: Rows::Labelled,
        element: Element::Label,
        giver: Giver::Loop,
        says: "labels of the labelled set; `query.labelled_labels()`",
        ..PLAIN
    },
    ArrayKind {
        name: names::LABELLED_REJECTED,
        rows: Rows::Labelled,
        element: Element::Label,
        giver: Giver::Loop,
        says: "1 where the oracle said that a sample is of no class, whatever its entry in `labelled.labels`, which in \
               a run is then the number of classes; else 0",
        ..PLAIN
    },
    ArrayKind {
        name: names::ORACLE_LABELS,
        rows: Rows::Pool,
        element: Element::Label,
        giver: Giver::Loop,
        secret: &[Capability::OracleLabels, Capability::OracleStream],
        says: "hidden labels, for strategies with the capability `oracle-labels`; `query.oracle_labels()`",
        ..PLAIN
    },
    ArrayKind {
        name: names::DETECTOR_LOGITS,
        rows: Rows::Pool,
        dimensions: &[Dimension::Columns],
        giver: Giver::User,
        says: "outputs of a classifier of all classes and, last, \"none of them\": [rows, classes + 1]",
        ..PLAIN
    },
    ArrayKind {
        name: names::DETECTOR_OVR,
        rows: Rows::Pool,
        dimensions: &[Dimension::Classes],
        giver: Giver::User,
        says: "log-odds of classifiers of one class against the rest each",
        ..PLAIN
    },
    ArrayKind {
        name: "extra.NAME",
        dimensions: &[Dimension::Columns],
        giver: Giver::User,
        says: "whatever a user has of each sample, under a name that the strategy makes up",
        ..PLAIN
    },
    // Before the names that users make up, of which they would be some.
    ArrayKind {
        name: "query.embeddings",
        rows: Rows::Pointed,
        dimensions: &[WIDTH],
        giver: Giver::User,
        says: "embeddings of rows to look for, made as those of the pool",
        ..PLAIN
    },
    ArrayKind {
        name: "query.logits",
        rows: Rows::Pointed,
        dimensions: &[Dimension::Classes],
        giver: Giver::User,
        says: "their logits",
        ..PLAIN
    },
    ArrayKind {
        name: "query.labels",
        rows: Rows::Pointed,
        element: Element::Label,
        giver: Giver::User,
        says: "their labels",
        ..PLAIN
    },
    ArrayKind {
        name: "private.embeddings",
        rows: Rows::Pointed,
        dimensions: &[WIDTH],
        giver: Giver::User,
        says: "embeddings of rows to stay away from, made as those of the pool",
        ..PLAIN
    },
    ArrayKind {
        name: "private.logits",
        rows: Rows::Pointed,
        dimensions: &[Dimension::Classes],
        giver: Giver::User,
        says: "their logits",
        ..PLAIN
    },
    ArrayKind {
        name: "private.labels",
        rows: Rows::Pointed,
        element: Element::Label,
        giver: Giver::User,
        says: "their labels",
        ..PLAIN
    },
    ArrayKind {
        name: "query.NAME",
        rows: Rows::Pointed,
        dimensions: &[Dimension::Columns],
        giver: Giver::User,
        says: "rows that a user points at, as examples of what to look for; any number of them",
        ..PLAIN
    },
];

impl ArrayKind {
    /// The array of this name, and whether it is the one over the labelled set.
    pub fn of(name: &str) -> Option<(&'static Self, bool)> {
        if let Some(kind) = ARRAYS.iter().find(|kind| kind.is_called(name)) {
            return Some((kind, kind.rows == Rows::Labelled));
        }
        let bare = name.strip_prefix(names::LABELLED)?;
        ARRAYS.iter().find(|kind| kind.rows == Rows::Samples && kind.is_called(bare)).map(|kind| (kind, true))
    }

    fn is_called(&self, name: &str) -> bool {
        let Some(prefix) = self.name.strip_suffix(NAME) else { return self.name == name };
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        name.strip_prefix(prefix)
            .is_some_and(|rest| (1..=MAX_NAME_BYTES).contains(&rest.len()) && rest.chars().all(fits))
    }

    /// Whether its last dimension is the classes.
    pub fn ends_in_classes(&self) -> bool {
        match self.dimensions {
            [] => self.rows == Rows::Classes,
            dimensions => dimensions.ends_with(&[Dimension::Classes]),
        }
    }

    /// The parameter by which strategies say how many distributions a row of it holds.
    pub fn draws_parameter(&self) -> Option<&'static str> {
        self.dimensions.iter().find_map(|dimension| match dimension {
            Dimension::Draws => Some("T"),
            Dimension::Members => Some("members"),
            _ => None,
        })
    }

    /// Whether it holds several distributions a row.
    pub fn is_of_draws(&self) -> bool {
        self.draws_parameter().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_arrays() {
        let found = |name: &str| ArrayKind::of(name).map(|(kind, labelled)| (kind.name, labelled));
        assert_eq!(found("logits"), Some(("logits", false)));
        assert_eq!(found("labelled.logits"), Some(("logits", true)));
        assert_eq!(found("labelled.labels"), Some(("labelled.labels", true)));
        assert_eq!(found("extra.blur_2"), Some(("extra.NAME", false)));
        assert_eq!(found("labelled.extra.blur"), Some(("extra.NAME", true)));
        assert_eq!(found("query.cats"), Some(("query.NAME", false)));
        let long = format!("extra.{}", "x".repeat(65));
        for name in [
            "labelled.query.cats",
            "labelled.oracle.labels",
            "labelled.head.w",
            "labelled.labelled.labels",
            "extra.",
            "extra",
            "extra.a.b",
            "extra.a b",
            "query.ä",
            "labels",
            &long,
        ] {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn only_hidden_labels_are_secret() {
        let secret: Vec<&str> = ARRAYS.iter().filter(|kind| !kind.secret.is_empty()).map(|kind| kind.name).collect();
        assert_eq!(secret, ["oracle.labels"]);
    }
}
