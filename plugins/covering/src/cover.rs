//! Covering pool rows by open balls of one radius around them.

use querist_sdk::prelude::*;
use querist_sdk::protocol::FaultCode;

/// Which pool rows are covered, and how many that are not lie in the ball of each row.
pub(crate) struct Cover<'a> {
    balls: Balls<'a>,
    covered: Vec<bool>,
    degrees: Vec<f64>,
}

/// How the rows in a ball are found.
enum Balls<'a> {
    /// All balls at once.
    Listed(Graph),
    /// One after the other, around rows of a matrix.
    Searched(&'a Matrix, f64),
}

/// Balls are listed if at least one row in so many is uncovered: else searching those of the others is less work.
const LISTED_SHARE: usize = 4;

impl<'a> Cover<'a> {
    /// Balls around the rows of `pool`, of which some are covered already.
    pub(crate) fn new(pool: &'a Matrix, radius: f64, covered: Vec<bool>) -> Result<Self> {
        let open: Vec<u32> = (0..covered.len() as u32).filter(|&row| !covered[row as usize]).collect();
        let balls = if radius > 0.0 && open.len() * LISTED_SHARE >= covered.len() {
            Balls::listed(pool, radius)?
        } else {
            Balls::Searched(pool, radius)
        };
        let degrees = balls.counts(&open, covered.len())?;
        Ok(Self { balls, covered, degrees })
    }

    /// Uncovered rows in the ball of each row.
    pub(crate) fn degrees(&self) -> &[f64] {
        &self.degrees
    }

    /// How many rows are covered.
    pub(crate) fn count(&self) -> usize {
        self.covered.iter().filter(|&&covered| covered).count()
    }

    /// Covers the ball of a row.
    pub(crate) fn add(&mut self, row: u32) -> Result<()> {
        let mut new = self.balls.around(row)?;
        new.retain(|&row| !self.covered[row as usize]);
        let falls = self.balls.counts(&new, self.covered.len())?;
        self.degrees.iter_mut().zip(falls).for_each(|(degree, fall)| *degree -= fall);
        new.iter().for_each(|&row| self.covered[row as usize] = true);
        Ok(())
    }
}

impl<'a> Balls<'a> {
    /// Lists them if there is room.
    fn listed(pool: &'a Matrix, radius: f64) -> Result<Self> {
        match pool.neighbours_within(radius, Metric::Euclidean) {
            Ok(graph) => Ok(Self::Listed(graph)),
            Err(StrategyError::Fault(fault)) if fault.code == FaultCode::Quota => Ok(Self::Searched(pool, radius)),
            Err(error) => Err(error),
        }
    }

    /// The rows in the ball around one, ascending.
    fn around(&self, row: u32) -> Result<Vec<u32>> {
        match self {
            Self::Listed(graph) => graph.neighbours(row),
            Self::Searched(pool, _) => {
                let counts = self.counts(&[row], pool.shape()?.0 as usize)?;
                Ok((0..counts.len() as u32).filter(|&row| counts[row as usize] > 0.0).collect())
            }
        }
    }

    /// How many of some rows lie in the ball of each of all `count` rows.
    fn counts(&self, rows: &[u32], count: usize) -> Result<Vec<f64>> {
        match self {
            _ if rows.is_empty() => Ok(vec![0.0; count]),
            Self::Searched(pool, radius) => {
                let within = Reduction::CountWithin(*radius);
                pool.distance_reduce(&pool.gather(rows)?, Metric::Euclidean, within)?.to_vec()
            }
            Self::Listed(graph) if rows.len() == count => graph.degrees()?.to_vec(),
            Self::Listed(graph) => {
                let mut counts = vec![0.0; count];
                for &row in rows {
                    // A row lies in the balls of those that lie in its own.
                    graph.neighbours(row)?.into_iter().for_each(|near| counts[near as usize] += 1.0);
                }
                Ok(counts)
            }
        }
    }
}

/// Marks the rows that lie within `radius` of a centre.
pub(crate) fn mark_within(rows: &Matrix, centres: &Matrix, radius: f64, marks: &mut [bool]) -> Result<()> {
    let near = rows.distance_reduce(centres, Metric::Euclidean, Reduction::CountWithin(radius))?;
    for (mark, count) in marks.iter_mut().zip(near.to_vec()?) {
        *mark |= count > 0.0;
    }
    Ok(())
}
