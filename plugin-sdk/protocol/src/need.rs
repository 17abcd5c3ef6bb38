//! What a strategy asks the host to compute, by name with arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Shown;
use crate::array::ArrayKind;

/// Bytes of a need's text at most.
const MAX_NEED_BYTES: usize = 200;

/// Names of the arrays that a strategy may ask for.
pub mod names {
    use crate::Capability;
    use crate::array::{ARRAYS, ArrayKind, Element, Rows};

    /// Class scores before the softmax, `f32 [rows, classes]`.
    pub const LOGITS: &str = "logits";
    /// Input of the head in eval mode, `f32 [rows, width]`.
    pub const EMBEDDINGS: &str = "embeddings";
    /// Input of the last linear layer in eval mode, `f32 [rows, last width]`: what the gradient of that layer's weights
    /// is made of. The embeddings themselves where the head is one linear layer.
    pub const PENULTIMATE: &str = "penultimate";
    /// Embeddings from a file or a frozen backbone, `f32 [rows, width]`.
    pub const FIXED_EMBEDDINGS: &str = "fixed_embeddings";
    /// Log-probabilities of stochastic passes, `f32 [rows, draws, classes]`.
    pub const MC_LOG_PROBS: &str = "mc_log_probs";
    /// The same draws on a target set, `f32 [targets, draws, classes]`.
    pub const TARGET_MC_LOG_PROBS: &str = "target.mc_log_probs";
    /// Log-probabilities of ensemble members, `f32 [rows, members, classes]`.
    pub const MEMBER_LOG_PROBS: &str = "member_log_probs";
    /// Norm of each sample's parameter gradient, `f32 [rows]`.
    pub const GRAD_NORM: &str = "grad_norm";
    /// Gradient of the predicted class's loss at the embedding, `f32 [rows, width]`.
    pub const GRAD_EMBEDDINGS: &str = "grad_embeddings";
    /// Logits of copies of the model with noise in their weights, `f32 [rows, copies, classes]`.
    pub const PERTURBED_LOGITS: &str = "perturbed_logits";
    /// Outputs of a classifier of all classes and "none of them", `f32 [rows, classes + 1]`.
    pub const DETECTOR_LOGITS: &str = "detector.logits";
    /// Log-odds of classifiers of one class against the rest each, `f32 [rows, classes]`.
    pub const DETECTOR_OVR: &str = "detector.ovr";
    /// Logits of the calibration set, `f32 [calibration, classes]`.
    pub const CALIBRATION_LOGITS: &str = "calibration.logits";
    /// Labels of the calibration set, `u32 [calibration]`.
    pub const CALIBRATION_LABELS: &str = "calibration.labels";
    /// Input of the last linear layer for the calibration set, `f32 [calibration, last width]`.
    pub const CALIBRATION_PENULTIMATE: &str = "calibration.penultimate";
    /// Weights of a linear head, `f32 [classes, width]`.
    pub const HEAD_W: &str = "head.w";
    /// Biases of a linear head, `f32 [classes]`.
    pub const HEAD_B: &str = "head.b";
    /// The head itself, whatever its form, for [`crate::HostCalls::head_logits`] and
    /// [`crate::HostCalls::head_gradients`]. No array.
    pub const HEAD: &str = "head";
    /// Labels of the labelled set, `u32 [labelled]`.
    pub const LABELLED_LABELS: &str = "labelled.labels";
    /// 1 where the oracle said that a labelled sample is of no class, `u32 [labelled]`.
    pub const LABELLED_REJECTED: &str = "labelled.rejected";
    /// Hidden labels of the whole pool, `u32 [rows]`; only for strategies that declare the capability `oracle-labels`.
    pub const ORACLE_LABELS: &str = "oracle.labels";
    /// A model that hands out the outputs of its stages. No array: only asked for before training.
    pub const STAGE_MAPS: &str = "stage_maps";
    /// Images, at least `min_side` pixels high and wide. No array: only asked for before training. With the flag
    /// [`EMBEDDED`] nothing of them is looked at but their embeddings in eval mode, so that arrays of those will do.
    pub const IMAGES: &str = "images";
    /// Flag of [`IMAGES`].
    pub const EMBEDDED: &str = "embedded";
    /// Training on images that the strategy makes of those it picks. No array: it is the right to hand them in.
    pub const SYNTHETIC_IMAGES: &str = "synthetic_images";
    /// Prefix of every array over the labelled set.
    pub const LABELLED: &str = "labelled.";

