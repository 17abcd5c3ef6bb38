//! Facility-location mutual information with rows that a user points at.
//!
//! The gain of a row is `sum_q max(s_iq - m_q, 0) + eta max_q s_iq`, with m_q the largest similarity of q to a pick. It
//! only falls as picks are made, so a gain of before is a bound. A cheaper one needs no similarity at all: a row that
//! is at most r like anything gains at most `sum_(q: m_q < r) (r - m_q) + eta r`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use querist_sdk::prelude::*;

use crate::likeness::{Labels, Likeness, Measure, Rows, Space, check_some};

/// Rows whose gains are computed together.
const AT_ONCE: usize = 16;
/// Rounding of the cheap bound at most, as a share.
const SLACK: f64 = 1e-12;
/// A gain for each row pointed at up to which nothing is left to gain.
const NOTHING: f64 = 1e-12;
const QUERY: &str = "query.";

params! {
    /// Parameters of FLQMI.
    #[schemars(extend("examples" = [
        {},
        {"eta": 0.0, "from_labelled": true},
        {"similarity": "rbf", "gamma": 0.2},
        {"space": "gradients", "from_labelled": true},
        {"space": "gradients", "similarity": "rbf", "labels": "provided", "eta": 0.0},
    ]))]
    pub struct Flqmi {
        /// Weight of how much each pick itself is like what is pointed at; 0 is coverage alone.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub eta: f64 = 1.0,
        /// Form of the similarity.
        pub similarity: Measure = Measure::Cosine,
        /// Factor of squared distances under `rbf`.
        #[schemars(range(min = 1e-100, max = 1e6))]
        pub gamma: f64 = 1.0,
        /// What a row stands for.
        pub space: Space = Space::Embeddings,
        /// Which class the gradients of `query` rows are those of.
        pub labels: Labels = Labels::Predicted,
        /// Whether labelled samples count as picked, so that nothing is looked for that is there.
        pub from_labelled: bool = false,
    }
}

impl Strategy for Flqmi {
    const ID: &'static str = "flqmi";
    const SUMMARY: &'static str = "Samples like the rows you point at, something like each of them";
    const PAPER: &'static str = crate::PAPER;
    const COST: &'static str =
        "O(N Q D) time for Q rows pointed at, then O(Q D) for a few rows a pick; O(N + Q) memory.";
    const ALIASES: &'static [&'static str] = &["FLQMI", "FLVMI"];

    fn needs(&self) -> Vec<Need> {
        let likeness = self.likeness();
        let labelled = if self.from_labelled { likeness.needs(names::LABELLED) } else { Vec::new() };
        [likeness.needs(""), likeness.needs(QUERY), labelled].concat()
    }

    fn may_need() -> Vec<Need> {
        let names = ["logits", "query.logits", "query.labels"];
        let labelled = ["labelled.embeddings", "labelled.logits", names::LABELLED_LABELS];
        names.into_iter().chain(labelled).map(Need::new).collect()
    }
}

impl Selector for Flqmi {
    fn select(&self, query: &Query) -> Result<Selection> {
        let likeness = self.likeness();
        let (pool, sought) = (likeness.rows(query, "")?, likeness.rows(query, QUERY)?);
        check_some(&sought, QUERY)?;
        let mut found = Found { likeness, eta: self.eta, sought: &sought, most: vec![0.0; sought.count as usize] };
        if self.from_labelled {
            likeness.for_each(&likeness.rows(query, names::LABELLED)?, &sought, |_, like| {
                found.raise(like);
                Ok(())
            })?;
        }
        let mut relevance = Vec::with_capacity(pool.count as usize);
        let mut queue = BinaryHeap::with_capacity(pool.count as usize);
        likeness.for_each(&pool, &sought, |row, like| {
            let most = like.iter().copied().fold(0.0, f64::max);
            queue.push(Place { gain: found.gain(like, most), row, step: 0 });
            relevance.push(most);
            Ok(())
        })?;
        let mut picks = query.picks()?;
        while picks.missing() > 0 {
            let Some((row, gain)) = best(&found, &pool, &relevance, &mut queue, picks.len())? else { break };
            if gain <= NOTHING * f64::from(sought.count) {
                break;
            }
            picks.take(row, gain)?;
            found.raise(&likeness.between(&pool.gather(&[row])?, &sought)?);
        }
        picks.note("saturated_at", picks.len());
        picks.fill_by(&query.vector(&relevance)?, None)
    }
}

