//! Packages that attack before they are asked anything: by what they hold, and by how they describe themselves.

use std::time::{Duration, Instant};

use querist_loader::cache::Cache;
use querist_loader::{Compiler, Sandbox};
use querist_tests::cli::{Place, program};
use querist_tests::workspace;
use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A core module with the exports of a package, which says `text` when it is asked to describe itself.
fn module(memory: u32, text: &str, describe: &str, more: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module
        (memory (export "memory") {memory})
        (data (i32.const 16) "{text}")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
        (func (export "querist:strategy/strategies@0.1.0#describe") (result i32) {describe})
        (func (export "querist:strategy/strategies@0.1.0#needs") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "querist:strategy/strategies@0.1.0#score") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "querist:strategy/strategies@0.1.0#select") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
            unreachable)
        {more})"#
    );
    let mut module = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_file(workspace().join("plugin-sdk/wit/strategy.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// Instructions that give `len` bytes of the text.
fn saying(len: u32) -> String {
    format!("(i32.store (i32.const 8) (i32.const 16)) (i32.store (i32.const 12) (i32.const {len})) (i32.const 8)")
}

/// Packs and expects an error with this word, soon.
fn refused(name: &str, artifact: &[u8], word: &str) {
    let place = Place::new();
    place.write("bad.wasm", artifact);
    let clock = Instant::now();
    let said = place.call(&["plugin", "pack", "bad.wasm", "--out", "packed"]);
    assert!(clock.elapsed() < Duration::from_secs(100), "{name} held the host up");
    assert_eq!(said.code, Some(1), "{name}: {}{}", said.out, said.err);
    assert!(said.err.contains(word), "{name}: expected `{word}` in: {}", said.err);
    assert!(!place.at("packed/bad").exists(), "{name} left a package");
}

#[test]
fn what_is_no_description_is_refused() {
    refused("bad JSON", &module(1, "{ not JSON", &saying(10), ""), "gave no description");
    refused("another JSON", &module(1, "[1, 2, 3]", &saying(9), ""), "gave no description");
    refused("bad text", &module(1, "\\ff\\fe", &saying(2), ""), "utf-8");
    refused("text outside its memory", &module(1, "", &saying(u32::MAX), ""), "out of bounds");
    refused("a text of many megabytes", &module(2000, "", &saying(100 << 20), ""), "describe");
    refused("a crash", &module(1, "", "unreachable", ""), "unreachable");
}

#[test]
fn a_description_without_end_is_stopped() {
    refused("an endless description", &module(1, "", "(loop br 0) unreachable", ""), "time limit");
    let start = "(func $forever (loop br 0)) (start $forever)";
    refused("an endless start", &module(1, "", &saying(0), start), "time limit");
}

#[test]
fn what_is_too_large_is_refused() {
    refused("4 GiB at once", &module(65_536, "", &saying(0), ""), "memory");
    refused("a large table", &module(1, "", &saying(0), "(table 10000000 funcref)"), "table");
    for (count, word) in [(10, "memories"), (100, "core module instances")] {
        let many = "(core instance (instantiate $m))".repeat(count);
        let many = format!("(component (core module $m (memory 1)) {many})");
        refused("many memories", &wat::parse_str(many).unwrap(), word);
    }
    let two = module(1, "", &saying(0), "(memory $second 1)");
    refused("two memories of one module", &two, "memor");
}

#[test]
fn a_module_that_compiles_for_ever_is_stopped() {
    let arms = (0..6000).map(|arm| arm.to_string()).collect::<Vec<_>>().join(" ");
    let blocks = "(block ".repeat(6000);
    let ends = "(local.set 0 (i32.add (local.get 0) (local.get 1))))".repeat(6000);
    let one = |name: usize| {
        format!(
            "(func $f{name} (param i32 i32) (result i32) {blocks} (br_table {arms} (local.get 0)) {ends} local.get 0)"
        )
    };
    let functions: String = (0..60).map(one).collect();
    let bomb = ComponentEncoder::default().module(&module(1, "", &saying(0), &functions)).unwrap().encode().unwrap();
    let place = Place::new();
    std::fs::write(place.at("bomb.wasm"), &bomb).unwrap();
    let digest: String = Sha256::digest(&bomb).iter().map(|byte| format!("{byte:02x}")).collect();
    let compiler = Compiler::Child(program(), vec!["compile-component".to_owned()]);
    let sandbox = Sandbox::new(Cache::open(&place.at("cache")).unwrap(), compiler).unwrap();
    let clock = Instant::now();
    let refused = sandbox.with_compile_time(Duration::from_secs(2)).load(&place.at("bomb.wasm"), &digest);
    let Err(refused) = refused else { panic!("it was compiled in two seconds") };
    let message = refused.to_string();
    assert!(message.contains("longer than 2 seconds to compile"), "{message}");
    assert!(clock.elapsed() < Duration::from_secs(30), "the compiler went on");
    let left = std::fs::read_dir(place.at("cache")).unwrap().count();
    assert_eq!(left, 0, "files of the bomb are left in the cache");
}
