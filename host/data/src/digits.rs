//! The built-in digits: 1,797 grey pictures of 8x8, for first steps and tests without a download.

use std::io::Read;

use querist_protocol::Shown;

use crate::catalogue::{PublicSet, SHUFFLED_DIGITS};
use crate::error::DataError;
use crate::load::Loaded;

const PACKED: &[u8] = include_bytes!("../assets/digits.bin.z");
const COUNT: usize = 1797;
const PIXELS: usize = 64;
const BRIGHTEST: u32 = 16;

/// Where each pixel of a shuffled picture comes from; 37 and 64 have no common divisor, so each comes once.
fn shuffled(pixel: usize) -> usize {
    pixel * 37 % PIXELS
}

/// Unpacks the digits; values 0 to 16 become 0 to 255, and each names its row in the published file.
pub(crate) fn read(set: &PublicSet) -> Result<Loaded, DataError> {
    let size = COUNT * (PIXELS + 1);
    let mut planes = Vec::with_capacity(size);
    let unpacked = flate2::read::ZlibDecoder::new(PACKED).take(size as u64 + 1).read_to_end(&mut planes);
    unpacked.map_err(|source| DataError::Io { file: Shown::name("built-in digits"), source })?;
    if planes.len() != size {
        let found = format!("{} bytes", planes.len());
        return Err(DataError::malformed("built-in digits", "", found, format!("{size}")));
    }
    let (pixels, labels) = planes.split_at(COUNT * PIXELS);
    let value = |image: usize, pixel: usize| {
        let dark_to_bright = u32::from(pixels[pixel * COUNT + image]);
        ((dark_to_bright * 255 + BRIGHTEST / 2) / BRIGHTEST) as u8
    };
    let is_shuffled = set.name == SHUFFLED_DIGITS;
    let source = |pixel: usize| if is_shuffled { shuffled(pixel) } else { pixel };
    Ok(Loaded {
        shape: [8, 8, 1],
        bytes: (0..COUNT)
            .flat_map(|image| (0..PIXELS).map(move |pixel| value(image, source(pixel))))
            .collect::<Vec<u8>>()
            .into(),
        labels: labels.iter().map(|&label| u32::from(label)).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: set.class_names(),
        files: (0..COUNT).map(|row| format!("{}#{row}", set.name)).collect(),
    })
}
