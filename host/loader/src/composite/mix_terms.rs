//! What the wishes that do not change from pick to pick make of each row.

use querist_core::{Failure, Query, QueryError, Usage};
use querist_protocol::{Handle, Metric, Reduction, names};

use super::balanced::ranks;
use super::members::{Members, add};
use super::own::{Own, wrong_params};
use crate::package::combine::{Kind, Mix, Scaling, Term};

/// Neighbours that typicality looks at where none are said.
const NEIGHBOURS: u32 = 20;

/// Scores of each `score` term by row; none where they have no weight.
pub(super) type Scores = Vec<Option<Vec<f64>>>;

/// Asks the members for a score of every row.
pub(super) fn scores(mix: &Mix, members: &mut Members, query: &Query<'_>) -> Result<(Scores, Usage), QueryError> {
    let rows = query.arrays.ids().len();
    let (mut scores, mut usage) = (Vec::new(), None);
    for (member, term) in mix.terms.iter().filter(|term| term.member.is_some()).enumerate() {
        if term.weight == 0.0 {
            scores.push(None);
            continue;
        }
        let answer = members.picked(member, query, None, rows)?;
        add(&mut usage, answer.usage);
        let selection = answer.selection;
        if selection.scores.len() != rows || !selection.scores.is_sorted_by(|a, b| a >= b) {
            let id = &members.strategies[member].identity().id;
            let message = format!("`{id}` gives the pool no order by scores, so it can be no term; choose a scorer");
            return Err(members.failed(wrong_params(message)));
        }
        let mut by_row = vec![0.0; rows];
        selection.rows.iter().zip(selection.scores).for_each(|(&row, score)| by_row[row as usize] = score);
        scores.push(Some(by_row));
    }
    Ok((scores, usage.unwrap_or_default()))
}

/// A term, ready.
pub(super) enum Ready {
    /// Weighted values by row.
    Fixed(Vec<f64>),
    /// This weight times the distance to what is labelled or picked.
    Diversity(f64),
    /// This weight times what the predicted class lacks.
    Classes(f64),
    /// A term without weight.
    Nothing,
}

/// The terms in order.
pub(super) struct Terms {
    pub(super) ready: Vec<Ready>,
}

impl Terms {
    pub(super) fn of(mix: &Mix, own: &Own, query: &Query<'_>, scores: Scores) -> Result<Self, Failure> {
        let mut scores = scores.into_iter();
        let rows = query.arrays.ids().len();
        let one = |term: &Term, scores: Option<Vec<f64>>| {
            Ok(match (term.kind, scores) {
                _ if term.weight == 0.0 => Ready::Nothing,
                (Kind::Diversity, _) => Ready::Diversity(term.weight),
                (Kind::Classes, _) => Ready::Classes(term.weight),
                (Kind::Score, scores) => Ready::Fixed(weighted(term, scores.unwrap_or_default(), Scaling::Rank)),
                (Kind::Toward | Kind::Away, _) => {
                    Ready::Fixed(weighted(term, pointed(mix, own, term)?, Scaling::Minmax))
                }
                (Kind::Typical, _) => Ready::Fixed(weighted(term, typical(mix, own, term, rows)?, Scaling::Minmax)),
            })
        };
        let ready = mix.terms.iter().map(|term| {
            let scores = if term.member.is_some() { scores.next().flatten() } else { None };
            one(term, scores)
        });
        Ok(Self { ready: ready.collect::<Result<_, Failure>>()? })
    }
}

/// Raw values, scaled and weighted.
fn weighted(term: &Term, raw: Vec<f64>, usual: Scaling) -> Vec<f64> {
    let mut values = term.normalise.unwrap_or(usual).of(raw);
    values.iter_mut().for_each(|value| *value *= term.weight);
    values
}

