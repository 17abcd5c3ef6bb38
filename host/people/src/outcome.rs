//! What the answers of a picture come to.

use crate::batch::Looks;
use crate::{Answer, Effective};

/// What the answers of a picture come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answers are missing.
    Open,
    /// People disagree, and somebody has to look once more.
    Disputed,
    /// This class.
    Label(u32),
    /// None of the classes.
    Rejected,
    /// Nobody can tell.
    Unsure,
}

impl Outcome {
    /// Whether nothing more is asked about the picture.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Open | Self::Disputed)
    }

    /// A third look decides, the last one where there are several. Without one, all that were asked for must be there
    /// and agree, or three or more have a strict majority.
    pub(crate) fn of(answers: &[Effective], looks: Looks) -> Self {
        if let Some(last) = answers.iter().rev().find(|answer| answer.third_look) {
            return Self::said(last.answer);
        }
        if answers.len() < looks.count() {
            return Self::Open;
        }
        let votes = |answer| answers.iter().filter(|other| other.answer == answer).count();
        let majority = answers.iter().map(|answer| answer.answer).find(|&answer| 2 * votes(answer) > answers.len());
        majority.map_or(Self::Disputed, Self::said)
    }

    fn said(answer: Answer) -> Self {
        match answer {
            Answer::Class(class) => Self::Label(class),
            Answer::NoneOfThese => Self::Rejected,
            Answer::Unsure => Self::Unsure,
            Answer::Skip | Answer::Undo => Self::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(answers: &[(Answer, bool)], looks: Looks) -> Outcome {
        let effective = |(number, &(answer, third_look)): (usize, &(Answer, bool))| Effective {
            number: number as u64,
            annotator: format!("person {number}"),
            answer,
            seconds: None,
            guess_shown: false,
            third_look,
        };
        Outcome::of(&answers.iter().enumerate().map(effective).collect::<Vec<_>>(), looks)
    }

    #[test]
    fn looks_majorities_and_third_looks_decide() {
        use Answer::{Class, NoneOfThese, Unsure};
        use Outcome::{Disputed, Label, Open, Rejected};
        let plain = |answers: &[Answer], looks| {
            outcome(&answers.iter().map(|&answer| (answer, false)).collect::<Vec<_>>(), looks)
        };
        assert_eq!(plain(&[], Looks::One), Open);
        assert_eq!(plain(&[Class(3)], Looks::One), Label(3));
        assert_eq!(plain(&[Class(3)], Looks::Two), Open);
        assert_eq!(plain(&[NoneOfThese], Looks::One), Rejected);
        assert_eq!(plain(&[Unsure, Unsure], Looks::Two), Outcome::Unsure);
        assert_eq!(plain(&[Class(3), Class(1)], Looks::One), Disputed, "two people, though one was enough");
        assert_eq!(plain(&[Class(3), NoneOfThese], Looks::Two), Disputed);
        assert_eq!(plain(&[Class(3), Class(1), Class(3)], Looks::Two), Label(3), "two of three");
        assert_eq!(plain(&[Class(3), Class(1), Class(2)], Looks::Two), Disputed);
        assert_eq!(plain(&[Class(3), Class(1), Class(3), Class(1)], Looks::Two), Disputed, "half is no majority");
        let third = [(Class(3), false), (Class(1), false), (NoneOfThese, true)];
        assert_eq!(outcome(&third, Looks::Two), Rejected, "a third look may say what nobody said");
        let twice = [(Class(3), false), (Class(2), true), (Class(1), true)];
        assert_eq!(outcome(&twice, Looks::Two), Label(1), "the last third look");
    }
}
