//! Every format: written, answered as its tool would, read back, and whatever can be wrong with what comes back.

mod wrong;

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
                let category = number(&file["categories"], "name", label);
                json!({ "image_id": image["id"], "category_id": category, "bbox": [] })
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
