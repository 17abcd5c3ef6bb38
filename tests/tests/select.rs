//! Strategies on arrays of one's own: every kind of file, ids in any order, and what is said of wrong input.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::{Expect, expect};
use querist_core::{Array, Values};
use querist_data::arrays::{Kind, read_array, write_npy, write_safetensors};
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, RUN, Said, misbehaving};
use serde_json::{Value, json};

const ROWS: usize = 200;
const CLASSES: usize = 5;
const WIDTH: usize = 12;

fn values(count: usize, key: u64) -> Vec<f32> {
    let stream = Stream::new(key, 0);
    (0..count as u64).map(|item| stream.item_uniform(item, 0) as f32 * 4.0 - 2.0).collect()
}

/// A folder with `logits.npy` and `embeddings.npy`.
fn place() -> Place {
    let place = Place::new();
    write_npy(&place.at("logits.npy"), &[ROWS, CLASSES], &values(ROWS * CLASSES, 1)).unwrap();
    write_npy(&place.at("embeddings.npy"), &[ROWS, WIDTH], &values(ROWS * WIDTH, 2)).unwrap();
    place
}

const BADGE: [&str; 7] =
    ["select", "--strategy", "badge", "--input", "logits=logits.npy", "--input", "embeddings=embeddings.npy"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn answer(place: &Place, args: &[&str]) -> Value {
    let mut value: Value = serde_json::from_str(&place.good(&with(args, &["--format", "json"]))).unwrap();
    // Wall-clock time is all that may differ.
    if let Some(object) = value.as_object_mut() {
        assert!(object.remove("seconds").is_some_and(|seconds| seconds.is_f64()));
    }
    value
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

#[test]
fn every_form_of_the_answer() {
    let place = place();
    let args = with(&BADGE, &["--budget", "7", "--seed", "3"]);
    let whole: Value = serde_json::from_str(&place.good(&with(&args, &["--format", "json"]))).unwrap();
    let keys: Vec<&str> = whole.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "strategy",
            "package",
            "version",
            "digest",
            "kind",
            "budget",
            "seed",
            "subset_size",
            "short",
            "rows",
            "ids",
            "scores",
            "diagnostics",
            "seconds",
            "fuel",
            "peak_memory"
        ]
    );
    assert_eq!((&whole["strategy"], &whole["kind"], &whole["seed"]), (&json!("badge"), &json!("wasm"), &json!(3)));
    let ids = numbers(&whole["ids"]);
    assert_eq!(ids.len(), 7);
    assert_eq!(whole["rows"], whole["ids"], "without ids the rows are the ids");

    let lines: Vec<u64> = place.good(&args).lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, ids);
    let csv = place.good(&with(&args, &["--format", "csv"]));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["budget", "rank", "row", "id", "score"]);
    let of_csv: Vec<u64> = reader.records().map(|row| row.unwrap()[3].parse().unwrap()).collect();
    assert_eq!(of_csv, ids);
    assert_eq!(place.good(&with(&args, &["--format", "npy", "--out", "ids.npy"])), "");
    let stored = read_array(&place.at("ids.npy"), None, Kind::U64).unwrap();
    assert!(matches!(stored.values(), Values::U64(stored) if stored[..] == ids[..]));
    assert_eq!(place.good(&with(&args, &["--out", "ids.txt"])), "");
    assert_eq!(std::fs::read_to_string(place.at("ids.txt")).unwrap(), place.good(&args));

    let other = answer(&place, &with(&BADGE, &["--budget", "7", "--seed", "4"]));
    assert_ne!(other["ids"], whole["ids"], "the seed changes nothing");
}

#[test]
fn scores_are_ordered_and_of_the_rows() {
    let place = place();
    let logits = values(ROWS * CLASSES, 1);
    let value = answer(&place, &["select", "--strategy", "margin", "--input", "logits=logits.npy", "--budget", "20"]);
    let scores: Vec<f64> = value["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let margin = |row: usize| {
        let row = &logits[row * CLASSES..(row + 1) * CLASSES];
        let top = row.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = row.iter().map(|&l| f64::from(l - top).exp()).sum();
        let mut probs: Vec<f64> = row.iter().map(|&l| f64::from(l - top).exp() / sum).collect();
        probs.sort_by(|a, b| b.total_cmp(a));
        probs[0] - probs[1]
    };
    let picked = numbers(&value["rows"]);
    let worst = picked.iter().map(|&row| margin(row as usize)).fold(0.0, f64::max);
    let better = (0..ROWS).filter(|&row| margin(row) < worst - 1e-6 && !picked.contains(&(row as u64))).count();
    assert_eq!(better, 0, "rows with smaller margins were left out");
}

