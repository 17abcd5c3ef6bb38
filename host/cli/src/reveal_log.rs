//! Labels that a strategy asks for inside its batch, written down one by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use querist_core::Reveals;
use querist_files::shown;
use querist_protocol::Shown;

use crate::round_files::MOST_TEXT;

const HEADER: &str = "id,label\n";

/// The log of one round: a line a label, on disk before the strategy learns it.
///
/// A query that is asked again after a kill finds what was known: no label is written down twice.
#[derive(Debug)]
pub struct RevealLog {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    file: File,
    labels: BTreeMap<u64, u32>,
}

impl RevealLog {
    /// Opens the log, or begins it. A last line that was cut off is dropped: its label was never handed out.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).with_context(|| shown(path).into_string())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = querist_files::open_or_create(path)?;
        let mut text = String::new();
        (&file).take(MOST_TEXT + 1).read_to_string(&mut text)?;
        ensure!(text.len() as u64 <= MOST_TEXT, "more than {MOST_TEXT} bytes");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].split_inclusive('\n');
        let mut labels = BTreeMap::new();
        match lines.next() {
            None => {
                file.set_len(0)?;
                file.write_all(HEADER.as_bytes())?;
            }
            Some(HEADER) => {
                for line in lines {
                    let pair = line.trim_end().split_once(',');
                    let Some((Ok(id), Ok(label))) = pair.map(|(id, label)| (id.parse(), label.parse())) else {
                        let line = Shown::name(line.trim_end());
                        bail!("`{line}` is no line of `id,label`: it was changed after it was written");
                    };
                    if labels.insert(id, label).is_some_and(|before| before != label) {
                        bail!("sample {id} has two labels: it was changed after it was written");
                    }
                }
                file.set_len(whole as u64)?;
                std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
            }
            Some(other) => bail!("begins with `{}`, expected `{}`", Shown::name(other.trim_end()), HEADER.trim_end()),
        }
        file.sync_all()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        querist_files::sync_folder(folder)?;
        Ok(Self { path: path.to_owned(), known: Mutex::new(Known { file, labels }) })
    }
}

impl Reveals for RevealLog {
    fn revealed(&self, ids: &[u64], labels: &[u32]) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = String::new();
        for (id, label) in ids.iter().zip(labels) {
            match known.labels.get(id) {
                None => lines.push_str(&format!("{id},{label}\n")),
                Some(before) if before == label => {}
                Some(before) => {
                    let path = shown(&self.path);
                    return Err(format!(
                        "{path} has label {before} for sample {id}, which the oracle now calls {label}"
                    ));
                }
            }
        }
        if !lines.is_empty() {
            let Known { file, .. } = &mut *known;
            let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|error| format!("{}: {error}", shown(&self.path)))?;
            known.labels.extend(ids.iter().copied().zip(labels.iter().copied()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_on_disk_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revealed-0001.csv");
        let text = || std::fs::read_to_string(&path).unwrap();
        let log = RevealLog::open(&path).unwrap();
        log.revealed(&[7], &[1]).unwrap();
        assert_eq!(text(), "id,label\n7,1\n");
        log.revealed(&[7, 3], &[1, 0]).unwrap();
        drop(log);
        // A line that a kill cut off.
        std::fs::write(&path, text() + "5,").unwrap();
        let log = RevealLog::open(&path).unwrap();
        log.revealed(&[3], &[0]).unwrap();
        log.revealed(&[9], &[2]).unwrap();
        assert_eq!(text(), "id,label\n7,1\n3,0\n9,2\n");
        assert!(log.revealed(&[9], &[1]).unwrap_err().contains("label 2 for sample 9, which the oracle now calls 1"));
        for (wrong, part) in [
            ("id,name\n", "begins with `id,name`"),
            ("id,label\n5;1\n", "`5;1` is no line"),
            ("id,label\n5,1\n5,2\n", "two labels"),
        ] {
            std::fs::write(&path, wrong).unwrap();
            assert!(format!("{:#}", RevealLog::open(&path).unwrap_err()).contains(part));
        }
        // What is no file of ours is neither read nor written to.
        std::fs::rename(&path, folder.path().join("mine.csv")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("mine.csv"), &path).unwrap();
        assert!(format!("{:#}", RevealLog::open(&path).unwrap_err()).contains("a link, expected a regular file"));
        assert_eq!(text(), "id,label\n5,1\n5,2\n");
    }
}
