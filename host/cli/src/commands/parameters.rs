//! Parameters of a strategy as people read them: names, defaults, values, presets.

use anyhow::Result;
use querist_core::schema::{Layer, Range, SEARCH, Schema};
use querist_protocol::Shown;
use querist_protocol::layers::{CHOOSES, MEANS};
use serde_json::{Map, Value, json};

/// Bytes of a text of a package in a table or on a page.
const CELL_BYTES: usize = 2000;

/// Text of a package as it can be shown.
pub fn printable(text: &str) -> String {
    Shown::new(text, CELL_BYTES).into_string()
}

/// The parameters of a strategy.
pub struct Parameters<'a> {
    source: &'a Value,
    schema: Schema,
}

impl<'a> Parameters<'a> {
    /// Those that a schema describes.
    pub fn of(source: &'a Value) -> Result<Self> {
        Ok(Self { source, schema: Schema::new(source.clone())? })
    }

    /// Name, default, allowed values and meaning of each parameter.
    pub fn rows(&self) -> Vec<[String; 4]> {
        let settled = self.schema.with_defaults(&json!({}));
        let is_own =
            |(_, property): &(&String, &Value)| property.get(CHOOSES).is_none() && property.get(MEANS).is_none();
        let row = |(name, property): (&String, &Value)| {
            let target = property
                .get("$ref")
                .or_else(|| property.pointer("/anyOf/0/$ref"))
                .and_then(Value::as_str)
                .and_then(|reference| self.source.pointer(reference.trim_start_matches('#')))
                .unwrap_or(property);
            let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let searched = property.get(SEARCH).and_then(|said| Range::read(said).ok()).map(|range| searched(&range));
            let meaning = format!("{meaning}{}", searched.unwrap_or_default());
            [printable(name), self.default(name, &settled), allowed(target), printable(&meaning)]
        };
        self.properties().filter(is_own).map(row).collect()
    }

    /// Name of each preset, what it is, and what it sets.
    pub fn presets(&self) -> Vec<[String; 3]> {
        let defaults = self.schema.with_defaults(&json!({}));
        let chooses = self.properties().filter(|(_, property)| property.get(CHOOSES).is_some());
        let current = |form: &&Value| form.get("deprecated") != Some(&Value::Bool(true));
        let forms = chooses.flat_map(|(name, property)| {
            let forms = property.get("oneOf").and_then(Value::as_array).into_iter().flatten();
            forms.filter(current).map(move |form| (name, form))
        });
        let row = |(name, form): (&String, &Value)| {
            let value = form.get("const").cloned().unwrap_or_default();
            let chosen = self.schema.with_defaults(&json!({ name: value }));
            let text = form.get("description").and_then(Value::as_str).unwrap_or_default();
            [printable(value.as_str().unwrap_or_default()), printable(text), changes(&defaults, &chosen)]
        };
        forms.map(row).collect()
    }

    fn properties(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.source.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    /// The default of a parameter, and those that depend on others.
    fn default(&self, name: &str, settled: &Value) -> String {
        let layers = self.schema.layers();
        let chosen_by_name =
            |layer: &Layer<'_>| layer.when.keys().any(|key| self.source["properties"][key].get(CHOOSES).is_some());
        let others = layers.iter().filter(|layer| !chosen_by_name(layer)).filter_map(|layer| {
            let value = layer.set.get(name)?;
            Some(format!("{value} where {}", listed(layer.when)))
        });
        let own = settled.get(name).map_or_else(|| "-".to_owned(), Value::to_string);
        printable(&std::iter::once(own).chain(others).collect::<Vec<_>>().join("; "))
    }
}

/// What parameters have other values in `chosen` than in `defaults`.
fn changes(defaults: &Value, chosen: &Value) -> String {
    let Some(chosen) = chosen.as_object() else { return String::new() };
    let changed = chosen.iter().filter(|(name, value)| defaults.get(name) != Some(*value));
    let changed: Map<String, Value> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    printable(&listed(&changed))
}

fn listed(values: &Map<String, Value>) -> String {
    values.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

/// Where a parameter is searched, as the end of its text.
fn searched(range: &Range) -> String {
    match range {
        Range::Log(low, high) => format!(" Searched from {low} to {high} by factors."),
        Range::Linear(low, high) => format!(" Searched from {low} to {high}."),
        Range::Choices(choices) => {
            let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
            format!(" Searched among {}.", choices.join(", "))
        }
    }
}

fn allowed(schema: &Value) -> String {
    let choices = schema.get("oneOf").or_else(|| schema.get("enum")).and_then(Value::as_array);
    if let Some(choices) = choices {
        let current = choices.iter().filter(|c| c.get("deprecated") != Some(&Value::Bool(true)));
        let choice = |c: &Value| c.get("const").unwrap_or(c).to_string();
        return printable(&current.map(choice).collect::<Vec<_>>().join(" | "));
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|k| *k != "null").collect(),
        _ => "any".to_owned(),
    };
    let bound = |key: &str| schema.get(key).map(Value::to_string);
    printable(&match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{kind} {low} to {high}"),
        (Some(low), None) => format!("{kind} from {low}"),
        (None, Some(high)) => format!("{kind} up to {high}"),
        (None, None) => kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parameter_is_without_being_told_stands_there() {
        let schema = json!({
            "properties": {
                "preset": {"x-chooses": true, "oneOf": [
                    {"const": "random", "description": "At random."},
                    {"const": "s0", "deprecated": true, "x-means": "random"},
                ]},
                "variant": {
                    "description": "Which.",
                    "default": "exact",
                    "oneOf": [{"const": "exact"}, {"const": "any"}]
                },
                "step": {"description": "How far.", "type": "number", "minimum": 0, "default": 0.2},
                "most": {"description": "How many.", "type": ["integer", "null"], "default": null},
            },
            "x-layers": [
                {"when": {"preset": "random"}, "set": {"variant": "any"}},
                {"when": {"variant": "any"}, "set": {"step": 0.1}},
            ],
        });
        let parameters = Parameters::of(&schema).unwrap();
        let rows: Vec<String> = parameters.rows().iter().map(|row| row.join(" / ")).collect();
        assert_eq!(
            rows,
            [
                "variant / \"exact\" / \"exact\" | \"any\" / Which.",
                "step / 0.2; 0.1 where variant = \"any\" / number from 0 / How far.",
                "most / - / integer / How many.",
            ]
        );
        assert_eq!(
            parameters.presets(),
            [["random", "At random.", "variant = \"any\", step = 0.1"].map(str::to_owned)]
        );
    }
}