#[test]
fn the_same_arrays_from_every_kind_of_file() {
    let place = place();
    let of_npy = answer(&place, &with(&BADGE, &["--budget", "9"]));
    let array = |count, key, shape: [usize; 2]| Array::f32(shape.to_vec(), values(count, key)).unwrap();
    let arrays = BTreeMap::from([
        ("logits".to_owned(), array(ROWS * CLASSES, 1, [ROWS, CLASSES])),
        ("embeddings".to_owned(), array(ROWS * WIDTH, 2, [ROWS, WIDTH])),
    ]);
    write_safetensors(&place.at("both.safetensors"), &arrays).unwrap();
    zip_stored(&place, "both.npz", &["logits.npy", "embeddings.npy"]);
    for file in ["both.safetensors", "both.npz"] {
        // The member is found by the name of the array, or named.
        for [logits, embeddings] in [["", ""], ["#logits", "#embeddings"]] {
            let (logits, embeddings) = (format!("logits={file}{logits}"), format!("embeddings={file}{embeddings}"));
            let args = ["select", "--strategy", "badge", "--budget", "9", "--input", &logits, "--input", &embeddings];
            assert_eq!(answer(&place, &args), of_npy, "{file}");
        }
    }
    let args = ["select", "--strategy", "entropy", "--budget", "9", "--input", "logits=both.npz#probs"];
    place.call(&args).fails(2, &["--input logits", "both.npz", "no array `probs`", "one of `logits`, `embeddings`"]);
}

/// Packs files as numpy does: a zip archive without compression.
fn zip_stored(place: &Place, name: &str, members: &[&str]) {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let content = std::fs::read(place.at(member)).unwrap();
        let offset = archive.len() as u32;
        let mut entry = Vec::new();
        entry.extend([20u16, 0, 0, 0, 0x21].iter().flat_map(|v| v.to_le_bytes()));
        entry
            .extend([crc32(&content), content.len() as u32, content.len() as u32].iter().flat_map(|v| v.to_le_bytes()));
        entry.extend((member.len() as u16).to_le_bytes());
        entry.extend(0u16.to_le_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&entry);
        archive.extend(member.as_bytes());
        archive.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&entry);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(member.as_bytes());
    }
    let at = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([members.len() as u16; 2].iter().flat_map(|v| v.to_le_bytes()));
    archive.extend([directory.len() as u32, at].iter().flat_map(|v| v.to_le_bytes()));
    archive.extend([0, 0]);
    place.write(name, archive);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn ids_in_any_order_give_the_same_samples() {
    let place = place();
    let (logits, embeddings) = (values(ROWS * CLASSES, 1), values(ROWS * WIDTH, 2));
    let sorted: Vec<u64> = (0..ROWS as u64).map(|row| 1000 + 3 * row).collect();
    write_npy(&place.at("ids.npy"), &[ROWS], &sorted).unwrap();
    let mut order: Vec<usize> = (0..ROWS).collect();
    Stream::new(9, 0).shuffle(&mut order);
    let ids: Vec<u64> = order.iter().map(|&row| sorted[row]).collect();
    let gather = |from: &[f32], width: usize| -> Vec<f32> {
        order.iter().flat_map(|&row| &from[row * width..(row + 1) * width]).copied().collect()
    };
    write_npy(&place.at("ids-mixed.npy"), &[ROWS], &ids).unwrap();
    write_npy(&place.at("logits-mixed.npy"), &[ROWS, CLASSES], &gather(&logits, CLASSES)).unwrap();
    write_npy(&place.at("embeddings-mixed.npy"), &[ROWS, WIDTH], &gather(&embeddings, WIDTH)).unwrap();
    let hidden: Vec<u32> = (0..ROWS as u32).map(|row| row % 7 % CLASSES as u32).collect();
    write_npy(&place.at("hidden.npy"), &[ROWS], &hidden).unwrap();
    let mixed: Vec<u32> = order.iter().map(|&row| hidden[row]).collect();
    write_npy(&place.at("hidden-mixed.npy"), &[ROWS], &mixed).unwrap();
    for strategy in ["badge", "random", "entropy", "k-center-greedy", "kmeans", "galaxy", "uniform"] {
        let ask = |mix: &str| {
            let (ids, logits, embeddings) =
                (format!("ids{mix}.npy"), format!("logits=logits{mix}.npy"), format!("embeddings=embeddings{mix}.npy"));
            let args = [
                "select",
                "--strategy",
                strategy,
                "--budget",
                "11",
                "--ids",
                &ids,
                "--input",
                &logits,
                "--input",
                &embeddings,
                "--input",
                &format!("oracle.labels=hidden{mix}.npy"),
            ];
            answer(&place, &args)
        };
        let (straight, mixed) = (ask(""), ask("-mixed"));
        assert_eq!((&straight["ids"], &straight["scores"]), (&mixed["ids"], &mixed["scores"]), "{strategy}");
        for (answer, ids) in [(&straight, &sorted), (&mixed, &ids)] {
            let of_rows: Vec<u64> = numbers(&answer["rows"]).iter().map(|&row| ids[row as usize]).collect();
            assert_eq!(of_rows, numbers(&answer["ids"]), "{strategy}: rows are not the user's");
        }
        if strategy == "uniform" {
            let mut counts = [0; CLASSES];
            numbers(&mixed["rows"]).iter().for_each(|&row| counts[hidden[order[row as usize]] as usize] += 1);
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            assert!(spread <= 1, "classes of {counts:?} are not even");
        }
    }
}

