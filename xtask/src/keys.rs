//! The tables of keys in `docs/run-files.md`, made of the schemas of run and study files.
//!
//! A table stands between `<!-- keys: NAME -->` and `<!-- /keys -->`. NAME is a definition of a schema, or the title of
//! a schema with the keys that are wanted.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const START: &str = "<!-- keys: ";
const END: &str = "<!-- /keys -->";

/// Width of the page.
const WIDTH: usize = 120;

/// The page with its tables written anew.
///
/// # Errors
/// If a mark is wrong, or a table of the files stands nowhere.
pub fn page(page: &str, run: &Value, study: &Value) -> Result<String> {
    let mut missing: BTreeSet<&str> = objects(run).chain(objects(study)).collect();
    let mut written = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(START) {
        let (mark, after) = after.split_once(" -->\n").context("a mark without an end")?;
        let (_, after) = after.split_once(END).with_context(|| format!("`{START}{mark} -->` without `{END}`"))?;
        let mut words = mark.split_whitespace();
        let name = words.next().context("a mark without a name")?;
        let (schema, root) = find(name, run, study)?;
        let keys: Vec<&str> = words.collect();
        let tables = Tables { root, keys: &keys }.of(schema)?;
        write!(written, "{before}{START}{mark} -->\n\n{tables}\n{END}")?;
        missing.remove(name);
        rest = after;
    }
    ensure!(missing.is_empty(), "docs/run-files.md has no `{START}NAME -->` for {missing:?}");
    Ok(written + rest)
}

/// Names of the definitions that are tables of their own, rather than one of the forms that a value may have.
fn objects(root: &Value) -> impl Iterator<Item = &str> {
    let defs = || root["$defs"].as_object().into_iter().flatten();
    let forms: BTreeSet<String> = defs()
        .flat_map(|(_, schema)| alternatives(schema))
        .filter_map(|s| Some(s["$ref"].as_str()?.to_owned()))
        .collect();
    defs()
        .filter(move |(name, schema)| schema["properties"].is_object() && !forms.contains(&format!("#/$defs/{name}")))
        .map(|(name, _)| name.as_str())
}

/// The schema of that name, and the document it stands in.
fn find<'a>(name: &str, run: &'a Value, study: &'a Value) -> Result<(&'a Value, &'a Value)> {
    for root in [run, study] {
        if root["title"] == name {
            return Ok((root, root));
        }
        if let Some(schema) = root["$defs"].get(name) {
            return Ok((schema, root));
        }
    }
    bail!("`{START}{name} -->`: neither schema has a `{name}`")
}

/// What a value may be instead of another.
fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"].map(|key| schema[key].as_array());
    let alternatives = lists.into_iter().flatten().flatten();
    alternatives.filter(|schema| schema["type"] != "null" && schema["deprecated"] != true)
}

/// Tables of one document.
struct Tables<'a> {
    root: &'a Value,
    /// Only these keys; all where none is named.
    keys: &'a [&'a str],
}

