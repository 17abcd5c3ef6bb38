//! What a learner says of itself, and which arrays it can give.

use std::fmt;

use querist_core::LearnError;
use querist_protocol::{ArrayKind, Dimension, Giver, Need, Rows, Shown, is_showable, names};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::PROTOCOL;

/// Bytes of a learner's name, and of its version, at most.
const MOST_NAME: usize = 200;
/// Arrays that it may list.
const MOST_ARRAYS: usize = 64;
/// Draws and members that it may be asked for.
const MOST_DRAWS: usize = 10_000;
/// Columns of an array at most.
pub const MOST_WIDTH: usize = 1 << 20;

/// What a learner reads of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The name of each sample.
    Ids,
    /// The pictures.
    Images,
    /// The rows of a dataset of embeddings.
    Embeddings,
}

/// What a learner says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Its name.
    pub name: String,
    /// Its version, with those of what it is made of.
    pub version: String,
    /// The arrays that it can give, as strategies write needs: `logits`, `mc_log_probs(coherent)`.
    pub arrays: Vec<String>,
    /// What it reads of the data.
    #[serde(default)]
    pub(crate) reads: Vec<Input>,
    /// Whether it wants the validation set with its labels in each training.
    #[serde(default)]
    pub validation: bool,
    /// Whether it can be asked when nothing was labelled yet.
    #[serde(default)]
    pub untrained: bool,
}

/// An array that is asked for, in a form for both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name, without a prefix for the samples that it is about.
    pub name: &'static str,
    /// Its arguments: `T`, `M`, `coherent`, `scheme`, `norm`.
    pub args: Map<String, Value>,
    /// What it has one row for.
    pub rows: Rows,
    /// Extent of each dimension after the first; `None` where the learner chooses.
    pub row: Vec<Option<usize>>,
}

