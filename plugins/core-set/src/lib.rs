//! Robust k-center: the picks that leave the smallest radius around labelled and picked samples, but for a few
//! outliers.
//!
//! With S the picks, L the labelled samples and Xi = `outlier_fraction` of the pool, the radius of S is the (Xi + 1)-th
//! largest distance of a pool sample to L and S. Furthest-first picks are within twice the smallest radius where Xi is
//! 0. From there the search halves the list of realised distances: for each it asks whether some picks leave at most Xi
//! samples farther away. A greedy cover may show that there are such picks, and samples that are pairwise too far apart
//! that there are none; what these leave open is decided by a mixed-integer program, which HiGHS solves on one thread
//!
//! `sum_j u_j = b`, `sum_i z_i <= Xi`, `z_i + sum_(j within the radius of i) u_j >= 1`, u binary, 0 <= z <= 1
//!
//! with one row and at most two columns a sample (`sum_j u_j <= b`: what is left over may be anything). A program that
//! reaches a limit counts as infeasible for the search, and the answer as not proven.
//!
//! The figures of an answer: `radius` of the picks, `lower_bound` of every batch's radius, `gap` = radius / lower
//! bound, `optimal` (1 where they meet), `greedy_radius`, `outliers` = Xi, and how many `programs` were solved.
//!
//! Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, section
//! 5.3. The published search starts at half of the greedy radius, which can miss the optimum where there are outliers;
//! here it then starts at 0. The published script allows no outliers: `preset = "authors-code"`.
//!
//! Above `max_points` samples, the radius is made small on the greedy picks and a random part of the pool, whose
//! samples are then the candidates too. Picks that this improves on the whole pool replace the greedy ones, and the
//! answer is never called optimal.
//!
//! The package has another strategy with a program for the same solver, `balanced-exact`.

// More than 150 lines: the search for a smallest radius and the interface of the solver are its own.

#![expect(
    clippy::disallowed_types,
    reason = "`time_limit_s` bounds the solver; the parameter says that picks then hang on the machine"
)]

mod highs;
mod program;
mod quotas;
mod search;

use std::time::{Duration, Instant};

use querist_sdk::prelude::*;
use querist_sdk::{Entry, Package};

use program::Limits;
pub use quotas::{BalancedExact, Counts, Measure, Scale};
use search::{Found, Pool};

params! {
    /// Parameters of robust k-center.
    #[schemars(example = CoreSet { node_limit: Some(1), tol: 0.25, ..CoreSet::default() })]
    pub struct CoreSet {
        /// Share of the pool that may lie outside the radius.
        #[schemars(range(min = 0.0, max = 0.5))]
        pub outlier_fraction: f64 = 1e-4,
        /// Seconds that the programs of a query may take together; the answer depends on the machine once they are
        /// spent.
        #[schemars(range(min = 1))]
        pub time_limit_s: u32 = 600,
        /// Nodes of the search tree of one program at most; no limit where it is left out.
        #[schemars(range(min = 1))]
        pub node_limit: Option<u32> = None,
        /// Samples that the search looks at, at most. Distances between them take 8 bytes each.
        #[schemars(range(min = 1, max = 20_000))]
        pub max_points: u32 = 5_000,
        /// The search ends when the radius is within this share of its lower bound.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub tol: f64 = 0.0,
    }
}

impl Strategy for CoreSet {
    const ID: &'static str = "core-set";
    const SUMMARY: &'static str =
        "Samples with the smallest radius around all labelled and picked ones, but for outliers";
    const PAPER: &'static str =
        "Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018";
    const COST: &'static str = "O(N D (L + b)) time for the greedy answer, then programs over at most max_points rows \
                                within node_limit or time_limit_s; O(max_points^2) memory.";
    const ALIASES: &'static [&'static str] = &["Core-Set", "robust-k-center"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        let set = |core_set: &mut Self| core_set.outlier_fraction = 0.0;
        let preset = Layer::preset("authors-code", "The authors' script: no outliers.", set);
        vec![preset.once_called("preset", "authors")]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS), Need::new("labelled.embeddings")]
    }

    fn check(&self) -> Result<(), String> {
        match self.outlier_fraction < 0.5 {
            true => Ok(()),
            false => Err(format!("outlier_fraction is {}, but it must be below 0.5", self.outlier_fraction)),
        }
    }
}

