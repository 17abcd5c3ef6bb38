//! Strategies made of others: a text says which, and how they are combined. No code of their own runs.

mod refine;
mod source;
mod switch;

use std::collections::BTreeSet;

use querist_core::strategy::{Hint, Limit, QueryError, QueryErrorKind};
use querist_core::{Answer, Granted, Query, Schema, Strategy, StrategyIdentity, StrategyKind, Usage};
use querist_protocol::{Capability, Need, StrategyDescription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::discover::Resolved;
use crate::manifest::{self, CheckedPackage, RefusedPackage, hex_sha256};
use crate::sandbox::Limits;
use refine::Refine;
pub(crate) use source::{Source, parse};
use switch::Switch;

/// A strategy that a composite asks, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Id of the strategy.
    pub id: String,
    /// Its parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
}

/// A member that is ready to be asked.
pub struct Made {
    /// The strategy.
    pub strategy: Box<dyn Strategy>,
    /// What its package says of it.
    pub description: StrategyDescription,
}

/// Why a member is not there.
pub type MemberError = Box<dyn std::error::Error + Send + Sync>;

/// A strategy made of others.
pub struct CompositeStrategy {
    identity: StrategyIdentity,
    needs: Vec<Need>,
    capabilities: Vec<Capability>,
    members: Vec<Box<dyn Strategy>>,
    combined: Combined,
    limits: Limits,
}

/// The ways to combine.
enum Combined {
    Switch(Switch),
    Refine(Refine),
}

impl Combined {
    fn read(source: &Source, id: &str, params: &Value) -> Result<(Self, Vec<Member>), CompositeError> {
        let strategy = source.strategies.iter().find(|strategy| strategy.id == id);
        let strategy = strategy.ok_or_else(|| CompositeError::Source(format!("it has no strategy `{id}`")))?;
        let wrong = |error: serde_json::Error| CompositeError::Params(error.to_string());
        Ok(match strategy.combine {
            source::Combine::SwitchByRound => {
                let switch: Switch = serde_json::from_value(params.clone()).map_err(wrong)?;
                let members = switch.members();
                (Self::Switch(switch), members)
            }
            source::Combine::Refine => {
                let refine: Refine = serde_json::from_value(params.clone()).map_err(wrong)?;
                let members = refine.members();
                (Self::Refine(refine), members)
            }
        })
    }

    /// The members, made by `make`, if they may take part.
    fn made(
        &self,
        members: &[Member],
        make: &mut dyn FnMut(&Member) -> Result<Made, MemberError>,
    ) -> Result<Vec<Made>, CompositeError> {
        let one = |member: &Member| {
            let made = make(member).and_then(|made| match self.refuses(&made) {
                Some(reason) => Err(reason.into()),
                None => Ok(made),
            });
            made.map_err(|source| CompositeError::Member { member: member.id.clone(), source })
        };
        members.iter().map(one).collect()
    }

    /// Why a strategy may be no member.
    fn refuses(&self, made: &Made) -> Option<&'static str> {
        match made.strategy.identity().kind {
            StrategyKind::Composite => return Some("it is made of others itself, which members may not be"),
            StrategyKind::NativeTorch => return Some("it works with images and the model; members work with arrays"),
            StrategyKind::Wasm | StrategyKind::Native => {}
        }
        let reveals = made.description.capabilities.contains(&Capability::OracleStream);
        // It would spend labels on samples that another one then does not pick.
        (reveals && matches!(self, Self::Refine(_))).then_some("it has labels revealed while it picks")
    }
}

impl CompositeStrategy {
    /// Makes a composite of its members, each by `make`.
    ///
    /// `params` are checked against the schema and complete.
    ///
    /// # Errors
    /// If its text is malformed, or a member cannot be made, is a composite itself, takes part in training, or declares
    /// a power that the composite does not.
    pub fn load(
        resolved: Resolved<'_>,
        params: &Value,
        limits: Limits,
        make: &mut dyn FnMut(&Member) -> Result<Made, MemberError>,
    ) -> Result<Self, CompositeError> {
        let source = source_of(resolved.package).map_err(|error| CompositeError::Source(error.to_string()))?;
        let (combined, members) = Combined::read(&source, &resolved.strategy.id, params)?;
        let made = combined.made(&members, make)?;
        let capabilities = resolved.strategy.capabilities.clone();
        if let Some(power) = capabilities_of(&made).iter().find(|power| !capabilities.contains(power)) {
            let message = format!("a member declares `{}`, which the composite does not: pack it anew", power.name());
            return Err(CompositeError::Source(message));
        }
        let made: Vec<Box<dyn Strategy>> = made.into_iter().map(|member| member.strategy).collect();
        let mut identity = resolved.package.identity(&resolved.strategy.id);
        identity.digest = digest(&identity.digest, &made);
        Ok(Self { identity, needs: needs_of(&made), capabilities, members: made, combined, limits })
    }

