//! Samples whose balls cover most of what is not covered yet.

use querist_sdk::prelude::*;

use crate::cover::{Cover, mark_within};
use crate::radius::{Radius, estimate};

/// Parameters of ProbCover.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{}, {"alpha": 0.5}, {"delta": 0.7}]))]
pub struct Probcover {
    /// Radius of the balls, or `estimate`.
    pub delta: Radius,
    /// Share of balls that must be pure under an estimated radius.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

impl Default for Probcover {
    fn default() -> Self {
        Self { delta: Radius::ESTIMATE, alpha: 0.95 }
    }
}

impl Strategy for Probcover {
    const ID: &'static str = "probcover";
    const SUMMARY: &'static str = "Samples whose balls cover most of the dataset that no labelled ball covers";
    const PAPER: &'static str = "Yehuda et al., Active Learning Through a Covering Lens, NeurIPS 2022";
    const COST: &'static str = "O(A^2 D) time for the graph; memory for its edges.";
    const ALIASES: &'static [&'static str] = &["prob_cover"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::FIXED_EMBEDDINGS), Need::new("labelled.fixed_embeddings")]
    }

    fn check(&self) -> Result<(), String> {
        self.delta.check("delta")?;
        if self.alpha > 0.0 && self.alpha <= 1.0 {
            return Ok(());
        }
        Err(format!("alpha is {}, but it must be above 0 and at most 1", self.alpha))
    }
}

impl Selector for Probcover {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == 0 {
            return Ok(selection);
        }
        let pool = query.matrix(names::FIXED_EMBEDDINGS)?.normalise()?;
        let labelled = query.matrix("labelled.fixed_embeddings")?.normalise()?;
        let radius = match self.delta {
            Radius::Given(radius) => radius,
            Radius::Estimated(_) => {
                let known = Known::of(&pool, &labelled)?;
                let radius = match known.radius(query.state()) {
                    Some(radius) => radius,
                    None => estimate(query, &pool.stack(&labelled)?, self.alpha)?,
                };
                selection.state = Some(known.remember(radius));
                radius
            }
        };
        let mut covered = vec![false; query.rows() as usize];
        if query.labelled_rows() > 0 {
            mark_within(&pool, &labelled, radius, &mut covered)?;
        }
        let mut cover = Cover::new(&pool, radius, covered)?;
        while (selection.rows.len() as u32) < wanted {
            // A picked row's ball is covered whole, so it never has the largest degree again.
            let Some((row, degree)) = largest(cover.degrees()).filter(|&(_, degree)| degree > 0.0) else { break };
            selection.rows.push(row);
            selection.scores.push(degree);
            cover.add(row)?;
            query.progress(selection.rows.len() as u64, u64::from(wanted))?;
        }
        let all = f64::from(query.rows()) + f64::from(query.labelled_rows());
        let share = (cover.count() as f64 + f64::from(query.labelled_rows())) / all;
        selection.diagnostics.extend([("delta".to_owned(), radius), ("coverage".to_owned(), share)]);
        query.refill_at_random(&mut selection)?;
        Ok(selection)
    }
}

/// The largest value and its row, the lowest among equals.
fn largest(values: &[f64]) -> Option<(u32, f64)> {
    let mut best: Option<(u32, f64)> = None;
    for (row, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, best)| value > best) {
            best = Some((row as u32, value));
        }
    }
    best
}

/// Fingerprint of the features, in any order of rows: an estimated radius stays right as long as it does.
struct Known(u64);

impl Known {
    fn of(pool: &Matrix, labelled: &Matrix) -> Result<Self> {
        let mut sum = 0u64;
        for matrix in [pool, labelled] {
            let (_, columns) = matrix.shape()?;
            matrix.for_each_block(|_, block| {
                sum = block.chunks_exact(columns.max(1) as usize).fold(sum, |sum, row| sum.wrapping_add(digest(row)));
                Ok(())
            })?;
        }
        Ok(Self(sum))
    }

    /// The radius that was remembered for these features.
    fn radius(&self, state: Option<&[u8]>) -> Option<f64> {
        let (fingerprint, radius) = state?.split_first_chunk::<8>()?;
        let radius = f64::from_le_bytes(radius.try_into().ok()?);
        (u64::from_le_bytes(*fingerprint) == self.0 && radius.is_finite()).then_some(radius)
    }

    fn remember(&self, radius: f64) -> Vec<u8> {
        [self.0.to_le_bytes(), radius.to_le_bytes()].concat()
    }
}

fn digest(row: &[f32]) -> u64 {
    row.iter().fold(0x9E37_79B9_7F4A_7C15, |hash: u64, value| {
        let mixed = (hash ^ u64::from(value.to_bits())).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ mixed >> 32
    })
}
