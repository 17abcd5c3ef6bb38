//! From a case that breaks a rule to the smallest one that does.

use std::time::{Duration, Instant};

use crate::cases::Pool;
use crate::exam::Broken;

/// Tries at most: each is a whole question.
const MOST_TRIES: usize = 100;
/// Time at most, for strategies that take long for little.
const PATIENCE: Duration = Duration::from_secs(20);

/// A question that a rule asks: so many rows of a made-up pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) pool: Pool,
    pub(crate) batch: usize,
}

impl Case {
    /// The case in words.
    fn words(&self) -> String {
        let Pool { rows, labelled, classes, width, values, every, .. } = self.pool;
        let every = if every == 1 { String::new() } else { format!(", every {every}. row") };
        format!(
            "batch {} of {rows} rows{every}, {labelled} labelled, {classes} classes, {width} columns, \
             {values:?} values",
            self.batch
        )
    }

    fn numbers(&self) -> [usize; 5] {
        [self.batch, self.pool.rows, self.pool.labelled, self.pool.classes, self.pool.width]
    }

    /// The same case with one number replaced.
    fn with(&self, which: usize, number: usize) -> Self {
        let mut case = *self;
        let place = match which {
            0 => &mut case.batch,
            1 => &mut case.pool.rows,
            2 => &mut case.pool.labelled,
            3 => &mut case.pool.classes,
            _ => &mut case.pool.width,
        };
        *place = number;
        case.pool.seen = case.pool.seen.min(case.pool.classes);
        case
    }
}

/// Least sensible numbers of a case: batch, rows, labelled rows, classes and columns.
const LEAST: [usize; 5] = [0, 0, 0, 2, 1];

/// What is said of a case that breaks a rule: as it was found first, and the smallest that could be found.
///
/// `fails` asks one case anew, of a strategy that was made anew. Numbers fall one by one, by halves and then by one,
/// for as long as the rule stays broken.
pub(crate) fn smallest(first: Case, broken: Broken, mut fails: impl FnMut(Case) -> Option<Broken>) -> Broken {
    let (mut case, mut said, clock) = (first, None, Instant::now());
    let mut tries = 0;
    loop {
        let before = case.numbers();
        for (which, least) in LEAST.into_iter().enumerate() {
            let mut step = case.numbers()[which] - least.min(case.numbers()[which]);
            while step > 0 && tries < MOST_TRIES && clock.elapsed() < PATIENCE {
                let number = case.numbers()[which];
                if number < least + step {
                    step = (number - least.min(number)).min(step / 2);
                    continue;
                }
                let smaller = case.with(which, number - step);
                tries += 1;
                match fails(smaller) {
                    Some(broken) => (case, said) = (smaller, Some(broken)),
                    None => step /= 2,
                }
            }
        }
        if case.numbers() == before {
            break;
        }
    }
    match said {
        Some(Broken(said)) => Broken(format!("{broken}; the smallest case found is {}: {said}", case.words())),
        None => broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_case_is_found() {
        let first = Case { pool: Pool::default(), batch: 17 };
        let fails = |case: Case| {
            (case.batch >= 3 && case.pool.rows >= 5 && case.pool.width > 1).then(|| Broken("too much".to_owned()))
        };
        let Broken(said) = smallest(first, Broken("first".to_owned()), fails);
        let expected = "first; the smallest case found is batch 3 of 5 rows, 0 labelled, 2 classes, 2 columns, \
                        Clustered values: too much";
        assert_eq!(said, expected);
    }

    #[test]
    fn what_breaks_only_as_it_was_stays_as_it_was() {
        let first = Case { pool: Pool::default(), batch: 17 };
        assert_eq!(smallest(first, Broken("first".to_owned()), |_| None).0, "first");
    }
}
