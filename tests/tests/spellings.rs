//! Arrays in the forms in which people have them: probabilities, draws in any place, labels alone, one column.

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::Place;
use serde_json::{Value, json};

const ROWS: usize = 60;
const DRAWS: usize = 7;
const CLASSES: usize = 4;

/// Log-probabilities of [`ROWS`] rows, [`DRAWS`] draws and [`CLASSES`] classes, with some that are impossible.
fn log_probs() -> Vec<f32> {
    let mut stream = Stream::new(9, 0);
    let mut values = Vec::new();
    for distribution in 0..ROWS * DRAWS {
        let mut weights: Vec<f64> = (0..CLASSES).map(|_| stream.next_uniform().powi(3)).collect();
        if distribution % 5 == 0 {
            weights[distribution % CLASSES] = 0.0;
        }
        let sum: f64 = weights.iter().sum();
        values.extend(weights.iter().map(|weight| (weight / sum).ln() as f32));
    }
    values
}

/// The same values with dimensions in another order: `order[i]` is the old dimension that comes i-th.
fn reordered(values: &[f32], shape: [usize; 3], order: [usize; 3]) -> (Vec<usize>, Vec<f32>) {
    let new = order.map(|dimension| shape[dimension]);
    let mut out = Vec::new();
    for i in 0..new[0] {
        for j in 0..new[1] {
            for k in 0..new[2] {
                let mut at = [0; 3];
                for (dimension, index) in order.into_iter().zip([i, j, k]) {
                    at[dimension] = index;
                }
                out.push(values[(at[0] * shape[1] + at[1]) * shape[2] + at[2]]);
            }
        }
    }
    (new.to_vec(), out)
}

fn ask(place: &Place, strategy: &str, more: &[&str]) -> Value {
    let budget = if more.iter().any(|word| word.starts_with("--budget")) { &[][..] } else { &["--budget", "12"] };
    let base = [&["select", "--strategy", strategy, "--format", "json"], budget].concat();
    let said = place.call(&[&base[..], more].concat());
    assert_eq!(said.code, Some(0), "{strategy} {more:?}: {}", said.err);
    let mut answer: Value = serde_json::from_str(&said.out).unwrap();
    json!([answer["rows"].take(), answer["scores"].take()])
}

const SHAPE: [usize; 3] = [ROWS, DRAWS, CLASSES];

fn write(place: &Place, name: &str, shape: &[usize], values: &[f32]) {
    write_npy(&place.at(name), shape, values).unwrap();
}

#[test]
fn draws_say_themselves_how_many_and_where_they_are() {
    let place = Place::new();
    let values = log_probs();
    let probabilities: Vec<f32> = values.iter().map(|value| value.exp()).collect();
    for (name, order) in [("rows", [0, 1, 2]), ("draws", [1, 0, 2]), ("classes", [0, 2, 1])] {
        let (shape, logs) = reordered(&values, SHAPE, order);
        write(&place, &format!("{name}.npy"), &shape, &logs);
        let (shape, probabilities) = reordered(&probabilities, SHAPE, order);
        write(&place, &format!("{name}-p.npy"), &shape, &probabilities);
    }
    write_npy(&place.at("ids.npy"), &[ROWS], &(0..ROWS as u64).collect::<Vec<_>>()).unwrap();
    for (strategy, array, spelling, parameter) in
        [("bald", "mc_log_probs", "mc_probs", "T"), ("ensemble-bald", "member_log_probs", "member_probs", "members")]
    {
        let expected = ask(&place, strategy, &["--input", &format!("{array}=rows.npy")]);
        let said = format!("{parameter}={DRAWS}");
        for name in ["rows", "draws", "classes"] {
            for (input, file) in [(array, format!("{name}.npy")), (spelling, format!("{name}-p.npy"))] {
                let input = format!("{input}={file}");
                let found = ask(&place, strategy, &["--input", &input, "--ids", "ids.npy"]);
                assert_eq!(found[0], expected[0], "{strategy} {input}");
                assert_eq!(ask(&place, strategy, &["--input", &input, "--param", &said])[0], expected[0], "{input}");
            }
        }
        // Who says another number means other arrays.
        let base = ["select", "--strategy", strategy, "--budget", "3", "--ids", "ids.npy"];
        let (input, wrong) = (format!("{array}=rows.npy"), format!("{parameter}=5"));
        let said = place.call(&[&base[..], &["--input", &input, "--param", &wrong]].concat());
        said.fails(2, &[array, "rows.npy", &format!("{DRAWS} draws a row, but `{parameter}` is 5")]);
        let said = place.call(&[&base[..], &["--input", &input, "--param", &format!("{parameter}=many")]].concat());
        said.fails(2, &[parameter, "\"many\" is not of type \"integer\""]);
        // Seven rows of sixty draws, or sixty rows of seven: nobody says.
        let base = ["select", "--strategy", strategy, "--budget", "3"];
        let said = place.call(&[&base[..], &["--input", &format!("{array}=draws.npy")]].concat());
        said.fails(2, &["7 rows of 60 draws, or 60 rows of 7 draws", "--ids"]);
    }
    // `members` of a combination are strategies.
    let input = ["--input", "member_log_probs=rows.npy", "--ids", "ids.npy"];
    let said = place.call(&[&["select", "--strategy", "refine", "--budget", "3"][..], &input].concat());
    said.fails(2, &["the strategy needs", "logits"]);
}

