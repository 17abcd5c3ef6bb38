//! Every format: written, answered as its tool would, read back, and whatever can be wrong with what comes back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use querist_people::formats::{Export, Format, FormatError, How, NONE, Pictures, Plan, UNSURE, read, write};
use querist_people::{
    ANSWERS, Answer, Batch, Guess, Journal, Looks, NewAnswer, Outcome, Picture, Recorded, Stage, WAITING,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const CLASSES: [&str; 3] = ["cat", "dog & \"co\" <x>", "straße"];
const IDS: [u64; 6] = [40, 7, 19, 3, 12, 8];

/// A run folder whose batch waits, with its pictures.
struct Run {
    folder: TempDir,
}

impl Run {
    fn new() -> Self {
        Self::with(Looks::One, &CLASSES)
    }

    fn with(looks: Looks, classes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("pictures");
        fs::create_dir_all(pictures.join("in, or out")).unwrap();
        let name = |id: u64| match id {
            7 => "a.jpg".to_owned(),
            19 => "in, or out/a.jpg".to_owned(),
            id => format!("in, or out/é \"{id}\".png"),
        };
        let guess = |id: u64| (id % 2 == 1).then_some(Guess { class: 1, probability: 0.625 });
        let picture = |&id: &u64| Picture { id, name: name(id), score: Some(id as f64 / 8.0), guess: guess(id) };
        let batch = Batch {
            version: 1,
            stage: Stage::Round(2),
            strategy: "margin".to_owned(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            folder: pictures.clone(),
            looks,
            pictures: IDS.iter().map(picture).collect(),
        };
        for picture in &batch.pictures {
            fs::write(pictures.join(&picture.name), format!("picture {}", picture.id)).unwrap();
        }
        fs::create_dir(folder.path().join(WAITING)).unwrap();
        batch.write(&folder.path().join(WAITING)).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn journal(&self) -> Journal {
        let run = self.folder.path();
        Journal::open(run, Batch::read(run).unwrap().unwrap()).unwrap()
    }

    fn say(&self, id: u64, annotator: &str, answer: Answer) {
        let key = format!("{id} {annotator} {answer:?}");
        let (annotator, source) = (annotator.to_owned(), "page".to_owned());
        let (seconds, guess_shown, third_look, seen) = (Some(2.5), false, false, None);
        let new = NewAnswer { key, id, annotator, answer, seconds, guess_shown, third_look, source, seen };
        assert!(matches!(self.journal().record(vec![new]).unwrap()[..], [Recorded::New(_)]));
    }

    fn export(&self, format: Format, name: &str) -> PathBuf {
        let journal = self.journal();
        let export = Export::of(&journal, false);
        write(format, &export, &self.at(name)).unwrap();
        self.at(name)
    }

    fn plan(&self, format: Format, path: &Path) -> Plan {
        self.plan_as(&How { format, annotator: None, replace: false }, path).unwrap()
    }

    fn plan_as(&self, how: &How, path: &Path) -> Result<Plan, FormatError> {
        Plan::of(&self.journal(), read(how.format, path)?, how)
    }

    /// Takes a file in which nothing is wrong; says how many answers are new and known.
    #[track_caller]
    fn import(&self, format: Format, path: &Path) -> (usize, usize) {
        let plan = self.plan(format, path);
        assert!(plan.wrong.is_empty() && plan.conflicts.is_empty(), "{format}: {plan:?}");
        let recorded = plan.record(&mut self.journal()).unwrap();
        assert!(recorded.iter().all(|one| matches!(one, Recorded::New(_))), "{format}: {recorded:?}");
        (recorded.len(), plan.known)
    }

    fn outcomes(&self) -> BTreeMap<u64, Outcome> {
        IDS.into_iter().zip(self.journal().outcomes()).collect()
    }

    fn answers(&self) -> Vec<u8> {
        fs::read(self.at(ANSWERS)).unwrap()
    }
}

/// What people say in these tests: one picture stays open.
fn said() -> BTreeMap<u64, &'static str> {
    BTreeMap::from([(40, CLASSES[1]), (7, NONE), (19, CLASSES[2]), (3, UNSURE), (12, CLASSES[0])])
}

fn wanted() -> BTreeMap<u64, Outcome> {
    use Outcome::{Label, Open, Rejected, Unsure};
    BTreeMap::from([(40, Label(1)), (7, Rejected), (19, Label(2)), (3, Unsure), (12, Label(0)), (8, Open)])
}

/// Answers an exported file as its tool would: in another order, and with whatever else tools write.
fn answer(format: Format, path: &Path) {
    match format {
        Format::Csv => answer_table(path),
        Format::Parquet => panic!("no tool here writes these"),
        Format::Folder => {
            for (name, label) in named(path) {
                fs::rename(path.join(&name), path.join(label).join(&name)).unwrap();
            }
            fs::write(path.join(".DS_Store"), "x").unwrap();
            fs::write(path.join(CLASSES[0]).join("Thumbs.db"), "x").unwrap();
        }
        Format::LabelStudio => answer_tasks(&path.join("tasks.json")),
        Format::Coco => {
            // Tools number images, categories and annotations anew.
            let path = path.join("annotations.json");
            let mut file = json_of(&path);
            file["images"].as_array_mut().unwrap().reverse();
            for (number, image) in file["images"].as_array_mut().unwrap().iter_mut().enumerate() {
                image["id"] = json!(number + 100);
            }
            file["categories"].as_array_mut().unwrap().reverse();
            let number = |all: &Value, key: &str, wanted: &str| {
                all.as_array().unwrap().iter().find(|one| one[key] == wanted).unwrap()["id"].clone()
            };
            let of = |(id, label): (u64, &str)| {
                let image = file["images"].as_array().unwrap().iter();
                let image = image.clone().find(|image| sample(image["file_name"].as_str().unwrap()) == id).unwrap();
                json!({ "image_id": image["id"], "category_id": number(&file["categories"], "name", label), "bbox": [] })
            };
            file["annotations"] = said().into_iter().map(of).collect();
            fs::write(path, file.to_string()).unwrap();
        }
        Format::Cvat => {
            let path = path.join("annotations.xml");
            let mut text = fs::read_to_string(&path).unwrap();
            for (id, label) in said() {
                let label = label.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
                let at = text.find(&format!("-{id}-")).unwrap();
                let end = at + text[at..].find('>').unwrap() + 1;
                text.insert_str(end, &format!("<tag label=\"{label}\" source=\"manual\"><attribute/></tag>"));
            }
            fs::write(path, text).unwrap();
        }
        Format::FiftyOne => {
            let path = path.join("labels.json");
            let mut file = json_of(&path);
            // Names instead of numbers, as it exports a dataset without a list of classes.
            let labels = file["labels"].as_object_mut().unwrap();
            for (name, target) in labels.iter_mut() {
                *target = said().get(&sample(name)).map_or(Value::Null, |label| json!(label));
            }
            file.as_object_mut().unwrap().remove("classes");
            fs::write(path, file.to_string()).unwrap();
        }
    }
}

fn answer_table(path: &Path) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), &["rank", "id", "name", "label", "annotator", "seconds", "score"][..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let ranks: Vec<(&str, u64)> = rows.iter().map(|row| (&row[0], row[1].parse().unwrap())).collect();
    assert_eq!(ranks[..2], [("1", 40), ("2", 7)], "in the order of the batch");
    let mut writer = csv::Writer::from_path(path).unwrap();
    writer.write_record(["Notes", "LABEL", "name", "id", "annotator"]).unwrap();
    for row in rows.iter().rev() {
        let id: u64 = row[1].parse().unwrap();
        let label = said().get(&id).map_or(String::new(), |label| format!(" {label} "));
        let by = if label.is_empty() { "" } else { "bob" };
        writer.write_record(["hm, \"well\"", &label, &row[2], &row[1], by]).unwrap();
    }
    writer.flush().unwrap();
}

fn answer_tasks(path: &Path) {
    let mut tasks = json_of(path);
    for (place, task) in tasks.as_array_mut().unwrap().iter_mut().enumerate() {
        let score = &task["predictions"][0]["score"];
        assert_eq!(score.as_f64(), Some(place as f64 / 6.0), "the first is shown first");
        assert_eq!(task["predictions"][0]["result"], json!([]), "no guess unless it is asked for");
        task["id"] = json!(place + 500);
        let label = said().get(&task["data"]["querist_id"].as_u64().unwrap()).copied();
        let choice =
            |label| json!([{ "id": "q", "from_name": "l", "type": "choices", "value": { "choices": [label] } }]);
        let skipped = json!({ "id": 1, "completed_by": 1, "result": [], "was_cancelled": true });
        let given = label.map(|label| json!({ "id": 2, "completed_by": 1, "result": choice(label), "lead_time": 3.5 }));
        task["annotations"] = [Some(skipped), given].into_iter().flatten().collect();
    }
    tasks.as_array_mut().unwrap().reverse();
    fs::write(path, tasks.to_string()).unwrap();
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The sample in a name such as `0001-40-a.jpg`.
fn sample(name: &str) -> u64 {
    name.split('-').nth(1).unwrap().parse().unwrap()
}

/// Answers by the names of files in a folder.
fn named(path: &Path) -> Vec<(String, &'static str)> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names.sort();
    let ids: Vec<u64> = names.iter().map(|name| sample(name)).collect();
    assert_eq!(ids, IDS, "names sort by rank");
    names.into_iter().filter_map(|name| Some((name.clone(), *said().get(&sample(&name))?))).collect()
}

#[test]
fn answers_of_every_tool_come_back() {
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Parquet) {
        let run = Run::new();
        let out = run.export(format, "out");
        answer(format, &out);
        assert_eq!(run.import(format, &out), (5, 0), "{format}");
        assert_eq!(run.outcomes(), wanted(), "{format}");
        let after = run.answers();
        assert_eq!(run.import(format, &out), (0, 5), "{format}: read twice");
        assert_eq!(run.answers(), after);
    }
}

#[test]
fn what_is_known_goes_from_run_to_run_in_every_format() {
    let full = Run::new();
    answer(Format::Csv, &full.export(Format::Csv, "answers.csv"));
    full.import(Format::Csv, &full.at("answers.csv"));
    for format in Format::ALL {
        let out = full.export(format, format.name());
        let before = full.answers();
        assert_eq!(full.import(format, &out), (0, 5), "{format}: nothing is news to who wrote it");
        assert_eq!(full.answers(), before);
        let other = Run::new();
        assert_eq!(other.import(format, &out), (5, 0), "{format}");
        assert_eq!(other.outcomes(), wanted(), "{format}");
        let journal = other.journal();
        let by = &journal.effective(40)[0];
        let keeps_who = matches!(format, Format::Csv | Format::Parquet);
        assert_eq!(by.annotator, if keeps_who { "bob" } else { format.name() });
        // Part of it is answered, and the rest later.
        assert_eq!(full.plan(format, &out).unanswered, 1, "{format}");
    }
}

#[test]
fn a_second_part_adds_to_the_first() {
    let run = Run::new();
    let out = run.export(Format::Csv, "out.csv");
    let table = fs::read_to_string(&out).unwrap();
    fs::write(&out, table.replace(",a.jpg,,", ",a.jpg,cat,")).unwrap();
    assert_eq!(run.import(Format::Csv, &out), (1, 0));
    fs::write(run.at("more.csv"), "name;label;id\r\na.jpg;cat;7\r\n;__none__;12\r\n\"in, or out/a.jpg\";straße;\r\n")
        .unwrap();
    assert_eq!(run.import(Format::Csv, &run.at("more.csv")), (2, 1), "semicolons, names and numbers");
    let outcomes = run.outcomes();
    assert_eq!([outcomes[&7], outcomes[&12], outcomes[&19]], [Outcome::Label(0), Outcome::Rejected, Outcome::Label(2)]);
}

#[test]
fn guesses_are_written_where_they_are_asked_for_and_their_being_seen_is_recorded() {
    for format in [Format::Csv, Format::Parquet, Format::LabelStudio] {
        let run = Run::new();
        run.say(3, "ann", Answer::Class(0));
        run.say(40, "ann", Answer::Class(0));
        let journal = run.journal();
        let mut export = Export::of(&journal, false);
        export.guesses = true;
        write(format, &export, &run.at("out")).unwrap();
        let other = Run::new();
        assert_eq!(other.import(format, &run.at("out")).0, 2);
        let journal = other.journal();
        assert_eq!((journal.effective(3)[0].guess_shown, journal.effective(40)[0].guess_shown), (true, false));
    }
}

#[test]
fn only_what_is_open_is_written_where_that_is_asked_for() {
    let run = Run::new();
    run.say(40, "ann", Answer::Class(0));
    run.say(7, "ann", Answer::Class(0));
    run.say(7, "bob", Answer::Class(1));
    let journal = run.journal();
    let export = Export::of(&journal, true);
    let ranks: Vec<(usize, u64)> = export.rows.iter().map(|row| (row.rank, row.picture.id)).collect();
    assert_eq!(ranks, [(2, 7), (3, 19), (4, 3), (5, 12), (6, 8)], "what is disputed is open, and ranks stay");
}

#[test]
fn a_contradiction_names_both_answers_and_changes_nothing() {
    let run = Run::new();
    run.say(40, "ann", Answer::Class(0));
    run.say(7, "bob", Answer::NoneOfThese);
    run.say(19, "bob", Answer::Class(2));
    let table = "id,label,annotator\n40,__unsure__,bob\n7,cat,bob\n19,straße,ann\n3,cat,bob\n";
    fs::write(run.at("t.csv"), table).unwrap();
    let plan = run.plan(Format::Csv, &run.at("t.csv"));
    let told: Vec<String> = plan.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: bob says `__unsure__` of `in, or out/é \"40\".png`, where ann says `cat` (answer 0)",
            "line 3: bob says `cat` of `a.jpg`, where bob says `__none__` (answer 1)",
        ]
    );
    assert_eq!((plan.new.len(), plan.known), (2, 0), "a second person who agrees is news");
    // The file decides where that is said.
    let how = How { format: Format::Csv, annotator: None, replace: true };
    let plan = run.plan_as(&how, &run.at("t.csv")).unwrap();
    assert_eq!((plan.new.len(), plan.replacing, plan.conflicts.len()), (4, 2, 0));
    plan.record(&mut run.journal()).unwrap();
    let outcomes = run.outcomes();
    assert_eq!([outcomes[&40], outcomes[&7], outcomes[&19]], [Outcome::Unsure, Outcome::Label(0), Outcome::Label(2)]);
    assert_eq!(run.journal().effective(40).len(), 2, "what ann said is kept");
    let after = run.answers();
    let plan = run.plan_as(&how, &run.at("t.csv")).unwrap();
    assert_eq!((plan.new.len(), plan.known), (0, 4), "and is known the next time");
    assert_eq!(run.answers(), after);
    // Where two look, another person's other answer is what is wanted.
    let two = Run::with(Looks::Two, &CLASSES);
    two.say(40, "ann", Answer::Class(0));
    assert_eq!(
        two.import(Format::Csv, &{
            fs::write(two.at("t.csv"), table).unwrap();
            two.at("t.csv")
        }),
        (4, 0)
    );
    assert_eq!(two.outcomes()[&40], Outcome::Disputed);
}

