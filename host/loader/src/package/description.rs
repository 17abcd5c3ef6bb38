//! What a package claims of itself, checked before anyone relies on it.

use querist_core::Schema;
use querist_protocol::{API_VERSION, Description, Need, Shown, StrategyDescription, is_showable};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::refused::{RefusedPackage, refuse};

/// Bytes of everything that a package says of itself at most.
pub(crate) const MAX_DESCRIPTION_BYTES: usize = 4 << 20;
/// Strategies in a package at most.
const MAX_STRATEGIES: usize = 256;
/// Other names of a strategy at most, and needs that it states.
const MAX_NAMES: usize = 32;

/// SHA-256 of a description, which a native library carries in its identity.
pub(crate) fn description_digest(description: &Description) -> Result<[u8; 32], RefusedPackage> {
    let json = serde_json::to_vec(description).map_err(|error| RefusedPackage::new(error.to_string()))?;
    Ok(Sha256::digest(json).into())
}

/// Whether a plugin built against this version of the boundary finds all that it knows: within a major version each has
/// what those before it had.
fn check_api(api: &str) -> Result<(), RefusedPackage> {
    let numbers = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let (theirs, ours) = (numbers(api), numbers(API_VERSION));
    let advice = match (theirs, ours) {
        (Some((major, minor)), Some((our_major, our_minor))) if major == our_major && minor <= our_minor => {
            return Ok(());
        }
        (Some(theirs), Some(ours)) if theirs > ours => format!("it needs a querist that speaks {}", Shown::name(api)),
        _ => "rebuild it with the SDK of this release, or use the host it was built for".to_owned(),
    };
    refuse(format!("built for boundary version {}, this host speaks {API_VERSION}: {advice}", Shown::name(api)))
}

/// Checks what a description claims, before anyone relies on it.
///
/// # Errors
/// The first claim that does not hold.
pub fn check_description(description: &Description) -> Result<(), RefusedPackage> {
    check_api(&description.api)?;
    check_name("package", &description.package)?;
    let in_versions = |c: char| c.is_ascii_alphanumeric() || ".+-".contains(c);
    if !(1..=64).contains(&description.version.len()) || !description.version.chars().all(in_versions) {
        let version = Shown::name(&description.version);
        return refuse(format!("version `{version}`; versions are 1 to 64 letters, digits, `.`, `+` and `-`"));
    }
    if description.strategies.is_empty() || description.strategies.len() > MAX_STRATEGIES {
        return refuse(format!("{} strategies; a package has 1 to {MAX_STRATEGIES}", description.strategies.len()));
    }
    let mut schema_bytes = 0;
    for (i, strategy) in description.strategies.iter().enumerate() {
        check_name("strategy", &strategy.id)?;
        if description.strategies[..i].iter().any(|other| other.id == strategy.id) {
            return refuse(format!("strategy `{}` stands in the manifest twice", strategy.id));
        }
        schema_bytes += strategy.schema.to_string().len();
        if schema_bytes > MAX_DESCRIPTION_BYTES {
            return refuse(format!("its schemas have more than {MAX_DESCRIPTION_BYTES} bytes together"));
        }
        check_strategy(strategy)
            .map_err(|reason| RefusedPackage::new(format!("strategy `{}`: {reason}", strategy.id)))?;
    }
    Ok(())
}

/// Checks what is said of one strategy.
fn check_strategy(strategy: &StrategyDescription) -> Result<(), String> {
    for (what, text, most) in
        [("summary", &strategy.summary, 400), ("paper", &strategy.paper, 1000), ("cost", &strategy.cost, 1000)]
    {
        check_text(what, text, most)?;
    }
    if [&strategy.aliases, &strategy.needs, &strategy.may_need].iter().any(|list| list.len() > MAX_NAMES) {
        return Err(format!("it has more than {MAX_NAMES} other names or needs"));
    }
    for alias in &strategy.aliases {
        check_text("other name", alias, 64)?;
    }
    for need in strategy.needs.iter().chain(&strategy.may_need) {
        need.parse::<Need>().map_err(|error| error.to_string())?;
    }
    check_schema_texts(&strategy.schema)?;
    Schema::new(strategy.schema.clone()).map(|_| ()).map_err(|error| error.to_string())
}

/// A text that people are shown as it is.
fn check_text(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("its {what} has {} bytes, the limit is {most}", text.len()));
    }
    if !is_showable(text) {
        return Err(format!("its {what} `{}` holds control, invisible or direction characters", Shown::name(text)));
    }
    Ok(())
}

/// Names and texts of a schema reach messages, too; texts may have several lines.
fn check_schema_texts(schema: &Value) -> Result<(), String> {
    match schema {
        Value::String(text) => check_text("schema's text", &text.replace('\n', " "), usize::MAX),
        Value::Array(items) => items.iter().try_for_each(check_schema_texts),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            check_text("schema's key", key, Shown::NAME)?;
            check_schema_texts(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), RefusedPackage> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-');
    if fits {
        Ok(())
    } else {
        refuse(format!("{what} name `{}`; names are 1 to 64 of a-z, 0-9 and `-`", Shown::name(name)))
    }
}
