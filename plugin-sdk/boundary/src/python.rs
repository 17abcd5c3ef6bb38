//! The calls for strategies that are classes of Python: one function that takes a call by its name, and the objects.

use crate::model::{Boundary, Call, Home, Named, Shape, Ty, camel};
use crate::protocol::name_of;

/// Who takes calls by their names.
pub(crate) fn server(boundary: &Boundary) -> String {
    let mut out = crate::write::header("Calls of strategies that are classes of Python, by their names.");
    out += "\
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use querist_protocol::HostCalls;

use super::given::{Given, answered, chosen, refused, unknown};

/// Does the call of this name.
pub fn call<'py>(calls: &dyn HostCalls, name: &str, given: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let (py, given) = (given.py(), Given(given));
    match name {
        \"release\" => {
            given.count(1)?;
            calls.release(given.at(0)?);
            Ok(py.None().into_bound(py))
        }
";
    for call in &boundary.calls {
        out += &format!("        \"{}\" => {{\n            given.count({})?;\n", call.flat, call.params.len());
        let mut handed = Vec::new();
        for (at, (name, ty)) in call.params.iter().enumerate() {
            let (taken, shown) = taken(at, name, ty);
            out += &format!("            {taken}\n");
            handed.push(shown);
        }
        let called = format!("calls.{}({})", call.flat, handed.join(", "));
        let called = if call.can_fail { format!("{called}.map_err(|fault| refused(py, &fault))?") } else { called };
        let answer = match (&call.result, name_of(&call.result)) {
            (Ty::Unit, _) => format!("{called};\n            Ok(py.None().into_bound(py))"),
            (_, Some(_)) => format!("chosen::answered(py, &{called})"),
            _ => format!("answered(py, {called})"),
        };
        out += &format!("            {answer}\n        }}\n");
    }
    out + "        _ => Err(unknown(py, name)),\n    }\n}\n"
}

/// How an argument is taken, and how it is handed on.
fn taken(at: usize, name: &str, ty: &Ty) -> (String, String) {
    let plain = |ty: &str| format!("let {name}: {ty} = given.at({at})?;");
    match ty {
        Ty::Text => (plain("String"), format!("&{name}")),
        Ty::List(inner) => (plain(&format!("Vec<{}>", crate::protocol::value(inner))), format!("&{name}")),
        Ty::Enum(kind) | Ty::Record(kind) | Ty::Variant(kind) => {
            (format!("let {name}: querist_protocol::{kind} = chosen::taken(&given, {at})?;"), name.to_owned())
        }
        other => (plain(&crate::protocol::value(other)), name.to_owned()),
    }
}

/// The objects that authors see.
pub(crate) fn objects(boundary: &Boundary) -> String {
    let mut out = String::from(
        "\"\"\"Objects of the host, for strategies that are classes of Python.\n\nMade from `plugin-sdk/wit` by `cargo \
         xtask boundary`; do not edit.\n\"\"\"\n\nfrom __future__ import annotations\n\nfrom collections.abc import \
         Sequence\nfrom typing import Any, Literal\n\nfrom ._calls import Handle, as_json\n",
    );
    for named in &boundary.types {
        out += &alias(named);
    }
    for kind in &boundary.resources {
        out += &format!("\n\nclass {}(Handle):\n{}", camel(&kind.name), text(&kind.docs, 4));
        let own = boundary.calls.iter().filter(|call| matches!(call.params.first(), Some((_, Ty::Borrow(of))) if *of == kind.name));
        for call in own {
            out += &method(call, true);
        }
    }
    out += "\n\nclass Calls(Handle):\n    \"\"\"Calls that no object answers.\"\"\"\n";
    for call in boundary.calls.iter().filter(|call| !matches!(call.params.first(), Some((_, Ty::Borrow(_))))) {
        out += &method(call, false);
    }
    out
}

