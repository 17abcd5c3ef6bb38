//! Strategies in languages with an interpreter become sandboxed packages: the templates' own steps, with
//! componentize-py from PyPI and componentize-js from npm.

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::Place;
use serde_json::Value;

const ROWS: usize = 300;
const CLASSES: usize = 5;
const WIDTH: usize = 8;
const BATCH: usize = 12;
const FACTOR: usize = 4;

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
fn a_project_in_python_is_packed_checked_and_picks_as_it_should() {
    packed_checked_and_asked("python");
}

#[test]
#[ignore = "takes a minute, and fetches 100 MB from npm"]
fn a_project_in_javascript_is_packed_checked_and_picks_as_it_should() {
    packed_checked_and_asked("js");
}

fn packed_checked_and_asked(language: &str) {
    let place = Place::new();
    let said = place.good(&["plugin", "new", "far-apart", "--lang", language]);
    assert_eq!(said, "cd far-apart\nquerist plugin build\nquerist plugin check plugins/far-apart\n");
    let call = |args: &[&str]| {
        let mut command = place.command(args);
        // Tools of the language are found as the user's are, and keep what they fetch.
        command
            .envs(["PATH", "HOME", "npm_config_cache"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let output = command.env("QUERIST_CACHE", place.at("cache")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
        said
    };
    let said = call(&["plugin", "build", "far-apart"]) + &call(&["plugin", "check", "far-apart/plugins/far-apart"]);
    assert_eq!(said.matches("compiling a component of").count(), 1, "it is compiled once, and that is said: {said}");

    let (logits, embeddings) = (noise(1, CLASSES), noise(2, WIDTH));
    write_npy(&place.at("logits.npy"), &[ROWS, CLASSES], &logits.concat()).unwrap();
    write_npy(&place.at("embeddings.npy"), &[ROWS, WIDTH], &embeddings.concat()).unwrap();
    let (batch, factor) = (BATCH.to_string(), format!("factor={FACTOR}"));
    let mut args = vec!["select", "--strategy", "far-apart", "--plugin-dir", "far-apart/plugins", "--format", "json"];
    args.extend(["--input", "logits=logits.npy", "--input", "embeddings=embeddings.npy"]);
    args.extend(["--budget", &batch, "--param", &factor]);
    let answer: Value = serde_json::from_str(&place.good(&args)).unwrap();
    let rows: Vec<usize> = serde_json::from_value(answer["rows"].clone()).unwrap();
    assert_eq!(rows, expected(&logits, &embeddings));
}
