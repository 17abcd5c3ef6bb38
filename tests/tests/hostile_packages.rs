//! Packages that attack before they are asked anything: by what they hold, and by how they describe themselves.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use querist_loader::{Cache, Compiler, Sandbox};
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, program, steers};
use querist_tests::components::{describing, description, module, saying};
use querist_tests::target;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

/// Packs and expects an error with this word.
fn refused(name: &str, artifact: &[u8], word: &str) {
    let place = Place::new();
    place.write("bad.wasm", artifact);
    let said = place.call(&["plugin", "pack", "bad.wasm", "--out", "packed"]);
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
    let compiler = Compiler::Child(vec![program().into(), "compile-component".into()]);
    let sandbox = Sandbox::new(Cache::open(&place.at("cache")).unwrap(), compiler).unwrap();
    let refused = sandbox.with_compile_time(Duration::from_secs(2)).load(&place.at("bomb.wasm"), &digest);
    let Err(refused) = refused else { panic!("it was compiled in two seconds") };
    let message = refused.to_string();
    assert!(message.contains("longer than 2 seconds to compile"), "{message}");
    let left = std::fs::read_dir(place.at("cache")).unwrap().count();
    assert_eq!(left, 0, "files of the bomb are left in the cache");
}

/// A component whose description has this schema.
fn with_schema(schema: &Value) -> Vec<u8> {
    describing(&description("evil", "0.1.0", schema))
}

/// Definitions, each of which stands in the next one twice.
fn doubled(keyword: &str) -> Value {
    let mut definitions = json!({"a0": {"type": "integer", "default": 1}});
    for level in 1..40 {
        let before = json!({"$ref": format!("#/$defs/a{}", level - 1)});
        definitions[format!("a{level}")] = match keyword {
            "properties" => json!({"default": {}, "properties": {"b": before, "c": before}}),
            _ => json!({ keyword: [before, before] }),
        };
    }
    json!({"type": "object", "properties": {"a": {"default": {}, "$ref": "#/$defs/a39"}}, "$defs": definitions})
}

#[test]
fn schemas_that_grow_without_end_are_refused_at_packing() {
    let recursive = json!({"type": "object", "properties": {"a": {"default": {}, "$ref": "#"}}});
    refused("a recursive schema", &with_schema(&recursive), "leads to itself");
    for keyword in ["allOf", "anyOf", "oneOf", "properties"] {
        refused(keyword, &with_schema(&doubled(keyword)), "with its references followed it has more than");
    }
    // The same component with an honest schema is packed.
    let place = Place::new();
    place.write("good.wasm", with_schema(&json!({"type": "object"})));
    place.good(&["plugin", "pack", "good.wasm"]);
}

const COMPOSITE: &str = r#"package = "pair"
version = "0.1.0"

[[strategy]]
id = "pair"
summary = "Margins first, random later"
paper = "None"
combine = "switch-by-round"

[strategy.defaults]
first = { id = "margin" }
then = { id = "random" }
switch_round = 1
"#;

/// A folder with one good package of the user's.
fn with_package() -> Place {
    let place = Place::new();
    place.write("pair.toml", COMPOSITE);
    place.good(&["plugin", "pack", "pair.toml"]);
    place
}

/// Lists the packages and expects the user's to be refused with these words, and everybody else's to be there.
#[track_caller]
fn listed_as_refused(place: &Place, what: &str, words: &[&str]) -> String {
    let list = place.good(&["plugin", "list"]);
    assert!(list.contains("k-center-greedy") && list.contains("badge"), "{what} hides others: {list}");
    let refused: String = list.lines().filter(|line| line.starts_with("refused ")).collect();
    for word in words {
        assert!(refused.contains(word), "{what}: `{word}` is missing in: {refused:.2000}");
    }
    let unseen = list.lines().find(|line| steers(line));
    assert_eq!(unseen, None, "{what}");
    for more in [&["--format", "json"][..], &[]] {
        place.good(&[&["plugin", "list"], more].concat());
    }
    list
}

#[test]
fn texts_of_a_package_are_short_and_steer_nothing() {
    let esc = r"\u001b[31m\u202e";
    for (what, from, to, words) in [
        ("a long need", "needs = [\"logits\"]", format!("needs = [\"logits(T={})\"]", "1".repeat(70_000)), "too long"),
        ("a version", "version = \"0.1.0\"", format!("version = \"{esc}\""), "version"),
        ("a summary", "Margins first", format!("{esc}Margins"), "summary"),
        ("a long summary", "Margins first", "x".repeat(70_000), "summary has"),
        ("a paper", "paper = \"None\"", format!("paper = \"{esc}\""), "paper"),
        ("an id", "id = \"pair\"", format!("id = \"{esc}\""), "name"),
        ("a name", "package = \"pair\"", format!("package = \"{esc}\""), "name"),
        ("an alias", "combine =", format!("aliases = [\"{esc}\"]\ncombine ="), "other name"),
        ("a key", "switch_round = 1", format!("switch_round = 1\n\"{esc}\" = 1"), "no parameter"),
    ] {
        let place = with_package();
        for file in ["plugins/pair/plugin.toml", "plugins/pair/pair.composite.toml"] {
            let text = std::fs::read_to_string(place.at(file)).unwrap();
            place.write(file, text.replace(from, &to));
        }
        listed_as_refused(&place, what, &[words]);
        for verb in [&["plugin", "show", "pair"][..], &["plugin", "lock", "pair"], &["plugin", "check", "plugins/pair"]]
        {
            let said = place.call(verb);
            assert_ne!(said.code, Some(0), "{what}: {verb:?}");
            let unseen = said.err.lines().find(|line| steers(line));
            assert_eq!(unseen, None, "{what}: {verb:?}");
        }
    }
}

