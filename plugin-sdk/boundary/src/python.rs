//! The boundary for strategies in Python that run in the process of their author: the calls as methods of a Python
//! class, and the modules that `componentize-py` would write, which make these calls.

use std::collections::BTreeSet;

use crate::model::{Boundary, Call, Home, Named, Shape, Ty, camel};
use crate::write::header;

/// The class with the calls.
pub(crate) fn server(boundary: &Boundary) -> String {
    let mut out = header("The calls of strategies that are Python classes, from Python to the session.");
    let named = |ty: &Ty| match ty {
        Ty::Record(name) | Ty::Variant(name) => Some(name.clone()),
        _ => None,
    };
    let taken = boundary.calls.iter().flat_map(|call| &call.params).filter_map(|(_, ty)| named(ty));
    let used: BTreeSet<String> = taken.collect();
    let used = used.into_iter().collect::<Vec<_>>().join(", ");
    out += &format!(
        "use pyo3::prelude::*;\nuse querist_protocol::{{HostCalls, {used}}};\n\n\
         use super::calls::{{Calls, bad, numbered}};\n
#[pymethods]
impl Calls {{
    fn release(&self, py: Python<'_>, handle: u32) -> PyResult<()> {{
        self.serve(py, |c| {{
            c.release(handle);
            Ok(())
        }})
    }}
"
    );
    for call in &boundary.calls {
        out += &served(boundary, call);
    }
    out + "}\n"
}

fn served(boundary: &Boundary, call: &Call) -> String {
    let params: String = call.params.iter().map(|(name, ty)| format!(", {name}: {}", taken(boundary, ty))).collect();
    let (mut before, mut handed) = (String::new(), Vec::new());
    for (name, ty) in &call.params {
        match ty {
            Ty::Enum(_) => handed.push(format!("numbered({name})?")),
            Ty::List(_) => handed.push(format!("&{name}")),
            Ty::Record(of) => {
                before += &format!("            let {name} = {};\n", record(boundary, of, name));
                handed.push(name.clone());
            }
            Ty::Variant(of) => {
                let missing = format!("|| bad(\"{name}\")");
                handed.push(format!("{of}::of_parts({name}.0, {name}.1).ok_or_else({missing})?"));
            }
            _ => handed.push(name.clone()),
        }
    }
    let called = format!("c.{}({})", call.flat, handed.join(", "));
    let value = match (&call.result, call.can_fail) {
        (Ty::Record(of), false) => format!("{{ let one = {called}; Ok({}) }}", fields(boundary, of, "one")),
        (Ty::List(inner), true) => match &**inner {
            Ty::Record(of) => {
                format!("Ok({called}?.into_iter().map(|one| {}).collect())", fields(boundary, of, "one"))
            }
            _ => called,
        },
        (Ty::Unit, false) => format!("{{ {called}; Ok(()) }}"),
        (_, false) => format!("Ok({called})"),
        (_, true) => called,
    };
    let result = given(boundary, &call.result);
    format!(
        "\n    fn {}(&self, py: Python<'_>{params}) -> PyResult<{result}> {{\
         \n        self.serve(py, |c| {{\n{before}            {value}\n        }})\n    }}\n",
        call.flat
    )
}

/// A type as a method takes it.
fn taken(boundary: &Boundary, ty: &Ty) -> String {
    match ty {
        Ty::Text => "&str".to_owned(),
        other => given(boundary, other),
    }
}

/// A type as a method gives it.
fn given(boundary: &Boundary, ty: &Ty) -> String {
    match ty {
        Ty::Unit => "()".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::U64 => "u64".to_owned(),
        Ty::F32 => "f32".to_owned(),
        Ty::F64 => "f64".to_owned(),
        Ty::Text => "String".to_owned(),
        Ty::U32 | Ty::Own(_) | Ty::Borrow(_) | Ty::Enum(_) => "u32".to_owned(),
        Ty::List(inner) => format!("Vec<{}>", given(boundary, inner)),
        Ty::Option(inner) => format!("Option<{}>", given(boundary, inner)),
        Ty::Pair(first, second) => format!("({}, {})", given(boundary, first), given(boundary, second)),
        Ty::Variant(_) => "(u32, f64)".to_owned(),
        Ty::Record(name) => {
            let types: Vec<String> = of_record(boundary, name).iter().map(|(_, ty, _)| given(boundary, ty)).collect();
            format!("({})", types.join(", "))
        }
    }
}

fn of_record<'a>(boundary: &'a Boundary, name: &str) -> &'a [(String, Ty, String)] {
    match &boundary.named(name).shape {
        Shape::Record(fields) => fields,
        _ => &[],
    }
}

