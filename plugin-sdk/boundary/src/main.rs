//! Writes the boundary between host and plugins from `plugin-sdk/wit`, or says what differs with `--check`.

mod component;
mod model;
mod native;
mod objects;
mod protocol;
mod python;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::model::Boundary;

/// Interfaces with calls, which are modules in Python.
const PYTHON_MODULES: [(&str, &str); 5] = [
    ("arrays", "What the host holds for a strategy: random numbers, vectors, masks and matrices."),
    ("query", "The query at hand: facts, what the strategy declared, log and progress."),
    ("kernels", "Functions over whole matrices."),
    ("engines", "Engines that answer again and again while a set of chosen rows grows."),
    ("head", "The model's head, whatever its form. For selectors that declared `head`."),
];

/// Every generated file, with its text.
fn files(workspace: &Path) -> Result<Vec<(PathBuf, String)>> {
    let boundary = Boundary::read(&workspace.join("plugin-sdk/wit"))?;
    let texts = [
        ("plugin-sdk/protocol/src/generated/types.rs", protocol::types(&boundary)),
        ("plugin-sdk/protocol/src/generated/calls.rs", protocol::calls(&boundary)),
        ("plugin-sdk/protocol/src/generated/table.rs", protocol::table(&boundary)),
        ("plugin-sdk/src/generated/native.rs", native::client(&boundary)),
        ("plugin-sdk/src/generated/wasm.rs", component::client(&boundary)),
        ("plugin-sdk/src/generated/objects.rs", objects::objects(&boundary)),
        ("host/loader/src/native/generated.rs", native::server(&boundary)),
        ("host/loader/src/wasm/generated.rs", component::server(&boundary)),
        ("python/src/generated.rs", python::server(&boundary)),
    ];
    let rust = texts.into_iter().map(|(path, text)| Ok((workspace.join(path), write::formatted(workspace, &text)?)));
    let mut files = rust.collect::<Result<Vec<_>>>()?;
    let imports = workspace.join("python/querist/wit_world/imports");
    for (interface, docs) in PYTHON_MODULES {
        files.push((imports.join(format!("{interface}.py")), python::module(&boundary, interface, docs)));
    }
    files.push((imports.join("types.py"), python::types(&boundary)));
    files.push((workspace.join("python/querist/_calls.pyi"), python::stub(&boundary)));
    Ok(files)
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn main() -> Result<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("`{other}`, expected nothing or `--check`"),
    };
    let mut stale = Vec::new();
    for (path, text) in files(&workspace())? {
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(path.display().to_string());
            if !check {
                std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
                std::fs::write(&path, text)?;
            }
        }
    }
    match (check, stale.is_empty()) {
        (true, false) => bail!("not up to date, run `cargo xtask boundary`:\n{}", stale.join("\n")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_files_are_what_the_wit_says() {
        let stale: Vec<PathBuf> = files(&workspace())
            .unwrap()
            .into_iter()
            .filter(|(path, text)| std::fs::read_to_string(path).unwrap_or_default() != *text)
            .map(|(path, _)| path)
            .collect();
        assert!(stale.is_empty(), "run `cargo xtask boundary`: {stale:?}");
    }

    /// What a plugin was built against is there for ever: without what came later, and without its texts, the file is
    /// each file that was published.
    #[test]
    fn what_was_published_is_as_it_was() {
        let folder = workspace().join("plugin-sdk/wit");
        let now = std::fs::read_to_string(folder.join("strategy.wit")).unwrap();
        let published: Vec<PathBuf> =
            std::fs::read_dir(folder.join("published")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!published.is_empty());
        for file in published {
            let version = file.file_stem().unwrap().to_str().unwrap().trim_start_matches("strategy-").to_owned();
            let then = std::fs::read_to_string(&file).unwrap();
            assert_eq!(as_of(&then, &version), without_texts(&then), "{version} has what came later");
            assert_eq!(as_of(&now, &version), without_texts(&then), "{version} is not as it was");
        }
    }

    fn without_texts(wit: &str) -> String {
        let lines = wit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A WIT file as it was at a version, without its texts. Versions are compared number by number.
    fn as_of(wit: &str, version: &str) -> String {
        let numbers = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
        let wit = without_texts(wit);
        let mut items = wit.split("@since(version = ");
        let mut kept = items.next().unwrap().to_owned();
        for item in items {
            let (since, item) = item.split_once(')').unwrap();
            kept += &match numbers(since) > numbers(version) {
                true => after_item(item).to_owned(),
                false => format!("@since(version = {since}){item}"),
            };
        }
        let (before, after) = kept.split_once("package querist:strategy@").unwrap();
        format!("{before}package querist:strategy@{version}{}", &after[after.find(';').unwrap()..])
    }

    /// What stands behind a function, which ends with its line, or a type, which ends with its brace.
    fn after_item(item: &str) -> &str {
        let ends_with_brace = item.find('{').is_some_and(|brace| item.find(';').is_none_or(|end| brace < end));
        item.split_once(if ends_with_brace { '}' } else { ';' }).map_or("", |(_, rest)| rest.trim_start())
    }

    /// Older plugins find every function where it was.
    #[test]
    fn the_table_is_ordered_by_version() {
        let wit = "package a:b@0.1.2;
            interface types { @since(version = 0.1.0) record fault { message: string } }
            interface some {
              use types.{fault};
              /// New. Errors: none.
              @since(version = 0.1.2) newest: func() -> result<_, fault>;
              /// Old. Errors: none.
              @since(version = 0.1.0) oldest: func(x: u32) -> result<u32, fault>;
              /// Between. Errors: none.
              @since(version = 0.1.1) between: func() -> result<_, fault>;
            }
            world plugin { import some; }";
        let folder = std::env::temp_dir().join(format!("querist-boundary-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("some.wit"), wit).unwrap();
        let boundary = Boundary::read(&folder).unwrap();
        std::fs::write(folder.join("some.wit"), wit.replace("/// Old. Errors: none.", "")).unwrap();
        let silent = Boundary::read(&folder).err().map(|error| format!("{error:#}"));
        std::fs::remove_dir_all(&folder).unwrap();
        let names: Vec<&str> = boundary.calls.iter().map(|call| call.flat.as_str()).collect();
        assert_eq!((names, boundary.minor), (vec!["oldest", "between", "newest"], 2));
        assert_eq!(silent.as_deref(), Some("interface `some`: function `oldest`: has no text"));
    }
}