impl Tables<'_> {
    /// Text, table and values of a definition; of each of its alternatives where it has some.
    fn of(&self, schema: &Value) -> Result<String> {
        let Some(properties) = schema["properties"].as_object() else {
            let mut text = wrapped(schema, "", "");
            for alternative in alternatives(schema) {
                let own = alternative["description"].as_str().filter(|_| alternative.get("$ref").is_some());
                write!(
                    text,
                    "\n{}{}",
                    own.map_or(String::new(), |own| format!("{own}\n\n")),
                    self.table(self.follow(alternative))?
                )?;
            }
            return Ok(text);
        };
        ensure!(!properties.is_empty(), "a table without keys");
        let text = if self.keys.is_empty() { wrapped(schema, "", "") + "\n" } else { String::new() };
        Ok(text + &self.table(schema)?)
    }

    fn table(&self, schema: &Value) -> Result<String> {
        let properties = schema["properties"].as_object().context("a definition without keys")?;
        for key in self.keys {
            ensure!(properties.contains_key(*key), "there is no key `{key}`");
        }
        let wanted = |key: &str| self.keys.is_empty() || self.keys.contains(&key);
        let mut table = "| key | default | may be | |\n| --- | --- | --- | --- |\n".to_owned();
        let mut lists = String::new();
        let own = |property: &Value| property.get("x-means").is_none();
        for (key, property) in properties.iter().filter(|(key, property)| wanted(key) && own(property)) {
            let required = schema["required"].as_array().is_some_and(|keys| keys.iter().any(|k| k == key));
            let default = match property.get("default") {
                _ if required => "required".to_owned(),
                Some(Value::Object(_)) | None => String::new(),
                Some(value) => format!("`{}`{}", toml(value), conditional(schema, key)),
            };
            let text = one_line(property["description"].as_str().unwrap_or_default());
            writeln!(table, "| `{key}` | {default} | {} | {text} |", self.values(property))?;
            lists += &self.choices(key, property);
        }
        if !lists.is_empty() {
            write!(table, "\n{lists}")?;
        }
        Ok(table)
    }

    fn is_table(&self, schema: &Value) -> bool {
        self.follow(schema)["properties"].is_object()
    }

    /// What stands behind references and an optional.
    fn follow<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.follow(&self.root["$defs"][name]);
        }
        let mut all = alternatives(schema);
        match (all.next(), all.next()) {
            (Some(only), None) => self.follow(only),
            _ => schema,
        }
    }

    /// Ranges and names that a value may have.
    fn values(&self, property: &Value) -> String {
        let schema = self.follow(property);
        let names: Vec<String> =
            alternatives(schema).filter_map(|s| Some(format!("`{}`", toml(s.get("const")?)))).collect();
        if !names.is_empty() {
            return names.join(", ");
        }
        if let Some(items) = schema.get("items") {
            let names = self.values(items);
            let entries = range(schema, "minItems", "maxItems");
            let of =
                if self.follow(items).get("oneOf").is_some() { format!("list of {names}") } else { "list".to_owned() };
            return if entries.is_empty() { of } else { format!("{of}; {entries} entries") };
        }
        let numbers = range(schema, "minimum", "maximum");
        let is_boolean = schema["type"].as_str() == Some("boolean")
            || schema["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "boolean"));
        if is_boolean { "`true`, `false`".to_owned() } else { numbers }
    }

    /// A list of what each choice means, for a key that has some.
    fn choices(&self, key: &str, property: &Value) -> String {
        let schema = self.follow(property);
        let (schema, is_list) = schema.get("items").map_or((schema, false), |items| (self.follow(items), true));
        let mut list = String::new();
        // A table with forms has a place of its own.
        for choice in alternatives(schema).filter(|_| !alternatives(schema).all(|s| self.is_table(s))) {
            let head = match choice.get("const") {
                None => format!("- `{key}`: "),
                Some(name) if is_list => format!("- `{}` in `{key}`: ", toml(name)),
                Some(name) => format!("- `{key} = {}`: ", toml(name)),
            };
            list += &wrapped(choice, &head, "  ");
        }
        list
    }
}

/// Defaults of a key that hold where others have certain values, but for those of presets.
fn conditional(schema: &Value, key: &str) -> String {
    let layers = schema["x-layers"].as_array().into_iter().flatten();
    let chosen = |layer: &&Value| layer["when"].as_object().is_some_and(|when| !when.contains_key("preset"));
    let one = |layer: &Value| {
        let value = layer["set"].get(key)?;
        let when = layer["when"].as_object()?.iter();
        let when: Vec<String> = when.map(|(key, value)| format!("`{key} = {}`", toml(value))).collect();
        Some(format!("; `{}` where {}", toml(value), when.join(", ")))
    };
    layers.filter(chosen).filter_map(one).collect()
}

fn range(schema: &Value, least: &str, most: &str) -> String {
    let number = |key: &str| schema.get(key).filter(|value| !(key == least && value.as_f64() == Some(0.0))).map(toml);
    match (number(least), number(most)) {
        (Some(least), Some(most)) if least == most => least,
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("from {least}"),
        (None, Some(most)) if schema.get(least).is_some() => format!("0 to {most}"),
        (None, Some(most)) => format!("up to {most}"),
        (None, None) if schema.get(least).is_some() => "from 0".to_owned(),
        (None, None) => String::new(),
    }
}

