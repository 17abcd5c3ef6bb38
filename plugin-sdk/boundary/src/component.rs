//! Both ends of a component.

use crate::model::{Boundary, Call, Home, Shape, Ty, camel};
use crate::protocol::{imports, name_of, signature, value, words};
use crate::write::header;

const QUALIFIED: &str = "#![allow(unused_qualifications, reason = \"both sides of a conversion are named alike\")]\n\n";

/// The interfaces that calls lie in.
fn interfaces(boundary: &Boundary) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for call in &boundary.calls {
        if !out.contains(&call.interface.as_str()) {
            out.push(&call.interface);
        }
    }
    out.sort_unstable();
    out
}

/// A type of an interface by its path.
fn resource(boundary: &Boundary, name: &str) -> String {
    format!("{}::{}", boundary.resource(name).interface, camel(name))
}

/// Conversions of a type between protocol and bindings.
fn conversion(name: &str, shape: &Shape, to_wit: bool) -> String {
    let (from, to) = if to_wit { ("querist_protocol", "types") } else { ("types", "querist_protocol") };
    let function = converter(name);
    let mut out = format!("\nfn {function}(value: {from}::{name}) -> {to}::{name} {{\n");
    match shape {
        Shape::Enum(cases) => {
            out += "    match value {\n";
            for (case, _) in cases {
                out += &format!("        {from}::{name}::{case} => {to}::{name}::{case},\n");
            }
            out += "    }\n";
        }
        Shape::Variant(cases) => {
            out += "    match value {\n";
            for (case, holds, _) in cases {
                let held = if *holds { "(held)" } else { "" };
                out += &format!("        {from}::{name}::{case}{held} => {to}::{name}::{case}{held},\n");
            }
            out += "    }\n";
        }
        Shape::Record(fields) => {
            out += &format!("    {to}::{name} {{\n");
            for (field, ty, _) in fields {
                out += &match ty {
                    Ty::Enum(of) => format!("        {field}: {}(value.{field}),\n", converter(of)),
                    _ => format!("        {field}: value.{field},\n"),
                };
            }
            out += "    }\n";
        }
    }
    out + "}\n"
}

fn converter(name: &str) -> String {
    format!("convert_{}", words(name).replace(' ', "_"))
}

/// Types that some call gives, and so must come from the host, with what they hold.
fn given(boundary: &Boundary) -> Vec<&str> {
    boundary.calls.iter().filter_map(|call| name_of(&call.result)).chain(["FaultCode"]).collect()
}

/// Conversions; `server` is the end where what calls give becomes a type of the bindings.
fn conversions(boundary: &Boundary, server: bool) -> String {
    let given = given(boundary);
    let mut out = String::new();
    for named in &boundary.types {
        let to_wit = given.contains(&named.name.as_str()) == server;
        out += &conversion(&named.name, &named.shape, to_wit);
    }
    out
}

/// The SDK's end.
pub(crate) fn client(boundary: &Boundary) -> String {
    let mut out = header("The imports of a component as the calls that strategies make.");
    out += QUALIFIED;
    out += &format!("use querist_protocol::{{{}, Fault, Handle, HostCalls, Kind}};\n\n", imports(boundary));
    out += &format!("use crate::wasm::bindings::querist::strategy::{{{}, types}};\n", interfaces(boundary).join(", "));
    out += "use crate::wasm::{Imports, Object, give, lend, lend_if, object, plain, take};\n";
    for kind in &boundary.resources {
        let (path, name) = (resource(boundary, &kind.name), camel(&kind.name));
        out += &format!(
            "
impl Object for {path} {{
    const KIND: Kind = Kind::{name};

    fn into_raw(self) -> u32 {{
        self.take_handle()
    }}

    unsafe fn of_raw(raw: u32) -> Self {{
        // SAFETY: the caller's promise is the same.
        unsafe {{ Self::from_handle(raw) }}
    }}
}}
"
        );
    }
    out += &conversions(boundary, false).replace("\nfn convert_fault_code", "\npub(crate) fn convert_fault_code");
    out += &conversion("FaultCode", &boundary.named("FaultCode").shape, true)
        .replace("fn convert_fault_code", "pub(crate) fn fault_code_to_wit");
    out +=
        "\nimpl HostCalls for Imports {\n    fn release(&self, handle: Handle) {\n        match Kind::of(handle) {\n";
    for kind in &boundary.resources {
        let (path, name) = (resource(boundary, &kind.name), camel(&kind.name));
        out += &format!("            Some(Kind::{name}) => drop(take::<{path}>(handle)),\n");
    }
    out += "            None => {}\n        }\n    }\n";
    for call in &boundary.calls {
        out += &format!("\n    fn {}{} {{\n{}    }}\n", call.flat, signature(call), client_body(boundary, call));
    }
    out + "}\n"
}