impl Flqmi {
    fn likeness(&self) -> Likeness {
        Likeness { measure: self.similarity, gamma: self.gamma, space: self.space, labels: self.labels }
    }
}

/// What was found so far for each row that is looked for.
struct Found<'a> {
    likeness: Likeness,
    eta: f64,
    sought: &'a Rows,
    /// Its largest similarity to a pick.
    most: Vec<f64>,
}

impl Found<'_> {
    fn raise(&mut self, like: &[f64]) {
        self.most.iter_mut().zip(like).for_each(|(most, &like)| *most = most.max(like));
    }

    /// Gain of a row by its similarities, of which `relevance` is the largest.
    fn gain(&self, like: &[f64], relevance: f64) -> f64 {
        let gains = like.iter().zip(&self.most).map(|(like, most)| (like - most).max(0.0));
        gains.sum::<f64>() + self.eta * relevance
    }

    /// Gains of some rows.
    fn gains(&self, pool: &Rows, rows: &[u32], relevance: &[f64]) -> Result<Vec<f64>> {
        let like = self.likeness.between(&pool.gather(rows)?, self.sought)?;
        let of = |(like, &row): (&[f64], &u32)| self.gain(like, relevance[row as usize]);
        Ok(like.chunks_exact(self.most.len()).zip(rows).map(of).collect())
    }

    fn bounds(&self) -> Bounds {
        let mut sorted = self.most.clone();
        sorted.sort_by(f64::total_cmp);
        let mut sums = vec![0.0];
        sums.extend(sorted.iter().scan(0.0, |sum, most| {
            *sum += most;
            Some(*sum)
        }));
        Bounds { eta: self.eta, sorted, sums }
    }
}

/// What a row can gain at most that is at most so like anything.
struct Bounds {
    eta: f64,
    /// What was found so far, ascending, and the sums of the first ones.
    sorted: Vec<f64>,
    sums: Vec<f64>,
}

impl Bounds {
    fn of(&self, relevance: f64) -> f64 {
        let below = self.sorted.partition_point(|&most| most < relevance);
        let whole = below as f64 * relevance;
        (whole - self.sums[below]).max(0.0) + self.eta * relevance + SLACK * (whole + self.eta * relevance)
    }
}

/// A row by a bound of its gain, which is the gain itself at one step.
#[derive(PartialEq)]
struct Place {
    gain: f64,
    row: u32,
    step: u32,
}

impl Eq for Place {}

impl Ord for Place {
    /// By gain; the lower row is the greater among equals.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The row of the largest gain, the lowest among equals, which leaves the queue.
fn best(
    found: &Found<'_>,
    pool: &Rows,
    relevance: &[f64],
    queue: &mut BinaryHeap<Place>,
    step: u32,
) -> Result<Option<(u32, f64)>> {
    let bounds = found.bounds();
    loop {
        let mut stale = Vec::new();
        while stale.len() < AT_ONCE
            && let Some(top) = queue.peek()
            && top.step != step
            && let Some(top) = queue.pop()
        {
            let bound = bounds.of(relevance[top.row as usize]);
            if bound < top.gain {
                queue.push(Place { gain: bound, ..top });
            } else {
                stale.push(top.row);
            }
        }
        if stale.is_empty() {
            return Ok(queue.pop().map(|top| (top.row, top.gain)));
        }
        let gains = found.gains(pool, &stale, relevance)?;
        queue.extend(stale.into_iter().zip(gains).map(|(row, gain)| Place { gain, row, step }));
    }
}
