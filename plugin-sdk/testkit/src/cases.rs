//! Pools to test on: ordinary ones and degenerate ones.

use std::collections::BTreeMap;

use querist_core::{Array, Arrays};
use querist_protocol::philox::Stream;
use querist_protocol::{Need, names};

/// The arrays of a query written out by hand: pool ids `0..rows`, labelled ids from 1000 on.
///
/// # Panics
/// If they do not fit each other.
pub fn arrays<const K: usize>(rows: usize, labelled: usize, classes: usize, named: [(&str, Array); K]) -> Arrays {
    let ids: Vec<u64> = (0..rows as u64).collect();
    let labelled_ids: Vec<u64> = (0..labelled as u64).map(|row| row + 1000).collect();
    let named: BTreeMap<String, Array> = named.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    Arrays::new(ids, labelled_ids, classes, named).expect("the arrays of a test fit the contract")
}

/// Sizes and shape of a made-up pool.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Unlabelled rows.
    pub rows: usize,
    /// Labelled rows.
    pub labelled: usize,
    /// Classes.
    pub classes: usize,
    /// Width of embeddings.
    pub width: usize,
    /// What the values look like.
    pub values: Shape,
    /// Seed of the values.
    pub seed: u64,
}

/// What the values of a pool look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Clusters, one a class, with noise: like the features of a trained network.
    Clustered,
    /// Independent values.
    Random,
    /// Every row the same.
    Constant,
    /// Only three different rows.
    Duplicates,
    /// Logits of ±80, so that probabilities saturate.
    Extreme,
}

impl Default for Pool {
    fn default() -> Self {
        Self { rows: 300, labelled: 20, classes: 5, width: 16, values: Shape::Clustered, seed: 1 }
    }
}

impl Pool {
    /// The arrays that `needs` name.
    ///
    /// # Panics
    /// If a need is not known here: the testkit must learn it.
    pub fn arrays(&self, needs: &[Need]) -> Arrays {
        // Ids with gaps, so that ids and rows cannot be mixed up unnoticed.
        let ids: Vec<u64> = (0..self.rows as u64).map(|row| 3 * row + 7).collect();
        let labelled_ids: Vec<u64> = (0..self.labelled as u64).map(|row| 3 * row + 8).collect();
        let named: BTreeMap<String, Array> =
            needs.iter().map(|need| (need.name().to_owned(), self.array(need))).collect();
        Arrays::new(ids, labelled_ids, self.classes, named).expect("the testkit's arrays fit the contract")
    }

    fn array(&self, need: &Need) -> Array {
        let (bare, labelled) = need.split_labelled();
        let rows = if labelled { self.labelled } else { self.rows };
        let salt = u32::from(labelled);
        match bare {
            "labels" | names::ORACLE_LABELS => {
                Array::labels((0..rows).map(|row| (row % self.classes) as u32).collect::<Vec<_>>())
            }
            names::MC_LOG_PROBS => self.log_probs(rows, argument(need, "T", 10), 50 + salt),
            names::TARGET_MC_LOG_PROBS => self.log_probs(argument(need, "n", 40), argument(need, "T", 10), 60),
            names::MEMBER_LOG_PROBS => self.log_probs(rows, argument(need, "M", 5), 70 + salt),
            names::GRAD_NORM => {
                let norms = self.floats(rows, 1, 80 + salt, false);
                let values: Vec<f32> = norms.as_f32().expect("floats").iter().map(|value| value.abs()).collect();
                Array::f32(vec![rows], values).expect("sizes fit")
            }
            names::LOGITS => self.floats(rows, self.classes, 10 + salt, self.values == Shape::Extreme),
            names::EMBEDDINGS | names::FIXED_EMBEDDINGS => self.floats(rows, self.width, 20 + salt, false),
            names::HEAD_W => self.floats(self.classes, self.width, 30, false),
            names::HEAD_B => {
                let bias = Stream::new(self.seed, 40);
                let values = (0..self.classes as u64).map(|c| bias.item_uniform(c, 0) as f32).collect::<Vec<_>>();
                Array::f32(vec![self.classes], values).expect("sizes fit")
            }
            other => panic!("the testkit has no made-up array `{other}`"),
        }
    }

    /// Log-softmax of made-up logits of several draws, `[rows, draws, classes]`.
    fn log_probs(&self, rows: usize, draws: usize, salt: u32) -> Array {
        let logits = self.floats(rows, draws * self.classes, salt, self.values == Shape::Extreme);
        let logits = logits.as_f32().expect("floats");
        let mut values = Vec::with_capacity(logits.len());
        for draw in logits.chunks_exact(self.classes) {
            let top = draw.iter().fold(f64::NEG_INFINITY, |top, &logit| top.max(f64::from(logit)));
            let sum: f64 = draw.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
            values.extend(draw.iter().map(|&logit| (f64::from(logit) - top - sum.ln()) as f32));
        }
        Array::f32(vec![rows, draws, self.classes], values).expect("sizes fit")
    }

    fn floats(&self, rows: usize, columns: usize, salt: u32, extreme: bool) -> Array {
        let noise = Stream::new(self.seed, salt);
        let value = |row: usize, column: usize| -> f32 {
            let row = match self.values {
                Shape::Constant => 0,
                Shape::Duplicates => row % 3,
                _ => row,
            };
            let centred = |item: u64, step: u32| noise.item_uniform(item, step) - 0.5;
            let own = centred(row as u64, column as u32 + 1);
            let cluster = (noise.item_uniform(row as u64, 0) * self.classes as f64) as u64;
            let value = match self.values {
                Shape::Clustered => 4.0 * centred(1_000_000 + cluster, column as u32 + 1) + own,
                _ => 2.0 * own,
            };
            if extreme { 80.0 * value.signum() as f32 } else { value as f32 }
        };
        let values: Vec<f32> =
            (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))).map(|(r, c)| value(r, c)).collect();
        Array::f32(vec![rows, columns], values).expect("sizes fit")
    }
}

/// The whole number that a need gives as an argument.
fn argument(need: &Need, key: &str, default: usize) -> usize {
    need.arg(key).map_or(default, |value| value.parse().expect("a whole number"))
}
