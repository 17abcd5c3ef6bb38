//! The least disagreement metric by drawing heads.

use querist_sdk::Normals;
use querist_sdk::prelude::*;

use crate::LdmS;

/// Standard deviations that are tried: 10^-5 to 1 by tenths of the exponent.
const DEVIATIONS: u32 = 51;
/// Values of perturbed logits that are computed at once.
const MOST_VALUES: usize = 1 << 24;

/// Estimates for the whole pool.
pub struct Estimate {
    /// Smallest disagreement of a head that flips each row; 1 where none did.
    pub ldm: Vec<f64>,
    /// Heads drawn.
    pub draws: u32,
    /// Whether `max_draws` ended the search.
    pub capped: bool,
}

/// Draws heads until none improves an estimate.
pub fn estimate(query: &Query, params: &LdmS) -> Result<Estimate> {
    let mut search = Search::new(query, params)?;
    let mut estimate = Estimate { ldm: vec![1.0; query.rows() as usize], draws: 0, capped: false };
    for step in 0..DEVIATIONS {
        let exponent = (f64::from(step) - 50.0) / 10.0;
        let deviation = math::exp(exponent * std::f64::consts::LN_10);
        let mut stale = 0;
        while stale < params.patience {
            if estimate.draws >= params.max_draws {
                estimate.capped = true;
                return Ok(estimate);
            }
            // So many draws follow whatever they find, and one product serves them all.
            let sure = (params.patience - stale).min(params.max_draws - estimate.draws).min(search.at_once);
            for improved in search.draw(query, sure, deviation, &mut estimate.ldm)? {
                stale = if improved { 0 } else { stale + 1 };
            }
            estimate.draws += sure;
            query.progress(u64::from(step), u64::from(DEVIATIONS))?;
        }
    }
    Ok(estimate)
}

struct Search {
    classes: usize,
    width: usize,
    embeddings: Matrix,
    /// Logits of the head itself, `[rows, classes]`, and its predictions.
    logits: Vec<f32>,
    predicted: Vec<u32>,
    in_reference: Vec<bool>,
    references: f64,
    noise: Normals,
    at_once: u32,
}

impl Search {
    fn new(query: &Query, params: &LdmS) -> Result<Self> {
        let rows = query.rows();
        let classes = query.classes() as usize;
        let embeddings = query.matrix(names::PENULTIMATE)?;
        let logits = query.matrix(names::LOGITS)?;
        let references = params.n_ref.min(rows);
        let keys = query.stream("reference", StreamScope::Round)?.by_row(0)?;
        let mut in_reference = vec![false; rows as usize];
        for row in keys.top(None, references, None)? {
            in_reference[row as usize] = true;
        }
        Ok(Self {
            classes,
            width: embeddings.shape()?.1 as usize,
            embeddings,
            predicted: logits.argmax()?,
            logits: logits.read(0, rows)?,
            in_reference,
            references: f64::from(references),
            noise: query.stream("noise", StreamScope::Round)?.into(),
            at_once: (MOST_VALUES / (rows as usize * classes).max(1)).clamp(1, 64) as u32,
        })
    }

    /// Draws some heads, lowers the LDM of the rows that each flips, and says which of them lowered any.
    fn draw(&mut self, query: &Query, heads: u32, deviation: f64, ldm: &mut [f64]) -> Result<Vec<bool>> {
        let (classes, count) = (self.classes, heads as usize);
        let mut directions = Vec::with_capacity(count * classes * self.width);
        let mut offsets = Vec::with_capacity(count * classes);
        for _ in 0..count * classes {
            for _ in 0..self.width {
                directions.push(self.noise.draw()? as f32);
            }
            offsets.push(self.noise.draw()?);
        }
        let directions = query.new_matrix(heads * classes as u32, self.width as u32, &directions)?;
        let moves = self.embeddings.product(&directions, true)?;
        let mut flipped = vec![Vec::new(); count];
        moves.for_each_row(|row, moves| {
            let logits = &self.logits[row as usize * classes..][..classes];
            let by_head = moves.chunks_exact(classes).zip(offsets.chunks_exact(classes));
            for ((moves, offsets), flipped) in by_head.zip(&mut flipped) {
                if perturbed(logits, moves, offsets, deviation) != self.predicted[row as usize] {
                    flipped.push(row);
                }
            }
            Ok(())
        })?;
        Ok(flipped.iter().map(|flipped| self.lower(flipped, ldm)).collect())
    }

    /// Lowers the LDM of the rows that one head flips to its disagreement; says whether any was higher.
    fn lower(&self, flipped: &[u32], ldm: &mut [f64]) -> bool {
        let disagreeing = flipped.iter().filter(|&&row| self.in_reference[row as usize]).count();
        let share = disagreeing as f64 / self.references;
        let mut improved = false;
        for &row in flipped {
            if share < ldm[row as usize] {
                ldm[row as usize] = share;
                improved = true;
            }
        }
        improved
    }
}

/// Class of moved logits, the lowest among equals.
fn perturbed(logits: &[f32], moves: &[f32], offsets: &[f64], deviation: f64) -> u32 {
    let (mut best, mut class) = (f64::NEG_INFINITY, 0);
    for (c, ((&logit, &step), offset)) in logits.iter().zip(moves).zip(offsets).enumerate() {
        let moved = f64::from(logit) + deviation * (f64::from(step) + offset);
        if moved > best {
            (best, class) = (moved, c as u32);
        }
    }
    class
}
