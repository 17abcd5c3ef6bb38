//! Covering with a radius for each label, traded for margin as competence grows.
//!
//! Labels that joined since the last round get the largest radius whose ball is pure enough: a share of its rows are
//! predicted as the centre's true class. Coverage is the share of rows within some label's own radius, and competence a
//! logistic function of it. Each pick is the row with the largest sum of competence times 1 - margin and
//! (1 - competence) times the number of rows its ball would newly cover, both scaled to [0, 1] at every step.

use std::collections::BTreeMap;

use querist_sdk::Range;
use querist_sdk::prelude::*;

use crate::cover::{Cover, mark_within};
use crate::radius::{Radius, estimate};

/// Purity that an estimated initial radius aims at.
const ALPHA: f64 = 0.95;

params! {
    /// Parameters of DCoM.
    #[schemars(extend("examples" = [{}, {"initial_delta": "estimate", "max_delta": 0.5, "a": 0.1, "k": 5.0}]))]
    pub struct Dcom {
        /// Radius of labels that have none yet, or `estimate`.
        pub initial_delta: Radius = Radius::Given(0.6),
        /// Largest radius of a label.
        #[schemars(range(min = 0.0, max = 2.0))]
        pub max_delta: f64 = 1.1,
        /// The search for a radius ends when it is known this well.
        #[schemars(range(min = 0.0, max = 2.0))]
        pub delta_resolution: f64 = 0.05,
        /// How sharply competence rises with coverage.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub k: f64 = 50.0,
        /// Coverage at which competence is about one half.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub a: f64 = 0.8,
    }
}

impl Strategy for Dcom {
    const ID: &'static str = "dcom";
    const SUMMARY: &'static str = "Samples that cover most at first and have the smallest margins once much is covered";
    const PAPER: &'static str = "Mishal and Weinshall, DCoM: Active Learning for All Learners, 2024";
    const COST: &'static str = "O(A^2 D) time for the graph; memory for its edges.";
    const ALIASES: &'static [&'static str] = &["DCoM"];

    fn needs(&self) -> Vec<Need> {
        Need::all([
            names::LOGITS,
            "labelled.logits",
            names::FIXED_EMBEDDINGS,
            "labelled.fixed_embeddings",
            names::LABELLED_LABELS,
        ])
    }

    fn check(&self) -> Result<(), String> {
        self.initial_delta.check("initial_delta")?;
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        if !above_0(self.max_delta) || !above_0(self.delta_resolution) || self.delta_resolution >= self.max_delta {
            return Err(format!(
                "max_delta is {} and delta_resolution {}, but both must be above 0 and the resolution the smaller one",
                self.max_delta, self.delta_resolution
            ));
        }
        if !above_0(self.k) {
            return Err(format!("k is {}, but it must be a number above 0", self.k));
        }
        if !(self.a > 0.0 && self.a < 1.0) {
            return Err(format!("a is {}, but it must lie between 0 and 1", self.a));
        }
        Ok(())
    }
}

impl Selector for Dcom {
    fn select(&self, query: &Query) -> Result<Selection> {
        let pool = query.matrix(names::FIXED_EMBEDDINGS)?.normalise()?;
        let labelled = query.matrix("labelled.fixed_embeddings")?.normalise()?;
        let all = pool.stack(&labelled)?;
        let radii = self.radii(query, &all, &labelled)?;
        let covered = covered(&all, &labelled, &radii.values)?;
        let coverage = share(&covered);
        let competence = self.competence(coverage);
        let radius = radii.mean();
        let margin = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?.0.to_vec()?;
        let mut unsure = scaled_margins(query, margin)?;
        let mut cover = Cover::new(&pool, radius, covered[..query.rows() as usize].to_vec())?;
        let mut is_picked = vec![false; query.rows() as usize];
        let mut picks = query.picks()?;
        while picks.missing() > 0 {
            let has_others = query.labelled_rows() > 0 || !picks.is_empty();
            let (e, r) = (scaling(&unsure, has_others), scaling(cover.degrees(), has_others));
            let mut best = (0.0, None);
            for (row, _) in is_picked.iter().enumerate().filter(|(_, picked)| !**picked) {
                let score =
                    competence * e.place(unsure[row], 0.0) + (1.0 - competence) * r.place(cover.degrees()[row], 0.0);
                if score > best.0 {
                    best = (score, Some(row));
                }
            }
            let (score, Some(row)) = best else { break };
            picks.take(row as u32, score)?;
            is_picked[row] = true;
            unsure[row] = 0.0;
            cover.add(row as u32)?;
        }
        for (name, value) in [("coverage", coverage), ("competence", competence), ("mean_delta", radius)] {
            picks.note(name, value);
        }
        picks.keep(Some(radii.remember()));
        picks.fill_at_random()
    }
}