#[test]
fn a_file_that_says_not_who_contradicts_what_was_decided() {
    let run = Run::with(Looks::Two, &CLASSES);
    run.say(40, "ann", Answer::Class(0));
    run.say(40, "bob", Answer::Class(0));
    let out = run.export(Format::Folder, "out");
    let name = "0001-40-é _40_.png";
    fs::rename(out.join("cat").join(name), out.join(NONE).join(name)).unwrap();
    let plan = run.plan(Format::Folder, &out);
    let told = plan.conflicts[0].to_string();
    assert!(told.contains("ann says `cat` (answer 0), bob says `cat` (answer 1)"), "{told}");
    let how = How { format: Format::Folder, annotator: Some("eve".to_owned()), replace: false };
    assert_eq!(run.plan_as(&how, &out).unwrap().new.len(), 1, "a third person may say so");
    let how = How { format: Format::Folder, annotator: None, replace: true };
    run.plan_as(&how, &out).unwrap().record(&mut run.journal()).unwrap();
    assert_eq!(run.outcomes()[&40], Outcome::Rejected);
}

#[test]
fn everything_wrong_with_a_table_is_told_at_once() {
    let run = Run::new();
    let rows = [
        ("99,,cat,,", "line 2: sample 99 is not asked for by round-2"),
        ("7,b.jpg,cat,,", "line 3: sample 7 is `a.jpg`, but the file calls it `b.jpg`"),
        ("40,,cart,,", "line 4: class `cart`, expected a class of the run (`cat`, "),
        ("40,,  ,ann,", "line 5: an empty answer"),
        ("40,,,,2.5", "line 6: an empty answer"),
        ("x,,cat,,", "line 7: `x` is no number of a sample"),
        (",,cat,,", "line 8: neither an id nor a name"),
        ("3,,cat,,soon", "line 9: `soon` is no time"),
        ("3,,cat,,-1", "line 10: an answer's time is -1 s"),
        ("19,,cat,ann,", ""),
        ("19,,__none__,ann,", "line 12: `__none__` for `in, or out/a.jpg`, which line 11 says is `cat`"),
        (",../a.jpg,cat,,", "line 13: `../a.jpg` is no picture"),
        ("-1,,cat,,", "line 14: `-1` is no number"),
        ("99999999999999999999,,cat,,", "line 15: `99999999999999999999` is no number"),
        ("12,,\u{1b}[2J\u{202e},,", "line 16: class `\u{fffd}[2J\u{fffd}`"),
        ("8,,straße,,", ""),
    ];
    let table = rows.iter().fold("id,name,label,annotator,seconds\n".to_owned(), |table, (row, _)| table + row + "\n");
    fs::write(run.at("t.csv"), table).unwrap();
    let plan = run.plan(Format::Csv, &run.at("t.csv"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    let expected: Vec<&str> = rows.iter().map(|(_, part)| *part).filter(|part| !part.is_empty()).collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, part) in told.iter().zip(expected) {
        assert!(told.starts_with(part), "{told}, expected {part}");
    }
    // Of two answers to one question neither counts.
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [8]);
}

