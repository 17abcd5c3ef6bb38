//! Filling parameters in: old names, presets, defaults that depend on others, defaults.

use querist_protocol::Shown;
use querist_protocol::layers::{CHOOSES, LAYERS, MEANS};
use serde_json::{Map, Value};

use super::{Problem, resolve};

/// Layers of an object at most.
const MAX_LAYERS: usize = 64;

/// Defaults that hold where some properties have certain values.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The properties that decide, and their values.
    pub when: &'a Map<String, Value>,
    /// The defaults.
    pub set: &'a Map<String, Value>,
}

/// The layers of an object's schema. What is not of their form is none.
pub(super) fn of(schema: &Value) -> Vec<Layer<'_>> {
    let listed = schema.get(LAYERS).and_then(Value::as_array).into_iter().flatten();
    listed
        .filter_map(|layer| Some(Layer { when: layer.get("when")?.as_object()?, set: layer.get("set")?.as_object()? }))
        .collect()
}

/// Checks the layers everywhere in a schema.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(object) => {
            if object.contains_key(LAYERS) {
                check_object(schema)?;
            }
            object.values().try_for_each(check)
        }
        _ => Ok(()),
    }
}

fn check_object(schema: &Value) -> Result<(), String> {
    let wanted = "expected a list of `{\"when\": {NAME: VALUE}, \"set\": {NAME: VALUE}}`";
    let Some(listed) = schema[LAYERS].as_array() else { return Err(format!("`{LAYERS}` is no list; {wanted}")) };
    let layers = of(schema);
    if layers.len() != listed.len() {
        return Err(format!("`{LAYERS}` has other things than layers; {wanted}"));
    }
    if layers.len() > MAX_LAYERS {
        return Err(format!("`{LAYERS}` has {} layers, the limit is {MAX_LAYERS}", layers.len()));
    }
    let names = layers.iter().flat_map(|layer| layer.when.keys().chain(layer.set.keys()));
    match names.into_iter().find(|name| schema["properties"].get(name.as_str()).is_none()) {
        Some(name) => Err(format!("`{LAYERS}` names `{}`, which is none of the properties", Shown::name(name))),
        None => Ok(()),
    }
}

/// Fills `value` in. What the schema comes to, once unfolded, bounds how much is filled.
pub(super) fn fill(root: &Value, schema: &Value, value: &mut Value) {
    let schema = resolve(root, schema);
    let (Some(properties), Some(object)) = (schema.get("properties").and_then(Value::as_object), value.as_object_mut())
    else {
        return;
    };
    rename(root, properties, object);
    for layer in of(schema) {
        if layer.when.iter().all(|(name, wanted)| current(root, properties, object, name) == Some(wanted)) {
            for (name, value) in layer.set {
                object.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    for (name, property) in properties {
        // An optional parameter without a value of its own stays out.
        if let (false, Some(default)) = (object.contains_key(name), default(root, property)) {
            object.insert(name.clone(), default.clone());
        }
        if let Some(inner) = object.get_mut(name) {
            fill(root, property, inner);
        }
    }
    object.retain(|name, _| {
        properties.get(name).is_none_or(|property| property.get(CHOOSES) != Some(&Value::Bool(true)))
    });
}

/// Properties that are given by their old names and by those of today.
pub(super) fn said_twice(root: &Value, value: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    look_for_both(root, root, value, "", &mut found);
    found
}

fn look_for_both(root: &Value, schema: &Value, value: &Value, pointer: &str, found: &mut Vec<Problem>) {
    let schema = resolve(root, schema);
    let (Some(properties), Some(object)) = (schema.get("properties").and_then(Value::as_object), value.as_object())
    else {
        return;
    };
    for (name, inner) in object {
        let Some(property) = properties.get(name) else { continue };
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        if let Some(now) = property.get(MEANS).and_then(Value::as_str).filter(|now| object.contains_key(*now)) {
            let (old, now) = (Shown::name(name), Shown::name(now));
            let message = format!("`{old}` is an old name of `{now}`, which is given, too");
            found.push(Problem { pointer: pointer.clone(), message, help: Some(format!("leave `{old}` out")) });
        }
        look_for_both(root, property, inner, &pointer, found);
    }
}

/// Gives properties and values the names that they have today.
fn rename(root: &Value, properties: &Map<String, Value>, object: &mut Map<String, Value>) {
    for (old, property) in properties {
        let Some(name) = property.get(MEANS).and_then(Value::as_str) else { continue };
        if let Some(mut value) = object.remove(old) {
            rename_value(root, property, &mut value);
            object.entry(name.to_owned()).or_insert(value);
        }
    }
    for (name, value) in object {
        if let Some(property) = properties.get(name) {
            rename_value(root, property, value);
        }
    }
}

fn rename_value(root: &Value, property: &Value, value: &mut Value) {
    if let Some(name) = constants(root, property).find(|form| form["const"] == *value).and_then(|form| form.get(MEANS))
    {
        *value = name.clone();
    }
}

/// The constants that a property may be, where it is a choice of some.
pub(super) fn constants<'a>(root: &'a Value, property: &'a Value) -> impl Iterator<Item = &'a Value> {
    let forms = |schema: &'a Value| ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key)?.as_array());
    let outer = forms(resolve(root, property)).into_iter().flatten();
    // An optional choice is an alternative of the choice and nothing.
    let inner = move |form: &'a Value| {
        let form = resolve(root, form);
        forms(form).map_or_else(|| vec![form], |inner| inner.iter().collect())
    };
    let own = Some(property).filter(|form| form.get("const").is_some());
    own.into_iter().chain(outer.flat_map(inner)).filter(|form| form.get("const").is_some())
}

fn current<'a>(
    root: &'a Value,
    properties: &'a Map<String, Value>,
    object: &'a Map<String, Value>,
    name: &str,
) -> Option<&'a Value> {
    object.get(name).or_else(|| default(root, properties.get(name)?))
}