impl Dcom {
    /// The radius of every label: known ones from the state, new ones from the purity of their balls.
    fn radii(&self, query: &Query, all: &Matrix, labelled: &Matrix) -> Result<Radii> {
        let known = Remembered::of(query.state())?;
        let ids = query.labelled_ids()?;
        let first = match (known.mean, self.initial_delta) {
            (Some(mean), _) => mean,
            (None, Radius::Given(radius)) => radius,
            (None, Radius::Estimated(_)) => estimate(query, all, ALPHA)?,
        };
        let mut radii = Radii { values: Vec::with_capacity(ids.len()), ids, first };
        radii.values.extend(radii.ids.iter().map(|id| known.radii.get(id).copied().unwrap_or(first)));
        if radii.ids.iter().all(|id| known.radii.contains_key(id)) {
            return Ok(radii);
        }
        let purity = 0.4 + 0.2 * share(&covered(all, labelled, &radii.values)?);
        let predicted = [query.matrix(names::LOGITS)?.argmax()?, query.matrix("labelled.logits")?.argmax()?];
        let predicted = predicted.concat();
        let labels = query.labelled_labels()?;
        for (at, &label) in labels.iter().enumerate() {
            if known.radii.contains_key(&radii.ids[at]) {
                continue;
            }
            let centre = labelled.gather(&[at as u32])?;
            let distances = all.distance_reduce(&centre, Metric::Euclidean, Reduction::Min)?.to_vec()?;
            radii.values[at] = self.pure_radius(purity, &distances, |row| predicted[row] == label);
            query.progress(at as u64, labels.len() as u64)?;
        }
        Ok(radii)
    }