fn record(boundary: &Boundary, of: &str, from: &str) -> String {
    let field = |(at, (name, ty, _)): (usize, &(String, Ty, String))| match ty {
        Ty::Enum(_) => format!("{name}: numbered({from}.{at})?"),
        _ => format!("{name}: {from}.{at}"),
    };
    let fields: Vec<String> = of_record(boundary, of).iter().enumerate().map(field).collect();
    format!("{of} {{ {} }}", fields.join(", "))
}

fn fields(boundary: &Boundary, of: &str, from: &str) -> String {
    let fields: Vec<String> = of_record(boundary, of).iter().map(|(name, ..)| format!("{from}.{name}")).collect();
    format!("({})", fields.join(", "))
}

/// The stub of the class with the calls, for checkers of types.
pub(crate) fn stub(boundary: &Boundary) -> String {
    let mut out = "# Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.\n\nclass Calls:\n".to_owned();
    out += "    def release(self, handle: int) -> None: ...\n";
    for call in &boundary.calls {
        let params: String = call.params.iter().map(|(name, ty)| format!(", {name}: {}", raw(boundary, ty))).collect();
        out += &format!("    def {}(self{params}) -> {}: ...\n", call.flat, raw(boundary, &call.result));
    }
    out
}

/// A type as it crosses to the native part.
fn raw(boundary: &Boundary, ty: &Ty) -> String {
    match ty {
        Ty::Unit => "None".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::F32 | Ty::F64 => "float".to_owned(),
        Ty::Text => "str".to_owned(),
        Ty::U32 | Ty::U64 | Ty::Own(_) | Ty::Borrow(_) | Ty::Enum(_) => "int".to_owned(),
        Ty::List(inner) => format!("list[{}]", raw(boundary, inner)),
        Ty::Option(inner) => format!("{} | None", raw(boundary, inner)),
        Ty::Pair(first, second) => format!("tuple[{}, {}]", raw(boundary, first), raw(boundary, second)),
        Ty::Variant(_) => "tuple[int, float]".to_owned(),
        Ty::Record(name) => {
            let types: Vec<String> = of_record(boundary, name).iter().map(|(_, ty, _)| raw(boundary, ty)).collect();
            format!("tuple[{}]", types.join(", "))
        }
    }
}

/// Why a call is refused, and why a strategy gives no answer: the model has no place for what holds these.
const FAULTS: &str = r#"

@dataclass
class Fault:
    """A refused call: what kind, and a sentence with the facts."""

    code: FaultCode
    message: str


@dataclass
class Error_InvalidParams:
    """The parameters do not fit the strategy."""

    value: str


@dataclass
class Error_Unknown:
    """The package has no such strategy."""

    value: str


@dataclass
class Error_Failed:
    """The strategy cannot answer."""

    value: str


@dataclass
class Error_Fault:
    """A host call was refused and the refusal is passed on."""

    value: Fault


#: Why a strategy gives no answer.
Error = Union[Error_InvalidParams, Error_Unknown, Error_Failed, Error_Fault]
"#;

/// The module `imports.types`.
pub(crate) fn types(boundary: &Boundary) -> String {
    let mut out = top("What host and strategy both speak of.");
    out += "from dataclasses import dataclass\nfrom enum import Enum\nfrom typing import Union\n";
    for named in &boundary.types {
        out += &one_type(named);
    }
    out + FAULTS
}

