//! What every strategy must do, whoever wrote it and however it is built.
//!
//! [`rules`] are checks of any strategy behind [`Make`]: a sandboxed one, a native one, or its source linked into a
//! test. [`measurements`] look at time and at the process, so they belong into a program of their own and not into
//! tests. [`habits`] are what no rule judges.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod cases;
mod exam;
pub mod habits;
mod measurements;
mod rules;
mod shrink;
mod surroundings;

use querist_core::Strategy;
use querist_protocol::StrategyDescription;
use serde_json::Value;

pub use exam::{Broken, Verdict, digest, least_params};
pub use measurements::measurements;
pub use rules::rules;

/// Makes the strategy under test, with parameters, threads and tiles of the rules' choice.
pub trait Make {
    /// What the package says of the strategy.
    fn description(&self) -> StrategyDescription;

    /// The strategy, ready to be asked. `tile_bytes` bounds the inputs of one tile of a scorer.
    ///
    /// # Errors
    /// If it refuses the parameters.
    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String>;

    /// The parameters to check under, instead of the schema's first example.
    fn params(&self) -> Option<Value> {
        None
    }

    /// [`digest`] of the same strategy in another process; `None` where there is no way to start one.
    fn digest_elsewhere(&self) -> Option<Result<String, String>> {
        None
    }
}

/// One thing that every strategy does.
#[derive(Clone, Copy)]
pub struct Rule {
    /// A short name, such as `threads-and-tiles`.
    pub name: &'static str,
    /// The rule as a sentence.
    pub says: &'static str,
    check: fn(&dyn Make) -> Result<Verdict, Broken>,
}

impl Rule {
    /// Checks the rule.
    ///
    /// # Errors
    /// The smallest case in which the strategy broke it.
    pub fn check(&self, make: &dyn Make) -> Result<Verdict, Broken> {
        (self.check)(make)
    }
}

/// Checks every rule that takes no clock, in a test.
///
/// # Panics
/// With the rule and the case, if one does not hold.
pub fn conforms(make: &dyn Make) {
    for rule in rules() {
        if let Err(broken) = rule.check(make) {
            panic!("`{}` breaks the rule `{}` ({}): {broken}", make.description().id, rule.name, rule.says);
        }
    }
}
