//! Arrays that take more than a forward pass, in runs of the real program.

use querist_data::arrays::{Kind, read_array, write_npy};
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, assert_same, kill_and_resume, lasting, misbehaving, records};
use serde_json::{Value, json};

/// A small run on the built-in digits.
fn run_of(strategy: &str, rest: &str) -> String {
    format!(
        r#"version = 1
dataset = {{ name = "digits", test = 397, validation = 50 }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 3, minibatch = 32 }}
budget = {{ initial = 20, per_class = true, batch = 10, rounds = 2 }}
strategy = {strategy}
compute = {{ threads = 1 }}
{rest}
"#
    )
}

const MLP: &str = r#"model = { name = "mlp" }"#;

#[test]
fn every_strategy_on_an_ensemble_finishes() {
    for measure in ["least-confidence", "margin", "entropy", "variation-ratio", "bald", "mean-std"] {
        let strategy = format!(r#"{{ id = "ensemble-{measure}", params = {{ members = 3 }} }}"#);
        let place = Place::with_run(&run_of(&strategy, MLP));
        let table = place.good(&["run", "run.toml", "--out", "r"]);
        assert!(table.contains("trained 3 models a round; its accuracy is that of their mean prediction"), "{table}");
        let records = records(&place.at("r"));
        assert_eq!(records.len(), 3, "{measure}");
        for record in &records {
            let ensemble = &record["ensemble"];
            assert_eq!((&ensemble["adversarial"], &ensemble["evaluate"]), (&json!("none"), &json!("mean")));
            let seconds: Vec<f64> =
                ensemble["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
            assert!(seconds[0] == 0.0 && seconds[1] > 0.0 && seconds[2] > 0.0, "{seconds:?}");
        }
    }
}

#[test]
fn an_ensemble_that_learned_from_unlabelled_images_says_so() {
    let rest = format!("{MLP}\nensemble = {{ adversarial = \"vat\", evaluate = \"task\" }}");
    let place = Place::with_run(&run_of(r#"{ id = "ensemble-bald", params = { members = 2 } }"#, &rest));
    let table = place.good(&["run", "run.toml", "--out", "r"]);
    let line = "trained 2 models a round with virtual adversarial images; its accuracy is that of the task model \
                alone; they learned from unlabelled images of the pool, too";
    assert!(table.contains(line), "{table}");
    let records = records(&place.at("r"));
    assert_eq!(records[0]["ensemble"]["unlabelled"], records[0]["pool"]);
    assert_eq!(records[2]["ensemble"], Value::Null, "no query follows the last round, and the task model is evaluated");
}

/// Members are part of a round: a killed run trains them again.
#[test]
fn a_killed_run_with_an_ensemble_ends_like_one_never_killed() {
    kill_and_resume(&run_of(r#"{ id = "ensemble-entropy", params = { members = 3 } }"#, MLP), 6);
}

#[test]
fn a_query_chooses_from_a_subset_of_its_own() {
    let strategy = r#"{ id = "margin", subset_size = 40 }"#;
    let place = Place::with_run(&run_of(strategy, &format!("{MLP}\nkeep = {{ features = \"all\" }}")));
    place.good(&["run", "run.toml", "--out", "r"]);
    let run = place.at("r");
    let rounds = records(&run);
    assert_eq!((&rounds[0]["subset"], &rounds[1]["subset"]), (&json!(40), &json!(40)));
    assert_eq!((&rounds[0]["pool"], &rounds[0]["short"]), (&json!(1330), &Value::Null));
    // The whole pool would give other picks, and batches beyond the subset have no answer.
    place.good(&["run", "run.toml", "--out", "whole", "--set", "strategy.subset_size=1330"]);
    let whole = records(&place.at("whole"));
    assert_ne!(whole[0]["acquired"], rounds[0]["acquired"]);
    assert_eq!(whole[0]["subset"], Value::Null);
    let message = "strategy.subset_size is 9, but round 0 asks for 10 samples; set it to 10 or more";
    place.call(&["run", "run.toml", "--out", "small", "--set", "strategy.subset_size=9"]).fails(1, &[message]);
    // A batch that takes the whole subset has nothing to choose.
    place.good(&["run", "run.toml", "--out", "short", "--set", "strategy.subset_size=10"]);
    assert_eq!(records(&place.at("short"))[0]["short"], json!(true));
}

/// Embeddings of every digit that have nothing to do with pictures, in which class-sized groups lie apart.
fn made_up_rows() -> Vec<[f32; 3]> {
    let noise = Stream::new(8, 0);
    let value = |sample: u64, axis| noise.item_uniform(sample, axis) as f32 + (sample % 5) as f32;
    (0..1797).map(|sample| [0, 1, 2].map(|axis| value(sample, axis))).collect()
}

fn picks(place: &Place, run: &str) -> Value {
    Value::Array(records(&place.at(run)).iter().map(|record| record["acquired"].clone()).collect())
}

#[test]
fn fixed_embeddings_come_from_a_file() {
    let place = Place::with_run(&run_of(r#"{ id = "typiclust" }"#, MLP));
    let rows = made_up_rows();
    write_npy(&place.at("rows.npy"), &[1797, 3], &rows.concat()).unwrap();
    let file = ["run", "run.toml", "--set", r#"fixed_embeddings={file="rows.npy"}"#, "--out"];
    place.good(&[&file[..], &["file"]].concat());
    // The model no longer enters, and the order of the file's rows does not, either.
    place.good(&[&file[..], &["trained-less", "--set", "recipe.epochs=1"]].concat());
    let backwards: Vec<u64> = (0..1797).rev().collect();
    write_npy(&place.at("ids.npy"), &[1797], &backwards).unwrap();
    write_npy(&place.at("turned.npy"), &[1797, 3], &rows.iter().rev().flatten().copied().collect::<Vec<_>>()).unwrap();
    let turned = r#"fixed_embeddings={file="turned.npy",ids="ids.npy"}"#;
    place.good(&["run", "run.toml", "--set", turned, "--out", "turned"]);
    place.good(&["run", "run.toml", "--out", "own"]);
    let from_file = picks(&place, "file");
    assert_eq!((&picks(&place, "trained-less"), &picks(&place, "turned")), (&from_file, &from_file));
    assert_ne!(picks(&place, "own"), from_file, "without a file, they are the task model's");

    write_npy(&place.at("few.npy"), &[1796, 3], &rows[..1796].concat()).unwrap();
    let few = r#"fixed_embeddings={file="few.npy"}"#;
    let message = ["few.npy", "[1796, 3], expected [1797, width of 1 or more]"];
    place.call(&["run", "run.toml", "--set", few, "--out", "few"]).fails(2, &message);
    let gone = r#"fixed_embeddings={file="gone.npy"}"#;
    place.call(&["run", "run.toml", "--set", gone, "--out", "gone"]).fails(2, &["gone.npy"]);
    // Rows that change under a run are noticed.
    std::fs::remove_dir_all(place.at("file/rounds/0002")).unwrap();
    write_npy(&place.at("rows.npy"), &[1797, 3], &vec![1.0f32; 1797 * 3]).unwrap();
    place.call(&[&file[..], &["file", "--resume"]].concat()).fails(1, &["file of `fixed_embeddings` is not the one"]);
}

/// The strategy selects the samples whose row is nearest to one that is pointed at.
#[test]
fn a_run_has_arrays_of_the_users_own() {
    let strategy = r#"{ id = "misbehaving", params = { way = "own-arrays" } }"#;
    let place = Place::new();
    let numbers: Vec<f32> = (0..1797u16).flat_map(|id| [f32::from(id), 0.0]).collect();
    write_npy(&place.at("blur.npy"), &[1797, 2], &numbers).unwrap();
    write_npy(&place.at("like.npy"), &[1, 2], &[1000.2f32, 0.0]).unwrap();
    let plugins = misbehaving().display().to_string();
    let run = |arrays: &str, out: &str| {
        let like = r#""query.like" = { file = "like.npy" }"#;
        place.write("run.toml", run_of(strategy, &format!("{MLP}\n[arrays]\n{like}\n{arrays}")));
        place.call(&["run", "run.toml", "--out", out, "--plugin-dir", &plugins])
    };
    let of_blur = r#""extra.blur" = { file = "blur.npy" }"#;
    assert_eq!(run(of_blur, "r").code, Some(0));
    for round in [0, 1] {
        let acquired = records(&place.at("r"))[round]["acquired"].clone();
        let apart: Vec<f64> =
            acquired.as_array().unwrap().iter().map(|id| (id.as_f64().unwrap() - 1000.2).abs()).collect();
        assert!(apart.len() == 10 && apart.is_sorted() && apart[9] < 60.0, "round {round}: {acquired}");
    }
    // The order of the file's rows does not enter.
    let backwards: Vec<u64> = (0..1797).rev().collect();
    write_npy(&place.at("ids.npy"), &[1797], &backwards).unwrap();
    let turned: Vec<f32> = numbers.chunks(2).rev().flatten().copied().collect();
    write_npy(&place.at("turned.npy"), &[1797, 2], &turned).unwrap();
    assert_eq!(run(r#""extra.blur" = { file = "turned.npy", ids = "ids.npy" }"#, "turned").code, Some(0));
    assert_eq!(picks(&place, "turned"), picks(&place, "r"));

    write_npy(&place.at("few.npy"), &[3, 2], &numbers[..6]).unwrap();
    let few = run(r#""extra.blur" = { file = "few.npy" }"#, "few");
    few.fails(2, &["few.npy", "`extra.blur` is [3, 2], expected [1797, width of 1 or more]"]);
    run(r#""embeddings" = { file = "blur.npy" }"#, "few").fails(2, &["\"embeddings\" does not match"]);
    assert!(!place.at("few").exists());
    // Rows that change under a run are noticed.
    std::fs::remove_dir_all(place.at("r/rounds/0002")).unwrap();
    write_npy(&place.at("like.npy"), &[1, 2], &[3.0f32, 0.0]).unwrap();
    place.write(
        "run.toml",
        run_of(strategy, &format!("{MLP}\n[arrays]\n{of_blur}\n\"query.like\".file = \"like.npy\"")),
    );
    let said = place.call(&["run", "run.toml", "--out", "r", "--resume", "--plugin-dir", &plugins]);
    said.fails(1, &["file of `query.like` is not the one"]);
}

#[test]
fn fixed_embeddings_come_from_a_frozen_model() {
    let place = Place::with_run(&run_of(r#"{ id = "typiclust" }"#, MLP));
    place.good(&["run", "run.toml", "--out", "teacher", "--set", "strategy.id=random"]);
    let model = "teacher/rounds/0002/model.safetensors";
    let frozen = |name: &str| format!(r#"fixed_embeddings={{model="{model}",name="{name}"}}"#);
    for (out, epochs) in [("frozen", "recipe.epochs=3"), ("trained-less", "recipe.epochs=1")] {
        place.good(&["run", "run.toml", "--set", &frozen("mlp"), "--set", epochs, "--out", out]);
    }
    assert_eq!(picks(&place, "frozen"), picks(&place, "trained-less"));
    place.good(&["run", "run.toml", "--out", "own"]);
    assert_ne!(picks(&place, "frozen"), picks(&place, "own"));
    let other = place.call(&["run", "run.toml", "--set", &frozen("cnn"), "--out", "other"]);
    other.fails(2, &["fixed_embeddings.model = teacher", "it is of another model"]);
}

#[test]
fn a_strategy_aims_at_held_out_images() {
    let strategy = r#"{ id = "epig", params = { target = "provided", n_target = 20, T = 4 }, target = "test" }"#;
    let place = Place::with_run(&run_of(strategy, r#"model = { name = "mlp", dropout = 0.3 }"#));
    place.good(&["run", "run.toml", "--out", "test", "--set", "keep.features=all"]);
    place.good(&["run", "run.toml", "--out", "validation", "--set", "strategy.target=validation"]);
    assert_ne!(picks(&place, "test"), picks(&place, "validation"));
}

/// What a model cannot give is refused before anything is trained or written, with the setting that would help.
#[test]
fn needs_that_cannot_be_met_are_refused_before_training() {
    let provided = r#"{ id = "epig", params = { target = "provided" } }"#;
    for (strategy, rest, code, parts) in [
        (r#"{ id = "bald" }"#, MLP, 1, &["mc_log_probs(T=10)", "set `model.dropout` above 0, or choose `lenet`"][..]),
        (provided, "model = { dropout = 0.3 }", 1, &["set `strategy.target` to `validation` or `test`"]),
        (r#"{ id = "ensemble-bald", params = { members = 1 } }"#, MLP, 2, &["members", "2"]),
        (r#"{ id = "margin", subset_size = 3 }"#, MLP, 1, &["strategy.subset_size is 3"]),
    ] {
        let place = Place::with_run(&run_of(strategy, rest));
        place.call(&["run", "run.toml", "--out", "r"]).fails(code, parts);
        assert!(!place.at("r").exists(), "{strategy}");
    }
}

#[test]
fn gradients_of_all_weights_rank_samples() {
    for norm in ["tensor-sum", "global"] {
        let strategy = format!(r#"{{ id = "gradnorm-egl", params = {{ scope = "full", norm = "{norm}" }} }}"#);
        let place = Place::with_run(&run_of(&strategy, &format!("{MLP}\nkeep = {{ features = \"all\" }}")));
        place.good(&["run", "run.toml", "--out", "r"]);
        let path = place.at("r/rounds/0000/features.safetensors");
        let norms = read_array(&path, Some("grad_norm"), Kind::F32).unwrap();
        let largest = norms.as_f32().unwrap().iter().copied().fold(0.0, f32::max);
        let picks = std::fs::read_to_string(place.at("r/rounds/0000/picks.csv")).unwrap();
        let score = picks.lines().nth(1).unwrap().split(',').nth(3).unwrap();
        assert_eq!(score.parse::<f64>().unwrap(), f64::from(largest), "{norm}");
    }
}

#[test]
fn arrays_beyond_the_memory_make_the_same_picks() {
    let place = Place::with_run(&run_of(r#"{ id = "badge" }"#, MLP));
    place.good(&["run", "run.toml", "--out", "roomy"]);
    place.good(&["run", "run.toml", "--out", "tight", "--set", "compute.memory=1KiB"]);
    for round in ["0000", "0001"] {
        let picks = |run: &str| std::fs::read(place.at(&format!("{run}/rounds/{round}/picks.csv"))).unwrap();
        assert!(picks("roomy") == picks("tight"), "round {round}");
    }
    let names = |run: &str| lasting(&place.at(run)).into_keys().collect::<Vec<_>>();
    assert_eq!(names("roomy"), names("tight"), "something was left behind");
}

/// Labels that were handed out before a kill are on disk, and are not asked for again.
#[test]
fn labels_asked_for_inside_a_batch_outlive_a_kill() {
    let place = Place::with_run(&run_of(r#"{ id = "galaxy" }"#, MLP));
    place.good(&["run", "run.toml", "--out", "whole"]);
    place.good(&["run", "run.toml", "--out", "killed"]);
    let asked = std::fs::read_to_string(place.at("whole/rounds/0001/revealed.csv")).unwrap();
    let ids: Vec<u64> = asked.lines().skip(1).map(|line| line.split_once(',').unwrap().0.parse().unwrap()).collect();
    assert_eq!(json!(ids), records(&place.at("whole"))[1]["acquired"], "it asks for what it picks, in that order");
    // The process ends in the middle of the second batch, and of a line.
    let run = place.at("killed");
    for round in ["0001", "0002"] {
        std::fs::remove_dir_all(run.join("rounds").join(round)).unwrap();
    }
    let some: String = asked.split_inclusive('\n').take(5).collect();
    std::fs::write(run.join("revealed-0001.csv"), some + "12").unwrap();
    place.good(&["run", "run.toml", "--out", "killed", "--resume"]);
    assert_same(&lasting(&place.at("whole")), &lasting(&run));
}

/// The subset is of samples, not of rows: it stays the same whatever the order of the file.
#[test]
fn select_chooses_from_a_subset_too() {
    let place = Place::new();
    let noise = Stream::new(4, 0);
    let row = |id: u64| [0, 1, 2].map(|class| noise.item_uniform(id, class) as f32 * 4.0);
    let forwards: Vec<u64> = (100..150).collect();
    let backwards: Vec<u64> = (100..150).rev().collect();
    for (name, ids) in [("forwards", &forwards), ("backwards", &backwards)] {
        write_npy(&place.at(&format!("{name}-ids.npy")), &[50], ids).unwrap();
        let rows: Vec<f32> = ids.iter().flat_map(|&id| row(id)).collect();
        write_npy(&place.at(&format!("{name}.npy")), &[50, 3], &rows).unwrap();
    }
    let ask = |name: &str, budget: &str, more: &[&str]| {
        let (input, ids) = (format!("logits={name}.npy"), format!("{name}-ids.npy"));
        let base = ["select", "--strategy", "entropy", "--budget", budget, "--input", &input, "--ids", &ids];
        place.good(&[&base[..], more].concat())
    };
    let subset = ["--subset-size", "12"];
    let all: Vec<String> = ask("forwards", "12", &subset).lines().map(str::to_owned).collect();
    assert_eq!(ask("forwards", "5", &subset).lines().collect::<Vec<_>>(), all[..5], "a ranking of one subset");
    assert_eq!(ask("backwards", "12", &subset).lines().collect::<Vec<_>>(), all);
    assert_ne!(ask("forwards", "12", &[]).lines().collect::<Vec<_>>(), all);
    let answer: Value =
        serde_json::from_str(&ask("forwards", "12", &[&subset[..], &["--format", "json"]].concat())).unwrap();
    assert_eq!((&answer["short"], &answer["subset_size"]), (&json!(true), &json!(12)));
}
