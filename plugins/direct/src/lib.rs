//! Samples around the threshold of each class, which is looked for in one dimension.
//!
//! For each class c all samples, labelled ones too, are ordered by `p_c - max p`, then by `max p`, both falling: those
//! predicted as c come first. The threshold is the place that agrees best with the labels: `acc(j)` counts labels of c
//! before place j and other labels from it on, minus the others.
//!
//! First, of the classes with the fewest labels each has the stretch of its order narrowed in which the threshold may
//! lie: some of its samples are drawn and labelled, and then the stretch is shortened from the end that agrees less.
//! What is left of the batch goes to all classes, the rarest first: samples to the left and right of the threshold in
//! turn. Labels are known as soon as a sample is selected. Labels may be wrong: no single one ends the search.
//!
//! Nuggehalli, Zhang, Jain and Nowak, "DIRECT: Deep Active Learning under Imbalance and Label Noise", ICML 2025 (arXiv
//! 2312.09196). With two classes one order is enough: that of the other class is its mirror image.

// More than 150 lines: orders are made a few classes at a time, and two phases work on them.

mod order;

use querist_sdk::prelude::*;

use order::{Order, Orders};

/// What tells the class of a sample that was just selected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feedback {
    /// The oracle, as soon as a sample is selected, as in the paper.
    #[default]
    Oracle,
    /// Nothing: thresholds are those of the labels from before, and no stretch is narrowed. The batch can be labelled
    /// as a whole.
    None,
}

params! {
    /// Parameters of DIRECT.
    #[schemars(extend("examples" = [
        {"min_per_class": 5, "annotators": 3},
        {"feedback": "none"},
        {"explore": 1.0, "min_per_class": 2, "annotators": 1},
    ]))]
    pub struct Direct {
        /// Share of the batch that narrows stretches.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub explore: f64 = 0.5,
        /// Samples that are labelled together while a stretch is narrowed.
        #[schemars(range(min = 1))]
        pub annotators: u32 = 20,
        /// Samples of that share for each class; so many of the rarest classes have a part in it.
        #[schemars(range(min = 1))]
        pub min_per_class: u32 = 60,
        /// What tells the class of a sample that was just selected.
        pub feedback: Feedback = Feedback::Oracle,
    }
}

impl Strategy for Direct {
    const ID: &'static str = "direct";
    const SUMMARY: &'static str =
        "Samples around the threshold of each class, rare ones first, each label known as soon as it is asked for";
    const PAPER: &'static str = "Nuggehalli, Zhang, Jain and Nowak, DIRECT: Deep Active Learning under Imbalance and \
                                 Label Noise, ICML 2025 (arXiv 2312.09196)";
    const COST: &'static str = "O(C A log A) time, O(A) memory for each of 32 classes.";
    const ALIASES: &'static [&'static str] = &["DIRECT"];
    const RANKS_ALL: bool = false;
    const CAPABILITIES: &'static [Capability] = &[Capability::OracleStream];

    fn needs(&self) -> Vec<Need> {
        let mut needs = Need::all([names::LOGITS, "labelled.logits", names::LABELLED_LABELS]);
        if self.feedback == Feedback::Oracle {
            needs.push(Need::new(names::ORACLE_LABELS));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::ORACLE_LABELS)]
    }
}

impl Selector for Direct {
    fn select(&self, query: &Query) -> Result<Selection> {
        if query.labelled_rows() == 0 {
            return query.picks()?.fill_at_random();
        }
        let given = query.labelled_labels()?;
        let mut labels: Vec<Option<u32>> = vec![None; query.rows() as usize];
        labels.extend(given.iter().copied().map(Some));
        let mut work = Work { query, direct: self, labels, picks: query.picks()? };
        let classes = by_rarity(query.classes(), &given);
        // With two classes the order of one is that of the other, backwards.
        let classes = if classes.len() == 2 { &classes[..1] } else { &classes[..] };
        if self.feedback == Feedback::Oracle {
            work.narrow(classes)?;
        }
        let narrowed = work.picks.len();
        work.around(classes)?;
        work.picks.note("narrowed", narrowed);
        work.picks.fill_at_random()
    }
}

/// Classes from the fewest labels to the most, the lower ones first among equals.
fn by_rarity(classes: u32, labels: &[u32]) -> Vec<u32> {
    let mut counts = vec![0u32; classes as usize];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let mut order: Vec<u32> = (0..classes).collect();
    order.sort_by_key(|&class| counts[class as usize]);
    order
}

/// A batch in the making.
struct Work<'a> {
    query: &'a Query,
    direct: &'a Direct,
    /// The label of each sample of the pool and of the labelled set, as far as it is known.
    labels: Vec<Option<u32>>,
    picks: Picks<'a>,
}

