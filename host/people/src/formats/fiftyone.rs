//! FiftyOne's `FiftyOneImageClassificationDataset`: `labels.json` beside a folder `data`.

use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{Export, FormatError, Found, Line, Which, Words, from_json, to_json};

/// The file of labels.
pub(super) const FILE: &str = "labels.json";
/// The folder of pictures.
const DATA: &str = "data";

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    export.put_all(&out.join(DATA))?;
    let classes: Vec<&str> = words.all().collect();
    let mut labels = Map::new();
    for row in &export.rows {
        let name = export.ranked(row);
        let key = Path::new(&name).with_extension("").to_string_lossy().into_owned();
        let decided = words.spell_outcome(row.outcome);
        let target = decided.and_then(|word| classes.iter().position(|class| *class == word));
        labels.insert(key, json!(target));
    }
    to_json(&out.join(FILE), &json!({ "classes": classes, "labels": labels }))
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    classes: Option<Vec<String>>,
    labels: Pairs,
}

/// An object as it stands in the file: one that has a name twice says two things, of which no map would tell.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a target for each picture")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let labels: Labels = from_json(path, "`labels` of a FiftyOneImageClassificationDataset")?;
    let mut found = Found::default();
    for (name, target) in labels.labels.0 {
        let place = format!("`{name}`");
        if target.is_null() {
            found.unanswered += 1;
            continue;
        }
        match label(&target, labels.classes.as_deref()) {
            Ok(label) => found.line(Line {
                place,
                which: Which::Name(name),
                label,
                annotator: None,
                seconds: None,
                guess_shown: false,
            }),
            Err(message) => found.wrong(place, message),
        }
    }
    Ok(found)
}

/// A target: the number of a class, its name, or an object with one of both under `label`.
fn label(target: &Value, classes: Option<&[String]>) -> Result<String, String> {
    match target {
        Value::String(name) => Ok(name.clone()),
        Value::Number(number) => {
            let class = number.as_u64().and_then(|number| classes?.get(usize::try_from(number).ok()?));
            class.cloned().ok_or_else(|| format!("class number {number}, expected a place in `classes`"))
        }
        Value::Object(target) if target.get("label").is_some_and(|label| !label.is_object()) => {
            label(&target["label"], classes)
        }
        Value::Array(several) if several.len() == 1 && !several[0].is_array() => label(&several[0], classes),
        Value::Array(several) => Err(format!("{} answers for one picture, expected one", several.len())),
        _ => Err("a target that names no class, expected a number, a name or null".to_owned()),
    }
}
