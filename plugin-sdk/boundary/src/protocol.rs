//! What both sides share: types, the trait of the calls, and the C table.

use std::collections::BTreeSet;

use crate::model::{Boundary, Call, Named, Shape, Ty};
use crate::write::{docs, header};

/// A type as the trait takes it.
pub(crate) fn argument(ty: &Ty) -> String {
    match ty {
        Ty::Text => "&str".to_owned(),
        Ty::List(inner) => format!("&[{}]", value(inner)),
        other => value(other),
    }
}

/// A type as the trait gives it.
pub(crate) fn value(ty: &Ty) -> String {
    match ty {
        Ty::Unit => "()".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::U32 => "u32".to_owned(),
        Ty::U64 => "u64".to_owned(),
        Ty::F32 => "f32".to_owned(),
        Ty::F64 => "f64".to_owned(),
        Ty::Text => "String".to_owned(),
        Ty::List(inner) => format!("Vec<{}>", value(inner)),
        Ty::Own(_) | Ty::Borrow(_) => "Handle".to_owned(),
        Ty::Option(inner) => format!("Option<{}>", value(inner)),
        Ty::Pair(first, second) => format!("({}, {})", value(first), value(second)),
        Ty::Enum(name) | Ty::Record(name) | Ty::Variant(name) => name.clone(),
    }
}

/// `(&self, row: u32) -> Result<(), Fault>`.
pub(crate) fn signature(call: &Call) -> String {
    let params: String = call.params.iter().map(|(name, ty)| format!(", {name}: {}", argument(ty))).collect();
    let result = match (&call.result, call.can_fail) {
        (Ty::Unit, false) => String::new(),
        (result, false) => format!(" -> {}", value(result)),
        (result, true) => format!(" -> Result<{}, Fault>", value(result)),
    };
    format!("(&self{params}){result}")
}