impl Scaling {
    fn of(self, raw: Vec<f64>) -> Vec<f64> {
        let count = raw.len() as f64;
        let scaled = |low: f64, by: f64| -> Vec<f64> {
            raw.iter().map(|value| if by > 0.0 { (value - low) / by } else { 0.0 }).collect()
        };
        match self {
            Self::Rank => {
                let mut order: Vec<usize> = (0..raw.len()).collect();
                order.sort_by(|&a, &b| raw[b].total_cmp(&raw[a]));
                let ranks = ranks(&order.iter().map(|&row| raw[row]).collect::<Vec<_>>());
                let mut by_row = vec![0.0; raw.len()];
                order.into_iter().zip(ranks).for_each(|(row, rank)| by_row[row] = rank);
                by_row
            }
            Self::Minmax => {
                let low = raw.iter().copied().fold(f64::INFINITY, f64::min);
                let high = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                scaled(low, high - low)
            }
            Self::Zscore => {
                let mean = raw.iter().sum::<f64>() / count;
                let square = raw.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
                scaled(mean, square.sqrt())
            }
        }
    }
}

/// Minus the distance to the nearest row that is pointed at, or the distance.
fn pointed(mix: &Mix, own: &Own, term: &Term) -> Result<Vec<f64>, Failure> {
    let name = term.rows.as_deref().unwrap_or_default();
    let (pool, rows) = (own.rows(names::EMBEDDINGS, mix.is_unit())?, own.rows(name, mix.is_unit())?);
    if own.calls().matrix_shape(rows)?.0 == 0 {
        return Err(wrong_params(format!("`{name}` has no rows; expected at least 1")));
    }
    let mut distances = distances(own, pool, rows)?;
    if term.kind == Kind::Toward {
        distances.iter_mut().for_each(|distance| *distance = -*distance);
    }
    [pool, rows].into_iter().for_each(|handle| own.calls().release(handle));
    Ok(distances)
}

/// The distance of each row of a matrix to the nearest of some centres.
pub(super) fn distances(own: &Own, rows: Handle, centres: Handle) -> Result<Vec<f64>, Failure> {
    own.taken(own.calls().distance_reduce(rows, centres, Metric::Euclidean, Reduction::Min)?)
}

/// Minus the mean distance to the nearest other rows.
fn typical(mix: &Mix, own: &Own, term: &Term, rows: usize) -> Result<Vec<f64>, Failure> {
    let neighbours = (term.k.unwrap_or(NEIGHBOURS) as usize).min(rows.saturating_sub(1));
    if neighbours == 0 {
        return Ok(vec![0.0; rows]);
    }
    let pool = own.rows(names::EMBEDDINGS, mix.is_unit())?;
    let mut means = own.taken(own.calls().neighbour_distance(pool, neighbours as u32, Metric::Euclidean)?)?;
    own.calls().release(pool);
    means.iter_mut().for_each(|mean| *mean = -*mean);
    Ok(means)
}

/// Whether distances to what is labelled or picked count.
pub(super) fn looks_at_labelled(mix: &Mix) -> bool {
    mix.min_distance > 0.0 || mix.terms.iter().any(|term| term.kind == Kind::Diversity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_scaled_as_is_said() {
        let raw = || vec![4.0, 1.0, 4.0, 3.0];
        assert_eq!(Scaling::Rank.of(raw()), [1.0 - 0.5 / 3.0, 0.0, 1.0 - 0.5 / 3.0, 1.0 - 2.0 / 3.0]);
        assert_eq!(Scaling::Minmax.of(raw()), [1.0, 0.0, 1.0, 2.0 / 3.0]);
        let spread = 1.5f64.sqrt();
        assert_eq!(Scaling::Zscore.of(raw()), [1.0, -2.0, 1.0, 0.0].map(|x| x / spread));
        for scaling in [Scaling::Minmax, Scaling::Zscore] {
            assert_eq!(scaling.of(vec![2.0; 3]), [0.0; 3]);
        }
        assert_eq!((Scaling::Rank.of(vec![2.0; 3]), Scaling::Rank.of(vec![7.0])), (vec![0.5; 3], vec![1.0]));
    }
}
