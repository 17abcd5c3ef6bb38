//! What registries show of a component, as `querist plugin pack` writes it.

use std::fs;
use std::path::PathBuf;

use querist_tests::cli::Place;
use querist_tests::components::{describing, description};
use serde_json::{Value, json};

const MANIFEST: &str = r#"[package]
name = "apart"
authors = ["Ada <ada@lab.org>", "Grace"]
description = "Of the crate"
license = "MIT/Apache-2.0"
repository = "https://github.com/lab/apart"
homepage = "lab.org"
version.workspace = true
"#;

/// A place with a core module that cargo built for the crate `apart`.
fn with_module() -> Place {
    let place = Place::new();
    let description = description("evil", "0.1.0", &json!({"type": "object"}));
    place.write("project/target/wasm32-unknown-unknown/release/apart.wasm", describing(&description));
    place.write("project/Cargo.toml", MANIFEST);
    place
}

fn pack(place: &Place, args: &[&str]) -> (Vec<u8>, String) {
    let module = "project/target/wasm32-unknown-unknown/release/apart.wasm";
    let said = place.call(&[&["plugin", "pack", module, "--format", "json"], args].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let rows: Vec<Value> = serde_json::from_str(&said.out.replace("DIR", &place.path().display().to_string())).unwrap();
    assert_eq!((&rows[0]["package"], &rows[0]["strategies"]), (&json!("evil"), &json!(["evil"])));
    let artifact = PathBuf::from(rows[0]["artifact"].as_str().unwrap());
    (fs::read(place.path().join(artifact)).unwrap(), said.err)
}

/// Whether a component has a custom section of this name with this text, by the bytes that the format asks for.
fn has(component: &[u8], name: &str, text: &str) -> bool {
    let body = [&[name.len() as u8][..], name.as_bytes(), text.as_bytes()].concat();
    assert!(body.len() < 0x80, "one byte for the length");
    let section = [&[0, body.len() as u8][..], &body].concat();
    component.windows(section.len()).any(|window| window == section)
}

#[test]
fn a_component_says_what_its_crate_says_and_flags_come_first() {
    let place = with_module();
    let (component, notes) = pack(&place, &[]);
    for (name, text) in [
        ("authors", "Ada <ada@lab.org>, Grace"),
        ("description", "Of the crate"),
        ("licenses", "MIT OR Apache-2.0"),
        ("source", "https://github.com/lab/apart"),
        ("version", "0.1.0"),
    ] {
        assert!(has(&component, name, text), "{name}");
    }
    assert!(notes.contains("left out") && notes.contains("homepage `lab.org`"), "{notes}");
    let flags = ["--license", "ISC", "--revision", "8c1f0e5d2b7a9466d3e1f0a2b4c6d8e0f1a3b5c7"];
    let (component, _) = pack(&place, &flags);
    assert!(has(&component, "licenses", "ISC") && has(&component, "revision", flags[3]));
    assert!(!has(&component, "licenses", "MIT OR Apache-2.0") && has(&component, "description", "Of the crate"));
    // What is shown is no part of what the plugin is asked about.
    place.good(&["plugin", "show", "evil"]);
}

#[test]
fn nothing_is_said_of_a_component_that_nobody_said() {
    let place = with_module();
    place.write("project/Cargo.toml", MANIFEST.replace("\"apart\"", "\"another\""));
    let (component, notes) = pack(&place, &[]);
    let text = String::from_utf8_lossy(&component).into_owned();
    assert!(!text.contains("Of the crate") && !text.contains("licenses") && notes.is_empty(), "{notes}");
    // The same module gives the same component, wherever it is packed.
    let other = with_module();
    other.write("project/Cargo.toml", "no TOML");
    assert_eq!(pack(&other, &[]).0, component);
    let (described, _) = pack(&place, &["--source", "https://lab.org/apart"]);
    assert!(has(&described, "description", "Evil"), "the summary of its only strategy");
}

#[test]
fn texts_that_other_tools_could_not_read_are_not_written() {
    let place = with_module();
    let module = "project/target/wasm32-unknown-unknown/release/apart.wasm";
    for (flag, value, words) in [
        ("--license", "free for all", "no SPDX expression"),
        ("--source", "git@lab.org:apart", "begins with https://"),
        ("--authors", "a\nb", "on one line"),
        ("--revision", "", "1 to 1000 bytes"),
    ] {
        place.call(&["plugin", "pack", module, flag, value]).fails(1, &[words]);
    }
    place.write("pair.toml", "package = \"pair\"");
    place.call(&["plugin", "pack", "pair.toml", "--license", "MIT"]).fails(2, &["only a component"]);
}
