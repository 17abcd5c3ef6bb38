//! Answers that were recorded stay, whoever else writes and whatever dies.
#![expect(clippy::tests_outside_test_module, reason = "a test of a crate from outside")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use querist_people::{ANSWERS, Answer, Batch, Guess, Journal, Looks, NewAnswer, Outcome, Picture, Recorded, Stage};

fn batch(looks: Looks) -> Batch {
    let picture = |id: u64| Picture {
        id,
        name: format!("photos/{id}.png"),
        score: Some(1.0 / id as f64),
        guess: Some(Guess { class: 1, probability: 0.5 }),
    };
    Batch {
        version: 1,
        stage: Stage::Round(3),
        strategy: "margin".to_owned(),
        classes: ["cat", "dog"].map(str::to_owned).to_vec(),
        folder: PathBuf::from("/data"),
        looks,
        pictures: [7, 2, 9].map(picture).to_vec(),
    }
}

fn says(annotator: &str, id: u64, answer: Answer, seen: Option<u64>) -> NewAnswer {
    NewAnswer {
        key: format!("{annotator} {id} {answer:?} {seen:?}"),
        id,
        annotator: annotator.to_owned(),
        answer,
        seconds: Some(1.5),
        guess_shown: false,
        third_look: false,
        source: "page".to_owned(),
        seen,
    }
}

fn open(run: &Path, looks: Looks) -> Journal {
    Journal::open(run, batch(looks)).unwrap()
}

