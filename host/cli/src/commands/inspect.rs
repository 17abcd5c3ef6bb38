//! `querist plugin inspect`: what can be seen of a plugin before any of it runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use querist_core::digest::sha256;
use querist_files::shown;
use querist_loader::package::inspect::{Contents, Inspection, Native, inspect};
use querist_loader::{CheckedPackage, RefusedPackage};
use querist_protocol::{Shown, StrategyDescription};
use serde_json::{Value, json};

use crate::codes;
use crate::commands::plugin::ListFormat;
use crate::exit::Usage;
use crate::output;

/// Flags of `querist plugin inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A package's folder, a packed component, or what a compiler made.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Runs the verb.
pub fn main(args: &InspectArgs) -> Result<()> {
    let seen = inspect(&args.path).map_err(|error| Usage(format!("{}: {error}", shown(&args.path))))?;
    match args.format {
        ListFormat::Table => output::text(&text(&seen)),
        ListFormat::Json => output::line(&serde_json::to_string_pretty(&value(&seen))?),
    }
}

/// A line of a text: what, and which.
fn line(what: &str, which: &str) -> String {
    format!("{what:<12} {which}\n")
}

fn list(items: &[Shown]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.iter().map(Shown::as_str).collect::<Vec<_>>().join(", ") }
}

fn text(seen: &Inspection) -> String {
    let mut text = line("file", shown(&seen.artifact).as_str());
    text += &line("form", &format!("{}, {} bytes", seen.form.words(), seen.bytes));
    text += &line("digest", &seen.digest);
    match &seen.contents {
        Some(Ok(contents)) => text += &text_of_contents(contents),
        Some(Err(refused)) => text += &line("contents", refused.reason.as_str()),
        None => {}
    }
    match &seen.native {
        Some(Ok(native)) => text += &text_of_native(native),
        Some(Err(refused)) => text += &line("identity", refused.reason.as_str()),
        None => {}
    }
    match &seen.package {
        Ok(package) => {
            if let Some(description) = &seen.description {
                text += &line("description", description);
            }
            text += &text_of_package(package);
        }
        Err(refused) => {
            let code = codes::of_package(refused.kind).entry().code;
            text += &line("package", &format!("none that can be used: {}", refused.reason));
            text += &line("code", &format!("{code} (`querist explain {code}`)"));
        }
    }
    text
}

fn text_of_contents(contents: &Contents) -> String {
    let mut text = line("imports", &list(&contents.imports));
    text += &line("exports", &list(&contents.exports));
    text += &line("modules", &contents.modules.to_string());
    for producer in &contents.producers {
        text += &line("made by", &format!("{} {} ({})", producer.name, producer.version, producer.field));
    }
    for (what, about) in &contents.about {
        text += &line(what, about.as_str());
    }
    let sections: Vec<String> =
        contents.sections.iter().map(|(name, bytes)| format!("{name} ({bytes} bytes)")).collect();
    text + &line("sections", &if sections.is_empty() { "none".to_owned() } else { sections.join(", ") })
}

fn text_of_native(native: &Native) -> String {
    let (major, minor) = native.abi;
    let mut text = line("boundary", &format!("native {major}.{minor}"));
    text += &line("compiler", native.compiler.as_str());
    text += &line("target", native.target.as_str());
    if let Some(libtorch) = &native.libtorch {
        text += &line("libtorch", libtorch.as_str());
    }
    text += &line("panics", if native.aborts { "end the process" } else { "are caught" });
    text + &line("links", &list(&native.libraries))
}

fn text_of_package(package: &CheckedPackage) -> String {
    let description = &package.description;
    let mut text = line("package", &format!("{} {} ({})", description.package, description.version, package.kind));
    text += &line("boundary", &description.api);
    for strategy in &description.strategies {
        let cleaned = |texts: &[String]| texts.iter().map(|text| Shown::name(text)).collect::<Vec<_>>();
        text += &format!("\n{} - {}\n", strategy.id, Shown::sentence(&strategy.summary));
        text += &line("  needs", &list(&cleaned(&strategy.needs)));
        if !strategy.may_need.is_empty() {
            text += &line("  may need", &list(&cleaned(&strategy.may_need)));
        }
        let powers: Vec<&str> = strategy.capabilities.iter().map(|power| power.name()).collect();
        if !powers.is_empty() {
            text += &line("  asks for", &powers.join(", "));
        }
        text += &line("  parameters", &list(&cleaned(&parameters(strategy))));
        text += &line("  schema", &schema_digest(strategy));
    }
    text
}

/// Names of a strategy's parameters.
fn parameters(strategy: &StrategyDescription) -> Vec<String> {
    let properties = strategy.schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|all| all.keys().cloned()).collect()
}

/// SHA-256 of a schema as it is embedded.
fn schema_digest(strategy: &StrategyDescription) -> String {
    sha256(strategy.schema.to_string().as_bytes())
}

fn value(seen: &Inspection) -> Value {
    json!({
        "file": shown(&seen.artifact).as_str(),
        "form": seen.form.words(),
        "bytes": seen.bytes,
        "digest": seen.digest,
        "contents": seen.contents.as_ref().and_then(|contents| contents.as_ref().ok()).map(value_of_contents),
        "native": seen.native.as_ref().and_then(|native| native.as_ref().ok()).map(value_of_native),
        "package": seen.package.as_ref().ok().map(|package| value_of_package(package, seen.description.as_deref())),
        "refused": seen.package.as_ref().err().map(value_of_refusal),
    })
}

fn texts(items: &[Shown]) -> Vec<&str> {
    items.iter().map(Shown::as_str).collect()
}

fn value_of_contents(contents: &Contents) -> Value {
    let producers: Vec<Value> = contents
        .producers
        .iter()
        .map(|one| json!({ "field": one.field.as_str(), "name": one.name.as_str(), "version": one.version.as_str() }))
        .collect();
    let about: serde_json::Map<String, Value> =
        contents.about.iter().map(|(what, text)| ((*what).to_owned(), text.as_str().into())).collect();
    let sections: Vec<Value> =
        contents.sections.iter().map(|(name, bytes)| json!({ "name": name.as_str(), "bytes": bytes })).collect();
    json!({
        "imports": texts(&contents.imports), "exports": texts(&contents.exports), "modules": contents.modules,
        "producers": producers, "about": about, "sections": sections,
    })
}

fn value_of_native(native: &Native) -> Value {
    json!({
        "boundary": [native.abi.0, native.abi.1], "compiler": native.compiler.as_str(),
        "target": native.target.as_str(), "libtorch": native.libtorch.as_ref().map(Shown::as_str),
        "panics_abort": native.aborts, "libraries": texts(&native.libraries),
    })
}

fn value_of_package(package: &CheckedPackage, digest: Option<&str>) -> Value {
    let description = &package.description;
    let strategy = |strategy: &StrategyDescription| {
        let mut value = json!(strategy);
        value["schema_digest"] = schema_digest(strategy).into();
        value
    };
    json!({
        "name": description.package, "version": description.version, "kind": package.kind, "api": description.api,
        "description_digest": digest, "strategies": description.strategies.iter().map(strategy).collect::<Vec<_>>(),
    })
}

fn value_of_refusal(refused: &RefusedPackage) -> Value {
    json!({ "code": codes::of_package(refused.kind).entry().code, "reason": refused.reason.as_str() })
}
