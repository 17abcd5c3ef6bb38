//! The modules of this crate use one another in one direction only: files, and folders of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by its path from the root.
type Module = Vec<String>;

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The module that a file is.
fn module(root: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    parts.filter(|part| part != "mod" && part != "lib").collect()
}

/// The paths that a text of code names after a word such as `crate::`, with their groups spread out.
fn paths(code: &str, word: &str) -> Vec<Module> {
    let starts_a_path = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    let starts = code.match_indices(word).map(|(at, _)| at).filter(|&at| starts_a_path(at));
    starts.flat_map(|at| tree(&code[at + word.len()..]).0).collect()
}

/// One path at the beginning of a text, or several where it ends in a group, and what follows.
fn tree(text: &str) -> (Vec<Module>, &str) {
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = rest.strip_prefix('}') {
                return (all, rest);
            }
            let (paths, after) = tree(rest);
            assert!(after.len() < rest.len(), "{}", rest.lines().next().unwrap_or_default());
            all.extend(paths);
            rest = after;
            // A name of one's own.
            rest = rest.strip_prefix(" as ").map_or(rest, |rest| &rest[rest.find([',', '}']).unwrap_or(0)..]);
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    let Some(inner) = rest.strip_prefix("::") else { return (vec![vec![first.to_owned()]], rest) };
    let (inner, rest) = tree(inner);
    (inner.into_iter().map(|path| [vec![first.to_owned()], path].concat()).collect(), rest)
}

/// What a module names: paths from the root.
fn named(module: &Module, is_folder: bool, text: &str) -> Vec<Module> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    // Tests in a file name the file.
    let code = code.join("\n");
    let code = code.split("#[cfg(test)]").next().unwrap();
    let parent = if is_folder { module.clone() } else { module[..module.len() - 1].to_vec() };
    let from = |base: &[String], path: Module| [base.to_vec(), path].concat();
    let own = paths(code, "crate::");
    own.into_iter().chain(paths(code, "super::").into_iter().map(|path| from(&parent, path))).collect()
}

/// Every file's module, and the files that it uses. Folders only say what is in them.
fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    let is_folder = |path: &Path| path.ends_with("mod.rs") || path.ends_with("lib.rs");
    let modules: BTreeSet<Module> =
        files.iter().filter(|path| !is_folder(path)).map(|path| module(&root, path)).collect();
    let mut uses = BTreeMap::new();
    for path in &files {
        let (module, text) = (module(&root, path), fs::read_to_string(path).unwrap());
        if is_folder(path) {
            let holds_code = text.lines().any(|line| line.contains("fn ") && !line.starts_with("//"));
            assert!(!holds_code, "{}: a folder's file says what is in it, and no more", path.display());
            continue;
        }
        let mut used = BTreeSet::new();
        for named in named(&module, false, &text) {
            let file = (1..=named.len()).map(|len| named[..len].to_vec()).find(|path| modules.contains(path));
            // What a folder re-exports hides from where it is taken. Generated code names what macros make in it.
            let hidden = file.is_none() && !path.ends_with("generated.rs");
            assert!(!hidden, "{}: `{}` names no file", path.display(), named.join("::"));
            used.extend(file.filter(|file| *file != module));
        }
        uses.insert(module, used);
    }
    uses
}

/// What is left when everything is taken away that uses nothing that is left: circles, and what uses them.
fn circles(mut uses: BTreeMap<Module, BTreeSet<Module>>) -> BTreeMap<Module, BTreeSet<Module>> {
    loop {
        let is_free = |(module, used): (&Module, &BTreeSet<Module>)| used.is_empty().then(|| module.clone());
        let free: Vec<Module> = uses.iter().filter_map(is_free).collect();
        if free.is_empty() {
            return uses;
        }
        for module in &free {
            uses.remove(module);
            uses.values_mut().for_each(|used| used.retain(|other| other != module));
        }
    }
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    let uses = uses();
    let of = |path: [&str; 2]| path.map(str::to_owned).to_vec();
    assert!(uses[&of(["wasm", "strategy"])].contains(&of(["run", "route"])), "nothing was read: {uses:?}");
    let circles = circles(uses);
    assert!(circles.is_empty(), "in a circle, or using one: {circles:#?}");
}

#[test]
fn no_folder_uses_itself_by_way_of_others() {
    let mut folders: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, used) in uses() {
        let folder = module[..1].to_vec();
        let used = used.into_iter().map(|other| other[..1].to_vec()).filter(|other| *other != folder);
        folders.entry(folder.clone()).or_default().extend(used);
    }
    let circles = circles(folders);
    assert!(circles.is_empty(), "in a circle, or using one: {circles:#?}");
}
