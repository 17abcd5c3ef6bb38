//! Robust k-center: the picks that leave the smallest radius around labelled and picked samples, but for a few outliers.
//!
//! With S the picks, L the labelled samples and Xi = `outlier_fraction` of the pool, the radius of S is the (Xi + 1)-th
//! largest distance of a pool sample to L and S. Furthest-first picks are within twice the smallest radius where Xi is 0.
//! From there the search halves the list of realised distances: for each it asks whether some picks leave at most Xi
//! samples farther away. A greedy cover may show that there are such picks, and samples that are pairwise too far apart
//! that there are none; what these leave open is decided by a mixed-integer program, which HiGHS solves on one thread
//!
//! `sum_j u_j = b`, `sum_i z_i <= Xi`, `z_i + sum_(j within the radius of i) u_j >= 1`, u binary, 0 <= z <= 1
//!
//! with one row and at most two columns a sample (`sum_j u_j <= b`: what is left over may be anything). A program that reaches a limit counts as infeasible for the search, and
//! the answer as not proven.
//!
//! The figures of an answer: `radius` of the picks, `lower_bound` of every batch's radius, `gap` = radius / lower bound,
//! `optimal` (1 where they meet), `greedy_radius`, `outliers` = Xi, and how many `programs` were solved.
//!
//! Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, section 5.3.
//! The published search starts at half of the greedy radius, which can miss the optimum where there are outliers; here
//! it then starts at 0. The published script allows no outliers: `preset = "authors-code"`.
//!
//! Above `max_points` samples, the radius is made small on the greedy picks and a random part of the pool, whose
//! samples are then the candidates too. Picks that this improves on the whole pool replace the greedy ones, and the
//! answer is never called optimal.

#![expect(
    clippy::disallowed_types,
    reason = "`time_limit_s` bounds the solver; the parameter says that picks then hang on the machine"
)]

mod highs;
mod program;
mod search;

use std::time::{Duration, Instant};

use querist_sdk::prelude::*;
use querist_sdk::{Entry, Package};

use program::Limits;
use search::{Found, Pool};

/// Parameters of robust k-center.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(example = CoreSet { node_limit: Some(1), tol: 0.25, ..CoreSet::default() })]
pub struct CoreSet {
    /// Share of the pool that may lie outside the radius.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub outlier_fraction: f64,
    /// Seconds that the programs of a query may take together; the answer depends on the machine once they are spent.
    #[schemars(range(min = 1))]
    pub time_limit_s: u32,
    /// Nodes of the search tree of one program at most; no limit where it is left out.
    #[schemars(range(min = 1))]
    pub node_limit: Option<u32>,
    /// Samples that the search looks at, at most. Distances between them take 8 bytes each.
    #[schemars(range(min = 1, max = 20_000))]
    pub max_points: u32,
    /// The search ends when the radius is within this share of its lower bound.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tol: f64,
}

impl Default for CoreSet {
    fn default() -> Self {
        Self { outlier_fraction: 1e-4, time_limit_s: 600, node_limit: None, max_points: 5_000, tol: 0.0 }
    }
}

impl Strategy for CoreSet {
    const ID: &'static str = "core-set";
    const SUMMARY: &'static str =
        "Samples with the smallest radius around all labelled and picked ones, but for outliers";
    const PAPER: &'static str =
        "Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018";
    const COST: &'static str = "O(N D (L + b)) time for the greedy answer, then programs over at most max_points rows within node_limit or time_limit_s; O(max_points^2) memory.";
    const ALIASES: &'static [&'static str] = &["Core-Set", "robust-k-center"];

    fn layers() -> Vec<Layer<Self>> {
        let set = |core_set: &mut Self| core_set.outlier_fraction = 0.0;
        let preset = Layer::preset("authors-code", "The authors' script: no outliers.", set);
        vec![preset.once_called("preset", "authors")]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS), Need::new("labelled.embeddings")]
    }

    fn check(&self) -> Result<(), String> {
        if !(0.0..0.5).contains(&self.outlier_fraction) {
            return Err(format!(
                "outlier_fraction is {}, but it must be at least 0 and below 0.5",
                self.outlier_fraction
            ));
        }
        if !(0.0..=1.0).contains(&self.tol) {
            return Err(format!("tol is {}, but it must lie between 0 and 1", self.tol));
        }
        if self.time_limit_s == 0 || self.node_limit == Some(0) || self.max_points == 0 {
            return Err("time_limit_s, node_limit and max_points must be at least 1".to_owned());
        }
        Ok(())
    }
}

impl Selector for CoreSet {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        if wanted == 0 {
            return Ok(Selection::default());
        }
        if wanted == query.rows() {
            return Ok(Selection { rows: (0..wanted).collect(), ..Selection::default() });
        }
        if wanted > self.max_points {
            return Err(StrategyError::Failed(format!(
                "{wanted} samples are asked for, but max_points is {}; raise it to at least as many",
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
        let mut selection = Selection::default();
        if points.len() == query.rows() as usize {
            selection.rows = pool.in_order(&found.picks).into_iter().map(|place| points[place]).collect();
            report(&mut selection, &found, outliers(pool.len()));
        } else {
            let picks: Vec<u32> = found.picks.iter().map(|&place| points[place]).collect();
            let outliers = outliers(known.len());
            let radius = |picks: &[u32]| radius(&embeddings, &known, picks, outliers);
            let (of_greedy, of_found) = (radius(&greedy)?, radius(&picks)?);
            let lower_bound = if outliers == 0 { of_greedy / 2.0 } else { 0.0 };
            let whole = Found { radius: of_greedy.min(of_found), greedy: of_greedy, lower_bound, ..found };
            report(&mut selection, &Found { is_optimal: false, ..whole }, outliers);
            selection.rows = if of_found < of_greedy { picks } else { greedy };
        }
        query.refill_at_random(&mut selection)?;
        Ok(selection)
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
        let mean: Vec<f32> = embeddings.mean()?.iter().map(|&x| x as f32).collect();
        let centre = query.new_matrix(1, mean.len() as u32, &mean)?;
        let away = embeddings.distance_reduce(&centre, Metric::Euclidean, Reduction::Min)?.to_vec()?;
        let first = (0..away.len()).fold(0, |best, row| if away[row] < away[best] { row } else { best });
        picks.push(first as u32);
        nearest.add(&picks)?;
    }
    let taken = query.mask(query.rows())?;
    taken.exclude(&picks)?;
    while (picks.len() as u32) < query.wanted()
        && let Some((row, distance)) = nearest.farthest(Some(&taken))?
        && distance > 0.0
    {
        nearest.add(&[row])?;
        taken.exclude(&[row])?;
        picks.push(row);
    }
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

fn report(selection: &mut Selection, found: &Found, outliers: usize) {
    // Without any lower bound the gap is as large as is still a useful figure.
    let gap = if found.radius > 0.0 { found.radius / found.lower_bound.max(found.radius * 1e-9) } else { 1.0 };
    let figures = [
        ("optimal", f64::from(u8::from(found.is_optimal))),
        ("gap", gap),
        ("radius", found.radius),
        ("lower_bound", found.lower_bound),
        ("greedy_radius", found.greedy),
        ("outliers", outliers as f64),
        ("programs", found.programs as f64),
    ];
    selection.diagnostics.extend(figures.map(|(name, value)| (name.to_owned(), value)));
}

/// The package.
pub static PACKAGE: Package =
    Package { name: "core-set", version: env!("CARGO_PKG_VERSION"), entries: &[Entry::selector::<CoreSet>()] };

querist_sdk::export_native!(PACKAGE, on_load = highs::load);
