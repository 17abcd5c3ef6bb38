//! What a round trains on, put on the device.

use querist_core::{Label, LearnError, SampleId, Synthetic};
use tch::{TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;

const DOING: &str = "training";

/// The labelled set on the device, ids and labels both `i64 [samples]`; synthetic images go on after its last sample.
pub(crate) struct LabelledSet {
    pub(crate) ids: Tensor,
    pub(crate) labels: Tensor,
    /// `f32 [synthetic, channels, height, width]`, where there are any.
    pub(crate) synthetic: Option<Tensor>,
    pub(crate) len: usize,
    /// The ids of images to read for each, where images are read from a file; for a synthetic one any.
    rows: Vec<i64>,
}

impl LabelledSet {
    pub(crate) fn new(
        images: &ImageStore,
        labelled: &[(SampleId, Label)],
        synthetic: &[Synthetic],
    ) -> Result<Self, LearnError> {
        let all = labelled.iter().map(|(_, label)| label).chain(synthetic.iter().map(|image| &image.label));
        let labels: Vec<i64> = all.map(|label| i64::from(label.0)).collect();
        let ids = images.index(labelled.iter().map(|&(sample, _)| sample))?;
        let last = images.first_synthetic() - 1;
        let real = labelled.iter().map(|(sample, _)| sample.0 as i64);
        let rows = real.chain(synthetic.iter().map(|_| last)).filter(|_| images.is_read()).collect();
        let on_device = |tensor: Result<Tensor, TchError>| tensor.and_then(|t| t.f_to_device(images.device()));
        let first = images.first_synthetic();
        let made = (first..first + synthetic.len() as i64).collect::<Vec<_>>();
        Ok(Self {
            ids: on_device(Tensor::f_from_slice(&made)).and_then(|made| Tensor::f_cat(&[ids, made], 0)).doing(DOING)?,
            labels: on_device(Tensor::f_from_slice(&labels)).doing(DOING)?,
            synthetic: images.upload_synthetic(synthetic)?,
            len: labels.len(),
            rows,
        })
    }

    /// Ids of images to read for these positions; empty where none are read.
    pub(crate) fn rows_at(&self, order: &[i64]) -> Vec<i64> {
        if self.rows.is_empty() { Vec::new() } else { order.iter().map(|&at| self.rows[at as usize]).collect() }
    }
}
