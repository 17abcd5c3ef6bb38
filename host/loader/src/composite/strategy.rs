//! A strategy made of others.

use std::collections::BTreeSet;

use querist_core::digest::sha256;
use querist_core::{Answer, Query, QueryError, Schema, Strategy, StrategyIdentity, StrategyKind};
use querist_protocol::{Capability, Need, StrategyDescription};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::CompositeError;
use super::members::{Made, MemberError, Members};
use super::{refine, switch};
use crate::package::composite_text::{self, Combine, CompositeText, Member, Refine, Switch};
use crate::package::discover::Resolved;
use crate::package::file::{MAX_TEXT_BYTES, read_checked};
use crate::package::read::CheckedPackage;
use crate::package::refused::RefusedPackage;
use crate::run::limits::Limits;

/// A strategy made of others.
pub struct CompositeStrategy {
    needs: Vec<Need>,
    capabilities: Vec<Capability>,
    members: Members,
    combined: Combined,
}

/// The ways to combine.
enum Combined {
    Switch(Switch),
    Refine(Refine),
}

impl Combined {
    fn read(text: &CompositeText, id: &str, params: &Value) -> Result<(Self, Vec<Member>), CompositeError> {
        let strategy = text.strategies.iter().find(|strategy| strategy.id == id);
        let strategy = strategy.ok_or_else(|| CompositeError::Source(format!("it has no strategy `{id}`")))?;
        let wrong = |error: serde_json::Error| CompositeError::Params(error.to_string());
        Ok(match strategy.combine {
            Combine::SwitchByRound => {
                let switch: Switch = serde_json::from_value(params.clone()).map_err(wrong)?;
                let members = vec![switch.first.clone(), switch.then.clone()];
                (Self::Switch(switch), members)
            }
            Combine::Refine => {
                let refine: Refine = serde_json::from_value(params.clone()).map_err(wrong)?;
                let members = refine.members.iter().chain([&refine.finish]).cloned().collect();
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
        let text = text_of(resolved.package).map_err(|error| CompositeError::Source(error.to_string()))?;
        let (combined, members) = Combined::read(&text, &resolved.strategy.id, params)?;
        let made = combined.made(&members, make)?;
        let capabilities = resolved.strategy.capabilities.clone();
        if let Some(power) = capabilities_of(&made).iter().find(|power| !capabilities.contains(power)) {
            let message = format!("a member declares `{}`, which the composite does not: pack it anew", power.name());
            return Err(CompositeError::Source(message));
        }
        let made: Vec<Box<dyn Strategy>> = made.into_iter().map(|member| member.strategy).collect();
        let mut identity = resolved.package.identity(&resolved.strategy.id);
        identity.digest = digest(&identity.digest, &made);
        let needs = needs_of(&made);
        Ok(Self { needs, capabilities, members: Members { identity, limits, strategies: made }, combined })
    }
}

impl Strategy for CompositeStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.members.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        match &self.combined {
            Combined::Switch(switch) => switch::query(switch, &mut self.members, query),
            Combined::Refine(refine) => refine::query(refine, &mut self.members, query),
        }
    }
}

/// The text of a package that was checked.
fn text_of(package: &CheckedPackage) -> Result<CompositeText, RefusedPackage> {
    composite_text::parse(&read_checked(&package.artifact, MAX_TEXT_BYTES, &package.digest)?)
}

/// What the members of a strategy need and may do under its defaults.
pub(crate) fn powers(
    text: &CompositeText,
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
    sha256(&digest)
}
