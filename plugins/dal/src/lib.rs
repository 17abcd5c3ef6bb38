//! Discriminative active learning: samples that are most surely not labelled yet.
//!
//! A linear classifier tells labelled samples from those of the pool by their embeddings. The ones that look least
//! labelled are selected, count as labelled from then on, and the classifier is fitted anew, a few times a batch.
//!
//! With z the embeddings of all samples minus their mean, over their root mean square length, and t = 1 for the pool,
//! -1 for what is labelled or selected, it has the least
//!
//! `J(w, c) = sum_i omega_i ln(1 + exp(-t_i (w z_i + c))) + l2 / 2 |w|²`
//!
//! with weights omega that give both sides one half. J is convex, so the answer is a function of the arrays alone; its
//! gradient is brought below 1e-9. Samples are ranked by `w z + c`, which does not saturate as probabilities do.
//!
//! Gissin and Shalev-Shwartz, "Discriminative Active Learning", 2019 (arXiv 1907.06347). There a network is trained
//! until it is right on 98 % of the samples, and candidates are a part of the pool.

// More than 150 lines: the classifier is fitted here, to the end.

mod fit;
mod round;

use querist_sdk::prelude::*;

use fit::{Data, Model};

params! {
    /// Parameters of discriminative active learning.
    #[schemars(extend("examples" = [
        {},
        {"sub_batches": 3, "l2": 1e-2, "balance": false},
        {"sub_batches": 4, "unlabelled_factor": 5},
    ]))]
    pub struct Dal {
        /// Times that the classifier is fitted, and parts of the batch.
        #[schemars(range(min = 1, max = 1000))]
        pub sub_batches: u32 = 10,
        /// Weight of the squared length of w.
        #[schemars(range(min = 1e-6, max = 1e2))]
        pub l2: f64 = 1e-3,
        /// Whether both sides weigh the same, however many they are.
        pub balance: bool = true,
        /// Samples of the pool that the classifier is fitted on, as a multiple of those on the other side, drawn anew
        /// for each part of the batch; all where it is left out. All are ranked in any case.
        #[schemars(range(min = 1, max = 1_000_000))]
        pub unlabelled_factor: Option<u32> = None,
    }
}

impl Strategy for Dal {
    const ID: &'static str = "dal";
    const SUMMARY: &'static str = "Samples that a classifier is surest are not among the labelled ones";
    const PAPER: &'static str = "Gissin and Shalev-Shwartz, Discriminative Active Learning, 2019 (arXiv 1907.06347); \
                                 with a linear classifier, fitted to the end";
    const COST: &'static str = "O(A D) time a step, some ten steps for each part of the batch, and O(D³) once; \
                                O(A + D²) memory, and 4 A D where that is at most 64 MiB.";
    const ALIASES: &'static [&'static str] = &["discriminative-al", "DAL"];

    fn needs(&self) -> Vec<Need> {
        Need::all([names::EMBEDDINGS, "labelled.embeddings"])
    }
}

impl Selector for Dal {
    fn select(&self, query: &Query) -> Result<Selection> {
        let data = Data::of(query)?;
        let keys = query.stream("unlabelled", StreamScope::Round)?;
        let mut model = Model::new(&data);
        let mut picks = query.picks()?;
        let (wanted, parts) = (u64::from(query.wanted()), u64::from(self.sub_batches.min(query.wanted())));
        let mut steps = 0;
        for part in 0..parts {
            let count = (wanted * (part + 1) / parts - wanted * part / parts) as u32;
            if query.labelled_rows() == 0 && picks.is_empty() {
                picks.note("cold_start", 1.0);
                take_nearest(&data, query, count, &mut picks)?;
                continue;
            }
            let sides = self.sides(query, &picks, &keys.by_row(part as u32)?)?;
            steps += model.fit(&data, &sides, self.l2, query)?;
            let logits = data.logits(&model)?;
            let rows = query.vector(&logits)?.top(None, count, Some(picks.taken()))?;
            for row in rows {
                picks.take(row, logits[row as usize])?;
            }
        }
        picks.note("steps", steps);
        picks.note("gradient", model.gradient());
        Ok(picks.done())
    }
}

impl Dal {
    /// The signed weight of each sample, pool first: above 0 for the pool, below for the others, 0 for those that are
    /// not fitted on.
    fn sides(&self, query: &Query, picks: &Picks, keys: &Vector) -> Result<Vec<f64>> {
        let (rows, labelled) = (query.rows() as usize, query.labelled_rows() as usize);
        let others = picks.len() as usize + labelled;
        let mut is_fitted = vec![self.unlabelled_factor.is_none(); rows];
        if let Some(factor) = self.unlabelled_factor {
            let most = (others as u64 * u64::from(factor)).min(u64::from(query.rows() - picks.len())) as u32;
            let drawn = keys.top(None, most, Some(picks.taken()))?;
            drawn.into_iter().for_each(|row| is_fitted[row as usize] = true);
        }
        picks.rows().iter().for_each(|&row| is_fitted[row as usize] = false);
        let ours = is_fitted.iter().filter(|&&fitted| fitted).count();
        let (for_pool, for_others) = match self.balance {
            true => (0.5 / ours.max(1) as f64, 0.5 / others.max(1) as f64),
            false => (1.0 / (ours + others) as f64, 1.0 / (ours + others) as f64),
        };
        let mut sides: Vec<f64> = is_fitted.iter().map(|&fitted| if fitted { for_pool } else { 0.0 }).collect();
        picks.rows().iter().for_each(|&row| sides[row as usize] = -for_others);
        sides.resize(rows + labelled, -for_others);
        Ok(sides)
    }
}

/// Without anything labelled there is nothing to tell apart: the samples nearest to the mean come first.
fn take_nearest(data: &Data, query: &Query, count: u32, picks: &mut Picks) -> Result<()> {
    let mut distances = Vec::with_capacity(query.rows() as usize);
    data.for_each_row(|_, row| {
        let square = row.iter().zip(&data.mean).map(|(&x, mean)| (f64::from(x) - mean) * (f64::from(x) - mean));
        distances.push(-square.sum::<f64>().sqrt());
    })?;
    distances.truncate(query.rows() as usize);
    for row in query.vector(&distances)?.top(None, count, None)? {
        picks.take(row, distances[row as usize])?;
    }
    Ok(())
}

package!(selectors: [Dal]);
