//! Samples whose gradients add up to a target: as many times a mean gradient as samples are wanted.
//!
//! - `fixed`: each pick makes `|sum_S g - T|` as small as one more gradient can.
//! - `omp`: picks are weighted, `w >= 0`. Each pick has the gradient that points most along `T - sum_S w g`, and all
//!   weights are computed anew: those of the least `|sum_S w g - T|² + reg |w|²`. Weights are told and not used.

use querist_sdk::prelude::*;

use crate::gradient::{Rows, Sum, dot, inputs};
use crate::least_squares::LeastSquares;

/// Bytes of products of gradients that are kept.
const KEPT: usize = 64 << 20;
/// Weights that are told.
const TOLD: usize = 48;

/// How picks are weighted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// All alike.
    #[default]
    Fixed,
    /// By orthogonal matching pursuit, as in the paper.
    Omp,
}

/// Whose mean gradient is matched.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// That of the pool, as the model would label it.
    #[default]
    Pool,
    /// That of the validation set.
    Calibration,
}

params! {
    /// Parameters of GRAD-MATCH.
    #[schemars(extend("examples" = [{}, {"weights": "omp"}, {"weights": "omp", "reg": 0.0, "target": "calibration"}]))]
    pub struct Gradmatch {
        /// How picks are weighted.
        pub weights: Weights = Weights::Fixed,
        /// Whose mean gradient is matched.
        pub target: Target = Target::Pool,
        /// Weight of the squared length of the weights, under `omp`.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub reg: f64 = 0.5,
    }
}

impl Strategy for Gradmatch {
    const ID: &'static str = "gradmatch";
    const SUMMARY: &'static str = "Samples whose gradients in the last layer add up to that of the whole pool";
    const PAPER: &'static str = "Killamsetty et al., GRAD-MATCH: Gradient Matching based Data Subset Selection for \
                                 Efficient Deep Model Training, ICML 2021 (arXiv 2103.00123)";
    const COST: &'static str = "O(N C D) time once, O(N (C + D)) a pick (`omp`: O(N C D) a pick where N b numbers of 8 \
                                bytes pass 64 MiB); O(N + C D) memory.";
    const ALIASES: &'static [&'static str] = &["GradMatch", "GRAD-MATCH"];

    fn needs(&self) -> Vec<Need> {
        let mut needs = Rows::needs("");
        if self.target == Target::Calibration {
            needs.extend(Rows::needs(CALIBRATION));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        Rows::needs(CALIBRATION)
    }
}

const CALIBRATION: &str = "calibration.";

impl Selector for Gradmatch {
    fn select(&self, query: &Query) -> Result<Selection> {
        let pool = Rows::of(query, "")?;
        let held_out = match self.target {
            Target::Pool => None,
            Target::Calibration => Some(Rows::of(query, CALIBRATION)?),
        };
        let matched = held_out.as_ref().unwrap_or(&pool);
        if matched.count == 0 {
            return Err(StrategyError::Failed("no samples are held out whose gradient could be matched".to_owned()));
        }
        let share = f64::from(query.wanted()) / f64::from(matched.count);
        let target = matched.sum(query.classes())?.scaled(share);
        let mut work = Work::new(query, &pool, target)?;
        if self.weights == Weights::Omp {
            work.pursue(self.reg)?;
        }
        work.match_alike()?;
        work.done()
    }
}

/// A batch in the making.
struct Work<'a> {
    query: &'a Query,
    pool: &'a Rows,
    target: Sum,
    /// Sum of the picks' gradients minus the target.
    rest: Sum,
    /// The product of each gradient with the target.
    along: Vec<f64>,
    squares: Vec<f64>,
    is_open: Vec<bool>,
    picks: Picks<'a>,
}

impl<'a> Work<'a> {
    fn new(query: &'a Query, pool: &'a Rows, target: Sum) -> Result<Self> {
        let (mut along, mut squares) = (Vec::new(), Vec::new());
        pool.for_each(|_, error, input| {
            along.push(target.along(error, input));
            squares.push(dot(error, error) * inputs(input, input));
        })?;
        let rest = target.clone().scaled(-1.0);
        let is_open = vec![true; along.len()];
        Ok(Self { query, pool, target, rest, along, squares, is_open, picks: query.picks()? })
    }

