//! Strategies made of others, through the program.

use querist_data::arrays::write_npy;
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, Said, records};
use serde_json::{Value, json};

const ROWS: usize = 400;

/// A folder with everything that the shipped composites' members need.
fn place() -> Place {
    let place = Place::new();
    let mut stream = Stream::new(4, 0);
    let mut array = |name: &str, shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.next_uniform() as f32 * 6.0 - 3.0).collect();
        write_npy(&place.at(name), shape, &values).unwrap();
    };
    array("logits.npy", &[ROWS, 4]);
    array("embeddings.npy", &[ROWS, 8]);
    array("head_w.npy", &[4, 8]);
    array("head_b.npy", &[4]);
    place
}

const INPUTS: [&str; 10] = [
    "--input",
    "logits=logits.npy",
    "--input",
    "embeddings=embeddings.npy",
    "--input",
    "fixed_embeddings=embeddings.npy",
    "--input",
    "head.w=head_w.npy",
    "--input",
    "head.b=head_b.npy",
];

fn call(place: &Place, strategy: &str, params: &Value, more: &[&str]) -> Said {
    let params = params.to_string();
    let args = [&["select", "--strategy", strategy, "--params", &params, "--format", "json"], &INPUTS[..], more];
    place.call(&args.concat())
}

fn select(place: &Place, strategy: &str, params: &Value, more: &[&str]) -> Value {
    let said = call(place, strategy, params, more);
    assert_eq!(said.code, Some(0), "{strategy} {params}: {}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

fn rows(place: &Place, strategy: &str, params: &Value, more: &[&str]) -> Vec<u64> {
    let answer = select(place, strategy, params, more);
    answer["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).collect()
}

#[test]
fn tcm_is_typiclust_at_first_and_margin_afterwards() {
    let place = place();
    for (round, same_as) in [("0", "typiclust"), ("2", "typiclust"), ("3", "margin"), ("9", "margin")] {
        let more = ["--budget", "12", "--round", round, "--seed", "5"];
        let both = [rows(&place, "tcm", &json!({}), &more), rows(&place, same_as, &json!({}), &more)];
        assert_eq!(both[0], both[1], "round {round}");
    }
    let early = json!({"switch_round": 0, "then": {"id": "entropy", "params": {"order": "asc"}}});
    let more = ["--budget", "12"];
    assert_eq!(
        rows(&place, "tcm", &early, &more),
        rows(&place, "entropy", &json!({"order": "asc"}), &more),
        "parameters of members reach them"
    );
}

#[test]
fn refine_picks_from_what_its_members_leave() {
    let place = place();
    let of = |members: Value, depth: usize, num_batches: usize| {
        json!({"members": members, "finish": {"id": "margin"}, "depth": depth, "num_batches": num_batches,
               "init_subset": 100, "max_pool": 90})
    };
    let top = rows(&place, "margin", &json!({}), &["--budget", "10"]);
    let more = ["--budget", "10", "--seed", "2"];
    // Without levels, or with only the member that finishes on all of the pool, nothing is lost.
    assert_eq!(rows(&place, "refine", &of(json!([{"id": "random"}]), 0, 1), &more), top);
    let whole = json!({"members": [{"id": "margin"}], "finish": {"id": "margin"}, "init_subset": 400, "alpha": 1.0});
    assert_eq!(rows(&place, "refine", &whole, &more), top);
    // One batch of random samples leaves no choice; many leave a choice among at most as many as may stay.
    let one = select(&place, "refine", &of(json!([{"id": "random"}]), 1, 1), &more);
    assert_eq!(one["diagnostics"]["level1.pool"], 10.0);
    let many = select(&place, "refine", &of(json!([{"id": "random"}, {"id": "entropy"}]), 2, 60), &more);
    assert_eq!(many["diagnostics"]["level1.pool"], 90.0);
    let scores = |answer: &Value| answer["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).sum::<f64>();
    assert!(scores(&many) > scores(&one), "more batches leave better samples");
    assert_ne!(
        one["rows"],
        select(&place, "refine", &of(json!([{"id": "random"}]), 1, 1), &["--budget", "10"])["rows"]
    );
    // All of the pool is all of the pool.
    assert_eq!(rows(&place, "refine", &of(json!([{"id": "random"}]), 3, 9), &["--budget", "400"]).len(), ROWS);
}

#[test]
fn refine_with_all_its_members_answers_alike_on_any_number_of_threads() {
    let place = place();
    let small = json!({"depth": 2, "num_batches": 18, "init_subset": 150});
    let one = rows(&place, "refine", &small, &["--budget", "8", "--threads", "1"]);
    assert_eq!(one, rows(&place, "refine", &small, &["--budget", "8", "--threads", "3"]));
    assert_eq!(one.len(), 8);
}

#[test]
fn wrong_members_are_refused_by_name() {
    let place = place();
    for (params, words) in [
        (json!({"first": {"id": "typiclst"}}), vec!["member `typiclst`", "did you mean `typiclust`?"]),
        (json!({"then": {"id": "refine"}}), vec!["member `refine`", "made of others itself"]),
        (json!({"then": {"id": "vaal"}}), vec!["member `vaal`"]),
        (json!({"then": {"id": "galaxy"}}), vec!["oracle", "pack it anew"]),
        (json!({"then": {"id": "badge", "params": {"frist": 1}}}), vec!["member `badge`", "did you mean `first`?"]),
        (json!({"switch_round": -1}), vec!["switch_round"]),
        (json!({"then": {}}), vec!["then", "id"]),
    ] {
        let said = call(&place, "tcm", &params, &["--budget", "3"]);
        assert!(said.code.is_some_and(|code| code != 0), "{params}");
        for word in words {
            assert!(said.err.to_lowercase().contains(&word.to_lowercase()), "{params}: `{word}` in: {}", said.err);
        }
    }
}

#[test]
fn labels_that_a_member_has_revealed_are_on_disk_first() {
    let place = place();
    let text = r#"package = "early-galaxy"
version = "0.1.0"

[[strategy]]
id = "early-galaxy"
summary = "Graphs first, margins later"
paper = "None"
combine = "COMBINE"

[strategy.defaults]
"#;
    let switch = "first = { id = \"galaxy\" }\nthen = { id = \"margin\" }\nswitch_round = 1\n";
    place.write("switch.toml", text.replace("COMBINE", "switch-by-round") + switch);
    place.good(&["plugin", "pack", "switch.toml", "--out", "plugins"]);
    let run = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { epochs = 3 }
budget = { initial = 20, batch = 10, rounds = 1 }
strategy = { id = "early-galaxy" }
compute = { threads = 1 }
"#;
    place.write("run.toml", run);
    place.good(&["run", "run.toml", "--out", "r"]);
    let revealed = std::fs::read_to_string(place.at("r/rounds/0000/revealed.csv")).unwrap();
    assert_eq!(revealed.lines().count(), 1 + 10, "{revealed}");

    let refine = "members = [{ id = \"galaxy\" }]\nfinish = { id = \"margin\" }\ndepth = 1\nnum_batches = 1\n\
                  alpha = 0.5\ninit_subset = 10\nmax_pool = 10\n";
    place.write("refine.toml", text.replace("COMBINE", "refine") + refine);
    let said = place.call(&["plugin", "pack", "refine.toml", "--out", "plugins"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("member `galaxy`: it has labels revealed while it picks"), "{}", said.err);
}

#[test]
fn a_run_with_a_composite_keeps_what_its_members_keep() {
    let place = Place::with_run(
        r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { epochs = 3 }
budget = { initial = 20, batch = 10, rounds = 3 }
strategy = { id = "tcm", params = { switch_round = 2, first = { id = "dcom" } } }
compute = { threads = 1 }
"#,
    );
    place.good(&["run", "run.toml", "--out", "r"]);
    let members: Vec<Value> =
        records(&place.at("r"))[..3].iter().map(|record| record["diagnostics"]["switch.member"].clone()).collect();
    assert_eq!(members, [0.0, 0.0, 1.0]);
    assert!(place.at("r/rounds/0001/state.bin").is_file());
}

/// The first folder wins, and the user is told which package that is and which is not.
#[test]
fn the_first_of_two_packages_of_one_name_is_used() {
    let place = place();
    for (folder, first) in [("a", "entropy"), ("b", "margin")] {
        let text = format!(
            "package = \"mine\"\nversion = \"0.1.0\"\n\n[[strategy]]\nid = \"mine\"\nsummary = \"One of two\"\n\
             paper = \"none\"\ncost = \"That of its member.\"\ncombine = \"switch-by-round\"\n\n[strategy.defaults]\n\
             first = {{ id = \"{first}\" }}\nthen = {{ id = \"random\" }}\nswitch_round = 3\n"
        );
        std::fs::write(place.at("mine.toml"), text).unwrap();
        place.good(&["plugin", "pack", "mine.toml", "--out", folder]);
    }
    for (folders, same_as) in [(["a", "b"], "entropy"), (["b", "a"], "margin")] {
        let [first, second] = folders;
        let more = ["--budget", "12", "--plugin-dir", first, "--plugin-dir", second];
        let said = call(&place, "mine", &json!({}), &more);
        assert_eq!(said.err.matches("several packages").count(), 1, "{}", said.err);
        assert!(said.err.contains(&format!("that of {first}/mine is used, not {second}/mine")), "{}", said.err);
        let answer: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(answer["rows"], select(&place, same_as, &json!({}), &["--budget", "12"])["rows"]);
    }
}
