//! The boundary as WIT has it, in the words that the generated files need.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, Resolve, Stability, Type as Wit, TypeDef, TypeDefKind, TypeId,
};

/// What host and plugins may say to each other.
pub(crate) struct Boundary {
    /// Text of the package.
    pub(crate) docs: String,
    /// Version that a plugin states, `major.minor`.
    pub(crate) api: String,
    /// Number of the newest function, for the C table.
    pub(crate) minor: u64,
    /// Kinds of objects, in the order of the file: the number of a kind is its place.
    pub(crate) resources: Vec<Resource>,
    /// Types that calls use, but for the fault.
    pub(crate) types: Vec<Named>,
    /// Calls by version, then by place.
    pub(crate) calls: Vec<Call>,
}

/// A kind of object.
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) docs: String,
}

/// A type with a name.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) docs: String,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    /// Cases, with their texts.
    Enum(Vec<(String, String)>),
    /// Fields, with their texts.
    Record(Vec<(String, Ty, String)>),
    /// Cases, with whether they hold a number, and their texts.
    Variant(Vec<(String, bool, String)>),
}

/// Type of an argument, a field or a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Unit,
    Bool,
    U32,
    U64,
    F32,
    F64,
    Text,
    List(Box<Ty>),
    /// A new object of this kind.
    Own(String),
    /// An object of this kind, for the time of the call.
    Borrow(String),
    Option(Box<Ty>),
    Pair(Box<Ty>, Box<Ty>),
    Enum(String),
    Record(String),
    Variant(String),
}

/// One function.
pub(crate) struct Call {
    /// Name in the trait and in the C table.
    pub(crate) flat: String,
    /// Name in its interface, or in its resource.
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) home: Home,
    /// Arguments; the first is the object itself for a method.
    pub(crate) params: Vec<(String, Ty)>,
    pub(crate) result: Ty,
    /// Whether it may be refused.
    pub(crate) can_fail: bool,
    pub(crate) docs: String,
    since: (u64, u64, u64),
}

/// Where a function lies.
#[derive(PartialEq)]
pub(crate) enum Home {
    Interface,
    Method(String),
    Static(String),
}

impl Boundary {
    /// Reads the folder with the WIT.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(folder)?;
        let package = &resolve.packages[package];
        let version = package.name.version.as_ref().context("the package has no version")?;
        let mut boundary = Self {
            docs: text(&package.docs),
            api: format!("{}.{}", version.major, version.minor),
            // What grows without breaking: the last number before 1.0, the middle one from there on.
            minor: if version.major == 0 { version.patch } else { version.minor },
            resources: Vec::new(),
            types: Vec::new(),
            calls: Vec::new(),
        };
        for (name, &id) in package.interfaces.iter().filter(|(name, _)| *name != "strategies") {
            boundary.add(&resolve, name, id).with_context(|| format!("interface `{name}`"))?;
        }
        boundary.calls.sort_by_key(|call| call.since);
        Ok(boundary)
    }

    fn add(&mut self, resolve: &Resolve, interface: &str, id: InterfaceId) -> Result<()> {
        let own = &resolve.interfaces[id];
        for (name, &id) in &own.types {
            let definition = &resolve.types[id];
            match &definition.kind {
                // Used from another interface.
                TypeDefKind::Type(_) => {}
                TypeDefKind::Resource => {
                    since(&definition.stability, name)?;
                    let docs = text(&definition.docs);
                    self.resources.push(Resource { name: snake(name), interface: snake(interface), docs });
                }
                _ if name == "fault" || name == "error" => {}
                kind => {
                    since(&definition.stability, name)?;
                    let shape = shape(resolve, kind).with_context(|| format!("type `{name}`"))?;
                    self.types.push(Named { name: camel(name), docs: text(&definition.docs), shape });
                }
            }
        }
        for function in own.functions.values() {
            let call = self.call(resolve, interface, function);
            self.calls.push(call.with_context(|| format!("function `{}`", function.name))?);
        }
        Ok(())
    }

    fn call(&self, resolve: &Resolve, interface: &str, function: &Function) -> Result<Call> {
        let resource = |id: TypeId| snake(resolve.types[id].name.as_deref().unwrap_or_default());
        let home = match function.kind {
            FunctionKind::Freestanding => Home::Interface,
            FunctionKind::Method(id) => Home::Method(resource(id)),
            FunctionKind::Static(id) => Home::Static(resource(id)),
            _ => bail!("is of a kind that the boundary does not know"),
        };
        let name = snake(function.item_name());
        let flat = match &home {
            Home::Interface => name.clone(),
            Home::Method(resource) => format!("{resource}_{name}"),
            // What makes an object goes by the name of its kind.
            Home::Static(resource) => resource.clone(),
        };
        ensure!(self.calls.iter().all(|call| call.flat != flat), "is the second one of the name `{flat}`");
        let mut params = Vec::new();
        for param in &function.params {
            let name = if param.name == "self" { snake_of(&home) } else { snake(&param.name) };
            params.push((name, ty(resolve, &param.ty)?));
        }
        let (result, can_fail) = result(resolve, function.result.as_ref())?;
        let docs = text(&function.docs);
        ensure!(!docs.is_empty(), "has no text");
        ensure!(!can_fail || docs.contains("Errors: "), "does not say when it is refused (`Errors: ...`)");
        let since = since(&function.stability, &function.name)?;
        Ok(Call { flat, name, interface: snake(interface), home, params, result, can_fail, docs, since })
    }

    /// The type of this name.
    pub(crate) fn named(&self, name: &str) -> &Named {
        self.types.iter().find(|named| named.name == name).expect("types of calls are among the types")
    }

    /// The kind of object of this name.
    pub(crate) fn resource(&self, name: &str) -> &Resource {
        self.resources.iter().find(|resource| resource.name == name).expect("a kind of object of the file")
    }
}

