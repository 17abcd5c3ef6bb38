//! Ranges in which parameters are worth searching, as the author of a strategy names them.
//!
//! A property of the schema says so under [`SEARCH`]: `{"log": [LOW, HIGH]}` for what counts by its order of magnitude,
//! `{"linear": [LOW, HIGH]}` for what counts by its difference, `{"choices": [...]}` for what is chosen. A study takes
//! its values from there, so that nobody needs to know a strategy to search it.

use querist_protocol::Shown;
use querist_protocol::layers::MEANS;
use serde_json::{Number, Value};

use super::{layers, resolve};

/// Keyword of a property: where its values are searched.
pub const SEARCH: &str = "x-querist-search";
/// Choices of a property at most, and values taken of a range.
const MAX_VALUES: usize = 100;
/// Digits of a value taken of a range: it stands in labels, which should say it whole.
const DIGITS: i32 = 3;

/// Where the values of a parameter are searched.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// Between two positive numbers, each as many times the one before.
    Log(f64, f64),
    /// Between two numbers, each as much more than the one before.
    Linear(f64, f64),
    /// One of some.
    Choices(Vec<Value>),
}

impl Range {
    /// Reads `{"log": [LOW, HIGH]}`, `{"linear": [LOW, HIGH]}` or `{"choices": [...]}`.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn read(value: &Value) -> Result<Self, String> {
        let forms = "expected one of { log = [LOW, HIGH] }, { linear = [LOW, HIGH] } and { choices = [...] }";
        let Some((key, inner)) = value.as_object().filter(|form| form.len() == 1).and_then(|form| form.iter().next())
        else {
            return Err(format!("{} is no range; {forms}", Shown::name(&value.to_string())));
        };
        match key.as_str() {
            "log" => bounds(inner, f64::MIN_POSITIVE).map(|(low, high)| Self::Log(low, high)),
            "linear" => bounds(inner, f64::MIN).map(|(low, high)| Self::Linear(low, high)),
            "choices" => match inner.as_array() {
                Some(choices) if (1..=MAX_VALUES).contains(&choices.len()) => Ok(Self::Choices(choices.clone())),
                _ => Err(format!("`choices` is no list of 1 to {MAX_VALUES} values")),
            },
            key => Err(format!("`{}` is no kind of range; {forms}", Shown::name(key))),
        }
    }

    /// `points` values from the lowest to the highest, evenly spread: whole numbers where `whole`, of three significant
    /// digits between the ends, each once, so there may be fewer. A choice has none.
    pub fn values(&self, points: usize, whole: bool) -> Vec<Value> {
        let (&low, &high) = match self {
            Self::Log(low, high) | Self::Linear(low, high) => (low, high),
            Self::Choices(_) => return Vec::new(),
        };
        let last = points.saturating_sub(1);
        let inside = |at: usize| {
            let share = at as f64 / last as f64;
            match self {
                Self::Log(..) => (low.ln() + share * (high.ln() - low.ln())).exp(),
                _ => low + share * (high - low),
            }
        };
        let at = |at: usize| match at {
            0 => low,
            _ if at == last => high,
            _ => rounded(inside(at)).clamp(low, high),
        };
        let number = |value: f64| match whole {
            true => Some(Value::from(value.round() as i64)),
            false => Number::from_f64(value).map(Value::Number),
        };
        let mut values: Vec<Value> = (0..points).map(at).filter_map(number).collect();
        values.dedup();
        values
    }
}

/// A number of three significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    let digits = DIGITS - 1 - value.abs().log10().floor() as i32;
    // Written and read: multiplying by a power of ten and dividing again leaves digits behind the third.
    match usize::try_from(digits) {
        Ok(digits) => format!("{value:.digits$}").parse().unwrap_or(value),
        Err(_) => {
            let unit = 10f64.powi(-digits);
            (value / unit).round() * unit
        }
    }
}

fn bounds(value: &Value, lowest: f64) -> Result<(f64, f64), String> {
    let number = |at: usize| value.get(at).and_then(Value::as_f64);
    match (value.as_array().map(Vec::len), number(0), number(1)) {
        (Some(2), Some(low), Some(high)) if lowest <= low && low < high => Ok((low, high)),
        _ => {
            let positive = if lowest > 0.0 { "two positive numbers" } else { "two numbers" };
            Err(format!("{} is no range; expected {positive}, the lower first", Shown::name(&value.to_string())))
        }
    }
}

