//! COCO: images, categories, and annotations that say of a whole image what it shows.
//!
//! Many tools number images anew. They are found by their `file_name`, which has the sample in it.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Export, FormatError, Found, Line, Which, Words, from_json, to_json};

/// The file, beside a folder of pictures.
pub(super) const FILE: &str = "annotations.json";
const IMAGES: &str = "images";

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    export.put_all(&out.join(IMAGES))?;
    let numbers: HashMap<&str, usize> = words.all().enumerate().map(|(place, word)| (word, place + 1)).collect();
    let category = |word: &str| json!({ "id": numbers[word], "name": word, "supercategory": "" });
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for row in &export.rows {
        let id = row.picture.id;
        images.push(json!({ "id": id, "file_name": export.ranked(row), "rank": row.rank, "name": row.picture.name }));
        if let Some(word) = words.spell_outcome(row.outcome) {
            let number = annotations.len() + 1;
            annotations.push(json!({ "id": number, "image_id": id, "category_id": numbers[word] }));
        }
    }
    let (stage, strategy) = (export.batch.stage, &export.batch.strategy);
    let file = json!({
        "info": { "description": format!("{stage}, chosen by {strategy}"), "version": "1.0" },
        "licenses": [],
        "images": images,
        "categories": words.all().map(category).collect::<Vec<_>>(),
        "annotations": annotations,
    });
    to_json(&out.join(FILE), &file)
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    id: Value,
    image_id: u64,
    #[serde(default)]
    category_id: Option<u64>,
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let file: File = from_json(path, "`images`, `categories` and `annotations` of COCO")?;
    let mut found = Found::default();
    let images = unique(path, "image", file.images.into_iter().map(|image| (image.id, image.file_name)))?;
    let categories = unique(path, "category", file.categories.into_iter().map(|one| (one.id, one.name)))?;
    let mut answered: Vec<u64> = file.annotations.iter().map(|annotation| annotation.image_id).collect();
    answered.sort_unstable();
    found.unanswered = images.keys().filter(|id| answered.binary_search(id).is_err()).count();
    for (number, Annotation { id, image_id, category_id }) in file.annotations.into_iter().enumerate() {
        let place = match id {
            Value::Number(id) => format!("annotation {id}"),
            _ => format!("annotations[{number}]"),
        };
        let category = category_id.map(|category| categories.get(&category).ok_or(category));
        match (images.get(&image_id), category) {
            (None, _) => found.wrong(place, format!("image {image_id}, which is none of the file's `images`")),
            (_, None) => found.wrong(place, "an empty answer, expected a `category_id`"),
            (_, Some(Err(category))) => {
                found.wrong(place, format!("category {category}, which is none of the file's `categories`"));
            }
            (Some(name), Some(Ok(label))) => found.line(Line {
                place,
                which: Which::Name(name.clone()),
                label: label.clone(),
                annotator: None,
                seconds: None,
                guess_shown: false,
            }),
        }
    }
    Ok(found)
}

/// Names by number, each of which has one.
fn unique(
    path: &Path,
    what: &str,
    named: impl Iterator<Item = (u64, String)>,
) -> Result<HashMap<u64, String>, FormatError> {
    let mut names = HashMap::new();
    for (id, name) in named {
        if names.insert(id, name).is_some() {
            return Err(FormatError::malformed(path, format!("{what} {id} twice, expected different numbers")));
        }
    }
    Ok(names)
}
