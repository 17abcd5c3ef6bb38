//! An author's verbs from outside: projects are written, built, looked at, timed and explained.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use querist_tests::cli::{Place, steers};
use querist_tests::{target, workspace};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn built_in(package: &str) -> String {
    target().join("plugins").join(package).display().to_string()
}

/// Calls the program where it finds the tools that the user has; gives its standard output.
fn with_tools(place: &Place, args: &[&str]) -> String {
    let mut command = place.command(args);
    let of_user = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"];
    command.envs(of_user.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let said = place.said(&command.env("QUERIST_CACHE", target().join("test-cache")).output().unwrap());
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
    said.out
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_project_in_c_is_built_packed_and_checked_as_new_says() {
    let place = Place::new();
    let said = place.good(&["plugin", "new", "far-norm", "--lang", "c"]);
    let steps = "cd far-norm\nquerist plugin build --allow-native\nquerist plugin check --isolate plugins/far-norm\n";
    assert_eq!(said, steps);
    let built = with_tools(&place, &["plugin", "build", "far-norm", "--allow-native"]);
    assert_eq!(built, "far-norm/plugins/far-norm\n");
    place.good(&["plugin", "check", "--quick", "--isolate", "far-norm/plugins/far-norm"]);
    let seen = json(&place.good(&["plugin", "inspect", "far-norm/far_norm.so", "--format", "json"]));
    assert_eq!((&seen["form"], &seen["refused"]["code"]), (&"native library".into(), &"package-not-packed".into()));
    assert_eq!(seen["native"]["target"], "x86_64-unknown-linux-gnu");
}

#[test]
fn what_cannot_be_built_says_why() {
    let place = Place::new();
    place.write("empty/readme.txt", "nothing");
    place.write("silent/build.sh", "true\n");
    place.write("wrong/build.sh", "echo nothing.wasm\n");
    place.write("broken/build.sh", "exit 3\n");
    place.call(&["plugin", "build", "empty"]).fails(2, &["is no project", "querist plugin new"]);
    place.call(&["plugin", "build", "silent"]).fails(1, &["the last line names the file"]);
    place.call(&["plugin", "build", "wrong"]).fails(1, &["`nothing.wasm`", "the last line names the file"]);
    place.call(&["plugin", "build", "broken"]).fails(1, &["build.sh ended with exit status: 3"]);
    for (what, words) in [("empty", "a folder: name what a compiler made"), ("empty/readme.txt", "neither WebAssembly")]
    {
        place.call(&["plugin", "pack", what]).fails(1, &["cannot pack", words, "querist explain package-"]);
    }
}

#[test]
fn a_package_is_seen_without_running_it() {
    let place = Place::new();
    let seen = json(&place.good(&["plugin", "inspect", &built_in("cal"), "--format", "json"]));
    let imports: Vec<&str> = seen["contents"]["imports"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(!imports.is_empty() && imports.iter().all(|name| name.starts_with("querist:strategy/")), "{imports:?}");
    let shown = json(&place.good(&["plugin", "show", "cal", "--format", "json"]));
    assert_eq!(seen["digest"], shown["digest"]);
    assert_eq!(seen["package"]["strategies"][0]["id"], "cal");
    assert_eq!(seen["package"]["strategies"][0]["schema"], shown["strategy"]["schema"]);
    let lock = place.good(&["plugin", "lock", "cal", "--plugin-dir", &target().join("plugins").display().to_string()]);
    assert!(lock.contains("cal"), "{lock}");
    let locked = fs::read_to_string(place.at("querist.lock")).unwrap();
    assert!(locked.contains(seen["package"]["description_digest"].as_str().unwrap()), "{locked}");
    let text = place.good(&["plugin", "inspect", &built_in("cal")]);
    for part in [
        "form         component",
        "made by      wit-bindgen-rust",
        "  parameters k, normalise, reduce",
        "querist:manifest (",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

/// Names in a file that nobody made for this are shown without what steers a terminal.
#[test]
fn a_hostile_component_is_seen_without_harm() {
    let place = Place::new();
    let hostile = wat::parse_str("(component (import \"wasi:cli/exit@0.2.0\" (instance)))").unwrap();
    let mut bytes = hostile;
    // A custom section `authors` whose text clears the screen.
    let text = b"\x1b[2Jme";
    bytes.extend([0, (1 + 7 + text.len()) as u8, 7]);
    bytes.extend(b"authors");
    bytes.extend(text);
    place.write("theirs.wasm", bytes);
    let text = place.good(&["plugin", "inspect", "theirs.wasm"]);
    for part in ["wasi:cli/exit@0.2.0", "authors", "code         package-imports"] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    assert!(text.lines().all(|line| !steers(line)), "{text}");
    place.write("cut.wasm", &fs::read(target().join("plugins/cal/cal.wasm")).unwrap()[..5000]);
    let cut = place.good(&["plugin", "inspect", "cut.wasm"]);
    assert!(cut.contains("none that can be used"), "{cut}");
}

#[test]
fn codes_at_the_end_of_messages_are_explained() {
    let place = Place::new();
    let said = place.call(&["select", "--strategy", "bagde", "--budget", "1", "--ids", "none.npy"]);
    said.fails(2, &["did you mean `badge`?", "code: strategy-unknown (`querist explain strategy-unknown`)"]);
    let told = place.good(&["explain", "strategy-unknown"]);
    assert!(told.contains("Usual cause: ") && told.contains("What to do: "), "{told}");
    let all = json(&place.good(&["explain", "--format", "json"]));
    let codes: Vec<&str> = all.as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect();
    assert!(codes.contains(&"strategy-panic") && codes.contains(&"threads-and-tiles"), "{codes:?}");
    place.call(&["explain", "strategy-panics"]).fails(2, &["did you mean `strategy-panic`?"]);
    let event = place.call(&["run", "none.toml", "--log", "json"]);
    assert_eq!(json(event.err.lines().last().unwrap())["kind"], Value::Null, "a file that is not there has no code");
}

/// The rules of a check are explained, too.
#[test]
fn rules_that_can_be_broken_are_explained() {
    let place = Place::new();
    let package = target().join("plugins/uncertainty").display().to_string();
    let checked = place.good(&["plugin", "check", "--format", "json", "--quick", "--strategy", "margin", &package]);
    for row in json(&checked).as_array().unwrap() {
        place.good(&["explain", row["rule"].as_str().unwrap()]);
    }
}

#[test]
fn a_broken_rule_is_shown_in_its_smallest_case() {
    let place = Place::new();
    let package = target().join("misbehaving").display().to_string();
    let args = ["plugin", "check", "--quick", "--strategy", "misbehaving", "--param", "way=short", &package];
    let said = place.call(&args);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let line = said.out.lines().find(|line| line.contains("BROKEN  answers")).expect("a broken rule");
    assert!(line.contains("selected 1 rows, expected exactly 2"), "{line}");
    assert!(line.contains("the smallest case found is batch 2 of 2 rows, 0 labelled"), "{line}");
}

#[test]
fn a_package_that_cannot_be_isolated_is_not_called_broken() {
    let place = Place::new();
    let said = place.call(&["plugin", "check", "--quick", "--isolate", &built_in("learning-loss")]);
    said.fails(2, &["cannot be isolated", "querist explain isolation-impossible"]);
}

#[test]
fn a_strategy_is_timed_beside_others_of_the_same_needs() {
    let place = Place::new();
    let package = built_in("badge");
    let args = ["plugin", "bench", &package, "--rows", "2000", "--budget", "20", "--format", "json"];
    let figures = json(&place.good(&args));
    let strategies = figures["strategies"].as_array().unwrap();
    assert_eq!(strategies[0]["id"], "badge");
    assert!(strategies.iter().any(|one| one["id"] == "random") && strategies.len() > 2, "{figures}");
    let last = strategies[0]["sizes"].as_array().unwrap().last().unwrap();
    assert_eq!(last["rows"], 2000);
    let of = |key: &str| last["times"][key].as_f64().unwrap();
    // Of its work the kernels do most, and all of it together is no more than the query.
    assert!(of("kernels") > 0.0 && of("own") > 0.0 && of("calls") >= 20.0, "{last}");
    assert!(of("kernels") + of("own") + of("copies") <= last["seconds"].as_f64().unwrap() * 1.05, "{last}");
    let table = place.good(&["plugin", "bench", "margin", "--rows", "1000", "--against", "random"]);
    assert!(table.contains("OWN CODE") && table.contains("margin") && table.contains("N^"), "{table}");
}

#[test]
fn a_check_is_done_again_when_a_file_changes() {
    let place = Place::new();
    let module = fs::read(target().join("plugins/uncertainty/uncertainty.wasm")).unwrap();
    place.write("mine.wasm", &module);
    let args = ["plugin", "check", "--watch", "--quick", "--strategy", "margin", "mine.wasm"];
    let mut child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |word: &str| lines.by_ref().map(Result::unwrap).find(|line| line.contains(word));
    assert!(until("margin (uncertainty").is_some(), "the first check");
    assert!(until("choices").is_some(), "the end of the first check");
    place.write("mine.wasm", &module);
    assert!(until("margin (uncertainty").is_some(), "the second check");
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert!(child.wait().unwrap().code().is_some());
}

#[test]
fn shells_and_manuals_are_told_everything_that_is_no_secret() {
    let place = Place::new();
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef querist"), ("fish", "complete -c querist")] {
        let text = place.good(&["completions", shell]);
        for part in
            [word, "isolate", "inspect", "cpu|cuda"].iter().filter(|part| shell != "bash" || **part != "cpu|cuda")
        {
            assert!(shell == "fish" && *part == "cpu|cuda" || text.contains(part), "{shell}: no `{part}`");
        }
        for hidden in ["compile-component", "with-parent", "plugin-worker"] {
            assert!(!text.contains(hidden), "{shell} is told of `{hidden}`");
        }
    }
    // The shell itself reads it.
    fs::write(place.at("querist.bash"), place.good(&["completions", "bash"])).unwrap();
    let words = "source ./querist.bash; COMP_WORDS=(querist plugin insp); COMP_CWORD=2; _querist querist insp plugin; \
                 echo \"${COMPREPLY[@]}\"";
    let said = Command::new("bash").args(["-c", words]).current_dir(place.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "inspect");
    place.good(&["man", "--out", "man1"]);
    for page in ["querist.1", "querist-run.1", "querist-plugin-check.1"] {
        let text = fs::read_to_string(place.at("man1").join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("Example"), "{page}:\n{text}");
    }
    assert!(!place.at("man1/querist-compile-component.1").exists());
}

#[test]
fn a_run_takes_its_strategy_and_seed_from_the_call() {
    let place = Place::with_run(querist_tests::cli::RUN);
    place.write(
        "params.toml",
        querist_tests::cli::RUN.replace("\"badge\"", "\"badge\", params = { include_bias = true }"),
    );
    let said = place.call(&["run", "params.toml", "--strategy", "margin", "--seed", "7", "--out", "r"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("parameters in the file are those of `badge`, and are left out"), "{}", said.err);
    let config: toml::Table = fs::read_to_string(place.at("r/run.toml")).unwrap().parse().unwrap();
    assert_eq!(config["strategy"]["id"].as_str(), Some("margin"));
    assert_eq!(config["seeds"]["root"].as_integer(), Some(7));
    place.call(&["run", "run.toml", "--strategy", "bagde"]).fails(2, &["did you mean `badge`?"]);
}

#[test]
fn an_empty_labelled_set_is_not_taken_without_a_word() {
    let place = Place::new();
    querist_data::arrays::write_npy(&place.at("e.npy"), &[4, 1], &[0.0f32, 1.0, 5.0, 9.0]).unwrap();
    let ask = ["select", "--strategy", "k-center-greedy", "--budget", "2", "--input", "embeddings=e.npy"];
    let said = place.call(&ask);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("`labelled.embeddings` taken as those of an empty labelled set"), "{}", said.err);
    let said = place.call(&[&ask[..], &["--input", "labelled.embeddings=e.npy"]].concat());
    assert!(!said.err.contains("empty labelled set"), "{}", said.err);
}

#[test]
fn programs_read_what_the_doctor_and_the_check_of_data_find() {
    let place = Place::new();
    let doctor = json(&place.good(&["doctor", "--format", "json"]));
    let finding = |name: &str| doctor["findings"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    assert!(finding("libtorch").unwrap()["problem"].is_null() && finding("cache").is_some(), "{doctor}");
    let data = json(&place.good(&["data", "check", "digits", "--format", "json"]));
    assert_eq!((&data["good"], &data["problem"]), (&true.into(), &Value::Null));
    assert_eq!(data["digest"].as_str().map(str::len), Some(64), "{data}");
}

/// On a terminal, too, nothing is coloured where the user wants no colours, and nothing where there is no terminal.
#[test]
fn colours_are_for_terminals() {
    let place = Place::new();
    place.write("run.toml", "version = 3\n");
    let program = querist_tests::cli::program();
    let call = format!("{} run run.toml", program.display());
    let on_terminal = |envs: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script.args(["-qec", &call, "/dev/null"]).current_dir(place.path()).stdin(Stdio::null());
        script.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(envs.iter().copied());
        String::from_utf8_lossy(&script.output().expect("util-linux").stdout).into_owned()
    };
    let is_coloured = |text: &str| text.contains("\u{1b}[3") || text.contains("\u{1b}[1");
    let coloured = on_terminal(&[]);
    assert!(is_coloured(&coloured), "{coloured}");
    let plain = on_terminal(&[("NO_COLOR", "1")]);
    assert!(plain.contains("budget") && !is_coloured(&plain), "{plain}");
    let piped = place.call(&["run", "run.toml"]);
    assert!(piped.err.contains("budget") && !is_coloured(&piped.err), "{}", piped.err);
}

/// Outside the clone, by paths alone.
#[test]
#[ignore = "compiles the bindings of libtorch"]
fn a_project_that_trains_is_built_packed_and_run() {
    let place = Place::with_run(querist_tests::cli::RUN);
    place.good(&["plugin", "new", "far-off", "--lang", "rust-torch"]);
    fs::copy(workspace().join("Cargo.lock"), place.at("far-off/Cargo.lock")).unwrap();
    with_tools(&place, &["plugin", "build", "far-off", "--allow-native", "--out", "plugins"]);
    place.good(&["plugin", "lock", "far-off"]);
    let args = ["run", "run.toml", "--strategy", "far-off", "--allow-native", "--out", "r"];
    place.good(&args);
    assert_eq!(querist_tests::cli::records(&place.at("r")).len(), 4);
    place.good(&["plugin", "check", "--allow-native", "plugins/far-off"]);
}

#[test]
fn the_template_that_trains_is_the_example_of_the_page() {
    // What they differ in is what authors replace: names and the words on top.
    let body = |path: &str| {
        let text = fs::read_to_string(workspace().join(path)).unwrap();
        let text = text.replace("UnlikeLabelled", "Discriminative");
        text[text.find("/// Embeddings of every image").unwrap()..].to_owned()
    };
    assert_eq!(body("plugin-sdk/templates/rust-torch/src/lib.rs"), body("examples/native-plugin/src/lib.rs"));
}

#[test]
fn the_worked_example_of_the_page_is_what_is_shipped() {
    let page = fs::read_to_string(workspace().join("docs/plugin-authors.md")).unwrap();
    let source = fs::read_to_string(workspace().join("plugins/cal/src/lib.rs")).unwrap();
    let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let shown = blocks.iter().find(|block| block.contains("nearest_rows")).expect("the page shows the kernel");
    assert!(source.contains(shown.trim_end()), "docs/plugin-authors.md shows another `cal`:\n{shown}");
}