#[test]
fn files_that_are_none_are_refused() {
    let run = Run::new();
    let deep = "[".repeat(1 << 20);
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><annotations>&c;</annotations>";
    let nested = "<annotations>".repeat(200_000);
    let huge = format!("id,label\n1,{}", "x".repeat(3 << 20));
    for (format, text, part) in [
        (Format::Csv, "", "expected `label`"),
        (Format::Csv, "label\ncat\n", "`id` or `name`"),
        (Format::Csv, "id,label,ID\n1,cat,1\n", "column `id` twice"),
        (Format::Csv, "id,label\n1,cat,3\n", "found record with 3 fields"),
        (Format::Coco, "{}", "missing field `images`"),
        (Format::Coco, &deep, "expected `images`"),
        (Format::LabelStudio, &deep, "expected a list of tasks"),
        (Format::LabelStudio, "{}", "expected a list of tasks"),
        (Format::FiftyOne, "{\"labels\": []}", "an object with a target"),
        (Format::FiftyOne, &deep, "expected `labels`"),
        (Format::Cvat, bomb, "DTD"),
        (Format::Cvat, &nested, "expected XML"),
        (Format::Cvat, "<html/>", "<html>, expected <annotations>"),
        (Format::Parquet, "PAR1", "no readable Parquet"),
        (Format::Parquet, &huge, "no readable Parquet"),
        (
            Format::Coco,
            r#"{"images":[{"id":1,"file_name":"a"},{"id":1,"file_name":"b"}],"categories":[],"annotations":[]}"#,
            "image 1 twice",
        ),
    ] {
        fs::write(run.at("f"), text).unwrap();
        let error = read(format, &run.at("f")).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(part) && told.len() < 2000 && error.is_usage(), "{format}: {told}");
    }
    // A table with one long cell is one; what is in it is told in short.
    fs::write(run.at("f"), huge).unwrap();
    let told = run.plan(Format::Csv, &run.at("f")).wrong[0].to_string();
    assert!(told.len() < 1200, "{} bytes", told.len());
    fs::write(run.at("f"), [0xff, 0xfe]).unwrap();
    for format in [Format::Csv, Format::Cvat, Format::Coco] {
        assert!(read(format, &run.at("f")).unwrap_err().is_usage());
    }
    for format in Format::ALL {
        assert!(read(format, &run.at("nothing")).unwrap_err().is_usage(), "{format}");
    }
    let pipe = run.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for format in Format::ALL {
        assert!(read(format, &pipe).unwrap_err().is_usage(), "{format} does not wait for a pipe");
    }
}

