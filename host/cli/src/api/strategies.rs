//! `querist plugin list --format json` with what `plugin show` adds, as a function.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use crate::plugins;

/// Every strategy that can be used, one object each: its description with package, version, kind and digest. Of several
/// of one id the one that a user means by it comes first.
///
/// # Errors
/// If a named folder cannot be read.
pub fn strategies(plugin_dir: &[PathBuf]) -> Result<Vec<Value>> {
    let listing = plugins::listing(plugin_dir)?;
    let mut all = Vec::new();
    for (_, package) in listing.usable() {
        for strategy in &package.description.strategies {
            let mut row = serde_json::to_value(strategy)?;
            let said = json!({
                "package": package.description.package, "version": package.description.version, "kind": package.kind,
                "digest": package.digest,
            });
            if let (Some(row), Value::Object(said)) = (row.as_object_mut(), said) {
                row.extend(said);
            }
            all.push(row);
        }
    }
    Ok(all)
}
