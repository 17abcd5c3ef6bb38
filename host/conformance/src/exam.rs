//! Asking a strategy, and what comes of it.

use querist_core::digest::hex;
use querist_core::{Answer, Arrays, Question, Round, Seeds, Strategy};
use querist_protocol::{Selection, TILE_BYTES};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Make;
use crate::cases::{Pool, Shape};

/// A rule does not hold: the case, what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A rule that is not broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It holds, and this is worth knowing.
    Note(String),
    /// It says nothing about this strategy, and why.
    NotApplicable(&'static str),
}

/// A broken rule, from the words of a format.
macro_rules! broken {
    ($($word:tt)*) => { Err($crate::exam::Broken(format!($($word)*))) };
}
pub(crate) use broken;

/// Which `batch` rows of these, by random numbers of their own.
pub(crate) fn question(arrays: &Arrays, batch: usize) -> Question<'_> {
    seeded(arrays, batch, 1)
}

/// Which `batch` rows of these, by random numbers of this seed.
pub(crate) fn seeded(arrays: &Arrays, batch: usize, seed: u64) -> Question<'_> {
    Question::new(arrays, batch).with_seeds(Seeds::new(seed))
}

/// Asking in a test; `case` tells people which question it was.
pub(crate) trait Exam {
    /// An answer that keeps the contract.
    fn ask(&self, strategy: &mut dyn Strategy, case: &str) -> Result<Answer, Broken>;

    /// [`Exam::ask`] for the picks alone.
    fn picks(&self, strategy: &mut dyn Strategy, case: &str) -> Result<Selection, Broken> {
        self.ask(strategy, case).map(|answer| answer.selection)
    }
}

impl Exam for Question<'_> {
    fn ask(&self, strategy: &mut dyn Strategy, case: &str) -> Result<Answer, Broken> {
        let answer = match strategy.answer(self) {
            Ok(answer) => answer,
            Err(error) => return broken!("no answer ({case}): {error}"),
        };
        match self.check(&answer.selection) {
            Ok(_) => Ok(answer),
            Err(error) => broken!("the answer breaks the contract ({case}): {error}"),
        }
    }
}

/// The strategy with these parameters, on one thread.
pub(crate) fn made(make: &dyn Make, params: &Value) -> Result<Box<dyn Strategy>, Broken> {
    made_with(make, params, 1, TILE_BYTES)
}

pub(crate) fn made_with(
    make: &dyn Make,
    params: &Value,
    threads: usize,
    tile_bytes: usize,
) -> Result<Box<dyn Strategy>, Broken> {
    let made = make.make(params, threads, tile_bytes);
    made.map_err(|error| Broken(format!("it refuses the parameters {params}: {error}")))
}

/// The arrays that a strategy needs, made up.
pub(crate) fn arrays(pool: Pool, strategy: &dyn Strategy) -> Result<Arrays, Broken> {
    pool.try_arrays(strategy.needs()).map_err(Broken)
}

/// Names of the parameters that must be given.
pub(crate) fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// The parameters to check under: those of [`Make::params`], else the schema's first example, for strategies with
/// required parameters or with defaults that take long, else none.
///
/// # Errors
/// If there are required parameters and none of these.
pub fn least_params(make: &dyn Make) -> Result<Value, Broken> {
    if let Some(params) = make.params() {
        return Ok(params);
    }
    let schema = make.description().schema;
    match schema.pointer("/examples/0") {
        Some(example) => Ok(example.clone()),
        None if required(&schema).is_empty() => Ok(json!({})),
        None => broken!("its schema has required parameters ({}) and no example", required(&schema).join(", ")),
    }
}

/// Rows, bits of the scores, figures and state: all that an answer is.
pub(crate) fn same_bits(a: &Selection, b: &Selection) -> bool {
    bits(a) == bits(b)
}

/// Everything that an answer is, with floats as their bits.
fn bits(selection: &Selection) -> String {
    let scores: Vec<u64> = selection.scores.iter().map(|score| score.to_bits()).collect();
    let figures: Vec<(&str, u64)> =
        selection.diagnostics.iter().map(|(name, value)| (name.as_str(), value.to_bits())).collect();
    format!("{:?} {scores:?} {figures:?} {:?}", selection.rows, selection.state)
}

/// SHA-256 over the answers to fixed questions, in hex: the same in every process and on every machine.
///
/// # Errors
/// If a question has no answer.
pub fn digest(make: &dyn Make) -> Result<String, Broken> {
    let params = least_params(make)?;
    let mut hash = Sha256::new();
    for (values, seed, round) in [(Shape::Clustered, 3, 0), (Shape::Random, 8, 2), (Shape::Duplicates, 3, 1)] {
        let mut strategy = made(make, &params)?;
        let arrays = arrays(Pool { values, ..Pool::default() }, &*strategy)?;
        let question = seeded(&arrays, 30, seed).in_round(Round(round));
        let answer = question.picks(&mut *strategy, &format!("{values:?}, seed {seed}, round {round}"))?;
        hash.update(bits(&answer));
    }
    Ok(hex(&hash.finalize()))
}
