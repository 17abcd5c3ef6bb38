//! Embeddings that do not come from the task model and do not change from round to round.

use std::collections::BTreeMap;

use crate::array::{Array, ArrayError, Buffer, first_non_finite};
use crate::ids::SampleId;

/// Embeddings from a file or a frozen model, one row a sample.
#[derive(Debug, Clone)]
pub struct FixedEmbeddings {
    values: Buffer<f32>,
    width: usize,
    /// The row of each sample where rows do not just follow the samples.
    rows: Option<BTreeMap<SampleId, usize>>,
}

impl FixedEmbeddings {
    /// Takes `array`, `f32 [rows, width]`, for a dataset of `samples` samples. Row i is of sample i, or of sample
    /// `ids[i]`; every sample of `needed` has a row.
    ///
    /// # Errors
    /// If the shape does not fit, a value is not finite, an id is no sample's or comes twice, or a row is missing.
    pub fn new(array: &Array, ids: Option<&[u64]>, samples: usize, needed: &[SampleId]) -> Result<Self, FixedError> {
        let (Some(values), &[found, width]) = (array.as_f32(), array.shape()) else {
            return Err(FixedError::Shape { found: format!("{} {:?}", array.values().type_name(), array.shape()) });
        };
        let expected = ids.map_or(samples, <[u64]>::len);
        if found != expected || width == 0 {
            let of = if ids.is_some() { "ids" } else { "samples of the dataset" };
            return Err(FixedError::Rows { found, width, expected, of });
        }
        if let Some(at) = first_non_finite(values) {
            return Err(FixedError::NotFinite { row: at / width, value: values[at] });
        }
        let rows = ids.map(|ids| numbered(ids, samples)).transpose()?;
        if let Some(rows) = &rows
            && let Some(sample) = needed.iter().find(|sample| !rows.contains_key(sample))
        {
            return Err(FixedError::Missing { sample: sample.0 });
        }
        Ok(Self { values: values.clone(), width, rows })
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The embeddings of some samples, `[samples, width]`.
    ///
    /// # Errors
    /// If a sample has no row.
    pub fn of(&self, samples: &[SampleId]) -> Result<Array, FixedError> {
        let mut values = Vec::with_capacity(samples.len() * self.width);
        for sample in samples {
            let missing = || FixedError::Missing { sample: sample.0 };
            let row = match &self.rows {
                Some(rows) => *rows.get(sample).ok_or_else(missing)?,
                None => sample.index(),
            };
            values.extend_from_slice(self.values.get(row * self.width..(row + 1) * self.width).ok_or_else(missing)?);
        }
        Array::f32(vec![samples.len(), self.width], values).map_err(FixedError::Array)
    }
}

fn numbered(ids: &[u64], samples: usize) -> Result<BTreeMap<SampleId, usize>, FixedError> {
    let mut rows = BTreeMap::new();
    for (row, &id) in ids.iter().enumerate() {
        if id >= samples as u64 {
            return Err(FixedError::Unknown { row, id, samples });
        }
        if let Some(first) = rows.insert(SampleId(id), row) {
            return Err(FixedError::Twice { id, first, second: row });
        }
    }
    Ok(rows)
}

/// Fixed embeddings that do not fit the dataset.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum FixedError {
    #[error("fixed embeddings are {found}, expected f32 [rows, width]")]
    Shape { found: String },
    #[error(
        "fixed embeddings are [{found}, {width}], expected [{expected}, width of 1 or more]: one row for each of the \
         {of}"
    )]
    Rows { found: usize, width: usize, expected: usize, of: &'static str },
    #[error("fixed embeddings hold {value} in row {row}; every value must be finite")]
    NotFinite { row: usize, value: f32 },
    #[error(
        "the ids of fixed embeddings hold {id} in row {row}, but the dataset has samples 0 to {}",
        *samples as i64 - 1
    )]
    Unknown { row: usize, id: u64, samples: usize },
    #[error("the ids of fixed embeddings hold {id} in rows {first} and {second}; each sample has one row")]
    Twice { id: u64, first: usize, second: usize },
    #[error("fixed embeddings have no row for sample {sample}")]
    Missing { sample: u64 },
    #[error(transparent)]
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
        let plain = FixedEmbeddings::new(&three, None, 3, &[SampleId(2)]).unwrap();
        let of = |fixed: &FixedEmbeddings, ids: &[u64]| {
            let samples: Vec<SampleId> = ids.iter().copied().map(SampleId).collect();
            fixed.of(&samples).map(|array| array.as_f32().unwrap().to_vec())
        };
        assert_eq!(of(&plain, &[2, 0]).unwrap(), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(of(&plain, &[3]), Err(FixedError::Missing { sample: 3 }));
        let numbered = FixedEmbeddings::new(&three, Some(&[7, 1, 3]), 9, &[SampleId(1), SampleId(7)]).unwrap();
        assert_eq!(of(&numbered, &[1, 7]).unwrap(), [2.0, 3.0, 0.0, 1.0]);
        assert_eq!(of(&numbered, &[0]), Err(FixedError::Missing { sample: 0 }));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let two = array(&[[0.0, 1.0], [2.0, 3.0]]);
        let new = |array: &Array, ids: Option<&[u64]>, samples, needed: &[SampleId]| {
            FixedEmbeddings::new(array, ids, samples, needed).unwrap_err().to_string()
        };
        assert!(new(&two, None, 3, &[]).contains("[2, 2], expected [3, width"));
        assert!(new(&two, Some(&[1]), 3, &[]).contains("expected [1, width"));
        assert!(new(&two, Some(&[1, 3]), 3, &[]).contains("3 in row 1, but the dataset has samples 0 to 2"));
        assert!(new(&two, Some(&[1, 1]), 3, &[]).contains("1 in rows 0 and 1"));
        assert!(new(&two, Some(&[0, 1]), 3, &[SampleId(2)]).contains("no row for sample 2"));
        assert!(new(&array(&[[0.0, 1.0], [f32::NAN, 3.0]]), None, 2, &[]).contains("NaN in row 1"));
        assert!(new(&Array::labels(vec![1, 2]), None, 2, &[]).contains("u32 [2], expected f32"));
    }
}