#[test]
fn several_budgets_are_several_queries() {
    let place = place();
    let several: Value =
        serde_json::from_str(&place.good(&with(&BADGE, &["--budget", "4,9", "--format", "json"]))).unwrap();
    for (value, budget) in several.as_array().unwrap().iter().zip(["4", "9"]) {
        let one = answer(&place, &with(&BADGE, &["--budget", budget]));
        assert_eq!((&value["ids"], &value["budget"]), (&one["ids"], &one["budget"]));
    }
    let csv = place.good(&with(&BADGE, &["--budget", "4,9", "--format", "csv"]));
    assert_eq!(csv.lines().count(), 1 + 4 + 9);
    for form in ["ids", "npy"] {
        let said = place.call(&with(&BADGE, &["--budget", "4,9", "--format", form]));
        said.fails(2, &["error: several budgets need `--format csv` or `--format json`\n"]);
    }
}

#[test]
fn parameters_in_both_forms() {
    let place = place();
    let args = with(&BADGE, &["--budget", "9", "--seed", "2"]);
    let whole = answer(&place, &with(&args, &["--params", r#"{"first": "uniform", "include_bias": true}"#]));
    let single = answer(&place, &with(&args, &["--param", "first=uniform", "--param", "include_bias=true"]));
    assert_eq!(whole, single);
    assert_ne!(whole["ids"], answer(&place, &args)["ids"], "the parameters change nothing");
    refused(
        &place,
        &with(&args, &["--param", "frist=uniform", "--param", "include_bias=7"]),
        &expect![[r#"
        error: parameters of strategy `badge`:
          frist: unknown key `frist` (did you mean `first`?)
          include_bias: 7 is not of type "boolean"
    "#]],
    );
    refused(
        &place,
        &with(&args, &["--params", "{first: 1}"]),
        &expect![[r#"
        error: `--params` is no JSON object: key must be a string at line 1 column 2
    "#]],
    );
    refused(
        &place,
        &with(&args, &["--param", "first"]),
        &expect![[r#"
        error: `--param first`: write key=value
    "#]],
    );
    refused(
        &place,
        &with(&args, &["--param", "first=uniform", "--params", r#"{"first": "uniform"}"#]),
        &expect![[r#"
        error: parameter `first` is given twice
    "#]],
    );
}

#[test]
fn labelled_arrays_and_none() {
    let place = place();
    let args = ["select", "--strategy", "k-center-greedy", "--budget", "5", "--input", "embeddings=embeddings.npy"];
    let empty = answer(&place, &args);
    write_npy(&place.at("none.npy"), &[0, WIDTH], &Vec::<f32>::new()).unwrap();
    assert_eq!(answer(&place, &with(&args, &["--input", "labelled.embeddings=none.npy"])), empty);
    // Labelled samples where the first picks were: others are picked instead.
    let picks = numbers(&empty["rows"]);
    let embeddings = values(ROWS * WIDTH, 2);
    let near: Vec<f32> =
        picks.iter().flat_map(|&row| &embeddings[row as usize * WIDTH..(row as usize + 1) * WIDTH]).copied().collect();
    write_npy(&place.at("near.npy"), &[5, WIDTH], &near).unwrap();
    let labelled = answer(&place, &with(&args, &["--input", "labelled.embeddings=near.npy"]));
    assert!(numbers(&labelled["rows"]).iter().all(|row| !picks.contains(row)), "{labelled}");
}

/// What a user has of each sample goes by id, rows that a user points at stay as they are, and a run has neither.
#[test]
fn arrays_that_only_users_have() {
    let place = Place::with_run(&RUN.replace("\"badge\"", "\"misbehaving\", params = { way = \"own-arrays\" }"));
    let blur: Vec<f32> = (0..8u8).flat_map(|row| [f32::from(row), 0.0]).collect();
    write_npy(&place.at("blur.npy"), &[8, 2], &blur).unwrap();
    write_npy(&place.at("like.npy"), &[3, 2], &[6.1f32, 0.0, 0.2, 0.0, 90.0, 0.0]).unwrap();
    write_npy(&place.at("ids.npy"), &[8], &[17u64, 16, 15, 14, 13, 12, 11, 10]).unwrap();
    let plugins = misbehaving().display().to_string();
    let base = ["select", "--strategy", "misbehaving", "--plugin-dir", &plugins, "--param", "way=own-arrays"];
    let args = with(&base, &["--budget", "3", "--input", "extra.blur=blur.npy", "--ids", "ids.npy"]);
    place.call(&args).fails(2, &["the strategy needs query.like: give it with `--input query.like=FILE`"]);
    let answer = answer(&place, &with(&args, &["--input", "query.like=like.npy"]));
    assert_eq!((numbers(&answer["rows"]), numbers(&answer["ids"])), (vec![6, 0, 1], vec![11, 17, 16]));
    write_npy(&place.at("flat.npy"), &[8], &[0.0f32; 8]).unwrap();
    let said = place
        .call(&with(&base, &["--budget", "3", "--input", "extra.blur=flat.npy", "--input", "query.like=like.npy"]));
    said.fails(2, &["array `extra.blur` is f32 [8], expected a matrix, f32 [8 pool rows, width]"]);
    let said = place.call(&["run", "run.toml", "--out", "r", "--plugin-dir", &plugins]);
    said.fails(1, &["the strategy needs `extra.blur`", r#"`arrays."extra.blur" = { file = "FILE" }`"#]);
    assert!(!place.at("r").exists());
}

#[track_caller]
fn refused(place: &Place, args: &[&str], expected: &Expect) {
    let said = place.call(args);
    expected.assert_eq(&said.err);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
}

#[test]
fn arrays_that_do_not_fit() {
    let place = place();
    let write = |name: &str, shape: &[usize]| {
        write_npy(&place.at(name), shape, &vec![0.5f32; shape.iter().product()]).unwrap();
    };
    write("short.npy", &[ROWS - 1, WIDTH]);
    write("flat.npy", &[ROWS]);
    write("wide.npy", &[3, WIDTH + 1]);
    let k_center = ["select", "--strategy", "k-center-greedy", "--budget", "5", "--input", "embeddings=embeddings.npy"];
    let badge = ["select", "--strategy", "badge", "--budget", "5", "--input", "logits=logits.npy"];
    refused(
        &place,
        &with(&badge, &["--input", "embeddings=short.npy"]),
        &expect![[r#"
        error: array `logits` is f32 [200, 5], expected f32 [199 pool rows, 5 classes] (`logits` is logits.npy)
    "#]],
    );
    refused(
        &place,
        &with(&badge, &["--input", "embeddings=flat.npy"]),
        &expect![[r#"
            error: array `embeddings` is f32 [200], expected a matrix, f32 [200 pool rows, width] (`embeddings` is flat.npy)
        "#]],
    );
    refused(
        &place,
        &with(&k_center, &["--input", "labelled.embeddings=wide.npy"]),
        &expect![[r#"
        error: `labelled.embeddings` and `embeddings` disagree on the width: 13 and 12 (`embeddings` is embeddings.npy, `labelled.embeddings` is wide.npy)
    "#]],
    );
    refused(
        &place,
        &badge,
        &expect![[r#"
        error: the strategy needs penultimate: give it with `--input penultimate=FILE`, or `--input embeddings=FILE` where the head is linear
    "#]],
    );
    refused(
        &place,
        &with(&badge, &["--input", "embedings=embeddings.npy"]),
        &expect![[r#"
            error: `--input embedings`: no array has this name; the names are logits, embeddings, penultimate, fixed_embeddings, mc_log_probs, target.mc_log_probs, member_log_probs, grad_norm, grad_embeddings, perturbed_logits, calibration.logits, calibration.labels, calibration.penultimate, head.w, head.b, labelled.labels, labelled.rejected, oracle.labels, detector.logits, detector.ovr, extra.NAME, query.embeddings, query.logits, query.labels, private.embeddings, private.logits, private.labels, query.NAME, probs, mc_probs, target.mc_probs, member_probs, and `labelled.` before those with one row a sample
        "#]],
    );
    refused(
        &place,
        &with(&badge, &["--input", "embeddings.npy"]),
        &expect![[r#"
        error: `--input embeddings.npy`: write NAME=FILE, such as logits=logits.npy
    "#]],
    );
    refused(
        &place,
        &with(&badge, &["--input", "logits=logits.npy"]),
        &expect![[r#"
        error: `--input logits` is given twice
    "#]],
    );
}

#[test]
fn values_that_are_no_numbers() {
    let place = place();
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut embeddings = values(ROWS * WIDTH, 2);
        embeddings[37 * WIDTH + 4] = wrong;
        write_npy(&place.at("wrong.npy"), &[ROWS, WIDTH], &embeddings).unwrap();
        let args = ["select", "--strategy", "kmeans", "--budget", "5", "--input", "embeddings=wrong.npy"];
        place.call(&args).fails(2, &["embeddings", "row 37"]);
    }
}

#[test]
fn a_row_is_named_as_the_user_counts_it() {
    let place = place();
    let mut embeddings = values(ROWS * WIDTH, 2);
    embeddings[37 * WIDTH] = f32::NAN;
    write_npy(&place.at("wrong.npy"), &[ROWS, WIDTH], &embeddings).unwrap();
    let ids: Vec<u64> = (0..ROWS as u64).rev().collect();
    write_npy(&place.at("ids.npy"), &[ROWS], &ids).unwrap();
    let args =
        ["select", "--strategy", "kmeans", "--budget", "5", "--input", "embeddings=wrong.npy", "--ids", "ids.npy"];
    place.call(&args).fails(2, &["embeddings", "row 37"]);
}

#[test]
fn labels_and_ids_that_do_not_fit() {
    let place = place();
    let labels = |name: &str, labels: &[u32]| write_npy(&place.at(name), &[labels.len()], labels).unwrap();
    labels("labels.npy", &[0, 1, CLASSES as u32]);
    let entropy = ["select", "--strategy", "entropy", "--budget", "5", "--input", "logits=logits.npy"];
    refused(
        &place,
        &with(&entropy, &["--input", "labelled.labels=labels.npy"]),
        &expect![[r#"
        error: array `labelled.labels` holds label 5 in row 2, but there are 5 classes (0 to 4) (`labelled.labels` is labels.npy)
    "#]],
    );
    let mut ids: Vec<u64> = (0..ROWS as u64).collect();
    ids[9] = 3;
    write_npy(&place.at("twice.npy"), &[ROWS], &ids).unwrap();
    refused(
        &place,
        &with(&entropy, &["--ids", "twice.npy"]),
        &expect![[r#"
        error: `ids` holds id 3 in rows 3 and 9; ids are distinct
    "#]],
    );
    write_npy(&place.at("few.npy"), &[3], &ids[..3]).unwrap();
    refused(
        &place,
        &with(&entropy, &["--ids", "few.npy"]),
        &expect![[r#"
        error: `ids` has 3 ids for 200 rows
    "#]],
    );
}

#[test]
fn budgets_at_the_edges() {
    let place = place();
    let args = |strategy: &'static str, budget: &'static str| {
        [
            "select",
            "--strategy",
            strategy,
            "--input",
            "logits=logits.npy",
            "--input",
            "embeddings=embeddings.npy",
            "--budget",
            budget,
        ]
    };
    for strategy in ["random", "entropy", "badge", "k-center-greedy", "kmeans"] {
        // Nothing asked, nothing answered.
        let none = answer(&place, &args(strategy, "0"));
        assert_eq!((&none["rows"], &none["ids"]), (&json!([]), &json!([])), "{strategy}");
        assert_eq!(place.good(&args(strategy, "0")), "");
        // More than there is means all there is.
        for budget in ["200", "1000"] {
            let mut ids = numbers(&answer(&place, &args(strategy, budget))["ids"]);
            ids.sort_unstable();
            assert!(ids.iter().copied().eq(0..ROWS as u64), "{strategy}: not every row once");
        }
    }
}

#[test]
fn a_bad_file_is_blamed_not_the_strategy() {
    let place = place();
    let blames = |file: &str, more: &[&str], parts: &[&str]| {
        let input = format!("embeddings={file}");
        let said =
            place.call(&with(&["select", "--strategy", "k-center-greedy", "--budget", "5", "--input", &input], more));
        assert!(!said.err.contains("k-center-greedy"), "{}", said.err);
        assert!(matches!(said.code, Some(1 | 2)) && said.out.is_empty(), "{said:?}");
        parts.iter().for_each(|part| assert!(said.err.contains(part), "{}\n  lacks: {part}", said.err));
    };
    // Rows without values: the strategy was said to have asked for what is not there, or the host aborted.
    write_npy::<f32>(&place.at("empty.npy"), &[ROWS, 0], &[]).unwrap();
    blames("empty.npy", &[], &["--input embeddings", "empty.npy: shape [200, 0]; expected a value in each row"]);
    let header = |shape: &str| {
        let header = format!("{:<117}\n", format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"));
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat()
    };
    place.write("many.npy", header("(4294967296, 0)"));
    blames(
        "many.npy",
        &[],
        &["--input embeddings", "many.npy: shape [4294967296, 0]; expected at most 4294967295 rows"],
    );
    write_npy(&place.at("one.npy"), &[], &[1.0f32]).unwrap();
    blames("one.npy", &[], &["--input embeddings", "one.npy): a single number"]);
    // One label is enough to claim four thousand million classes.
    write_npy(&place.at("labels.npy"), &[1], &[u32::MAX]).unwrap();
    write_npy(&place.at("near.npy"), &[1, WIDTH], &values(WIDTH, 3)).unwrap();
    let labelled = ["--input", "labelled.labels=labels.npy", "--input", "labelled.embeddings=near.npy"];
    blames("embeddings.npy", &labelled, &["4294967296 classes", "`labelled.labels` is labels.npy"]);
}

#[test]
fn pipes_and_devices_are_no_arrays() {
    let place = place();
    let pipe = place.at("pipe.npy");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", place.at("zero.npy")).unwrap();
    std::os::unix::fs::symlink("logits.npy", place.at("link.npy")).unwrap();
    let ask = |option: &str, input: &str| -> Said {
        place.call(&["select", "--strategy", "entropy", "--budget", "5", "--input", "logits=link.npy", option, input])
    };
    for (file, what) in [("pipe.npy", "a named pipe"), ("zero.npy", "a character device")] {
        ask("--ids", file).fails(2, &[file, what, "expected a regular file"]);
        ask("--input", &format!("labelled.labels={file}")).fails(2, &["labelled.labels", file, what]);
    }
    // What lies behind a link of the user's own is read.
    assert_eq!(ask("--seed", "1").code, Some(0));
    std::fs::rename(pipe, place.at("run.toml")).unwrap();
    place.call(&["run", "run.toml"]).fails(2, &["run.toml: a named pipe, expected a regular file"]);
    std::os::unix::fs::symlink("/dev/zero", place.at("zero.toml")).unwrap();
    place.call(&["study", "run", "zero.toml"]).fails(2, &["zero.toml: a character device, expected a regular file"]);
}

#[test]
fn files_that_are_not_what_they_say() {
    let place = place();
    let ask = |file: &str| -> Said {
        let input = format!("logits={file}");
        place.call(&["select", "--strategy", "entropy", "--budget", "5", "--input", &input])
    };
    let whole = std::fs::read(place.at("logits.npy")).unwrap();
    place.write("cut.npy", &whole[..whole.len() - 10]);
    ask("cut.npy").fails(2, &["--input logits", "cut.npy", "expected"]);
    place.write("text.npy", "no array");
    ask("text.npy").fails(2, &["--input logits", "text.npy", "expected"]);
    place.write("text.csv", "1,2");
    ask("text.csv").fails(2, &["--input logits", "text.csv", "no array file by its ending"]);
    ask("gone.npy").fails(2, &["--input logits", "gone.npy", "no such file"]);
    assert!(!Path::new(&place.at("runs")).exists());
}
