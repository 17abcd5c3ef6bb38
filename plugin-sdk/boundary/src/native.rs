//! Both ends of the C table.

use crate::model::{Boundary, Call, Ty};
use crate::protocol::{c_arguments, c_results, imports, in_c, signature};
use crate::write::header;

/// The SDK's end.
pub(crate) fn client(boundary: &Boundary) -> String {
    let mut out = header("The host's table as the calls that strategies make.");
    let used = imports(boundary);
    out += &format!(
        "use querist_protocol::abi::{{Bytes, table}};
use querist_protocol::{{{used}, Fault, Handle, HostCalls, Numbered}};

"
    );
    out += "use crate::native::{List, Table, no_handle, row_or_none};\n\nimpl HostCalls for Table {\n";
    out += "    fn release(&self, handle: Handle) {\n        // SAFETY: the host checks handles.\n";
    out += "        unsafe { (self.calls().release)(self.call(), handle) };\n    }\n";
    for call in &boundary.calls {
        out += &format!("\n    fn {}{} {{\n", call.flat, signature(call));
        out += &client_body(call);
        out += "    }\n";
    }
    out + "}\n"
}

fn client_body(call: &Call) -> String {
    let mut out = String::new();
    let mut arguments = String::new();
    for (name, ty) in &call.params {
        arguments += &match ty {
            Ty::Text => format!(", Bytes::of({name}.as_bytes())"),
            Ty::List(_) => format!(", {name}.as_ptr(), {name}.len()"),
            Ty::Option(_) => format!(", no_handle({name})"),
            Ty::Enum(_) => format!(", {name}.number()"),
            Ty::Record(record) => {
                out += &format!("        let {name} = table::{record}::from({name});\n");
                format!(", &raw const {name}")
            }
            Ty::Variant(_) => {
                out += &format!("        let ({name}, {name}_value) = {name}.parts();\n");
                format!(", {name}, {name}_value")
            }
            _ => format!(", {name}"),
        };
    }
    for (name, ty) in c_results(call) {
        let ty = ty.trim_start_matches("*mut ");
        let default = match (ty, &call.result) {
            (record, Ty::Record(_)) => format!("table::{record}::default()"),
            (list, Ty::List(inner)) if matches!(**inner, Ty::Record(_)) => {
                format!("List::<table::{}::none()", &list["List<".len()..])
            }
            (list, _) if list.starts_with("List<") => format!("List::<{}::none()", &list["List<".len()..]),
            (ty, _) => format!("{ty}::default()"),
        };
        out += &format!("        let mut {name} = {default};\n");
        arguments += &format!(", &raw mut {name}");
    }
    out += "        // SAFETY: arguments live through the call, which checks them; there is room for its results.\n";
    let called = format!("unsafe {{ (self.calls().{})(self.call(){arguments}) }}", call.flat);
    out += &match call.can_fail {
        true if call.result == Ty::Unit => return out + &format!("        self.check({called})\n"),
        true => format!("        self.check({called})?;\n"),
        // It cannot be refused; zeros would show it.
        false => format!("        {called};\n"),
    };
    let value = match &call.result {
        Ty::Unit => return out,
        Ty::List(inner) => {
            out += "        // SAFETY: the host lends the list until its next call.\n";
            let values = "unsafe { out.to_vec() }";
            match &**inner {
                Ty::Option(_) => format!("{values}.into_iter().map(row_or_none).collect()"),
                Ty::Record(_) => {
                    return out + &format!("        {values}.into_iter().map(TryInto::try_into).collect()\n");
                }
                _ => values.to_owned(),
            }
        }
        Ty::Pair(..) => "(out, out_second)".to_owned(),
        Ty::Option(inner) => match **inner {
            Ty::Pair(..) => "row_or_none(out_row).map(|row| (row, out_value))".to_owned(),
            _ => "row_or_none(out_row)".to_owned(),
        },
        Ty::Record(record) if call.can_fail => format!("{record}::try_from(out)?"),
        Ty::Record(record) => format!("{record}::try_from(out).unwrap_or_else(|_| unreachable!(\"whole numbers\"))"),
        _ => "out".to_owned(),
    };
    out + &if call.can_fail { format!("        Ok({value})\n") } else { format!("        {value}\n") }
}

/// The host's end.
pub(crate) fn server(boundary: &Boundary) -> String {
    let mut out = header("The calls of native plugins, from the C table to the session.");
    out += "use querist_protocol::HostCalls;
use querist_protocol::abi::table::*;
use querist_protocol::abi::{Bytes, Call, List, Status, numbered};

";
    out += "use super::context::{bad, handle, lend, put, record, row, serve, slice, text};\n\n";
    out += "pub(super) static CALLS: CallTable = CallTable {
    size: size_of::<CallTable>() as u32,
    minor: ABI_MINOR as u32,
    release,
";
    for call in &boundary.calls {
        out += &format!("    {},\n", call.flat);
    }
    out += "};\n\nunsafe extern \"C\" fn release(call: *mut Call, handle: u32) -> Status {\n";
    out += "    serve(call, |c| {\n        c.session.release(handle);\n        Ok(())\n    })\n}\n";
    for call in &boundary.calls {
        out += &served(call);
    }
    out
}

fn served(call: &Call) -> String {
    let arguments: String = c_arguments(call).iter().map(|(name, ty)| format!(", {name}: {ty}")).collect();
    let mut out = format!(
        "\nunsafe extern \"C\" fn {}(call: *mut Call{arguments}) -> Status {{\n    serve(call, |c| {{\n",
        call.flat
    );
    let mut handed = Vec::new();
    for (name, ty) in &call.params {
        handed.push(match ty {
            Ty::Text => format!("text({name})?"),
            Ty::List(_) => format!("slice({name}, {name}_count)?"),
            Ty::Option(_) => format!("handle({name})"),
            Ty::Enum(_) => format!("numbered({name})?"),
            Ty::Record(_) => format!("record({name})?"),
            Ty::Variant(of) => {
                let missing = format!("|| bad(format!(\"{name} {{{name}}} is unknown\"))");
                format!("querist_protocol::{of}::of_parts({name}, {name}_value).ok_or_else({missing})?")
            }
            _ => name.clone(),
        });
    }
    let refusal = if call.can_fail { "?" } else { "" };
    let called = format!("c.session.{}({}){refusal}", call.flat, handed.join(", "));
    out += &match &call.result {
        Ty::Unit if call.can_fail => format!("        c.session.{}({})\n", call.flat, handed.join(", ")),
        Ty::Unit => format!("        {called};\n        Ok(())\n"),
        Ty::List(inner) => match &**inner {
            Ty::Option(_) => format!("        lend(c, out, {called}.into_iter().map(row).collect())\n"),
            Ty::Record(of) => format!("        lend(c, out, {called}.into_iter().map({of}::from).collect())\n"),
            _ => format!("        lend(c, out, {called})\n"),
        },
        Ty::Pair(..) => format!(
            "        let (first, second) = {called};\n        put(out, first)?;\n        put(out_second, second)\n"
        ),
        Ty::Option(inner) => match &**inner {
            Ty::Pair(_, value) => {
                let zero = if in_c(value) == "f64" { "0.0" } else { "0" };
                format!(
                    "        let found = {called};\n        put(out_row, row(found.map(|found| found.0)))?;\n        \
                     put(out_value, found.map_or({zero}, |found| found.1))\n"
                )
            }
            _ => format!("        put(out_row, row({called}))\n"),
        },
        Ty::Record(_) => format!("        put(out, {called}.into())\n"),
        _ => format!("        put(out, {called})\n"),
    };
    out + "    })\n}\n"
}
