//! The arrows of the house, and what may be named where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use querist_tests::{target, workspace};
use serde_json::Value;

/// What each crate of the house may depend on, besides crates from outside.
const ARROWS: [(&str, &[&str]); 21] = [
    ("querist-protocol", &[]),
    ("querist-core", &["querist-protocol"]),
    ("querist-conformance", &["querist-protocol", "querist-core"]),
    ("querist-files", &["querist-protocol"]),
    ("querist-web", &[]),
    ("querist-data", &["querist-protocol", "querist-core", "querist-files", "querist-web"]),
    ("querist-external", &["querist-protocol", "querist-core", "querist-data", "querist-files"]),
    ("querist-kernels", &["querist-protocol", "querist-core"]),
    ("querist-torchx", &[]),
    ("querist-learn", &["querist-protocol", "querist-core", "querist-kernels", "querist-torchx"]),
    ("querist-loader", &["querist-protocol", "querist-core", "querist-files", "querist-kernels"]),
    ("querist-people", &["querist-protocol", "querist-core", "querist-files"]),
    ("querist-report", &["querist-protocol", "querist-core", "querist-files"]),
    ("querist-store", &["querist-protocol", "querist-core", "querist-files", "querist-loader", "querist-web"]),
    (
        "querist",
        &[
            "querist-protocol",
            "querist-conformance",
            "querist-core",
            "querist-data",
            "querist-external",
            "querist-files",
            "querist-kernels",
            "querist-torchx",
            "querist-learn",
            "querist-loader",
            "querist-people",
            "querist-report",
            "querist-store",
            "querist-web",
        ],
    ),
    ("querist-python", &["querist-protocol", "querist-core", "querist-kernels", "querist"]),
    ("querist-boundary", &[]),
    ("querist-sdk", &["querist-protocol"]),
    ("querist-sdk-torch", &["querist-protocol", "querist-sdk"]),
    ("querist-torch-parts", &["querist-sdk-torch"]),
    ("misbehaving", &["querist-protocol", "querist-sdk"]),
];

/// Crates that may see everything.
const SEE_ALL: [&str; 6] =
    ["querist-testkit", "querist-torch-testkit", "querist-tests", "querist-fuzz-targets", "native-fixture", "xtask"];

/// Crates from outside that only some rooms may use.
const ROOMS: [(&str, &[&str]); 4] = [
    ("tch", &["querist-torchx", "querist-learn", "querist-sdk-torch", "querist-torch-testkit"]),
    // The executables, and libraries that share libtorch, learn from it where libtorch lies.
    ("torch-sys", &["querist-torchx", "querist-learn", "querist", "querist-sdk-torch", "querist-torch-testkit"]),
    ("wasmtime", &["querist-loader"]),
    // A strategy that brings a solver with it loads that.
    ("libloading", &["querist-loader", "querist-torchx", "strategy-core-set"]),
];

fn metadata() -> Value {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("metadata are JSON")
}

/// Normal dependencies of every member.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list");
        all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    metadata["packages"].as_array().expect("a list").iter().map(|p| (text(&p["name"]), of(p))).collect()
}

#[test]
fn only_the_drawn_arrows_exist() {
    let dependencies = dependencies();
    let members: BTreeSet<&String> = dependencies.keys().collect();
    let arrows = BTreeMap::from(ARROWS);
    let plugin = |name: &str| name.starts_with("strategy-");
    let mut wrong = Vec::new();
    for (from, all) in &dependencies {
        if SEE_ALL.contains(&from.as_str()) {
            continue;
        }
        let allowed = match arrows.get(from.as_str()) {
            Some(allowed) => *allowed,
            None if plugin(from) => &["querist-protocol", "querist-sdk", "querist-sdk-torch", "querist-torch-parts"],
            None if from == "rule-breaker" => &["querist-sdk-torch"],
            None => panic!("`{from}` has no place in the house: draw its arrows here and in the design"),
        };
        let inner = all.iter().filter(|to| members.contains(to));
        wrong.extend(inner.filter(|to| !allowed.contains(&to.as_str())).map(|to| format!("{from} -> {to}")));
    }
    assert!(wrong.is_empty(), "arrows that are not drawn: {wrong:?}");
    for (name, _) in ARROWS {
        assert!(dependencies.contains_key(name), "`{name}` is gone: take it out of the arrows");
    }
}

