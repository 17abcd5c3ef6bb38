//! How well two people agree.

use std::collections::BTreeMap;

use querist_core::agreement::kappa;

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
        let against_rest =
            |class| (class, kappa(both.iter().map(|pair| pair.map(|said| said == Answer::Class(class)))));
        Self {
            annotators: [first.to_owned(), second.to_owned()],
            pictures: both.len(),
            agreed: both.iter().filter(|[a, b]| a == b).count(),
            kappa: kappa(both.iter().copied()),
            classes: said.map(against_rest).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