impl Work<'_> {
    /// Selects a sample of the pool, and learns its label.
    fn take(&mut self, sample: u32) -> Result<()> {
        self.picks.take(sample, None)?;
        if self.direct.feedback == Feedback::Oracle {
            self.labels[sample as usize] = Some(self.query.reveal(sample)?);
        }
        Ok(())
    }

    fn is_open(&self, sample: u32, taken: &[bool]) -> bool {
        sample < self.query.rows() && !taken[sample as usize]
    }

    /// Which rows of the pool are selected.
    fn taken(&self) -> Vec<bool> {
        let mut taken = vec![false; self.query.rows() as usize];
        self.picks.rows().iter().for_each(|&row| taken[row as usize] = true);
        taken
    }

    /// Narrows the stretches of the rarest classes, the most frequent of these first.
    fn narrow(&mut self, classes: &[u32]) -> Result<()> {
        let budget = (self.direct.explore * f64::from(self.query.wanted())).floor() as u32;
        let count = (budget / self.direct.min_per_class).clamp(1, classes.len() as u32);
        let mut some = classes[..count as usize].to_vec();
        some.reverse();
        let numbers = self.query.stream("narrow", StreamScope::Round)?;
        Orders::of(self.query, &some)?.for_each(|class, order| self.narrow_one(class, &order, budget / count, &numbers))
    }

    fn narrow_one(&mut self, class: u32, order: &Order, budget: u32, numbers: &Stream) -> Result<()> {
        let together = self.direct.annotators;
        let (mut first, mut last) = order.stretch(class, &self.labels);
        let mut left = budget;
        while left > 0 {
            let taken = self.taken();
            let mut open: Vec<u32> =
                order.between(first, last).iter().copied().filter(|&sample| self.is_open(sample, &taken)).collect();
            let count = together.min(left).min(open.len() as u32);
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let at = numbers.below(open.len() as u32)?;
                self.take(open.swap_remove(at as usize))?;
                // The draw goes by places, whatever was drawn before.
                open.sort_unstable_by_key(|&sample| order.place(sample));
            }
            let target = narrowed(open.len() as u32, left / together);
            let mut ends = order.ends(class, &self.labels, first, last);
            let mut still = open.len() as u32;
            let taken = self.taken();
            while still > target && ends.first < ends.last {
                let passed = match ends.agreement() {
                    std::cmp::Ordering::Less => ends.move_first(),
                    std::cmp::Ordering::Greater => ends.move_last(),
                    std::cmp::Ordering::Equal if numbers.uniform()? < 0.5 => ends.move_first(),
                    std::cmp::Ordering::Equal => ends.move_last(),
                };
                still -= u32::from(self.is_open(passed, &taken));
            }
            (first, last) = (ends.first, ends.last);
            left -= count;
        }
        Ok(())
    }

    /// Selects samples to both sides of the thresholds, in equal parts a class.
    fn around(&mut self, classes: &[u32]) -> Result<()> {
        let (all, parts) = (u64::from(self.picks.missing()), classes.len() as u64);
        let mut part = 0;
        let mut owed = 0;
        Orders::of(self.query, classes)?.for_each(|class, order| {
            owed += (all * (part + 1) / parts - all * part / parts) as u32;
            part += 1;
            let taken = self.taken();
            let threshold = order.threshold(class, &self.labels);
            let open: Vec<u32> = order.around(threshold).filter(|&sample| self.is_open(sample, &taken)).collect();
            for sample in open.into_iter().take(owed as usize) {
                self.take(sample)?;
                owed -= 1;
            }
            Ok(())
        })
    }
}

/// To how many of `count` samples a stretch is narrowed with so many draws to go.
fn narrowed(count: u32, draws: u32) -> u32 {
    if draws < 2 || count < 2 {
        return count;
    }
    let power = 1.0 - 1.0 / f64::from(draws);
    // Roots of squares and cubes are whole, whatever rounding says.
    (math::exp(power * math::ln(f64::from(count))) - 1e-9).ceil() as u32
}

package!(selectors: [Direct]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_shrink_so_that_the_last_draw_ends_them() {
        assert_eq!((narrowed(100, 2), narrowed(1000, 3), narrowed(100, 1), narrowed(1, 5)), (10, 100, 100, 1));
        assert_eq!(narrowed(50, 2), 8);
    }

    #[test]
    fn rare_classes_come_first() {
        assert_eq!(by_rarity(4, &[1, 1, 3, 2, 3]), [0, 2, 1, 3]);
    }
}
