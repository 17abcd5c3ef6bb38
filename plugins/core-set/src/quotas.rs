//! The most uncertain samples that make classes as frequent as is wanted, by one mixed-integer program.
//!
//! With u the uncertainty of each sample, P its class probabilities (or the one-hot of its prediction), s_c the labels
//! that class c lacks, and z the samples that are selected,
//!
//! `maximise sum_i u_i z_i - lambda sum_c |sum_i P_ic z_i - s_c|`, z binary, `sum_i z_i = b`.
//!
//! The linear relaxation leaves at most C + 1 samples undecided. Its rounding is a batch; whatever would cost more than
//! the difference of the two to be decided otherwise is decided, and the program is solved over the rest.
//!
//! Bengar, van de Weijer, Fuentes and Raducanu, "Class-Balanced Active Learning for Image Classification", WACV 2022.
//! There the program has every sample, and a limit in seconds.

use querist_sdk::prelude::*;

use crate::highs::Program;

/// How much more than the difference it must cost to be decided.
const SLACK: f64 = 1e-7;

/// Uncertainty of a sample.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Entropy of the class probabilities, as in the paper.
    #[default]
    Entropy,
    /// Minus the difference between the two largest class probabilities.
    Margin,
    /// 1 minus the largest class probability.
    LeastConfidence,
}

/// What a sample counts as.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// As its class probabilities say.
    #[default]
    Soft,
    /// As one of its predicted class.
    Hard,
}

/// How uncertainties are scaled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// From 0 to 1 over the pool.
    #[default]
    Range,
    /// Not at all.
    None,
}

params! {
    /// Parameters of class-balanced uncertainty.
    #[schemars(extend("examples" = [
        {"node_limit": 20},
        {"measure": "margin", "counts": "hard", "lambda": 0.3, "node_limit": 20},
        {"normalise": "none", "node_limit": 20},
    ]))]
    pub struct BalancedExact {
        /// Uncertainty of a sample.
        pub measure: Measure = Measure::Entropy,
        /// What a sample counts as.
        pub counts: Counts = Counts::Soft,
        /// Shares of the classes among labels and picks, at least 0 each; all alike where it is left out.
        #[schemars(length(min = 1, max = 65_536))]
        pub target: Option<Vec<f64>> = None,
        /// Weight of the distance from what is wanted.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub lambda: f64 = 1.0,
        /// How uncertainties are scaled.
        pub normalise: Scale = Scale::Range,
        /// Nodes of the search tree at most.
        #[schemars(range(min = 1))]
        pub node_limit: u32 = 10_000,
    }
}

impl Strategy for BalancedExact {
    const ID: &'static str = "balanced-exact";
    const SUMMARY: &'static str =
        "The most uncertain samples that make classes as frequent as is wanted, by one program";
    const PAPER: &'static str = "Bengar, van de Weijer, Fuentes and Raducanu, Class-Balanced Active Learning for Image \
                                 Classification, WACV 2022";
    const COST: &'static str = "A linear program of N + 2 C columns and C + 1 rows, then a mixed-integer one of few \
                                columns within node_limit; O(N C) memory.";
    const ALIASES: &'static [&'static str] = &["EntropyCB"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        Need::all([names::LOGITS, names::LABELLED_LABELS])
    }
}

impl Selector for BalancedExact {
    fn select(&self, query: &Query) -> Result<Selection> {
        let problem = self.problem(query)?;
        let found = problem.solve(u64::from(self.node_limit), &|| query.progress(0, 1).is_ok());
        query.progress(0, 1)?;
        let found = found.map_err(StrategyError::Failed)?;
        let mut order = found.picks;
        order.sort_by(|&a, &b| problem.values[b].total_cmp(&problem.values[a]).then(a.cmp(&b)));
        let mut picks = query.picks()?;
        for row in order {
            picks.take(row as u32, problem.values[row])?;
        }
        picks.note("objective", found.objective);
        picks.note("bound", found.bound);
        picks.note("optimal", f64::from(u8::from(found.is_optimal)));
        picks.note("undecided", found.undecided as f64);
        Ok(picks.done())
    }
}

