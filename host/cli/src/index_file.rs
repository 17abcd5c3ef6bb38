//! Files that list samples by their numbers.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use querist_core::config::IndexFile;
use querist_core::digest::sha256;
use querist_core::{Dataset, SampleId, Split, Values};
use querist_data::arrays::{Kind, read_array};
use querist_files::{Links, shown};
use querist_protocol::Shown;

/// Bytes of a file at most.
const MOST_BYTES: u64 = 1 << 30;
/// Numbers that a message names at most.
const MOST_NAMED: usize = 10;

/// The samples of a list, in its order.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The samples.
    pub samples: Vec<SampleId>,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

/// Reads a list of samples of the pool.
pub fn read(index: &IndexFile, dataset: &Dataset, split: &Split) -> Result<Listed> {
    let IndexFile { file, base } = index;
    let path = Path::new(file);
    let (numbers, digest) = numbers(path)?;
    let samples = checked(&numbers, *base, dataset.len(), split).with_context(|| shown(path).into_string())?;
    Ok(Listed { samples, digest })
}

/// The numbers of a list as they stand there, and the SHA-256 of the file.
pub fn numbers(path: &Path) -> Result<(Vec<u64>, String)> {
    let bytes = querist_files::read(path, Links::Follow, MOST_BYTES)?;
    let is_array = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
    let numbers =
        if is_array { of_array(path)? } else { of_text(&bytes).with_context(|| shown(path).into_string())? };
    Ok((numbers, sha256(&bytes)))
}

fn of_array(path: &Path) -> Result<Vec<u64>> {
    let array = read_array(path, None, Kind::U64)?;
    match (array.values(), array.shape()) {
        (Values::U64(numbers), [_]) => Ok(numbers.to_vec()),
        (_, shape) => bail!("{} has shape {shape:?}; a list of samples has one dimension", shown(path)),
    }
}

/// Numbers with commas or white space between them.
fn of_text(bytes: &[u8]) -> Result<Vec<u64>> {
    let text = std::str::from_utf8(bytes).context("no text; expected numbers, one a line or with commas, or `.npy`")?;
    let mut numbers = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        for word in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
            let number = word.parse().ok();
            let said = || format!("line {line}: `{}` is no sample number", Shown::name(word));
            numbers.push(number.with_context(said)?);
        }
    }
    Ok(numbers)
}

/// The samples of these numbers, if each is one of the pool and none comes twice; else everything that is wrong.
fn checked(numbers: &[u64], base: u64, samples: usize, split: &Split) -> Result<Vec<SampleId>> {
    let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
    let (mut outside, mut held_out, mut left_out, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for &number in numbers {
        let sample = number.checked_sub(base).filter(|&sample| sample < samples as u64).map(SampleId);
        match sample {
            _ if !seen.insert(number) => twice.push(number),
            None => outside.push(number),
            Some(sample) if split.is_held_out(sample) => held_out.push(number),
            Some(sample) if split.pool.binary_search(&sample).is_err() => left_out.push(number),
            Some(sample) => found.push(sample),
        }
    }
    let last = (samples as u64 + base).saturating_sub(1);
    let problems: Vec<String> = [
        (twice, "more than once".to_owned()),
        (outside, format!("not in {base} to {last}, the numbers of the dataset's samples from base {base} on")),
        (held_out, "of validation or test set, not of the pool".to_owned()),
        (left_out, "that `dataset.variant` took out of the pool".to_owned()),
    ]
    .into_iter()
    .filter(|(numbers, _)| !numbers.is_empty())
    .map(|(numbers, what)| format!("{} {what}: {}", numbers.len(), naming(&numbers)))
    .collect();
    match (problems.is_empty(), found.is_empty()) {
        (false, _) => bail!("a list of {} samples with {}", numbers.len(), problems.join("; ")),
        (true, true) => bail!("lists no sample"),
        (true, false) => Ok(found),
    }
}

fn naming(numbers: &[u64]) -> String {
    let named = numbers.iter().take(MOST_NAMED).map(u64::to_string).collect::<Vec<_>>().join(", ");
    if numbers.len() > MOST_NAMED { format!("{named}, ...") } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten samples: a variant took 6 and 7 out of the pool, 8 and 9 are held out.
    fn split() -> Split {
        Split { pool: ids(&[0, 1, 2, 3, 4, 5]), validation: ids(&[8]), test: ids(&[9]), reserve: Vec::new() }
    }

    fn ids(numbers: &[u64]) -> Vec<SampleId> {
        numbers.iter().copied().map(SampleId).collect()
    }

    #[test]
    fn numbers_stand_in_lines_or_between_commas() {
        assert_eq!(of_text(b"3\n1\r\n\n2\n").unwrap(), [3, 1, 2]);
        assert_eq!(of_text(b" 3,1, 2").unwrap(), [3, 1, 2]);
        let error = of_text(b"3\n1;2").unwrap_err().to_string();
        assert!(error.contains("line 2: `1;2`"), "{error}");
        assert!(of_text(&[0xff, 0]).is_err() && of_text(b"-1").is_err());
    }

    #[test]
    fn lists_are_taken_in_their_order_from_their_base() {
        assert_eq!(checked(&[3, 0], 0, 10, &split()).unwrap(), ids(&[3, 0]));
        assert_eq!(checked(&[6, 1], 1, 10, &split()).unwrap(), ids(&[5, 0]));
    }

    #[test]
    fn everything_wrong_is_told() {
        let error = checked(&[0, 3, 3, 11, 9, 7, 2], 1, 10, &split()).unwrap_err().to_string();
        for part in [
            "1 more than once: 3",
            "2 not in 1 to 10",
            ": 0, 11",
            "1 of validation or test set",
            ": 9",
            "`dataset.variant` took out of the pool: 7",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(checked(&[], 0, 10, &split()).is_err());
        let many: Vec<u64> = (20..60).collect();
        let error = checked(&many, 0, 10, &split()).unwrap_err().to_string();
        assert!(error.contains("28, 29, ...") && !error.contains("30"), "{error}");
    }
}
