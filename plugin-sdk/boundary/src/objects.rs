//! The objects of the SDK: one type a kind, one method a call.

use crate::model::{Boundary, Call, Home, Ty, camel};
use crate::protocol::{argument, imports, value};
use crate::write::{docs, header};

pub(crate) fn objects(boundary: &Boundary) -> String {
    let mut out = header("Objects of the host. Each is a handle that is released when it goes out of scope.");
    out += &format!(
        "use querist_protocol::{{{}}};

use crate::host::Host;
use crate::objects::object;
use crate::strategy::Result;
",
        imports(boundary)
    );
    for kind in &boundary.resources {
        let name = camel(&kind.name);
        out += &format!("\nobject! {{\n{}    {name}\n}}\n\nimpl {name} {{\n", docs(&kind.docs, 4));
        for call in boundary.calls.iter().filter(|call| receiver(call) == Some(&kind.name)) {
            out += &method(call, true);
        }
        out += "}\n";
    }
    out += "\n/// Calls that no object answers.\nimpl Host {\n";
    for call in boundary.calls.iter().filter(|call| receiver(call).is_none()) {
        out += &method(call, false);
    }
    out + "}\n"
}

/// The kind of object that answers a call: that of its first argument.
fn receiver(call: &Call) -> Option<&String> {
    match call.params.first() {
        Some((_, Ty::Borrow(kind))) => Some(kind),
        _ => None,
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
            Ty::Borrow(kind) => (format!("&{}", camel(kind)), format!("{name}.handle")),
            Ty::Option(inner) => match &**inner {
                Ty::Borrow(kind) => (format!("Option<&{}>", camel(kind)), format!("{name}.map(|one| one.handle)")),
                _ => (argument(ty), name.clone()),
            },
            _ => (argument(ty), name.clone()),
        };
        params += &format!(", {name}: {shown}");
        handed.push(given);
    }
    let host = if of_object { "&self.host" } else { "self" };
    let calls = if of_object { "self.host.calls()" } else { "self.calls()" };
    let called = format!("{calls}.{}({})", call.flat, handed.join(", "));
    let adopt = |kind: &str, handle: &str| format!("{}::adopt({host}, {handle})", camel(kind));
    let (result, body) = match &call.result {
        Ty::Unit if !call.can_fail => (String::new(), format!("{called};")),
        result if !call.can_fail => (format!(" -> {}", value(result)), called),
        Ty::Own(kind) => {
            (format!(" -> Result<{}>", camel(kind)), format!("Ok({})", adopt(kind, &format!("{called}?"))))
        }
        Ty::Pair(first, second) => match (&**first, &**second) {
            (Ty::Own(first), Ty::Own(second)) => (
                format!(" -> Result<({}, {})>", camel(first), camel(second)),
                format!(
                    "let (first, second) = {called}?;\n        Ok(({}, {}))",
                    adopt(first, "first"),
                    adopt(second, "second")
                ),
            ),
            _ => (format!(" -> Result<{}>", value(&call.result)), format!("Ok({called}?)")),
        },
        result => (format!(" -> Result<{}>", value(result)), format!("Ok({called}?)")),
    };
    format!("{}    pub fn {name}(&self{params}){result} {{\n        {body}\n    }}\n\n", docs(&call.docs, 4))
}
