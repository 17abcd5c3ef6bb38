//! Images that a strategy made, to train on beside the labelled samples.

use std::sync::Arc;

use querist_protocol::{Need, names};

use crate::acquisition::Acquisition;
use crate::ids::{Label, SampleId};
use crate::outcome::Outcome;

/// An image that a strategy made of a sample it picked, with that sample's label. Models train on it from the next
/// round on; nothing else sees it: it is no sample, and no figure counts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// What it was made of.
    pub sample: SampleId,
    /// The label that the oracle gave for that sample.
    pub label: Label,
    /// `[channels, height, width]` from black, 0, to white, 255, not rounded; values outside are allowed.
    pub values: Arc<[f32]>,
}

/// One that was handed in by row of the query, before its label is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// Row of the query.
    pub row: u32,
    /// As in [`Synthetic`].
    pub values: Arc<[f32]>,
}

/// What is wrong with images that a strategy handed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// It never asked for the right.
    #[error("it hands in {count} images to train on without the need `{}`", names::SYNTHETIC_IMAGES)]
    Unasked {
        /// How many images.
        count: usize,
    },
    /// An image would have no label.
    #[error("it hands in an image to train on for sample {sample}, which it did not pick")]
    NotPicked {
        /// The sample.
        sample: SampleId,
    },
}

/// An image and the sample that it was made of.
pub(crate) type Made = (SampleId, Arc<[f32]>);

/// The images that were handed in, each with its sample, in pick order.
pub(crate) fn of_picks(
    handed: Vec<Handed>,
    needs: &[Need],
    rows: &[SampleId],
    acquired: &Acquisition,
) -> Result<Vec<Made>, SyntheticError> {
    if !handed.is_empty() && !needs.iter().any(|need| need.name() == names::SYNTHETIC_IMAGES) {
        return Err(SyntheticError::Unasked { count: handed.len() });
    }
    let rank = |sample: SampleId| acquired.ids().iter().position(|&picked| picked == sample);
    let mut ranked = Vec::with_capacity(handed.len());
    for Handed { row, values } in handed {
        let sample = rows[row as usize];
        let rank = rank(sample).ok_or(SyntheticError::NotPicked { sample })?;
        ranked.push((rank, sample, values));
    }
    ranked.sort_by_key(|&(rank, ..)| rank);
    Ok(ranked.into_iter().map(|(_, sample, values)| (sample, values)).collect())
}

/// The images with the labels of their samples; those of samples that have none to train on are left out.
pub(crate) fn labelled(images: Vec<Made>, outcomes: &[(SampleId, Outcome)]) -> Vec<Synthetic> {
    let label = |sample| outcomes.iter().find(|(known, _)| *known == sample).and_then(|(_, outcome)| outcome.label());
    let with_label = |(sample, values)| Some(Synthetic { sample, label: label(sample)?, values });
    images.into_iter().filter_map(with_label).collect()
}

#[cfg(test)]
mod tests {
    use querist_protocol::Selection;

    use super::*;

    #[test]
    fn images_belong_to_picks_and_get_their_labels() {
        let rows: Vec<SampleId> = [10, 20, 30, 40].map(SampleId).to_vec();
        let ids: Vec<u64> = rows.iter().map(|sample| sample.0).collect();
        let selection = Selection { rows: vec![3, 0, 2], ..Selection::default() };
        let acquired = Acquisition::check(&selection, &ids, 3).unwrap();
        let image = |row: u32| Handed { row, values: vec![row as f32].into() };
        let may = [Need::new(names::SYNTHETIC_IMAGES)];
        let found = of_picks(vec![image(2), image(3)], &may, &rows, &acquired).unwrap();
        let labels: Vec<(SampleId, Outcome)> =
            acquired.ids().iter().copied().zip([7, 8, 9].map(|label| Outcome::Label(Label(label)))).collect();
        let made = labelled(found, &labels);
        let facts: Vec<(u64, u32, f32)> = made.iter().map(|m| (m.sample.0, m.label.0, m.values[0])).collect();
        assert_eq!(facts, [(40, 7, 3.0), (30, 9, 2.0)], "in pick order");
        assert_eq!(
            of_picks(vec![image(1)], &may, &rows, &acquired),
            Err(SyntheticError::NotPicked { sample: SampleId(20) })
        );
        let other = [Need::new(names::IMAGES)];
        assert_eq!(of_picks(vec![image(3)], &other, &rows, &acquired), Err(SyntheticError::Unasked { count: 1 }));
        assert_eq!(of_picks(vec![], &other, &rows, &acquired), Ok(vec![]));
    }
}
