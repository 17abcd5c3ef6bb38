//! Which built-in strategies a plugin is most like.

use std::collections::BTreeSet;

use anyhow::Result;
use querist_conformance::habits::{Habits, habits};
use querist_core::config::StrategyConfig;
use querist_core::schema::Problem;
use querist_core::{Strategy, StrategyKind};
use querist_loader::{Listing, Resolved, Source};
use querist_protocol::Need;
use querist_report::Likeness;
use serde_json::{Value, json};

use super::candidate::{Candidate, exact};
use super::suite::Suite;
use crate::plugins::{self, Means, PluginArgs};

/// Beyond chance, below which two strategies are not called alike.
const ALIKE: f64 = 0.1;

/// A yardstick, with what it picks.
pub struct Yardstick {
    /// Its id, which is the label of its curves, too.
    pub id: String,
    /// Its name for the program.
    pub exact: String,
    needs: BTreeSet<String>,
    digest: String,
    habits: Option<Habits>,
}

/// The yardsticks of a suite, asked about made-up pools.
pub fn yardsticks(suite: &Suite, listing: &Listing, means: Means<'_>, args: &PluginArgs) -> Result<Vec<Yardstick>> {
    let mut found = Vec::new();
    for (at, id) in suite.wanted.yardsticks.iter().enumerate() {
        let problem = |message: String| {
            let pointer = format!("/evaluate/yardsticks/{at}");
            suite.file.report(&[Problem { pointer, message, help: None }], "")
        };
        let resolved = built_in(listing, id).map_err(problem)?;
        found.push(Yardstick {
            id: resolved.strategy.id.clone(),
            exact: exact(resolved.package, resolved.strategy),
            needs: names(&resolved.strategy.needs),
            digest: resolved.package.digest.clone(),
            habits: asked(resolved, &json!({}), means, args).ok(),
        });
    }
    Ok(found)
}

/// A strategy that was installed with the program; others of the same id are somebody else's.
fn built_in<'a>(listing: &'a Listing, id: &str) -> Result<Resolved<'a>, String> {
    let of_ours = listing.usable().filter(|(found, _)| found.source == Source::BuiltIn);
    let strategies = of_ours.flat_map(|(found, package)| {
        let of = move |strategy| Resolved { package, source: found.source, strategy, alias: false, hidden: None };
        package.description.strategies.iter().map(of)
    });
    let mut named = strategies.filter(|resolved| resolved.strategy.id == id);
    named.next().ok_or_else(|| format!("no built-in strategy is called `{id}`"))
}

/// Makes what a suite calls by a bare id the built-in strategy of that id: a plugin that has one of the same id takes
/// nobody's place.
pub fn hold_to_built_in(strategies: &mut [StrategyConfig], listing: &Listing) {
    for strategy in strategies.iter_mut().filter(|one| !one.id.contains(['/', '@'])) {
        if let Ok(resolved) = built_in(listing, &strategy.id) {
            strategy.label = Some(strategy.label().to_owned());
            strategy.id = exact(resolved.package, resolved.strategy);
        }
    }
}

/// What a strategy picks of made-up pools.
pub fn asked(resolved: Resolved<'_>, params: &Value, means: Means<'_>, args: &PluginArgs) -> Result<Habits> {
    anyhow::ensure!(resolved.package.kind != StrategyKind::NativeTorch, "it is asked within a training only");
    let params = plugins::params(&resolved, params, None)?;
    let mut strategy: Box<dyn Strategy> = plugins::load(resolved, &params, means, args)?;
    habits(&mut *strategy).map_err(|broken| anyhow::anyhow!("{broken}"))
}

fn names(needs: &[String]) -> BTreeSet<String> {
    let name = |need: &String| need.parse::<Need>().map_or_else(|_| need.clone(), |need| need.name().to_owned());
    needs.iter().map(name).collect()
}

/// The `count` yardsticks that pick most of the same rows; where none picks alike, those that ask for the most similar
/// arrays.
pub fn nearest(candidate: &Candidate, own: Option<&Habits>, all: &[Yardstick], count: usize) -> Vec<Likeness> {
    let needs = names(&candidate.strategy.needs);
    let of = |yardstick: &Yardstick| {
        let both = needs.intersection(&yardstick.needs).count();
        let either = needs.union(&yardstick.needs).count();
        let picks = own.zip(yardstick.habits.as_ref()).map(|(own, theirs)| own.likeness(theirs));
        // Who asks for nothing is like whoever asks for nothing.
        let needs = if either == 0 { 1.0 } else { both as f64 / either as f64 };
        Likeness { label: yardstick.id.clone(), picks, needs }
    };
    let is_itself = |one: &&Yardstick| one.digest == candidate.package.digest && one.id == candidate.strategy.id;
    let mut found: Vec<Likeness> = all.iter().filter(|one| !is_itself(one)).map(of).collect();
    let is_alike = |one: &Likeness| one.picks.is_some_and(|picks| picks >= ALIKE);
    if found.iter().any(is_alike) {
        let picks = |one: &Likeness| one.picks.unwrap_or(0.0);
        found.sort_by(|a, b| picks(b).total_cmp(&picks(a)));
    } else {
        found.sort_by(|a, b| b.needs.total_cmp(&a.needs));
        found.iter_mut().for_each(|one| one.picks = None);
    }
    found.truncate(count);
    found
}
