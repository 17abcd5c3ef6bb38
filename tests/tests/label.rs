//! `querist label`: what is asked and answered through the page's server, by whom, and what becomes of answers when the
//! server is killed.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::TcpListener;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use querist_people::{Batch, Journal, Looks, Outcome, Stage};
use querist_tests::cli::Place;
use querist_tests::labelling::{Asked, Kept, answer, ask, class, done, post, who};
use querist_tests::serving::Serving;
use serde_json::{Value, json};

const LABEL: [&str; 3] = ["label", "r", "--no-browser"];

fn waiting(asked: &Asked) -> (Place, Batch, Serving) {
    let place = Place::new();
    let batch = asked.wait_in(&place);
    let serving = Serving::start(&place, &LABEL);
    (place, batch, serving)
}

#[track_caller]
fn say(serving: &Serving, annotator: &str, answers: &[Value]) -> Vec<Value> {
    let done = done(serving, "answers", &json!({ "who": who(annotator), "answers": answers }));
    done["results"].as_array().expect("results").clone()
}

#[track_caller]
fn deal(serving: &Serving, annotator: &str, queue: &str, want: usize) -> Vec<u64> {
    let asked = json!({ "who": who(annotator), "queue": queue, "want": want, "held": [] });
    let dealt = done(serving, "deal", &asked);
    dealt["pictures"].as_array().unwrap().iter().map(|picture| picture["id"].as_u64().unwrap()).collect()
}

fn state(serving: &Serving, annotator: &str) -> Value {
    done(serving, "state", &json!({ "who": who(annotator) }))
}