/// The range of a property: what its author says; else both values of a switch, and all of a choice.
pub(super) fn of(root: &Value, property: &Value) -> Option<Range> {
    if let Some(said) = property.get(SEARCH) {
        return Range::read(said).ok();
    }
    let schema = resolve(root, property);
    if schema["type"] == "boolean" {
        return Some(Range::Choices(vec![Value::Bool(false), Value::Bool(true)]));
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return Some(Range::Choices(choices.clone()));
    }
    let current = |form: &&Value| form.get(MEANS).is_none();
    let choices: Vec<Value> =
        layers::constants(root, property).filter(current).filter_map(|form| form.get("const").cloned()).collect();
    (!choices.is_empty()).then_some(Range::Choices(choices))
}

/// Checks the ranges of all properties of a schema.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.filter_map(|(name, property)| Some((name, property.get(SEARCH)?))).try_for_each(|(name, said)| {
        let wrong = |reason: String| format!("`{SEARCH}` of `{}`: {reason}", Shown::name(name));
        Range::read(said).map(|_| ()).map_err(wrong)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_range_is_spread_evenly() {
        let of = |range: Value, points, whole| json!(Range::read(&range).unwrap().values(points, whole));
        assert_eq!(of(json!({"log": [1e-4, 1e-1]}), 4, false), json!([0.0001, 0.001, 0.01, 0.1]));
        assert_eq!(of(json!({"log": [1e-4, 1e-1]}), 3, false), json!([0.0001, 0.00316, 0.1]));
        assert_eq!(of(json!({"linear": [0.0, 1.0]}), 4, false), json!([0.0, 0.333, 0.667, 1.0]));
        assert_eq!(of(json!({"linear": [-2.0, 2.0]}), 5, false), json!([-2.0, -1.0, 0.0, 1.0, 2.0]));
        assert_eq!(of(json!({"log": [1, 1000]}), 4, true), json!([1, 10, 100, 1000]));
        assert_eq!(of(json!({"linear": [1, 3]}), 9, true), json!([1, 2, 3]), "each whole number once");
        assert_eq!(of(json!({"log": [5, 50]}), 1, true), json!([5]), "one value is the lowest");
        assert_eq!(of(json!({"linear": [10000.0, 99999.0]}), 3, false), json!([10000.0, 55000.0, 99999.0]));
    }

    #[test]
    fn a_range_is_one_of_three() {
        let wrong = |value: Value| Range::read(&value).unwrap_err();
        assert!(wrong(json!({"log": [0.0, 1.0]})).contains("two positive numbers"));
        assert!(wrong(json!({"linear": [1.0, 1.0]})).contains("the lower first"));
        assert!(wrong(json!({"linear": [1.0]})).contains("expected two numbers"));
        assert!(wrong(json!({"choices": []})).contains("1 to 100 values"));
        assert!(wrong(json!({"squares": [1, 2]})).contains("`squares` is no kind of range"));
        assert!(wrong(json!({"log": [1, 2], "linear": [1, 2]})).contains("is no range; expected one of"));
        assert!(wrong(json!(7)).contains("7 is no range"));
    }

    #[test]
    fn switches_and_choices_need_no_word_of_their_author() {
        let schema = json!({
            "properties": {
                "first": {"$ref": "#/$defs/First"}, "normalise": {"type": "boolean"}, "k": {"type": "integer"},
                "rate": {"type": "number", SEARCH: {"log": [0.1, 1.0]}},
            },
            "$defs": {"First": {"oneOf": [
                {"const": "uniform"}, {"const": "max-norm"}, {"const": "max_norm", "x-means": "max-norm"},
            ]}},
        });
        let of = |name: &str| of(&schema, &schema["properties"][name]);
        assert_eq!(of("first"), Some(Range::Choices(vec![json!("uniform"), json!("max-norm")])));
        assert_eq!(of("normalise"), Some(Range::Choices(vec![json!(false), json!(true)])));
        assert_eq!(of("rate"), Some(Range::Log(0.1, 1.0)));
        assert_eq!(of("k"), None);
        assert!(check(&schema).is_ok());
        let wrong = json!({"properties": {"k": {SEARCH: {"log": [-1, 1]}}}});
        assert!(check(&wrong).unwrap_err().starts_with("`x-querist-search` of `k`: "));
    }
}
