//! Run folders.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use querist_protocol::is_showable;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::bounded;

/// The files of a small run that is as the program writes it.
const RUN: [(&str, &[u8]); 19] = [
    ("run.toml", include_bytes!("run/run.toml")),
    ("header.json", include_bytes!("run/header.json")),
    ("split.json", include_bytes!("run/split.json")),
    ("initial.csv", include_bytes!("run/initial.csv")),
    ("rounds/0000/digests.json", b""),
    ("rounds/0000/record.json", include_bytes!("run/rounds/0000/record.json")),
    ("rounds/0000/picks.csv", include_bytes!("run/rounds/0000/picks.csv")),
    ("rounds/0000/picks.png", include_bytes!("run/rounds/0000/picks.png")),
    ("rounds/0000/epochs.csv", include_bytes!("run/rounds/0000/epochs.csv")),
    ("rounds/0000/state.bin", b"state"),
    ("rounds/0000/synthetic.safetensors", include_bytes!("run/rounds/0000/synthetic.safetensors")),
    ("rounds/0001/digests.json", b""),
    ("rounds/0001/record.json", include_bytes!("run/rounds/0001/record.json")),
    ("rounds/0001/picks.csv", include_bytes!("run/rounds/0001/picks.csv")),
    ("rounds/0001/picks.png", include_bytes!("run/rounds/0001/picks.png")),
    ("rounds/0001/state.bin", b"state"),
    ("rounds/0002/digests.json", b""),
    ("rounds/0002/record.json", include_bytes!("run/rounds/0002/record.json")),
    ("rounds/0002/model.safetensors", b"model"),
];

thread_local! {
    static FOLDER: RefCell<TempDir> = RefCell::new(new_folder());
}

/// Memory rather than a disk where there is such a folder.
fn new_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("there is room for a temporary folder")
}

/// Works in an empty folder.
pub(crate) fn in_memory(work: impl FnOnce(&Path)) {
    FOLDER.with_borrow_mut(|folder| {
        work(folder.path());
        for entry in fs::read_dir(folder.path()).expect("the folder is ours").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let is_folder = entry.file_type().expect("an entry").is_dir();
            if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("the folder is ours");
        }
    });
}

/// The first bytes, if there are as many.
pub(crate) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// Changes of the files of a run, each: file, how to change it, place, bytes that go, bytes that come, and these.
///
/// Lists of digests are written anew unless they are what was changed, so that readers get as far as they can.
pub fn run_folder(data: &[u8]) {
    let mut files: BTreeMap<&str, Vec<u8>> = RUN.iter().map(|&(name, bytes)| (name, bytes.to_vec())).collect();
    let mut lists = BTreeSet::new();
    let mut rest = data;
    while let Some(&[file, how, at_low, at_high, gone, come]) = take(&mut rest, 6) {
        let come = take(&mut rest, usize::from(come)).unwrap_or(rest);
        let (name, _) = RUN[usize::from(file) % RUN.len()];
        if name.ends_with("digests.json") && lists.insert(name) {
            let list = digests(name, &files);
            files.insert(name, list);
        }
        match how % 8 {
            0 => drop(files.remove(name)),
            1 => drop(files.insert(name, come.to_vec())),
            _ => {
                let Some(bytes) = files.get_mut(name) else { continue };
                let at = usize::from(u16::from_le_bytes([at_low, at_high])).min(bytes.len());
                let end = (at + usize::from(gone)).min(bytes.len());
                drop(bytes.splice(at..end, come.iter().copied()));
            }
        }
    }
    for (name, _) in RUN.iter().filter(|(name, _)| name.ends_with("digests.json") && !lists.contains(name)) {
        let list = digests(name, &files);
        files.insert(name, list);
    }
    in_memory(|folder| {
        lay_out(folder, &files);
        match querist::fuzzing::read_run(folder) {
            Ok(forms) => {
                let page = &forms[0];
                // Its own figures and its own program.
                assert_eq!(page.matches("<script").count(), 2, "markup of the folder is in the page");
                for form in &forms {
                    let steering = form.lines().find(|line| !is_showable(line));
                    assert!(steering.is_none(), "{steering:?} steers");
                }
            }
            Err(message) => bounded(&message),
        }
    });
}

/// Reads the run without any change.
///
/// # Errors
/// If it cannot be read, gone on with or reported.
pub fn unchanged_run() -> Result<(), String> {
    let mut files: BTreeMap<&str, Vec<u8>> = RUN.iter().map(|&(name, bytes)| (name, bytes.to_vec())).collect();
    for (name, _) in RUN.iter().filter(|(name, _)| name.ends_with("digests.json")) {
        let list = digests(name, &files);
        files.insert(name, list);
    }
    let mut read = Ok(());
    in_memory(|folder| {
        lay_out(folder, &files);
        read = querist::fuzzing::read_run(folder).map(drop);
    });
    read
}

fn lay_out(folder: &Path, files: &BTreeMap<&str, Vec<u8>>) {
    for (name, bytes) in files {
        let path: PathBuf = folder.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the folder is ours");
        fs::write(path, bytes).expect("the folder is ours");
    }
}

/// The list of the digests of a round.
fn digests(list: &str, files: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let round = list.trim_end_matches("digests.json");
    let in_round = files.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(round)?, bytes)));
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let named = in_round.filter(|(name, _)| *name != "digests.json").map(|(name, bytes)| (name, digest(bytes)));
    serde_json::to_vec(&named.collect::<BTreeMap<_, _>>()).expect("names and digests are JSON")
}
