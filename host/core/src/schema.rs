//! Checking values against JSON Schemas, with every problem at its place.

mod budget;
mod layers;
mod search;

use querist_protocol::{Shown, StrategyDescription, StrategyError};
use serde_json::Value;

pub use budget::{MAX_SCHEMA_BYTES, MAX_UNFOLDED_BYTES};
pub use layers::Layer;
pub use search::{Range, SEARCH};

/// Problems that are told at most; nobody mends more at once.
const MAX_PROBLEMS: usize = 100;
/// Bytes of a problem's text at most.
const MAX_PROBLEM_BYTES: usize = 600;
/// Alternatives that are told of a value that fits none.
const MAX_REASONS: usize = 6;

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
    /// If it is too large, too deep or recursive, also after its references were followed, or no valid schema without
    /// outside references.
    pub fn new(source: Value) -> Result<Self, SchemaError> {
        let error = |reason: String| SchemaError(Shown::sentence(&reason));
        budget::check(&source).map_err(error)?;
        layers::check(&source).map_err(error)?;
        search::check(&source).map_err(error)?;
        let patterns = jsonschema::PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&source)
            .map_err(|reason| error(reason.to_string()))?;
        Ok(Self { source, validator })
    }

    /// What is wrong with `value`, up to a hundred things.
    pub fn problems(&self, value: &Value) -> Vec<Problem> {
        let errors = self.validator.iter_errors(value).take(MAX_PROBLEMS);
        let mut problems: Vec<Problem> =
            errors.flat_map(|error| self.describe(&error, value)).take(MAX_PROBLEMS).collect();
        problems.extend(layers::said_twice(&self.source, value));
        problems.sort_by(|a, b| a.pointer.cmp(&b.pointer).then_with(|| a.message.cmp(&b.message)));
        problems.dedup();
        problems.truncate(MAX_PROBLEMS);
        problems
    }

    /// `value` with the default of every property that it leaves out, at every level: those of the presets that it
    /// chooses first. Old names become those of today, and what only chooses among defaults is gone.
    pub fn with_defaults(&self, value: &Value) -> Value {
        let mut filled = value.clone();
        layers::fill(&self.source, &self.source, &mut filled);
        filled
    }

    /// `value` as a strategy gets it, if nothing is wrong with it: see [`Self::with_defaults`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn settled(&self, value: &Value) -> Result<Value, Vec<Problem>> {
        let problems = self.problems(value);
        if problems.is_empty() { Ok(self.with_defaults(value)) } else { Err(problems) }
    }

    /// What is chosen by name, and defaults that depend on other properties.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        layers::of(&self.source)
    }

    /// Names of the properties that an object may have.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.source
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|known| known.keys().map(String::as_str))
    }

    /// Whether a property is a whole number.
    pub fn is_whole(&self, name: &str) -> bool {
        let kind = &resolve(&self.source, &self.source["properties"][name])["type"];
        kind == "integer" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "integer"))
    }

    /// Where a property is searched. `None` where neither its author nor its type says.
    pub fn search(&self, name: &str) -> Option<Range> {
        search::of(&self.source, self.source.get("properties")?.get(name)?)
    }

    fn describe(&self, error: &jsonschema::ValidationError<'_>, value: &Value) -> Vec<Problem> {
        use jsonschema::error::ValidationErrorKind as Kind;
        let pointer = error.instance_path().as_str().to_owned();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                self.unknown(&pointer, unexpected.iter())
            }
            // A schema without any properties refuses each value, and does not say whose it is.
            Kind::FalseSchema => match value.pointer(&pointer) {
                Some(Value::Object(keys)) => self.unknown(&pointer, keys.keys()),
                _ => vec![Problem { pointer, message: "nothing is allowed here".to_owned(), help: None }],
            },
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                let forms = self.forms(error.schema_path().as_str());
                let wanted: Vec<String> = forms.iter().flat_map(|form| self.names_of(form, 0)).collect();
                let old = forms.iter().flat_map(|form| layers::constants(&self.source, form));
                let old: Vec<String> =
                    old.filter(|f| f["deprecated"] == true).map(|f| f["const"].to_string()).collect();
                vec![Problem {
                    pointer,
                    message: told(&alternatives(&self.source, error, context, &forms, &wanted, &old)),
                    help: None,
                }]
            }
            _ => vec![Problem { pointer, message: told(&error.to_string()), help: None }],
        }
    }

    /// Keys of the object at a pointer that the schema does not know.
    fn unknown<'a>(&self, pointer: &str, keys: impl Iterator<Item = &'a String>) -> Vec<Problem> {
        let known = self.properties_at(pointer);
        let unknown = keys.filter(|key| !known.contains(key)).take(MAX_PROBLEMS);
        let one = |key: &String| Problem {
            pointer: format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
            message: format!("unknown key `{}`", Shown::name(key)),
            help: Some(suggest(key, &known).map_or_else(|| listing(&known), |near| format!("did you mean `{near}`?"))),
        };
        unknown.map(one).collect()
    }

    /// The alternatives at a place of the schema, whose path may lead through references.
    fn forms(&self, path: &str) -> Vec<&Value> {
        let mut here = &self.source;
        for step in path.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match (step.as_str(), here) {
                ("$ref", _) => Some(resolve(&self.source, here)),
                (step, Value::Array(items)) => step.parse().ok().and_then(|at: usize| items.get(at)),
                (step, here) => here.get(step),
            };
            let Some(next) = next else { return Vec::new() };
            here = next;
        }
        here.as_array().map(|forms| forms.iter().map(|form| resolve(&self.source, form)).collect()).unwrap_or_default()
    }

    /// What a form is called, or what the forms are called that it stands for.
    fn names_of(&self, form: &Value, depth: usize) -> Vec<String> {
        let form = resolve(&self.source, form);
        let inner = ["oneOf", "anyOf"].iter().find_map(|key| form.get(key)?.as_array());
        match inner {
            Some(forms) if depth < MAX_REASONS => {
                forms.iter().flat_map(|form| self.names_of(form, depth + 1)).collect()
            }
            // Nothing is what stands there where the key is left out, and old spellings are for old files.
            _ if form["type"] == "null" || form["deprecated"] == true => Vec::new(),
            _ => vec![form_name(form)],
        }
    }

    /// Whether a text is wanted at a pointer, and no number, list or table.
    pub fn wants_text(&self, pointer: &str) -> bool {
        let mut here = resolve(&self.source, &self.source);
        for step in pointer.split('/').skip(1) {
            let Some(next) = here.get("properties").and_then(|properties| properties.get(step)) else { return false };
            here = resolve(&self.source, next);
        }
        let is_text = |kind: &Value| kind == "string" || kind == "null";
        match here.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().all(is_text) && kinds.iter().any(|kind| kind == "string"),
            Some(kind) => kind == "string",
            None => false,
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

/// Parameters as the strategy gets them, checked against its schema and filled in.
///
/// # Errors
/// [`StrategyError::InvalidParams`] with all that is wrong.
pub fn settled(strategy: &StrategyDescription, params: &Value) -> Result<Value, StrategyError> {
    let invalid = |reason: String| StrategyError::InvalidParams(format!("{}: {reason}", strategy.id));
    let schema = Schema::new(strategy.schema.clone()).map_err(|error| invalid(error.to_string()))?;
    schema.settled(params).map_err(|problems| {
        let told = problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message));
        invalid(told.collect::<Vec<_>>().join("; "))
    })
}