impl Selector for CoreSet {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        if wanted > self.max_points {
            return Err(StrategyError::Failed(format!(
                "{wanted} samples are wanted, but max_points is {}; raise it to at least as many",
                self.max_points
            )));
        }
        let embeddings = query.matrix(names::EMBEDDINGS)?;
        let greedy = furthest_first(query, &embeddings)?;
        let known = distances_to_labelled(query, &embeddings)?;
        let points = self.points(query, &greedy)?;
        let pool = Pool::new(&embeddings.gather(&points)?, points.iter().map(|&row| known[row as usize]).collect())?;
        let place = |row: &u32| points.binary_search(row).ok();
        let start: Vec<usize> = greedy.iter().filter_map(place).collect();
        let deadline = Instant::now() + Duration::from_secs(u64::from(self.time_limit_s));
        let limits = Limits { deadline, nodes: self.node_limit.map(u64::from) };
        let outliers = |count: usize| (self.outlier_fraction * count as f64) as usize;
        let found = search::search(&pool, start, wanted as usize, outliers(pool.len()), self.tol, limits, |tried| {
            query.progress(tried, tried + 1)
        })?;
        let mut picks = query.picks()?;
        if points.len() == query.rows() as usize {
            report(&mut picks, &found, outliers(pool.len()));
            picks.take_all(pool.in_order(&found.picks).into_iter().map(|place| points[place]))?;
        } else {
            let better: Vec<u32> = found.picks.iter().map(|&place| points[place]).collect();
            let outliers = outliers(known.len());
            let radius = |picks: &[u32]| radius(&embeddings, &known, picks, outliers);
            let (of_greedy, of_found) = (radius(&greedy)?, radius(&better)?);
            let lower_bound = if outliers == 0 { of_greedy / 2.0 } else { 0.0 };
            let whole = Found { radius: of_greedy.min(of_found), greedy: of_greedy, lower_bound, ..found };
            report(&mut picks, &Found { is_optimal: false, ..whole }, outliers);
            picks.take_all(if of_found < of_greedy { better } else { greedy })?;
        }
        picks.fill_at_random()
    }
}

impl CoreSet {
    /// The rows that the search looks at, ascending: all, or some with the greedy picks among them.
    fn points(&self, query: &Query, greedy: &[u32]) -> Result<Vec<u32>> {
        if query.rows() <= self.max_points {
            return Ok((0..query.rows()).collect());
        }
        let taken = query.mask(query.rows())?;
        taken.exclude(greedy)?;
        let keys = query.stream("points", StreamScope::Round)?.by_row(0)?;
        let mut points = keys.top(None, self.max_points - greedy.len() as u32, Some(&taken))?;
        points.extend(greedy);
        points.sort_unstable();
        Ok(points)
    }
}

/// Picks of k-center greedy; fewer where only copies of covered samples are left. Without labels the sample nearest to
/// the mean is first.
fn furthest_first(query: &Query, embeddings: &Matrix) -> Result<Vec<u32>> {
    let nearest = embeddings.points()?.nearest(Metric::Euclidean)?;
    let mut picks = Vec::new();
    if query.labelled_rows() > 0 {
        nearest.add_points(&query.matrix("labelled.embeddings")?.points()?)?;
    } else {
        picks.push(embeddings.nearest_to_mean(Metric::Euclidean)?.0);
        nearest.add(&picks)?;
    }
    let taken = query.mask(query.rows())?;
    taken.exclude(&picks)?;
    let farthest = nearest.furthest_first(query.wanted() - picks.len() as u32, &taken)?;
    picks.extend(farthest.into_iter().map(|(row, _)| row));
    Ok(picks)
}

/// Distance of each pool row to the nearest labelled one; infinite where there is none.
fn distances_to_labelled(query: &Query, embeddings: &Matrix) -> Result<Vec<f64>> {
    if query.labelled_rows() == 0 {
        return Ok(vec![f64::INFINITY; query.rows() as usize]);
    }
    embeddings.distance_reduce(&query.matrix("labelled.embeddings")?, Metric::Euclidean, Reduction::Min)?.to_vec()
}

/// Radius of picks on the whole pool.
fn radius(embeddings: &Matrix, known: &[f64], picks: &[u32], outliers: usize) -> Result<f64> {
    let own = embeddings.distance_reduce(&embeddings.gather(picks)?, Metric::Euclidean, Reduction::Min)?.to_vec()?;
    let mut nearest: Vec<f64> = known.iter().zip(own).map(|(known, own)| known.min(own)).collect();
    Ok(search::radius_of(&mut nearest, outliers))
}

fn report(picks: &mut Picks, found: &Found, outliers: usize) {
    // Without any lower bound the gap is as large as is still a useful figure.
    let gap = if found.radius > 0.0 { found.radius / found.lower_bound.max(found.radius * 1e-9) } else { 1.0 };
    picks.note("optimal", f64::from(u8::from(found.is_optimal)));
    picks.note("gap", gap);
    picks.note("radius", found.radius);
    picks.note("lower_bound", found.lower_bound);
    picks.note("greedy_radius", found.greedy);
    picks.note("outliers", outliers as f64);
    picks.note("programs", found.programs as f64);
}

/// The package.
pub static PACKAGE: Package = Package { name: "core-set", version: env!("CARGO_PKG_VERSION"), entries: ENTRIES };

const ENTRIES: &[Entry] = &[Entry::selector::<CoreSet>(), Entry::selector::<BalancedExact>()];

querist_sdk::export_native!(PACKAGE, on_load = highs::load);
