//! What is known of a plugin beside its curves. All of it is text that can be shown.

use serde::Serialize;

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuiteFacts {
    /// Its name, or its file's.
    pub name: String,
    /// SHA-256 of its text, in hex.
    pub digest: String,
    /// Points of mean accuracy over the budget that are worth knowing of.
    pub worth: f64,
    /// Seeds.
    pub seeds: usize,
    /// Name of the report beside the page, where there is one.
    pub report: Option<String>,
    /// The command that does it again.
    pub again: Option<String>,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Label of its curves.
    pub label: String,
    /// Id of the strategy.
    pub id: String,
    /// What it says of itself.
    pub summary: String,
    /// Name of its package.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// `wasm`, `native`, `native-torch` or `composite`.
    pub kind: String,
    /// How it was run: a sentence.
    pub ran: String,
    /// SHA-256 of its artifact, in hex.
    pub digest: String,
    /// `not signed`, `verified` or `verification failed`, and of whom.
    pub signature: String,
    /// Whether it was installed with the program.
    pub built_in: bool,
    /// Its parameters, as JSON, where they are not the defaults.
    pub params: Option<String>,
    /// Interfaces or libraries that its artifact asks for.
    pub imports: Vec<String>,
    /// Arrays that it asks for.
    pub needs: Vec<String>,
    /// Powers beyond arrays.
    pub rights: Vec<String>,
    /// What one query may use.
    pub limits: Limits,
    /// The rules that it was checked against; none where it was not.
    pub rules: Vec<RuleLine>,
    /// Whether other random numbers lead to other picks; `None` where it could not be asked.
    pub draws: Option<bool>,
    /// Picks that change where the same samples stand in the opposite order, of how many.
    pub moved: Option<(usize, usize)>,
    /// The built-in strategies that are most like it.
    pub nearest: Vec<Likeness>,
    /// Runs that were planned.
    pub planned: usize,
    /// Runs that did not finish.
    pub failed: Vec<Failed>,
}

/// What one query may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// What came of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleLine {
    /// Its name.
    pub rule: String,
    /// The rule as a sentence.
    pub says: String,
    /// `holds`, `broken` or `not-applicable`.
    pub outcome: String,
    /// What was found.
    pub message: String,
}

impl RuleLine {
    /// Whether it does not hold.
    pub fn is_broken(&self) -> bool {
        self.outcome == "broken"
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.outcome == "holds"
    }
}

/// A built-in strategy that is like the plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likeness {
    /// Label of its curves.
    pub label: String,
    /// How much more both pick alike than chance has it, 0 to 1; `None` where the needs decided.
    pub picks: Option<f64>,
    /// Needs that both have, as a share of those that one has.
    pub needs: f64,
}

/// A run that did not finish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its name.
    pub run: String,
    /// Why.
    pub reason: String,
}
