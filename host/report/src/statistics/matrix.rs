//! Which strategy beats which, over many settings (Ash et al. 2020, BADGE, section 4).

use serde::Serialize;

use super::CurvePoint;
use super::paired::PairedTest;

/// Share of its final accuracy at which the baseline has no more to learn: later rounds say nothing.
const SATURATED: f64 = 0.99;
/// Level of each test, two-sided.
const LEVEL: f64 = 0.05;

/// Wins of each strategy over each other, summed over settings.
///
/// **Orientation**: `wins[i][j]` is how much strategy `i` beat strategy `j`: in each setting, the share of its
/// checkpoints at which `i` is above `j` by a paired two-sided t test at level .05, without correction, as in the
/// paper. So a row says how often a strategy wins, and the mean of column `j` (itself left out) how often `j` is
/// beaten; lower is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Penalties {
    /// The strategies, in the order of rows and columns.
    pub strategies: Vec<String>,
    /// Wins of the row over the column, from 0 to `settings[row][column]`.
    pub wins: Vec<Vec<f64>>,
    /// Settings in which both were compared at one checkpoint at least.
    pub settings: Vec<Vec<usize>>,
}

impl Penalties {
    /// An empty table of these strategies.
    pub fn new(strategies: Vec<String>) -> Self {
        let n = strategies.len();
        Self { strategies, wins: vec![vec![0.0; n]; n], settings: vec![vec![0; n]; n] }
    }

    /// Adds one setting: for two strategies, by their places, the differences `a - b` of paired seeds at each
    /// checkpoint. A checkpoint of fewer than two pairs is left out.
    pub fn add(&mut self, a: usize, b: usize, checkpoints: &[Vec<f64>]) {
        let tests: Vec<PairedTest> = checkpoints.iter().filter_map(|differences| PairedTest::of(differences)).collect();
        if a == b || tests.is_empty() {
            return;
        }
        let share = |sign: f64| {
            let won = tests.iter().filter(|test| test.p < LEVEL && test.t * sign > 0.0).count();
            won as f64 / tests.len() as f64
        };
        self.wins[a][b] += share(1.0);
        self.wins[b][a] += share(-1.0);
        self.settings[a][b] += 1;
        self.settings[b][a] += 1;
    }

    /// How often a strategy is beaten, by its place: the mean over the others of their wins a setting, from 0 to 1.
    /// `None` where it was compared with none.
    pub fn beaten(&self, at: usize) -> Option<f64> {
        let others = (0..self.strategies.len()).filter(|&other| self.settings[other][at] > 0);
        let shares: Vec<f64> = others.map(|other| self.wins[other][at] / self.settings[other][at] as f64).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }
}

/// Labelled counts at which a setting is judged: those of rounds 1, 2, 4, 8, ... up to the first with which the
/// baseline's mean curve has 99 % of its final accuracy. Empty where that is the initial round.
pub fn checkpoints(baseline: &[CurvePoint]) -> Vec<usize> {
    let Some(&(_, last)) = baseline.last() else { return Vec::new() };
    let saturated =
        baseline.iter().position(|&(_, accuracy)| accuracy >= SATURATED * last).unwrap_or(baseline.len() - 1);
    let rounds = std::iter::successors(Some(1usize), |round| round.checked_mul(2));
    rounds.take_while(|&round| round <= saturated).map(|round| baseline[round].0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_double_until_the_baseline_is_saturated() {
        let curve: Vec<CurvePoint> =
            (0..12).map(|round| (100 * (round + 1), (0.5 + 0.05 * round as f64).min(0.9))).collect();
        // .9 x .99 = .891 is passed at round 8, .9.
        assert_eq!(checkpoints(&curve), [200, 300, 500, 900]);
        assert_eq!(checkpoints(&curve[..4]), [200, 300]);
        assert_eq!(checkpoints(&[(10, 0.9), (20, 0.9)]), Vec::<usize>::new());
        assert_eq!(checkpoints(&[]), Vec::<usize>::new());
    }

    #[test]
    fn rows_win_and_columns_are_beaten() {
        let mut table = Penalties::new(["a", "b", "c"].map(str::to_owned).to_vec());
        let clear = vec![0.1, 0.11, 0.09, 0.1, 0.1];
        let unclear = vec![0.1, -0.1, 0.0, 0.2, -0.15];
        table.add(0, 1, &[clear.clone(), unclear.clone()]);
        table.add(0, 1, &[clear.clone(), clear.clone()]);
        table.add(1, 2, &[unclear]);
        assert_eq!(table.wins, [[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
        // Beaten in three of four checkpoints by one, never by the other.
        assert_eq!((table.beaten(0), table.beaten(1), table.beaten(2)), (Some(0.0), Some(0.375), Some(0.0)));
        table.add(2, 2, &[clear]);
        table.add(0, 2, &[vec![0.5]]);
        assert_eq!(table.settings, [[0, 2, 0], [2, 0, 1], [0, 1, 0]]);
    }
}