fn default<'a>(root: &'a Value, property: &'a Value) -> Option<&'a Value> {
    property.get("default").or_else(|| resolve(root, property).get("default")).filter(|default| !default.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schema::Schema;

    fn schema() -> Schema {
        Schema::new(json!({
            "properties": {
                "preset": {"x-chooses": true, "oneOf": [
                    {"const": "uwe"}, {"const": "s4", "deprecated": true, "x-means": "uwe"}, {"const": "paper"},
                ]},
                "profile": {"deprecated": true, "x-means": "preset", "oneOf": [
                    {"const": "peer", "deprecated": true, "x-means": "uwe"},
                ]},
                "optimiser": {"$ref": "#/$defs/Optimiser", "default": "sgd"},
                "lr": {"type": "number", "default": 0.05},
                "epochs": {"type": ["integer", "null"], "default": null},
                "cut": {"anyOf": [{"$ref": "#/$defs/Cut"}, {"type": "null"}], "default": null},
            },
            "additionalProperties": false,
            "$defs": {
                "Optimiser": {"oneOf": [{"const": "sgd"}, {"const": "adam"}]},
                "Cut": {"oneOf": [{"const": "of-all"}, {"const": "of_all", "deprecated": true, "x-means": "of-all"}]},
            },
            "x-layers": [
                {"when": {"preset": "uwe"}, "set": {"epochs": 100}},
                {"when": {"preset": "uwe", "optimiser": "sgd"}, "set": {"lr": 0.02}},
                {"when": {"optimiser": "adam"}, "set": {"lr": 0.001}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_given_comes_before_presets_and_these_before_defaults() {
        for (given, filled) in [
            (json!({}), json!({"optimiser": "sgd", "lr": 0.05})),
            (json!({"preset": "uwe"}), json!({"epochs": 100, "lr": 0.02, "optimiser": "sgd"})),
            (json!({"preset": "uwe", "epochs": 3}), json!({"epochs": 3, "lr": 0.02, "optimiser": "sgd"})),
            // A preset's rate belongs to its optimiser.
            (json!({"preset": "uwe", "optimiser": "adam"}), json!({"optimiser": "adam", "epochs": 100, "lr": 0.001})),
            (json!({"optimiser": "adam", "lr": 0.3}), json!({"optimiser": "adam", "lr": 0.3})),
            (json!({"preset": "paper"}), json!({"optimiser": "sgd", "lr": 0.05})),
        ] {
            assert!(schema().problems(&given).is_empty(), "{given}");
            let found = schema().with_defaults(&given);
            assert_eq!(found, filled, "{given}");
            assert_eq!(schema().with_defaults(&found), filled, "filled once more, {given}");
        }
    }

    #[test]
    fn old_names_mean_what_they_are_called_today() {
        let wanted = schema().with_defaults(&json!({"preset": "uwe", "cut": "of-all"}));
        for given in [json!({"preset": "s4", "cut": "of_all"}), json!({"profile": "peer", "cut": "of_all"})] {
            assert!(schema().problems(&given).is_empty(), "{given}");
            assert_eq!(schema().with_defaults(&given), wanted, "{given}");
        }
        let both = schema().problems(&json!({"preset": "paper", "profile": "peer"}));
        assert_eq!(both.len(), 1);
        assert_eq!(both[0].pointer, "/profile");
        // Nobody is told of them, either.
        let problems = schema().problems(&json!({"preset": "s5"}));
        assert!(problems[0].message.ends_with("is none of \"uwe\", \"paper\""), "{problems:?}");
    }

    #[test]
    fn layers_that_say_nothing_are_refused() {
        for layers in [json!({}), json!([1]), json!([{"when": {}}]), json!([{"when": {}, "set": {"nothing": 1}}])] {
            let schema = json!({"properties": {"a": {}}, "x-layers": layers});
            assert!(Schema::new(schema.clone()).is_err(), "{schema}");
        }
        let many = vec![json!({"when": {}, "set": {"a": 1}}); 65];
        assert!(Schema::new(json!({"properties": {"a": {}}, "x-layers": many})).is_err());
    }
}
