//! The short form of a query with several wishes: `margin + 0.5 diversity + toward(rare.npy) min_distance 0.1`.
//!
//! ```text
//! MIX        = TERM { "+" TERM } { CONSTRAINT }
//! TERM       = [WEIGHT] NAME [ "(" ARGUMENT ")" ]
//! CONSTRAINT = "min_distance" NUMBER | "at_most" COUNT "per" extra.NAME
//! ```
//!
//! NAME is `diversity`, `classes`, `toward`, `away` or `typical`; any other is the id of a strategy, whose score it is.

use std::collections::BTreeMap;
use std::path::Path;

use querist_protocol::{ArrayKind, Shown};
use serde_json::{Map, Value, json};

/// The strategy that the short form is one of.
pub const ID: &str = "mix";

/// Characters of a short form at most.
const MOST: usize = 4096;

/// What a short form says.
#[derive(Debug, Default, PartialEq)]
pub struct Mix {
    /// Parameters of the strategy.
    pub params: Map<String, Value>,
    /// Inputs that files in it become, `NAME=FILE`.
    pub inputs: Vec<String>,
}

/// Reads a short form.
///
/// # Errors
/// A sentence that says where it is wrong.
pub fn read(text: &str) -> Result<Mix, String> {
    if text.len() > MOST {
        return Err(format!("it has {} characters, the limit is {MOST}; use `--params`", text.len()));
    }
    let mut words = Words::of(text)?;
    let (mut terms, mut mix, mut files) = (Vec::new(), Mix::default(), BTreeMap::new());
    loop {
        terms.push(term(&mut words, &mut files)?);
        if words.peek() != Some(&Word::Plus) {
            break;
        }
        words.next();
    }
    while let Some(word) = words.next() {
        let (key, value) = constraint(&word, &mut words)?;
        if mix.params.insert(key.to_owned(), value).is_some() {
            return Err(format!("`{key}` stands there twice"));
        }
    }
    mix.params.insert("terms".to_owned(), Value::Array(terms));
    mix.inputs = files.into_iter().map(|(name, file)| format!("{name}={file}")).collect();
    Ok(mix)
}

fn constraint(word: &Word, words: &mut Words) -> Result<(&'static str, Value), String> {
    match word {
        Word::Name(name) if name == "min_distance" => Ok(("min_distance", json!(words.number("a distance")?))),
        Word::Name(name) if name == "at_most" => {
            let count = words.number("a number of picks")?;
            if count.fract() != 0.0 || !(1.0..=4e9).contains(&count) {
                return Err(format!("`at_most {count}`: expected a whole number of 1 or more"));
            }
            match (words.next(), words.next()) {
                (Some(Word::Name(per)), Some(Word::Name(group))) if per == "per" => {
                    Ok(("at_most", json!({ "group": group, "count": count as u64 })))
                }
                _ => Err(format!("`at_most {count}`: expected `per extra.NAME` behind it")),
            }
        }
        other => Err(format!(
            "`{other}` is no constraint; expected `+`, `min_distance NUMBER` or `at_most COUNT per \
                              extra.NAME`"
        )),
    }
}

fn term(words: &mut Words, files: &mut BTreeMap<String, String>) -> Result<Value, String> {
    let weight = match words.peek() {
        Some(Word::Number(weight)) => {
            let weight = *weight;
            words.next();
            weight
        }
        _ => 1.0,
    };
    let name = match words.next() {
        Some(Word::Name(name)) => name,
        Some(other) => return Err(format!("`{other}` stands where a term begins; expected a name or a weight")),
        None => return Err("it ends where a term begins; expected a name".to_owned()),
    };
    let argument = match words.peek() {
        Some(Word::Argument(argument)) => Some(argument.clone()),
        _ => None,
    };
    if argument.is_some() {
        words.next();
    }
    let mut term = match (name.as_str(), argument) {
        ("diversity" | "typical", None) => json!({ "kind": name }),
        ("typical", Some(k)) => {
            let k: u32 =
                k.parse().map_err(|_| format!("`typical({})`: expected a number of neighbours", Shown::name(&k)))?;
            json!({ "kind": name, "k": k })
        }
        ("classes", None) => json!({ "kind": name }),
        ("classes", Some(target)) => json!({ "kind": name, "target": shares(&target)? }),
        ("toward" | "away", Some(file)) => json!({ "kind": name, "rows": pointed(&file, files)? }),
        ("toward" | "away", None) => {
            return Err(format!("`{name}` needs rows: `{name}(FILE)` or `{name}(query.NAME)`"));
        }
        (_, None) => json!({ "kind": "score", "member": { "id": name } }),
        (_, Some(_)) => return Err(format!("`{name}` takes no argument; parameters of strategies go into `--params`")),
    };
    term["weight"] = json!(weight);
    Ok(term)
}

/// `uniform`, `pool`, or a number a class.
fn shares(target: &str) -> Result<Value, String> {
    if matches!(target, "uniform" | "pool") {
        return Ok(json!(target));
    }
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|share| share.is_finite());
    let numbers: Option<Vec<f64>> = target.split(',').map(number).collect();
    let wrong = || format!("`classes({})`: expected `uniform`, `pool`, or one number a class", Shown::name(target));
    numbers.map(|numbers| json!(numbers)).ok_or_else(wrong)
}

