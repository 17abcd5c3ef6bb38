//! What is found of single rows, on its way into files of parts and out of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use querist_core::{Pairs, RowSource, Tally};

/// What a kernel made of the rows of an array: the array, then the kernel.
pub type Measure = (String, String);

/// Scores with what breaks ties between them.
pub type Scores = (Vec<f64>, Option<Vec<f64>>);

/// Writes down what it is told.
#[derive(Debug, Default)]
pub struct Recorder {
    scores: Mutex<Option<Scores>>,
    measures: Mutex<BTreeMap<Measure, Pairs>>,
}

impl Recorder {
    /// The scores of the rows that rank first, in their order.
    pub fn scores(&self) -> Option<Scores> {
        lock(&self.scores).take()
    }

    /// What kernels made of rows.
    pub fn measures(&self) -> BTreeMap<Measure, Pairs> {
        std::mem::take(&mut *lock(&self.measures))
    }
}

impl Tally for Recorder {
    fn scored(&self, first: &[u32], scores: &[f64], second: Option<&[f64]>) {
        let of = |values: &[f64]| first.iter().map(|&row| values[row as usize]).collect();
        *lock(&self.scores) = Some((of(scores), second.map(of)));
    }

    fn measured(&self, array: &str, measure: &str, first: &[f64], second: &[f64]) {
        let key = (array.to_owned(), measure.to_owned());
        lock(&self.measures).insert(key, (first.to_vec(), second.to_vec()));
    }

    fn known(&self, _: &str, _: &str) -> Option<Pairs> {
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Knows what the parts hold.
#[derive(Debug)]
pub struct Known(pub BTreeMap<Measure, Pairs>);

impl Tally for Known {
    fn scored(&self, _: &[u32], _: &[f64], _: Option<&[f64]>) {}

    fn measured(&self, _: &str, _: &str, _: &[f64], _: &[f64]) {}

    fn known(&self, array: &str, measure: &str) -> Option<Pairs> {
        self.0.get(&(array.to_owned(), measure.to_owned())).cloned()
    }
}

/// Rows of an array whose values stayed where the parts were scored.
#[derive(Debug)]
pub struct Elsewhere {
    /// The array.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
}

impl RowSource for Elsewhere {
    fn rows(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, _: usize, _: &mut [f32]) -> Result<(), String> {
        Err(format!(
            "the parts hold what was found of each row, and not the values of `{}`, which this strategy looks at: ask \
             it with `querist select` and the same shards",
            self.name
        ))
    }

    fn place(&self, row: usize) -> String {
        format!("row {row}")
    }
}
