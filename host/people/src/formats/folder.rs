//! Pictures in a folder, by rank, beside one folder a class that people move them into.

use std::fs;
use std::path::Path;

use querist_files::shown;
use querist_protocol::Shown;

use super::{Export, FormatError, Found, Line, Which, Words, out};

/// Entries that are looked at, at most.
const MOST_ENTRIES: usize = 4_000_000;
/// Bytes that a file system takes as a name, at most.
const MOST_NAME: usize = 255;

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    if let Some(bad) = words.all().find(|word| !is_name_of_folder(word)) {
        let bad = Shown::name(bad);
        let message = format!("class `{bad}` cannot be the name of a folder: choose another format, such as csv");
        return Err(FormatError::Unfit(message));
    }
    words.all().try_for_each(|word| out::make_folder(&out.join(word)))?;
    for row in &export.rows {
        let decided = words.spell_outcome(row.outcome);
        export.put(row, &decided.map_or_else(|| out.to_owned(), |word| out.join(word)))?;
    }
    Ok(())
}

fn is_name_of_folder(word: &str) -> bool {
    word.len() <= MOST_NAME && word == word.trim() && !word.starts_with('.') && !word.contains(['/', '\\'])
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let mut found = Found::default();
    let mut entries = 0;
    for entry in sorted(path, &mut entries)? {
        match entry.kind {
            _ if is_of_system(&entry.name) => {}
            Kind::File => found.unanswered += 1,
            Kind::Folder => read_class(path, &entry.name, &mut found, &mut entries)?,
            Kind::Other => found.wrong(entry.name, NO_FILE),
        }
    }
    Ok(found)
}

const NO_FILE: &str = "a link or a special file, expected a picture; move or copy the picture itself";

fn read_class(root: &Path, class: &str, found: &mut Found, entries: &mut usize) -> Result<(), FormatError> {
    for entry in sorted(&root.join(class), entries)? {
        let place = format!("{class}/{}", entry.name);
        match entry.kind {
            _ if is_of_system(&entry.name) => {}
            Kind::File => found.line(Line {
                place,
                which: Which::Name(entry.name),
                label: class.to_owned(),
                annotator: None,
                seconds: None,
                guess_shown: false,
            }),
            Kind::Folder => found.wrong(place, "a folder in the folder of a class, expected pictures"),
            Kind::Other => found.wrong(place, NO_FILE),
        }
    }
    Ok(())
}

/// What systems leave in folders that somebody looked at.
fn is_of_system(name: &str) -> bool {
    name.starts_with('.') || ["Thumbs.db", "desktop.ini"].contains(&name)
}

enum Kind {
    File,
    Folder,
    Other,
}

struct Entry {
    name: String,
    kind: Kind,
}

/// The entries of a folder by name; links are not followed.
fn sorted(path: &Path, entries: &mut usize) -> Result<Vec<Entry>, FormatError> {
    let failed = |error: std::io::Error| FormatError::malformed(path, format!("{error}; expected a folder"));
    let mut sorted = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        *entries += 1;
        if *entries > MOST_ENTRIES {
            return Err(FormatError::malformed(path, format!("more than {MOST_ENTRIES} entries")));
        }
        let kind = entry.file_type().map_err(failed)?;
        let kind = match () {
            () if kind.is_file() => Kind::File,
            () if kind.is_dir() => Kind::Folder,
            () => Kind::Other,
        };
        let name = entry.file_name().into_string().map_err(|name| {
            FormatError::malformed(path, format!("a name that is no UTF-8: {}", shown(Path::new(&name))))
        })?;
        sorted.push(Entry { name, kind });
    }
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sorted)
}
