//! Old spellings of parameters' values.

use querist_protocol::layers::MEANS;
use schemars::Schema;
use serde_json::{Value, json};

/// Lets users write the names of a choice with underscores, too, as they once were: for `#[schemars(transform = ...)]`
/// of an enum in kebab-case. The strategy gets the names of today.
pub fn with_underscores(schema: &mut Schema) {
    let Some(forms) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    let old = |form: &Value| {
        let name = form.get("const")?.as_str().filter(|name| name.contains('-'))?;
        Some(json!({"const": name.replace('-', "_"), "deprecated": true, MEANS: name}))
    };
    let old: Vec<Value> = forms.iter().filter_map(old).collect();
    forms.extend(old);
}

/// Lets users write an old name in place of a value of a choice.
pub fn add_old_name(schema: &mut Schema, old: &str, now: &str) {
    if let Some(forms) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        forms.push(json!({"const": old, "deprecated": true, MEANS: now}));
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;

    /// A choice.
    #[derive(JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    #[schemars(transform = with_underscores)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Choice {
        /// One.
        OfAll,
        /// Another.
        None,
    }

    #[test]
    fn old_spellings_mean_the_new_ones() {
        let schema = schemars::schema_for!(Choice).to_value();
        let forms: Vec<&str> = schema["oneOf"].as_array().unwrap().iter().filter_map(|f| f["const"].as_str()).collect();
        assert_eq!(forms, ["of-all", "none", "of_all"]);
        assert_eq!(schema["oneOf"][2][MEANS], "of-all");
    }
}
