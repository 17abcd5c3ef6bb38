use std::fs;

use querist_people::{Answer, Guess, Looks, Outcome, Picture, Stage, WAITING};

use super::*;

/// Three pictures that wait in a fresh run folder.
fn run() -> tempfile::TempDir {
    let run = tempfile::tempdir().unwrap();
    wait(run.path(), Stage::Round(1));
    run
}

fn wait(run: &Path, stage: Stage) {
    let guess = Some(Guess { class: 1, probability: 0.75 });
    let picture = |id: u64| Picture { id, name: format!("in/{id}.png"), score: None, guess };
    let batch = Batch {
        version: 1,
        stage,
        strategy: "margin".to_owned(),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        folder: run.join("pictures"),
        looks: Looks::One,
        pictures: [40, 7, 19].map(picture).to_vec(),
    };
    let folder = run.join(WAITING);
    fs::create_dir_all(&folder).unwrap();
    batch.write(&folder).unwrap();
}

fn post(backend: &Backend, path: &str, body: &Value) -> (String, String) {
    let body = body.to_string();
    let reply = backend.answer(&Asked { method: Method::Post, path, query: "", body: body.as_bytes() });
    (reply.status().to_owned(), String::from_utf8_lossy(reply.sent()).into_owned())
}

fn task(id: u64) -> Value {
    json!({ "id": 1000 + id, "data": { "image": "x", "querist_id": id } })
}

fn annotation(number: u64, by: u64, label: &str, at: u64) -> Value {
    let result = json!([{ "id": "a", "type": "choices", "value": { "choices": [label] } }]);
    json!({ "id": number, "completed_by": by, "result": result, "lead_time": 1.5, "updated_at": at })
}

fn outcomes(backend: &Backend) -> Vec<Outcome> {
    backend.now().unwrap().journal.as_ref().unwrap().outcomes()
}

#[test]
fn predictions_are_ranks_in_the_order_of_the_question() {
    let run = run();
    let backend = Backend::new(run.path(), false).unwrap();
    let tasks = json!({ "tasks": [task(19), task(40), task(8), { "id": 4, "data": {} }] });
    let asked =
        backend.answer(&Asked { method: Method::Post, path: "predict", query: "", body: tasks.to_string().as_bytes() });
    let said: Value = serde_json::from_slice(asked.sent()).unwrap();
    let scores: Vec<f64> =
        said["results"].as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [2.0 / 3.0, 0.0, 1.0, 1.0], "what is not asked for comes last");
    assert_eq!(said["results"][0]["result"], json!([]), "no guess unless it is asked for");
    assert_eq!(said["model_version"], "querist-round-1");
    let with_guess = Backend::new(run.path(), true).unwrap();
    let (_, said) = post(&with_guess, "predict", &json!({ "tasks": [task(7)] }));
    assert!(said.contains("dog"), "{said}");
}

