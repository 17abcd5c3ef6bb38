//! What is looked at in what a plugin says of itself, and in its answer.

use std::collections::BTreeSet;

use querist_core::{Arrays, Failure, QueryErrorKind, rights};
use querist_protocol::{Capability, Description, Need, Selection, Shown, is_showable, names};

/// Needs of a strategy at most: every array, of the pool and of the labelled set.
const MAX_NEEDS: usize = 2 * names::ALL.len();
/// Named figures in an answer at most.
pub(crate) const MAX_DIAGNOSTICS: usize = 64;

/// What a plugin said of itself.
pub(crate) fn parse_description(text: &str) -> Result<Description, String> {
    serde_json::from_str(text).map_err(|error| format!("`describe` gave no description: {error}"))
}

/// A plugin must describe itself as its package does.
pub(crate) fn check_described(described: Result<Description, String>, stated: &Description) -> Result<(), Failure> {
    let other = || "it describes itself otherwise than its manifest does".to_owned();
    let same = described.and_then(|described| if described == *stated { Ok(()) } else { Err(other()) });
    same.map_err(|message| Failure::new(QueryErrorKind::Dishonest, message))
}

/// The needs that a plugin gave as texts.
pub(crate) fn parse_needs(texts: &[String]) -> Result<Vec<Need>, Failure> {
    if texts.len() > MAX_NEEDS {
        let message = format!("it has {} needs, the limit is {MAX_NEEDS}", texts.len());
        return Err(Failure::new(QueryErrorKind::Output, message));
    }
    let parse = |text: &String| {
        text.parse().map_err(|error| Failure::new(QueryErrorKind::Dishonest, format!("its needs: {error}")))
    };
    texts.iter().map(parse).collect()
}

/// Hidden labels are for strategies that declare so: reports must be able to say it.
pub(crate) fn check_rights(needs: &[Need], declared: &[Capability]) -> Result<(), Failure> {
    rights::check(needs, declared).map_err(|error| Failure::new(QueryErrorKind::Dishonest, error.to_string()))
}

/// Bytes of state that a strategy over arrays may keep.
pub(crate) fn state_limit(arrays: &Arrays) -> usize {
    (1 << 20) + 16 * (arrays.ids().len() + arrays.labelled_ids().len())
}

/// Checks the parts of an answer that the loop does not look at.
pub(crate) fn check_selection(selection: &Selection, state_limit: usize) -> Result<(), Failure> {
    let output = |message: String| Err(Failure::new(QueryErrorKind::Output, message));
    match &selection.state {
        Some(state) if state.len() > state_limit => {
            return output(format!(
                "its state has {} bytes, the limit is 1 MiB + 16 a sample = {state_limit}",
                state.len()
            ));
        }
        _ => {}
    }
    if selection.diagnostics.len() > MAX_DIAGNOSTICS {
        return output(format!("{} diagnostics, the limit is {MAX_DIAGNOSTICS}", selection.diagnostics.len()));
    }
    let is_odd = |name: &str, value: f64| !(1..=64).contains(&name.len()) || !is_showable(name) || !value.is_finite();
    if let Some((name, value)) = selection.diagnostics.iter().find(|(name, value)| is_odd(name, *value)) {
        return output(format!(
            "diagnostic `{}` is {value}; names have 1 to 64 bytes that can be shown, and values are finite",
            Shown::name(name)
        ));
    }
    let mut names = BTreeSet::new();
    match selection.diagnostics.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => output(format!("diagnostic `{name}` is there twice")),
        None => Ok(()),
    }
}