#[test]
fn only_whoever_has_the_address_may_answer() {
    let (place, _, serving) = waiting(&Asked::of(5));
    let (host, path) = (serving.host().to_owned(), serving.path().to_owned());
    let body = json!({ "who": who("anna"), "answers": [answer("k", 0, class("disc"), None)] }).to_string();
    let send = |path: &str, headers: &str| {
        let length = body.len();
        serving.send(&format!("POST {path} HTTP/1.0\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}"))
    };
    let json_kind = "Content-Type: application/json";
    let answers = format!("{path}answers");
    for (headers, expected) in [
        (format!("Host: example.org\r\n{json_kind}"), 403),
        (json_kind.to_owned(), 403),
        (format!("Host: {host}\r\nOrigin: http://example.org\r\n{json_kind}"), 403),
        (format!("Host: {host}\r\nOrigin: null\r\n{json_kind}"), 403),
        // What a form of another page can send.
        (format!("Host: {host}\r\nContent-Type: text/plain"), 415),
        (format!("Host: {host}"), 415),
        (format!("Host: {host}\r\n{json_kind}\r\nTransfer-Encoding: chunked"), 411),
        (format!("Host: {host}\r\n{json_kind}\r\nContent-Length: 1"), 411),
    ] {
        let (status, ..) = send(&answers, &headers);
        assert_eq!(status, expected, "{headers}");
    }
    let ours = format!("Host: {host}\r\n{json_kind}");
    let other = path.replace(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], "a");
    for wrong in ["/answers", "/", "//answers", &format!("{other}answers"), &format!("{path}../answers")] {
        assert_eq!(send(wrong, &ours).0, 404, "{wrong}");
    }
    for readable in ["", "batch", "style.css"] {
        assert_eq!(send(&format!("{path}{readable}"), &ours).0, 405, "{readable}");
    }
    assert_eq!(serving.get("answers").0, 405);
    for length in ["300000", "99999999999999999999999999"] {
        let request = format!("POST {answers} HTTP/1.1\r\n{ours}\r\nContent-Length: {length}\r\n\r\n{{}}");
        assert_eq!(serving.send(&request).0, 413, "{length}");
    }
    let request = format!("POST {answers} HTTP/1.1\r\n{ours}\r\nContent-Length: -1\r\n\r\n{{}}");
    assert_eq!(serving.send(&request).0, 400);
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS"] {
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        assert_eq!(serving.send(&request).0, 405, "{method}");
    }
    // Nothing of it counted.
    assert_eq!(state(&serving, "anna")["answers"], 0);
    assert_eq!(send(&answers, &format!("{ours}\r\nOrigin: http://{host}")).0, 200);
    assert_eq!(state(&serving, "anna")["answers"], 1);
    // The page may load nothing from elsewhere.
    let (status, head, _) = serving.send(&format!("GET {path}?annotator=anna HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    assert!(status == 200 && head.contains("Content-Security-Policy: default-src 'none'; script-src 'self'"), "{head}");
    let said = serving.interrupt(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn what_is_sent_is_checked() {
    let (_place, _, serving) = waiting(&Asked::of(5));
    let answers = |who: Value, answers: Value| json!({ "who": who, "answers": answers });
    let mut many: Vec<Value> = (0..501).map(|at| answer(&format!("k{at}"), 0, class("disc"), None)).collect();
    let good = answer("k", 0, class("disc"), None);
    for (path, sent) in [
        ("answers", json!([])),
        ("answers", json!("x")),
        ("answers", answers(who(""), json!([good]))),
        ("answers", answers(who(" anna"), json!([good]))),
        ("answers", answers(who(&"a".repeat(65)), json!([good]))),
        ("answers", answers(who("anna\u{202e}\n"), json!([good]))),
        ("answers", answers(who("anna"), json!([answer("", 0, class("disc"), None)]))),
        ("answers", answers(who("anna"), json!([answer("k", 0, json!("perhaps"), None)]))),
        ("answers", answers(who("anna"), Value::Array(std::mem::take(&mut many)))),
        ("deal", json!({ "who": who("anna"), "queue": "open", "want": 100_000, "held": [] })),
        ("deal", json!({ "who": who("anna"), "queue": "all", "want": 1, "held": [] })),
        ("list", json!({ "who": who("anna"), "from": 0, "count": 100_000 })),
        ("examples", json!({ "class": "cat" })),
    ] {
        let (status, body) = post(&serving, path, &sent);
        assert_eq!(status, 400, "{path} {sent}: {body}");
    }
    // Beside one that cannot be taken the others are.
    let strange = [answer("a", 77, class("disc"), None), answer("b", 1, class("cat"), None), good];
    let said = say(&serving, "anna", &strange);
    let words: Vec<&str> = said.iter().map(|one| one["said"].as_str().unwrap()).collect();
    assert_eq!(words, ["foreign", "unknown-class", "new"]);
    assert_eq!(done(&serving, "list", &json!({ "who": who("anna"), "from": 9, "count": 5 }))["pictures"], json!([]));
}

#[test]
fn two_people_share_the_pictures_out_and_see_each_other() {
    let (_place, _, serving) = waiting(&Asked::of(6));
    assert_eq!(deal(&serving, "anna", "open", 3), [0, 1, 2]);
    assert_eq!(deal(&serving, "ben", "open", 5), [3, 4, 5], "nobody is shown what another one has");
    assert_eq!(deal(&serving, "anna", "open", 3), [0, 1, 2], "the same tab gets its own again");
    say(&serving, "anna", &[answer("a0", 0, class("disc"), None), answer("a1", 1, json!("skip"), None)]);
    let seen = state(&serving, "ben");
    assert_eq!((&seen["outcomes"]["label"], &seen["mine"]["left"]), (&json!(1), &json!(5)));
    assert_eq!(state(&serving, "anna")["mine"], json!({ "answered": 1, "left": 5 }));
    // A tab that is closed leaves what it had to others.
    let leaving = json!({ "who": who("ben") });
    done(&serving, "leave", &leaving);
    assert_eq!(deal(&serving, "cleo", "open", 3), [1, 3, 4]);
    done(&serving, "leave", &json!({ "who": who("cleo") }));
    // What was passed by is shown again once nothing else is left, and to others.
    assert_eq!(deal(&serving, "ben", "open", 5), [1, 3, 4, 5]);
    let rest: Vec<Value> = [3, 4, 5].map(|id| answer(&format!("b{id}"), id, class("square"), None)).to_vec();
    say(&serving, "ben", &rest);
    assert_eq!(deal(&serving, "anna", "open", 5), [2]);
    say(&serving, "anna", &[answer("a2", 2, json!("none-of-these"), None)]);
    say(&serving, "ben", &[answer("b1", 1, json!("skip"), None)]);
    assert_eq!(deal(&serving, "anna", "open", 5), [1], "skipped by both");
    let picture = &done(&serving, "list", &json!({ "who": who("anna"), "from": 1, "count": 1 }))["pictures"][0];
    assert_eq!(
        (&picture["skipped"], &picture["outcome"], &picture["mine"]),
        (&json!(true), &json!("open"), &Value::Null)
    );
    let seen = state(&serving, "anna");
    assert_eq!(seen["outcomes"], json!({ "open": 1, "disputed": 0, "label": 4, "rejected": 1, "unsure": 0 }));
    assert_eq!(seen["seconds"], 1.5);
    let examples = done(&serving, "examples", &json!({ "class": "square" }));
    assert_eq!(examples["pictures"], json!([5, 4, 3]), "the last ones first");
}

#[test]
fn two_looks_are_measured_and_a_third_one_decides() {
    let asked = Asked { looks: Looks::Two, ..Asked::of(4) };
    let (_place, _, serving) = waiting(&asked);
    assert_eq!(deal(&serving, "anna", "open", 9), [0, 1, 2, 3]);
    assert_eq!(deal(&serving, "ben", "open", 9), [0, 1, 2, 3], "both look at all");
    assert_eq!(deal(&serving, "cleo", "open", 9), [0_u64; 0], "a third one is not needed");
    let said = |annotator: &str, names: [&str; 4]| -> Vec<Value> {
        let one = |(id, name): (usize, &&str)| answer(&format!("{annotator}{id}"), id as u64, class(name), None);
        names.iter().enumerate().map(one).collect()
    };
    say(&serving, "anna", &said("anna", ["disc", "square", "disc", "stripes"]));
    assert_eq!(state(&serving, "ben")["outcomes"]["open"], 4);
    say(&serving, "ben", &said("ben", ["disc", "square", "square", "stripes"]));
    let seen = state(&serving, "cleo");
    assert_eq!((&seen["outcomes"]["label"], &seen["outcomes"]["disputed"]), (&json!(3), &json!(1)));
    let pair = &seen["agreement"][0];
    assert_eq!(
        (&pair["annotators"], &pair["pictures"], &pair["agreed"]),
        (&json!(["anna", "ben"]), &json!(4), &json!(3))
    );
    // Agreed 3/4; expected (2·1 + 1·2 + 1·1) / 16, so (12 - 5) / (16 - 5).
    assert!((pair["kappa"].as_f64().unwrap() - 7.0 / 11.0).abs() < 1e-12, "{pair}");
    assert_eq!(pair["classes"].as_array().unwrap().len(), 3);

    let asked = json!({ "who": who("cleo"), "queue": "disputed", "want": 5, "held": [] });
    let dealt = done(&serving, "deal", &asked);
    let picture = &dealt["pictures"][0];
    assert_eq!(picture["id"], 2);
    assert_eq!(picture["disputed"], json!([class("disc"), class("square")]));
    assert!(!dealt.to_string().contains("anna"), "whose answers they are is not said before: {dealt}");
    let mut third = answer("c2", 2, class("square"), None);
    third["third_look"] = json!(true);
    let said = say(&serving, "cleo", &[third]);
    let everybody: Vec<&str> =
        said[0]["everybody"].as_array().unwrap().iter().map(|one| one["annotator"].as_str().unwrap()).collect();
    assert_eq!(everybody, ["anna", "ben", "cleo"]);
    assert_eq!(state(&serving, "cleo")["outcomes"]["label"], 4);
}

#[test]
fn two_tabs_with_one_picture_are_told_both_answers() {
    let (place, batch, serving) = waiting(&Asked::of(3));
    let one = say(&serving, "anna", &[answer("tab-1", 0, class("disc"), None)]);
    assert_eq!(one[0], json!({ "said": "new", "number": 0, "id": 0 }));
    let two = say(&serving, "anna", &[answer("tab-2", 0, class("square"), None)]);
    assert_eq!(two[0], json!({ "said": "conflict", "number": 0, "answer": { "class": "disc" }, "id": 0 }));
    // An answer whose answer was lost on the way is sent again, and counts once.
    let again = say(&serving, "anna", &[answer("tab-1", 0, class("disc"), None)]);
    assert_eq!(again[0], json!({ "said": "known", "number": 0, "id": 0 }));
    // Who has seen the other answer may have it replaced, or take it back.
    assert_eq!(say(&serving, "anna", &[answer("tab-2b", 0, class("square"), Some(0))])[0]["said"], "new");
    assert_eq!(say(&serving, "anna", &[answer("u", 0, json!("undo"), Some(1))])[0]["said"], "new");
    assert_eq!(state(&serving, "anna")["outcomes"]["open"], 3);
    // Another person is no conflict, but a dispute.
    say(&serving, "anna", &[answer("a", 0, class("disc"), None)]);
    assert_eq!(say(&serving, "ben", &[answer("b", 0, class("square"), None)])[0]["said"], "new");
    assert_eq!(state(&serving, "anna")["outcomes"]["disputed"], 1);
    drop(serving);
    let journal = Journal::open(&place.at("r"), batch).unwrap();
    assert_eq!((journal.count(), journal.outcomes()[0]), (5, Outcome::Disputed));
}

#[test]
fn files_that_are_no_pictures_are_never_sent() {
    let place = Place::new();
    let mut batch = Asked::of(8).wait_in(&place);
    const SCRIPT: &str = "<script>document.title = 'taken'</script>";
    place.write("pictures/p000000.png", format!("<!doctype html>{SCRIPT}"));
    place.write("pictures/p000001.png", format!("<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>"));
    fs::remove_file(place.at("pictures/p000002.png")).unwrap();
    fs::remove_file(place.at("pictures/p000003.png")).unwrap();
    fs::create_dir(place.at("pictures/p000003.png")).unwrap();
    // A picture by its bytes, whatever it is called; and a script that is called one.
    batch.pictures[4].name = "evil.html".to_owned();
    fs::copy(place.at("pictures/p000005.png"), place.at("pictures/evil.html")).unwrap();
    ask(&place.at("r"), &batch);
    place.write("secret.txt", "secret");
    let serving = Serving::start(&place, &LABEL);
    let get = |path: &str| {
        let (host, below) = (serving.host(), serving.path());
        let mut kept = Kept::to(&serving);
        let bytes = kept.get(path).expect("it answers").1;
        let (status, head, _) = match String::from_utf8(bytes.clone()) {
            Ok(_) => serving.send(&format!("GET {below}{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")),
            Err(_) => (200, String::new(), String::new()),
        };
        (status, head, bytes)
    };
    for (id, expected, says) in [(0, 415, "no PNG, JPEG"), (1, 415, "no PNG"), (2, 404, "gone"), (3, 422, "a folder")] {
        let (status, head, body) = get(&format!("picture/{id}"));
        let body = String::from_utf8(body).unwrap();
        assert!(status == expected && body.contains(says) && !body.contains("script"), "{id}: {status} {body}");
        assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n") && head.contains("nosniff"), "{head}");
    }
    assert_eq!(get("picture/4").2, fs::read(place.at("pictures/evil.html")).unwrap());
    let mut kept = Kept::to(&serving);
    assert_eq!(kept.get("picture/5").unwrap().1, fs::read(place.at("pictures/p000005.png")).unwrap());
    for outside in [
        "picture/8",
        "picture/",
        "picture/-1",
        "picture/+1",
        "picture/5.png",
        "picture/../../secret.txt",
        "picture/..%2f..%2fsecret.txt",
        "picture/p000005.png",
        "../secret.txt",
        "picture/99999999999999999999999",
    ] {
        let (status, _, body) = get(outside);
        assert!(status == 404 && !String::from_utf8_lossy(&body).contains("secret\n"), "{outside}: {status}");
    }
    // A picture that vanishes while people look is said, and can be answered still.
    fs::remove_file(place.at("pictures/p000006.png")).unwrap();
    assert_eq!(get("picture/6").0, 404);
    assert_eq!(say(&serving, "anna", &[answer("k", 6, json!("unsure"), None)])[0]["said"], "new");
}

/// A batch whose pictures lie elsewhere is refused before anything is served.
#[test]
fn batches_that_lead_out_of_their_folder_are_refused() {
    let place = Place::new();
    Asked::of(2).wait_in(&place);
    let file = place.at("r/waiting/batch.json");
    let text = fs::read_to_string(&file).unwrap();
    for name in ["../secret.png", "/etc/passwd", "a/../../b.png"] {
        fs::write(&file, text.replace("p000001.png", name)).unwrap();
        place.call(&LABEL).fails(1, &["leads out of its folder"]);
    }
}

#[test]
fn a_run_that_waits_for_nobody_and_a_port_that_is_taken_are_said() {
    let place = Place::new();
    place.call(&LABEL).fails(2, &["r is no run"]);
    Asked::of(2).wait_in(&place);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = place.call(&[&LABEL[..], &["--port", &port]].concat());
    said.fails(1, &[&format!("cannot listen on port {port} of this machine"), "hint: choose another one"]);
    place.call(&[&LABEL[..], &["--annotator", " "]].concat()).fails(2, &["the name of whoever answers"]);
    // The same address every time, so that pages that are open go on; a second server has another port.
    let first = Serving::start(&place, &[&LABEL[..], &["--annotator", "anna"]].concat());
    let second = Serving::start(&place, &LABEL);
    assert_ne!(first.host(), second.host());
    let batch: Value = serde_json::from_str(&first.get("batch").1).unwrap();
    assert_eq!(
        (&batch["annotator"], &batch["stage"], &batch["pictures"]),
        (&json!("anna"), &json!("round-1"), &json!(2))
    );
    let address = second.address.clone();
    drop((first, second));
    assert_eq!(Serving::start(&place, &LABEL).address, address);
}

#[test]
fn another_batch_takes_the_place_of_one_that_was_answered() {
    let (place, mut batch, serving) = waiting(&Asked::of(3));
    say(&serving, "anna", &[0, 1, 2].map(|id| answer(&format!("k{id}"), id, class("disc"), None)));
    assert_eq!(state(&serving, "anna")["outcomes"]["label"], 3);
    // The run takes its labels, trains, and asks again.
    fs::remove_dir_all(place.at("r/waiting")).unwrap();
    let seen = state(&serving, "anna");
    assert_eq!((&seen["waits"], &seen["generation"]), (&json!(false), &json!(0)));
    batch.stage = Stage::Round(2);
    for picture in &mut batch.pictures {
        picture.id += 100;
    }
    ask(&place.at("r"), &batch);
    let seen = state(&serving, "anna");
    assert_eq!((&seen["waits"], &seen["generation"], &seen["outcomes"]["open"]), (&json!(true), &json!(1), &json!(3)));
    assert_eq!(deal(&serving, "anna", "open", 9), [100, 101, 102]);
    // A tab that sleeps and has the old batch.
    assert_eq!(say(&serving, "anna", &[answer("late", 1, class("disc"), None)])[0]["said"], "foreign");
}

#[test]
fn no_answer_is_lost_or_doubled_when_the_server_is_killed() {
    const ANSWERS: u64 = 1000;
    const KILLS: u64 = 100;
    let place = Place::new();
    let batch = Asked::of(ANSWERS as usize).wait_in(&place);
    let said: Vec<&str> = (0..ANSWERS).map(|id| ["disc", "square", "stripes"][(id * id % 7 % 3) as usize]).collect();
    let mut serving = Serving::start(&place, &LABEL);
    let mut kept = Kept::to(&serving);
    let mut killer = None;
    let (mut acknowledged, mut kills, mut lost) = (HashSet::new(), 0, 0);
    for id in 0..ANSWERS {
        let sent =
            json!({ "who": who("anna"), "answers": [answer(&format!("k{id}"), id, class(said[id as usize]), None)] });
        // Killed at some moment between the question and the answer, ever another one.
        if id % (ANSWERS / KILLS) == 5 {
            let moment = Duration::from_micros(kills * 137 % 3000);
            killer = Some(serving.kill_after(moment));
            kills += 1;
        }
        loop {
            if let Some((status, body)) = kept.post("answers", &sent) {
                let answered: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(status, 200, "{answered}");
                let what = answered["results"][0]["said"].as_str().unwrap().to_owned();
                assert!(what == "new" || what == "known", "{answered}");
                lost += u64::from(what == "known");
                acknowledged.insert(id);
                break;
            }
            killer.take().map(JoinHandle::join);
            // The page does the same: it sends the answer again, under the same key.
            serving = Serving::start(&place, &LABEL);
            kept = Kept::to(&serving);
        }
    }
    killer.take().map(JoinHandle::join);
    drop(serving);
    assert_eq!((kills, acknowledged.len() as u64), (KILLS, ANSWERS));
    println!("{lost} of {KILLS} kills came between the disk and the answer");
    let journal = Journal::open(&place.at("r"), batch).unwrap();
    let mut lines = BTreeMap::new();
    for line in fs::read_to_string(place.at("r/answers.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *lines.entry(line["key"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!((lines.len() as u64, journal.count()), (ANSWERS, ANSWERS), "none twice");
    for (id, outcome) in journal.outcomes().into_iter().enumerate() {
        assert_eq!(outcome, Outcome::Label(journal.batch().class(said[id]).unwrap()), "{id}");
    }
}

#[test]
fn many_pictures_are_dealt_as_fast_as_few() {
    const PICTURES: usize = 200_000;
    let (_place, _, serving) = waiting(&Asked::of(PICTURES));
    let mut kept = Kept::to(&serving);
    let mut times = Vec::new();
    for id in 0..50_u64 {
        let clock = Instant::now();
        let asked = json!({ "who": who("anna"), "queue": "open", "want": 12, "held": [] });
        let (status, dealt) = kept.post("deal", &asked).unwrap();
        assert_eq!(status, 200);
        let dealt: Value = serde_json::from_slice(&dealt).unwrap();
        assert_eq!(dealt["pictures"][0]["id"], id);
        let sent = json!({ "who": who("anna"), "answers": [answer(&format!("k{id}"), id, class("disc"), None)] });
        assert_eq!(kept.post("answers", &sent).unwrap().0, 200);
        times.push(clock.elapsed());
        if id % 10 == 0 {
            assert_eq!(kept.post("state", &json!({ "who": who("anna") })).unwrap().0, 200);
        }
    }
    times.sort();
    println!("dealt and answered in {:?} (median of 50), {:?} at most", times[25], times[49]);
    // A connection that is kept answers the next question, too, after a while.
    sleep(Duration::from_millis(200));
    assert_eq!(kept.get("batch").unwrap().0, 200);
}