fn one_type(named: &Named) -> String {
    let Named { name, docs, shape } = named;
    let text = format!("    \"\"\"{}\"\"\"\n\n", docs.replace('\\', "\\\\"));
    match shape {
        Shape::Enum(cases) => {
            let cases = cases.iter().enumerate().map(|(at, (case, _))| format!("    {} = {at}\n", screaming(case)));
            format!("\n\nclass {name}(Enum):\n{text}{}", cases.collect::<String>())
        }
        Shape::Record(fields) => {
            let fields = fields.iter().map(|(field, ty, _)| format!("    {field}: {}\n", shown(ty, "")));
            format!("\n\n@dataclass\nclass {name}:\n{text}{}", fields.collect::<String>())
        }
        Shape::Variant(cases) => {
            let mut out = String::new();
            let mut all = Vec::new();
            for (case, holds, docs) in cases {
                let class = format!("{name}_{case}");
                out += &format!("\n\n@dataclass\nclass {class}:\n    \"\"\"{docs}\"\"\"\n");
                out += if *holds { "\n    value: float\n" } else { "" };
                all.push(class);
            }
            out + &format!("\n\n#: {}\n{name} = Union[{}]\n", docs.replace('\n', " "), all.join(", "))
        }
    }
}

/// `BadHandle` as Python writes constants.
fn screaming(case: &str) -> String {
    let mut out = String::new();
    for letter in case.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn top(docs: &str) -> String {
    format!(
        "\"\"\"{docs}\n\nMade from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.\n\
         \"\"\"\n\nfrom __future__ import annotations\n\n"
    )
}

/// The module of an interface other than `types`.
pub(crate) fn module(boundary: &Boundary, interface: &str, docs: &str) -> String {
    let mut body = String::new();
    for kind in boundary.resources.iter().filter(|kind| kind.interface == interface) {
        body += &format!("\n\nclass {}(Handle):\n    \"\"\"{}\"\"\"\n", camel(&kind.name), kind.docs);
        for call in &boundary.calls {
            match &call.home {
                Home::Static(of) if *of == kind.name => body += &function(boundary, call, interface, "cls"),
                Home::Method(of) if *of == kind.name => body += &function(boundary, call, interface, "self"),
                _ => {}
            }
        }
    }
    for call in boundary.calls.iter().filter(|call| call.interface == interface && call.home == Home::Interface) {
        body += &function(boundary, call, interface, "");
    }
    let mut out = top(docs);
    out += "from .. import _handles as at\n";
    if body.contains("(Handle)") {
        out += "from .._handles import Handle\n";
    }
    let modules: Vec<&str> = ["arrays", "engines", "kernels", "types"]
        .into_iter()
        .filter(|name| *name != interface && body.contains(&format!("{name}.")))
        .collect();
    if !modules.is_empty() {
        out += &format!("from . import {}\n", modules.join(", "));
    }
    out + &body
}

/// A type as people write it, with the names of other modules before it.
fn shown(ty: &Ty, interface: &str) -> String {
    let typed = |name: &str| if interface.is_empty() { name.to_owned() } else { format!("types.{name}") };
    match ty {
        Ty::Unit => "None".to_owned(),
        Ty::Bool => "bool".to_owned(),
        Ty::F32 | Ty::F64 => "float".to_owned(),
        Ty::Text => "str".to_owned(),
        Ty::U32 | Ty::U64 => "int".to_owned(),
        Ty::List(inner) => format!("list[{}]", shown(inner, interface)),
        Ty::Option(inner) => format!("{} | None", shown(inner, interface)),
        Ty::Pair(first, second) => format!("tuple[{}, {}]", shown(first, interface), shown(second, interface)),
        Ty::Own(kind) | Ty::Borrow(kind) => camel(kind),
        Ty::Variant(name) | Ty::Record(name) | Ty::Enum(name) => typed(name),
    }
}

/// Writes `arrays.Vector` for `Vector` outside of its own module.
fn placed(boundary: &Boundary, ty: &Ty, interface: &str) -> String {
    let place = |kind: &str| match boundary.resource(kind).interface.as_str() {
        own if own == interface => camel(kind),
        other => format!("{other}.{}", camel(kind)),
    };
    match ty {
        Ty::Own(kind) | Ty::Borrow(kind) => place(kind),
        Ty::Option(inner) => format!("{} | None", placed(boundary, inner, interface)),
        Ty::Pair(first, second) => {
            format!("tuple[{}, {}]", placed(boundary, first, interface), placed(boundary, second, interface))
        }
        other => shown(other, interface),
    }
}

fn function(boundary: &Boundary, call: &Call, interface: &str, receiver: &str) -> String {
    let pad = if receiver.is_empty() { "" } else { "    " };
    let own = usize::from(receiver == "self");
    let mut params: Vec<String> = if receiver.is_empty() { Vec::new() } else { vec![receiver.to_owned()] };
    let mut handed = if own == 1 { vec!["self._number(calls)".to_owned()] } else { Vec::new() };
    for (name, ty) in &call.params[own..] {
        params.push(format!("{name}: {}", placed(boundary, ty, interface)));
        handed.push(match ty {
            Ty::Borrow(_) => format!("at.number(calls, {name})"),
            Ty::Option(_) => format!("at.optional(calls, {name})"),
            Ty::Enum(_) => format!("{name}.value"),
            Ty::Record(of) => parts(boundary, of, name),
            Ty::Variant(of) => {
                let Shape::Variant(cases) = &boundary.named(of).shape else { continue };
                let cases: Vec<String> = cases.iter().map(|(case, ..)| format!("types.{of}_{case}")).collect();
                format!("at.parts({name}, ({}))", cases.join(", "))
            }
            _ => name.clone(),
        });
    }
    let called = format!("calls.{}({})", call.flat, handed.join(", "));
    let made = |kind: &str, from: &str| match boundary.resource(kind).interface.as_str() {
        own if own == interface => format!("{}._of(calls, {from})", camel(kind)),
        other => format!("{other}.{}._of(calls, {from})", camel(kind)),
    };
    let mut body = String::new();
    let value = match &call.result {
        Ty::Unit => called,
        Ty::Own(_) if receiver == "cls" => format!("return cls._of(calls, {called})"),
        Ty::Own(kind) => format!("return {}", made(kind, &called)),
        Ty::Pair(first, second) => match (&**first, &**second) {
            (Ty::Own(first), Ty::Own(second)) => {
                body += &format!("{pad}    first, second = {called}\n");
                format!("return {}, {}", made(first, "first"), made(second, "second"))
            }
            _ => format!("return {called}"),
        },
        Ty::Record(of) => format!("return types.{of}(*{called})"),
        Ty::List(inner) => match &**inner {
            Ty::Record(of) => format!("return [types.{of}(*one) for one in {called}]"),
            _ => format!("return {called}"),
        },
        _ => format!("return {called}"),
    };
    let result = match (&call.result, receiver) {
        (Ty::Own(kind), "cls") => camel(kind),
        (result, _) => placed(boundary, result, interface),
    };
    let docs = call.docs.replace("\n\n", "\n\0").replace('\n', &format!("\n{pad}    ")).replace('\0', "");
    let docs = docs.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let docs =
        docs.replace(&format!("\n{pad}    Errors: "), &format!("\n\n{pad}    Errors: ")).replace("\n\n\n", "\n\n");
    let gap = if receiver.is_empty() { "\n\n" } else { "\n" };
    let before = if receiver == "cls" { "    @classmethod\n" } else { "" };
    // In its own class a method called `len` hides nothing: bodies name no built-in function.
    format!(
        "{gap}{before}{pad}def {}({}) -> {result}:\n{pad}    \"\"\"{docs}\"\"\"\n\
         {pad}    calls = at.hand()\n{body}{pad}    {value}\n",
        call.name,
        params.join(", ")
    )
}

fn parts(boundary: &Boundary, of: &str, name: &str) -> String {
    let field = |(field, ty, _): &(String, Ty, String)| match ty {
        Ty::Enum(_) => format!("{name}.{field}.value"),
        _ => format!("{name}.{field}"),
    };
    let fields: Vec<String> = of_record(boundary, of).iter().map(field).collect();
    format!("({})", fields.join(", "))
}
