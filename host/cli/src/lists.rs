//! Parameters that are lists of sample numbers, from files: `order = { file = "order.txt", base = 1 }`.
//!
//! A strategy opens no file. Where a parameter is a list of whole numbers, a table with `file` stands for the numbers
//! in that file, or for those of several files, one behind the other: the batches of a schedule, say.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Usage;
use crate::index_file;

/// Files in the place of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InFiles {
    file: OneOrSome,
    #[serde(default)]
    base: u64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrSome {
    One(String),
    Some(Vec<String>),
}

/// Puts the numbers of files in the place of tables that name these, where the schema wants a list of whole numbers.
pub fn read(params: &mut Value, schema: &Value) -> Result<()> {
    let Some(params) = params.as_object_mut() else { return Ok(()) };
    for (name, value) in params {
        if value.get("file").is_some() && is_list_of_numbers(&schema["properties"][name]) {
            let numbers =
                numbers_of(value).map_err(|error| Usage(format!("strategy parameter `{name}`: {error:#}")))?;
            *value = Value::from(numbers);
        }
    }
    Ok(())
}

fn is_list_of_numbers(property: &Value) -> bool {
    property["type"] == "array" && property["items"]["type"] == "integer"
}

fn numbers_of(value: &Value) -> Result<Vec<u64>> {
    let InFiles { file, base } = InFiles::deserialize(value).map_err(|error| {
        anyhow::anyhow!("{error}; write {{ file = \"FILE\" }}, a list of files, or base = 1 beside it")
    })?;
    anyhow::ensure!(base <= 1, "base is {base}; the number of the first sample is 0 or 1");
    let files = match file {
        OneOrSome::One(file) => vec![file],
        OneOrSome::Some(files) => files,
    };
    let mut all = Vec::new();
    for file in files {
        for number in index_file::numbers(Path::new(&file))?.0 {
            let number = number.checked_sub(base);
            all.push(number.ok_or_else(|| anyhow::anyhow!("{file} has the number 0, but counts from 1 (base = 1)"))?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_stand_for_lists_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).display().to_string()
        };
        let (first, second) = (path("1.txt", "3\n1\n"), path("2.txt", "2, 9"));
        let schema = json!({"properties": {
            "order": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "other": {"type": "object"},
        }});
        let read = |mut params: Value| read(&mut params, &schema).map(|()| params);
        assert_eq!(read(json!({"order": {"file": first}})).unwrap(), json!({"order": [3, 1]}));
        let both = json!({"order": {"file": [first, second], "base": 1}});
        assert_eq!(read(both).unwrap(), json!({"order": [2, 0, 1, 8]}));
        for same in [json!({"order": [1, 2]}), json!({"other": {"file": first}}), json!({"order": {"x": 1}})] {
            assert_eq!(read(same.clone()).unwrap(), same);
        }
        let zero = path("0.txt", "0");
        for (wrong, part) in [
            (json!({"order": {"file": zero, "base": 1}}), "counts from 1"),
            (json!({"order": {"file": first, "base": 2}}), "0 or 1"),
            (json!({"order": {"file": first, "from": 2}}), "from"),
            (json!({"order": {"file": "nowhere.txt"}}), "nowhere.txt"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("`order`") && error.contains(part), "{error}");
        }
    }
}
