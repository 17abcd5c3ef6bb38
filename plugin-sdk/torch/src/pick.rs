//! From scores to a selection.

use querist_protocol::Selection;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// The values of a tensor of floats, row-major, as `f64`. Reads the device.
///
/// # Errors
/// If libtorch fails.
pub fn floats(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.f_detach()?.f_to_kind(Kind::Double)?.f_contiguous()?;
    let mut values = vec![0.0; flat.numel()];
    flat.f_copy_data(&mut values, flat.numel())?;
    Ok(values)
}

/// The `wanted` rows of largest score, in falling order; among equals the lower row first.
///
/// # Errors
/// If a score is not finite, or there are not as many as rows.
pub fn largest(rows: &[u32], scores: &[f64], wanted: u32) -> Result<Selection> {
    if rows.len() != scores.len() {
        return Err(Error::failed(format!("{} scores for {} rows", scores.len(), rows.len())));
    }
    if let Some((row, score)) = rows.iter().zip(scores).find(|(_, score)| !score.is_finite()) {
        return Err(Error::failed(format!("the score of row {row} is {score}; the strategy's own training diverged")));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(rows[a].cmp(&rows[b])));
    order.truncate(wanted as usize);
    Ok(Selection {
        rows: order.iter().map(|&at| rows[at]).collect(),
        scores: order.iter().map(|&at| scores[at]).collect(),
        ..Selection::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_go_to_the_lower_row() {
        let picked = largest(&[7, 2, 9, 4], &[1.0, 3.0, 1.0, 1.0], 3).unwrap();
        assert_eq!((picked.rows, picked.scores), (vec![2, 4, 7], vec![3.0, 1.0, 1.0]));
        assert!(largest(&[1, 2], &[0.0, f64::NAN], 1).unwrap_err().to_string().contains("row 2 is NaN"));
        assert!(largest(&[1, 2], &[0.0], 1).is_err());
    }
}
