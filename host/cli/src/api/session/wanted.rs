//! Which arrays a query may use, and for which rows.

use std::collections::BTreeSet;

use querist_core::Given;
use querist_protocol::{ArrayKind, Need, names};

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