/// Fills a value in by a schema of this program: its defaults, those of chosen presets first.
pub(crate) fn fill(schema: &Value, value: &mut Value) {
    layers::fill(schema, schema, value);
}

/// A problem's text, in which names and values of schema and value stand.
fn told(text: &str) -> String {
    Shown::new(text, MAX_PROBLEM_BYTES).into_string()
}

fn alternatives(
    source: &Value,
    error: &jsonschema::ValidationError<'_>,
    context: &[Vec<jsonschema::ValidationError<'static>>],
    forms: &[&Value],
    wanted: &[String],
    old: &[String],
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
    choices.retain(|choice| !old.contains(choice));
    if !choices.is_empty() {
        return format!("{} is none of {}", error.instance(), choices.join(", "));
    }
    let mut reasons = of_same_kind(source, error.instance(), forms, context, 0);
    reasons.truncate(MAX_REASONS);
    reasons.sort();
    reasons.dedup();
    match (wanted.is_empty(), reasons.is_empty()) {
        (true, _) => error.to_string(),
        (false, true) => format!("expected {}", wanted.join(", or ")),
        (false, false) => format!("{}; expected {}", reasons.join("; "), wanted.join(", or ")),
    }
}

/// What is wrong with the value as the forms of its own kind: that is what one wants to know.
fn of_same_kind(
    source: &Value,
    value: &Value,
    forms: &[&Value],
    context: &[Vec<jsonschema::ValidationError<'static>>],
    depth: usize,
) -> Vec<String> {
    use jsonschema::error::ValidationErrorKind as Kind;
    let of_form = |(form, errors): (&&Value, &Vec<jsonschema::ValidationError<'static>>)| {
        let form = resolve(source, form);
        let inner = ["oneOf", "anyOf"].iter().find_map(|key| form.get(key)?.as_array());
        match (form.get("type"), inner) {
            (Some(kind), _) if is_of_kind(value, kind) => errors.iter().map(ToString::to_string).collect(),
            (None, Some(inner)) if depth < MAX_REASONS => {
                let inner: Vec<&Value> = inner.iter().collect();
                let nested = errors.iter().filter_map(|error| match error.kind() {
                    Kind::OneOfNotValid { context } | Kind::AnyOf { context } => Some(context),
                    _ => None,
                });
                nested.flat_map(|context| of_same_kind(source, value, &inner, context, depth + 1)).collect()
            }
            _ => Vec::new(),
        }
    };
    forms.iter().zip(context).flat_map(of_form).collect()
}

/// A form of values in a reader's words.
fn form_name(form: &Value) -> String {
    let keys = || {
        let known = form.get("properties").and_then(Value::as_object);
        let keys: Vec<&String> = known.map(|known| known.keys().collect()).unwrap_or_default();
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    };
    match form.get("type").and_then(Value::as_str) {
        Some("integer") => "a whole number".to_owned(),
        Some("number") => "a number".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("null") => "nothing".to_owned(),
        Some("object") => format!("a table with {}", keys()),
        Some("string") => match form.pointer("/examples/0") {
            Some(example) => format!("a text such as {example}"),
            None => "a text".to_owned(),
        },
        _ => form.to_string(),
    }
}

fn is_of_kind(value: &Value, kind: &Value) -> bool {
    matches!(
        (value, kind.as_str()),
        (Value::Number(_), Some("integer" | "number"))
            | (Value::Array(_), Some("array"))
            | (Value::Bool(_), Some("boolean"))
            | (Value::Object(_), Some("object"))
            | (Value::String(_), Some("string"))
            | (Value::Null, Some("null"))
    )
}

fn listing(known: &[String]) -> String {
    if known.is_empty() {
        "no keys are allowed here".to_owned()
    } else {
        told(&format!("the keys are {}", known.join(", ")))
    }
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

/// Follows local references, which lead to no circle.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|name| budget::target(root, name)) {
        schema = target;
    }
    schema
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter schema cannot be used: {0}")]
pub struct SchemaError(Shown);

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
    }

    #[test]
    fn what_a_hostile_schema_says_is_short() {
        let many: Vec<Value> = (0..3000).map(|n| json!({"type": "object", "required": [format!("k{n}")]})).collect();
        let schema = Schema::new(json!({"properties": {"a": {"anyOf": many}}, "additionalProperties": false})).unwrap();
        let mut value = json!({"a": "x".repeat(1 << 20), "\u{1b}[31m": 1});
        let keys = (0..3000).map(|n| (format!("other{n}"), json!(1)));
        value.as_object_mut().unwrap().extend(keys);
        let problems = schema.problems(&value);
        assert!((2..=MAX_PROBLEMS).contains(&problems.len()), "{}", problems.len());
        for problem in problems {
            let text = problem.message + &problem.help.unwrap_or_default();
            assert!(text.len() < 2000 && querist_protocol::is_showable(&text), "{} bytes: {text:.200}", text.len());
        }
    }
}