    /// Every array name without the labelled prefix, for messages.
    pub const ALL: [&str; ARRAYS.len()] = {
        let mut all = [""; ARRAYS.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = ARRAYS[at].name;
            at += 1;
        }
        all
    };

    /// Whether `name` asks for something of model, images or training instead of an array.
    pub fn is_condition(name: &str) -> bool {
        matches!(name, STAGE_MAPS | IMAGES | SYNTHETIC_IMAGES)
    }

    /// Whether `name` is one of the arrays of the contract, labelled or not, the head, or a condition.
    pub fn is_known(name: &str) -> bool {
        ArrayKind::of(name).is_some() || name == HEAD || is_condition(name)
    }

    /// The powers of which a strategy must have declared one to be handed `name`; `None` for what is no secret.
    pub fn secret(name: &str) -> Option<&'static [Capability]> {
        ArrayKind::of(name).map(|(kind, _)| kind.secret).filter(|powers| !powers.is_empty())
    }

    /// Whether `name` is an array of class numbers.
    pub fn is_labels(name: &str) -> bool {
        ArrayKind::of(name).is_some_and(|(kind, _)| kind.element == Element::Label)
    }

    /// Whether `name` is an array with one row a pool sample.
    pub fn is_over_pool(name: &str) -> bool {
        matches!(ArrayKind::of(name), Some((ArrayKind { rows: Rows::Samples | Rows::Pool, .. }, false)))
    }

    /// Whether `name` is an array with one row a labelled sample.
    pub fn is_over_labelled(name: &str) -> bool {
        matches!(ArrayKind::of(name), Some((_, true)))
    }

    /// Number of dimensions of an array of floats with one row a pool sample; `None` for the others.
    pub fn per_sample(name: &str) -> Option<usize> {
        match ArrayKind::of(name) {
            Some((kind, false)) if kind.rows == Rows::Samples => Some(1 + kind.dimensions.len()),
            _ => None,
        }
    }
}

/// Argument of every need that names what does as well.
const OR: &str = "or";

/// An array the strategy needs, with arguments: `logits`, `mc_log_probs(T=10, coherent)`, `labelled.embeddings`.
///
/// `head.w(or=head)` is met by `head.w` where the model has it, and else by `head`; the strategy asks
/// [`crate::HostCalls::has`] which it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Need {
    name: String,
    args: BTreeMap<String, Option<String>>,
}

impl Need {
    /// Needs of these names, without arguments.
    pub fn all<const K: usize>(names: [&str; K]) -> Vec<Self> {
        names.map(Self::new).to_vec()
    }

