//! Networks that a user brings in ONNX and TorchScript files, through the program.

use std::fs;
use std::path::{Path, PathBuf};

use querist_tests::cli::{Place, assert_same, json, lasting, program};
use serde_json::Value;

const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
recipe = { optimiser = "adam", lr = 0.05, epochs = 40, minibatch = 32 }
budget = { initial = 100, per_class = true, batch = 20, rounds = 1 }
strategy = { id = "entropy" }
compute = { threads = 1 }
keep = { model = "all" }
"#;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/learn/tests/data/backbones").join(name)
}

/// A folder with a run file and the tiny networks.
fn place() -> Place {
    let place = Place::with_run(RUN);
    for name in ["tiny.onnx", "tiny.pt", "tiny.toml"] {
        place.write(name, fs::read(data(name)).unwrap());
    }
    place
}

/// Whether ONNX Runtime is where the program finds it by itself.
fn has_onnx_runtime() -> bool {
    let found = program().ancestors().any(|folder| folder.join(".onnxruntime/lib/libonnxruntime.so").is_file());
    if !found {
        eprintln!("SKIPPED: no ONNX Runtime; `cargo xtask setup --onnx` fetches it");
    }
    found
}

const ONNX: [&str; 4] = ["--set", "model={name=\"onnx\",file=\"tiny.onnx\"}", "--set", "recipe.train=head"];
const SCRIPT: [&str; 2] = ["--set", "model={name=\"torchscript\",file=\"tiny.pt\"}"];

fn run<'a>(out: &'a str, network: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "run.toml", "--out", out][..], network, more].concat()
}

/// Losses of the epochs of the first round.
fn losses(place: &Place, out: &str) -> Vec<f64> {
    let csv = fs::read_to_string(place.at(out).join("rounds/0000/epochs.csv")).unwrap();
    csv.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect()
}

#[test]
fn a_network_runs_and_a_run_goes_on_only_with_the_same_files() {
    for (network, file) in [(&ONNX[..], "tiny.onnx"), (&SCRIPT[..], "tiny.pt")] {
        if file == "tiny.onnx" && !has_onnx_runtime() {
            continue;
        }
        let place = place();
        place.good(&run("r", network, &[]));
        let losses = losses(&place, "r");
        assert!(losses[losses.len() - 1] < losses[0] - 0.05, "{file}: {losses:?}");
        let header = json(&place.at("r/header.json"));
        for key in ["model.file", "model.sidecar"] {
            assert_eq!(header["arrays"][key].as_str().unwrap().len(), 64, "{file} {key}");
        }
        // What the sidecar says of images is written out.
        let config = fs::read_to_string(place.at("r/run.toml")).unwrap();
        assert!(config.contains("size = 8") && config.contains("normalise = \"none\""), "{config}");
        let whole = lasting(&place.at("r"));
        let cut = || fs::remove_dir_all(place.at("r/rounds/0001")).unwrap();
        cut();
        place.good(&run("r", network, &["--resume"]));
        assert_same(&whole, &lasting(&place.at("r")));
        cut();
        let sidecar = fs::read_to_string(place.at("tiny.toml")).unwrap();
        place.write("tiny.toml", sidecar.replace("0.25", "0.26"));
        place.call(&run("r", network, &["--resume"])).fails(1, &["file of `model.sidecar` is not the one"]);
        place.write("tiny.toml", sidecar);
        let other = place.write("other", fs::read(place.at(file)).unwrap());
        let mut bytes = fs::read(&other).unwrap();
        // A comment in the first bytes of an ONNX file; of a script another file altogether.
        match file {
            "tiny.onnx" => bytes.extend([0x32, 1, b'x']),
            _ => bytes = fs::read(data("pair.pt")).unwrap(),
        }
        place.write(file, bytes);
        let said = place.call(&run("r", network, &["--resume"]));
        match file {
            "tiny.onnx" => said.fails(1, &["file of `model.file` is not the one"]),
            _ => said.fails(2, &["model.file = tiny.pt", "a tuple of 2"]),
        };
    }
}

#[test]
fn embeddings_are_written_and_probed() {
    for (network, file) in [(&ONNX[..2], "tiny.onnx"), (&SCRIPT[..], "tiny.pt")] {
        if file == "tiny.onnx" && !has_onnx_runtime() {
            continue;
        }
        let place = place();
        place.good(&[&["embed", "run.toml", "--pool", "--out", "features"][..], network].concat());
        assert!(place.at("features/embeddings.npy").is_file(), "{file}");
        // Any samples will do; these are the pool.
        fs::copy(place.at("features/ids.npy"), place.at("set.npy")).unwrap();
        for probe in ["knn", "linear"] {
            let args = ["probe", probe, "run.toml", "--indices", "set.npy", "--format", "json"];
            let args = [&args[..], network, &["--set", "recipe.train=head", "--set", "recipe.epochs=5"]].concat();
            let found: Value = serde_json::from_str(&place.good(&args)).unwrap();
            assert!(found[0]["accuracy"].as_f64().unwrap() > 0.1, "{file} {probe}: {found}");
        }
    }
}