#[test]
fn a_batch_is_read_as_it_was_written_or_refused() {
    let run = tempfile::tempdir().unwrap();
    assert_eq!(Batch::read(run.path()).unwrap(), None);
    let waiting = run.path().join("waiting");
    fs::create_dir(&waiting).unwrap();
    batch(Looks::Two).write(&waiting).unwrap();
    assert_eq!(Batch::read(run.path()).unwrap(), Some(batch(Looks::Two)));
    let refused = |change: &dyn Fn(&mut Batch)| {
        let mut batch = batch(Looks::One);
        change(&mut batch);
        batch.write(&waiting).unwrap_err().to_string()
    };
    assert!(refused(&|batch| batch.pictures[0].name = "../x.png".to_owned()).contains("leads out of its folder"));
    assert!(refused(&|batch| batch.pictures[0].name = "/etc/x.png".to_owned()).contains("leads out of its folder"));
    assert!(refused(&|batch| batch.pictures[1].id = 7).contains("sample 7 twice"));
    assert!(refused(&|batch| batch.pictures.clear()).contains("no pictures"));
    assert!(refused(&|batch| batch.classes[1] = "cat".to_owned()).contains("class `cat` twice"));
    assert!(refused(&|batch| batch.classes[1] = "d\u{1b}".to_owned()).contains("without control characters"));
    assert!(refused(&|batch| batch.folder = PathBuf::from("data")).contains("expected an absolute path"));
    assert!(
        refused(&|batch| batch.pictures[0].guess.as_mut().unwrap().class = 2).contains("expected one of 2 classes")
    );
    assert!(refused(&|batch| batch.version = 2).contains("version 2, expected 1"));
    let path = waiting.join("batch.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("round-3", "round-x")).unwrap();
    let error = Batch::read(run.path()).unwrap_err().to_string();
    assert!(error.contains("`round-x`, expected `initial` or `round-N`"), "{error}");
}

#[test]
fn answers_count_once_and_conflicts_are_told() {
    let run = tempfile::tempdir().unwrap();
    let (mut here, mut there) = (open(run.path(), Looks::One), open(run.path(), Looks::One));
    let first = says("anna", 2, Answer::Class(0), None);
    assert_eq!(here.record(vec![first.clone()]).unwrap(), [Recorded::New(0)]);
    assert_eq!(there.record(vec![first.clone()]).unwrap(), [Recorded::Known(0)], "sent again to another process");
    // Two tabs of one person: the second has not seen what the first recorded.
    let other = NewAnswer { key: "other".to_owned(), ..says("anna", 2, Answer::Class(1), None) };
    let conflict = Recorded::Conflict { number: Some(0), answer: Some(Answer::Class(0)) };
    assert_eq!(there.record(vec![other.clone()]).unwrap(), [conflict]);
    assert_eq!(there.record(vec![NewAnswer { seen: Some(0), ..other }]).unwrap(), [Recorded::New(1)]);
    here.refresh().unwrap();
    assert_eq!(here.outcomes(), [Outcome::Open, Outcome::Label(1), Outcome::Open]);
    // In one call, too, an answer stands on those before it.
    let both = vec![
        says("anna", 9, Answer::Unsure, None),
        says("anna", 9, Answer::Undo, Some(2)),
        says("anna", 9, Answer::NoneOfThese, None),
        says("anna", 5, Answer::Unsure, None),
        says("anna", 7, Answer::Class(2), None),
    ];
    let numbers = [Recorded::New(2), Recorded::New(3), Recorded::New(4), Recorded::Foreign, Recorded::UnknownClass];
    assert_eq!(here.record(both.clone()).unwrap(), numbers);
    assert_eq!(here.record(both[..3].to_vec()).unwrap(), [2, 3, 4].map(Recorded::Known), "a whole file twice");
    assert_eq!(here.outcomes(), [Outcome::Open, Outcome::Label(1), Outcome::Rejected]);
    assert_eq!(here.seconds().len(), 4, "an answer that was taken back took its time, too");
    let wrong = NewAnswer { annotator: "an\nna".to_owned(), ..first };
    let error = here.record(vec![wrong]).unwrap_err().to_string();
    assert!(error.contains("annotator is `an na`, expected 1 to 64 characters"), "{error}");
}

#[test]
fn skipping_and_third_looks() {
    let run = tempfile::tempdir().unwrap();
    let mut journal = open(run.path(), Looks::Two);
    journal.record(vec![says("anna", 7, Answer::Skip, None)]).unwrap();
    assert!(journal.skipped(7, "anna") && !journal.skipped(7, "ben"));
    journal.record(vec![says("anna", 7, Answer::Class(0), None), says("ben", 7, Answer::Class(1), None)]).unwrap();
    assert!(!journal.skipped(7, "anna"));
    assert_eq!(journal.outcomes()[0], Outcome::Disputed);
    let agreement = journal.agreement();
    assert_eq!((agreement[0].annotators.clone(), agreement[0].agreed), (["anna", "ben"].map(str::to_owned), 0));
    journal.record(vec![NewAnswer { third_look: true, ..says("cleo", 7, Answer::Class(1), None) }]).unwrap();
    assert_eq!(journal.outcomes()[0], Outcome::Label(1));
    assert_eq!(journal.agreement().len(), 1, "a third look is no independent answer");
    assert_eq!(journal.effective(7).len(), 3);
}

#[test]
fn what_was_cut_off_goes_and_what_is_foreign_is_named() {
    let run = tempfile::tempdir().unwrap();
    let path = run.path().join(ANSWERS);
    open(run.path(), Looks::One).record(vec![says("anna", 2, Answer::Class(0), None)]).unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&whole[..cut]).unwrap();
        let mut journal = open(run.path(), Looks::One);
        assert_eq!(journal.outcomes()[1], Outcome::Label(0));
        assert_eq!(journal.effective(2).len(), 1);
        let key = format!("after {cut}");
        let again =
            NewAnswer { key, ..says("anna", 7, Answer::Unsure, journal.effective(7).first().map(|a| a.number)) };
        journal.record(vec![again]).unwrap();
        assert!(open(run.path(), Looks::One).outcomes()[0] == Outcome::Unsure);
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
    let mut renamed = batch(Looks::One);
    renamed.classes[0] = "lion".to_owned();
    let error = Journal::open(run.path(), renamed).err().unwrap().to_string();
    assert!(error.contains("line 1: class `cat` is none of the run's"), "{error}");
    fs::write(&path, "{}\n").unwrap();
    let error = Journal::open(run.path(), batch(Looks::One)).err().unwrap().to_string();
    assert!(error.contains("line 1: missing field `key`"), "{error}");
}
