//! Reading run and study files: every problem at once, at its place in the user's file.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use querist_core::config::OWN_SCHEMA;
use querist_core::schema::{Problem, Schema};
use querist_files::Links;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::exit::Usage;

/// Bytes of a config file at most.
const MAX_BYTES: u64 = 4 << 20;

/// A config file as data, with the place of everything in it.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    name: String,
    text: String,
    value: Value,
    /// Place of each value, by JSON pointer; of unknown keys the key.
    spans: HashMap<String, Place>,
    /// Pointers that `--set` gave a value, which therefore have no place in the file, and the value as it was written.
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Place {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl ConfigFile {
    /// Reads a TOML file and applies `--set key=value` overrides.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let unreadable = |error| Usage(format!("cannot read {error}"));
        let text = querist_files::read_text(path, Links::Follow, MAX_BYTES).map_err(unreadable)?;
        Self::of_text(querist_files::shown(path).into_string(), text, overrides)
    }

    /// The same of a text that has a name.
    pub fn of_text(name: String, text: String, overrides: &[String]) -> Result<Self> {
        let mut file = Self::parse(name, text)?;
        file.apply(overrides)?;
        Ok(file)
    }

    /// Applies `--set key=value` overrides.
    pub fn apply(&mut self, overrides: &[String]) -> Result<()> {
        for assignment in overrides {
            self.set(assignment).map_err(|message| Usage(format!("`--set {assignment}`: {message}")))?;
        }
        Ok(())
    }

    /// Takes another strategy than the file's. Parameters and a label are those of the file's own, and go with it; its
    /// id, where it had parameters.
    pub fn use_strategy(&mut self, id: &str) -> Option<String> {
        let own = self.value.pointer("/strategy/id").and_then(Value::as_str).map(str::to_owned);
        let mut had_params = false;
        if own.as_deref() != Some(id)
            && let Some(Value::Object(strategy)) = self.value.get_mut("strategy")
        {
            strategy.remove("label");
            had_params = strategy.remove("params").is_some();
        }
        // An id is no TOML that could mean anything else.
        let _ = self.set(&format!("strategy.id={}", Value::String(id.to_owned())));
        own.filter(|_| had_params)
    }

    fn parse(name: String, text: String) -> Result<Self> {
        let table = match DeTable::parse(&text) {
            Ok(table) => table,
            Err(error) => {
                let problem =
                    Located { message: error.message().to_owned(), help: None, span: error.span(), origin: None };
                return Err(Problems::new(&name, &text, "not valid TOML", vec![problem]).into());
            }
        };
        let mut spans = HashMap::new();
        let value = convert_table(table.get_ref(), "", &mut spans);
        Ok(Self { name, text, value, spans, set: Vec::new() })
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the file lists several strategies, as only studies do.
    pub fn is_study(&self) -> bool {
        self.value.get("strategies").is_some()
    }

    /// Whether the file, or what was set beside it, has a value there.
    pub fn has(&self, pointer: &str) -> bool {
        self.value.pointer(pointer).is_some()
    }

    /// Puts a value where there is none.
    pub fn default_to(&mut self, assignment: &str) {
        let key = assignment.split('=').next().unwrap_or_default();
        if !self.has(&format!("/{}", key.replace('.', "/"))) {
            // What this program itself sets is well-formed.
            let _ = self.set(assignment);
        }
    }

    /// The data as a typed config, checked against its schema.
    pub fn check<T: DeserializeOwned>(&self, schema: &Value) -> Result<T> {
        let schema = Schema::new(schema.clone())?;
        let mut value = self.value.clone();
        for (pointer, text) in &self.set {
            as_text(&mut value, pointer, text, &schema);
        }
        let problems = schema.problems(&value);
        if !problems.is_empty() {
            return Err(self.report(&problems, "").into());
        }
        // What editors read is nothing of a run.
        value.as_object_mut().map(|file| file.remove(OWN_SCHEMA));
        serde_json::from_value(value).with_context(|| self.name.clone())
    }

    /// Values below `pointer` that `--set` gave, as they were written where the schema of that part wants text.
    pub fn restore_texts(&self, value: &mut Value, pointer: &str, schema: &Schema) {
        for (at, text) in &self.set {
            if let Some(below) = at.strip_prefix(pointer) {
                as_text(value, below, text, schema);
            }
        }
    }

    /// Problems with the part of the file at `pointer`, as one report.
    pub fn report(&self, problems: &[Problem], pointer: &str) -> Problems {
        let located = problems.iter().map(|problem| {
            let at = format!("{pointer}{}", problem.pointer);
            Located {
                message: problem.message.clone(),
                help: problem.help.clone(),
                span: self.span_of(&at, problem.message.starts_with("unknown key")),
                origin: Some(at),
            }
        });
        let count = problems.len();
        let title = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Problems::new(&self.name, &self.text, &title, located.collect())
    }

    /// The place of a pointer, or of the nearest thing around it.
    fn span_of(&self, pointer: &str, key: bool) -> Option<Range<usize>> {
        let mut at = pointer;
        if self.set.iter().any(|(set, _)| at == set || at.starts_with(&format!("{set}/"))) {
            return None;
        }
        loop {
            if let Some(place) = self.spans.get(at) {
                let exact = at == pointer;
                let key_first = (key || !exact).then(|| place.key.clone()).flatten();
                return Some(key_first.unwrap_or_else(|| place.value.clone()));
            }
            at = at.rsplit_once('/')?.0;
        }
    }

    fn set(&mut self, assignment: &str) -> Result<(), String> {
        let (path, text) = assignment.split_once('=').ok_or("write key=value, such as budget.batch=100")?;
        let keys: Vec<&str> = path.trim().split('.').collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err("the key has an empty part".to_owned());
        }
        // What is no TOML value is a string, so that nobody needs to quote twice.
        let value = match DeValue::parse(text.trim()) {
            Ok(value) => convert(value.get_ref(), "", &mut HashMap::new()),
            Err(_) => Value::String(text.trim().to_owned()),
        };
        let mut here = &mut self.value;
        for (i, key) in keys.iter().enumerate() {
            let object = here.as_object_mut().ok_or_else(|| format!("`{}` is no table", keys[..i].join(".")))?;
            here = object.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
        }
        *here = value;
        // What was set has no place in the file any more.
        let pointer = format!("/{}", keys.join("/"));
        self.set.push((pointer, text.trim().to_owned()));
        Ok(())
    }
}