fn snake_of(home: &Home) -> String {
    match home {
        Home::Method(resource) => resource.clone(),
        _ => "this".to_owned(),
    }
}

fn since(stability: &Stability, name: &str) -> Result<(u64, u64, u64)> {
    match stability {
        Stability::Stable { since, .. } => Ok((since.major, since.minor, since.patch)),
        _ => bail!("`{name}` has no `@since`"),
    }
}

fn text(docs: &Docs) -> String {
    docs.contents.as_deref().unwrap_or_default().trim().to_owned()
}

fn shape(resolve: &Resolve, kind: &TypeDefKind) -> Result<Shape> {
    Ok(match kind {
        TypeDefKind::Enum(cases) => {
            Shape::Enum(cases.cases.iter().map(|case| (camel(&case.name), text(&case.docs))).collect())
        }
        TypeDefKind::Record(record) => {
            let field =
                |field: &wit_parser::Field| Ok((snake(&field.name), ty(resolve, &field.ty)?, text(&field.docs)));
            Shape::Record(record.fields.iter().map(field).collect::<Result<_>>()?)
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| {
                ensure!(matches!(case.ty, None | Some(Wit::F64)), "case `{}` holds no f64", case.name);
                Ok((camel(&case.name), case.ty.is_some(), text(&case.docs)))
            };
            Shape::Variant(variant.cases.iter().map(case).collect::<Result<_>>()?)
        }
        other => bail!("is {}, which has no form in C tables yet", other.as_str()),
    })
}

/// What a function gives, and whether it may be refused.
fn result(resolve: &Resolve, found: Option<&Wit>) -> Result<(Ty, bool)> {
    let Some(found) = found else { return Ok((Ty::Unit, false)) };
    if let Wit::Id(id) = found
        && let TypeDefKind::Result(result) = &resolve.types[*id].kind
    {
        let good = result.ok.as_ref().map_or(Ok(Ty::Unit), |good| ty(resolve, good))?;
        return Ok((good, true));
    }
    Ok((ty(resolve, found)?, false))
}

fn ty(resolve: &Resolve, wit: &Wit) -> Result<Ty> {
    Ok(match wit {
        Wit::Bool => Ty::Bool,
        Wit::U32 => Ty::U32,
        Wit::U64 => Ty::U64,
        Wit::F32 => Ty::F32,
        Wit::F64 => Ty::F64,
        Wit::String => Ty::Text,
        Wit::Id(id) => defined(resolve, &resolve.types[*id])?,
        other => bail!("{other:?} has no form in C tables yet"),
    })
}

fn defined(resolve: &Resolve, definition: &TypeDef) -> Result<Ty> {
    let name = || definition.name.clone().unwrap_or_default();
    let resource = |id: &TypeId| snake(original(resolve, *id).name.as_deref().unwrap_or_default());
    Ok(match &definition.kind {
        TypeDefKind::Type(aliased) => ty(resolve, aliased)?,
        TypeDefKind::Enum(_) => Ty::Enum(camel(&name())),
        TypeDefKind::Record(_) => Ty::Record(camel(&name())),
        TypeDefKind::Variant(_) => Ty::Variant(camel(&name())),
        TypeDefKind::List(inner) => Ty::List(Box::new(ty(resolve, inner)?)),
        TypeDefKind::Option(inner) => Ty::Option(Box::new(ty(resolve, inner)?)),
        TypeDefKind::Tuple(tuple) => match &tuple.types[..] {
            [first, second] => Ty::Pair(Box::new(ty(resolve, first)?), Box::new(ty(resolve, second)?)),
            _ => bail!("a tuple that is no pair has no form in C tables yet"),
        },
        TypeDefKind::Handle(Handle::Own(id)) => Ty::Own(resource(id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => Ty::Borrow(resource(id)),
        other => bail!("{} has no form in C tables yet", other.as_str()),
    })
}

/// The type behind what an interface calls by a name of its own.
fn original(resolve: &Resolve, id: TypeId) -> &TypeDef {
    match resolve.types[id].kind {
        TypeDefKind::Type(Wit::Id(aliased)) => original(resolve, aliased),
        _ => &resolve.types[id],
    }
}

pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

pub(crate) fn camel(name: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split(['-', '_']).map(part).collect()
}