#[test]
fn nothing_but_tests_depends_on_a_plugin() {
    for (from, all) in dependencies() {
        let plugin = all.iter().find(|to| to.starts_with("strategy-") || *to == "misbehaving");
        let is_test = ["querist-tests", "native-fixture"].contains(&from.as_str());
        assert!(plugin.is_none() || is_test, "{from} -> {plugin:?}");
    }
}

#[test]
fn rooms_keep_their_tools() {
    for (from, all) in dependencies() {
        for (tool, rooms) in ROOMS {
            // A plugin that shares libtorch has it by its SDK.
            let shares = all.contains("querist-sdk-torch") && ["tch", "torch-sys"].contains(&tool);
            assert!(!all.contains(tool) || shares || rooms.contains(&from.as_str()), "{from} -> {tool}");
        }
    }
}

/// Every `.rs` file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    files_ending(folder, "rs", found);
}

fn files_ending(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_ending(&path, end, found);
        } else if path.extension().is_some_and(|e| e == end) {
            found.push(path);
        }
    }
}

/// Ids of all strategies, from the manifests of the packed plugins.
fn ids() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(target().join("plugins")).expect("run `cargo xtask build` first") {
        let package = entry.unwrap().path();
        if !package.is_dir() {
            continue;
        }
        let manifest = fs::read_to_string(package.join("plugin.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for strategy in manifest["strategy"].as_array().unwrap() {
            ids.insert(strategy["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

/// The code of a file: no comments, nothing from `#[cfg(test)]` on, and no examples of help texts.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut code = String::new();
    let mut example = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        example |= trimmed.contains("after_help");
        if !example && !trimmed.starts_with("//") {
            code += line.split(" // ").next().unwrap_or_default();
            code.push('\n');
        }
        example &= !(trimmed.ends_with(")]") || trimmed.ends_with("\","));
    }
    code
}

/// Names that stand in the host: differences are reported against the field's common baseline, a norm of gradients is
/// that of a loss which is called as a strategy is, and so is a system whose recipe is a preset; the upper baseline has
/// usual members; one strategy has a short form.
const NAMED: [(&str, &str); 20] = [
    ("host/report/src/analysis.rs", "random"),
    ("host/cli/src/commands/bench.rs", "random"),
    // The short form of one strategy, and shares of classes.
    ("host/cli/src/commands/select/mod.rs", "mix"),
    ("host/cli/src/commands/select/mix.rs", "mix"),
    ("host/cli/src/commands/select/mix.rs", "uniform"),
    ("host/learn/src/need.rs", "entropy"),
    // Recipes of the papers and systems of these names.
    ("host/core/src/config/recipe/presets.rs", "badge"),
    ("host/core/src/config/recipe/presets.rs", "uwe"),
    ("host/core/src/config/recipe/presets.rs", "vaal"),
    ("host/core/src/config/recipe/presets.rs", "waal"),
    ("host/cli/src/upper.rs", "random"),
    ("host/cli/src/upper.rs", "margin"),
    ("host/cli/src/upper.rs", "badge"),
    ("host/cli/src/upper.rs", "bait"),
    ("host/cli/src/upper.rs", "typiclust"),
    ("host/cli/src/upper.rs", "alfa-mix"),
    ("host/cli/src/upper.rs", "drop-query"),
    ("host/cli/src/upper.rs", "max-herding"),
    ("host/cli/src/upper.rs", "uherding"),
    ("host/cli/src/upper.rs", "k-center-greedy"),
];

#[test]
fn no_strategy_is_named_in_the_host() {
    let ids = ids();
    assert!(ids.contains("badge") && ids.len() >= 8, "{ids:?}");
    let mut files = Vec::new();
    sources(&workspace().join("host"), &mut files);
    // Tests, benches and examples may name whom they like.
    files.retain(|path| path.components().any(|part| part.as_os_str() == "src") && !path.ends_with("tests.rs"));
    assert!(files.len() > 50, "{} files", files.len());
    let mut named = Vec::new();
    for path in &files {
        let code = code(&fs::read_to_string(path).unwrap());
        let file = path.strip_prefix(workspace()).unwrap().display().to_string();
        for id in &ids {
            // As a literal: the whole of a string.
            let literal = format!("\"{id}\"");
            if code.contains(&literal) && !NAMED.contains(&(file.as_str(), id.as_str())) {
                named.push(format!("{file}: {id}"));
            }
        }
    }
    assert!(named.is_empty(), "strategies named in the host: {named:#?}");
}

/// Calls that open a file by its path to read it.
const OPENERS: [&str; 9] = [
    "File::open(",
    "fs::read(",
    "fs::read_to_string(",
    "fs::copy(",
    "OpenOptions",
    "image::open(",
    "ImageReader::open(",
    "from_path(",
    "Mmap::map(",
];

/// Who may open a file otherwise than by `querist-files`, what, how often, and why.
const OPEN_OTHERWISE: [(&str, &str, usize, &str); 5] = [
    ("host/data/src/arrays/mod.rs", "Mmap::map(", 1, "maps a handle that `querist-files` opened"),
    ("host/loader/src/isolate/job.rs", "Mmap::map(", 1, "maps memory that the host made and handed over"),
    ("host/conformance/src/surroundings.rs", "fs::read_to_string(", 1, "the kernel's account of this process"),
    ("host/torchx/src/runtime.rs", "fs::read_to_string(", 1, "the kernel's account of this process"),
    ("host/loader/src/isolate/watch.rs", "File::open(", 1, "the kernel's account of a worker"),
];

/// A pipe, a device or a link in place of a file of somebody else is met in one place, which knows what to do.
#[test]
fn only_way_to_open_a_file() {
    let mut files = Vec::new();
    sources(&workspace().join("host"), &mut files);
    let ours = workspace().join("host/files");
    files.retain(|path| {
        let is_source = path.components().any(|part| part.as_os_str() == "src");
        is_source && !path.ends_with("tests.rs") && !path.starts_with(&ours)
    });
    assert!(files.len() > 50, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let code = code(&fs::read_to_string(path).unwrap());
        let file = path.strip_prefix(workspace()).unwrap().display().to_string();
        for opener in OPENERS {
            let allowed = OPEN_OTHERWISE.iter().find(|(name, call, ..)| *name == file && *call == opener);
            let (found, most) = (code.matches(opener).count(), allowed.map_or(0, |(.., most, _)| *most));
            if found > most {
                wrong.push(format!("{file}: {found} times `{opener}`, {most} are allowed; use `querist_files`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines of a strategy's crate that nobody has to account for.
const SHORT: usize = 150;
/// How the header of a longer one begins to say why.
const WHY: &str = "\n// More than 150 lines: ";

/// What several strategies need is in the SDK, so that a crate is its formula and little else.
#[test]
fn long_strategies_say_why() {
    let mut wrong = Vec::new();
    let folders = fs::read_dir(workspace().join("plugins")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|folder| folder.is_dir()) {
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        let lines: usize = files.iter().map(|file| fs::read_to_string(file).unwrap().lines().count()).sum();
        let says_why = fs::read_to_string(folder.join("src/lib.rs")).unwrap().contains(WHY);
        match (lines > SHORT, says_why) {
            (true, false) => wrong.push(format!("{}: {lines} lines, and no `{}`", folder.display(), WHY.trim())),
            (false, true) => wrong.push(format!("{}: {lines} lines are few enough", folder.display())),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines of a source file at most.
const MOST_LINES: usize = 500;
/// Columns of a line at most.
const WIDTH: usize = 120;

/// Every file of the repository with this ending; folders that are hidden or built are none of it.
fn ours(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(ours(&path, ending));
        } else if kind.is_file() && path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found
}

/// Whether a file says on top that it is made from others.
fn is_generated(text: &str) -> bool {
    text.lines().take(5).any(|line| line.contains("do not edit"))
}

/// The lines of a Rust file that can be broken: not those of a text that stands there as it is printed or read.
fn breakable_code(text: &str) -> Vec<(usize, &str)> {
    let mut verbatim = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let begins = line.split_once("r#\"").is_some_and(|(_, rest)| !rest.contains("\"#"));
        if !verbatim {
            lines.push((at + 1, line));
        }
        verbatim = if verbatim { !line.contains("\"#") } else { begins };
    }
    lines
}

/// The lines of a page that can be broken: not rows of tables, and nothing that is typed or printed.
fn breakable_prose(text: &str) -> Vec<(usize, &str)> {
    let mut verbatim = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        verbatim ^= line.trim_start().starts_with("```");
        if !verbatim && !line.starts_with('|') {
            lines.push((at + 1, line));
        }
    }
    lines
}

/// Whether a line is too wide, and has a blank to break it at: a long link has none.
fn is_too_wide(line: &str) -> bool {
    let text = line.trim_start_matches(|c: char| c.is_whitespace() || "/!#>*-".contains(c));
    let indent = line.chars().count() - text.chars().count();
    indent + text.chars().count() > WIDTH && text.chars().take(WIDTH - indent.min(WIDTH)).any(char::is_whitespace)
}

#[test]
fn no_source_file_is_longer_than_one_reads_at_a_time() {
    let files = ours(&workspace(), "rs");
    assert!(files.len() > 300, "{} files", files.len());
    let mut long = Vec::new();
    for path in files.iter().filter(|path| path.components().any(|part| part.as_os_str() == "src")) {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().count();
        if lines > MOST_LINES && !is_generated(&text) {
            long.push(format!("{}: {lines} lines", path.strip_prefix(workspace()).unwrap().display()));
        }
    }
    assert!(long.is_empty(), "longer than {MOST_LINES} lines, so of more than one noun: {long:#?}");
}

#[test]
fn no_line_is_wider_than_the_width() {
    let mut wide = Vec::new();
    type Breakable = fn(&str) -> Vec<(usize, &str)>;
    let kinds: [(&str, Breakable); 2] = [("rs", breakable_code), ("md", breakable_prose)];
    for (ending, breakable) in kinds {
        for path in ours(&workspace(), ending) {
            let text = fs::read_to_string(&path).unwrap();
            if is_generated(&text) {
                continue;
            }
            let lines = breakable(&text).into_iter().filter(|(_, line)| is_too_wide(line));
            wide.extend(lines.map(|(at, _)| format!("{}:{at}", path.strip_prefix(workspace()).unwrap().display())));
        }
    }
    assert!(wide.is_empty(), "wider than {WIDTH} columns: {wide:#?}");
}

/// A peer's seconds without the kernels that they hang on are worth nothing.
#[test]
fn peers_say_what_they_run_on() {
    let mut scripts = Vec::new();
    for folder in ["benches", "host", "plugins"] {
        files_ending(&workspace().join(folder), "py", &mut scripts);
    }
    scripts.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("peer") || name == "growth.py"
    });
    assert!(scripts.len() >= 8, "{} scripts", scripts.len());
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("machine.say()"), "{} does not call machine.say()", path.display());
    }
}

/// The native build of a plugin is tried against the rules beside it, once: `conformance.rs` tries the components, and
/// compares them with their native twins, which it knows from its manifest.
#[test]
fn every_plugin_tries_the_rules_and_has_a_twin() {
    let mut tried = 0;
    let twins = fs::read_to_string(workspace().join("tests/Cargo.toml")).unwrap();
    for entry in fs::read_dir(workspace().join("plugins")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        // What shares libtorch has a testkit of its own.
        if manifest.contains("querist-sdk-torch") {
            continue;
        }
        let mut files = Vec::new();
        if folder.join("tests").is_dir() {
            sources(&folder.join("tests"), &mut files);
        }
        let tries =
            files.iter().any(|path| fs::read_to_string(path).unwrap().contains("conforms(&NativeMaker::new(&PACKAGE,"));
        assert!(tries, "{} has no test that it conforms", folder.display());
        tried += 1;
        if !fs::read_to_string(folder.join("src/lib.rs")).unwrap().contains("export_native!") {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let line = format!("strategy-{name} = {{ path = \"../plugins/{name}\" }}");
            assert!(twins.contains(&line), "tests/Cargo.toml lacks the line `{line}`");
        }
    }
    assert!(tried > 20, "{tried} plugins");
}
