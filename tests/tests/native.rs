//! Native packages through the program: trust, the same answers as the sandbox's, and what isolated ones may not do.

use std::fs;

use querist_loader::{Listing, Source};
use querist_tests::native::Packed;

#[test]
fn a_native_package_runs_only_where_the_user_said_so() {
    let arrays = Packed::new();
    let strategy = "native-fixture/entropy";
    let all = ["native code", "querist plugin lock native-fixture", "--allow-native", "--isolate"];
    arrays.refused(strategy, &[], 2, &all);
    arrays.refused(strategy, &["--allow-native"], 2, &["querist plugin lock native-fixture"]);
    arrays.refused(strategy, &["--locked", "--isolate"], 2, &["is not in querist.lock"]);

    arrays.lock();
    arrays.refused(strategy, &[], 2, &["add `--allow-native`"]);
    arrays.picks(strategy, &["--allow-native", "--locked"]);

    // One letter of the library changes.
    let library = arrays.place.at("packed/native-fixture/native-fixture.so");
    let mut bytes = fs::read(&library).unwrap();
    let at = bytes.windows(19).position(|window| window == b"on purpose, with 7 ").unwrap();
    bytes[at] = b'O';
    fs::write(&library, &bytes).unwrap();
    let changed = ["is not the one in querist.lock", "artifact", "querist plugin lock native-fixture"];
    arrays.refused(strategy, &["--allow-native"], 2, &changed);
}

#[test]
fn native_isolated_and_sandboxed_twins_pick_the_same_rows_with_the_same_score_bits() {
    let arrays = Packed::new();
    arrays.lock();
    let embeddings = ["--input", "embeddings=embeddings.npy"];
    let labelled = ["--input", "embeddings=embeddings.npy", "--input", "labelled.embeddings=labelled.npy"];
    for (id, package, inputs) in [
        ("entropy", "uncertainty", &[][..]),
        ("margin", "uncertainty", &[]),
        ("k-center-greedy", "k-center-greedy", &labelled),
        ("badge", "badge", &embeddings),
    ] {
        let ask = |package: &str, more: &[&str]| arrays.picks(&format!("{package}/{id}"), &[inputs, more].concat());
        let sandboxed = ask(package, &[]);
        assert_eq!(ask("native-fixture", &["--allow-native"]), sandboxed, "{id} in process");
        assert_eq!(ask("native-fixture", &["--isolate"]), sandboxed, "{id} isolated");
    }
}

#[test]
fn what_isolated_plugins_may_not_do_ends_in_its_own_error() {
    let arrays = Packed::new();
    for (how, words) in [
        ("crash", &["crashed its worker", "segmentation fault"][..]),
        ("abort", &["crashed its worker", "abort"]),
        ("hang", &["time limit of 1 s", "raise `--seconds`"]),
        ("fork", &["tried to start a process"]),
        ("socket", &["tried to open a socket"]),
        ("file", &["tried to open a file"]),
        ("memory", &["memory", "raise `--memory`"]),
        ("panic", &["the plugin panicked", "with 7 * 6 = 42", "lib.rs:"]),
        ("twice", &["broke its contract", "picked before"]),
        ("bad-handle", &["`embeddings` is not among the declared needs"]),
        ("exit", &["ended without an answer"]),
        ("log", &["log"]),
    ] {
        let seconds = if how == "hang" { "1" } else { "60" };
        let param = format!("how={how}");
        let more = ["--isolate", "--param", &param, "--seconds", seconds, "--memory", "64MiB"];
        arrays.refused("native-misbehave", &more, 1, &[&["native-misbehave", "native-fixture 0.1.0"], words].concat());
    }
    for harmless in ["nothing", "innocent"] {
        arrays.picks("native-misbehave", &["--isolate", "--param", &format!("how={harmless}")]);
    }
}

#[test]
fn a_panic_in_this_process_is_an_error_too() {
    let arrays = Packed::new();
    arrays.lock();
    let words = ["the plugin panicked", "with 7 * 6 = 42"];
    arrays.refused("native-misbehave", &["--allow-native", "--param", "how=panic"], 1, &words);
}

#[test]
fn libraries_that_do_not_fit_are_refused_before_any_of_their_code_is_loaded() {
    let arrays = Packed::new();
    let place = &arrays.place;
    let library = place.at("packed/native-fixture/native-fixture.so");
    let good = fs::read(&library).unwrap();
    let identity = good.windows(8).position(|window| window == b"QUERIST\0").unwrap();
    let list = || place.good(&["plugin", "list", "--plugin-dir", "packed"]);
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[identity + at..identity + at + value.len()].copy_from_slice(value);
        bytes
    };
    for (bytes, words) in [
        (with(12, &[9]), "built for version 9."),
        (with(0, b"X"), "does not begin as one of Querist"),
        (with(17, &[1]), "does not link libtorch_cpu.so"),
        (with(20, b"other"), "disagrees with native-fixture.so"),
        (with(8, &[1, 0]), "its identity says"),
        (good[..4000].to_vec(), "not a shared library"),
        (b"\x7fELF nonsense".to_vec(), "not a shared library"),
    ] {
        fs::write(&library, &bytes).unwrap();
        let list = list();
        assert!(list.contains("refused") && list.contains(words), "expected `{words}` in {list}");
    }
    // Nobody pays for a library that was not asked for: only its texts are read.
    fs::write(&library, b"broken").unwrap();
    let folder = place.at("packed");
    let listing = Listing::search(&[(Source::PluginDir, folder)]).unwrap();
    fs::write(&library, &good).unwrap();
    assert!(listing.resolve("native-fixture/entropy").is_ok(), "the artifact is opened when it is asked for");
    fs::write(&library, b"broken").unwrap();
    assert!(listing.resolve("native-fixture/entropy").is_ok(), "and read once");
    // A panic that would end the host: it is not loaded.
    fs::write(&library, with(16, &[2])).unwrap();
    arrays.lock();
    arrays.refused("native-fixture/entropy", &["--allow-native"], 1, &["panic = \"abort\"", "unwind"]);
    // A manifest that says something else.
    fs::write(&library, &good).unwrap();
    let manifest = place.at("packed/native-fixture/plugin.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    place.write("packed/native-fixture/plugin.toml", text.replace("Breaks one rule", "Breaks no rule"));
    let list = list();
    assert!(list.contains("pack the artifact again"), "{list}");
}
