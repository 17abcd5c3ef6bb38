//! What a user calls arrays and options, on the command line and in Python.

use querist_protocol::{ArrayKind, Need, names};

/// How a user gives arrays and options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// As flags and files.
    Flags,
    /// As keyword arguments.
    Keywords,
}

impl Words {
    /// An array that is given, named.
    pub fn array(self, name: &str) -> String {
        match self {
            Self::Flags => format!("--input {name}"),
            Self::Keywords => format!("`{name}`"),
        }
    }

    /// What to do to give an array.
    pub fn give(self, name: &str) -> String {
        match self {
            Self::Flags => format!("give it with `--input {name}=FILE`"),
            Self::Keywords => format!("pass {}", keyword(name)),
        }
    }

    /// What to do to give under another name what was given.
    pub fn as_another(self, name: &str) -> String {
        match self {
            Self::Flags => format!("give them as `--input {name}=FILE`"),
            Self::Keywords => format!("pass them as {}", keyword(name)),
        }
    }

    /// An option with its value.
    pub fn option_at(self, name: &str, value: usize) -> String {
        match self {
            Self::Flags => format!("`--{name} {value}`"),
            Self::Keywords => format!("`{}={value}`", name.replace('-', "_")),
        }
    }

    /// An option by its long name.
    pub fn option(self, name: &str) -> String {
        match self {
            Self::Flags => format!("`--{name}`"),
            Self::Keywords => format!("`{}`", name.replace('-', "_")),
        }
    }
}

/// The argument that gives an array: a dot in its name becomes `_`, and where users make names up, they stand in a
/// dictionary.
fn keyword(name: &str) -> String {
    match ArrayKind::of(name) {
        Some((kind, _)) if kind.name != name && kind.name.ends_with("NAME") => {
            format!("`arrays={{\"{name}\": ...}}`")
        }
        _ => format!("`{}=...`", name.replace('.', "_")),
    }
}

/// How a user can give what is missing.
pub fn how_to_give(words: Words, need: &Need) -> String {
    let name = need.name();
    if names::is_condition(name) {
        return "it works with pictures or with the model itself, and `select` has arrays alone: ask it in a run \
                (`querist run`)"
            .to_owned();
    }
    if name == names::HEAD {
        return match words {
            Words::Flags => "give a linear one with `--input head.w=FILE` and `--input head.b=FILE`".to_owned(),
            Words::Keywords => "pass a linear one as `head_w=...` and `head_b=...`".to_owned(),
        };
    }
    let give = words.give(name);
    match ArrayKind::of(name).and_then(|(kind, _)| kind.stand_in).filter(|other| !other.when.is_empty()) {
        None => give,
        Some(other) => {
            let name = name.replace(need.split_labelled().0, other.name);
            let other_way = match words {
                Words::Flags => format!("`--input {name}=FILE`"),
                Words::Keywords => keyword(&name),
            };
            format!("{give}, or {other_way} {}", other.when)
        }
    }
}