#[test]
fn an_answer_is_on_the_disk_before_the_reply() {
    let run = run();
    let backend = Backend::new(run.path(), false).unwrap();
    let event = json!({ "action": "ANNOTATION_CREATED", "annotation": annotation(1, 5, "dog", 1), "task": task(7) });
    for _ in 0..2 {
        assert_eq!(post(&backend, "webhook", &event).0, "200 OK");
        let lines = fs::read_to_string(run.path().join("answers.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 1, "told twice, recorded once");
    }
    assert_eq!(outcomes(&backend), [Outcome::Open, Outcome::Label(1), Outcome::Open]);
    // The same person on second thoughts.
    let event =
        json!({ "action": "ANNOTATION_UPDATED", "annotation": annotation(1, 5, "__none__", 2), "task": task(7) });
    assert_eq!(post(&backend, "webhook", &event).0, "200 OK");
    assert_eq!(outcomes(&backend)[1], Outcome::Rejected);
    let state = backend.now().unwrap();
    let effective = state.journal.as_ref().unwrap().effective(7);
    assert_eq!((effective.len(), effective[0].answer), (1, Answer::NoneOfThese));
    assert_eq!((effective[0].annotator.as_str(), effective[0].seconds), ("label-studio 5", Some(1.5)));
}

#[test]
fn several_annotations_at_once_find_their_tasks() {
    let run = run();
    let backend = Backend::new(run.path(), false).unwrap();
    let of = |number: u64, picture: u64, label: &str| {
        let mut one = annotation(number, 5, label, 1);
        one["task"] = json!(1000 + picture);
        one
    };
    let event = json!({
        "action": "ANNOTATIONS_CREATED",
        "annotation": [of(1, 19, "cat"), of(2, 40, "__unsure__")],
        "task": [task(40), task(19)],
    });
    assert_eq!(post(&backend, "webhook", &event).0, "200 OK");
    assert_eq!(outcomes(&backend), [Outcome::Unsure, Outcome::Open, Outcome::Label(0)]);
    assert_eq!(backend.open().unwrap(), Some(1));
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_reason() {
    let run = run();
    let backend = Backend::new(run.path(), false).unwrap();
    let event = |annotation: Value, task: Value| {
        let action = "ANNOTATION_CREATED";
        json!({ "action": action, "annotation": annotation, "task": task })
    };
    let mut empty = annotation(1, 5, "cat", 1);
    empty["result"] = json!([]);
    for (event, status, part) in [
        (event(annotation(1, 5, "cat", 1), task(8)), "422", "sample 8 is not asked for"),
        (event(annotation(1, 5, "ca\u{1b}[31mt", 1), task(7)), "422", "class `ca"),
        (event(empty, task(7)), "422", "an empty answer"),
        (event(annotation(1, 5, "cat", 1), json!({ "id": 3, "data": {} })), "422", "without `querist_id`"),
        (
            json!({ "action": "ANNOTATION_CREATED", "annotation": annotation(1, 5, "cat", 1) }),
            "422",
            "without its task",
        ),
        (json!({ "annotation": 3 }), "400", "missing field `action`"),
        (json!([]), "400", "nothing that Label Studio sends"),
    ] {
        let (found, said) = post(&backend, "webhook", &event);
        assert!(found.starts_with(status) && said.contains(part) && !said.contains('\u{1b}'), "{found}: {said}");
    }
    let mut skipped = annotation(1, 5, "cat", 1);
    skipped["was_cancelled"] = json!(true);
    for event in [event(skipped, task(7)), json!({ "action": "PROJECT_UPDATED", "project": { "id": 1 } })] {
        assert_eq!(post(&backend, "webhook", &event).0, "200 OK");
    }
    assert_eq!(backend.open().unwrap(), Some(3), "nothing was recorded");
    let deep = "[".repeat(100_000);
    let reply = backend.answer(&Asked { method: Method::Post, path: "predict", query: "", body: deep.as_bytes() });
    assert!(reply.status().starts_with("400"));
    assert!(
        backend.answer(&Asked { method: Method::Get, path: "../x", query: "", body: b"" }).status().starts_with("404")
    );
}

#[test]
fn the_next_batch_is_found_when_it_waits() {
    let run = run();
    let backend = Backend::new(run.path(), false).unwrap();
    fs::remove_dir_all(run.path().join(WAITING)).unwrap();
    assert_eq!(backend.open().unwrap(), None);
    let event = json!({ "action": "ANNOTATION_CREATED", "annotation": annotation(1, 5, "dog", 1), "task": task(7) });
    assert!(post(&backend, "webhook", &event).0.starts_with("422"), "nothing waits");
    wait(run.path(), Stage::Round(2));
    assert_eq!(backend.stage().unwrap().as_deref(), Some("round-2"));
    assert!(post(&backend, "setup", &json!({})).1.contains("querist-round-2"));
    assert_eq!(post(&backend, "webhook", &event).0, "200 OK");
    assert!(post(&backend, "train", &json!({})).1.contains("waiting for labels"));
}