fn alias(named: &Named) -> String {
    let comment: String = named.docs.lines().map(|line| format!("#: {line}\n")).collect();
    let kebab = |name: &str| {
        let mut text = String::new();
        for (at, letter) in name.chars().enumerate() {
            if letter.is_uppercase() && at > 0 {
                text.push('-');
            }
            text.extend(letter.to_lowercase());
        }
        text.replace('_', "-")
    };
    match &named.shape {
        Shape::Enum(cases) => {
            let cases: Vec<String> = cases.iter().map(|(name, _)| format!("\"{}\"", kebab(name))).collect();
            format!("\n{comment}{} = Literal[{}]\n", named.name, cases.join(", "))
        }
        Shape::Record(fields) => {
            let fields: String = fields.iter().map(|(name, _, says)| format!("#: `{name}`: {}\n", says.replace('\n', " "))).collect();
            format!("\n{comment}{fields}{} = dict[str, Any]\n", named.name)
        }
        Shape::Variant(cases) => {
            let case = |(name, holds, _): &(String, bool, String)| {
                let name = kebab(name);
                if *holds { format!("{{\"{name}\": number}}") } else { format!("\"{name}\"") }
            };
            let cases: Vec<String> = cases.iter().map(case).collect();
            format!("\n{comment}#: One of {}.\n{} = str | dict[str, float]\n", cases.join(", "), named.name)
        }
    }
}

fn method(call: &Call, of_object: bool) -> String {
    let name = if matches!(call.home, Home::Method(_)) { &call.name } else { &call.flat };
    let (mut params, mut handed) = (String::new(), Vec::new());
    for (at, (name, ty)) in call.params.iter().enumerate() {
        if at == 0 && of_object {
            handed.push("self.handle".to_owned());
            continue;
        }
        let (shown, given) = match ty {
            Ty::Borrow(kind) => (camel(kind), format!("{name}.handle")),
            Ty::Option(inner) => match &**inner {
                Ty::Borrow(kind) => {
                    (format!("{} | None = None", camel(kind)), format!("None if {name} is None else {name}.handle"))
                }
                other => (format!("{} | None = None", taken_type(other)), name.clone()),
            },
            Ty::Enum(_) | Ty::Record(_) | Ty::Variant(_) => (taken_type(ty), format!("as_json({name})")),
            Ty::List(_) => (taken_type(ty), format!("list({name})")),
            other => (taken_type(other), name.clone()),
        };
        params += &format!(", {name}: {shown}");
        handed.push(given);
    }
    let words: Vec<String> = std::iter::once(format!("\"{}\"", call.flat)).chain(handed).collect();
    let called = format!("self.host.call({})", words.join(", "));
    let adopt = |kind: &str, handle: &str| format!("{}(self.host, {handle})", camel(kind));
    let body = match &call.result {
        Ty::Unit => called,
        Ty::Own(kind) => format!("return {}", adopt(kind, &called)),
        Ty::Pair(first, second) => match (&**first, &**second) {
            (Ty::Own(first), Ty::Own(second)) => format!(
                "first, second = {called}\n        return {}, {}",
                adopt(first, "first"),
                adopt(second, "second")
            ),
            _ => format!("answer: {} = {called}\n        return answer", given_type(&call.result)),
        },
        result => format!("answer: {} = {called}\n        return answer", given_type(result)),
    };
    let result = given_type(&call.result);
    format!("\n    def {name}(self{params}) -> {result}:\n{}        {body}\n", text(&call.docs, 8))
}

fn taken_type(ty: &Ty) -> String {
    match ty {
        Ty::List(inner) => format!("Sequence[{}]", given_type(inner)),
        other => given_type(other),
    }
}

fn given_type(ty: &Ty) -> String {
    match ty {
        Ty::Unit => "None".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::U32 | Ty::U64 => "int".to_owned(),
        Ty::F32 | Ty::F64 => "float".to_owned(),
        Ty::Text => "str".to_owned(),
        Ty::List(inner) => format!("list[{}]", given_type(inner)),
        Ty::Own(kind) | Ty::Borrow(kind) => camel(kind),
        Ty::Option(inner) => format!("{} | None", given_type(inner)),
        Ty::Pair(first, second) => format!("tuple[{}, {}]", given_type(first), given_type(second)),
        Ty::Enum(name) | Ty::Record(name) | Ty::Variant(name) => name.clone(),
    }
}

/// A docstring.
fn text(docs: &str, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let docs = docs.replace("# Errors\n", "Raises:\n").replace('\\', "\\\\");
    let lines: Vec<String> =
        docs.trim().lines().map(|line| if line.is_empty() { String::new() } else { format!("{blanks}{line}") }).collect();
    format!("{blanks}\"\"\"{}\n{blanks}\"\"\"\n", lines.join("\n").trim_start())
}
