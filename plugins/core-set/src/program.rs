//! Whether some picks leave at most a few points uncovered, as a mixed-integer program.

use std::time::Instant;

use crate::highs::{Budget, End, Program};

/// What one search may spend on programs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// No program runs past this.
    pub deadline: Instant,
    /// Nodes of the tree of each program.
    pub nodes: Option<u64>,
}

/// Answer of a program.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// These candidates do.
    Picks(Vec<usize>),
    /// None do.
    None,
    /// A limit was reached, the caller stopped it, or rounding got the better of the solver.
    Unknown,
}

/// Looks for at most `most` candidates that cover all points but `outliers`. `covers[i]` lists those that cover point
/// i.
///
/// # Errors
/// If the solver fails.
pub fn solve(
    covers: &[Vec<usize>],
    most: usize,
    outliers: usize,
    limits: Limits,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Answer, String> {
    let left = limits.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(Answer::Unknown);
    }
    let mut candidates: Vec<usize> = covers.iter().flatten().copied().collect();
    candidates.sort_unstable();
    candidates.dedup();
    let mut program = Program::default();
    // Few picks, or few uncovered points where some may be: the relaxation then leads towards covers, and its bound
    // cuts.
    let cost = if outliers > 0 { 0.0 } else { 1.0 };
    let picks: Vec<usize> = candidates.iter().map(|_| program.column(cost, true)).collect();
    let mut missed = Vec::new();
    for covers in covers {
        let mut columns: Vec<usize> = covers.iter().filter_map(|j| candidates.binary_search(j).ok()).collect();
        if outliers > 0 {
            let column = program.column(1.0, false);
            missed.push(column);
            columns.push(column);
        }
        program.row(columns, 1.0, f64::INFINITY);
    }
    if outliers > 0 {
        program.row(missed, 0.0, outliers as f64);
    }
    program.row(picks.clone(), 0.0, most as f64);
    let budget = Budget { seconds: left.as_secs_f64(), nodes: limits.nodes };
    Ok(match program.solve(budget, is_wanted)? {
        End::Solution(values) => {
            let is_picked = |&(_, &pick): &(&usize, &usize)| values[pick] > 0.5;
            Answer::Picks(candidates.iter().zip(&picks).filter(is_picked).map(|(&candidate, _)| candidate).collect())
        }
        End::Infeasible => Answer::None,
        End::Stopped => Answer::Unknown,
    })
}
