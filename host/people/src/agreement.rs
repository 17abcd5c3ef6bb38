//! How well two people agree: Cohen, "A coefficient of agreement for nominal scales", 1960.

use std::collections::BTreeMap;

use crate::{Answer, Effective};

/// How well two people agree on the pictures that both answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The two, by name.
    pub annotators: [String; 2],
    /// Pictures that both answered.
    pub pictures: usize,
    /// Those of them with the same answer.
    pub agreed: usize,
    /// Cohen's kappa over all answers, *none of the classes* and *unsure* among them; `None` where both always give one
    /// and the same answer, for which it is not defined.
    pub kappa: Option<f64>,
    /// Kappa of each class against all else, by number, of the classes that either said.
    pub classes: BTreeMap<u32, Option<f64>>,
}

impl Agreement {
    /// Of every two people who answered the same picture; `pictures` has the answers of each. Third looks are no
    /// independent answers and do not count.
    pub(crate) fn of<'a>(pictures: impl Iterator<Item = &'a [Effective]>) -> Vec<Self> {
        let mut pairs: BTreeMap<[&str; 2], Vec<[Answer; 2]>> = BTreeMap::new();
        for answers in pictures {
            let mut own: Vec<_> = answers.iter().filter(|answer| !answer.third_look).collect();
            own.sort_by(|a, b| a.annotator.cmp(&b.annotator));
            for (at, first) in own.iter().enumerate() {
                for second in &own[at + 1..] {
                    let both = pairs.entry([&first.annotator, &second.annotator]).or_default();
                    both.push([first.answer, second.answer]);
                }
            }
        }
        pairs.into_iter().map(|(annotators, both)| Self::between(annotators, &both)).collect()
    }

    fn between([first, second]: [&str; 2], both: &[[Answer; 2]]) -> Self {
        let class = |answer: &Answer| if let Answer::Class(class) = answer { Some(*class) } else { None };
        let said = both.iter().flatten().filter_map(class);
        let against_rest = |class| {
            let binary: Vec<[bool; 2]> =
                both.iter().map(|pair| pair.map(|said| said == Answer::Class(class))).collect();
            (class, kappa(&binary))
        };
        Self {
            annotators: [first.to_owned(), second.to_owned()],
            pictures: both.len(),
            agreed: both.iter().filter(|[a, b]| a == b).count(),
            kappa: kappa(both),
            classes: said.map(against_rest).collect(),
        }
    }
}

/// (observed - expected) / (1 - expected), in whole numbers until the division; `None` where 1 is expected.
fn kappa<T: Copy + Eq + std::hash::Hash>(both: &[[T; 2]]) -> Option<f64> {
    let mut counts = std::collections::HashMap::<T, [u128; 2]>::new();
    for pair in both {
        for (side, said) in pair.iter().enumerate() {
            counts.entry(*said).or_default()[side] += 1;
        }
    }
    let (n, agreed) = (both.len() as u128, both.iter().filter(|[a, b]| a == b).count() as u128);
    let expected: u128 = counts.values().map(|[first, second]| first * second).sum();
    let rest = n * n - expected;
    (rest > 0).then(|| ((n * agreed) as f64 - expected as f64) / rest as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that textbooks work out: 20 yes of both, 15 no of both, 5 and 10 apart, kappa 0.4.
    #[test]
    fn kappa_is_cohens() {
        let table = [([true, true], 20), ([true, false], 5), ([false, true], 10), ([false, false], 15)];
        let both: Vec<[bool; 2]> = table.iter().flat_map(|&(pair, count)| vec![pair; count]).collect();
        let found = kappa(&both).unwrap();
        assert!((found - 0.4).abs() < 1e-12, "{found}");
        assert_eq!(kappa(&[[1, 1], [1, 1]]), None, "one answer only");
        assert_eq!(kappa(&[[1, 2], [2, 1]]), Some(-1.0));
        assert_eq!(kappa::<u8>(&[]), None);
    }

    #[test]
    fn classes_are_measured_against_the_rest() {
        let both = [[Answer::Class(0); 2], [Answer::Class(1), Answer::Class(2)], [Answer::NoneOfThese; 2]];
        let found = Agreement::between(["anna", "ben"], &both);
        assert_eq!((found.pictures, found.agreed), (3, 2));
        assert_eq!(found.classes, BTreeMap::from([(0, Some(1.0)), (1, Some(0.0)), (2, Some(0.0))]));
        // Agreed 2 of 3; expected 1/9 each of class 0 and none, so (2/3 - 2/9) / (1 - 2/9).
        assert!((found.kappa.unwrap() - 4.0 / 7.0).abs() < 1e-12);
    }
}
