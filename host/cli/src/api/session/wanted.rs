//! Which arrays a query may use, and for which rows.

use std::collections::BTreeSet;

use anyhow::Result;
use querist_core::{Given, GivenError, Settled, Strategy};
use querist_protocol::{ArrayKind, Giver, Need, names};

use crate::commands::select::{Words, how_to_give};
use crate::exit::Usage;

/// Which arrays a query may use, and for which rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Names of arrays that the strategy needs, or that may stand in for them.
    pub useful: BTreeSet<String>,
    /// Rows that the query chooses from, ascending.
    pub candidates: Vec<u64>,
    /// Rows that are not labelled, ascending.
    pub pool: Vec<u64>,
    /// Rows that are labelled, ascending.
    pub labelled: Vec<u64>,
    /// Rows in all.
    pub samples: usize,
}

/// Every name under which something that helps may be given.
pub fn useful(needs: &[Need]) -> BTreeSet<String> {
    let mut useful = BTreeSet::new();
    for name in needs.iter().flat_map(Need::names) {
        useful.insert(name.to_owned());
        if name == names::HEAD {
            useful.extend([names::HEAD_W.to_owned(), names::HEAD_B.to_owned()]);
        }
        let other = ArrayKind::of(name).and_then(|(kind, _)| kind.stand_in);
        let bare = name.strip_prefix(names::LABELLED);
        useful.extend(other.map(|other| match bare {
            Some(_) => format!("{}{}", names::LABELLED, other.name),
            None => other.name.to_owned(),
        }));
    }
    useful
}

/// Classes as the arrays say, where one has a dimension for them.
pub fn classes(given: &Given) -> Option<usize> {
    let of = |(name, array): (&str, &querist_core::Array)| {
        let (kind, _) = ArrayKind::of(name)?;
        if kind.ends_in_classes() { array.shape().last().copied() } else { None }
    };
    given.arrays().find_map(of)
}

/// Adds what can stand in for missing arrays. What the loop gives is not missing.
pub fn complete(given: &mut Given, needs: &[Need], has_labelled: bool) -> Result<()> {
    let own = |need: &&Need| need.array().is_some_and(|kind| kind.giver == Giver::Loop);
    let others: Vec<Need> = needs.iter().filter(|need| !own(need)).cloned().collect();
    // An empty labelled set stands in for none only where nothing is labelled.
    let completed = given.complete_where(&others, !has_labelled);
    match completed {
        Ok(_) => Ok(()),
        Err(error) => {
            let how = match &error {
                GivenError::Missing(needs) => format!(": {}", how_to_give(Words::Keywords, &needs[0])),
                _ => String::new(),
            };
            Err(Usage(format!("{error}{how}")).into())
        }
    }
}

/// The needs with every choice made.
pub fn settled(strategy: &dyn Strategy, given: &Given) -> Result<Settled> {
    let is_own = |need: &Need| need.array().is_some_and(|kind| kind.giver == Giver::Loop);
    let can = |need: &Need| {
        is_own(need) || given.get(need.name()).is_some() || (need.name() == names::HEAD && given.head().is_some())
    };
    let settled = Settled::new(strategy.needs(), strategy.capabilities(), can);
    settled.map_err(|error| Usage(format!("{}: {error}", strategy.identity())).into())
}

/// What a session has no way to: labels that nobody told, and samples that are held out.
pub fn refuse_what_nobody_has(needs: &[Need]) -> Result<()> {
    let cannot = [names::ORACLE_LABELS, names::CALIBRATION_LOGITS, names::CALIBRATION_LABELS];
    match needs.iter().find(|need| cannot.contains(&need.name()) || names::is_condition(need.name())) {
        None => Ok(()),
        Some(need) => {
            let message = format!(
                "the strategy needs `{need}`, which a session does not have: its labels are told batch by batch, and \
                 it has no model; ask it in a run (`querist run`)"
            );
            Err(Usage(message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_helps() {
        let needs: Vec<Need> = ["fixed_embeddings", "labelled.fixed_embeddings", "logits(or=head)"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let useful = useful(&needs);
        let names: Vec<&str> = useful.iter().map(String::as_str).collect();
        let expected = [
            "embeddings",
            "fixed_embeddings",
            "head",
            "head.b",
            "head.w",
            "labelled.embeddings",
            "labelled.fixed_embeddings",
            "logits",
        ];
        assert_eq!(names, expected);
    }
}
