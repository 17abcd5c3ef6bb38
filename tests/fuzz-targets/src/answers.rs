//! Files of answers, as other tools write them.

use std::fs;
use std::path::Path;

use querist_people::formats::{Format, How, Plan, read};
use querist_people::{ANSWERS, Batch, Journal, Looks, Picture, Stage, WAITING};

use crate::bounded;
use crate::runs::in_memory;

/// A byte that chooses the format, then the file; of a folder, the names of files in it, one a line.
pub fn answers(data: &[u8]) {
    let Some((&format, file)) = data.split_first() else { return };
    let format = Format::ALL[usize::from(format) % Format::ALL.len()];
    in_memory(|folder| {
        let path = folder.join("file");
        match format {
            Format::Folder => make_folder(&path, &String::from_utf8_lossy(file)),
            _ => fs::write(&path, file).expect("the folder is ours"),
        }
        import(folder, format, &path);
    });
}

fn import(folder: &Path, format: Format, path: &Path) {
    let found = match read(format, path) {
        Ok(found) => found,
        Err(error) => return bounded(&error.to_string()),
    };
    let mut journal = journal(folder);
    let answered = journal.batch().pictures.len();
    let how = How { format, annotator: None, replace: false };
    let plan = Plan::of(&journal, found.clone(), &how).expect("the classes are good");
    plan.wrong.iter().for_each(|wrong| bounded(&wrong.to_string()));
    assert!(plan.conflicts.is_empty(), "nothing was recorded yet");
    let recorded = plan.record(&mut journal).expect("what is planned can be recorded");
    assert_eq!(recorded.len(), plan.new.len());
    assert!(journal.outcomes().len() == answered);
    let before = fs::read(folder.join(ANSWERS)).expect("there are answers");
    let again = Plan::of(&journal, found, &how).expect("the classes are good");
    again.conflicts.iter().for_each(|conflict| bounded(&conflict.to_string()));
    again.record(&mut journal).expect("what is planned can be recorded");
    let is_agreed = again.conflicts.is_empty() && again.new.is_empty();
    assert!(!is_agreed || fs::read(folder.join(ANSWERS)).expect("there are answers") == before, "twice is once");
}

/// A run folder whose batch waits.
fn journal(folder: &Path) -> Journal {
    let names = ["a.jpg", "b/a.jpg", "b/c.png"];
    let pictures = names.iter().zip([40, 7, 19]);
    let picture = |(name, id): (&&str, u64)| Picture { id, name: (*name).to_owned(), score: None, guess: None };
    let batch = Batch {
        version: 1,
        stage: Stage::Round(1),
        strategy: "margin".to_owned(),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        folder: folder.join("pictures"),
        looks: Looks::One,
        pictures: pictures.map(picture).collect(),
    };
    fs::create_dir_all(folder.join(WAITING)).expect("the folder is ours");
    Journal::open(folder, batch).expect("there are no answers yet")
}

/// Empty files of these names, as far as they can be had below the folder.
fn make_folder(path: &Path, names: &str) {
    fs::create_dir_all(path).expect("the folder is ours");
    for name in names.lines().take(64) {
        let parts: Vec<&str> = name.split('/').filter(|part| !["", ".", ".."].contains(part)).take(4).collect();
        let Some((last, folders)) = parts.split_last() else { continue };
        let below = folders.iter().fold(path.to_owned(), |path, part| path.join(part));
        // A name that is too long or has a zero byte is none.
        if fs::create_dir_all(&below).is_ok() {
            let _ = fs::write(below.join(last), b"");
        }
    }
}