/// Puts a value back as it was written where the schema wants text: a folder called 2024 is no number.
pub fn as_text(value: &mut Value, pointer: &str, text: &str, schema: &Schema) {
    if let Some(value) = value.pointer_mut(pointer).filter(|v| !v.is_string() && schema.wants_text(pointer)) {
        *value = Value::String(text.to_owned());
    }
}

fn convert_table(table: &DeTable<'_>, pointer: &str, spans: &mut HashMap<String, Place>) -> Value {
    let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let name = key.get_ref().to_string();
        let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        spans.insert(at.clone(), Place { key: Some(key.span()), value: value.span() });
        let value = convert(value.get_ref(), &at, spans);
        (name, value)
    };
    Value::Object(table.iter().map(entry).collect())
}

fn convert(value: &DeValue<'_>, pointer: &str, spans: &mut HashMap<String, Place>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(digits) => {
            let (text, radix) = (digits.as_str(), digits.radix());
            let unsigned = u64::from_str_radix(text, radix).map(Number::from);
            let number = unsigned.or_else(|_| i64::from_str_radix(text, radix).map(Number::from));
            number.map_or_else(|_| Value::String(text.to_owned()), Value::Number)
        }
        DeValue::Float(digits) => {
            let number = digits.as_str().parse().ok().and_then(Number::from_f64);
            // JSON has no infinities; as text it is refused where a number is wanted.
            number.map_or_else(|| Value::String(digits.as_str().to_owned()), Value::Number)
        }
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(items) => {
            let item = |(i, item): (usize, &Spanned<DeValue<'_>>)| {
                let at = format!("{pointer}/{i}");
                spans.insert(at.clone(), Place { key: None, value: item.span() });
                convert(item.get_ref(), &at, spans)
            };
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        DeValue::Table(table) => convert_table(table, pointer, spans),
    }
}

#[derive(Debug)]
struct Located {
    message: String,
    help: Option<String>,
    span: Option<Range<usize>>,
    origin: Option<String>,
}

/// Everything that is wrong with a config file.
#[derive(Debug)]
pub struct Problems {
    title: String,
    source: NamedSource<String>,
    problems: Vec<Located>,
}