/// Names of the types in the signatures of calls.
pub(crate) fn imports(boundary: &Boundary) -> String {
    let types = boundary.calls.iter().flat_map(|call| call.params.iter().map(|(_, ty)| ty).chain([&call.result]));
    let names: BTreeSet<&str> = types.filter_map(name_of).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The name of a type that has one, or of what a list of such holds.
pub(crate) fn name_of(ty: &Ty) -> Option<&str> {
    match ty {
        Ty::Enum(name) | Ty::Record(name) | Ty::Variant(name) => Some(name),
        Ty::List(inner) => name_of(inner),
        _ => None,
    }
}

pub(crate) fn calls(boundary: &Boundary) -> String {
    let mut out = header("Everything that a pool strategy may ask of the host while it answers one query.");
    let used = imports(boundary);
    out += &format!("use super::types::{{{used}}};\nuse crate::Fault;\n\n");
    out += "/// Version of the boundary, as `major.minor`; a plugin states the one it was built for.\n";
    out += &format!("pub const API_VERSION: &str = \"{}\";\n\n", boundary.api);
    out += "\
/// A name for an object of the host, valid until released or until the query ends. Its top four bits are the
/// number of its [`Kind`], the rest is its place.
pub type Handle = u32;

";
    out += "/// Bits of a handle that are its place.\npub const PLACE_BITS: u32 = 28;\n\n";
    out += "/// Kinds of objects of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
";
    for resource in &boundary.resources {
        out += &format!("{}    {},\n", docs(&resource.docs, 4), crate::model::camel(&resource.name));
    }
    out += "}\n\nimpl Kind {\n    /// Every kind, by its number.\n    pub const ALL: &[Self] = &[";
    for resource in &boundary.resources {
        out += &format!("Self::{}, ", crate::model::camel(&resource.name));
    }
    out += "];\n\n    /// The kind that a handle says it is of.\n    pub fn of(handle: Handle) -> Option<Self> {\n";
    out += "        Self::ALL.get((handle >> PLACE_BITS) as usize).copied()\n    }\n\n";
    out += "    /// The handle of the object at `place`, which has at most [`PLACE_BITS`] bits.\n";
    out += "    pub fn handle(self, place: u32) -> Handle {\n        place | (self as u32) << PLACE_BITS\n    }\n}\n\n";
    out += &docs(&boundary.docs, 0);
    out += "pub trait HostCalls {
    /// Releases an object; unknown handles are ignored.
    fn release(&self, handle: Handle);
";
    for call in &boundary.calls {
        out += &format!("\n{}    fn {}{};\n", docs(&call.docs, 4), call.flat, signature(call));
    }
    out + "}\n"
}

pub(crate) fn types(boundary: &Boundary) -> String {
    let mut out = header("Types that host and plugin both speak of.");
    out += "use serde::{Deserialize, Serialize};\n\n";
    out += "/// A choice that crosses C tables as its number, from 0.\npub trait Numbered: Copy + Sized + 'static {\n";
    out += "    /// What it is called in messages.\n    const NAME: &'static str;\n";
    out += "    /// Every choice, by its number.\n    const ALL: &'static [Self];\n";
    out += "    /// Its number.\n    fn number(self) -> u32;\n}\n\n";
    for named in &boundary.types {
        out += &docs(&named.docs, 0);
        out += &match &named.shape {
            Shape::Enum(cases) => choice(named, cases),
            Shape::Record(fields) => record(named, fields),
            Shape::Variant(cases) => variant(named, cases),
        };
    }
    out
}

fn choice(named: &Named, cases: &[(String, String)]) -> String {
    let name = &named.name;
    let mut out = "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]\n".to_owned();
    out += &format!("#[serde(rename_all = \"kebab-case\")]\npub enum {name} {{\n");
    for (case, text) in cases {
        out += &format!("{}    {case},\n", docs(text, 4));
    }
    let all: String = cases.iter().map(|(case, _)| format!("Self::{case}, ")).collect();
    let words = words(name);
    out + &format!(
        "}}

impl Numbered for {name} {{
    const NAME: &'static str = \"{words}\";
    const ALL: &'static [Self] = &[{all}];

    fn number(self) -> u32 {{
        self as u32
    }}
}}

"
    )
}

/// `LogLevel` as `log level`.
pub(crate) fn words(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn record(named: &Named, fields: &[(String, Ty, String)]) -> String {
    let whole = fields.iter().all(|(_, ty, _)| matches!(ty, Ty::U32 | Ty::U64 | Ty::Bool));
    let eq = if whole { ", Eq" } else { "" };
    let mut out = format!("#[derive(Debug, Clone, Copy, PartialEq{eq}, Serialize, Deserialize)]\n");
    out += &format!("pub struct {} {{\n", named.name);
    for (field, ty, text) in fields {
        out += &format!("{}    pub {field}: {},\n", docs(text, 4), value(ty));
    }
    out + "}\n\n"
}

fn variant(named: &Named, cases: &[(String, bool, String)]) -> String {
    let mut out = "#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]\n".to_owned();
    out += &format!("#[serde(rename_all = \"kebab-case\")]\npub enum {} {{\n", named.name);
    for (case, holds, text) in cases {
        let held = if *holds { "(f64)" } else { "" };
        out += &format!("{}    {case}{held},\n", docs(text, 4));
    }
    out += &format!(
        "}}\n\nimpl {} {{\n    /// As C tables have it: the number of the case, and what it holds.\n",
        named.name
    );
    out += "    pub fn parts(self) -> (u32, f64) {\n        match self {\n";
    for (number, (case, holds, _)) in cases.iter().enumerate() {
        out += &match holds {
            true => format!("            Self::{case}(value) => ({number}, value),\n"),
            false => format!("            Self::{case} => ({number}, 0.0),\n"),
        };
    }
    out += "        }\n    }\n\n    /// The case of this number; `None` if there is none.\n";
    out += "    pub fn of_parts(number: u32, value: f64) -> Option<Self> {\n        Some(match number {\n";
    for (number, (case, holds, _)) in cases.iter().enumerate() {
        let held = if *holds { "(value)" } else { "" };
        out += &format!("            {number} => Self::{case}{held},\n");
    }
    out + "            _ => return None,\n        })\n    }\n}\n\n"
}

/// A value as it lies in C structures and lists.
pub(crate) fn in_c(ty: &Ty) -> String {
    match ty {
        Ty::Enum(_) | Ty::Own(_) | Ty::Borrow(_) => "u32".to_owned(),
        Ty::Option(_) => "u32".to_owned(),
        other => value(other),
    }
}

/// Arguments of a function of the table, without the call.
pub(crate) fn c_arguments(call: &Call) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, ty) in &call.params {
        match ty {
            Ty::Text => out.push((name.clone(), "Bytes".to_owned())),
            Ty::List(inner) => {
                out.push((name.clone(), format!("*const {}", in_c(inner))));
                out.push((format!("{name}_count"), "usize".to_owned()));
            }
            Ty::Record(record) => out.push((name.clone(), format!("*const {record}"))),
            Ty::Variant(_) => {
                out.push((name.clone(), "u32".to_owned()));
                out.push((format!("{name}_value"), "f64".to_owned()));
            }
            other => out.push((name.clone(), in_c(other))),
        }
    }
    out.extend(c_results(call));
    out
}

/// Places for the results of a function of the table.
pub(crate) fn c_results(call: &Call) -> Vec<(String, String)> {
    let one = |name: &str, ty: String| (name.to_owned(), format!("*mut {ty}"));
    match &call.result {
        Ty::Unit => Vec::new(),
        Ty::List(inner) => vec![one("out", format!("List<{}>", in_c(inner)))],
        Ty::Pair(first, second) => vec![one("out", in_c(first)), one("out_second", in_c(second))],
        Ty::Option(inner) => match &**inner {
            Ty::Pair(_, value) => vec![one("out_row", "u32".to_owned()), one("out_value", in_c(value))],
            _ => vec![one("out_row", "u32".to_owned())],
        },
        other => vec![one("out", in_c(other))],
    }
}