#[test]
fn folders_with_odd_names_are_shown_clean() {
    let place = with_package();
    std::fs::rename(place.at("plugins/pair"), place.at("plugins/\u{1b}[31m\u{202e}pair")).unwrap();
    place.write("plugins/\u{1b}[31m\u{202e}pair/plugin.toml", "nonsense");
    listed_as_refused(&place, "a name with escapes", &["plugin.toml: line 1"]);
}

fn fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the text lives through the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// What can lie in the place of a file, and how it is put there.
type Maker<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn only_files_are_read_as_files_of_a_package() {
    for file in ["plugin.toml", "pair.composite.toml", "pair.schema.json"] {
        let makers: [Maker<'_>; 5] = [
            ("a named pipe", &fifo),
            ("a folder", &|path| std::fs::create_dir(path).unwrap()),
            ("a socket", &|path| drop(UnixListener::bind(path).unwrap())),
            ("a link", &|path| symlink("/dev/zero", path).unwrap()),
            ("a link", &|path| symlink("/etc/passwd", path).unwrap()),
        ];
        for (what, make) in makers {
            let place = with_package();
            let path = place.at("plugins/pair").join(file);
            std::fs::remove_file(&path).unwrap();
            make(&path);
            let list = listed_as_refused(&place, &format!("{what} in place of {file}"), &[file, what]);
            assert!(!list.contains("root:"), "{what}: the file behind the link is shown");
        }
    }
    // The lock file, and a bare component.
    let place = with_package();
    fifo(&place.at("querist.lock"));
    fifo(&place.at("plugins/pipe.wasm"));
    listed_as_refused(&place, "a pipe as a component", &["pipe.wasm", "a named pipe"]);
    assert_ne!(place.call(&["plugin", "lock"]).code, Some(0));
}

#[test]
fn a_manifest_that_is_another_file_does_not_print_it() {
    let place = with_package();
    let secret = place.write("secret.txt", "password = hunter2\n[[[");
    for file in ["plugins/pair/plugin.toml", "plugins/pair/pair.composite.toml"] {
        let kept = std::fs::read(place.at(file)).unwrap();
        std::fs::remove_file(place.at(file)).unwrap();
        symlink(&secret, place.at(file)).unwrap();
        assert!(!listed_as_refused(&place, file, &["a link"]).contains("hunter2"));
        // Not even where it is a file of its own: an error has a place, not a line of the text.
        std::fs::remove_file(place.at(file)).unwrap();
        std::fs::copy(&secret, place.at(file)).unwrap();
        assert!(!listed_as_refused(&place, file, &["line "]).contains("hunter2"));
        std::fs::write(place.at(file), kept).unwrap();
    }
}

#[test]
fn a_child_that_says_much_is_not_waited_for() {
    let place = Place::new();
    let component = wat::parse_str("(component)").unwrap();
    std::fs::write(place.at("c.wasm"), &component).unwrap();
    let digest: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
    // More than a pipe holds.
    let script = "head -c 300000 /dev/zero | tr '\\0' x >&2; printf 'error: \\033[31m' >&2; exit 3";
    let compiler = Compiler::Child(["/bin/sh", "-c", script].map(Into::into).to_vec());
    let sandbox = Sandbox::new(Cache::open(&place.at("cache")).unwrap(), compiler).unwrap();
    let Err(error) = sandbox.load(&place.at("c.wasm"), &digest) else { panic!("nothing was compiled") };
    let message = error.to_string();
    assert!(message.contains("xxxx") && message.len() < 2000, "{} bytes", message.len());
}

#[test]
fn broken_modules_end_in_an_error_of_the_child() {
    let mut stream = Stream::new(1, 0);
    let place = Place::new();
    for case in 0..40 {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        let length = 4 + stream.next_below(9);
        bytes.extend((0..length).map(|_| stream.next_below(16) as u8));
        place.write("broken.wasm", &bytes);
        let said = place.call(&["plugin", "pack", "broken.wasm"]);
        assert_eq!(said.code, Some(1), "{case}: {bytes:?}: {}", said.err);
        assert!(said.err.starts_with("error: cannot pack broken.wasm"), "{case}: {bytes:?}: {}", said.err);
    }
}

#[test]
fn schemas_that_grow_without_end_are_refused_at_discovery() {
    let place = Place::new();
    let library = target().join("libnative_fixture.so").display().to_string();
    place.good(&["plugin", "pack", "--allow-native", &library]);
    let file = "plugins/native-fixture/entropy.schema.json";
    let recursive = json!({"properties": {"a": {"default": {}, "$ref": "#/$defs/a"}},
                           "$defs": {"a": {"properties": {"b": {"default": {}, "$ref": "#/$defs/a"}}}}});
    let steering = json!({"properties": {"a": {"enum": ["\u{1b}[31m\u{202e}"]}}});
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "items": deep });
    }
    for (what, schema, words) in [
        ("a recursive schema", recursive, "leads to itself"),
        ("a doubled schema", doubled("allOf"), "with its references followed"),
        ("a steering schema", steering, "schema's text"),
        ("a deep schema", deep, "nested deeper"),
    ] {
        place.write(file, schema.to_string());
        listed_as_refused(&place, what, &["strategy `entropy`", words]);
    }
    place.write(file, "[".repeat(200_000));
    listed_as_refused(&place, "a schema that never closes", &["entropy.schema.json"]);
}