impl Problems {
    fn new(name: &str, text: &str, title: &str, problems: Vec<Located>) -> Self {
        Self {
            title: format!("{name}: {title}"),
            source: NamedSource::new(name, text.to_owned()).with_language("TOML"),
            problems,
        }
    }

    /// Each problem with the key that it is about.
    pub fn messages(&self) -> Vec<String> {
        let message = |problem: &Located| {
            let place = problem.origin.as_deref().map(|at| at.trim_start_matches('/').replace('/', "."));
            let place = place.filter(|place| !place.is_empty()).map(|place| format!("{place}: ")).unwrap_or_default();
            let help = problem.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{place}{}{help}", problem.message)
        };
        self.problems.iter().map(message).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let mut lines = Vec::new();
        for problem in &self.problems {
            let place = problem.origin.as_deref().map(|at| at.trim_start_matches('/').replace('/', "."));
            match (&problem.span, &problem.help, place) {
                (Some(_), Some(help), Some(place)) => lines.push(format!("{place}: {help}")),
                (Some(_), Some(help), None) => lines.push(help.clone()),
                (None, help, place) => {
                    let place = place.filter(|place| !place.is_empty()).unwrap_or_else(|| "the file".to_owned());
                    let help = help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
                    lines.push(format!("{place}: {}{help}", problem.message));
                }
                (Some(_), None, _) => {}
            }
        }
        (!lines.is_empty()).then(|| Box::new(lines.join("\n")) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.problems.iter().filter_map(|problem| {
            let span = problem.span.clone()?;
            Some(LabeledSpan::new(Some(problem.message.clone()), span.start, span.len()))
        })))
    }
}

#[cfg(test)]
mod tests {
    use querist_core::config::{RunConfig, schemas};
    use serde_json::json;

    use super::*;

    fn report(text: &str) -> String {
        let file = ConfigFile::parse("run.toml".to_owned(), text.to_owned()).unwrap();
        let error = file.check::<RunConfig>(&schemas()["run"]).unwrap_err();
        let problems = error.downcast_ref::<Problems>().unwrap();
        let mut out = String::new();
        let theme = miette::GraphicalTheme::unicode_nocolor();
        miette::GraphicalReportHandler::new_themed(theme).render_report(&mut out, problems).unwrap();
        out
    }

    #[test]
    fn all_problems_stand_at_their_lines() {
        let out = report(
            "version = 1\ndataset = { name = \"digits\", tset = 300 }\nstrategy = { id = \"random\" }\n\
             [budget]\ninitial = -1\nbatch = 10\nrounds = \"many\"\n[model]\ndropout = 1.5\n",
        );
        for part in ["4 problems", "unknown key `tset`", "did you mean `test`?", "-1 is less than", "1.5 is greater"] {
            assert!(out.contains(part), "{part} is missing in\n{out}");
        }
        assert!(out.contains("rounds = \"many\""), "{out}");
    }

    #[test]
    fn overrides_go_through_the_same_check() {
        let text = "version = 1\ndataset = { name = \"digits\", test = 300 }\nstrategy = { id = \"random\" }\n\
                    budget = { initial = 10, batch = 5, rounds = 2 }\n";
        let mut file = ConfigFile::parse("run.toml".to_owned(), text.to_owned()).unwrap();
        for assignment in ["budget.batch=7", "strategy.id=badge", "strategy.params.first=uniform", "seeds.root=3"] {
            file.set(assignment).unwrap();
        }
        let config: RunConfig = file.check(&schemas()["run"]).unwrap();
        assert_eq!((config.strategy.id.as_str(), config.seeds.root), ("badge", 3));
        assert_eq!(config.strategy.params["first"], "uniform");
        let params =
            json!({"type": "object", "properties": {"folder": {"type": "string"}, "count": {"type": "integer"}}});
        for assignment in ["strategy.params.folder=2024", "strategy.params.count=7"] {
            file.set(assignment).unwrap();
        }
        let config: RunConfig = file.check(&schemas()["run"]).unwrap();
        let mut given = Value::Object(config.strategy.params);
        file.restore_texts(&mut given, "/strategy/params", &Schema::new(params).unwrap());
        assert_eq!((&given["folder"], &given["count"]), (&json!("2024"), &json!(7)));
        assert!(file.set("budget").is_err() && file.set("budget.batch.x=1").is_err() && file.set(".=1").is_err());
        file.set("budget.batch=-1").unwrap();
        assert!(file.check::<RunConfig>(&schemas()["run"]).is_err());
    }
}
