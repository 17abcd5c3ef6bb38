//! `querist plugin new`: a small project that builds, passes its tests and can be packed.
//!
//! The templates are the folders of `plugin-sdk/templates`, whose names are changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::exit::Usage;
use crate::output;

/// Letters of a name at most: the package's is bounded, too.
const MOST_LETTERS: usize = 64;

/// Files of a template, with their paths.
macro_rules! template {
    ($folder:literal: $($path:literal $(from $other:literal)?),* $(,)?) => {
        &[$(($path, template!(@text $folder, $path $(, $other)?))),*]
    };
    (@text $folder:literal, $path:literal) => {
        include_str!(concat!("../../../../plugin-sdk/templates/", $folder, "/", $path))
    };
    (@text $folder:literal, $path:literal, $other:literal) => {
        include_str!(concat!("../../../../plugin-sdk/", $other))
    };
}

type Files = &'static [(&'static str, &'static str)];

const RUST: Files = template!(
    "rust":
    "Cargo.toml", "src/lib.rs", "rust-toolchain.toml", "clippy.toml", ".gitignore", ".cargo/config.toml",
);
const RUST_TORCH: Files = template!(
    "rust-torch":
    "Cargo.toml", "src/lib.rs", "rust-toolchain.toml", ".gitignore", ".cargo/config.toml",
);
const PYTHON: Files = template!("python": "margin_apart.py", "build.sh", "wit/strategy.wit" from "wit/strategy.wit");
const JS: Files = template!(
    "js":
    "margin_apart.js", "component.mjs", "package.json", "build.sh", ".gitignore",
    "wit/strategy.wit" from "wit/strategy.wit",
);
const C: Files = template!("c": "largest_norm.c", "build.sh", "include/querist.h" from "include/querist.h");

/// Languages that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// A sandboxed component, which can be tested natively.
    Rust,
    /// A native library that trains networks, or takes part in training.
    RustTorch,
    /// A sandboxed component with its interpreter.
    Python,
    /// A sandboxed component with its interpreter.
    Js,
    /// A native library.
    C,
}

impl Language {
    fn files(self) -> Files {
        match self {
            Self::Rust => RUST,
            Self::RustTorch => RUST_TORCH,
            Self::Python => PYTHON,
            Self::Js => JS,
            Self::C => C,
        }
    }

    /// What the template's own strategy is called.
    fn named(self) -> &'static str {
        match self {
            Self::Rust | Self::Python | Self::Js => "margin-apart",
            Self::RustTorch => "unlike-labelled",
            Self::C => "largest-norm",
        }
    }

    /// What makes and checks the package in the project's folder.
    fn next(self, name: &str) -> String {
        match self {
            Self::Rust => format!("cargo test\nquerist plugin build\nquerist plugin check plugins/{name}"),
            Self::Python | Self::Js => format!("querist plugin build\nquerist plugin check plugins/{name}"),
            Self::C => {
                format!("querist plugin build --allow-native\nquerist plugin check --isolate plugins/{name}")
            }
            Self::RustTorch => format!(
                "querist plugin build --allow-native\nquerist plugin lock {name}\n\
                 querist plugin check --allow-native plugins/{name}"
            ),
        }
    }
}

/// Write a small project for a strategy of your own.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the package and of its strategy: a-z, 0-9 and `-`.
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// The folder `plugin-sdk` of a clone of Querist, for Rust [default: that of this program's source].
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// The project's folder, which is made [default: NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the verb.
pub fn main(args: &NewArgs) -> Result<()> {
    let name = &args.name;
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || name.len() > MOST_LETTERS || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        let message = format!(
            "`{}` is no name of a package; names are up to {MOST_LETTERS} of a-z, 0-9 and `-`, a letter first",
            output::shown(name)
        );
        return Err(Usage(message).into());
    }
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        let message = format!("{} is there already; give `--out` another folder", querist_files::shown(&folder));
        return Err(Usage(message).into());
    }
    let sdk = match args.lang {
        Language::Rust | Language::RustTorch => Some(sdk(args.sdk.as_deref())?),
        Language::Python | Language::Js | Language::C => None,
    };
    for (path, text) in args.lang.files() {
        let [path, mut text] = [*path, *text].map(|text| renamed(text, args.lang.named(), name));
        if let Some(sdk) = &sdk {
            text = text.replace("../querist/plugin-sdk", sdk);
        }
        let file = folder.join(path);
        let place = || querist_files::shown(&file).into_string();
        fs::create_dir_all(file.parent().unwrap_or(&folder)).with_context(place)?;
        fs::write(&file, text).with_context(place)?;
    }
    let next = args.lang.next(name);
    output::note(&format!("{} is written. What makes and checks the package there:", querist_files::shown(&folder)));
    output::line(&format!("cd {}\n{next}", crate::again::argument(&folder.to_string_lossy())))
}

/// The SDK that a project depends on, as it stands in a manifest.
fn sdk(given: Option<&Path>) -> Result<String> {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugin-sdk"));
    let folder = given.unwrap_or(own);
    let found = folder.join("testkit/Cargo.toml").is_file().then(|| folder.canonicalize()).transpose()?;
    let Some(found) = found.and_then(|found| found.to_str().map(str::to_owned)) else {
        let message = format!(
            "{} is not the SDK: give `--sdk` the folder `plugin-sdk` of a clone of Querist",
            querist_files::shown(folder)
        );
        return Err(Usage(message).into());
    };
    // It stands in a string of TOML.
    Ok(found.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text of a template, with another name in each of the forms that names take.
fn renamed(text: &str, from: &str, to: &str) -> String {
    text.replace(from, to).replace(&from.replace('-', "_"), &to.replace('-', "_")).replace(&camel(from), &camel(to))
}

/// `margin-apart` as a type is called.
fn camel(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Languages without bindings of their own name the boundary's version wherever they import from it.
    #[test]
    fn templates_name_the_version_of_the_boundary() {
        let version = |text: &str| Some(text.split_once("package querist:strategy@")?.1.split_once(';')?.0.to_owned());
        for files in [JS, PYTHON] {
            let texts: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, *text)).collect();
            let (_, wit) = texts.iter().find(|(path, _)| *path == "wit/strategy.wit").unwrap();
            let (version, api) = (version(wit).unwrap(), querist_protocol::API_VERSION);
            let all: String = texts.iter().filter(|(path, _)| !path.ends_with(".wit")).map(|(_, text)| *text).collect();
            assert!(all.contains(&format!("'{api}'")) || all.contains(&format!("\"{api}\"")), "{api}");
            for (_, imported) in all.match_indices("querist:strategy/").map(|(at, _)| all[at..].split_at(17)) {
                let named = imported.split_once('@').unwrap().1.split('\'').next().unwrap();
                assert_eq!(named, version);
            }
        }
    }

    #[test]
    fn names_change_in_every_form() {
        let text = "margin-apart, strategy_margin_apart::MarginApart";
        assert_eq!(renamed(text, "margin-apart", "k9-far-away"), "k9-far-away, strategy_k9_far_away::K9FarAway");
    }
}