    /// A need without arguments.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), args: BTreeMap::new() }
    }

    /// The same need with `key = value` added.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.args.insert(key.into(), Some(value.to_string()));
        self
    }

    /// The same need with a bare flag added.
    #[must_use]
    pub fn with_flag(mut self, flag: impl Into<String>) -> Self {
        self.args.insert(flag.into(), None);
        self
    }

    /// The same need, which `other` meets as well where this model has no such array.
    #[must_use]
    pub fn or(self, other: impl ToString) -> Self {
        self.with(OR, other)
    }

    /// The array's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The need without its second choice.
    #[must_use]
    pub fn first_choice(&self) -> Self {
        let mut first = self.clone();
        first.args.remove(OR);
        first
    }

    /// What does as well, if anything does.
    pub fn second_choice(&self) -> Option<Self> {
        self.arg(OR).map(Self::new)
    }

    /// The names by which a query may have what is needed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [self.name()].into_iter().chain(self.arg(OR))
    }

    /// The value of an argument, if it was given one.
    pub fn arg(&self, key: &str) -> Option<&str> {
        self.args.get(key)?.as_deref()
    }

    /// Whether a bare flag was given.
    pub fn has_flag(&self, flag: &str) -> bool {
        matches!(self.args.get(flag), Some(None))
    }

    /// The arrays that do as well where there are neither images nor model: embeddings of the pool and of the labelled
    /// set; none for other needs.
    pub fn as_arrays(&self) -> &'static [&'static str] {
        match self.name == names::IMAGES && self.has_flag(names::EMBEDDED) {
            true => &[names::EMBEDDINGS, "labelled.embeddings"],
            false => &[],
        }
    }

    /// The array that it asks for; `None` where it asks for none: for the head, or for something of model or images.
    pub fn array(&self) -> Option<&'static ArrayKind> {
        ArrayKind::of(&self.name).map(|(kind, _)| kind)
    }

    /// The name without the labelled prefix, and whether it had one.
    pub fn split_labelled(&self) -> (&str, bool) {
        match self.name.strip_prefix(names::LABELLED) {
            Some(bare) => (bare, true),
            None => (&self.name, false),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (i, (key, value)) in self.args.iter().enumerate() {
            f.write_str(if i == 0 { "(" } else { ", " })?;
            match value {
                Some(value) => write!(f, "{key}={value}")?,
                None => f.write_str(key)?,
            }
        }
        if self.args.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// A need that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no need: {reason}")]
pub struct NeedParseError {
    text: Shown,
    reason: String,
}

impl FromStr for Need {
    type Err = NeedParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason: &str| NeedParseError { text: Shown::name(text), reason: reason.to_owned() };
        if text.len() > MAX_NEED_BYTES {
            return Err(fail("it is too long"));
        }
        let (name, args) = match text.trim().split_once('(') {
            None => (text.trim(), ""),
            Some((name, rest)) => (name.trim(), rest.strip_suffix(')').ok_or_else(|| fail("no closing `)`"))?),
        };
        if !names::is_known(name) {
            return Err(fail("no array has this name"));
        }
        let mut need = Self::new(name);
        for arg in args.split(',').map(str::trim).filter(|arg| !arg.is_empty()) {
            let (key, value) = match arg.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
                None => (arg, None),
            };
            let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
            if !word(key) || !value.as_deref().is_none_or(word) {
                return Err(fail("arguments are `key=value` or a flag"));
            }
            if need.args.insert(key.to_owned(), value).is_some() {
                return Err(fail("an argument is given twice"));
            }
        }
        match need.args.get(OR) {
            Some(None) => Err(fail("`or` names what does as well: `or=head`")),
            Some(Some(other)) if !names::is_known(other) => Err(fail("no array has the name after `or=`")),
            // Written out it has blanks that may not have been there.
            _ if need.to_string().len() > MAX_NEED_BYTES => Err(fail("it is too long")),
            _ => Ok(need),
        }
    }
}

impl From<Need> for String {
    fn from(need: Need) -> Self {
        need.to_string()
    }
}

impl TryFrom<String> for Need {
    type Error = NeedParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_survives_its_text_form() {
        for need in [
            Need::new(names::LOGITS),
            Need::new("labelled.embeddings"),
            Need::new("extra.blur"),
            Need::new("query.cats"),
            Need::new(names::MC_LOG_PROBS).with("T", 10).with_flag("coherent"),
        ] {
            assert_eq!(need.to_string().parse::<Need>().as_ref(), Ok(&need));
        }
        let mc: Need = "mc_log_probs(T=10, coherent)".parse().unwrap();
        let images: Need = "images(min_side=16)".parse().unwrap();
        assert_eq!((images.name(), images.arg("min_side")), (names::IMAGES, Some("16")));
        let head = Need::new(names::HEAD_W).or(names::HEAD);
        assert_eq!(head.to_string().parse::<Need>().as_ref(), Ok(&head));
        assert_eq!((head.first_choice(), head.second_choice()), (Need::new("head.w"), Some(Need::new("head"))));
        assert_eq!(head.names().collect::<Vec<_>>(), ["head.w", "head"]);
        assert_eq!((mc.arg("T"), mc.has_flag("coherent"), mc.has_flag("T")), (Some("10"), true, false));
    }

    #[test]
    fn what_is_no_need_is_refused() {
        for text in [
            "",
            "logit",
            "logits(",
            "logits(T=1",
            "logits(T=1,T=2)",
            "logits(T=a b)",
            "labelled.head.w",
            "labelled.head",
            "head.w(or)",
            "head.w(or=)",
            "head.w(or=nothing)",
            "labelled.images",
            // Whatever is no name is no secret in disguise either.
            "extra.",
            "labelled.query.cats",
            "oracle.Labels",
            "labelled.oracle.labels",
            "oracle. labels",
            "logits(or=oracle.labels.)",
            "logits(or=labelled.oracle.labels)",
            "logits(or= oracle.labels (or=oracle.labels))",
            &format!("logits(T={})", "1".repeat(70_000)),
            &format!("logits({})", (0..60).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
        ] {
            assert!(text.parse::<Need>().is_err(), "{text}");
        }
    }
}