#[test]
fn both_kinds_of_file_give_the_same_embeddings() {
    if !has_onnx_runtime() {
        return;
    }
    let place = place();
    for (out, network) in [("onnx", &ONNX[..2]), ("script", &SCRIPT[..])] {
        place.good(&[&["embed", "run.toml", "--out", out][..], network].concat());
    }
    let read = |out: &str| {
        let path = place.at(out).join("embeddings.npy");
        querist_data::arrays::read_array(&path, None, querist_data::arrays::Kind::F32).unwrap()
    };
    let [onnx, script] = ["onnx", "script"].map(read);
    assert_eq!(onnx.shape(), [1797, 6]);
    let worst = onnx.as_f32().unwrap().iter().zip(script.as_f32().unwrap().iter()).map(|(a, b)| (a - b).abs());
    assert!(worst.fold(0.0, f32::max) < 1e-5);
}

#[test]
fn what_does_not_fit_is_told_before_anything_runs() {
    let place = place();
    let call = |network: &[&str], more: &[&str]| place.call(&run("x", network, more));
    call(&SCRIPT, &["--set", "dataset.size=16"]).fails(2, &["dataset.size is 16", "8x8", "leave it out"]);
    call(&SCRIPT, &["--set", "dataset.normalise=half"]).fails(2, &["mean and std", "tiny.toml"]);
    call(&["--set", "model.file=tiny.pt"], &[]).fails(2, &["model.weights"]);
    call(&["--set", "model.name=onnx"], &[]).fails(2, &["needs `model.file`"]);
    call(&["--set", "model={name=\"onnx\",file=\"no.onnx\"}"], &[]).fails(2, &["no.toml beside it"]);
    place.write("no.toml", fs::read(place.at("tiny.toml")).unwrap());
    call(&["--set", "model={name=\"onnx\",file=\"no.onnx\"}"], &[]).fails(1, &["model.file = no.onnx"]);
    let sidecar = fs::read_to_string(place.at("tiny.toml")).unwrap();
    place.write("wrong.toml", sidecar.replace("size = 8", "sizes = 8"));
    call(&SCRIPT, &["--set", "model.sidecar=wrong.toml"]).fails(2, &["sizes", "wrong.toml"]);
    place.write("wrong.toml", sidecar.replace("embedding = \"embedding\"", "embedding = \"features\""));
    call(&SCRIPT, &["--set", "model.sidecar=wrong.toml"]).fails(2, &["model.file = tiny.pt", "`features`"]);
    place.write("cut.pt", &fs::read(place.at("tiny.pt")).unwrap()[..3000]);
    place.write("cut.toml", &sidecar);
    call(&["--set", "model={name=\"torchscript\",file=\"cut.pt\"}"], &[]).fails(2, &["cut.pt", "no TorchScript file"]);
    let frozen = "fixed_embeddings={model=\"tiny.pt\",name=\"torchscript\"}";
    call(&["--set", frozen], &[]).fails(2, &["querist embed"]);
    let mut command = place.command(&run("x", &ONNX, &[]));
    let said = place.said(&command.env("QUERIST_ONNXRUNTIME", place.at("nowhere")).output().unwrap());
    said.fails(2, &["QUERIST_ONNXRUNTIME", "nowhere", "cargo xtask setup --onnx"]);
    let mut command = place.command(&run("x", &ONNX, &[]));
    let said = place.said(&command.env("QUERIST_ONNXRUNTIME", place.at("tiny.pt")).output().unwrap());
    said.fails(2, &["tiny.pt", "cannot be used as ONNX Runtime"]);
    if has_onnx_runtime() {
        call(&ONNX[..2], &[]).fails(2, &["recipe.train = \"head\""]);
    }
    assert!(!place.at("x").exists());
}

#[test]
fn a_study_takes_the_images_of_the_sidecar() {
    let place = place();
    let study = RUN.replace("strategy = { id = \"entropy\" }", "strategies = [{ id = \"random\" }]\nseeds = [1]");
    place.write("study.toml", study);
    place.good(&[&["study", "run", "study.toml", "--out", "s", "--set", "recipe.epochs=1"][..], &SCRIPT].concat());
    let missing = ["--set", "model={name=\"torchscript\",file=\"none.pt\"}"];
    let said = place.call(&[&["study", "run", "study.toml", "--out", "t"][..], &missing].concat());
    said.fails(2, &["there is no such file"]);
}