fn client_body(boundary: &Boundary, call: &Call) -> String {
    let mut before = String::new();
    let mut handed = Vec::new();
    for (name, ty) in &call.params {
        handed.push(match ty {
            Ty::Borrow(kind) => format!("&lend::<{}>({name})", resource(boundary, kind)),
            Ty::Option(inner) => match &**inner {
                Ty::Borrow(kind) => {
                    before += &format!("        let {name} = lend_if::<{}>({name});\n", resource(boundary, kind));
                    format!("{name}.as_deref()")
                }
                _ => name.clone(),
            },
            Ty::Enum(of) | Ty::Record(of) | Ty::Variant(of) => format!("{}({name})", converter(of)),
            _ => name.clone(),
        });
    }
    let called = match &call.home {
        Home::Interface => format!("{}::{}({})", call.interface, call.name, handed.join(", ")),
        Home::Static(kind) => format!("{}::{}({})", resource(boundary, kind), call.name, handed.join(", ")),
        Home::Method(_) => format!("{}.{}({})", handed[0].trim_start_matches('&'), call.name, handed[1..].join(", ")),
    };
    let body = match &call.result {
        Ty::Own(_) => format!("object({called})"),
        Ty::Pair(first, _) if matches!(**first, Ty::Own(_)) => {
            format!("let (first, second) = plain({called})?;\n        Ok((give(first), give(second)))")
        }
        Ty::List(inner) => match &**inner {
            Ty::Record(of) => format!("Ok(plain({called})?.into_iter().map({}).collect())", converter(of)),
            _ => format!("plain({called})"),
        },
        Ty::Record(of) if call.can_fail => format!("plain({called}).map({})", converter(of)),
        Ty::Record(of) => format!("{}({called})", converter(of)),
        Ty::Unit if !call.can_fail => format!("{called};"),
        _ => format!("plain({called})"),
    };
    format!("{before}        {body}\n")
}

/// The host's end.
pub(crate) fn server(boundary: &Boundary) -> String {
    let mut out = header("The calls of components, from WIT to the session.");
    out += QUALIFIED;
    out += "use querist_protocol::{Fault, HostCalls};\nuse wasmtime::component::Resource;\n\n";
    let traits: String = boundary
        .resources
        .iter()
        .map(|kind| format!("use bindings::querist::strategy::{}::Host{};\n", kind.interface, camel(&kind.name)))
        .collect();
    out += &format!("use bindings::querist::strategy::{{{}, types}};\n{traits}", interfaces(boundary).join(", "));
    out += "use super::state::CallState;\n\n";
    out += "/// What `bindgen` makes of the WIT.\n#[allow(missing_docs, reason = \"generated\")]\n";
    out += "pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: \"../../plugin-sdk/wit\",
        world: \"plugin\",
        with: {
";
    for kind in &boundary.resources {
        let wit = kind.name.replace('_', "-");
        out += &format!(
            "            \"querist:strategy/{}.{wit}\": super::objects::{},\n",
            kind.interface.replace('_', "-"),
            camel(&kind.name)
        );
    }
    out += "        },
    });
}

