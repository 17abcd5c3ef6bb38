//! Samples that a small perturbation moves to another class: those nearest to the boundaries of the task's model.
//!
//! - `adversarial-deepfool` walks each image to the nearest boundary of the model's linear form around it, step by
//!   step. Ducoffe and Precioso, "Adversarial Active Learning for Deep Networks: a Margin Based Approach", 2018 (arXiv
//!   1802.09841); Moosavi-Dezfooli et al., "DeepFool", CVPR 2016.
//! - `adversarial-bim` moves all values by a fixed step along the sign of the loss's gradient. Kurakin et al.,
//!   "Adversarial Examples in the Physical World", 2016 (arXiv 1607.02533).
//!
//! All images of a batch walk at once; an image whose class has changed leaves the batch.

// More than 150 lines: it holds two strategies, whose attacks run on batches of images that leave one by one.
#![deny(missing_docs)]

mod attack;
mod bim;
mod deepfool;

pub use attack::{Boundary, Classify, DeepFool, GoOn, Iterative, Moved};
pub use bim::{AdversarialBim, AdversarialBimParams};
pub use deepfool::{AdversarialDeepfool, AdversarialDeepfoolParams, Units};
use querist_sdk_torch::prelude::*;

/// The task's model in eval mode.
fn classify(round: &Round) -> impl Fn(&Tensor, bool) -> Result<Tensor> {
    move |images, on_graph| {
        let pass = round.forward(images);
        Ok(if on_graph { pass.grad() } else { pass }.run()?.logits)
    }
}

/// A candidate with what it is ranked by.
struct Candidate {
    row: u32,
    moved: Moved,
    /// Breaks ties: smaller ranks first.
    second: f64,
}

/// Attacks rows of the pool, a batch at a time: `attack` gets images and is to say how far they moved, with what breaks
/// ties.
fn candidates(
    round: &Round,
    rows: &[u32],
    batch: u32,
    mut attack: impl FnMut(&Tensor, GoOn<'_>) -> Result<Vec<(Moved, f64)>>,
) -> Result<Vec<Candidate>> {
    if round.task().classes < 2 {
        return Err(Error::failed("the task has one class, so there is no boundary to walk to"));
    }
    let mut pace = Pace::new("images", "a lower `subset_size` or `max_iter`", rows.len() as u64);
    let mut found = Vec::with_capacity(rows.len());
    let stream = round.images(Of::Rows(rows)).batch(batch).open()?;
    while let Some(batch) = stream.next(round)? {
        let done = found.len() as u64;
        let moved = attack(&batch.images, &mut || pace.report(round, done))?;
        let rows = &rows[found.len()..];
        found.extend(rows.iter().zip(moved).map(|(&row, (moved, second))| Candidate { row, moved, second }));
    }
    pace.report(round, found.len() as u64)?;
    let flipped = found.iter().filter(|candidate| candidate.moved.flipped).count();
    round.log_metric("flipped", flipped as f64 / found.len().max(1) as f64)?;
    Ok(found)
}

/// The `wanted` candidates that moved least, those that never changed class after all that did. A score is minus the
/// length, and below all lengths of the others for one that did not change.
fn nearest(mut candidates: Vec<Candidate>, wanted: u32) -> Result<Selection> {
    let farthest = candidates.iter().filter(|c| c.moved.flipped).map(|c| c.moved.length).fold(0.0, f64::max);
    for candidate in candidates.iter_mut().filter(|candidate| !candidate.moved.flipped) {
        candidate.moved.length += farthest;
    }
    if let Some(candidate) = candidates.iter().find(|c| !c.moved.length.is_finite() || c.second.is_nan()) {
        let (row, length) = (candidate.row, candidate.moved.length);
        return Err(Error::failed(format!(
            "row {row} moved by {length}: the task's model has logits or gradients that are not finite"
        )));
    }
    candidates.sort_by(|a, b| {
        let by_length = b.moved.flipped.cmp(&a.moved.flipped).then(a.moved.length.total_cmp(&b.moved.length));
        by_length.then(a.second.total_cmp(&b.second)).then(a.row.cmp(&b.row))
    });
    candidates.truncate(wanted as usize);
    Ok(Selection {
        rows: candidates.iter().map(|candidate| candidate.row).collect(),
        scores: candidates.iter().map(|candidate| -candidate.moved.length).collect(),
        ..Selection::default()
    })
}

torch_package!(AdversarialDeepfool, AdversarialBim);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_never_changed_class_come_last_and_ties_go_by_margin() {
        let candidate = |row, length, flipped, second| Candidate { row, moved: Moved { length, flipped }, second };
        let all = || {
            vec![
                candidate(0, 0.1, false, 0.0),
                candidate(1, 4.0, true, 0.2),
                candidate(2, 2.0, true, 0.9),
                candidate(3, 4.0, true, 0.1),
                candidate(4, 0.0, false, 0.0),
            ]
        };
        let picked = nearest(all(), 5).unwrap();
        assert_eq!(picked.rows, [2, 3, 1, 4, 0]);
        assert_eq!(picked.scores, [-2.0, -4.0, -4.0, -4.0, -4.1]);
        let mut broken = all();
        broken[1].moved.length = f64::NAN;
        assert!(nearest(broken, 2).unwrap_err().to_string().contains("row 1"));
    }
}