    fn take(&mut self, row: u32) -> Result<()> {
        let (error, input) = self.pool.at(row)?;
        self.rest.add(&error, &input, 1.0);
        self.is_open[row as usize] = false;
        self.picks.take(row, None)
    }

    /// The product of each gradient with that of a row.
    fn products(&self, row: u32) -> Result<Vec<f64>> {
        let (error, input) = self.pool.at(row)?;
        let mut products = Vec::with_capacity(self.along.len());
        self.pool.for_each(|_, other, own| products.push(dot(&error, other) * inputs(&input, own)))?;
        Ok(products)
    }

    /// Picks until the batch is full, each with the gradient that brings the sum nearest to the target.
    fn match_alike(&mut self) -> Result<()> {
        // Products with the rest.
        let mut toward: Vec<f64> = Vec::with_capacity(self.along.len());
        match self.picks.is_empty() {
            true => toward.extend(self.along.iter().map(|along| -along)),
            false => self.pool.for_each(|_, error, input| toward.push(self.rest.along(error, input)))?,
        }
        while self.picks.missing() > 0 {
            let key = |row: usize| self.squares[row] + 2.0 * toward[row];
            let open = (0..toward.len()).filter(|&row| self.is_open[row]);
            let Some(row) = open.reduce(|best, row| if key(row) < key(best) { row } else { best }) else { break };
            self.take(row as u32)?;
            if self.picks.missing() > 0 {
                let products = self.products(row as u32)?;
                toward.iter_mut().zip(products).for_each(|(toward, product)| *toward += product);
            }
        }
        Ok(())
    }

    /// Picks with weights, as long as some gradient points along what is left.
    fn pursue(&mut self, reg: f64) -> Result<()> {
        let is_kept = self.along.len() * 8 * self.query.wanted() as usize <= KEPT;
        let mut columns: Vec<Vec<f64>> = Vec::new();
        let mut solver = LeastSquares::new(reg);
        let mut left = self.along.clone();
        while self.picks.missing() > 0 {
            let open = (0..left.len()).filter(|&row| self.is_open[row]);
            let Some(row) = open.reduce(|best, row| if left[row] > left[best] { row } else { best }) else { break };
            if left[row] <= 0.0 {
                break;
            }
            let products = self.products(row as u32)?;
            let others: Vec<f64> = self.picks.rows().iter().map(|&pick| products[pick as usize]).collect();
            solver.push(&others, self.squares[row], self.along[row]);
            self.take(row as u32)?;
            let weights = solver.solve();
            if is_kept {
                columns.push(products);
                left.clone_from(&self.along);
                for (column, weight) in columns.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
                    left.iter_mut().zip(column).for_each(|(left, product)| *left -= weight * product);
                }
            } else {
                let mut rest = self.target.clone();
                for (&pick, &weight) in self.picks.rows().iter().zip(weights) {
                    let (error, input) = self.pool.at(pick)?;
                    rest.add(&error, &input, -weight);
                }
                left.clear();
                self.pool.for_each(|_, error, input| left.push(rest.along(error, input)))?;
            }
        }
        self.picks.note("pursued", self.picks.len());
        let weights = solver.solve().to_vec();
        let mut rest = self.target.clone();
        for (at, (&pick, weight)) in self.picks.rows().to_vec().iter().zip(weights).enumerate() {
            let (error, input) = self.pool.at(pick)?;
            rest.add(&error, &input, -weight);
            if at < TOLD {
                self.picks.note(&format!("weight.{at}"), weight);
            }
        }
        self.picks.note("weighted_residual", rest.length());
        Ok(())
    }

    fn done(mut self) -> Result<Selection> {
        let zero = self.picks.rows().iter().filter(|&&row| self.squares[row as usize] == 0.0).count();
        self.picks.note("residual", self.rest.length());
        self.picks.note("zero_gradients", zero as f64);
        Ok(self.picks.done())
    }
}
