//! Arrays that do not come from the task model and do not change from round to round.

use std::collections::BTreeMap;

use querist_protocol::{ArrayKind, Rows as RowsOf};

use crate::array::{Array, ArrayError, Buffer};
use crate::far::first_non_finite;
use crate::ids::SampleId;

/// The arrays that a run has beside those of its model, by name.
pub type FixedArrays = BTreeMap<String, FixedArray>;

/// An array from a file or a frozen model: one row a sample, or rows that the user points at.
#[derive(Debug, Clone)]
pub struct FixedArray {
    name: String,
    values: Buffer<f32>,
    width: usize,
    rows: Rows,
}

/// Whose the rows of an array are.
#[derive(Debug, Clone)]
enum Rows {
    /// Of the samples in their order.
    Samples,
    /// Of samples with these ids.
    Numbered(BTreeMap<SampleId, usize>),
    /// Of nobody: every question has them all.
    Pointed,
}

impl FixedArray {
    /// Takes `array`, `f32 [rows, width]`, for a dataset of `samples` samples. Row i is of sample i, or of sample
    /// `ids[i]`; every sample of `needed` has a row. `query.NAME` has any number of rows, which are of no sample.
    ///
    /// # Errors
    /// If the shape does not fit, a value is not finite, an id is no sample's or comes twice, or a row is missing.
    pub fn new(
        name: &str,
        array: &Array,
        ids: Option<&[u64]>,
        samples: usize,
        needed: &[SampleId],
    ) -> Result<Self, FixedError> {
        let wrong = |fault| FixedError { name: name.to_owned(), fault };
        let (Some(values), &[found, width]) = (array.as_f32(), array.shape()) else {
            let found = format!("{} {:?}", array.values().type_name(), array.shape());
            return Err(wrong(FixedFault::Shape { found }));
        };
        let is_pointed = ArrayKind::of(name).is_some_and(|(kind, _)| kind.rows == RowsOf::Pointed);
        let (expected, of) = match ids {
            _ if is_pointed => (found.max(1), "rows that are pointed at"),
            Some(ids) => (ids.len(), "ids"),
            None => (samples, "samples of the dataset"),
        };
        if found != expected || width == 0 {
            return Err(wrong(FixedFault::Rows { found, width, expected, of }));
        }
        if let Some(at) = first_non_finite(values) {
            return Err(wrong(FixedFault::NotFinite { row: at / width, value: values[at] }));
        }
        let rows = match ids {
            _ if is_pointed => Rows::Pointed,
            Some(ids) => Rows::Numbered(numbered(ids, samples).map_err(wrong)?),
            None => Rows::Samples,
        };
        if let Rows::Numbered(rows) = &rows
            && let Some(sample) = needed.iter().find(|sample| !rows.contains_key(sample))
        {
            return Err(wrong(FixedFault::Missing { sample: sample.0 }));
        }
        Ok(Self { name: name.to_owned(), values: values.clone(), width, rows })
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows of some samples, `[samples, width]`; all where they are of no sample.
    ///
    /// # Errors
    /// If a sample has no row.
    pub fn of(&self, samples: &[SampleId]) -> Result<Array, FixedError> {
        let wrong = |fault| FixedError { name: self.name.clone(), fault };
        let array = |rows: usize, values: Buffer<f32>| {
            Array::f32(vec![rows, self.width], values).map_err(|error| wrong(FixedFault::Array(error)))
        };
        if matches!(self.rows, Rows::Pointed) {
            return array(self.values.len() / self.width, self.values.clone());
        }
        let mut values = Vec::with_capacity(samples.len() * self.width);
        for sample in samples {
            let missing = || wrong(FixedFault::Missing { sample: sample.0 });
            let row = match &self.rows {
                Rows::Numbered(rows) => *rows.get(sample).ok_or_else(missing)?,
                Rows::Samples | Rows::Pointed => sample.index(),
            };
            values.extend_from_slice(self.values.get(row * self.width..(row + 1) * self.width).ok_or_else(missing)?);
        }
        array(samples.len(), values.into())
    }
}

fn numbered(ids: &[u64], samples: usize) -> Result<BTreeMap<SampleId, usize>, FixedFault> {
    let mut rows = BTreeMap::new();
    for (row, &id) in ids.iter().enumerate() {
        if id >= samples as u64 {
            return Err(FixedFault::Unknown { row, id, samples });
        }
        if let Some(first) = rows.insert(SampleId(id), row) {
            return Err(FixedFault::Twice { id, first, second: row });
        }
    }
    Ok(rows)
}

/// An array that does not fit the dataset.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{name}` {fault}")]
pub struct FixedError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub fault: FixedFault,
}

