//! What a strategy is handed, and by which right. Every route passes here: loop, `select`, checks, members of
//! composites.
//!
//! Rights are looked at when choices are made and arrays handed over, not when they are declared: a need may name a
//! second choice, and only what is handed over can be read.

use std::ops::Deref;

use querist_protocol::{Capability, Need, names};

use crate::failure::{QueryError, QueryErrorKind};
use crate::identity::StrategyIdentity;
use crate::question::arrays::Arrays;

/// Needs with every choice made, and the powers that they use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    needs: Vec<Need>,
    capabilities: Vec<Capability>,
}

impl Settled {
    /// Chooses for each need: what `can` be had comes first, else what does as well. Each stands once.
    ///
    /// # Errors
    /// If a choice falls on something secret for which the strategy has not declared the power.
    pub fn new(
        declared: &[Need],
        capabilities: &[Capability],
        can: impl Fn(&Need) -> bool,
    ) -> Result<Self, RightsError> {
        let mut settled = Self::default();
        for need in declared {
            let first = need.first_choice();
            let need = match need.second_choice() {
                Some(other) if !can(&first) => other,
                _ => first,
            };
            for power in powers_for(&need, capabilities)? {
                if !settled.capabilities.contains(&power) {
                    settled.capabilities.push(power);
                }
            }
            if !settled.needs.contains(&need) {
                settled.needs.push(need);
            }
        }
        Ok(settled)
    }

    /// The needs, without second choices.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// The declared powers that the needs use.
    pub fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }
}

/// Whether every choice of these needs could be handed over: asked when a strategy is loaded, long before its choices
/// are made.
///
/// # Errors
/// As for [`Settled::new`].
pub fn check(declared: &[Need], capabilities: &[Capability]) -> Result<(), RightsError> {
    for can in [true, false] {
        Settled::new(declared, capabilities, |_| can)?;
    }
    Ok(())
}

/// The powers by which a strategy gets what it needs; none where that is no secret.
fn powers_for(need: &Need, declared: &[Capability]) -> Result<Vec<Capability>, RightsError> {
    let Some(powers) = names::secret(need.name()) else { return Ok(Vec::new()) };
    let held: Vec<Capability> = powers.iter().filter(|power| declared.contains(power)).copied().collect();
    match held.as_slice() {
        [] => Err(RightsError { name: need.name().to_owned(), power: powers[0] }),
        _ => Ok(held),
    }
}

/// The arrays of one query that a strategy may see, and nothing else.
#[derive(Debug, Clone)]
pub struct Granted {
    arrays: Arrays,
    declared: Vec<Need>,
}

impl Granted {
    /// Of `arrays` what these needs are settled to; the model's head and the log of revealed labels only where they are
    /// needed.
    ///
    /// # Errors
    /// As for [`Settled::new`].
    pub fn new(arrays: &Arrays, declared: &[Need], capabilities: &[Capability]) -> Result<Self, RightsError> {
        let settled = Settled::new(declared, capabilities, |need| arrays.has(need.name()))?;
        let arrays = arrays.part(settled.needs().iter().map(Need::name), None);
        Ok(Self { arrays, declared: declared.to_vec() })
    }

    /// The needs as they were declared, with second choices.
    pub fn declared(&self) -> &[Need] {
        &self.declared
    }
}

impl Deref for Granted {
    type Target = Arrays;

    fn deref(&self) -> &Arrays {
        &self.arrays
    }
}

/// Something secret that a strategy wants without the right to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it needs hidden labels (`{name}`) without the capability `{}`", power.name())]
pub struct RightsError {
    /// The array.
    pub name: String,
    /// A power that would do.
    pub power: Capability,
}

impl RightsError {
    /// The same, with whose fault it is.
    pub(crate) fn of(self, identity: &StrategyIdentity) -> QueryError {
        QueryError::new(identity, QueryErrorKind::Dishonest, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::array::Array;

    const STREAM: Capability = Capability::OracleStream;

    fn needs(texts: &[&str]) -> Vec<Need> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn arrays(named: &[(&str, Array)]) -> Arrays {
        let named = named.iter().map(|(name, array)| ((*name).to_owned(), array.clone()));
        Arrays::new(vec![1, 2], vec![], 2, named.collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn a_second_choice_is_a_choice() {
        let labels = needs(&["mc_log_probs(T=1, or=oracle.labels)"]);
        let settled = |can: bool, powers: &[Capability]| Settled::new(&labels, powers, |_| can);
        assert_eq!(settled(true, &[]).unwrap().needs(), needs(&["mc_log_probs(T=1)"]));
        let error = settled(false, &[]).unwrap_err();
        assert_eq!((error.name.as_str(), error.power), ("oracle.labels", Capability::OracleLabels));
        assert!(check(&labels, &[]).is_err() && check(&labels, &[STREAM]).is_ok());
        let by_right = settled(false, &[STREAM]).unwrap();
        assert_eq!((by_right.needs(), by_right.capabilities()), (&needs(&["oracle.labels"])[..], &[STREAM][..]));
        // A power that nothing uses is none that was used.
        assert_eq!(settled(true, &[STREAM]).unwrap().capabilities(), []);
    }

    #[test]
    fn first_choices_and_members_of_any_order_are_looked_at() {
        for texts in [&["oracle.labels"][..], &["oracle.labels(or=logits)"], &["logits", " oracle.labels "]] {
            assert!(Settled::new(&needs(texts), &[], |_| true).is_err(), "{texts:?}");
        }
        assert_eq!(Settled::new(&needs(&["logits", "logits(or=embeddings)"]), &[], |_| true).unwrap().needs().len(), 1);
    }

    #[test]
    fn only_what_was_settled_is_handed_over() {
        let logits = Array::f32(vec![2, 2], vec![0.0; 4]).unwrap();
        let all = arrays(&[("logits", logits.clone()), ("oracle.labels", Array::labels(vec![0, 1]))]);
        let granted = Granted::new(&all, &needs(&["logits(or=oracle.labels)"]), &[]).unwrap();
        assert_eq!(granted.names().collect::<Vec<_>>(), ["logits"]);
        let only_labels = arrays(&[("oracle.labels", Array::labels(vec![0, 1]))]);
        assert!(Granted::new(&only_labels, &needs(&["logits(or=oracle.labels)"]), &[]).is_err());
        assert_eq!(Granted::new(&all, &[], &[]).unwrap().names().count(), 0);
    }
}
