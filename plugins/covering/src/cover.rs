//! Covering pool rows by open balls of one radius around them.

use querist_sdk::prelude::*;

/// Which pool rows are covered, and how many that are not lie in the ball of each row.
pub(crate) struct Cover<'a> {
    pool: &'a Matrix,
    radius: f64,
    covered: Vec<bool>,
    degrees: Vec<f64>,
}

impl<'a> Cover<'a> {
    /// Balls around the rows of `pool`, of which some are covered already.
    pub(crate) fn new(pool: &'a Matrix, radius: f64, covered: Vec<bool>) -> Result<Self> {
        let mut cover = Self { pool, radius, degrees: vec![0.0; covered.len()], covered };
        let open: Vec<u32> = (0..cover.covered.len() as u32).filter(|&row| !cover.covered[row as usize]).collect();
        cover.degrees = cover.near(&open)?;
        Ok(cover)
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
        let ball = self.near(&[row])?;
        let joins = |row: &u32| ball[*row as usize] > 0.0 && !self.covered[*row as usize];
        let new: Vec<u32> = (0..ball.len() as u32).filter(joins).collect();
        // A row that joins alone has just been looked at.
        let falls = if new == [row] { ball } else { self.near(&new)? };
        for (degree, fall) in self.degrees.iter_mut().zip(falls) {
            *degree -= fall;
        }
        new.iter().for_each(|&row| self.covered[row as usize] = true);
        Ok(())
    }

    /// How many of some rows lie in the ball of each row.
    fn near(&self, rows: &[u32]) -> Result<Vec<f64>> {
        if rows.is_empty() {
            return Ok(vec![0.0; self.covered.len()]);
        }
        let centres = self.pool.gather(rows)?;
        self.pool.distance_reduce(&centres, Metric::Euclidean, Reduction::CountWithin(self.radius))?.to_vec()
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
