//! Questions to a strategy with arrays written out by hand.

use std::collections::BTreeMap;

use querist_core::{Array, Arrays, Round, Seeds, Strategy};
use querist_protocol::Selection;
use querist_protocol::philox::Stream;
use querist_sdk::Package;
use serde_json::{Value, json};

use crate::native::Native;

/// A question to the native build of a strategy.
#[derive(Clone)]
pub struct Question<'a> {
    /// The package that has the strategy.
    pub package: &'static Package,
    /// Its id.
    pub id: &'a str,
    /// Its parameters.
    pub params: Value,
    /// Samples to ask for.
    pub batch: usize,
    /// Root seed.
    pub seed: u64,
    /// Round of the run.
    pub round: u32,
    /// What the strategy kept in the round before.
    pub state: Option<Vec<u8>>,
    /// Threads of the kernels.
    pub threads: usize,
}

impl<'a> Question<'a> {
    /// A question with default parameters, in round 0 of seed 1.
    pub fn new(package: &'static Package, id: &'a str, batch: usize) -> Self {
        Self { package, id, params: json!({}), batch, seed: 1, round: 0, state: None, threads: 1 }
    }

    /// The same question under other parameters.
    #[must_use]
    pub fn with(mut self, params: Value) -> Self {
        self.params = params;
        self
    }

    /// The answer, which keeps the contract.
    ///
    /// # Errors
    /// If the strategy refuses the parameters or gives no answer.
    ///
    /// # Panics
    /// If the answer breaks the contract.
    pub fn try_ask(&self, arrays: &Arrays) -> Result<Selection, String> {
        let mut strategy = Native::new(self.package, self.id, &self.params, self.threads).map_err(|e| e.to_string())?;
        let question = querist_core::Question::new(arrays, self.batch)
            .in_round(Round(self.round))
            .with_seeds(Seeds::new(self.seed))
            .with_state(self.state.as_deref());
        let selection = strategy.answer(&question).map_err(|error| error.to_string())?.selection;
        if let Err(broken) = question.check(&selection) {
            panic!("`{}` {} broke its contract: {broken}", self.id, self.params);
        }
        Ok(selection)
    }

    /// [`Question::try_ask`] where an answer is certain.
    ///
    /// # Panics
    /// If there is none, or it breaks the contract.
    pub fn ask(&self, arrays: &Arrays) -> Selection {
        self.try_ask(arrays).unwrap_or_else(|error| panic!("`{}` {}: {error}", self.id, self.params))
    }
}

/// The arrays of a query. Pool ids and labelled ids lie between each other and have gaps.
///
/// # Panics
/// If the arrays do not fit each other.
pub fn arrays<const K: usize>(rows: usize, labelled: usize, classes: usize, named: [(&str, Array); K]) -> Arrays {
    let ids: Vec<u64> = (0..rows as u64).map(|row| 3 * row + 7).collect();
    let labelled_ids: Vec<u64> = (0..labelled as u64).map(|row| 3 * row + 8).collect();
    let named: BTreeMap<String, Array> = named.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    Arrays::new(ids, labelled_ids, classes, named).expect("the arrays fit each other")
}

/// A matrix from its rows, which have `columns` values each.
///
/// # Panics
/// If a row has another length.
pub fn matrix(columns: usize, rows: &[Vec<f32>]) -> Array {
    assert!(rows.iter().all(|row| row.len() == columns), "every row has {columns} values");
    Array::f32(vec![rows.len(), columns], rows.concat()).expect("sizes fit")
}

/// Rows of independent values between -`size` and `size`, the same for the same `seed`.
pub fn noise(rows: usize, columns: usize, size: f64, seed: u64) -> Vec<Vec<f32>> {
    let mut numbers = Stream::new(seed, 0);
    let mut value = || ((numbers.next_uniform() * 2.0 - 1.0) * size) as f32;
    (0..rows).map(|_| (0..columns).map(|_| value()).collect()).collect()
}

/// A named figure of an answer.
///
/// # Panics
/// If the answer does not have it.
pub fn figure(selection: &Selection, name: &str) -> f64 {
    let found = selection.diagnostics.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no `{name}` among {:?}", selection.diagnostics)).1
}