impl Offer {
    /// Reads the answer to `hello`.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(answer: Map<String, Value>) -> Result<Self, String> {
        // Another version may have other fields.
        match answer.get("protocol").and_then(Value::as_u64) {
            Some(protocol) if protocol == u64::from(PROTOCOL) => {}
            Some(other) => return Err(format!("it speaks version {other} of the protocol, expected {PROTOCOL}")),
            None => return Err(format!("its `hello` has no number `protocol`, expected {PROTOCOL}")),
        }
        let offer: Self = serde_json::from_value(Value::Object(answer))
            .map_err(|error| format!("its `hello`: {}", Shown::sentence(&error.to_string())))?;
        for (key, text) in [("name", &offer.name), ("version", &offer.version)] {
            if text.is_empty() || text.len() > MOST_NAME || !is_showable(text) {
                return Err(format!(
                    "its `{key}` is `{}`, expected 1 to {MOST_NAME} bytes that can be shown",
                    Shown::name(text)
                ));
            }
        }
        if offer.arrays.len() > MOST_ARRAYS {
            return Err(format!("it lists {} arrays, expected {MOST_ARRAYS} at most", offer.arrays.len()));
        }
        for text in &offer.arrays {
            let is_known = text.parse::<Need>().ok().is_some_and(|need| is_given(&need));
            if !is_known {
                return Err(format!(
                    "it offers the array `{}`, which no learner gives; those are {}",
                    Shown::name(text),
                    given().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        match offer.arrays.iter().any(|text| text == names::LOGITS) {
            true => Ok(offer),
            false => Err("it does not offer `logits`, by which every round is evaluated".to_owned()),
        }
    }

    /// Whether every need can be met.
    ///
    /// # Errors
    /// [`LearnError::Need`] with the first that cannot.
    pub fn check(&self, needs: &[Need], classes: usize) -> Result<(), LearnError> {
        needs.iter().filter(|need| !is_of_the_loop(need)).try_for_each(|need| self.wanted(need, classes).map(|_| ()))
    }

    /// A need as an array that this learner is asked for.
    ///
    /// # Errors
    /// [`LearnError::Need`] where it does not offer it.
    pub fn wanted(&self, need: &Need, classes: usize) -> Result<Wanted, LearnError> {
        let (bare, _) = need.split_labelled();
        let name = match bare {
            names::TARGET_MC_LOG_PROBS => names::MC_LOG_PROBS,
            // Of a head of one layer both are the same. Fixed embeddings are asked for here only where none are
            // configured: then those of the model stand in.
            names::PENULTIMATE | names::FIXED_EMBEDDINGS if !self.offers(bare) => names::EMBEDDINGS,
            name => name,
        };
        let Some(kind) = given_kind(name) else {
            return refuse(
                need,
                "a learner of your own hands over arrays of its trained model, and this is none; choose another \
                 strategy, or a model of this program",
            );
        };
        if !self.offers(name) {
            let offered = self.arrays.join(", ");
            return refuse(
                need,
                format_args!("`{}` does not offer `{name}`; it offers {offered}", Shown::name(&self.name)),
            );
        }
        let args = args_of(need)?;
        let lacks = |flag: &str| args.contains_key(flag) && !self.offered(name).any(|offer| offer.has_flag(flag));
        if lacks("coherent") {
            let has = Shown::name(&self.name);
            return refuse(need, format_args!("`{has}` offers `{name}` without `coherent`"));
        }
        let row = kind.dimensions.iter().map(|dimension| match dimension {
            Dimension::Classes => Ok(Some(classes)),
            Dimension::Draws => count(need, &args, "T").map(Some),
            Dimension::Members => count(need, &args, "M").map(Some),
            Dimension::Width(_) | Dimension::Columns => Ok(None),
        });
        let row = row.collect::<Result<_, LearnError>>()?;
        Ok(Wanted { name: kind.name, args, rows: kind.rows, row })
    }

    fn offers(&self, name: &str) -> bool {
        self.offered(name).next().is_some()
    }

    fn offered(&self, name: &str) -> impl Iterator<Item = Need> {
        self.arrays.iter().filter_map(|text| text.parse::<Need>().ok()).filter(move |need| need.name() == name)
    }
}

impl Wanted {
    /// The array as messages to the learner name it.
    pub fn message(&self) -> Map<String, Value> {
        Map::from_iter([("name".to_owned(), json!(self.name)), ("args".to_owned(), json!(self.args))])
    }
}

/// Arguments that a learner is told of, each once; nothing else may stand in a need.
fn args_of(need: &Need) -> Result<Map<String, Value>, LearnError> {
    let (mut args, mut plain) = (Map::new(), Need::new(need.name()));
    for key in ["T", "M"] {
        if let Some(text) = need.arg(key) {
            let number = text.parse::<usize>().ok().filter(|count| (1..=MOST_DRAWS).contains(count));
            let Some(number) = number else {
                return refuse(need, format_args!("{key} = {}, expected 1 to {MOST_DRAWS}", Shown::name(text)));
            };
            args.insert(key.to_owned(), json!(number));
            plain = plain.with(key, text);
        }
    }
    for key in ["scheme", "norm"] {
        if let Some(text) = need.arg(key) {
            args.insert(key.to_owned(), json!(text));
            plain = plain.with(key, text);
        }
    }
    if need.has_flag("coherent") {
        args.insert("coherent".to_owned(), json!(true));
        plain = plain.with_flag("coherent");
    }
    // How many targets there are is the loop's.
    if let Some(size) = need.arg("n") {
        plain = plain.with("n", size);
    }
    match *need == plain {
        true => Ok(args),
        false => refuse(need, "it has an argument that learners are not told of"),
    }
}

fn count(need: &Need, args: &Map<String, Value>, key: &str) -> Result<usize, LearnError> {
    match args.get(key).and_then(Value::as_u64) {
        Some(count) => Ok(count as usize),
        None => refuse(need, format_args!("it does not say how many: `{}({key}=10)`", need.name())),
    }
}

/// Whether the loop, or the user's file, gives it.
fn is_of_the_loop(need: &Need) -> bool {
    need.array().is_some_and(|kind| kind.giver == Giver::Loop)
}

fn is_given(need: &Need) -> bool {
    given_kind(need.name()).is_some()
}

/// The array of this name, if learners give it: one of the trained model, over samples or classes.
fn given_kind(name: &str) -> Option<&'static ArrayKind> {
    let (kind, is_labelled) = ArrayKind::of(name)?;
    let is_given = kind.giver == Giver::Model && matches!(kind.rows, Rows::Samples | Rows::Classes);
    (is_given && !is_labelled).then_some(kind)
}

/// The names of arrays that learners give.
fn given() -> impl Iterator<Item = &'static str> {
    names::ALL.into_iter().filter(|name| given_kind(name).is_some())
}

fn refuse<T>(need: &Need, reason: impl fmt::Display) -> Result<T, LearnError> {
    Err(LearnError::Need { need: need.to_string(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(more: Value) -> Map<String, Value> {
        let mut answer = json!({"protocol": 1, "name": "mine", "version": "2", "arrays": ["logits"]});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        answer.as_object().unwrap().clone()
    }

    fn offer(arrays: &[&str]) -> Offer {
        Offer::read(answer(json!({ "arrays": arrays }))).unwrap()
    }

    fn need(text: &str) -> Need {
        text.parse().unwrap()
    }

    #[test]
    fn a_hello_is_read_strictly() {
        assert_eq!(offer(&["logits", "head.w"]).reads, []);
        let both = Offer::read(answer(json!({ "reads": ["images", "ids"] }))).unwrap();
        assert_eq!(both.reads, [Input::Images, Input::Ids]);
        for (more, part) in [
            (json!({ "protocol": 2, "new": 1 }), "it speaks version 2 of the protocol, expected 1"),
            (json!({ "protocol": "1" }), "has no number `protocol`"),
            (json!({ "new": 1 }), "unknown field `new`"),
            (json!({ "name": "" }), "its `name` is ``, expected 1 to 200 bytes"),
            (json!({ "version": "\u{1b}[31m" }), "its `version` is"),
            (json!({ "arrays": ["embeddings"] }), "it does not offer `logits`"),
            (json!({ "arrays": ["logits", "labelled.logits"] }), "it offers the array `labelled.logits`"),
            (json!({ "arrays": ["logits", "oracle.labels"] }), "which no learner gives; those are logits, embeddings"),
            (json!({ "arrays": ["logits", "a(("] }), "it offers the array `a((`"),
            (json!({ "reads": ["audio"] }), "unknown variant `audio`"),
        ] {
            let error = Offer::read(answer(more)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_need_becomes_an_array_of_known_shape() {
        let all = offer(&["logits", "embeddings", "mc_log_probs(coherent)", "member_log_probs", "head.w", "grad_norm"]);
        let row = |text: &str| all.wanted(&need(text), 3).unwrap();
        assert_eq!(row("labelled.logits").row, [Some(3)]);
        assert_eq!((row("embeddings").row, row("labelled.fixed_embeddings").name), (vec![None], "embeddings"));
        assert_eq!(row("penultimate").name, "embeddings");
        let own = offer(&["logits", "penultimate"]);
        assert_eq!(own.wanted(&need("penultimate"), 3).unwrap().name, "penultimate");
        let draws = row("target.mc_log_probs(T=10, coherent, n=100)");
        assert_eq!((draws.name, draws.row), ("mc_log_probs", vec![Some(10), Some(3)]));
        assert_eq!(Value::Object(draws.args), json!({"T": 10, "coherent": true}));
        assert_eq!(row("member_log_probs(M=5)").row, [Some(5), Some(3)]);
        assert_eq!((row("head.w").rows, row("head.w").row), (Rows::Classes, vec![None]));
        assert_eq!(row("grad_norm(scheme=egl, norm=global)").args.len(), 2);
        for (text, part) in [
            ("grad_embeddings", "`mine` does not offer `grad_embeddings`; it offers logits, embeddings,"),
            ("stage_maps", "hands over arrays of its trained model, and this is none"),
            ("images(min_side=8)", "and this is none"),
            ("head", "and this is none"),
            ("mc_log_probs", "it does not say how many: `mc_log_probs(T=10)`"),
            ("mc_log_probs(T=0)", "T = 0, expected 1 to 10000"),
            ("logits(temperature=2)", "an argument that learners are not told of"),
        ] {
            let error = all.wanted(&need(text), 3).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let plain = offer(&["logits", "mc_log_probs"]);
        assert!(plain.wanted(&need("mc_log_probs(T=2)"), 3).is_ok());
        let error = plain.wanted(&need("mc_log_probs(T=2, coherent)"), 3).unwrap_err().to_string();
        assert!(error.contains("without `coherent`"), "{error}");
        assert!(plain.check(&Need::all(["labelled.labels", "oracle.labels"]), 3).is_ok(), "the loop gives these");
    }
}