#[test]
fn probabilities_are_taken_for_what_they_are() {
    let place = Place::new();
    let mut stream = Stream::new(3, 0);
    let logits: Vec<f32> = (0..ROWS * CLASSES).map(|_| stream.next_uniform() as f32 * 6.0).collect();
    let probabilities: Vec<f32> = logits
        .chunks(CLASSES)
        .flat_map(|row| {
            let sum: f32 = row.iter().map(|logit| logit.exp()).sum();
            row.iter().map(move |logit| logit.exp() / sum).collect::<Vec<_>>()
        })
        .collect();
    write(&place, "logits.npy", &[ROWS, CLASSES], &logits);
    write(&place, "probs.npy", &[ROWS, CLASSES], &probabilities);
    for strategy in ["entropy", "margin", "least-confidence", "bvsb"] {
        let expected = ask(&place, strategy, &["--input", "logits=logits.npy"]);
        assert_eq!(ask(&place, strategy, &["--input", "probs=probs.npy"])[0], expected[0], "{strategy}");
    }
    let base = ["select", "--strategy", "entropy", "--budget", "3"];
    let call = |more: &[&str]| place.call(&[&base[..], more].concat());
    let said = call(&["--input", "logits=probs.npy"]);
    assert!(said.code == Some(0) && said.err.contains("look like probabilities"), "{}", said.err);
    assert_eq!(call(&["--input", "logits=logits.npy"]).err, "");
    let both = call(&["--input", "logits=logits.npy", "--input", "probs=probs.npy"]);
    both.fails(2, &["`--input probs` is `logits` in another form"]);
    write(&place, "certain.npy", &[2, 2], &[1.0, 0.0, 0.5, 0.5]);
    assert_eq!(ask(&place, "entropy", &["--input", "probs=certain.npy", "--budget=1"])[0], json!([1]));
    write(&place, "short.npy", &[2, 2], &[1.0, 0.0, 0.5, 0.4]);
    call(&["--input", "probs=short.npy"]).fails(2, &["--input probs", "short.npy", "row 1 sum to 0.9"]);
    write(&place, "scores.npy", &[2, 2], &[1.0, 0.0, 1.5, -0.5]);
    call(&["--input", "probs=scores.npy"]).fails(2, &["1.5 in row 1 is no probability"]);
}

#[test]
fn one_column_is_refused_by_whoever_needs_classes() {
    let place = Place::new();
    write(&place, "one.npy", &[ROWS, 1], &[0.3; ROWS]);
    write(&place, "one-draws.npy", &[ROWS, 3, 1], &[0.0; ROWS * 3]);
    write(&place, "e.npy", &[ROWS, 2], &[0.5; ROWS * 2]);
    for strategy in
        ["entropy", "margin", "least-confidence", "bvsb", "badge", "power-entropy", "cluster-margin", "clue"]
    {
        for input in ["logits=one.npy", "probs=one.npy"] {
            let args =
                ["select", "--strategy", strategy, "--budget", "3", "--input", input, "--input", "embeddings=e.npy"];
            place.call(&args).fails(2, &["one.npy", "one column", "0 and z", "1 - p and p"]);
        }
    }
    let args = ["select", "--strategy", "bald", "--budget", "3", "--input", "mc_log_probs=one-draws.npy"];
    place.call(&args).fails(2, &["one-draws.npy", "one column"]);
}