    /// What a member may see, for some rows of the pool or for all.
    fn granted(&self, member: usize, query: &Query<'_>, rows: Option<&[u32]>) -> Result<Granted, QueryError> {
        let strategy = &*self.members[member];
        strategy.granted(&query.arrays.part(strategy.needs().iter().flat_map(Need::names), rows))
    }

    /// One question to one member.
    fn ask(&mut self, member: usize, query: &Query<'_>) -> Result<Answer, QueryError> {
        self.members[member].query(query)
    }

    fn timeout(&self) -> QueryError {
        let message = format!("ran past its time limit of {} seconds", self.limits.time.as_secs_f64());
        QueryError::new(&self.identity, QueryErrorKind::Timeout, message)
            .with_hint(Some(Hint::raise_or(Limit::Seconds, "lower `depth` or `num_batches`")))
    }
}

impl Strategy for CompositeStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        match &self.combined {
            Combined::Switch(switch) => switch.clone().query(self, query),
            Combined::Refine(refine) => refine.clone().query(self, query),
        }
    }
}

/// The text of a package that was checked.
fn source_of(package: &CheckedPackage) -> Result<Source, RefusedPackage> {
    let text = manifest::read_capped(&package.artifact, manifest::MAX_TEXT_BYTES)?;
    if hex_sha256(&text) != package.digest {
        return manifest::refuse("the file changed since it was checked");
    }
    parse(&text)
}

/// What the members of a strategy need and may do under its defaults.
pub(crate) fn powers(
    text: &Source,
    strategy: &StrategyDescription,
    make: &mut dyn FnMut(&Member) -> Result<Made, MemberError>,
) -> Result<(Vec<Need>, Vec<Capability>), CompositeError> {
    let schema = Schema::new(strategy.schema.clone()).map_err(|error| CompositeError::Params(error.to_string()))?;
    let (combined, members) = Combined::read(text, &strategy.id, &schema.with_defaults(&json!({})))?;
    let made = combined.made(&members, make)?;
    let capabilities = capabilities_of(&made);
    let strategies: Vec<Box<dyn Strategy>> = made.into_iter().map(|member| member.strategy).collect();
    Ok((needs_of(&strategies), capabilities))
}

fn capabilities_of(members: &[Made]) -> Vec<Capability> {
    let mut all: Vec<Capability> = Vec::new();
    for power in members.iter().flat_map(|member| &member.description.capabilities) {
        if !all.contains(power) {
            all.push(*power);
        }
    }
    all
}

/// What members need together, each need once.
fn needs_of(members: &[Box<dyn Strategy>]) -> Vec<Need> {
    let all: BTreeSet<Need> = members.iter().flat_map(|member| member.needs().iter().cloned()).collect();
    all.into_iter().collect()
}

/// A digest that changes with the composite's text and with every member's artifact.
fn digest(own: &str, members: &[Box<dyn Strategy>]) -> String {
    let mut hash = Sha256::new();
    hash.update(own);
    for member in members {
        hash.update(&member.identity().digest);
    }
    let digest: [u8; 32] = hash.finalize().into();
    hex_sha256(&digest)
}

/// What several answers cost together.
fn add(total: &mut Option<Usage>, one: Usage) {
    *total = Some(match *total {
        None => one,
        Some(so_far) => Usage {
            seconds: so_far.seconds + one.seconds,
            fuel: so_far.fuel.zip(one.fuel).map(|(a, b)| a + b),
            peak_memory: so_far.peak_memory.max(one.peak_memory),
        },
    });
}

/// Why a composite cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum CompositeError {
    #[error("the composite's text: {0}")]
    Source(String),
    #[error("the composite's parameters: {0}")]
    Params(String),
    #[error("member `{member}`: {source}")]
    Member { member: String, source: MemberError },
}
