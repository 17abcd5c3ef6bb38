//! What a schema may cost, found before anything is compiled or filled in.
//!
//! A reference costs what it leads to, each time: a few hundred bytes whose definitions refer to each other twice come
//! to gigabytes when they are followed, and a definition that leads to itself never ends. Both are refused, so that
//! compiling a schema, checking a value and filling defaults in take time and memory in proportion to the bounds here.

use std::collections::{BTreeMap, BTreeSet};

use querist_protocol::Shown;
use serde_json::Value;

/// Bytes of a schema at most.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// Bytes of a schema at most, with what its references lead to in their places.
pub const MAX_UNFOLDED_BYTES: usize = 1 << 20;
/// Nesting of a schema at most, counted in JSON.
const MAX_DEPTH: usize = 64;
/// Nesting at most with references followed.
const MAX_UNFOLDED_DEPTH: usize = 128;
/// Objects at most with references followed; each may become a step of every check.
const MAX_UNFOLDED_OBJECTS: usize = 20_000;
/// Regular expressions at most with references followed; each may take a mebibyte.
const MAX_PATTERNS: usize = 64;
/// The only version of JSON Schema that is read: others resolve references in ways of their own.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keys that make references lead elsewhere than to a place in this document.
const REDIRECTING: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// What a part of a schema comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    bytes: usize,
    objects: usize,
    patterns: usize,
    /// Levels below it.
    depth: usize,
}

impl Cost {
    fn add(&mut self, part: Self) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.objects = self.objects.saturating_add(part.objects);
        self.patterns = self.patterns.saturating_add(part.patterns);
        self.depth = self.depth.max(part.depth.saturating_add(1));
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        for (found, most, what) in [
            (self.bytes, MAX_UNFOLDED_BYTES, "bytes"),
            (self.objects, MAX_UNFOLDED_OBJECTS, "objects"),
            (self.patterns, MAX_PATTERNS, "regular expressions"),
            (self.depth, MAX_UNFOLDED_DEPTH, "levels"),
        ] {
            if found > most {
                return Err(format!("with its references followed it has more than {most} {what}"));
            }
        }
        Ok(())
    }
}

/// Checks a schema's size, depth and references.
///
/// # Errors
/// A sentence, with the limit that is passed or the reference that is refused.
pub(super) fn check(source: &Value) -> Result<(), String> {
    if depth(source, 0) > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    let size = source.to_string().len();
    if size > MAX_SCHEMA_BYTES {
        return Err(format!("it has {size} bytes, the limit is {MAX_SCHEMA_BYTES}"));
    }
    if let Some(dialect) = source.get("$schema").filter(|dialect| dialect.as_str() != Some(DIALECT)) {
        return Err(format!("its `$schema` is {}, expected \"{DIALECT}\"", Shown::name(&dialect.to_string())));
    }
    let mut unfolding = Unfolding { root: source, known: BTreeMap::new(), open: BTreeSet::from(["#"]) };
    unfolding.cost(source, true).map(|_| ())
}

/// The place that a reference within the document leads to.
pub(super) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// Follows references, each once.
struct Unfolding<'a> {
    root: &'a Value,
    known: BTreeMap<&'a str, Cost>,
    /// References on the way from the root to here.
    open: BTreeSet<&'a str>,
}

impl<'a> Unfolding<'a> {
    fn cost(&mut self, value: &'a Value, is_root: bool) -> Result<Cost, String> {
        let mut cost = Cost { bytes: 2, ..Cost::default() };
        match value {
            Value::Object(map) => {
                cost.objects = 1;
                cost.patterns = usize::from(map.get("pattern").is_some_and(Value::is_string))
                    + map.get("patternProperties").and_then(Value::as_object).map_or(0, serde_json::Map::len);
                for (key, part) in map {
                    self.check_key(key, part, is_root)?;
                    cost.bytes = cost.bytes.saturating_add(key.len() + 4);
                    let part = self.cost(part, false)?;
                    cost.add(part)?;
                }
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let part = self.followed(reference)?;
                    cost.add(part)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    let part = self.cost(item, false)?;
                    cost.add(part)?;
                }
            }
            Value::String(text) => cost.bytes += text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => cost.bytes += 24,
        }
        cost.check()?;
        Ok(cost)
    }

    fn followed(&mut self, reference: &'a str) -> Result<Cost, String> {
        if let Some(&cost) = self.known.get(reference) {
            return Ok(cost);
        }
        let shown = Shown::name(reference);
        // A spelling with escapes would be read in two ways.
        if reference.contains('%') || !(reference == "#" || reference.starts_with("#/")) {
            return Err(format!("its reference `{shown}` is none of the form `#/$defs/NAME`"));
        }
        let Some(target) = target(self.root, reference) else {
            return Err(format!("its reference `{shown}` leads nowhere"));
        };
        if !self.open.insert(reference) {
            return Err(format!("its reference `{shown}` leads to itself; parameters cannot be recursive"));
        }
        let cost = self.cost(target, false)?;
        self.open.remove(reference);
        self.known.insert(reference, cost);
        Ok(cost)
    }

    fn check_key(&self, key: &str, part: &Value, is_root: bool) -> Result<(), String> {
        // As the name of a parameter it has a schema, and then it is no such word.
        let redirects = REDIRECTING.contains(&key) && !part.is_object();
        if redirects || (key == "$id" && !is_root && part.is_string()) {
            return Err(format!("it uses `{key}`; references must be of the form `#/$defs/NAME`"));
        }
        Ok(())
    }
}

