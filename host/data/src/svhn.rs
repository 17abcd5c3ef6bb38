//! SVHN's cropped digits: MATLAB files with `X` [32, 32, 3, pictures] and `y`, in which 10 is the digit 0.

use std::path::Path;

use rayon::prelude::*;

use crate::catalogue::PublicSet;
use crate::error::DataError;
use crate::load::Loaded;
use crate::matlab::{self, Matrix};
use crate::memory::reserve;
use crate::source::is_there;

const SIDE: usize = 32;
const ONE: usize = SIDE * SIDE * 3;

/// Reads the training file, the additional one where it is asked for, and the test file.
pub(crate) fn read_set(set: &PublicSet, place: &Path, extra: bool) -> Result<Loaded, DataError> {
    let names: &[&str] = if extra { &["train", "extra", "test"] } else { &["train", "test"] };
    let mut bytes: Vec<u8> = Vec::new();
    let (mut labels, mut counts) = (Vec::new(), Vec::new());
    for name in names {
        let path = place.join(format!("{name}_32x32.mat"));
        if !is_there(&path) {
            return Err(set.missing(place, format!("`{name}_32x32.mat`")));
        }
        let [pictures, digits] = matlab::read(&path, ["X", "y"])?;
        let found = check(&path, &pictures, &digits)?;
        // The whole of both is in memory for a moment.
        drop(reserve::<u8>((bytes.len() + pictures.values.len()) as u64, "the images")?);
        let start = bytes.len();
        bytes.resize(start + pictures.values.len(), 0);
        let images = bytes[start..].par_chunks_exact_mut(ONE).zip(pictures.values.par_chunks_exact(ONE));
        images.for_each(|(to, from)| upright(from, to));
        labels.extend(digits.values.iter().map(|&digit| u32::from(digit % 10)));
        counts.push(found);
    }
    Ok(Loaded {
        shape: [SIDE, SIDE, 3],
        bytes: bytes.into(),
        labels,
        official_validation: 0,
        official_test: counts.last().copied().unwrap_or_default(),
        class_names: set.class_names(),
        files: Vec::new(),
    })
}

/// How many pictures there are, where sizes and digits are what they should be.
fn check(path: &Path, pictures: &Matrix, digits: &Matrix) -> Result<usize, DataError> {
    let error = |at: &str, found: String, expected: &str| DataError::malformed(path.display(), at, found, expected);
    // An array of one picture has no last dimension.
    let count = match pictures.sizes[..] {
        [32, 32, 3] => 1,
        [32, 32, 3, count] if count > 0 => count as usize,
        _ => return Err(error(", `X`", format!("sizes {:?}", pictures.sizes), "[32, 32, 3, pictures]")),
    };
    if digits.values.len() != count {
        let found = format!("{} labels for {count} pictures", digits.values.len());
        return Err(error(", `y`", found, "one a picture"));
    }
    match digits.values.iter().position(|digit| !(1..=10).contains(digit)) {
        Some(at) => Err(error(&format!(", `y` at {at}"), format!("label {}", digits.values[at]), "1 to 10")),
        None => Ok(count),
    }
}

/// A picture of three planes of columns to rows of red-green-blue pixels.
fn upright(from: &[u8], to: &mut [u8]) {
    for (row, pixels) in to.chunks_exact_mut(SIDE * 3).enumerate() {
        for (column, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = from[channel * SIDE * SIDE + column * SIDE + row];
            }
        }
    }
}
