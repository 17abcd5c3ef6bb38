//! What users read when something is wrong: whole messages, at the place in their file, with the right exit code.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use querist_tests::cli::{Place, RUN, misbehaving, records};
use querist_tests::{BUILT_IN, target};
use serde_json::Value;

/// Checks exit code and whole message; nothing may stand on standard output or be left in a run folder.
#[track_caller]
fn refused(place: &Place, args: &[&str], code: i32, expected: &Expect) {
    let said = place.call(args);
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{}", said.err);
    // The first line keeps the indentation of the others, which all graphical lines have.
    expected.assert_eq(&format!("exit code {code}\n{}", said.err));
    assert!(!place.at("runs").exists(), "a run was begun");
}

#[track_caller]
fn run_refused(text: &str, expected: &Expect) {
    refused(&Place::with_run(text), &["run", "run.toml"], 2, expected);
}

#[track_caller]
fn study_refused(text: &str, expected: &Expect) {
    let place = Place::new();
    place.write("study.toml", text);
    refused(&place, &["study", "run", "study.toml"], 2, expected);
}

#[test]
fn every_problem_of_a_run_file_at_once() {
    run_refused(
        r#"version = 1
dataset = { name = "digits", tset = 300 }
strategy = { id = "random" }

[budget]
initial = -1
batch = 10
rounds = "many"

[model]
name = "resnet81"
dropout = 1.5
"#,
        &expect![[r#"
            exit code 2
              x run.toml: 5 problems
               ,-[run.toml:2:30]
             1 | version = 1
             2 | dataset = { name = "digits", tset = 300 }
               :                              ^^|^
               :                                `-- unknown key `tset`
             3 | strategy = { id = "random" }
               `----
                ,-[run.toml:6:11]
              5 | [budget]
              6 | initial = -1
                :           ^|
                :            `-- -1 is less than the minimum of 0; expected a whole number, or a text such as "10%", or a table with `each_class`, or a table with `file`, `base`
              7 | batch = 10
              8 | rounds = "many"
                :          ^^^|^^
                :             `-- "many" is not of types "null", "integer"
              9 | 
             10 | [model]
             11 | name = "resnet81"
                :        ^^^^^|^^^^
                :             `-- "resnet81" is none of "cnn", "lenet", "mlp", "resnet18", "resnet18-16", "resnet34", "resnet50", "resnet101", "resnet152", "squeezenet1-1", "vgg16-bn", "vgg16-bn-linear", "svhn-cnn", "cifar-cnn", "bayesian-cnn", "gal-cnn", "vit-s16", "vit-b14", "efficientnet-lite0", "onnx", "torchscript", "head"
             12 | dropout = 1.5
                :           ^|^
                :            `-- 1.5 is greater than the maximum of 0.95
                `----
              help: dataset.tset: did you mean `test`?
        "#]],
    );
}

#[test]
fn a_file_that_is_no_toml() {
    run_refused(
        "version = 1\ndataset = { name = \"digits\"\nmodel = 3\n",
        &expect![[r#"
            exit code 2
              x run.toml: not valid TOML
               ,-[run.toml:3:1]
             2 | dataset = { name = "digits"
             3 | model = 3
               : ^
               : `-- missing comma between key-value pairs, expected `,`
               `----
        "#]],
    );
    run_refused(
        "version = 1\nversion = 1\n",
        &expect![[r#"
            exit code 2
              x run.toml: not valid TOML
               ,-[run.toml:2:1]
             1 | version = 1
             2 | version = 1
               : ^^^|^^^
               :    `-- duplicate key
               `----
        "#]],
    );
    run_refused(
        "",
        &expect![[r#"
            exit code 2
              x run.toml: 4 problems
              help: the file: "budget" is a required property
                    the file: "dataset" is a required property
                    the file: "strategy" is a required property
                    the file: "version" is a required property
        "#]],
    );
}

#[test]
fn unknown_strategies_and_wrong_parameters() {
    run_refused(
        &RUN.replace("badge", "bagde"),
        &expect![[r#"
            exit code 2
            error: no strategy is called `bagde`; did you mean `badge`?
            code: strategy-unknown (`querist explain strategy-unknown`)
        "#]],
    );
    run_refused(
        &RUN.replace("badge", "zzz"),
        &expect![[r#"
            exit code 2
            error: no strategy is called `zzz`; `querist plugin list` shows all
            code: strategy-unknown (`querist explain strategy-unknown`)
        "#]],
    );
    run_refused(
        &RUN.replace(
            "strategy = { id = \"badge\" }",
            "[strategy]\nid = \"kmeans\"\n[strategy.params]\nn_init = 0\nmax_itr = 3\ntol = \"small\"\n[compute]",
        )
        .replace("compute = { threads = 1 }", "threads = 1"),
        &expect![[r#"
            exit code 2
              x run.toml: 3 problems
                ,-[run.toml:9:10]
              8 | [strategy.params]
              9 | n_init = 0
                :          |
                :          `-- 0 is less than the minimum of 1
             10 | max_itr = 3
                : ^^^|^^^
                :    `-- unknown key `max_itr`
             11 | tol = "small"
                :       ^^^|^^^
                :          `-- "small" is not of type "number"
             12 | [compute]
                `----
              help: strategy.params.max_itr: did you mean `max_iter`?
        "#]],
    );
}

#[test]
fn budgets_that_do_not_fit() {
    run_refused(
        &RUN.replace("rounds = 3", "rounds = 300"),
        &expect![[r#"
            exit code 2
            error: budget: initial set and batches add up to 3020, but the pool holds 1400 samples
        "#]],
    );
    run_refused(
        &RUN.replace(", rounds = 3", ""),
        &expect![[r#"
            exit code 2
            error: budget: `rounds` is missing; only a list of batches can do without it
        "#]],
    );
    run_refused(
        &RUN.replace("batch = 10", "batch = [10, 0, 10]"),
        &expect![[r#"
            exit code 2
            error: budget: a batch of 0 samples asks for nothing
        "#]],
    );
}

#[test]
fn datasets_that_are_not_there() {
    let data = |entry: &str| RUN.replace("dataset = { name = \"digits\", test = 397 }", entry);
    run_refused(
        &data("dataset = { name = \"mnits\" }"),
        &expect![[r#"
            exit code 2
            error: no dataset is called `mnits`; did you mean `mnist`? the names are digits, digits-shuffled, mnist, fashion-mnist, emnist-balanced, emnist-letters, emnist-byclass, cifar10, cifar100, svhn, mini-imagenet, imagenet, imagenet-lt, tiny-imagenet, caltech256, gtsrb, folder, list, manifest, parquet, webdataset, embeddings, ids, pictures
            code: data-unknown (`querist explain data-unknown`)
        "#]],
    );
    run_refused(
        &RUN.replace(", test = 397", ""),
        &expect![[r#"
            exit code 2
            error: dataset `digits` has no test set of its own: say how many samples to hold out with `dataset.test`
        "#]],
    );
    let place = Place::with_run(&data("dataset = { name = \"mnist\" }"));
    refused(
        &place,
        &["run", "run.toml"],
        2,
        &expect![[r#"
            exit code 2
            error: dataset `mnist`: found no files in `DIR/data/mnist`; fetch it with `querist data fetch mnist`, or set `dataset.path` to its folder
            code: data-missing (`querist explain data-missing`)
        "#]],
    );
    let place = Place::with_run(&data("dataset = { name = \"mnist\", path = \"here\" }"));
    refused(
        &place,
        &["run", "run.toml"],
        2,
        &expect![[r#"
            exit code 2
            error: dataset `mnist`: found no files in `here`; fetch it with `querist data fetch mnist`, or set `dataset.path` to its folder
            code: data-missing (`querist explain data-missing`)
        "#]],
    );
}

#[test]
fn a_truncated_dataset_file() {
    let place = Place::with_run(&RUN.replace("\"digits\", test = 397", "\"mnist\", path = \"mnist\""));
    let idx = |magic: u8, sizes: &[u32]| {
        let mut bytes = vec![0, 0, 8, magic];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes
    };
    let mut images = idx(3, &[60_000, 28, 28]);
    images.resize(images.len() + 1000, 7);
    place.write("mnist/train-images-idx3-ubyte", images);
    for stem in ["train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"] {
        place.write(&format!("mnist/{stem}"), idx(1, &[10]));
    }
    place.write("mnist/t10k-images-idx3-ubyte", idx(3, &[1, 28, 28]));
    refused(
        &place,
        &["run", "run.toml"],
        2,
        &expect![[r#"
            exit code 2
            error: mnist/train-images-idx3-ubyte, byte 16: the header claims 47040000 bytes of images; expected at most the 1016 that a file of this size can hold
            code: data-malformed (`querist explain data-malformed`)
        "#]],
    );
}

#[test]
fn a_device_that_is_not_there() {
    let place = Place::with_run(RUN);
    let said = place.call(&["run", "run.toml", "--device", "cuda:99"]);
    // What there is instead depends on the machine.
    said.fails(2, &["error: compute.device\n  caused by: ", "cuda:99"]);
    assert!(!place.at("runs").exists(), "a run was begun");
    for device in ["cuda:99", "gpu", "cuda:"] {
        let select = ["select", "--strategy", "margin", "--budget", "1", "--input", "logits=x.npy", "--device", device];
        place.call(&select).fails(2, &["error: `--device`: ", device]);
    }
    refused(
        &place,
        &["run", "run.toml", "--device", "gpu"],
        2,
        &expect![[r#"
            exit code 2
              x run.toml: 1 problem
              help: compute.device: "gpu" does not match "^(cpu|cuda:[0-9]{1,3})$"
        "#]],
    );
}

#[test]
fn wrong_overrides() {
    let place = Place::with_run(RUN);
    let refused = |set: &str, expected: Expect| refused(&place, &["run", "run.toml", "--set", set], 2, &expected);
    refused(
        "budget",
        expect![[r#"
            exit code 2
            error: `--set budget`: write key=value, such as budget.batch=100
        "#]],
    );
    refused(
        "budget..batch=1",
        expect![[r#"
            exit code 2
            error: `--set budget..batch=1`: the key has an empty part
        "#]],
    );
    refused(
        "budget.batch.x=1",
        expect![[r#"
            exit code 2
            error: `--set budget.batch.x=1`: `budget.batch` is no table
        "#]],
    );
    refused(
        "budget.batch=-1",
        expect![[r#"
            exit code 2
              x run.toml: 1 problem
              help: budget.batch: -1 is less than the minimum of 1; expected a whole number, or a list, or a table with `totals`, or a table with `named`, or a text such as "5%"
        "#]],
    );
    refused(
        "budget.btach=1",
        expect![[r#"
            exit code 2
              x run.toml: 1 problem
              help: budget.btach: unknown key `btach` (did you mean `batch`?)
        "#]],
    );
    refused(
        "model.name=lennet",
        expect![[r#"
            exit code 2
              x run.toml: 1 problem
              help: model.name: "lennet" is none of "cnn", "lenet", "mlp", "resnet18", "resnet18-16", "resnet34", "resnet50", "resnet101", "resnet152", "squeezenet1-1", "vgg16-bn", "vgg16-bn-linear", "svhn-
                    cnn", "cifar-cnn", "bayesian-cnn", "gal-cnn", "vit-s16", "vit-b14", "efficientnet-lite0", "onnx", "torchscript", "head"
        "#]],
    );
}

#[test]
fn wrong_calls() {
    let place = Place::new();
    refused(
        &place,
        &["run", "nowhere.toml"],
        2,
        &expect![[r#"
            exit code 2
            error: cannot read nowhere.toml: no such file
        "#]],
    );
    refused(
        &place,
        &["report", "nowhere"],
        1,
        &expect![[r#"
            exit code 1
            error: cannot read nowhere
              caused by: No such file or directory (os error 2)
        "#]],
    );
    refused(
        &place,
        &["report", "."],
        2,
        &expect![[r#"
            exit code 2
            error: . holds no runs
        "#]],
    );
    refused(
        &place,
        &["plugin", "show", "bagde"],
        2,
        &expect![[r#"
            exit code 2
            error: no strategy is called `bagde`; did you mean `badge`?
            code: strategy-unknown (`querist explain strategy-unknown`)
        "#]],
    );
    refused(
        &place,
        &["plugin", "list", "--plugin-dir", "nowhere"],
        1,
        &expect![[r#"
            exit code 1
            error: plugin folder nowhere: No such file or directory (os error 2)
            code: plugin-folder (`querist explain plugin-folder`)
        "#]],
    );
    refused(
        &place,
        &["data", "fetch", "mnits"],
        2,
        &expect![[r#"
            exit code 2
            error: no dataset is called `mnits`; did you mean `mnist`? the names are digits, digits-shuffled, mnist, fashion-mnist, emnist-balanced, emnist-letters, emnist-byclass, cifar10, cifar100, svhn, mini-imagenet, imagenet, imagenet-lt, tiny-imagenet, caltech256, gtsrb, folder, list, manifest, parquet, webdataset, embeddings, ids, pictures
        "#]],
    );
    refused(
        &place,
        &["rnu"],
        2,
        &expect![[r#"
            exit code 2
            error: unrecognized subcommand 'rnu'

            Usage: querist <COMMAND>

            For more information, try '--help'.
        "#]],
    );
}

const STUDY: &str = r#"version = 1
seeds = [0, 1]
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { epochs = 2 }
budget = { initial = 20, batch = 10, rounds = 2 }
strategies = [
  { id = "random" },
  { id = "badge" },
]
"#;

#[test]
fn every_problem_of_a_study_file_at_once() {
    study_refused(
        &STUDY
            .replace("[0, 1]", "[0, 1, 0]")
            .replace("{ id = \"badge\" }", "{ id = \"random\" },\n  { id = \"entropy\", label = \"../x\" }"),
        &expect![[r#"
            exit code 2
              x study.toml: 1 problem
                ,-[study.toml:10:29]
              9 |   { id = "random" },
             10 |   { id = "entropy", label = "../x" },
                :                             ^^^|^^
                :                                `-- "../x" does not match "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
             11 | ]
                `----
        "#]],
    );
    study_refused(
        &STUDY.replace("[0, 1]", "[0, 1, 0]").replace(
            "{ id = \"badge\" }",
            "{ id = \"random\" },\n  { id = \"kmean\" },\n  { id = \"badge\", params = { first = 1 } }",
        ),
        &expect![[r#"
            exit code 2
              x study.toml: 4 problems
               ,-[study.toml:2:16]
             1 | version = 1
             2 | seeds = [0, 1, 0]
               :                |
               :                `-- seed 0 stands here twice
             3 | dataset = { name = "digits", test = 397 }
               `----
                ,-[study.toml:9:3]
              8 |   { id = "random" },
              9 |   { id = "random" },
                :   ^^^^^^^^|^^^^^^^^
                :           `-- a second strategy is labelled `random`: give it a `label` of its own
             10 |   { id = "kmean" },
                :          ^^^|^^^
                :             `-- no strategy is called `kmean`; did you mean `kmeans`?
             11 |   { id = "badge", params = { first = 1 } },
                :                                      |
                :                                      `-- 1 is none of "max-norm", "uniform"
             12 | ]
                `----
        "#]],
    );
    study_refused(
        &STUDY.replace("seeds = [0, 1]", "seeds = []").replace("budget", "bugdet"),
        &expect![[r#"
            exit code 2
              x study.toml: 2 problems
               ,-[study.toml:2:9]
             1 | version = 1
             2 | seeds = []
               :         ^|
               :          `-- [] has less than 1 item
             3 | dataset = { name = "digits", test = 397 }
               `----
               ,-[study.toml:6:1]
             5 | recipe = { epochs = 2 }
             6 | bugdet = { initial = 20, batch = 10, rounds = 2 }
               : ^^^|^^
               :    `-- unknown key `bugdet`
             7 | strategies = [
               `----
              help: bugdet: did you mean `budget`?
        "#]],
    );
}

/// A package folder whose files are changed copies of a good package's.
fn package(place: &Place, name: &str, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    for entry in fs::read_dir(target().join("plugins/random")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        place.write(&format!("broken/{name}/{file}"), change(file, fs::read(&path).unwrap()));
    }
}

fn edited(file: &'static str, from: &'static str, to: &'static str) -> impl Fn(&str, Vec<u8>) -> Vec<u8> {
    move |name, bytes| {
        if name != file {
            return bytes;
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{file} has no {from}:\n{text}");
        text.replace(from, to).into_bytes()
    }
}

/// A packed artifact with other words of the same length in the manifest that it carries.
fn within(artifact: &str, from: &str, to: &str) -> Vec<u8> {
    let path = if artifact.starts_with("misbehaving") { target() } else { target().join("plugins") }.join(artifact);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(from.len()).rposition(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{} does not carry {from}", path.display()));
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    bytes
}

fn broken_packages(place: &Place) {
    let wasm = |content: Vec<u8>| {
        move |name: &str, bytes: Vec<u8>| if name == "random.wasm" { content.clone() } else { bytes }
    };
    package(place, "garbage", wasm(b"this is no WebAssembly at all".to_vec()));
    package(place, "truncated", |name, mut bytes| {
        if name == "random.wasm" {
            bytes.truncate(bytes.len() / 2);
        }
        bytes
    });
    package(place, "core-module", wasm(wat::parse_str("(module (memory 1))").unwrap()));
    let wasi = r#"(component (import "wasi:cli/environment@0.2.0" (instance
        (export "initial-cwd" (func (result (option string)))))))"#;
    package(place, "wasi", wasm(wat::parse_str(wasi).unwrap()));
    package(place, "bare", wasm(wat::parse_str("(component)").unwrap()));
    package(place, "disagrees", edited("plugin.toml", "scorer = true", "scorer = false"));
    package(place, "other-api", edited("plugin.toml", "api = \"", "api = \"9"));
    package(place, "outside", edited("plugin.toml", "artifact = \"random.wasm\"", "artifact = \"../random.wasm\""));
    package(place, "absolute", edited("plugin.toml", "artifact = \"random.wasm\"", "artifact = \"/etc/passwd\""));
    package(place, "missing", edited("plugin.toml", "artifact = \"random.wasm\"", "artifact = \"gone.wasm\""));
    package(place, "schema", edited("random.schema.json", "\"object\"", "\"array\""));
    package(place, "unknown-key", edited("plugin.toml", "manifest = 1", "manifest = 1\nposix = true"));
    package(place, "newer", edited("plugin.toml", "manifest = 1", "manifest = 2"));
    package(place, "native", edited("plugin.toml", "kind = \"wasm\"", "kind = \"native\""));
    place.write("broken/bare-file.wasm", within("random/random.wasm", r#""api":"1.1""#, r#""api":"9.7""#));
    let needs = within("badge/badge.wasm", r#""needs":["logits","#, r#""needs":["labels","#);
    place.write("broken/bare-needs.wasm", needs);
}

#[test]
fn broken_packages_are_listed_with_their_reasons() {
    let place = Place::new();
    broken_packages(&place);
    let list = place.good(&["plugin", "list", "--plugin-dir", "broken"]);
    let refusals: String =
        list.lines().filter(|line| line.starts_with("refused ")).map(|line| format!("{line}\n")).collect();
    // Half of the artifact is as long as the compiler made it.
    // Where a cut file breaks off depends on what the compiler made.
    let (before, after) = refusals.split_once("end-of-file (at offset ").expect("a cut file is refused");
    let (_, after) = after.split_once(')').expect("an offset");
    let shown = format!("{before}end-of-file (at offset HERE){after}");
    expect![[r#"
        refused broken/absolute: plugin.toml names the file `/etc/passwd`; a package's files lie in its own folder
        refused broken/bare: the component carries no manifest: make a package of it with `querist plugin pack`
        refused broken/bare-file.wasm: built for boundary version 9.7, this host speaks 1.1: it needs a querist that speaks 9.7
        refused broken/bare-needs.wasm: strategy `badge`: `labels` is no need: no array has this name
        refused broken/core-module: a core module, not a component: make a package of it with `querist plugin pack FILE --out DIR`
        refused broken/disagrees: plugin.toml or a schema file disagrees with random.wasm: pack the artifact again
        refused broken/garbage: not a WebAssembly component: magic header not detected: bad magic number - expected=[     0x0,     0x61,     0x73,     0x6d, ] actual=[     0x74,     0x68,     0x69,     0x73, ] (at offset 0x0)
        refused broken/missing: gone.wasm: no such file
        refused broken/native: not a shared library: Unknown file magic
        refused broken/newer: plugin.toml: manifest version 2, this host reads version 1
        refused broken/other-api: built for boundary version 91.1, this host speaks 1.1: it needs a querist that speaks 91.1
        refused broken/outside: plugin.toml names the file `../random.wasm`; a package's files lie in its own folder
        refused broken/schema: plugin.toml or a schema file disagrees with random.wasm: pack the artifact again
        refused broken/truncated: not a WebAssembly component: unexpected end-of-file (at offset HERE)
        refused broken/unknown-key: plugin.toml: line 2: unknown field `posix`, expected one of `manifest`, `package`, `version`, `kind`, `api`, `artifact`, `strategy`
        refused broken/wasi: imports wasi:cli/environment@0.2.0, but a sandboxed strategy may import only querist:strategy/*: build it for the target wasm32-unknown-unknown, without WASI (componentize-py: --stub-wasi)
    "#]]
    .assert_eq(&shown);
    let good = list.lines().filter(|line| line.contains("  built-in  ")).count();
    let built_in: usize = BUILT_IN.usable().map(|(_, package)| package.description.strategies.len()).sum();
    assert_eq!(good, built_in, "{list}");

    let rows: Vec<Value> =
        serde_json::from_str(&place.good(&["plugin", "list", "--plugin-dir", "broken", "--format", "json"])).unwrap();
    let refused: Vec<&Value> = rows.iter().filter(|row| row["status"] == "refused").collect();
    assert_eq!(refused.len(), fs::read_dir(place.at("broken")).unwrap().count());
    for (row, line) in refused.iter().zip(refusals.lines()) {
        let reason: String =
            row["reason"].as_str().unwrap().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        assert!(line.ends_with(&reason) && !reason.is_empty(), "{line}: {reason}");
        assert!(line.contains(row["package"].as_str().unwrap()));
    }
    assert_eq!(rows.iter().filter(|row| row["status"] == "ok").count(), built_in);

    // The good ones still work beside them, and a name that is wrong says that more might be there.
    place.write("run.toml", RUN);
    place.good(&["run", "run.toml", "--out", "r", "--plugin-dir", "broken"]);
    let said = place.call(&["plugin", "show", "mine", "--plugin-dir", "broken"]);
    said.fails(2, &["no strategy is called `mine`", "packages could not be used: `querist plugin list` says why"]);
}

#[test]
fn nothing_shadows_a_built_in() {
    let place = Place::new();
    // The misbehaving package under the name of a built-in one: its manifest inside names it, so it is edited there.
    let renamed = r#""package":"badge"      "#;
    let impostor = within("misbehaving/misbehaving/misbehaving.wasm", r#""package":"misbehaving""#, renamed);
    place.write("mine/badge.wasm", impostor);
    let list = place.good(&["plugin", "list", "--plugin-dir", "mine"]);
    expect!["refused mine/badge.wasm: a built-in package is called `badge`: give this one another name"]
        .assert_eq(list.lines().last().unwrap());
    let shown: Value =
        serde_json::from_str(&place.good(&["plugin", "show", "badge", "--plugin-dir", "mine", "--format", "json"]))
            .unwrap();
    assert!(shown["artifact"].as_str().unwrap().ends_with("plugins/badge/badge.wasm"), "{shown}");
}

/// The ways to break rules, with what is said of them.
const WAYS: [(&str, &str); 10] = [
    ("panic", "on purpose, at row"),
    ("loop", "time limit"),
    ("memory", "limit"),
    ("duplicate", "was picked before"),
    ("labelled", "the pool has rows 0 to"),
    ("short", "selected 1 rows, expected exactly 10"),
    ("nan", "scores must be finite"),
    ("undeclared", "`embeddings` is not among the declared needs (logits)"),
    ("head-undeclared", "`head` is not among the declared needs (logits)"),
    ("fail", "not today"),
];

#[test]
fn misbehaving_strategies_stop_a_run_and_harm_nothing() {
    let plugins = misbehaving().display().to_string();
    let text = RUN.replace("strategy = ", "limits = { seconds = 1.0, memory = \"64MiB\" }\nstrategy = ");
    let place = Place::with_run(&text.replace("\"badge\"", "\"misbehaving\""));
    for (way, part) in WAYS {
        let set = format!("strategy.params.way={way}");
        let args = ["run", "run.toml", "--out", way, "--plugin-dir", &plugins, "--set", &set];
        let said = place.call(&args);
        said.fails(1, &["error: ", "misbehaving 0.1.0", part]);
        let last = said.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: no round is finished yet; go on with `"), "{}", said.err);
        assert!(last.ends_with(&format!(" --plugin-dir {plugins} --set '{set}' --resume`")), "{}", said.err);
        assert_eq!(records(&place.at(way)).len(), 0, "no round was finished");
        assert_eq!(fs::read_dir(place.at(way).join("rounds")).unwrap().count(), 0);
        // It can be gone on with: to the same error, not to another one.
        let again = [&args[..], &["--resume"]].concat();
        place.call(&again).fails(1, &["going on with round 0 of 3", "misbehaving 0.1.0", part]);
    }
    let set = ["run", "run.toml", "--out", "well", "--plugin-dir", &plugins, "--set", "strategy.params.way=well"];
    place.good(&set);
}

#[test]
fn misbehaving_strategies_stop_a_selection() {
    let plugins = misbehaving().display().to_string();
    let place = Place::new();
    let logits: Vec<f32> = (0..3000).map(|i| (i % 17) as f32).collect();
    querist_data::arrays::write_npy(&place.at("logits.npy"), &[300, 10], &logits).unwrap();
    for (way, part) in WAYS {
        let param = format!("way={way}");
        let args = [
            "select",
            "--strategy",
            "misbehaving",
            "--plugin-dir",
            &plugins,
            "--budget",
            "10",
            "--input",
            "logits=logits.npy",
            "--param",
            &param,
            "--seconds",
            "1",
            "--memory",
            "64MiB",
        ];
        place.call(&args).fails(1, &["misbehaving 0.1.0", part]);
    }
}

/// The text of a plugin cannot steer the terminal.
#[test]
fn texts_of_packages_are_printed_without_control_characters() {
    let place = Place::new();
    package(&place, "colourful", edited("plugin.toml", "manifest = 1", "\"\\u001b[31m\" = 1\nmanifest = 1"));
    let list = place.good(&["plugin", "list", "--plugin-dir", "broken"]);
    assert!(list.contains("refused broken/colourful") && !list.contains('\u{1b}'), "{list:?}");
    assert!(Path::new(&place.at("broken/colourful")).is_dir());
}

#[test]
fn parameters_that_do_not_fit_are_told_by_their_forms() {
    let plain = |params: &str| RUN.replace("{ id = \"badge\" }", params);
    let said = |text: &str| {
        let place = Place::with_run(text);
        let said = place.call(&["run", "run.toml"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        said.err
    };
    let err = said(&plain("{ id = \"margin\", params = { T = 1 } }"));
    assert!(err.contains("unknown key `T`") && err.contains("no keys are allowed here"), "{err}");
    let err = said(&plain("{ id = \"cluster-margin\", params = { cut = 5 } }"));
    for form in ["a table with `avg_size`", "a table with `n_clusters`", "a table with `threshold`"] {
        assert!(err.contains(form), "{form}: {err}");
    }
    assert!(!err.contains("schema") && !err.contains("avg-size"), "{err}");
    let err = said(&RUN.replace("batch = 10", "batch = \"many\""));
    for form in ["a whole number", "a list", "a table with `totals`", "a text such as \"5%\""] {
        assert!(err.contains(form), "{form}: {err}");
    }
    let err = said(&RUN.replace("batch = 10", "batch = \"0%\""));
    assert!(err.contains("a share of `0%` asks for nothing"), "{err}");
    // Keys are written with underscores; with hyphens they are still read.
    for key in ["avg_size", "avg-size"] {
        let set = format!("strategy={{id=\"cluster-margin\", params={{cut={{{key}=3.0}}}}}}");
        Place::with_run(RUN).good(&["run", "run.toml", "--set", "budget.rounds=1", "--set", &set]);
    }
}

#[test]
fn a_folder_called_by_a_number_is_a_folder() {
    let place = Place::with_run(&RUN.replace("name = \"digits\"", "name = \"folder\""));
    let said = place.call(&["run", "run.toml", "--set", "dataset.path=2024"]);
    said.fails(2, &["2024"]);
    assert!(!said.err.contains("is not of type"), "{}", said.err);
}