#[test]
fn hidden_labels_alone_say_how_many_classes_there_are() {
    let place = Place::new();
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 5).collect();
    write_npy(&place.at("labels.npy"), &[ROWS], &labels).unwrap();
    let oracle = ["--input", "oracle.labels=labels.npy"];
    let answer = ask(&place, "uniform", &[&oracle[..], &["--budget=10"]].concat());
    let mut classes: Vec<u64> = answer[0].as_array().unwrap().iter().map(|row| row.as_u64().unwrap() % 5).collect();
    classes.sort_unstable();
    assert_eq!(classes, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    let mut stream = Stream::new(4, 0);
    let logits: Vec<f32> = (0..ROWS * 5).map(|_| stream.next_uniform() as f32 * 3.0).collect();
    write(&place, "logits.npy", &[ROWS, 5], &logits);
    write(&place, "known.npy", &[5, 5], &logits[..25]);
    write_npy(&place.at("known-labels.npy"), &[5], &[0u32, 1, 2, 3, 4]).unwrap();
    let known = ["--input", "labelled.logits=known.npy", "--input", "labelled.labels=known-labels.npy"];
    let answer = ask(&place, "galaxy", &[&oracle[..], &["--input", "logits=logits.npy"], &known].concat());
    assert_eq!(answer[0].as_array().unwrap().len(), 12);
}

#[test]
fn a_lead_of_any_size_ranks_before_a_larger_one() {
    let place = Place::new();
    let leads = [900.0f32, 800.0, 1000.0, 30.0, 5000.0];
    let logits: Vec<f32> = leads.iter().flat_map(|&lead| [lead, 0.0, -1.0]).collect();
    write(&place, "logits.npy", &[5, 3], &logits);
    for strategy in ["least-confidence", "margin", "bvsb", "entropy"] {
        let answer = ask(&place, strategy, &["--input", "logits=logits.npy", "--budget=5"]);
        assert_eq!(answer[0], json!([3, 1, 0, 2, 4]), "{strategy}");
    }
}

#[test]
fn ids_are_enough_for_a_strategy_without_needs() {
    let place = Place::new();
    write_npy(&place.at("ids.npy"), &[20], &(100..120u64).collect::<Vec<_>>()).unwrap();
    let out = place.good(&["select", "--strategy", "random", "--budget", "5", "--ids", "ids.npy"]);
    let mut ids: Vec<u64> = out.lines().map(|line| line.parse().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 5 && ids.iter().all(|id| (100..120).contains(id)), "{out}");
    place.call(&["select", "--strategy", "random", "--budget", "5"]).fails(2, &["--input"]);
}

#[test]
fn small_numbers_and_links_are_written_as_one_expects() {
    let place = Place::new();
    write(&place, "logits.npy", &[2, 2], &[690.0, 0.0, 700.0, 0.0]);
    let base = ["select", "--strategy", "bvsb", "--budget", "2", "--input", "logits=logits.npy"];
    let out = place.good(&[&base[..], &["--format", "csv"]].concat());
    for line in out.lines().skip(1) {
        let score = line.rsplit(',').next().unwrap();
        assert!(score.len() < 25 && (1e-305..1e-290).contains(&score.parse::<f64>().unwrap()), "{out}");
    }
    place.write("real.npy", "old");
    std::os::unix::fs::symlink("real.npy", place.at("link.npy")).unwrap();
    place.good(&[&base[..], &["--format", "npy", "--out", "link.npy"]].concat());
    assert!(
        place.at("link.npy").is_symlink() && std::fs::read(place.at("real.npy")).unwrap().starts_with(b"\x93NUMPY")
    );
}

#[test]
fn types_and_dimensions_are_called_by_their_names() {
    let place = Place::new();
    write(&place, "flat.npy", &[ROWS], &[0.5; ROWS]);
    write(&place, "logits.npy", &[ROWS, 2], &[0.25; ROWS * 2]);
    let base = ["select", "--strategy", "uniform", "--budget", "3"];
    let said = place.call(&[&base[..], &["--input", "oracle.labels=flat.npy"]].concat());
    said.fails(2, &["oracle.labels", "flat.npy", "the value 0.5", "class numbers", "astype(\"uint32\")"]);
    let said = place.call(&["select", "--strategy", "random", "--budget", "3", "--ids", "flat.npy"]);
    said.fails(2, &["flat.npy", "the value 0.5", "ids, 0 or more", "astype(\"uint64\")"]);
    let said =
        place.call(&["select", "--strategy", "k-center-greedy", "--budget", "3", "--input", "embeddings=flat.npy"]);
    said.fails(2, &["`embeddings` is f32 [60], expected a matrix, f32 [60 pool rows, width]"]);
}
