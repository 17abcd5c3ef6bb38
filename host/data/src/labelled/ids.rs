//! Samples of which nothing is known but their ids: a table of ids, labels and, where it has them, splits.

use std::collections::BTreeMap;

use querist_core::config::{DatasetConfig, SampleOrder};
use querist_core::digest::sha256;
use querist_protocol::{Shown, is_showable};

use super::{Named, number_labels, table};
use crate::catalogue::IDS;
use crate::embeddings::key_of_pictures;
use crate::error::DataError;
use crate::layout::Part;
use crate::load::{Loaded, folder_place};

/// Longest id.
const MOST_ID: usize = 1024;
/// Names that columns of ids, classes and splits usually have.
const USUAL: [&[&str]; 3] = [&["id"], table::USUAL[1], table::USUAL[2]];

/// Reads the table that the configuration names. Samples are numbered by part, and there by a hash of their ids, since
/// lines are often in the order of classes; by lines where `dataset.order` is `published`.
pub(crate) fn read(config: &DatasetConfig) -> Result<Loaded, DataError> {
    let strangers = key_of_pictures(config).or(config.embeddings.is_some().then_some("embeddings"));
    if let Some(key) = strangers {
        let message = format!("`dataset.{key}` is for data that this program reads, and it reads ids alone; remove it");
        return Err(DataError::Config { dataset: IDS.to_owned(), message });
    }
    let path = folder_place(config)?;
    let columns = config.columns.clone().unwrap_or_default();
    let mut named = table::entries_by(&path, &columns, Part::Train, &USUAL)?;
    check_ids(&named)?;
    match config.order {
        Some(SampleOrder::Published) => named.sort_by_key(|one| one.part),
        _ => named.sort_by_cached_key(|one| (one.part, sha256(one.path.as_bytes()))),
    }
    let labels: Vec<(&str, &str)> = named.iter().map(|one| (one.label.as_str(), one.at.as_str())).collect();
    let (labels, class_names) = number_labels(&labels, None)?;
    let count = |part: Part| named.iter().filter(|one| one.part == part).count();
    let mut of_class = vec![0usize; class_names.len()];
    labels[..count(Part::Train)].iter().for_each(|&label| of_class[label as usize] += 1);
    if let Some(class) = of_class.iter().position(|&count| count == 0) {
        let found = format!("no training sample of class {class} (`{}`)", class_names[class]);
        let expected = "labels 0, 1, 2, ... without gaps, each with training samples";
        return Err(DataError::malformed(path.display(), "", found, expected));
    }
    Ok(Loaded {
        shape: [0; 3],
        bytes: Vec::new().into(),
        labels,
        official_validation: count(Part::Validation),
        official_test: count(Part::Test),
        class_names,
        files: named.into_iter().map(|one| one.path).collect(),
    })
}

/// Each id stands once, and can stand on a line.
fn check_ids(named: &[Named]) -> Result<(), DataError> {
    let mut seen: BTreeMap<&str, &Named> = BTreeMap::new();
    for one in named {
        if one.path.is_empty() || one.path.len() > MOST_ID || !is_showable(&one.path) {
            let found = format!("the id `{}`", Shown::name(&one.path));
            return Err(DataError::malformed(&one.at, "", found, format!("1 to {MOST_ID} bytes that can be shown")));
        }
        if let Some(before) = seen.insert(&one.path, one) {
            let found = format!("the id `{}`, which {} has, too", one.path, before.at);
            return Err(DataError::malformed(&one.at, "", found, "each id once"));
        }
    }
    Ok(())
}
