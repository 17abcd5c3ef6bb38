//! `querist plugin check` as a function, for a strategy of the program that calls.

use std::sync::Arc;

use anyhow::Result;
use querist_conformance::{Make, Verdict, rules};
use querist_core::config::LimitsConfig;
use querist_core::progress::{Phase, Progress};
use querist_core::{Schema, Strategy};
use querist_kernels::Compute;
use querist_loader::{Hosted, HostedStrategy, Limits};
use querist_protocol::StrategyDescription;
use serde_json::{Map, Value};

/// What came of one rule.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Its name.
    pub rule: &'static str,
    /// The rule as a sentence.
    pub says: &'static str,
    /// `holds`, `broken` or `not-applicable`.
    pub outcome: &'static str,
    /// The smallest case that breaks it, what is worth knowing, or why it does not apply.
    pub message: String,
}

/// Checks every rule that takes no clock. `params` replace the schema's first example.
///
/// # Errors
/// If `progress` says to stop.
pub fn check(
    hosted: &Arc<Hosted>,
    params: Option<Map<String, Value>>,
    limits: &LimitsConfig,
    progress: &dyn Progress,
) -> Result<Vec<Finding>> {
    let make = Maker { hosted, params: params.map(Value::Object), limits: Limits::from(limits) };
    let mut findings = Vec::new();
    for (number, rule) in rules().iter().enumerate() {
        progress.report(Phase::Query, number as u64, rules().len() as u64)?;
        let (outcome, message) = match rule.check(&make) {
            Ok(Verdict::Holds) => ("holds", String::new()),
            Ok(Verdict::Note(note)) => ("holds", note),
            Ok(Verdict::NotApplicable(why)) => ("not-applicable", why.to_owned()),
            Err(broken) => ("broken", broken.to_string()),
        };
        findings.push(Finding { rule: rule.name, says: rule.says, outcome, message });
    }
    Ok(findings)
}

/// Makes the strategy under check.
struct Maker<'a> {
    hosted: &'a Arc<Hosted>,
    params: Option<Value>,
    limits: Limits,
}

impl Make for Maker<'_> {
    fn description(&self) -> StrategyDescription {
        self.hosted.resolved().strategy.clone()
    }

    fn params(&self) -> Option<Value> {
        self.params.clone()
    }

    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String> {
        let schema = Schema::new(self.description().schema).map_err(|error| error.to_string())?;
        // The host checks before it asks; here the strategy's own refusal counts as well.
        let params = schema.settled(params).unwrap_or_else(|_| params.clone());
        let made = HostedStrategy::load(self.hosted, &params, self.limits, Compute::threads(threads));
        Ok(Box::new(made.map_err(|error| error.to_string())?.with_tile_bytes(tile_bytes)))
    }
}
