//! What a plugin does that no curve shows: the rules, and what it asks its surroundings for.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use querist_core::config::{LimitsConfig, Rules};
use querist_loader::package::read::CheckedPackage;
use querist_loader::package::trust::Mode;
use querist_protocol::Shown;
use querist_report::RuleLine;
use querist_store::Keys;
use querist_store::store::signature_of;
use serde::Deserialize;
use serde_json::Value;

use super::candidate::Candidate;
use crate::plugins::{self, PluginArgs};
use crate::program;

/// A finding of `querist plugin check`.
#[derive(Deserialize)]
struct Found {
    rule: String,
    says: String,
    outcome: String,
    message: String,
}

/// Checks a package against the rules, in a process of its own: it is this program that is asked, as an author asks it.
pub fn rules(
    candidate: &Candidate,
    folder: &Path,
    (rules, limits): (Rules, &LimitsConfig),
    args: &PluginArgs,
) -> Result<Vec<RuleLine>> {
    if rules == Rules::None {
        return Ok(Vec::new());
    }
    let mut words: Vec<OsString> = ["plugin", "check", "--format", "json", "--strategy"].map(OsString::from).to_vec();
    words.push(candidate.strategy.id.clone().into());
    words.extend(["--memory".into(), limits.memory.to_string().into()]);
    words.extend(["--seconds".into(), limits.seconds.to_string().into()]);
    words.extend((rules == Rules::Quick).then(|| "--quick".into()));
    if !candidate.params.is_empty() {
        words.extend(["--params".into(), Value::Object(candidate.params.clone()).to_string().into()]);
    }
    words.extend(args.to_args()?);
    words.push(folder.as_os_str().to_owned());
    let output = program::command()?.args(words).stdin(Stdio::null()).output().context("cannot start the check")?;
    let found: Option<Vec<Found>> = serde_json::from_slice(&output.stdout).ok();
    let found = found.with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("the rules could not be checked: {}", Shown::sentence(said.trim()))
    })?;
    let line = |found: Found| RuleLine {
        rule: Shown::name(&found.rule).into_string(),
        says: Shown::sentence(&found.says).into_string(),
        outcome: Shown::name(&found.outcome).into_string(),
        message: Shown::sentence(&found.message).into_string(),
    };
    Ok(found.into_iter().map(line).collect())
}

/// How a plugin was run, as a sentence.
pub fn ran(mode: Mode) -> &'static str {
    match mode {
        Mode::Sandboxed => "It ran in the sandbox: no files, no network, no clock, no seeds.",
        Mode::Isolated => "It is native code, and ran in a process of its own that reaches no files and no network.",
        Mode::InProcess => "It is native code that ran inside the program, so it could do whatever you can.",
        Mode::Composed => "It is made of other strategies, each of which ran in its own way.",
    }
}

/// What is known of who made a package.
///
/// # Errors
/// If the keys that the user trusts cannot be read.
pub fn signature(package: &CheckedPackage) -> Result<String> {
    Ok(signature_of(package, &Keys::read(&plugins::keys_file()?)?).to_string())
}
