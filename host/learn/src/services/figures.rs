//! What a plugin hands in beside its answer: figures, and images to train on.

use std::collections::{BTreeMap, BTreeSet};

use querist_core::{Handed, ServiceError};
use querist_protocol::{Shown, abi, is_showable};

use super::tensor::lent;
use super::{Services, TRAINING, refuse};
use crate::parameters;

/// Figures of a round.
const MOST_METRICS: usize = 256;
/// Bytes of a figure's name.
const LONGEST_NAME: usize = 64;

/// Takes a named figure.
pub(super) fn take_figure(metrics: &mut BTreeMap<String, f64>, name: &str, value: f64) -> Result<(), ServiceError> {
    if !(1..=LONGEST_NAME).contains(&name.len()) {
        return refuse(format!("a figure's name has {} bytes, expected 1 to {LONGEST_NAME}", name.len()));
    }
    if !is_showable(name) {
        return refuse(format!("the figure's name `{}` holds characters that cannot be shown", Shown::name(name)));
    }
    if !value.is_finite() {
        return refuse(format!("the figure `{name}` is {value}, expected a finite one"));
    }
    if metrics.len() == MOST_METRICS && !metrics.contains_key(name) {
        return refuse(format!("`{name}` would be figure {}, more than {MOST_METRICS}", MOST_METRICS + 1));
    }
    metrics.insert(name.to_owned(), value);
    Ok(())
}

impl Services<'_> {
    /// # Safety
    /// `images` is null or the address of a live tensor.
    pub(super) unsafe fn take_images(&self, rows: &[u32], images: abi::Tensor) -> Result<(), ServiceError> {
        // SAFETY: promised by the caller.
        let images = unsafe { lent(images) }?;
        self.check("synthetic images", &images, &self.image_shape())?;
        if self.part == TRAINING {
            return refuse("images to train on are handed in inside a query, with the rows that it picks");
        }
        let count = images.size()[0];
        if count != rows.len() as i64 {
            return refuse(format!("{count} synthetic images for {} rows, expected one for each", rows.len()));
        }
        let mut handed = self.synthetic.borrow_mut();
        let (pool, most) = (self.base.scope.pool.len(), self.base.scope.batch.min(self.base.scope.pool.len()));
        if handed.len() + rows.len() > most {
            return refuse(format!(
                "{} synthetic images, more than the {most} samples that the query picks",
                handed.len() + rows.len()
            ));
        }
        let mut seen: BTreeSet<u32> = handed.iter().map(|image| image.row).collect();
        if let Some(row) = rows.iter().find(|&&row| row as usize >= pool || !seen.insert(row)) {
            return refuse(format!("a synthetic image for row {row}, expected distinct rows of a pool of {pool}"));
        }
        let values = self.base.images.denormalise(&images.detach()).or_else(refuse)?;
        let values = parameters::values(&values).or_else(refuse)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let row = rows[at * rows.len() / values.len()];
            return refuse(format!("the synthetic image for row {row} has a value that is {}", values[at]));
        }
        let floats = values.len() / rows.len().max(1);
        let of_row = |(&row, values): (&u32, &[f32])| Handed { row, values: values.into() };
        handed.extend(rows.iter().zip(values.chunks(floats.max(1))).map(of_row));
        Ok(())
    }
}