impl BalancedExact {
    fn problem(&self, query: &Query) -> Result<Problem> {
        let classes = query.classes() as usize;
        let logits = query.matrix(names::LOGITS)?;
        let measure = match self.measure {
            Measure::Entropy => Uncertainty::Entropy,
            Measure::Margin => Uncertainty::Margin,
            Measure::LeastConfidence => Uncertainty::LeastConfidence,
        };
        let mut values = logits.uncertainty(measure)?.0.to_vec()?;
        if self.normalise == Scale::Range {
            let range = querist_sdk::Range::of(&values);
            values.iter_mut().for_each(|value| *value = range.place(*value, 0.0));
        }
        let mut shares = Vec::with_capacity(values.len() * classes);
        logits.for_each_row(|_, row| {
            let softmax = querist_sdk::Softmax::of(row);
            match self.counts {
                Counts::Soft => shares.extend(softmax.probs),
                Counts::Hard => shares.extend((0..classes).map(|class| f64::from(u8::from(class == softmax.top)))),
            }
            Ok(())
        })?;
        let labels = query.labelled_labels()?;
        let mut lacking = self.shares(classes)?;
        lacking.iter_mut().for_each(|share| *share *= (labels.len() + query.wanted() as usize) as f64);
        labels.iter().for_each(|&label| lacking[label as usize] -= 1.0);
        lacking.iter_mut().for_each(|lacking| *lacking = lacking.max(0.0));
        Ok(Problem { values, shares, lacking, lambda: self.lambda, count: query.wanted() as usize })
    }

    fn shares(&self, classes: usize) -> Result<Vec<f64>> {
        let given = self.target.clone().unwrap_or_else(|| vec![1.0; classes]);
        let sum: f64 = given.iter().sum();
        let refuse = |message: String| Err(StrategyError::InvalidParams(message));
        if given.len() != classes {
            return refuse(format!("`target` has {} shares, but the task has {classes} classes", given.len()));
        }
        if !(sum > 0.0 && sum.is_finite()) || given.iter().any(|share| *share < 0.0) {
            return refuse("`target` wants nothing: its shares must be at least 0, and their sum above 0".to_owned());
        }
        Ok(given.into_iter().map(|share| share / sum).collect())
    }
}

/// What is to be maximised.
struct Problem {
    values: Vec<f64>,
    /// What each row counts as, `[rows, classes]`.
    shares: Vec<f64>,
    lacking: Vec<f64>,
    lambda: f64,
    count: usize,
}

/// The best batch, as far as it was looked for.
struct Found {
    picks: Vec<usize>,
    objective: f64,
    bound: f64,
    is_optimal: bool,
    /// Rows that the linear program left open.
    undecided: usize,
}

