//! What registries show of a component, as flags and as the author's `Cargo.toml` has it.

use std::path::{Path, PathBuf};

use clap::Args;
use querist_files::Links;
use querist_loader::package::metadata::Metadata;
use toml::{Table, Value};

use crate::output;

/// Bytes of a `Cargo.toml` at most.
const MAX_MANIFEST: u64 = 1 << 20;

/// What is said above these flags.
const HEADING: &str = "What registries show [default: from Cargo.toml beside `target` or in the working folder]";

/// What registries show of a component.
#[derive(Debug, Default, Args)]
pub struct AboutArgs {
    /// Who made it.
    #[arg(long, help_heading = HEADING, value_name = "TEXT")]
    authors: Option<String>,
    /// What it does, in one sentence.
    #[arg(long, help_heading = HEADING, value_name = "TEXT")]
    description: Option<String>,
    /// Its licence, an SPDX expression.
    #[arg(long, help_heading = HEADING, value_name = "SPDX")]
    license: Option<String>,
    /// Address of its source.
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    source: Option<String>,
    /// Address of a page about it.
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    homepage: Option<String>,
    /// The commit that it was built from.
    #[arg(long, help_heading = HEADING, value_name = "COMMIT")]
    revision: Option<String>,
}

impl AboutArgs {
    /// Whether the user gave any of it.
    pub fn is_given(&self) -> bool {
        self.given() != Metadata::default()
    }

    /// What is known of a file that is packed.
    pub fn of(&self, file: &Path) -> Metadata {
        self.given().or(of_cargo(file).unwrap_or_default())
    }

    fn given(&self) -> Metadata {
        Metadata {
            authors: self.authors.clone(),
            description: self.description.clone(),
            licenses: self.license.clone(),
            source: self.source.clone(),
            homepage: self.homepage.clone(),
            revision: self.revision.clone(),
            version: None,
        }
    }
}

/// What the manifest says of the crate that a file was built from. One line of it that other tools could not read is
/// left out, and that is said.
fn of_cargo(file: &Path) -> Option<Metadata> {
    let file = file.canonicalize().ok()?;
    let stem = file.file_stem()?.to_str()?;
    let working = std::env::current_dir().ok();
    let mut folders = working.iter().map(PathBuf::as_path).chain(file.ancestors().skip(1));
    let package = folders.find_map(|folder| package_of(&folder.join("Cargo.toml"), stem))?;
    // What a workspace says for all of its members stands elsewhere.
    let text = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let authors = package.get("authors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let authors = authors.collect::<Vec<_>>().join(", ");
    let said = Metadata {
        authors: Some(authors).filter(|authors| !authors.is_empty()),
        description: text("description"),
        // An older way to say it.
        licenses: text("license").map(|license| license.replace('/', " OR ")),
        source: text("repository"),
        homepage: text("homepage"),
        ..Metadata::default()
    };
    Some(readable(said))
}

fn readable(said: Metadata) -> Metadata {
    let keep = |one: Metadata| match one.check() {
        Ok(()) => one,
        Err(refused) => {
            output::note(&format!("note: left out of what registries show: {refused}"));
            Metadata::default()
        }
    };
    let Metadata { authors, description, licenses, source, homepage, .. } = said;
    keep(Metadata { authors, ..Metadata::default() })
        .or(keep(Metadata { description, ..Metadata::default() }))
        .or(keep(Metadata { licenses, ..Metadata::default() }))
        .or(keep(Metadata { source, ..Metadata::default() }))
        .or(keep(Metadata { homepage, ..Metadata::default() }))
}

/// The `[package]` of a manifest, if its library is called so.
fn package_of(manifest: &Path, library: &str) -> Option<Table> {
    let text = querist_files::read_text(manifest, Links::Follow, MAX_MANIFEST).ok()?;
    let manifest: Table = text.parse().ok()?;
    let package = manifest.get("package")?.as_table()?;
    let name = manifest.get("lib").and_then(|lib| lib.get("name")).or_else(|| package.get("name"))?.as_str()?;
    (name.replace('-', "_") == library).then(|| package.clone())
}
