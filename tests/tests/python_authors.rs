//! A strategy written in Python becomes a sandboxed package: the example's own steps, with componentize-py from PyPI.

use std::process::Command;

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::Place;
use querist_tests::workspace;
use serde_json::Value;

const ROWS: usize = 300;
const CLASSES: usize = 5;
const WIDTH: usize = 8;
const BATCH: usize = 12;
const FACTOR: usize = 4;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn noise(seed: u64, columns: usize) -> Vec<Vec<f32>> {
    let mut stream = Stream::new(seed, 0);
    (0..ROWS).map(|_| (0..columns).map(|_| stream.next_uniform() as f32 * 6.0 - 3.0).collect()).collect()
}

/// The strategy in plain loops.
fn expected(logits: &[Vec<f32>], embeddings: &[Vec<f32>]) -> Vec<usize> {
    let margin = |row: usize| -> f64 {
        let mut p: Vec<f64> = logits[row].iter().map(|&z| f64::from(z).exp()).collect();
        p.sort_by(|a, b| b.total_cmp(a));
        (p[0] - p[1]) / p.iter().sum::<f64>()
    };
    let distance = |a: usize, b: usize| -> f64 {
        embeddings[a].iter().zip(&embeddings[b]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    let mut candidates: Vec<usize> = (0..ROWS).collect();
    candidates.sort_by(|&a, &b| margin(a).total_cmp(&margin(b)));
    candidates.truncate(FACTOR * BATCH);
    let mut picks = vec![candidates[0]];
    while picks.len() < BATCH {
        let nearest = |row: usize| picks.iter().map(|&pick| distance(row, pick)).fold(f64::INFINITY, f64::min);
        let next = candidates.iter().copied().max_by(|&a, &b| nearest(a).total_cmp(&nearest(b)));
        picks.push(next.expect("there are candidates"));
    }
    picks
}

#[test]
#[ignore = "takes a minute, and fetches 20 MB from PyPI"]
fn the_example_in_python_is_packed_checked_and_picks_as_it_should() {
    let place = Place::new();
    let example = workspace().join("examples/python-plugin");
    let wit = workspace().join("plugin-sdk/wit");
    let [environment, bindings] = ["environment", "bindings"].map(|name| place.at(name));
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "componentize-py==0.17.2"]));
    let componentize = || {
        let mut command = Command::new(environment.join("bin/componentize-py"));
        command.arg("-q").arg("-d").arg(&wit).args(["-w", "plugin"]);
        command
    };
    run(componentize().arg("bindings").arg(&bindings));
    let module = place.at("margin_apart.wasm");
    let folders = [example.as_os_str(), bindings.as_os_str()];
    let mut command = componentize();
    command.args(["componentize", "--stub-wasi"]);
    for folder in folders {
        command.arg("-p").arg(folder);
    }
    run(command.arg("margin_apart").arg("-o").arg(&module));

    let said = place.call(&["plugin", "pack", "margin_apart.wasm", "--out", "packed"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("compiling a component of"), "what takes long is said: {}", said.err);
    let said = place.call(&["plugin", "check", "packed"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(!said.err.contains("compiling"), "it is compiled once: {}", said.err);

    let (logits, embeddings) = (noise(1, CLASSES), noise(2, WIDTH));
    write_npy(&place.at("logits.npy"), &[ROWS, CLASSES], &logits.concat()).unwrap();
    write_npy(&place.at("embeddings.npy"), &[ROWS, WIDTH], &embeddings.concat()).unwrap();
    let (batch, factor) = (BATCH.to_string(), format!("factor={FACTOR}"));
    let mut args = vec!["select", "--strategy", "margin-apart", "--plugin-dir", "packed", "--format", "json"];
    args.extend(["--input", "logits=logits.npy", "--input", "embeddings=embeddings.npy"]);
    args.extend(["--budget", &batch, "--param", &factor]);
    let answer: Value = serde_json::from_str(&place.good(&args)).unwrap();
    let rows: Vec<usize> = serde_json::from_value(answer["rows"].clone()).unwrap();
    assert_eq!(rows, expected(&logits, &embeddings));
}