impl Problem {
    fn solve(&self, nodes: u64, is_wanted: &dyn Fn() -> bool) -> Result<Found, String> {
        let all: Vec<usize> = (0..self.values.len()).collect();
        let relaxed = self.program(&all, &[], false).best(None, is_wanted)?;
        let rounded = self.exchanged(self.largest(&relaxed.values));
        // What is lost by rounding; costs are what objectives are, with the other sign.
        let lost = (-self.objective(&rounded) - relaxed.bound).max(0.0);
        if lost < SLACK {
            let (objective, bound) = (self.objective(&rounded), -relaxed.bound);
            return Ok(Found {
                objective,
                bound: bound.max(objective),
                is_optimal: true,
                undecided: 0,
                picks: rounded,
            });
        }
        let gap = lost + SLACK;
        let is_out = |row: usize| relaxed.values[row] < SLACK && relaxed.reduced[row] > gap;
        let is_in = |row: usize| relaxed.values[row] > 1.0 - SLACK && relaxed.reduced[row] < -gap;
        let fixed: Vec<usize> = all.iter().copied().filter(|&row| is_in(row)).collect();
        let open: Vec<usize> = all.into_iter().filter(|&row| !is_in(row) && !is_out(row)).collect();
        let whole = self.program(&open, &fixed, true).best(Some(nodes), is_wanted)?;
        let mut picks = fixed.clone();
        picks.extend(open.iter().zip(&whole.values).filter(|(_, value)| **value > 0.5).map(|(&row, _)| row));
        let better = picks.len() == self.count && self.objective(&picks) >= self.objective(&rounded);
        let picks = if better { picks } else { rounded };
        let fixed_cost: f64 = fixed.iter().map(|&row| -self.values[row]).sum();
        let bound = -(whole.bound + fixed_cost);
        let objective = self.objective(&picks);
        Ok(Found { objective, bound: bound.max(objective), is_optimal: whole.is_proven, undecided: open.len(), picks })
    }

    fn share(&self, row: usize, class: usize) -> f64 {
        self.shares[row * self.lacking.len() + class]
    }

    /// The program over some rows, where others are selected already.
    fn program(&self, rows: &[usize], fixed: &[usize], is_whole: bool) -> Program {
        let mut program = Program::default();
        for &row in rows {
            program.column(-self.values[row], is_whole);
        }
        for (class, lacking) in self.lacking.iter().enumerate() {
            let (more, fewer) = (program.open_column(self.lambda), program.open_column(self.lambda));
            let left = lacking - fixed.iter().map(|&row| self.share(row, class)).sum::<f64>();
            let shares = rows.iter().enumerate().map(|(at, &row)| (at, self.share(row, class)));
            let shares = shares.filter(|(_, share)| *share != 0.0);
            program.weighted_row(shares.chain([(more, -1.0), (fewer, 1.0)]), left, left);
        }
        let count = (self.count - fixed.len()) as f64;
        program.row(0..rows.len(), count, count);
        program
    }

    /// The rows of the largest values, the lower ones first among equals.
    fn largest(&self, values: &[f64]) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.values.len()).collect();
        rows.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        rows.truncate(self.count);
        rows
    }

    /// The batch after each of its rows was exchanged for the best other one, where that is better.
    fn exchanged(&self, mut picks: Vec<usize>) -> Vec<usize> {
        let mut sums = self.sums(&picks);
        let mut is_picked = vec![false; self.values.len()];
        picks.iter().for_each(|&row| is_picked[row] = true);
        for pick in &mut picks {
            let apart = |out: usize, other: usize| -> f64 {
                let of = |class: usize| {
                    (sums[class] - self.share(out, class) + self.share(other, class) - self.lacking[class]).abs()
                };
                self.values[other] - self.lambda * (0..sums.len()).map(of).sum::<f64>()
            };
            let now = apart(*pick, *pick);
            let others = (0..self.values.len()).filter(|&row| !is_picked[row]).map(|row| (row, apart(*pick, row)));
            let best = others.fold((*pick, now), |best, one| if one.1 > best.1 { one } else { best });
            let (out, other) = (*pick, best.0);
            for (class, sum) in sums.iter_mut().enumerate() {
                *sum += self.share(other, class) - self.share(out, class);
            }
            (is_picked[out], is_picked[other]) = (false, true);
            *pick = other;
        }
        picks
    }

    fn sums(&self, picks: &[usize]) -> Vec<f64> {
        (0..self.lacking.len()).map(|class| picks.iter().map(|&row| self.share(row, class)).sum()).collect()
    }

    fn objective(&self, picks: &[usize]) -> f64 {
        let apart: f64 = self.sums(picks).iter().zip(&self.lacking).map(|(sum, lacking)| (sum - lacking).abs()).sum();
        picks.iter().map(|&row| self.values[row]).sum::<f64>() - self.lambda * apart
    }
}
