//! Checking values against JSON Schemas, with every problem at its place.

use serde_json::Value;

/// Bytes of a schema at most.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// Nesting of a schema at most.
const MAX_SCHEMA_DEPTH: usize = 64;

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the value, or of the key that should not be there.
    pub pointer: String,
    /// What is wrong and what is expected.
    pub message: String,
    /// What to do, if anything helps.
    pub help: Option<String>,
}

/// A schema that is ready to check values. Nothing is ever fetched for it, and its patterns run in linear time.
#[derive(Debug)]
pub struct Schema {
    source: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Prepares a schema.
    ///
    /// # Errors
    /// If it is too large, nested too deeply, or no valid schema without outside references.
    pub fn new(source: Value) -> Result<Self, SchemaError> {
        if depth(&source, 0) > MAX_SCHEMA_DEPTH {
            return Err(SchemaError(format!("it is nested deeper than {MAX_SCHEMA_DEPTH} levels")));
        }
        let size = source.to_string().len();
        if size > MAX_SCHEMA_BYTES {
            return Err(SchemaError(format!("it has {size} bytes, the limit is {MAX_SCHEMA_BYTES}")));
        }
        let patterns = jsonschema::PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&source)
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { source, validator })
    }

    /// Everything that is wrong with `value`.
    pub fn problems(&self, value: &Value) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.validator.iter_errors(value).flat_map(|error| self.describe(&error)).collect();
        problems.sort_by(|a, b| a.pointer.cmp(&b.pointer).then_with(|| a.message.cmp(&b.message)));
        problems.dedup();
        problems
    }

    /// `value` with the default of every property that it leaves out, at every level.
    pub fn with_defaults(&self, value: &Value) -> Value {
        let mut filled = value.clone();
        fill(&self.source, &self.source, &mut filled, 0);
        filled
    }

    fn describe(&self, error: &jsonschema::ValidationError<'_>) -> Vec<Problem> {
        use jsonschema::error::ValidationErrorKind as Kind;
        let pointer = error.instance_path().as_str().to_owned();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.properties_at(&pointer);
                let one = |key: &String| Problem {
                    pointer: format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
                    message: format!("unknown key `{key}`"),
                    help: Some(
                        suggest(key, &known).map_or_else(|| listing(&known), |near| format!("did you mean `{near}`?")),
                    ),
                };
                unexpected.iter().map(one).collect()
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                // The closest alternative says more than "no alternative fits".
                let mut problems = vec![Problem { pointer, message: alternatives(error, context), help: None }];
                problems.truncate(1);
                problems
            }
            _ => vec![Problem { pointer, message: error.to_string(), help: None }],
        }
    }

    /// Names of the properties that the schema knows at a pointer.
    fn properties_at(&self, pointer: &str) -> Vec<String> {
        let mut here = resolve(&self.source, &self.source);
        for step in pointer.split('/').skip(1) {
            let next = here.pointer(&format!("/properties/{step}")).or_else(|| here.get("items"));
            here = match next {
                Some(next) => resolve(&self.source, next),
                None => return Vec::new(),
            };
        }
        here.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default()
    }
}

fn alternatives(
    error: &jsonschema::ValidationError<'_>,
    context: &[Vec<jsonschema::ValidationError<'static>>],
) -> String {
    use jsonschema::error::ValidationErrorKind as Kind;
    // Choices are written as alternatives of one constant each, or of a list.
    let mut choices = Vec::new();
    for reason in context.iter().flatten() {
        match reason.kind() {
            Kind::Constant { expected_value } => choices.push(expected_value.to_string()),
            Kind::Enum { options } => choices.push(options.to_string()),
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
                choices.extend(context.iter().flatten().filter_map(|inner| match inner.kind() {
                    Kind::Constant { expected_value } => Some(expected_value.to_string()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    if !choices.is_empty() {
        return format!("{} is none of {}", error.instance(), choices.join(", "));
    }
    let mut reasons: Vec<String> = context.iter().flatten().map(ToString::to_string).collect();
    reasons.dedup();
    reasons.truncate(6);
    if reasons.is_empty() { error.to_string() } else { format!("no allowed form fits: {}", reasons.join("; ")) }
}

fn listing(known: &[String]) -> String {
    if known.is_empty() { "no keys are allowed here".to_owned() } else { format!("the keys are {}", known.join(", ")) }
}

/// The known name nearest to `name`, if any is near.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.as_str())
}

/// Follows local references, a bounded number of times.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..16 {
        match schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
            Some(pointer) => match root.pointer(pointer) {
                Some(target) => schema = target,
                None => return schema,
            },
            None => return schema,
        }
    }
    schema
}

fn fill(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let schema = resolve(root, schema);
    let (Some(properties), Some(object)) = (schema.get("properties").and_then(Value::as_object), value.as_object_mut())
    else {
        return;
    };
    if depth > MAX_SCHEMA_DEPTH {
        return;
    }
    for (name, property) in properties {
        let default = property.get("default").or_else(|| resolve(root, property).get("default"));
        if let (false, Some(default)) = (object.contains_key(name), default) {
            // An optional parameter without a value of its own stays out.
            if !default.is_null() {
                object.insert(name.clone(), default.clone());
            }
        }
        if let Some(inner) = object.get_mut(name) {
            fill(root, property, inner, depth + 1);
        }
    }
}

fn depth(value: &Value, level: usize) -> usize {
    if level > MAX_SCHEMA_DEPTH {
        return level;
    }
    match value {
        Value::Array(items) => items.iter().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        Value::Object(map) => map.values().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        _ => level,
    }
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter schema cannot be used: {0}")]
pub struct SchemaError(String);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::new(json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "beta": {"type": "number", "minimum": 0.0, "default": 1.0},
                "first": {"$ref": "#/$defs/First", "default": "max-norm"},
                "preset": {"type": ["string", "null"], "default": null},
                "inner": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}},
            },
            "$defs": {"First": {"enum": ["max-norm", "uniform"]}},
        }))
        .unwrap()
    }

    #[test]
    fn every_problem_is_found_at_its_place() {
        let problems =
            schema().problems(&json!({"beta": -1.0, "frist": "uniform", "first": "best", "inner": {"n": "x"}}));
        let at: Vec<&str> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, ["/beta", "/first", "/frist", "/inner/n"]);
        assert_eq!(problems[2].help.as_deref(), Some("did you mean `first`?"));
    }

    #[test]
    fn defaults_are_filled_at_every_level() {
        let filled = schema().with_defaults(&json!({"beta": 2.0}));
        assert_eq!(filled, json!({"beta": 2.0, "first": "max-norm", "inner": {"n": 3}}));
        assert!(schema().problems(&filled).is_empty());
    }

    #[test]
    fn hostile_schemas_are_refused() {
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "items": deep });
        }
        assert!(Schema::new(deep).is_err());
        assert!(Schema::new(json!({"description": "x".repeat(MAX_SCHEMA_BYTES)})).is_err());
        assert!(Schema::new(json!({"$ref": "https://example.org/schema.json"})).is_err());
        assert!(Schema::new(json!({"type": "no such type"})).is_err());
        // A reference to itself must not hang the defaults.
        let own = Schema::new(json!({"properties": {"a": {"$ref": "#"}}})).unwrap();
        assert_eq!(own.with_defaults(&json!({"a": {"a": {}}})), json!({"a": {"a": {}}}));
    }
}
