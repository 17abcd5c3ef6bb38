//! mini-ImageNet as three pickles of 64, 16 and 20 classes, merged to one set of 100.
//!
//! Each pickle is a dict with `image_data`, bytes of [pictures, height, width, 3], and `class_dict`, from a class's
//! name to the numbers of its pictures. Classes come in the order training, validation, test; the first fifth of each
//! class is the test set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::catalogue::PublicSet;
use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;
use crate::pickle::Pickle;
use crate::source::{Source, is_there};

/// The parts, and how their files are called.
const PARTS: [&str; 3] = ["train", "val", "test"];
const NAMES: [&str; 4] = ["mini-imagenet-cache-{}.pkl", "mini_imagenet_{}.pkl", "miniImageNet_{}.pkl", "{}.pkl"];
/// Longest of the files.
const MOST_BYTES: u64 = 4 << 30;
/// One picture of so many of a class is a test picture.
const TEST_SHARE: usize = 5;

/// Pictures of one split, copied out of the pickles.
#[derive(Default)]
struct Half {
    bytes: Vec<u8>,
    labels: Vec<u32>,
    files: Vec<String>,
}

/// Reads the three pickles.
pub(crate) fn read_set(set: &PublicSet, place: &Path) -> Result<Loaded, DataError> {
    let mut class_names: Vec<String> = Vec::new();
    let (mut train, mut test) = (Half::default(), Half::default());
    let mut shape = None;
    for part in PARTS {
        let path = find(set, place, part)?;
        let name = path.display().to_string();
        let bytes = Source::open(&path)?.all(MOST_BYTES)?;
        let pickle = Pickle::read(&name, &bytes)?;
        let (sizes, pixels) = pickle.bytes(pickle.entry(&["image_data"])?, "image_data")?;
        let &[count, height, width, 3] = &sizes[..] else {
            return Err(pickle.error(format!("`image_data` of shape {sizes:?}"), "[pictures, height, width, 3]"));
        };
        let this = [height as usize, width as usize, 3];
        if *shape.get_or_insert(this) != this {
            return Err(
                pickle.error(format!("pictures of {height}x{width}"), format!("{shape:?} as in the first file"))
            );
        }
        let one = this.iter().product::<usize>();
        reserve::<u8>(pixels.len() as u64, &name)?;
        let mut owners: BTreeMap<i64, usize> = BTreeMap::new();
        for (class, members) in pickle.dict(pickle.entry(&["class_dict"])?, "class_dict")? {
            let label = class_names.len();
            if class_names.contains(&class) || !querist_protocol::is_showable(&class) {
                return Err(pickle.error(format!("a class `{class}`"), "names that can be shown, each once"));
            }
            class_names.push(class);
            let members = pickle.integers(members, "class_dict")?;
            let tested = members.len() / TEST_SHARE;
            for (at, &number) in members.iter().enumerate() {
                let picture = usize::try_from(number).ok().filter(|&number| (number as u64) < count);
                let Some(picture) = picture else {
                    let found = format!("picture {number} of class `{}`", class_names[label]);
                    return Err(pickle.error(found, format!("0 to {}", count.saturating_sub(1))));
                };
                if owners.insert(number, label).is_some() {
                    return Err(pickle.error(format!("picture {number} in two places"), "each picture once"));
                }
                let half = if at < tested { &mut test } else { &mut train };
                half.bytes.extend_from_slice(&pixels[picture * one..(picture + 1) * one]);
                half.labels.push(label as u32);
                half.files.push(format!("{part}#{number}"));
            }
        }
        if owners.len() as u64 != count {
            let found = format!("{} of {count} pictures in classes", owners.len());
            return Err(pickle.error(found, "each picture in one class"));
        }
    }
    let official_test = test.labels.len();
    train.bytes.append(&mut test.bytes);
    train.labels.append(&mut test.labels);
    train.files.append(&mut test.files);
    let Half { bytes, labels, files } = train;
    let shape = shape.unwrap_or_default();
    Ok(Loaded { shape, bytes: bytes.into(), labels, official_validation: 0, official_test, class_names, files })
}

/// The file of a part, under any of the names that go round.
fn find(set: &PublicSet, place: &Path, part: &str) -> Result<PathBuf, DataError> {
    let names = NAMES.map(|name| name.replace("{}", part));
    let paths = names.iter().flat_map(|name| [place.join(name), place.join(format!("{name}.gz"))]);
    paths
        .into_iter()
        .find(|path| is_there(path))
        .ok_or_else(|| set.missing(place, format!("`{}`", names.join("` or `"))))
}