#[test]
fn what_other_tools_get_wrong_is_named_at_its_place() {
    let run = Run::new();
    let region = |labels: &[&str]| json!({ "type": "choices", "value": { "choices": labels } });
    let task =
        |id: u64, annotations: Value| json!({ "id": 1, "data": { "querist_id": id }, "annotations": annotations });
    let by = |result: Value| json!({ "id": 9, "completed_by": { "id": 4, "email": "a@b.example" }, "result": result });
    let tasks = json!([
        task(40, json!([by(json!([]))])),
        task(7, json!([by(json!([region(&["cat", "straße"])]))])),
        task(19, json!([by(json!([region(&["cat"]), region(&["cat"])]))])),
        task(3, json!([by(json!([region(&["cat"])])), by(json!([region(&["straße"])]))])),
        json!({ "id": 2, "data": { "image": "x" }, "annotations": [by(json!([region(&["cat"])]))] }),
        json!({ "id": 3, "querist_id": "12", "label": "cat", "annotator": 1, "lead_time": 2.0 }),
        json!({ "id": 4, "querist_id": 8, "annotator": 1 }),
    ]);
    fs::write(run.at("t"), tasks.to_string()).unwrap();
    let plan = run.plan(Format::LabelStudio, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    let parts = [
        "task 1, annotation 9: an empty answer",
        "task 1, annotation 9: several choices",
        "task 1, annotation 9: 2 answers",
        "task 1, annotation 9: `straße` for",
        "task 2, annotation 9: a task without `querist_id`",
        "task 4: an empty answer",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    assert!(told.iter().zip(parts).all(|(told, part)| told.starts_with(part)), "{told:#?}");
    assert_eq!((plan.new.len(), plan.new[0].annotator.as_str(), plan.new[0].id), (1, "label-studio 1", 12));

    let xml = "<annotations><image name=\"0001-40-é _40_.png\"><tag label=\"cat\"/><tag label=\"straße\"/></image>\
               <image id=\"4\"/><image name=\"0002-7-a.jpg\"><tag/></image><image name=\"x\"><box label=\"cat\"/></image>\
               </annotations>";
    fs::write(run.at("t"), xml).unwrap();
    let plan = run.plan(Format::Cvat, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    assert!(told[1].starts_with("image 1: an image without a name"), "{told:?}");
    assert!(told[2].starts_with("image 2 (`0002-7-a.jpg`): a tag without a label"), "{told:?}");
    assert!(told[0].contains("`straße` for") && plan.new.is_empty() && plan.unanswered == 1, "{told:?}");

    // An object that has a name twice has two answers.
    let labels = r#"{"classes":["cat"],"labels":{"0002-7-a":0,"0002-7-a":"straße","0001-40-é _40_":5,"0003-19-a":[0,0],
                    "in, or out/a":{"label":0,"confidence":0.5},"0009-5-x":null}}"#;
    fs::write(run.at("t"), labels).unwrap();
    let plan = run.plan(Format::FiftyOne, &run.at("t"));
    let told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    assert!(told[1].contains("class number 5") && told[2].contains("2 answers"), "{told:?}");
    assert!(told[0].contains("`straße` for `a.jpg`") && told.len() == 3, "{told:?}");
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [19]);

    let coco = r#"{"images":[{"id":1,"file_name":"a.jpg"}],"categories":[{"id":1,"name":"cat"}],"annotations":[
        {"id":5,"image_id":2,"category_id":1},{"image_id":1},{"id":7,"image_id":1,"category_id":3}]}"#;
    fs::write(run.at("t"), coco).unwrap();
    let told: Vec<String> = run.plan(Format::Coco, &run.at("t")).wrong.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("annotation 5: image 2, which is none"), "{told:?}");
    assert!(told[1].starts_with("annotations[1]: an empty answer"), "{told:?}");
    assert!(told[2].starts_with("annotation 7: category 3, which is none"), "{told:?}");
}