/// A value as it is written in TOML.
fn toml(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 1e6 => format!("{number}"),
        Some(number) if value.is_f64() && !(1e-3..1e6).contains(&number.abs()) => format!("{number:e}"),
        _ => value.to_string(),
    }
}

/// A text for a cell.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The description of a schema, a paragraph as it stands there, broken at the width of the page.
fn wrapped(schema: &Value, head: &str, indent: &str) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let mut lines = Vec::new();
    for (at, paragraph) in text.split("\n\n").enumerate() {
        let mut line = if at == 0 {
            head.to_owned()
        } else {
            lines.push(String::new());
            indent.to_owned()
        };
        let mut is_empty = true;
        for word in paragraph.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::replace(&mut line, indent.to_owned()));
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line += word;
            is_empty = false;
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::{expect, expect_file};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_follows_the_schemas() {
        let read = |name: &str| fs::read_to_string(crate::workspace().join(name)).unwrap();
        let schema = |name| serde_json::from_str(&read(&format!("schemas/{name}.schema.json"))).unwrap();
        let made = page(&read("docs/run-files.md"), &schema("run"), &schema("study")).unwrap();
        expect_file!["../../docs/run-files.md"].assert_eq(&made);
    }

    fn run() -> Value {
        json!({
            "title": "RunConfig",
            "properties": {
                "speed": { "$ref": "#/$defs/Speed", "description": "How fast." },
                "table": { "$ref": "#/$defs/Table", "default": {} }
            },
            "required": ["speed"],
            "$defs": {
                "Speed": { "oneOf": [
                    { "const": "slow", "description": "A round a day." },
                    { "const": "fast", "description": "Sixty." }
                ] },
                "Table": { "description": "Of things.", "properties": {
                    "size": { "minimum": 4, "maximum": 1024, "default": 8, "description": "Side\nor | not." },
                    "share": { "anyOf": [{ "$ref": "#/$defs/Speed" }, { "type": "null" }] },
                    "rate": { "type": "number", "minimum": 0.0, "maximum": 1e7, "default": 1e-8 }
                } }
            }
        })
    }

    #[test]
    fn tables_show_defaults_ranges_and_choices() {
        let marks = ["keys: Table", "/keys", "keys: RunConfig speed", "/keys"].map(|mark| format!("<!-- {mark} -->\n"));
        let text = &format!("Before\n{}old\n{}after\n", marks[0], marks[1..].concat());
        let made = page(text, &run(), &json!({})).unwrap();
        expect![[r#"
            Before
            <!-- keys: Table -->

            Of things.

            | key | default | may be | |
            | --- | --- | --- | --- |
            | `size` | `8` | 4 to 1024 | Side or \| not. |
            | `share` |  | `"slow"`, `"fast"` |  |
            | `rate` | `1e-8` | 0 to 1e7 |  |

            - `share = "slow"`: A round a day.
            - `share = "fast"`: Sixty.

            <!-- /keys -->
            <!-- keys: RunConfig speed -->

            | key | default | may be | |
            | --- | --- | --- | --- |
            | `speed` | required | `"slow"`, `"fast"` | How fast. |

            - `speed = "slow"`: A round a day.
            - `speed = "fast"`: Sixty.

            <!-- /keys -->
            after
        "#]]
        .assert_eq(&made);
        assert_eq!(page(&made, &run(), &json!({})).unwrap(), made);
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let error = |text: &str| page(text, &run(), &json!({})).unwrap_err().to_string();
        expect![[r#"docs/run-files.md has no `<!-- keys: NAME -->` for {"Table"}"#]].assert_eq(&error("No mark.\n"));
        expect!["`<!-- keys: Tble -->`: neither schema has a `Tble`"]
            .assert_eq(&error("<!-- keys: Tble -->\n<!-- /keys -->\n"));
        expect!["there is no key `sped`"].assert_eq(&error("<!-- keys: RunConfig sped -->\n<!-- /keys -->\n"));
        expect!["`<!-- keys: Table -->` without `<!-- /keys -->`"].assert_eq(&error("<!-- keys: Table -->\n"));
    }
}
