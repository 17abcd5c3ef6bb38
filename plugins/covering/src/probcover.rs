//! Samples whose balls cover most of what is not covered yet.

use querist_sdk::prelude::*;

use crate::cover::{Cover, mark_within};
use crate::radius::{Radius, estimate};

params! {
    /// Parameters of ProbCover.
    #[schemars(extend("examples" = [{}, {"alpha": 0.5}, {"delta": 0.7}]))]
    pub struct Probcover {
        /// Radius of the balls, or `estimate`.
        pub delta: Radius = Radius::ESTIMATE,
        /// Share of balls that must be pure under an estimated radius.
        #[schemars(range(min = 0.0, max = 1.0), extend("x-querist-search" = {"linear": [0.8, 1.0]}))]
        pub alpha: f64 = 0.95,
    }
}

impl Strategy for Probcover {
    const ID: &'static str = "probcover";
    const SUMMARY: &'static str = "Samples whose balls cover most of the dataset that no labelled ball covers";
    const PAPER: &'static str = "Yehuda et al., Active Learning Through a Covering Lens, NeurIPS 2022";
    const COST: &'static str = "O(A^2 D) time for the graph; memory for its edges.";
    const ALIASES: &'static [&'static str] = &["prob_cover"];

    fn needs(&self) -> Vec<Need> {
        Need::all([names::FIXED_EMBEDDINGS, "labelled.fixed_embeddings"])
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
        let mut picks = query.picks()?;
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
                picks.keep(Some(known.remember(radius)));
                radius
            }
        };
        let mut covered = vec![false; query.rows() as usize];
        if query.labelled_rows() > 0 {
            mark_within(&pool, &labelled, radius, &mut covered)?;
        }
        let mut cover = Cover::new(&pool, radius, covered)?;
        while picks.missing() > 0 {
            // A picked row's ball is covered whole, so it never has the largest degree again.
            let row = math::argmax(cover.degrees());
            let degree = cover.degrees()[row];
            if degree <= 0.0 {
                break;
            }
            picks.take(row as u32, degree)?;
            cover.add(row as u32)?;
        }
        let all = f64::from(query.rows()) + f64::from(query.labelled_rows());
        picks.note("delta", radius);
        picks.note("coverage", (cover.count() as f64 + f64::from(query.labelled_rows())) / all);
        picks.fill_at_random()
    }
}

/// Fingerprint of the features, in any order of rows: an estimated radius stays right as long as it does.
struct Known(u64);

impl Known {
    fn of(pool: &Matrix, labelled: &Matrix) -> Result<Self> {
        let mut sum = 0u64;
        for matrix in [pool, labelled] {
            matrix.for_each_row(|_, row| {
                sum = sum.wrapping_add(digest(row));
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
