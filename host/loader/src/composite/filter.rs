//! A member that sees only some rows of the pool: those near labelled samples.
//!
//! - `seals`: the k nearest rows of each labelled sample. Coleman et al., "Similarity Search for Efficient Active
//!   Learning and Search of Rare Concepts", AAAI 2022 (arXiv 2007.00077).
//! - `anchors`: of each class some labelled samples that lie apart; each brings its k nearest rows, and those stay that
//!   are most like the ones that brought them. Lesci and Vlachos, "AnchorAL: Computationally Efficient Active Learning
//!   for Large and Imbalanced Datasets", NAACL 2024 (arXiv 2404.05623).
//!
//! Neighbours are looked for in the present pool: no index is kept from round to round. Where they are fewer than the
//! batch, the next nearest rows of the pool fill up; without labels the member sees everything.

use std::collections::BTreeMap;

use querist_core::{Answer, Failure, Query, QueryError, Usage};
use querist_protocol::{Handle, Metric, Reduction, StreamScope, names};

use super::members::Members;
use super::own::Own;
use crate::package::combine::{Anchors, Lengths, Seals};

/// Which rows stay.
pub(super) enum Filter<'a> {
    Seals(&'a Seals),
    Anchors(&'a Anchors),
}

/// What a filter left, ascending.
struct Left {
    rows: Vec<u32>,
    /// Rows that no labelled sample brought.
    filled: usize,
}

/// Asks the member about what is left.
pub(super) fn query(filter: &Filter<'_>, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let rows = query.arrays.ids().len();
    let own = Own::open(members, query).map_err(|failure| members.failed(failure))?;
    let left = match query.arrays.labelled_ids().is_empty() {
        true => None,
        false => Some(own.watched(query, || filter.left(&own, query)).map_err(|failure| members.failed(failure))?),
    };
    let peak_memory = own.peak_memory();
    drop(own);
    let (filled, unfiltered) = (left.as_ref().map_or(0, |left| left.filled), left.is_none());
    let seen = left.as_ref().map_or(rows, |left| left.rows.len());
    let some = left.as_ref().filter(|left| left.rows.len() < rows).map(|left| left.rows.as_slice());
    let mut answer = members.picked(0, query, some, query.batch)?;
    let figures = [
        ("filter.rows", seen as f64),
        ("filter.share", seen as f64 / rows.max(1) as f64),
        ("filter.filled", filled as f64),
        ("filter.unfiltered", f64::from(u8::from(unfiltered))),
    ];
    answer.selection.diagnostics.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    answer.usage = Usage { peak_memory: answer.usage.peak_memory.max(peak_memory), ..answer.usage };
    Ok(answer)
}

impl Filter<'_> {
    fn left(&self, own: &Own, query: &Query<'_>) -> Result<Left, Failure> {
        let is_unit = match self {
            Self::Seals(seals) => seals.normalise == Lengths::L2,
            Self::Anchors(_) => true,
        };
        let pool = own.rows(names::EMBEDDINGS, is_unit)?;
        let labelled = own.rows("labelled.embeddings", is_unit)?;
        let (sources, mut kept) = match self {
            Self::Seals(seals) => (labelled, neighbours(own, labelled, pool, seals.k)?),
            Self::Anchors(anchors) => {
                let sources = own.calls().matrix_gather(labelled, &chosen(anchors, own, labelled)?)?;
                let most = (anchors.max_pool as usize).max(query.wanted());
                (sources, most_like(own, sources, pool, anchors.k, most)?)
            }
        };
        kept.sort_unstable();
        let filled = query.wanted().saturating_sub(kept.len());
        if filled > 0 {
            let nearest = own.calls().distance_reduce(pool, sources, Metric::Euclidean, Reduction::Min)?;
            kept.extend(nearest_others(own.taken(nearest)?, &kept, filled));
            kept.sort_unstable();
        }
        Ok(Left { rows: kept, filled })
    }
}

/// The rows of the smallest distances that are not among `kept`, which are ascending.
fn nearest_others(distances: Vec<f64>, kept: &[u32], count: usize) -> Vec<u32> {
    let mut others: Vec<u32> = (0..distances.len() as u32).filter(|row| kept.binary_search(row).is_err()).collect();
    others.sort_by(|&a, &b| distances[a as usize].total_cmp(&distances[b as usize]).then(a.cmp(&b)));
    others.truncate(count);
    others
}

