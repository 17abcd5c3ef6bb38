//! The text of a composite package.

use querist_protocol::{API_VERSION, Description, Shown, StrategyDescription};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refine::Refine;
use super::switch::Switch;
use crate::manifest::{RefusedPackage, parsed_toml, refuse};

/// A package of strategies made of others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    package: String,
    version: String,
    #[serde(rename = "strategy")]
    pub(crate) strategies: Vec<SourceStrategy>,
}

/// One strategy made of others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceStrategy {
    pub(crate) id: String,
    summary: String,
    paper: String,
    #[serde(default)]
    cost: String,
    #[serde(default)]
    aliases: Vec<String>,
    pub(crate) combine: Combine,
    /// Values of parameters that are given none; the members stand here.
    defaults: Map<String, Value>,
}

/// The ways to combine.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Combine {
    SwitchByRound,
    Refine,
}

/// Reads the text of a package.
pub(crate) fn parse(text: &[u8]) -> Result<Source, RefusedPackage> {
    let text = std::str::from_utf8(text).map_err(|_| RefusedPackage::new("the composite's text is not UTF-8"))?;
    parsed_toml(text).map_err(RefusedPackage::new)
}

impl Source {
    /// What the package says of itself, but for needs and powers, which are those of the members.
    pub(crate) fn description(&self) -> Result<Description, RefusedPackage> {
        let strategies = self.strategies.iter().map(SourceStrategy::description);
        Ok(Description {
            package: self.package.clone(),
            version: self.version.clone(),
            api: API_VERSION.to_owned(),
            strategies: strategies.collect::<Result<_, _>>()?,
        })
    }
}

impl SourceStrategy {
    fn description(&self) -> Result<StrategyDescription, RefusedPackage> {
        Ok(StrategyDescription {
            id: self.id.clone(),
            summary: self.summary.clone(),
            paper: self.paper.clone(),
            cost: self.cost.clone(),
            scorer: false,
            aliases: self.aliases.clone(),
            needs: Vec::new(),
            may_need: Vec::new(),
            capabilities: Vec::new(),
            schema: match self.combine {
                Combine::SwitchByRound => self.schema::<Switch>()?,
                Combine::Refine => self.schema::<Refine>()?,
            },
        })
    }

    /// The schema of the way to combine, with this strategy's defaults.
    fn schema<T: JsonSchema>(&self) -> Result<Value, RefusedPackage> {
        let mut schema = Value::from(schema_for!(T));
        let unknown = |name: &str| {
            let (id, name) = (Shown::name(&self.id), Shown::name(name));
            format!("strategy `{id}`: `{:?}` has no parameter `{name}`", self.combine)
        };
        for (name, value) in &self.defaults {
            match schema.pointer_mut(&format!("/properties/{name}")).and_then(Value::as_object_mut) {
                Some(property) => property.insert("default".to_owned(), value.clone()),
                None => return refuse(unknown(name)),
            };
        }
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_none_or(|name| !self.defaults.contains_key(name)));
        }
        Ok(schema)
    }
}