    /// The largest radius, to the resolution, whose ball has at least this share of rows that agree with its centre:
    /// the middle of where it may lie, as the authors take it.
    fn pure_radius(&self, purity: f64, distances: &[f64], agrees: impl Fn(usize) -> bool) -> f64 {
        let is_pure = |radius: f64| {
            let ball = || (0..distances.len()).filter(|&row| distances[row] < radius);
            let (size, pure) = (ball().count(), ball().filter(|&row| agrees(row)).count());
            size > 0 && pure as f64 / size as f64 >= purity
        };
        let (mut low, mut high) = (0.0, self.max_delta);
        while high - low > self.delta_resolution {
            let middle = (low + high) / 2.0;
            if is_pure(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        to_hundredths((low + high) / 2.0)
    }

    fn competence(&self, coverage: f64) -> f64 {
        let logistic = |at: f64| 1.0 + math::exp(-self.k * (at - self.a));
        (logistic(1.0) / logistic(coverage) * 1000.0).round() / 1000.0
    }
}

fn to_hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn share(marks: &[bool]) -> f64 {
    marks.iter().filter(|&&mark| mark).count() as f64 / marks.len().max(1) as f64
}

/// Rows within the own radius of some label.
fn covered(all: &Matrix, labelled: &Matrix, radii: &[f64]) -> Result<Vec<bool>> {
    // Radii are hundredths mostly, so few differ.
    let mut by_radius: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (row, radius) in radii.iter().enumerate() {
        by_radius.entry(radius.to_bits()).or_default().push(row as u32);
    }
    let mut marks = vec![false; all.shape()?.0 as usize];
    for (radius, rows) in by_radius {
        mark_within(all, &labelled.gather(&rows)?, f64::from_bits(radius), &mut marks)?;
    }
    Ok(marks)
}

/// 1 - margin of the pool rows, scaled to [0, 1] over all rows, labelled ones included. `margin` is negated.
fn scaled_margins(query: &Query, margin: Vec<f64>) -> Result<Vec<f64>> {
    let labelled = match query.labelled_rows() {
        0 => Vec::new(),
        _ => query.matrix("labelled.logits")?.uncertainty(Uncertainty::Margin)?.0.to_vec()?,
    };
    let range = Range::of(margin.iter().chain(&labelled));
    Ok(margin.into_iter().map(|value| range.place(value, 0.0)).collect())
}

/// The range of pool values, and of 0 where there are labelled or picked rows, which count as 0.
fn scaling(values: &[f64], has_others: bool) -> Range {
    Range::of(values.iter().chain(has_others.then_some(&0.0)))
}

/// The radius of every label.
struct Radii {
    ids: Vec<u64>,
    values: Vec<f64>,
    /// The radius where there are no labels.
    first: f64,
}

impl Radii {
    fn mean(&self) -> f64 {
        if self.values.is_empty() {
            return self.first;
        }
        self.values.iter().fold(0.0, |sum, radius| sum + radius) / self.values.len() as f64
    }

    /// The state: the radius of labels to come, then the id and radius of every label.
    fn remember(&self) -> Vec<u8> {
        let mut state = to_hundredths(self.mean()).to_le_bytes().to_vec();
        for (id, radius) in self.ids.iter().zip(&self.values) {
            state.extend(id.to_le_bytes());
            state.extend(radius.to_le_bytes());
        }
        state
    }
}

/// What was known after the last round.
#[derive(Default)]
struct Remembered {
    mean: Option<f64>,
    radii: BTreeMap<u64, f64>,
}

impl Remembered {
    fn of(state: Option<&[u8]>) -> Result<Self> {
        let Some(state) = state else { return Ok(Self::default()) };
        let broken = || {
            let message = format!("the state of {} bytes is no mean radius followed by ids and radii", state.len());
            StrategyError::Failed(message)
        };
        let (mean, entries) = state.split_first_chunk::<8>().ok_or_else(broken)?;
        let (entries, []) = entries.as_chunks::<16>() else { return Err(broken()) };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let radius = |bits: u64| Some(f64::from_bits(bits)).filter(|radius| (0.0..=2.0).contains(radius));
        let mut radii = BTreeMap::new();
        for entry in entries {
            radii.insert(number(&entry[..8]), radius(number(&entry[8..])).ok_or_else(broken)?);
        }
        Ok(Self { mean: Some(radius(number(mean)).ok_or_else(broken)?), radii })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn competence_follows_the_published_table() {
        let dcom = Dcom::default();
        for (coverage, expected) in [(0.7, 0.0067), (0.75, 0.0759), (0.8, 0.5), (0.85, 0.924), (1.0, 1.0), (0.0, 0.0)] {
            assert!((dcom.competence(coverage) - expected).abs() <= 5.5e-4, "coverage {coverage}");
        }
    }

    #[test]
    fn a_radius_ends_where_its_ball_stops_being_pure() {
        let dcom = Dcom::default();
        // Rows at 0, .1, ... 1.0; those nearer than .35 agree: a ball of n rows has 4 that do.
        let distances: Vec<f64> = (0..11).map(|i| f64::from(i) / 10.0).collect();
        for (purity, limit) in [(1.0, 0.4), (0.8, 0.5), (0.6, 0.6), (0.5, 0.8), (0.4, 1.0)] {
            let radius = dcom.pure_radius(purity, &distances, |row| distances[row] < 0.35);
            // The last radius that was tried lies within one step of the limit, on either side.
            assert!((radius - limit).abs() <= 0.05 + 0.005, "purity {purity}: {radius}, limit {limit}");
            assert_eq!(radius, to_hundredths(radius));
        }
        assert!(dcom.pure_radius(0.4, &[0.0], |_| false) < 0.05, "a centre that is mispredicted itself");
    }

    #[test]
    fn a_state_survives_its_bytes() {
        let radii = Radii { ids: vec![3, u64::MAX], values: vec![0.25, 1.1], first: 0.6 };
        let back = Remembered::of(Some(&radii.remember())).unwrap();
        assert_eq!(back.mean, Some(0.68));
        assert_eq!(back.radii, BTreeMap::from([(3, 0.25), (u64::MAX, 1.1)]));
        for broken in [&[][..], &[0; 7], &[0; 9], &[0xFF; 8]] {
            assert!(Remembered::of(Some(broken)).is_err(), "{broken:?}");
        }
    }
}