pub(crate) fn table(boundary: &Boundary) -> String {
    let mut out = header("The calls as a C table.");
    out += "use super::types;\nuse crate::Fault;\nuse crate::abi::{Bytes, Call, List, Status, numbered};\n\n";
    out += "\
/// Functions of the newest version, counted from 0: higher ones have more functions at the end of the table.
";
    out += &format!("pub const ABI_MINOR: u16 = {};\n\n", boundary.minor);
    for named in &boundary.types {
        if let Shape::Record(fields) = &named.shape {
            out += &c_record(boundary, named, fields);
        }
    }
    out += "\
/// What the host does while one query is answered. `release` takes a handle; the others are explained one by one.
";
    out += "/// They return 0, or the number of a fault, whose sentence `fault_text` tells.\n";
    out += "#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallTable {
    /// Bytes of this table.
    pub size: u32,
";
    out += "    /// [`ABI_MINOR`] of the host.\n    pub minor: u32,\n";
    out += "    /// Releases an object; unknown handles are ignored.\n";
    out += "    pub release: unsafe extern \"C\" fn(call: *mut Call, handle: u32) -> Status,\n";
    for call in &boundary.calls {
        let arguments: String = c_arguments(call).iter().map(|(name, ty)| format!(", {name}: {ty}")).collect();
        out += &docs(&format!("{}{}", call.docs, notes(boundary, call)), 4);
        out += &format!("    pub {}: unsafe extern \"C\" fn(call: *mut Call{arguments}) -> Status,\n", call.flat);
    }
    out + "}\n"
}

/// What the form of C leaves unsaid: numbers of choices, and what may be left out.
fn notes(boundary: &Boundary, call: &Call) -> String {
    let mut out = String::new();
    for (name, ty) in &call.params {
        let cases: Vec<&str> = match ty {
            Ty::Enum(of) | Ty::Variant(of) => match &boundary.named(of).shape {
                Shape::Enum(cases) => cases.iter().map(|(case, _)| case.as_str()).collect(),
                Shape::Variant(cases) => cases.iter().map(|(case, ..)| case.as_str()).collect(),
                Shape::Record(_) => Vec::new(),
            },
            Ty::Option(_) => {
                out += &format!("\n\n`{name}` may be `NO_HANDLE`.");
                continue;
            }
            _ => continue,
        };
        let cases: Vec<String> =
            cases.iter().enumerate().map(|(number, case)| format!("{number} {}", words(case))).collect();
        out += &format!("\n\n`{name}`: {}.", cases.join(", "));
    }
    out += match &call.result {
        Ty::Option(_) => "\n\n`out_row` is `NO_ROW` for none.",
        Ty::List(inner) if matches!(**inner, Ty::Option(_)) => "\n\n`NO_ROW` stands for none.",
        _ => "",
    };
    out
}

fn c_record(boundary: &Boundary, named: &Named, fields: &[(String, Ty, String)]) -> String {
    let name = &named.name;
    let mut out = docs(&named.docs, 0);
    out += "#[repr(C)]\n#[derive(Debug, Clone, Copy, Default)]\n";
    out += &format!("pub struct {name} {{\n");
    for (field, ty, text) in fields {
        let numbers = match ty {
            Ty::Enum(of) => match &boundary.named(of).shape {
                Shape::Enum(cases) => {
                    let case = |(number, (case, _)): (usize, &(String, String))| format!("{number} {}", words(case));
                    format!(" {}.", cases.iter().enumerate().map(case).collect::<Vec<_>>().join(", "))
                }
                _ => String::new(),
            },
            _ => String::new(),
        };
        out += &format!("{}    pub {field}: {},\n", docs(&format!("{text}{numbers}"), 4), in_c(ty));
    }
    out += &format!(
        "}}\n\nimpl From<types::{name}> for {name} {{\n    fn from(from: types::{name}) -> Self {{\n        Self {{\n"
    );
    for (field, ty, _) in fields {
        let value = match ty {
            Ty::Enum(_) => format!("types::Numbered::number(from.{field})"),
            _ => format!("from.{field}"),
        };
        out += &format!("            {field}: {value},\n");
    }
    out += "        }\n    }\n}\n\n";
    out += &format!(
        "impl TryFrom<{name}> for types::{name} {{
    type Error = Fault;

    fn try_from(from: {name}) -> Result<Self, Fault> {{
        Ok(Self {{
"
    );
    for (field, ty, _) in fields {
        let value = match ty {
            Ty::Enum(_) => format!("numbered(from.{field})?"),
            _ => format!("from.{field}"),
        };
        out += &format!("            {field}: {value},\n");
    }
    out + "        })\n    }\n}\n\n"
}
