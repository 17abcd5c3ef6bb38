//! A strategy made of others.

use std::collections::BTreeSet;
use std::time::Instant;

use querist_core::digest::sha256;
use querist_core::{Answer, Query, QueryError, Schema, Strategy, StrategyIdentity, StrategyKind};
use querist_kernels::Compute;
use querist_protocol::{Capability, Need, StrategyDescription, names};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::CompositeError;
use super::members::{Made, MemberError, Members};
use super::{albl, balanced, filter, mix, refine, switch, tailor};
use crate::package::combine::{Albl, Anchors, Balanced, Member, Mix, Seals, Tailor};
use crate::package::composite_text::{self, Combine, CompositeText, Refine, Switch};
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
    Balanced(Balanced),
    Mix(Mix),
    Seals(Seals),
    Anchors(Anchors),
    Tailor(Tailor),
    Albl(Albl),
}

impl Combined {
    fn read(text: &CompositeText, id: &str, params: &Value) -> Result<(Self, Vec<Member>), CompositeError> {
        let strategy = text.strategies.iter().find(|strategy| strategy.id == id);
        let strategy = strategy.ok_or_else(|| CompositeError::Source(format!("it has no strategy `{id}`")))?;
        let combined = match strategy.combine {
            Combine::SwitchByRound => Self::Switch(of_params(params)?),
            Combine::Refine => Self::Refine(of_params(params)?),
            Combine::Balanced => Self::Balanced(of_params(params)?),
            Combine::Mix => Self::Mix(of_params(params)?),
            Combine::Seals => Self::Seals(of_params(params)?),
            Combine::Anchors => Self::Anchors(of_params(params)?),
            Combine::Tailor => Self::Tailor(of_params(params)?),
            Combine::Albl => Self::Albl(of_params(params)?),
        };
        if let Self::Mix(mix) = &combined {
            mix::check(mix).map_err(CompositeError::Params)?;
        }
        let members = combined.members();
        Ok((combined, members))
    }

    /// The members, in the order in which they are asked for by number.
    fn members(&self) -> Vec<Member> {
        match self {
            Self::Switch(switch) => vec![switch.first.clone(), switch.then.clone()],
            Self::Refine(refine) => refine.members.iter().chain([&refine.finish]).cloned().collect(),
            Self::Balanced(balanced) => vec![balanced.member.clone()],
            Self::Mix(mix) => mix::members(mix),
            Self::Seals(seals) => vec![seals.member.clone()],
            Self::Anchors(anchors) => vec![anchors.member.clone()],
            Self::Tailor(tailor) => tailor.members.clone(),
            Self::Albl(albl) => albl.members.clone(),
        }
    }

    /// What the composite looks at beside its members.
    fn needs(&self) -> Vec<Need> {
        match self {
            Self::Switch(_) | Self::Refine(_) => Vec::new(),
            Self::Balanced(_) => Need::all([names::LOGITS, names::LABELLED_LABELS]),
            Self::Mix(mix) => mix::needs(mix),
            Self::Seals(_) => Need::all([names::EMBEDDINGS, "labelled.embeddings"]),
            Self::Anchors(_) => Need::all([names::EMBEDDINGS, "labelled.embeddings", names::LABELLED_LABELS]),
            Self::Tailor(_) => Need::all([names::LABELLED_LABELS]),
            Self::Albl(_) => Need::all(["labelled.logits", names::LABELLED_LABELS]),
        }
    }

    /// Whether a member's picks may be passed over.
    fn passes_over(&self) -> bool {
        matches!(self, Self::Refine(_) | Self::Mix(_) | Self::Tailor(_) | Self::Albl(_))
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
            StrategyKind::Python => return Some("it is no package"),
            StrategyKind::Wasm | StrategyKind::Native => {}
        }
        let reveals = made.description.capabilities.contains(&Capability::OracleStream);
        // It would spend labels on samples that another one then does not pick.
        (reveals && self.passes_over()).then_some("it has labels revealed while it picks")
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
        compute: Compute,
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
        let scorers = made.iter().map(|member| member.description.scorer).collect();
        let strategies: Vec<Box<dyn Strategy>> = made.into_iter().map(|member| member.strategy).collect();
        let mut identity = resolved.package.identity(&resolved.strategy.id);
        identity.digest = digest(&identity.digest, &strategies);
        let needs = needs_of(&strategies, combined.needs());
        let params = members.iter().map(|member| Value::Object(member.params.clone()).to_string()).collect();
        let members = Members { identity, limits, compute, strategies, scorers, params };
        Ok(Self { needs, capabilities, members, combined })
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
        let clock = Instant::now();
        let mut answer = self.answered(query)?;
        // Members count their own seconds; what is done between them takes some, too.
        answer.usage.seconds = clock.elapsed().as_secs_f64();
        Ok(answer)
    }
}

impl CompositeStrategy {
    fn answered(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        match &self.combined {
            Combined::Switch(switch) => switch::query(switch, &mut self.members, query),
            Combined::Refine(refine) => refine::query(refine, &mut self.members, query),
            Combined::Balanced(balanced) => balanced::query(balanced, &mut self.members, query),
            Combined::Mix(mix) => mix::query(mix, &mut self.members, query),
            Combined::Seals(seals) => filter::query(&filter::Filter::Seals(seals), &mut self.members, query),
            Combined::Anchors(anchors) => filter::query(&filter::Filter::Anchors(anchors), &mut self.members, query),
            Combined::Tailor(tailor) => tailor::query(tailor, &mut self.members, query),
            Combined::Albl(albl) => albl::query(albl, &mut self.members, query),
        }
    }
}

/// Parameters that fit their schema.
fn of_params<T: DeserializeOwned>(params: &Value) -> Result<T, CompositeError> {
    serde_json::from_value(params.clone()).map_err(|error| CompositeError::Params(error.to_string()))
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
    Ok((needs_of(&strategies, combined.needs()), capabilities))
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

/// What members and composite need together, each need once.
fn needs_of(members: &[Box<dyn Strategy>], own: Vec<Need>) -> Vec<Need> {
    let all: BTreeSet<Need> = members.iter().flat_map(|member| member.needs().iter().cloned()).chain(own).collect();
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
