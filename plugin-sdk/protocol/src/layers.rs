//! Defaults in layers: published settings, and defaults that depend on another parameter.
//!
//! Whoever reads parameters fills them in this order: what is given; then each layer whose conditions hold, in the
//! order of the list; then the default of each property. Layers stand in the JSON Schema of the parameters, under
//! keywords that other readers of schemas ignore, so that a strategy receives nothing but settled values.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Keyword of an object: its layers, `[{"when": {NAME: VALUE, ...}, "set": {NAME: VALUE, ...}}, ...]`.
pub const LAYERS: &str = "x-layers";
/// Keyword of a property that only chooses layers: it is gone once they are filled in.
pub const CHOOSES: &str = "x-chooses";
/// Keyword of a property or of a constant that is an old name: the name of today.
pub const MEANS: &str = "x-means";
/// The property that chooses published settings.
pub const PRESET: &str = "preset";

/// Defaults of parameters `P` that hold where some of them have certain values.
pub struct Layer<P> {
    when: Vec<(&'static str, Value)>,
    preset: Option<Preset>,
    set: fn(&mut P),
}

/// Published settings under a name.
struct Preset {
    name: &'static str,
    text: &'static str,
    /// Property and value by which they were chosen before.
    old: Vec<(&'static str, &'static str)>,
}

impl<P> Layer<P> {
    /// Published settings, which a user chooses by `preset = NAME`: the name of a system, `paper` or `authors-code`.
    /// `text` is a sentence that says what they are; `set` changes the defaults.
    pub fn preset(name: &'static str, text: &'static str, set: fn(&mut P)) -> Self {
        let preset = Preset { name, text, old: Vec::new() };
        Self { when: vec![(PRESET, name.into())], preset: Some(preset), set }
    }

    /// Defaults that hold where `property` is `value`, given or by default.
    ///
    /// # Panics
    /// If the value is none of JSON.
    pub fn when(property: &'static str, value: impl Serialize, set: fn(&mut P)) -> Self {
        Self { when: Vec::new(), preset: None, set }.and(property, value)
    }

    /// The same, where another property has a value, too.
    ///
    /// # Panics
    /// If the value is none of JSON.
    #[must_use]
    pub fn and(mut self, property: &'static str, value: impl Serialize) -> Self {
        self.when.push((property, serde_json::to_value(value).expect("a value of JSON")));
        self
    }

    /// An older way to choose the preset, which keeps working: `property = value`.
    #[must_use]
    pub fn once_called(mut self, property: &'static str, value: &'static str) -> Self {
        if let Some(preset) = &mut self.preset {
            preset.old.push((property, value));
        }
        self
    }
}

impl<P: Default + Serialize> Layer<P> {
    /// What the layer sets: the properties whose values it changes from the defaults.
    fn values(&self) -> Map<String, Value> {
        let object = |params: &P| match serde_json::to_value(params) {
            Ok(Value::Object(object)) => object,
            _ => Map::new(),
        };
        let before = object(&P::default());
        let mut params = P::default();
        (self.set)(&mut params);
        object(&params).into_iter().filter(|(name, value)| before.get(name) != Some(value)).collect()
    }
}

/// Writes layers into the schema of the parameters they are of.
pub fn write_layers<P: Default + Serialize>(schema: &mut Value, layers: &[Layer<P>]) {
    let Some(object) = schema.as_object_mut().filter(|_| !layers.is_empty()) else { return };
    let written = layers.iter().map(|layer| {
        let when: Map<String, Value> =
            layer.when.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        json!({ "when": when, "set": layer.values() })
    });
    object.insert(LAYERS.to_owned(), written.collect());
    let presets: Vec<&Preset> = layers.iter().filter_map(|layer| layer.preset.as_ref()).collect();
    if presets.is_empty() {
        return;
    }
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    // First, as it decides what the others mean.
    let rest = std::mem::take(properties);
    properties.insert(PRESET.to_owned(), choice(&presets));
    for old in presets.iter().flat_map(|preset| &preset.old).map(|(property, _)| *property) {
        if old != PRESET {
            properties.insert(old.to_owned(), old_choice(&presets, old));
        }
    }
    properties.extend(rest);
}

/// The property `preset`.
fn choice(presets: &[&Preset]) -> Value {
    let now = presets.iter().map(|preset| json!({"const": preset.name, "description": preset.text}));
    json!({
        "description": "Published settings, which replace the defaults of the other parameters.",
        CHOOSES: true,
        "oneOf": now.chain(old_names(presets, PRESET)).collect::<Vec<_>>(),
    })
}

/// A property that did what `preset` does.
fn old_choice(presets: &[&Preset], property: &str) -> Value {
    json!({"deprecated": true, MEANS: PRESET, "oneOf": old_names(presets, property).collect::<Vec<_>>()})
}

fn old_names<'a>(presets: &'a [&Preset], property: &'a str) -> impl Iterator<Item = Value> + 'a {
    presets.iter().flat_map(move |preset| {
        let names = preset.old.iter().filter(move |(of, _)| *of == property);
        names.map(|(_, name)| {
            let mut form = json!({"const": name, "deprecated": true});
            if *name != preset.name {
                form[MEANS] = preset.name.into();
            }
            form
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Params {
        lr: f64,
        steps: Option<u32>,
    }

    impl Default for Params {
        fn default() -> Self {
            Self { lr: 0.1, steps: None }
        }
    }

    #[test]
    fn layers_are_what_changes() {
        let mut schema = json!({"properties": {"lr": {"default": 0.1}}});
        let layers = [
            Layer::preset("paper", "The paper's.", |params: &mut Params| params.steps = Some(3))
                .once_called("profile", "peer"),
            Layer::when("steps", 3, |params: &mut Params| params.lr = 1.0).and(PRESET, "paper"),
        ];
        write_layers(&mut schema, &layers);
        assert_eq!(
            schema[LAYERS],
            json!([
                {"when": {"preset": "paper"}, "set": {"steps": 3}},
                {"when": {"steps": 3, "preset": "paper"}, "set": {"lr": 1.0}},
            ])
        );
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["preset", "profile", "lr"]);
        assert_eq!(
            schema["properties"]["profile"]["oneOf"],
            json!([{"const": "peer", "deprecated": true, MEANS: "paper"}])
        );
    }

    #[test]
    fn no_layers_change_nothing() {
        let mut schema = json!({"properties": {}});
        write_layers::<Params>(&mut schema, &[]);
        assert_eq!(schema, json!({"properties": {}}));
    }
}
