//! `querist label export`, `import` and `serve`: answers by way of files and of Label Studio, on the real program.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_people::{Batch, Outcome, Stage};
use querist_tests::cli::{Place, records, steers};
use querist_tests::serving::Serving;
use querist_tests::waiting::{outcomes, wait};
use serde_json::{Value, json};

fn asked() -> Place {
    let place = Place::new();
    wait(&place, Stage::Round(1));
    place
}

#[test]
fn a_table_goes_out_and_comes_back() {
    let place = asked();
    let said = place.call(&["label", "export", "r", "--format", "csv", "--out", "batch.csv"]);
    assert_eq!((said.code, said.err.trim()), (Some(0), "5 pictures of round-1 in batch.csv, 5 of them open"));
    let table = fs::read_to_string(place.at("batch.csv")).unwrap();
    assert!(table.starts_with("rank,id,name,label,annotator,seconds,score\n1,40,in/40.png,,,,\n2,7,"), "{table}");
    let answered = table.replace("40.png,,", "40.png,cat,").replace("/7.png,,", "/7.png,__none__,");
    place.write("batch.csv", answered);
    let import = ["label", "import", "r", "batch.csv", "--format", "csv"];
    let line = "2 new (0 in the place of others), 0 known, 0 conflicts, 0 left out, 3 without an answer; 3 of 5 \
                pictures are open\n";
    assert_eq!(place.good(&import), line);
    let answers = fs::read(place.at("r/answers.jsonl")).unwrap();
    assert!(place.good(&import).starts_with("0 new (0 in the place of others), 2 known"));
    assert_eq!(fs::read(place.at("r/answers.jsonl")).unwrap(), answers);
    assert_eq!(outcomes(&place)[..3], [(40, Outcome::Label(0)), (7, Outcome::Rejected), (19, Outcome::Open)]);
    place.good(&["label", "export", "r", "--format", "folder", "--out", "rest", "--open", "--pictures", "link"]);
    let names = ["0003-19-19.png", "0004-3-3.png", "0005-12-12.png"];
    for name in names {
        fs::rename(place.at("rest").join(name), place.at("rest/straße").join(name)).unwrap();
    }
    let said =
        place.call(&["label", "import", "r", "rest", "--format", "folder", "--annotator", "anna", "--log", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let event: Value = serde_json::from_str(said.err.lines().last().unwrap()).unwrap();
    assert_eq!((&event["event"], &event["new"], &event["open"]), (&json!("imported"), &json!(3), &json!(0)));
    assert!(fs::read_to_string(place.at("r/answers.jsonl")).unwrap().contains("\"annotator\":\"anna\""));
}

#[test]
fn what_cannot_be_taken_is_told_whole_and_nothing_is_taken() {
    let place = asked();
    place.write("t.csv", "id,label,annotator\n40,cat,ann\n99,cat,ann\n7,\u{1b}[31mdog,ann\n3,,bob\n");
    let import =
        |more: &[&str]| place.call(&[&["label", "import", "r", "t.csv", "--format", "csv"][..], more].concat());
    let said = import(&[]);
    said.fails(2, &["nothing of t.csv was imported", "3 cannot be taken", "--skip-wrong"]);
    said.fails(2, &["line 3: sample 99 is not asked for", "line 4: class `", "line 5: an empty answer"]);
    assert!(!said.err.lines().any(steers), "{}", said.err);
    assert!(outcomes(&place).iter().all(|(_, outcome)| *outcome == Outcome::Open));
    let said = import(&["--skip-wrong"]);
    assert!(said.code == Some(0) && said.out.starts_with("1 new") && said.out.contains("3 left out"), "{}", said.err);
    assert!(said.err.contains("warning: 3 left out"), "{}", said.err);
    // Somebody says otherwise.
    place.write("t.csv", "id,label,annotator\n40,straße,bob\n7,cat,bob\n");
    let conflict = "line 2: bob says `straße` of `in/40.png`, where ann says `cat` (answer 0)";
    import(&["--skip-wrong"]).fails(2, &["1 contradict what was recorded", conflict, "--replace"]);
    assert_eq!(outcomes(&place)[1].1, Outcome::Open, "nothing was taken");
    let said = import(&["--replace"]);
    assert!(
        said.code == Some(0) && said.out.starts_with("2 new (1 in the place of others)"),
        "{}{}",
        said.out,
        said.err
    );
    assert_eq!(outcomes(&place)[0].1, Outcome::Label(2));
    // Many problems are counted, not listed.
    place.write("t.csv", format!("id,label\n{}", "99,cat\n".repeat(3000)));
    let said = import(&[]);
    said.fails(2, &["3000 cannot be taken", "and 2950 more"]);
    assert!(said.err.lines().count() < 60);
}

#[test]
fn calls_that_cannot_work_are_refused() {
    let place = asked();
    let export = |args: &[&str]| place.call(&[&["label", "export", "r", "--format"][..], args].concat());
    export(&["coco", "--out", "o", "--guesses"]).fails(2, &["`--guesses` is for csv, label-studio and parquet"]);
    export(&["csv", "--out", "o", "--pictures", "link"]).fails(2, &["`--pictures` is for folder"]);
    export(&["csv", "--out", "o", "--address", "x"]).fails(2, &["`--address` is for label-studio"]);
    export(&["csv", "--out", "r"]).fails(2, &["r is there, and nothing is replaced"]);
    export(&["xlsx", "--out", "o"]).fails(2, &["label-studio", "fiftyone"]);
    fs::remove_file(place.at("pictures/in/7.png")).unwrap();
    export(&["cvat", "--out", "o"]).fails(2, &["pictures/in/7.png: no such file"]);
    assert!(!place.at("o").exists());
    place.call(&["label", "import", "r", "gone.csv", "--format", "csv"]).fails(2, &["gone.csv: no such file"]);
    fs::remove_dir_all(place.at("r/waiting")).unwrap();
    export(&["csv", "--out", "o"]).fails(2, &["r is no run"]);
    place.call(&["label", "serve", "r"]).fails(2, &["--label-studio"]);
    place.call(&["label", "serve", "pictures", "--label-studio"]).fails(2, &["pictures is no run folder"]);
}

fn post(serving: &Serving, name: &str, body: &Value) -> (u16, String) {
    let body = body.to_string();
    let (path, host, length) = (serving.path(), serving.host(), body.len());
    let head = format!("POST {path}{name} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    let (status, _, said) = serving.send(&format!("{head}Content-Length: {length}\r\n\r\n{body}"));
    (status, said)
}

fn event(id: u64, label: &str) -> Value {
    let result = json!([{ "type": "choices", "value": { "choices": [label] } }]);
    let annotation = json!({ "id": 100 + id, "completed_by": 1, "result": result, "updated_at": "now" });
    let task = json!({ "id": id, "data": { "querist_id": id } });
    json!({ "action": "ANNOTATION_CREATED", "annotation": annotation, "task": task })
}

#[test]
fn label_studio_asks_and_tells_behind_a_token() {
    let place = asked();
    let serving = Serving::start(&place, &["label", "serve", "r", "--label-studio"]);
    assert_eq!(serving.get("health").0, 200);
    let (status, said) = post(&serving, "predict", &json!({ "tasks": [{ "id": 1, "data": { "querist_id": 19 } }] }));
    assert!(status == 200 && said.contains("\"score\":0.4") && said.contains("querist-round-1"), "{said}");
    assert_eq!(post(&serving, "webhook", &event(7, "cat")).0, 200);
    assert_eq!(outcomes(&place)[1], (7, Outcome::Label(0)), "it is on the disk");
    assert_eq!(post(&serving, "webhook", &event(99, "cat")).0, 422);
    for request in [
        format!("GET /health HTTP/1.0\r\nHost: {}\r\n\r\n", serving.host()),
        format!("GET {}../health HTTP/1.0\r\nHost: {}\r\n\r\n", serving.path(), serving.host()),
    ] {
        assert_eq!(serving.send(&request).0, 404);
    }
    let foreign = format!("GET {}health HTTP/1.0\r\nHost: evil.example\r\n\r\n", serving.path());
    assert_eq!(serving.send(&foreign).0, 403);
    // The last answers come, and the run that goes on cannot: its file is none.
    for id in [40, 19, 3, 12] {
        assert_eq!(post(&serving, "webhook", &event(id, "__unsure__")).0, 200);
    }
    assert!(post(&serving, "train", &json!({})).1.contains("training"));
    sleep(Duration::from_secs(2));
    let said = serving.interrupt(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("every picture has an outcome: the run goes on"), "{}", said.err);
}

/// Pictures of nothing, which are enough to train on.
fn people_run() -> Place {
    let place = Place::with_run(
        r#"version = 1
oracle = "people"
dataset = { name = "pictures", path = "pool", classes = ["cat", "dog"] }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 2, minibatch = 16 }
budget = { initial = 12, batch = 6, rounds = 1 }
strategy = { id = "margin" }
compute = { threads = 1 }
"#,
    );
    fs::create_dir(place.at("pool")).unwrap();
    for id in 0..40_u8 {
        let pixel = |x: u32, y: u32| image::Luma([id.wrapping_mul(37) ^ (x * 23 + y * 51) as u8]);
        image::GrayImage::from_fn(8, 8, pixel).save(place.at(&format!("pool/{id}.png"))).unwrap();
    }
    place.good(&["run", "run.toml", "--out", "r"]);
    place
}

#[test]
fn a_run_goes_on_by_itself_when_label_studio_has_answered() {
    let place = people_run();
    let serving = Serving::start(&place, &["label", "serve", "r", "--label-studio"]);
    let mut stages = Vec::new();
    while let Some(batch) = Batch::read(&place.at("r")).unwrap() {
        stages.push(batch.stage.to_string());
        for picture in &batch.pictures {
            let label = ["cat", "dog", "__none__"][(picture.id % 3) as usize];
            let (status, said) = post(&serving, "webhook", &event(picture.id, label));
            assert_eq!(status, 200, "{said}");
        }
        // The batch goes once its round is there, and the next one waits once it is trained, or the run is at its end.
        let is_over = || fs::read_to_string(place.at("r/rounds.jsonl")).is_ok_and(|rounds| rounds.lines().count() == 2);
        let clock = Instant::now();
        while !is_over() && Batch::read(&place.at("r")).unwrap().is_none_or(|now| now.stage == batch.stage) {
            assert!(clock.elapsed() < Duration::from_secs(300), "the run does not go on");
            sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(stages, ["initial", "round-0"], "{}", serving.interrupt(&place).err);
    assert_eq!(records(&place.at("r")).len(), 2);
}

#[test]
fn answers_in_a_file_take_a_run_to_its_end() {
    let place = people_run();
    for stage in ["initial", "round-0"] {
        if stage == "round-0" {
            // A page that is started now has examples from the labels before: of this batch there are none yet.
            let serving = Serving::start(&place, &["label", "r", "--no-browser"]);
            let (status, said) = post(&serving, "examples", &json!({ "class": "cat" }));
            let found: Value = serde_json::from_str(&said).unwrap();
            let first = found["pictures"][0].as_u64();
            assert!(status == 200 && first.is_some_and(|id| id < 40), "{said}");
        }
        let out = format!("{stage}.csv");
        place.good(&["label", "export", "r", "--format", "csv", "--out", &out]);
        let mut table = fs::read_to_string(place.at(&out)).unwrap();
        for id in 0..40 {
            table = table.replace(&format!(",{id}.png,,"), &format!(",{id}.png,{},", ["cat", "dog"][id % 2]));
        }
        place.write(&out, table);
        assert!(place.good(&["label", "import", "r", &out, "--format", "csv"]).contains("; 0 of "));
        place.good(&["run", "run.toml", "--out", "r", "--resume"]);
    }
    assert_eq!(records(&place.at("r")).len(), 2);
}

#[test]
fn killed_servers_lose_nothing_that_they_took() {
    let place = asked();
    for (number, id) in [40, 7, 19, 3].into_iter().enumerate() {
        let serving = Serving::start(&place, &["label", "serve", "r", "--label-studio", "--no-train"]);
        for _ in 0..2 {
            assert_eq!(post(&serving, "webhook", &event(id, "cat")).0, 200);
        }
        drop(serving); // It is killed.
        assert_eq!(fs::read_to_string(place.at("r/answers.jsonl")).unwrap().lines().count(), number + 1);
    }
    assert!(outcomes(&place)[..4].iter().all(|(_, outcome)| *outcome == Outcome::Label(0)));
}