#[test]
fn a_folder_is_read_as_it_lies_and_no_link_is_followed() {
    let run = Run::new();
    let out = run.export(Format::Folder, "out");
    let elsewhere = run.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("0002-7-a.jpg"), "x").unwrap();
    std::os::unix::fs::symlink(&elsewhere, out.join("linked")).unwrap();
    std::os::unix::fs::symlink("../0002-7-a.jpg", out.join("cat/0002-7-a.jpg")).unwrap();
    fs::create_dir_all(out.join("cat/deeper/deepest")).unwrap();
    fs::create_dir(out.join("birds")).unwrap();
    fs::rename(out.join("0002-7-a.jpg"), out.join("birds/0002-7-a.jpg")).unwrap();
    fs::write(out.join("cat/note.txt"), "x").unwrap();
    fs::copy(out.join("0003-19-a.jpg"), out.join("cat/0003-19-a.jpg")).unwrap();
    let plan = run.plan(Format::Folder, &out);
    let mut told: Vec<String> = plan.wrong.iter().map(ToString::to_string).collect();
    told.sort();
    let parts = [
        "birds/0002-7-a.jpg: class `birds`",
        "cat/0002-7-a.jpg: a link",
        "cat/deeper: a folder",
        "cat/note.txt: `note.txt` is no picture",
        "linked: a link",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    assert!(told.iter().zip(parts).all(|(told, part)| told.starts_with(part)), "{told:#?}");
    assert_eq!(plan.new.iter().map(|new| new.id).collect::<Vec<_>>(), [19], "a copy counts as a move");
}

