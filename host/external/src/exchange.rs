//! The folder through which arrays go.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use querist_core::{Array, Dataset, SampleId};
use querist_data::arrays::{Kind, NpyValue, read_array, write_npy};
use querist_files::{Links, shown};
use serde_json::{Map, Value, json};

use crate::offer::{Input, MOST_WIDTH};

/// The name of the folder, in that of the run.
const FOLDER: &str = "learner";

/// Removes what a process that was killed left in the folder of its run; of a link the link alone.
///
/// # Errors
/// If something is there and stays.
pub fn remove(run: &Path) -> io::Result<()> {
    match fs::remove_dir_all(run.join(FOLDER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder; it goes with the learner.
pub struct Exchange {
    folder: PathBuf,
}

/// An array that the learner has written.
pub struct Expected<'a> {
    /// Its file in the folder.
    pub file: &'a str,
    /// Rows that it must have.
    pub rows: usize,
    /// Its other dimensions, where they are known.
    pub row: &'a [Option<usize>],
}

impl Exchange {
    /// Makes the folder anew in that of the run, which this process alone works on.
    pub fn new(run: &Path) -> Result<Self, String> {
        let folder = run.join(FOLDER);
        let cannot = |error| format!("cannot make {}: {error}", shown(&folder));
        remove(run).map_err(cannot)?;
        fs::create_dir(&folder).map_err(cannot)?;
        // The learner may work in another folder than this program.
        let folder = fs::canonicalize(&folder).map_err(cannot)?;
        Ok(Self { folder })
    }

    /// The folder, for the learner.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes what a learner reads of the data; gives the names of the files by what they hold.
    pub fn give_data(&self, dataset: &Dataset, reads: &[Input]) -> Result<Map<String, Value>, String> {
        let mut files = Map::new();
        for input in reads {
            let (key, file) = match input {
                Input::Ids => ("ids", "ids.txt"),
                Input::Images => ("images", "images.npy"),
                Input::Embeddings => ("embeddings", "embeddings.npy"),
            };
            match (input, dataset.embeddings()) {
                (Input::Ids, _) => self.give_ids(file, dataset)?,
                (Input::Images, _) => {
                    let images = dataset.images();
                    let shape = [images.count, images.height, images.width, images.channels];
                    self.give(file, &shape, &images.bytes)?;
                }
                (Input::Embeddings, Some(rows)) => self.give(file, &[dataset.len(), rows.width], &rows.values)?,
                (Input::Embeddings, None) => {}
            }
            files.insert(key.to_owned(), json!(file));
        }
        Ok(files)
    }

    /// The names of all samples, one a line; their numbers where they have none.
    fn give_ids(&self, file: &str, dataset: &Dataset) -> Result<(), String> {
        let ids = (0..dataset.len() as u64).map(SampleId);
        let line = |id: SampleId| dataset.file(id).map_or_else(|| format!("{id}\n"), |name| format!("{name}\n"));
        let path = self.folder.join(file);
        fs::write(&path, ids.map(line).collect::<String>())
            .map_err(|error| format!("cannot write {}: {error}", shown(&path)))
    }

    /// Writes numbers of samples, or of classes.
    pub fn give_numbers(&self, file: &str, numbers: impl Iterator<Item = i64>) -> Result<(), String> {
        let numbers: Vec<i64> = numbers.collect();
        self.give(file, &[numbers.len()], &numbers)
    }

    fn give<T: NpyValue>(&self, file: &str, shape: &[usize], values: &[T]) -> Result<(), String> {
        write_npy(&self.folder.join(file), shape, values).map_err(|error| error.to_string())
    }

    /// Removes a file that the learner has read.
    pub fn done_with(&self, file: &str) {
        // What stays goes with the folder.
        let _ = fs::remove_file(self.folder.join(file));
    }

    /// Takes an array that the learner has written, as it stands in its file, which loses its name.
    pub fn take(&self, Expected { file, rows, row }: Expected<'_>) -> Result<Array, String> {
        let path = self.folder.join(file);
        let wrote = |found: String| format!("it wrote `{file}`: {found}");
        // A link, a pipe or a folder in its place is met here.
        querist_files::length(&path, Links::Refuse).map_err(|error| match error.is_not_found() {
            true => format!("it did not write `{file}`, which it was asked for"),
            false => wrote(error.reason.to_string()),
        })?;
        let array = read_array(&path, None, Kind::F32).map_err(|error| wrote(error.to_string()))?;
        let fits = |(found, wanted): (&usize, &Option<usize>)| match wanted {
            Some(wanted) => found == wanted,
            None => (1..=MOST_WIDTH).contains(found),
        };
        let shape = array.shape();
        let is_fitting = shape.len() == 1 + row.len() && shape[0] == rows && shape[1..].iter().zip(row).all(fits);
        if !is_fitting {
            return Err(wrote(format!("shape {shape:?}, expected {}", shape_text(rows, row))));
        }
        let values = array.as_f32().ok_or_else(|| wrote("no floats".to_owned()))?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let row = at / array.row_len().max(1);
            return Err(wrote(format!("{} in row {row}, expected numbers that are finite", values[at])));
        }
        // The handle keeps what is mapped; the learner cannot write to it by its name any more.
        self.done_with(file);
        Ok(array)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What stays is removed when the run goes on.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A shape as messages write it: `[1437, 10]`, `[1437, width]`.
fn shape_text(rows: usize, row: &[Option<usize>]) -> String {
    let extents = row.iter().map(|extent| extent.map_or_else(|| "width".to_owned(), |extent| extent.to_string()));
    format!("[{}]", std::iter::once(rows.to_string()).chain(extents).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_what_was_asked_for_or_named() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(run.path().join(FOLDER)).unwrap();
        fs::write(run.path().join(FOLDER).join("stale.npy"), "left by another process").unwrap();
        let exchange = Exchange::new(run.path()).unwrap();
        assert!(!exchange.path().join("stale.npy").exists());
        let row = [Some(2)];
        let take = |file: &str| exchange.take(Expected { file, rows: 2, row: &row });
        exchange.give("good.npy", &[2, 2], &[1.0f32, 2.0, 3.0, -4.0]).unwrap();
        let good = take("good.npy").unwrap();
        assert_eq!(good.as_f32().unwrap()[..], [1.0, 2.0, 3.0, -4.0]);
        assert!(!exchange.path().join("good.npy").exists() && good.shape() == [2, 2]);
        exchange.give("double.npy", &[2, 2], &[1.0f64, 2.0, 3.0, 0.5]).unwrap();
        assert_eq!(take("double.npy").unwrap().as_f32().unwrap()[3], 0.5);

        assert_eq!(take("none.npy").unwrap_err(), "it did not write `none.npy`, which it was asked for");
        exchange.give("shape.npy", &[4], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(take("shape.npy").unwrap_err(), "it wrote `shape.npy`: shape [4], expected [2, 2]");
        exchange.give("nan.npy", &[2, 2], &[1.0, 2.0, f32::NAN, 4.0]).unwrap();
        assert_eq!(take("nan.npy").unwrap_err(), "it wrote `nan.npy`: NaN in row 1, expected numbers that are finite");
        fs::write(exchange.path().join("text.npy"), "no array").unwrap();
        assert!(take("text.npy").unwrap_err().contains("no NUMPY magic"));
        fs::create_dir(exchange.path().join("folder.npy")).unwrap();
        assert!(take("folder.npy").unwrap_err().contains("a folder, expected a regular file"));
        std::os::unix::fs::symlink("/etc/hostname", exchange.path().join("link.npy")).unwrap();
        assert!(take("link.npy").unwrap_err().contains("a link, expected a regular file"));
        let wide = exchange.take(Expected { file: "shape.npy", rows: 4, row: &[None] }).unwrap_err();
        assert!(wide.ends_with("shape [4], expected [4, width]"), "{wide}");
        let folder = exchange.path().to_owned();
        drop(exchange);
        assert!(!folder.exists());
    }
}
