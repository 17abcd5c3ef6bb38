//! What a label would change, on average, in the predictions on estimation rows, measured by a proper score.
//!
//! A label y of a row i makes draw t as likely as it found y: `v_t = p_it(y) / sum_t p_it(y)`. The prediction on a row
//! e moves from `mean_t p_et` to `sum_t v_t p_et`. The score is the mean over e, and over y as the model expects it, of
//! how far: the squared distance (`coremse`), or the divergence, which makes it the information of EPIG (`corelog`).
//!
//! With `A_x` the draws of a row minus their mean, `[T, C]`, and `K_e = A_e A_e'`, the squared distance is
//! `<G_i, K_e> / T^2` with `G_i = A_i diag(1 / mean_t p_it) A_i'`. So one `T x T` matrix stands for any number of
//! estimation rows.
//!
//! Tan, Du and Buntine, "Diversity Enhanced Active Learning with Strictly Proper Scoring Rules", NeurIPS 2021 (arXiv
//! 2110.14171). The released `corelog` has no logarithm, and `coremse` there has a constant added for each estimation
//! row; here both are as the paper derives them.

use querist_sdk::draws::Draws;
use querist_sdk::prelude::*;

use crate::{Target, Targets, entropies};

const TAN: &str =
    "Tan, Du and Buntine, Diversity Enhanced Active Learning with Strictly Proper Scoring Rules, NeurIPS 2021";
/// Draws at most where estimation rows are told apart by a matrix of `T (T + 1) / 2` squared.
const MOST_DRAWS_APART: u32 = 32;
/// What is left of the largest pivot where a decomposition ends.
const LEAST_PIVOT: f64 = 1e-12;

/// How a batch is made of the scores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    /// One of each cluster of what labels would change where, among the larger scores.
    #[default]
    Diverse,
    /// The largest scores.
    Top,
}

params! {
    /// Parameters of CoreMSE.
    #[schemars(extend("examples" = [{}, {"batch": "top", "n_target": 20}, {"target": "provided", "fraction": 1.0}]))]
    pub struct CoreMse {
        /// Passes with dropout on.
        #[serde(rename = "T")]
        #[schemars(range(min = 2, max = 1000))]
        pub draws: u32 = 10,
        /// Estimation rows; all where it is left out or there are fewer.
        #[schemars(range(min = 1, max = 100_000))]
        pub n_target: Option<u32> = None,
        /// Where the estimation rows come from.
        pub target: Target = Target::Pool,
        /// How a batch is made of the scores. `diverse` takes at most 32 draws.
        pub batch: Batch = Batch::Diverse,
        /// Share of the pool that clusters are made of, by the largest scores; at least the batch.
        #[schemars(range(min = 0.001, max = 1.0))]
        pub fraction: f64 = 0.5,
    }
}

params! {
    /// Parameters of CoreLog.
    #[schemars(extend("examples" = [{}, {"batch": "top", "n_target": 20}, {"target": "provided", "fraction": 1.0}]))]
    pub struct CoreLog {
        /// Passes with dropout on.
        #[serde(rename = "T")]
        #[schemars(range(min = 2, max = 1000))]
        pub draws: u32 = 10,
        /// Estimation rows; all where there are fewer.
        #[schemars(range(min = 1, max = 100_000))]
        pub n_target: u32 = 100,
        /// Where the estimation rows come from.
        pub target: Target = Target::Pool,
        /// How a batch is made of the scores.
        pub batch: Batch = Batch::Diverse,
        /// Share of the pool that clusters are made of, by the largest scores; at least the batch.
        #[schemars(range(min = 0.001, max = 1.0))]
        pub fraction: f64 = 0.5,
    }
}

impl Strategy for CoreMse {
    const ID: &'static str = "coremse";
    const SUMMARY: &'static str = "Samples whose label would move predictions on estimation rows most, in mean square";
    const PAPER: &'static str = TAN;
    const COST: &'static str = "O((N + n) C T^2) time with n estimation rows; `diverse`: O(n T^4) more and k-means of \
                                T^2 / 2 columns. O(N T^2) memory at most.";
    const ALIASES: &'static [&'static str] = &["CoreMSE", "bemps-coremse"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        self.target.needs(self.draws, self.n_target.unwrap_or(u32::MAX))
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::TARGET_MC_LOG_PROBS)]
    }
}

