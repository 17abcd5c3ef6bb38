//! What a package says of itself.

use std::fs;

use querist_core::Schema;
use querist_loader::package::component::{SECTION, embedded};
use querist_loader::package::description::check_description;
use querist_loader::package::inspect::{Inspection, inspect};
use querist_loader::package::manifest::FILE;
use querist_loader::package::read::read_package;
use querist_protocol::Description;

use crate::runs::in_memory;
use crate::{bounded, filled};

/// A byte that chooses the form: the section of a component, the bytes of a component, or a package folder, in which a
/// zero byte ends the manifest and the rest is the schema.
pub fn description(data: &[u8]) {
    let Some((&form, rest)) = data.split_first() else { return };
    match form % 3 {
        0 => check(&component(rest)),
        1 => check(rest),
        _ => folder(rest),
    }
}

fn check(component: &[u8]) {
    match embedded(component) {
        Ok(description) => checked(&description),
        Err(error) => bounded(&error.to_string()),
    }
}

fn checked(description: &Description) {
    match check_description(description) {
        Ok(()) => {
            for strategy in &description.strategies {
                let schema = Schema::new(strategy.schema.clone()).expect("it was checked");
                filled(&schema, &serde_json::json!({}));
            }
        }
        Err(error) => bounded(&error.to_string()),
    }
}

fn folder(data: &[u8]) {
    let (manifest, schema) = data.split_at(data.iter().position(|&byte| byte == 0).unwrap_or(data.len()));
    in_memory(|folder| {
        let files = [
            (FILE, manifest),
            ("schema.json", schema.get(1..).unwrap_or_default()),
            ("a.so", b"\x7fELF"),
            ("a.toml", manifest),
        ];
        files.into_iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).expect("the folder is ours"));
        fs::write(folder.join("a.wasm"), component(b"{}")).expect("the folder is ours");
        if let Err(error) = read_package(folder) {
            bounded(&error.to_string());
        }
    });
}

/// A byte that chooses the form, then what a compiler made: a native library or WebAssembly. All that can be seen of it
/// is looked at, and none of it runs.
pub fn artifact(data: &[u8]) {
    let Some((&form, rest)) = data.split_first() else { return };
    let (magic, name): (&[u8], _) = if form % 2 == 0 { (b"\x7fELF", "a.so") } else { (b"\0asm", "a.wasm") };
    in_memory(|folder| {
        let file = folder.join(name);
        // What begins otherwise is no artifact, and told so at once.
        fs::write(&file, [magic, rest].concat()).expect("the folder is ours");
        match inspect(&file) {
            Ok(seen) => looked_at(&seen),
            Err(error) => bounded(&error.to_string()),
        }
    });
}

fn looked_at(seen: &Inspection) {
    let contents = seen.contents.as_ref().map(|contents| contents.as_ref().map(|found| format!("{found:?}")));
    let native = seen.native.as_ref().map(|native| native.as_ref().map(|found| format!("{found:?}")));
    for refused in [contents.and_then(Result::err), native.and_then(Result::err)].into_iter().flatten() {
        bounded(&refused.to_string());
    }
    if let Some(Ok(contents)) = &seen.contents {
        let names = contents.imports.iter().chain(&contents.exports);
        names.for_each(|name| bounded(name.as_str()));
        contents.about.iter().for_each(|(_, text)| bounded(text.as_str()));
    }
    if let Some(Ok(native)) = &seen.native {
        [&native.compiler, &native.target].into_iter().chain(&native.libraries).for_each(|text| bounded(text.as_str()));
    }
}

/// An empty component with one section of ours.
fn component(section: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0\0".to_vec();
    let mut number = SECTION.len() + 1 + section.len();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes.push(SECTION.len() as u8);
    bytes.extend_from_slice(SECTION.as_bytes());
    bytes.extend_from_slice(section);
    bytes
}