/// What is wrong with an array.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum FixedFault {
    #[error("is {found}, expected f32 [rows, width]")]
    Shape { found: String },
    #[error("is [{found}, {width}], expected [{expected}, width of 1 or more]: one row for each of the {of}")]
    Rows { found: usize, width: usize, expected: usize, of: &'static str },
    #[error("holds {value} in row {row}; every value must be finite")]
    NotFinite { row: usize, value: f32 },
    #[error("has id {id} in row {row} of its ids, but the dataset has samples 0 to {}", *samples as i64 - 1)]
    Unknown { row: usize, id: u64, samples: usize },
    #[error("has id {id} in rows {first} and {second} of its ids; each sample has one row")]
    Twice { id: u64, first: usize, second: usize },
    #[error("has no row for sample {sample}")]
    Missing { sample: u64 },
    #[error("cannot be cut out: {0}")]
    Array(ArrayError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(rows: &[[f32; 2]]) -> Array {
        Array::f32(vec![rows.len(), 2], rows.concat()).unwrap()
    }

    #[test]
    fn rows_go_to_their_samples() {
        let three = array(&[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]);
        let plain = FixedArray::new("extra.a", &three, None, 3, &[SampleId(2)]).unwrap();
        let missing = |sample| FixedError { name: "extra.a".to_owned(), fault: FixedFault::Missing { sample } };
        let of = |fixed: &FixedArray, ids: &[u64]| {
            let samples: Vec<SampleId> = ids.iter().copied().map(SampleId).collect();
            fixed.of(&samples).map(|array| array.as_f32().unwrap().to_vec())
        };
        assert_eq!(of(&plain, &[2, 0]).unwrap(), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(of(&plain, &[3]), Err(missing(3)));
        let numbered = FixedArray::new("extra.a", &three, Some(&[7, 1, 3]), 9, &[SampleId(1), SampleId(7)]).unwrap();
        assert_eq!(of(&numbered, &[1, 7]).unwrap(), [2.0, 3.0, 0.0, 1.0]);
        assert_eq!(of(&numbered, &[0]), Err(missing(0)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let two = array(&[[0.0, 1.0], [2.0, 3.0]]);
        let new = |array: &Array, ids: Option<&[u64]>, samples, needed: &[SampleId]| {
            FixedArray::new("extra.a", array, ids, samples, needed).unwrap_err().to_string()
        };
        assert!(new(&two, None, 3, &[]).contains("[2, 2], expected [3, width"));
        assert!(new(&two, Some(&[1]), 3, &[]).contains("expected [1, width"));
        assert!(
            new(&two, Some(&[1, 3]), 3, &[]).contains("id 3 in row 1 of its ids, but the dataset has samples 0 to 2")
        );
        assert!(new(&two, Some(&[1, 1]), 3, &[]).contains("id 1 in rows 0 and 1"));
        assert!(new(&two, Some(&[0, 1]), 3, &[SampleId(2)]).contains("no row for sample 2"));
        assert!(new(&array(&[[0.0, 1.0], [f32::NAN, 3.0]]), None, 2, &[]).contains("NaN in row 1"));
        assert!(new(&Array::labels(vec![1, 2]), None, 2, &[]).contains("u32 [2], expected f32"));
    }

    #[test]
    fn rows_that_are_pointed_at_are_of_no_sample() {
        let two = array(&[[0.0, 1.0], [2.0, 3.0]]);
        let pointed = FixedArray::new("query.cats", &two, None, 9, &[SampleId(8)]).unwrap();
        for samples in [&[SampleId(5)][..], &[SampleId(7), SampleId(0), SampleId(1)]] {
            let found = pointed.of(samples).unwrap();
            assert_eq!(
                (found.shape(), found.as_f32().unwrap().to_vec()),
                (two.shape(), two.as_f32().unwrap().to_vec())
            );
        }
        let none = Array::f32(vec![0, 2], Vec::new()).unwrap();
        let error = FixedArray::new("query.cats", &none, None, 9, &[]).unwrap_err().to_string();
        assert!(error.contains("`query.cats` is [0, 2], expected [1, width of 1 or more]"), "{error}");
    }
}
