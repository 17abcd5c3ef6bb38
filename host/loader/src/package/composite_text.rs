//! The text of a composite package.

use querist_protocol::{API_VERSION, Description, Shown, StrategyDescription};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::combine::{Albl, Anchors, Balanced, Member, Mix, Seals, Tailor};
use super::file::parsed_toml;
use super::refused::{RefusedPackage, refuse};

/// A package of strategies made of others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompositeText {
    package: String,
    version: String,
    #[serde(rename = "strategy")]
    pub(crate) strategies: Vec<CompositeStrategyText>,
}

/// One strategy made of others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompositeStrategyText {
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
    Balanced,
    Mix,
    Seals,
    Anchors,
    Tailor,
    Albl,
}

/// Asks `first` in the first rounds and `then` in all others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// The strategy of the first rounds.
    pub(crate) first: Member,
    /// The strategy of all other rounds.
    pub(crate) then: Member,
    /// Rounds in which the first one is asked.
    #[schemars(range(min = 0))]
    pub(crate) switch_round: u32,
}

/// Lets every member pick batches from random parts of the pool, keeps what was picked as the next pool, and so on;
/// `finish` picks from the last one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refine {
    /// The strategies that narrow the pool.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) members: Vec<Member>,
    /// The strategy that picks from what is left.
    pub(crate) finish: Member,
    /// Levels of narrowing.
    #[schemars(range(max = 100))]
    pub(crate) depth: u32,
    /// Batches of a level, divided among the members; each member picks at least one.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) num_batches: u32,
    /// Part of the pool from which a batch is picked, from the second level on.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) alpha: f64,
    /// Samples from which a batch of the first level is picked.
    #[schemars(range(min = 1))]
    pub(crate) init_subset: u32,
    /// Samples that a level leaves at most.
    #[schemars(range(min = 1))]
    pub(crate) max_pool: u32,
}

/// Reads the text of a package.
pub(crate) fn parse(text: &[u8]) -> Result<CompositeText, RefusedPackage> {
    let text = std::str::from_utf8(text).map_err(|_| RefusedPackage::new("the composite's text is not UTF-8"))?;
    parsed_toml(text).map_err(RefusedPackage::new)
}

impl CompositeText {
    /// What the package says of itself, but for needs and powers, which are those of the members.
    pub(crate) fn description(&self) -> Result<Description, RefusedPackage> {
        let strategies = self.strategies.iter().map(CompositeStrategyText::description);
        Ok(Description {
            package: self.package.clone(),
            version: self.version.clone(),
            api: API_VERSION.to_owned(),
            strategies: strategies.collect::<Result<_, _>>()?,
        })
    }
}

impl CompositeStrategyText {
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
                Combine::Balanced => self.schema::<Balanced>()?,
                Combine::Mix => self.schema::<Mix>()?,
                Combine::Seals => self.schema::<Seals>()?,
                Combine::Anchors => self.schema::<Anchors>()?,
                Combine::Tailor => self.schema::<Tailor>()?,
                Combine::Albl => self.schema::<Albl>()?,
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
