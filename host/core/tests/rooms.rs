//! The modules of this crate use one another in one direction only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The modules at the root that a text names after `crate::`, and what it re-exports from the root itself.
fn named(text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| line.split("crate::").skip(1).collect::<Vec<_>>());
    let words = after.map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default());
    words.filter(|word| modules.contains(*word)).map(str::to_owned).collect()
}

/// What each module at the root uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let files: Vec<(String, PathBuf)> = sources(&root).into_iter().map(|path| (module(&path), path)).collect();
    let modules: BTreeSet<String> = files.iter().map(|(module, _)| module.clone()).collect();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, path) in files.iter().filter(|(module, _)| module != "lib") {
        let found = named(&fs::read_to_string(path).unwrap(), &modules);
        uses.entry(module.clone()).or_default().extend(found.into_iter().filter(|other| other != module));
    }
    uses
}

#[test]
fn no_module_uses_itself_by_way_of_others() {
    let mut uses = uses();
    assert!(uses["run"].contains("question") && uses["strategy"].contains("question"), "nothing was read: {uses:?}");
    // A module that uses none of those left can be taken away; what is never taken away is in a circle, or behind one.
    loop {
        let free: Vec<String> =
            uses.iter().filter(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()).collect();
        if free.is_empty() {
            break;
        }
        for module in &free {
            uses.remove(module);
            uses.values_mut().for_each(|used| used.retain(|other| other != module));
        }
    }
    assert!(uses.is_empty(), "in a circle, or using one: {uses:#?}");
}

#[test]
fn modules_are_named_by_path_and_not_by_the_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            // What the root re-exports hides from where it is taken, and the other test cannot see it.
            let by_root = line.split("crate::").skip(1).any(|rest| rest.starts_with(|c: char| c.is_uppercase()));
            assert!(!by_root, "{}: {line}", path.display());
        }
    }
}
