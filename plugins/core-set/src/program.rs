//! Whether some picks leave at most a few points uncovered, as a mixed-integer program.

use std::time::Instant;

use microlp::{ComparisonOp, Error, OptimizationDirection, Problem, SolveOptions, SolveOutcome, Variable};

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
    /// A limit was reached, or rounding got the better of the solver.
    Unknown,
}

/// Looks for at most `most` candidates that cover all points but `outliers`. `covers[i]` lists those that cover point i.
pub fn solve(covers: &[Vec<usize>], most: usize, outliers: usize, limits: Limits) -> Answer {
    let left = limits.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Answer::Unknown;
    }
    // The fewest uncovered points first: the relaxation then leads towards covers, and its bound cuts.
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut candidates: Vec<usize> = covers.iter().flatten().copied().collect();
    candidates.sort_unstable();
    candidates.dedup();
    let picks: Vec<Variable> = candidates.iter().map(|_| problem.add_binary_var(0.0)).collect();
    let mut missed = Vec::new();
    for covers in covers {
        let mut terms: Vec<(Variable, f64)> = Vec::with_capacity(covers.len() + 1);
        terms.extend(covers.iter().filter_map(|j| candidates.binary_search(j).ok()).map(|at| (picks[at], 1.0)));
        if outliers > 0 {
            let variable = problem.add_var(1.0, (0.0, 1.0));
            missed.push((variable, 1.0));
            terms.push((variable, 1.0));
        }
        problem.add_constraint(&terms[..], ComparisonOp::Ge, 1.0);
    }
    if outliers > 0 {
        problem.add_constraint(&missed[..], ComparisonOp::Le, outliers as f64);
    }
    let all: Vec<(Variable, f64)> = picks.iter().map(|&pick| (pick, 1.0)).collect();
    problem.add_constraint(&all[..], ComparisonOp::Le, most as f64);
    let mut options = SolveOptions::default();
    (options.time_limit, options.node_limit) = (Some(left), limits.nodes);
    match problem.solve_with(options) {
        Ok(SolveOutcome::Solution(solution)) => {
            let is_picked = |&(_, pick): &(&usize, &Variable)| solution.var_value(*pick) > 0.5;
            Answer::Picks(candidates.iter().zip(&picks).filter(is_picked).map(|(&candidate, _)| candidate).collect())
        }
        Err(Error::Infeasible) => Answer::None,
        Ok(SolveOutcome::Interrupted(_)) | Err(_) => Answer::Unknown,
    }
}