fn depth(value: &Value, level: usize) -> usize {
    if level > MAX_DEPTH {
        return level;
    }
    match value {
        Value::Array(items) => items.iter().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        Value::Object(map) => map.values().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        _ => level,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Definitions `a0` to `aN`, each of which refers to the one before twice by `keyword`.
    fn doubled(keyword: &str, levels: usize) -> Value {
        let mut definitions = json!({"a0": {"type": "integer"}});
        for level in 1..=levels {
            let before = json!({"$ref": format!("#/$defs/a{}", level - 1)});
            let twice = match keyword {
                "properties" => json!({"b": before, "c": before}),
                _ => json!([before, before]),
            };
            definitions[format!("a{level}")] = json!({ keyword: twice });
        }
        json!({"$ref": format!("#/$defs/a{levels}"), "$defs": definitions})
    }

    #[track_caller]
    fn refused(schema: &Value, words: &str) {
        let error = check(schema).unwrap_err();
        assert!(error.contains(words), "`{words}` is missing in: {error}");
    }

    #[test]
    fn what_doubles_with_every_line_is_refused_at_once() {
        for keyword in ["allOf", "anyOf", "oneOf", "prefixItems", "properties"] {
            refused(&doubled(keyword, 30), "more than");
            check(&doubled(keyword, 5)).unwrap();
        }
        // A default of some size in many places.
        let part = json!({"default": "x".repeat(100_000)});
        let many: serde_json::Map<String, Value> =
            (0..20).map(|n| (format!("p{n}"), json!({"$ref": "#/$defs/part"}))).collect();
        refused(&json!({"properties": many, "$defs": {"part": part}}), "more than 1048576 bytes");
    }

    #[test]
    fn references_that_lead_to_themselves_are_refused() {
        refused(&json!({"properties": {"a": {"$ref": "#"}}}), "leads to itself");
        refused(&json!({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}), "leads to itself");
        let a = json!({"items": {"$ref": "#/$defs/b"}});
        let two = json!({"a": a, "b": {"default": {}, "properties": {"x": {"$ref": "#/$defs/a"}}}});
        refused(&json!({"$defs": two}), "leads to itself");
        refused(&json!({"properties": {"a": {"properties": {"b": {"$ref": "#/properties/a"}}}}}), "leads to itself");
    }

    #[test]
    fn references_lead_to_a_place_in_the_document() {
        for reference in ["#a", "other.json", "https://example.org/schema.json", "#/$defs/%61", "/x", ""] {
            refused(&json!({"$ref": reference, "$defs": {"a": {}}}), "is none of the form");
        }
        refused(&json!({"$ref": "#/$defs/b", "$defs": {"a": {}}}), "leads nowhere");
        refused(&json!({"properties": {"a": {"$dynamicRef": "#x"}}}), "$dynamicRef");
        refused(&json!({"properties": {"a": {"$id": "http://x/y", "$ref": "#/z"}}}), "$id");
        refused(&json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "draft-04");
        check(
            &json!({"$schema": DIALECT, "$id": "querist:run", "properties": {"first": {"default": {"id": "margin"}}}}),
        )
        .unwrap();
    }

    #[test]
    fn patterns_are_counted() {
        let many: serde_json::Map<String, Value> =
            (0..65).map(|n| (format!("p{n}"), json!({"pattern": "a"}))).collect();
        refused(&json!({ "properties": many }), "more than 64 regular expressions");
    }
}