/// Every row of the pool that is among the k nearest of some source.
fn neighbours(own: &Own, sources: Handle, pool: Handle, k: u32) -> Result<Vec<u32>, Failure> {
    let rows = own.calls().matrix_shape(pool)?.0;
    if k >= rows {
        return Ok((0..rows).collect());
    }
    let (numbers, distances) = own.calls().nearest_rows(sources, pool, k, Metric::Euclidean)?;
    own.calls().release(distances);
    let mut kept: Vec<u32> = own.taken(numbers)?.into_iter().map(|row| row as u32).collect();
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}

/// Labelled rows that each class retrieves by: all of it, or some that lie apart.
fn chosen(anchors: &Anchors, own: &Own, labelled: Handle) -> Result<Vec<u32>, Failure> {
    let mut of_class: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, label) in own.labels()?.into_iter().enumerate() {
        of_class.entry(label).or_default().push(row as u32);
    }
    let mut chosen = Vec::new();
    for (class, rows) in of_class {
        match rows.len() <= anchors.anchors as usize {
            true => chosen.extend(rows),
            false => chosen.extend(apart(own, labelled, &rows, class, anchors.anchors)?),
        }
    }
    Ok(chosen)
}

/// Some of the rows of a class by k-means++: the first at random, the next in proportion to their squared distances.
fn apart(own: &Own, labelled: Handle, rows: &[u32], class: u32, count: u32) -> Result<Vec<u32>, Failure> {
    let calls = own.calls();
    let numbers = calls.stream(&format!("anchors/{class}"), StreamScope::Round)?;
    let some = calls.matrix_gather(labelled, rows)?;
    let points = calls.points(some)?;
    let engine = calls.nearest(points, Metric::SqEuclidean)?;
    let first = (calls.stream_uniforms(numbers, 1)?[0] * rows.len() as f64) as usize;
    let mut drawn = vec![first.min(rows.len() - 1) as u32];
    calls.nearest_add(engine, &drawn)?;
    while drawn.len() < count as usize
        && let Some(next) = calls.nearest_draw(engine, numbers, None)?
    {
        calls.nearest_add(engine, &[next])?;
        drawn.push(next);
    }
    [engine, points, some, numbers].into_iter().for_each(|handle| calls.release(handle));
    Ok(drawn.into_iter().map(|at| rows[at as usize]).collect())
}

/// Of the rows that anchors retrieve, those with the largest mean cosine with the anchors that retrieved them.
fn most_like(own: &Own, anchors: Handle, pool: Handle, k: u32, most: usize) -> Result<Vec<u32>, Failure> {
    let calls = own.calls();
    let k = k.min(calls.matrix_shape(pool)?.0);
    let (numbers, distances) = calls.nearest_rows(anchors, pool, k, Metric::Euclidean)?;
    let (numbers, distances) = (own.taken(numbers)?, own.taken(distances)?);
    let is_zero = |matrix: Handle| -> Result<Vec<bool>, Failure> {
        Ok(own.taken(calls.matrix_sq_norms(matrix)?)?.into_iter().map(|norm| norm == 0.0).collect())
    };
    let (zero_anchor, zero_row) = (is_zero(anchors)?, is_zero(pool)?);
    let mut likeness: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (anchor, &is_zero) in zero_anchor.iter().enumerate() {
        let own = anchor * k as usize..(anchor + 1) * k as usize;
        for (&row, distance) in numbers[own.clone()].iter().zip(&distances[own]) {
            let has_angle = !is_zero && !zero_row[row as usize];
            let cosine = if has_angle { 1.0 - distance * distance / 2.0 } else { 0.0 };
            let (sum, times) = likeness.entry(row as u32).or_default();
            *sum += cosine;
            *times += 1.0;
        }
    }
    let mut ranked: Vec<(u32, f64)> = likeness.into_iter().map(|(row, (sum, times))| (row, sum / times)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(most);
    Ok(ranked.into_iter().map(|(row, _)| row).collect())
}