#[test]
fn exports_replace_nothing_and_leave_no_half() {
    let run = Run::new();
    for format in Format::ALL {
        let out = run.export(format, format.name());
        let journal = run.journal();
        let error = write(format, &Export::of(&journal, false), &out).unwrap_err();
        assert!(error.to_string().contains("nothing is replaced"), "{error}");
    }
    // Links are the pictures themselves, copies are not.
    let journal = run.journal();
    let mut export = Export::of(&journal, false);
    export.pictures = Pictures::Link;
    write(Format::Folder, &export, &run.at("linked")).unwrap();
    fs::write(run.at("pictures/a.jpg"), "changed").unwrap();
    assert_eq!(fs::read(run.at("linked/0002-7-a.jpg")).unwrap(), b"changed");
    assert_eq!(fs::read(run.at("folder/0002-7-a.jpg")).unwrap(), b"picture 7");
    // A picture that is gone is named, and nothing is left.
    fs::remove_file(run.at("pictures/a.jpg")).unwrap();
    let error = write(Format::Coco, &Export::of(&journal, false), &run.at("gone")).unwrap_err();
    assert!(error.to_string().contains("pictures/a.jpg: no such file") && error.is_usage(), "{error}");
    let left = |name: &str| name.starts_with(".querist") || name == "gone";
    let names = fs::read_dir(run.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| left(name.to_str().unwrap())));
}

#[test]
fn classes_that_a_format_cannot_keep_are_refused() {
    let taken = Run::with(Looks::One, &["cat", "__none__"]);
    for format in Format::ALL {
        let journal = taken.journal();
        let error = write(format, &Export::of(&journal, false), &taken.at("out")).unwrap_err();
        assert!(error.to_string().contains("`__none__` is a class of this run"), "{error}");
    }
    for class in ["a/b", "..", ".hidden", " cat", &"x".repeat(300)] {
        let run = Run::with(Looks::One, &["dog", class]);
        let journal = run.journal();
        let error = write(Format::Folder, &Export::of(&journal, false), &run.at("out")).unwrap_err();
        assert!(error.to_string().contains("cannot be the name of a folder") && !run.at("out").exists(), "{error}");
        write(Format::Csv, &Export::of(&journal, false), &run.at("out.csv")).unwrap();
    }
}