impl Strategy for CoreLog {
    const ID: &'static str = "corelog";
    const SUMMARY: &'static str =
        "Samples whose label would tell most about predictions on estimation rows, spread out";
    const PAPER: &'static str = TAN;
    const COST: &'static str = "O(N n C^2 T) time with n estimation rows, twice for `diverse`, and k-means of n \
                                columns; O(N n) memory.";
    const ALIASES: &'static [&'static str] = &["CoreLog", "bemps-corelog"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        self.target.needs(self.draws, self.n_target)
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::TARGET_MC_LOG_PROBS)]
    }
}

impl Selector for CoreMse {
    fn select(&self, query: &Query) -> Result<Selection> {
        let is_diverse = self.batch == Batch::Diverse && query.wanted() > 1;
        if is_diverse && self.draws > MOST_DRAWS_APART {
            return Err(StrategyError::InvalidParams(format!(
                "`batch = \"diverse\"` takes at most {MOST_DRAWS_APART} draws, `T` is {}; lower `T` or set `batch = \
                 \"top\"`",
                self.draws
            )));
        }
        let pool = Draws::of(query, names::MC_LOG_PROBS, self.draws)?;
        let mut moved = Moved::new(&pool, is_diverse);
        self.target.for_each(query, &pool, self.n_target.unwrap_or(u32::MAX), |probs| moved.add(probs))?;
        let mut scores = Vec::with_capacity(query.rows() as usize);
        pool.for_each(|_, row| {
            scores.push(moved.score(&row.probs, &row.mean));
            Ok(())
        })?;
        select(query, &scores, (self.batch, self.fraction), |candidates| moved.vectors(&pool, candidates))
    }
}

impl Selector for CoreLog {
    fn select(&self, query: &Query) -> Result<Selection> {
        let pool = Draws::of(query, names::MC_LOG_PROBS, self.draws)?;
        let mut targets = Vec::new();
        self.target.for_each(query, &pool, self.n_target, |probs| targets.push(probs.to_vec()))?;
        let mut all = Targets::new(&pool);
        targets.iter().for_each(|probs| all.add(probs));
        let scores = all.information(query, pool.log_probs())?;
        select(query, &scores, (self.batch, self.fraction), |candidates| {
            let rows = pool.log_probs().gather(candidates)?;
            let apart = entropies(query, &rows, self.draws)?;
            let columns = targets.len();
            let mut vectors = vec![0.0f32; candidates.len() * columns];
            for (column, probs) in targets.iter().enumerate() {
                let mut one = Targets::new(&pool);
                one.add(probs);
                for (row, told) in one.told(query, &rows, &apart)?.into_iter().enumerate() {
                    vectors[row * columns + column] = told as f32;
                }
            }
            Ok((columns, vectors))
        })
    }
}

/// The batch. `vectors` says what labels of some rows would change where, and in how many columns.
fn select(
    query: &Query,
    scores: &[f64],
    (batch, fraction): (Batch, f64),
    vectors: impl FnOnce(&[u32]) -> Result<(usize, Vec<f32>)>,
) -> Result<Selection> {
    let wanted = query.wanted();
    if batch == Batch::Top || wanted <= 1 {
        return query.largest(scores, scores);
    }
    let values = query.vector(scores)?;
    let count = ((fraction * f64::from(query.rows())).ceil() as u32).clamp(wanted, query.rows());
    let mut candidates = values.top(None, count, None)?;
    candidates.sort_unstable();
    let (columns, vectors) = vectors(&candidates)?;
    if columns == 0 {
        return query.largest(scores, scores);
    }
    // Only which estimation rows a label would move counts here, and not how far.
    let points = query.new_matrix(count, columns as u32, &vectors)?.normalise()?;
    let clusters = points.kmeans(None, KmeansOptions::new(wanted), &query.stream("bemps", StreamScope::Round)?)?;
    let mut picks = query.picks()?;
    for at in clusters.representatives(None)?.into_iter().flatten() {
        let row = candidates[at as usize];
        picks.take(row, scores[row as usize])?;
    }
    let rest = values.top(None, picks.missing(), Some(picks.taken()))?;
    picks.note("fallback_count", rest.len() as f64);
    for row in rest {
        picks.take(row, scores[row as usize])?;
    }
    Ok(picks.done())
}

/// How far labels move predictions on the estimation rows, in mean square.
struct Moved {
    draws: usize,
    classes: usize,
    count: u32,
    /// Sum of K over the estimation rows, its lower triangle by rows.
    sum: Vec<f64>,
    /// Sum of the outer products of those triangles, whose squares sum up to those of K; empty where it is not wanted.
    outer: Vec<f64>,
}

