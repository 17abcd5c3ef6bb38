//! Components written down by hand, which say of themselves whatever a test wants.

use std::path::PathBuf;

use serde_json::{Value, json};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::cli::Place;
use crate::workspace;

/// A core module with the exports of a package, which says `text` when it is asked to describe itself.
pub fn module(memory: u32, text: &str, describe: &str, more: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(workspace().join("plugin-sdk/wit/strategy.wit")).expect("the boundary is read");
    let strategies = resolve.id_of(resolve.packages[package].interfaces["strategies"]).expect("it is there");
    let wat = format!(
        r#"(module
        (memory (export "memory") {memory})
        (data (i32.const 16) "{text}")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
        (func (export "{strategies}#describe") (result i32) {describe})
        (func (export "{strategies}#needs") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "{strategies}#score") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "{strategies}#select") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
            unreachable)
        {more})"#
    );
    let mut module = wat::parse_str(wat).expect("it is a module");
    let world = resolve.select_world(&[package], Some("plugin")).expect("it is there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("they fit");
    module
}

/// Instructions that give `len` bytes of the text.
pub fn saying(len: u32) -> String {
    format!("(i32.store (i32.const 8) (i32.const 16)) (i32.store (i32.const 12) (i32.const {len})) (i32.const 8)")
}

/// A core module that describes itself so.
pub fn describing(description: &Value) -> Vec<u8> {
    let text = description.to_string();
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    module(16, &escaped, &saying(text.len() as u32), "")
}

/// The description of a package with one strategy of the same name and this schema.
pub fn description(name: &str, version: &str, schema: &Value) -> Value {
    let strategy =
        json!({"id": name, "summary": "Evil", "paper": "None", "scorer": false, "needs": [], "schema": schema});
    json!({"package": name, "version": version, "api": querist_protocol::API_VERSION, "strategies": [strategy]})
}

/// Packs a package with one strategy of the same name, which cannot answer; gives its component.
pub fn packed(place: &Place, name: &str, version: &str) -> PathBuf {
    let description = description(name, version, &json!({"type": "object"}));
    place.write("module.wasm", describing(&description));
    let out = format!("packed-{version}");
    place.good(&["plugin", "pack", "module.wasm", "--out", &out]);
    place.at(&format!("{out}/{name}/{name}.wasm"))
}