/// Kinds of handles. Their numbers are the session's handles.
pub(super) mod objects {
";
    for kind in &boundary.resources {
        out += &format!("    pub struct {};\n", camel(&kind.name));
    }
    let objects: Vec<String> = boundary.resources.iter().map(|kind| camel(&kind.name)).collect();
    out += &format!("}}\n\nuse objects::{{{}}};\n", objects.join(", "));
    out += "
type Call<T> = Result<T, types::Fault>;

fn plain<T>(result: Result<T, Fault>) -> Call<T> {
    result.map_err(fault_to_wit)
}
";
    out += "
fn fault_to_wit(fault: Fault) -> types::Fault {
    types::Fault { code: convert_fault_code(fault.code), message: fault.message }
}
";
    out += "
/// Hands a new object of the session to the guest.
fn object<T: 'static>(result: Result<u32, Fault>) -> Call<Resource<T>> {
    result.map(Resource::new_own).map_err(fault_to_wit)
}
";
    out += "
fn rep<T: 'static>(resource: Option<Resource<T>>) -> Option<u32> {
    resource.map(|resource| resource.rep())
}
";
    out += &conversions(boundary, true);
    out += &conversion("FaultCode", &boundary.named("FaultCode").shape, false)
        .replace("fn convert_fault_code", "pub(super) fn fault_code_from_wit");
    out += "\nimpl types::Host for CallState {}\n";
    for interface in interfaces(boundary) {
        out += &format!("\nimpl {interface}::Host for CallState {{\n");
        for call in boundary.calls.iter().filter(|call| call.interface == interface && call.home == Home::Interface) {
            out += &served(call);
        }
        out += "}\n";
    }
    for kind in &boundary.resources {
        let name = camel(&kind.name);
        out += &format!("\nimpl Host{name} for CallState {{\n");
        let own = |call: &&Call| matches!(&call.home, Home::Method(of) | Home::Static(of) if *of == kind.name);
        for call in boundary.calls.iter().filter(own) {
            out += &served(call);
        }
        out += &format!(
            "    fn drop(&mut self, object: Resource<{name}>) -> wasmtime::Result<()> {{\n        \
             self.calls().release(object.rep());\n        Ok(())\n    }}\n}}\n"
        );
    }
    out
}

/// A type as the bindings of the host have it.
fn bound(ty: &Ty) -> String {
    match ty {
        Ty::Own(kind) | Ty::Borrow(kind) => format!("Resource<{}>", camel(kind)),
        Ty::Option(inner) => format!("Option<{}>", bound(inner)),
        Ty::List(inner) => format!("Vec<{}>", bound(inner)),
        Ty::Pair(first, second) => format!("({}, {})", bound(first), bound(second)),
        Ty::Enum(name) | Ty::Record(name) | Ty::Variant(name) => format!("types::{name}"),
        other => value(other),
    }
}

fn served(call: &Call) -> String {
    let params: String = call.params.iter().map(|(name, ty)| format!(", {name}: {}", bound(ty))).collect();
    let result = match (&call.result, call.can_fail) {
        (Ty::Unit, false) => String::new(),
        (result, false) => format!(" -> {}", bound(result)),
        (result, true) => format!(" -> Call<{}>", bound(result)),
    };
    let handed: Vec<String> = call
        .params
        .iter()
        .map(|(name, ty)| match ty {
            Ty::Text | Ty::List(_) => format!("&{name}"),
            Ty::Borrow(_) => format!("{name}.rep()"),
            Ty::Option(_) => format!("rep({name})"),
            Ty::Enum(of) | Ty::Record(of) | Ty::Variant(of) => format!("{}({name})", converter(of)),
            _ => name.clone(),
        })
        .collect();
    let called = format!("self.calls().{}({})", call.flat, handed.join(", "));
    let body = match &call.result {
        Ty::Own(_) => format!("object({called})"),
        Ty::Pair(first, _) if matches!(**first, Ty::Own(_)) => {
            format!(
                "let (first, second) = plain({called})?;
        Ok((Resource::new_own(first), Resource::new_own(second)))"
            )
        }
        Ty::List(inner) => match &**inner {
            Ty::Record(of) => format!("Ok(plain({called})?.into_iter().map({}).collect())", converter(of)),
            _ => format!("plain({called})"),
        },
        Ty::Record(of) if call.can_fail => format!("plain({called}).map({})", converter(of)),
        Ty::Record(of) => format!("{}({called})", converter(of)),
        Ty::Unit if !call.can_fail => format!("{called};"),
        _ => format!("plain({called})"),
    };
    format!("    fn {}(&mut self{params}){result} {{\n        {body}\n    }}\n\n", call.name)
}