impl Moved {
    fn new(pool: &Draws, with_outer: bool) -> Self {
        let cells = pool.draws() * (pool.draws() + 1) / 2;
        let outer = if with_outer { vec![0.0; cells * cells] } else { Vec::new() };
        Self { draws: pool.draws(), classes: pool.classes(), count: 0, sum: vec![0.0; cells], outer }
    }

    /// Adds an estimation row by its class distributions, `[draws * classes]`.
    fn add(&mut self, probs: &[f64]) {
        self.count += 1;
        let mean: Vec<f64> = (0..self.classes).map(|class| self.mean_of(probs, class)).collect();
        let cells = self.triangle(probs, &mean, |_| 1.0);
        self.sum.iter_mut().zip(&cells).for_each(|(sum, cell)| *sum += cell);
        for (out, left) in self.outer.chunks_exact_mut(cells.len()).zip(&cells) {
            out.iter_mut().zip(&cells).for_each(|(out, right)| *out += left * right);
        }
    }

    fn mean_of(&self, probs: &[f64], class: usize) -> f64 {
        probs[class..].iter().step_by(self.classes).sum::<f64>() / self.draws as f64
    }

    /// Lower triangle of A diag(weight) A' by rows; cells off the diagonal times the root of 2, so that products of
    /// triangles are those of the whole matrices.
    fn triangle(&self, probs: &[f64], mean: &[f64], weight: impl Fn(usize) -> f64) -> Vec<f64> {
        let apart = |draw: usize, class: usize| probs[draw * self.classes + class] - mean[class];
        let mut cells = Vec::with_capacity(self.sum.len());
        for one in 0..self.draws {
            for other in 0..=one {
                let product = |class: usize| apart(one, class) * apart(other, class) * weight(class);
                let cell: f64 = (0..self.classes).map(product).sum();
                cells.push(if one == other { cell } else { cell * std::f64::consts::SQRT_2 });
            }
        }
        cells
    }

    /// The triangle of G of a row; classes that no draw thinks possible count for nothing.
    fn weighted(&self, probs: &[f64], mean: &[f64]) -> Vec<f64> {
        self.triangle(probs, mean, |class| if mean[class] > 0.0 { 1.0 / mean[class] } else { 0.0 })
    }

    /// Mean over the estimation rows of how far the label of a row moves them.
    fn score(&self, probs: &[f64], mean: &[f64]) -> f64 {
        let product: f64 = self.weighted(probs, mean).iter().zip(&self.sum).map(|(g, k)| g * k).sum();
        (product / (f64::from(self.count.max(1)) * (self.draws * self.draws) as f64)).max(0.0)
    }

    /// Vectors whose products with each other are those of what labels move, by estimation row.
    fn vectors(&self, pool: &Draws, rows: &[u32]) -> Result<(usize, Vec<f32>)> {
        let cells = self.sum.len();
        let factors = factors(&self.outer, cells);
        let mut vectors = Vec::with_capacity(rows.len() * factors.len());
        for &row in rows {
            let probs = pool.probs(row)?;
            let mean: Vec<f64> = (0..self.classes).map(|class| self.mean_of(&probs, class)).collect();
            let weighted = self.weighted(&probs, &mean);
            let along = |factor: &Vec<f64>| factor.iter().zip(&weighted).map(|(f, g)| f * g).sum::<f64>() as f32;
            vectors.extend(factors.iter().map(along));
        }
        Ok((factors.len(), vectors))
    }
}

/// Vectors f with `sum f f'` a symmetric matrix without negative eigenvalues: Cholesky's, the largest pivot first, as
/// long as it is no rounding error.
fn factors(matrix: &[f64], size: usize) -> Vec<Vec<f64>> {
    let mut left: Vec<f64> = (0..size).map(|at| matrix[at * size + at]).collect();
    let largest = left.iter().copied().fold(0.0, f64::max);
    let mut factors: Vec<Vec<f64>> = Vec::new();
    while factors.len() < size {
        // The first among equals, so that the answer is one.
        let pivot = (0..size).rev().max_by(|&a, &b| left[a].total_cmp(&left[b])).unwrap_or(0);
        if left[pivot] <= LEAST_PIVOT * largest {
            break;
        }
        let root = left[pivot].sqrt();
        let entry = |at: usize| {
            let before: f64 = factors.iter().map(|factor| factor[at] * factor[pivot]).sum();
            (matrix[at * size + pivot] - before) / root
        };
        let factor: Vec<f64> = (0..size).map(entry).collect();
        left.iter_mut().zip(&factor).for_each(|(left, f)| *left -= f * f);
        left[pivot] = 0.0;
        factors.push(factor);
    }
    factors
}
