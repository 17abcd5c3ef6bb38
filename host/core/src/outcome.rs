//! What asking for the label of a sample came to.

use serde::Serialize;

use crate::ids::Label;

/// What asking for the label of a sample came to. Whatever it is, the sample has left the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its label, which models are trained on.
    Label(Label),
    /// Its label, which is held out for the test, where there is no other test set.
    HeldOut(Label),
    /// It is of none of the classes: that costs a label, and no model is trained on it.
    Rejected,
    /// Who was asked could not tell.
    Unsure,
}

impl Outcome {
    /// The label to train on.
    pub fn label(self) -> Option<Label> {
        match self {
            Self::Label(label) => Some(label),
            Self::HeldOut(_) | Self::Rejected | Self::Unsure => None,
        }
    }

    /// The class that was said, to train on or to test on.
    pub fn class(self) -> Option<Label> {
        match self {
            Self::Label(label) | Self::HeldOut(label) => Some(label),
            Self::Rejected | Self::Unsure => None,
        }
    }

    /// Whether it cost a label.
    pub fn is_bought(self) -> bool {
        self != Self::Unsure
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label(_) => "label",
            Self::HeldOut(_) => "held-out",
            Self::Rejected => "rejected",
            Self::Unsure => "unsure",
        }
    }

    /// The outcome of this name, with its label; `None` where there is none such.
    pub fn of(name: &str, label: Option<Label>) -> Option<Self> {
        match (name, label) {
            ("label", Some(label)) => Some(Self::Label(label)),
            ("held-out", Some(label)) => Some(Self::HeldOut(label)),
            ("rejected", None) => Some(Self::Rejected),
            ("unsure", None) => Some(Self::Unsure),
            _ => None,
        }
    }
}

impl From<Label> for Outcome {
    fn from(label: Label) -> Self {
        Self::Label(label)
    }
}