/// The array that rows are called by; a file becomes one.
fn pointed(argument: &str, files: &mut BTreeMap<String, String>) -> Result<String, String> {
    if argument.starts_with("query.") && ArrayKind::of(argument).is_some() {
        return Ok(argument.to_owned());
    }
    let stem = Path::new(argument).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = format!("query.{stem}");
    if ArrayKind::of(&name).is_none_or(|(kind, _)| kind.name != "query.NAME") {
        let file = Shown::name(argument);
        return Err(format!(
            "`{file}` names no array: give it as `--input query.NAME={file}` and write `query.NAME` here"
        ));
    }
    match files.insert(name.clone(), argument.to_owned()) {
        Some(other) if other != argument => {
            Err(format!("two files would be `{name}`: `{}` and `{}`", Shown::name(&other), Shown::name(argument)))
        }
        _ => Ok(name),
    }
}

/// A part of a short form.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    Plus,
    Number(f64),
    Name(String),
    /// What stands in parentheses behind a name.
    Argument(String),
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plus => f.write_str("+"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{}", Shown::name(name)),
            Self::Argument(argument) => write!(f, "({})", Shown::name(argument)),
        }
    }
}

/// The parts of a short form that are left.
struct Words(std::iter::Peekable<std::vec::IntoIter<Word>>);

impl Words {
    fn of(text: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (word, length) = match first {
                '+' => (Word::Plus, 1),
                '(' => {
                    let end = rest.find(')').ok_or("a `(` has no `)`")?;
                    (Word::Argument(rest[1..end].trim().to_owned()), end + 1)
                }
                _ => {
                    let end = rest.find(|c: char| c.is_whitespace() || "+()".contains(c)).unwrap_or(rest.len());
                    if end == 0 {
                        return Err(format!("`{}` stands where nothing like it belongs", first.escape_default()));
                    }
                    let text = &rest[..end];
                    let begins_number = first.is_ascii_digit() || first == '.' || first == '-';
                    let number = text.parse().ok().filter(|number: &f64| begins_number && number.is_finite());
                    (number.map_or_else(|| Word::Name(text.to_owned()), Word::Number), end)
                }
            };
            words.push(word);
            rest = rest[length..].trim_start();
        }
        Ok(Self(words.into_iter().peekable()))
    }

    fn peek(&mut self) -> Option<&Word> {
        self.0.peek()
    }

    fn next(&mut self) -> Option<Word> {
        self.0.next()
    }

    fn number(&mut self, what: &str) -> Result<f64, String> {
        match self.next() {
            Some(Word::Number(number)) => Ok(number),
            Some(other) => Err(format!("`{other}` stands where {what} is expected")),
            None => Err(format!("it ends where {what} is expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_is_its_parameters() {
        let mix = read(
            "margin + 0.5 diversity+2 classes(uniform) + classes( 1, 2 ) + toward(some/rare.npy) + 0.3typical(5) \
             min_distance 0.1 at_most 2 per extra.video",
        );
        // `0.3typical` is one word.
        assert!(mix.unwrap_err().contains("`0.3typical` takes no argument"));
        let mix = read(
            "margin + 0.5 diversity+2 classes(uniform) + toward(some/rare.npy) + away(query.bad) + 0.3 typical(5) \
             min_distance 0.1 at_most 2 per extra.video",
        );
        let expected = json!({
            "terms": [
                {"kind": "score", "member": {"id": "margin"}, "weight": 1.0},
                {"kind": "diversity", "weight": 0.5},
                {"kind": "classes", "target": "uniform", "weight": 2.0},
                {"kind": "toward", "rows": "query.rare", "weight": 1.0},
                {"kind": "away", "rows": "query.bad", "weight": 1.0},
                {"kind": "typical", "k": 5, "weight": 0.3},
            ],
            "min_distance": 0.1,
            "at_most": {"group": "extra.video", "count": 2},
        });
        let mix = mix.unwrap();
        assert_eq!(Value::Object(mix.params), expected);
        assert_eq!(mix.inputs, ["query.rare=some/rare.npy"]);
        let shares = read("classes(1, 2.5)").unwrap();
        assert_eq!(shares.params["terms"][0]["target"], json!([1.0, 2.5]));
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        for (text, part) in [
            ("", "ends where a term begins"),
            ("margin +", "ends where a term begins"),
            ("+ margin", "`+` stands where a term begins"),
            ("2 3 margin", "`3` stands where a term begins"),
            ("margin diversity", "`diversity` is no constraint"),
            ("toward", "`toward` needs rows"),
            ("toward(embeddings.npy)", "names no array"),
            ("toward(a b.npy)", "names no array"),
            ("toward(a/x.npy) + away(b/x.npy)", "two files would be `query.x`"),
            ("classes(most)", "one number a class"),
            ("typical(few)", "a number of neighbours"),
            ("margin(2)", "takes no argument"),
            ("margin min_distance", "ends where a distance is expected"),
            ("margin min_distance near", "`near` stands where a distance"),
            ("margin at_most 1.5 per extra.x", "a whole number"),
            ("margin at_most 2 extra.x", "expected `per extra.NAME`"),
            ("margin min_distance 1 min_distance 2", "twice"),
            ("margin (x", "has no `)`"),
            ("margin )", "stands where nothing"),
            (&"x".repeat(5000), "the limit is 4096"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
