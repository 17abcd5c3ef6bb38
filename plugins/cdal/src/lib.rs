//! Furthest-first on predicted class distributions: samples whose confusions differ from all labelled ones.
//!
//! The distance of two samples is the symmetric Kullback-Leibler divergence of their class probabilities p and q,
//! `J = sum_c (p_c - q_c) (ln p_c - ln q_c) / 2`, which is 0 only between equal distributions and never takes the
//! logarithm of 0, because logarithms come from logits.
//!
//! Agarwal, Arora, Anand and Arora, "Contextual Diversity for Active Learning", ECCV 2020 (arXiv 2008.05723), in its
//! core-set form.

// More than 150 lines: distances to eight centres are computed side by side, and only for rows that may be the
// farthest.

use querist_sdk::LazyGreedy;
use querist_sdk::prelude::*;

/// Parameters of contextual diversity: none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cdal {}

impl Strategy for Cdal {
    const ID: &'static str = "cdal";
    const SUMMARY: &'static str =
        "Samples whose class probabilities are farthest from those of labelled and picked ones";
    const PAPER: &'static str = "Agarwal et al., Contextual Diversity for Active Learning, ECCV 2020";
    const COST: &'static str = "O(N C (L + b)) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["cdal_CS"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS), Need::new("labelled.logits")]
    }
}

impl Selector for Cdal {
    fn select(&self, query: &Query) -> Result<Selection> {
        let logits = query.matrix(names::LOGITS)?;
        let mut picks = query.picks()?;
        let mut centres = Centres::new(query.classes() as usize);
        query.matrix("labelled.logits")?.for_each_row(|_, row| {
            centres.add(&Distribution::of(row));
            Ok(())
        })?;
        if centres.count == 0 {
            let (row, distribution, distance) = nearest_to_mean(&logits, centres.classes)?;
            picks.take(row, -distance)?;
            centres.add(&distribution);
        }
        let mut queue = Queue::new(query, &logits, &centres)?;
        while picks.missing() > 0 {
            let Some((row, distance)) = queue.farthest(&logits, &centres)? else { break };
            // Only equals of labelled or picked samples are left: no choice among them is better than chance.
            if distance == 0.0 {
                break;
            }
            picks.take(row, distance)?;
            centres.add(&read(&logits, row)?);
        }
        picks.fill_at_random()
    }
}

/// Class probabilities and their logarithms.
struct Distribution {
    p: Vec<f64>,
    log: Vec<f64>,
}

impl Distribution {
    fn of(logits: &[f32]) -> Self {
        // Differences first, so that a constant added to all logits changes nothing.
        let largest = f64::from(logits[math::argmax(logits)]);
        let below: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) - largest).collect();
        let log_total = math::ln(below.iter().fold(0.0, |sum, &gap| sum + math::exp(gap)));
        let log: Vec<f64> = below.iter().map(|gap| gap - log_total).collect();
        Self { p: log.iter().map(|&log| math::exp(log)).collect(), log }
    }
}

fn read(logits: &Matrix, row: u32) -> Result<Distribution> {
    Ok(Distribution::of(&logits.read(row, 1)?))
}

/// Centres that one pass over the classes handles.
const LANES: usize = 8;

/// Distributions of labelled and picked samples, eight side by side.
struct Centres {
    classes: usize,
    count: usize,
    /// `[groups, classes]`: a class's probability and its logarithm in each of eight centres.
    groups: Vec<[[f64; LANES]; 2]>,
}

impl Centres {
    fn new(classes: usize) -> Self {
        Self { classes, count: 0, groups: Vec::new() }
    }

    fn add(&mut self, centre: &Distribution) {
        let lane = self.count % LANES;
        if lane == 0 {
            self.groups.resize(self.groups.len() + self.classes, [[0.0; LANES]; 2]);
        }
        let start = self.groups.len() - self.classes;
        for (class, [p, log]) in self.groups[start..].iter_mut().enumerate() {
            (p[lane], log[lane]) = (centre.p[class], centre.log[class]);
        }
        self.count += 1;
    }

    /// Smallest distance of a distribution to the centres of a group.
    fn nearest_in(&self, group: usize, from: &Distribution) -> f64 {
        let mut sums = [0.0f64; LANES];
        let table = &self.groups[group * self.classes..][..self.classes];
        for (([p, log], &own_p), &own_log) in table.iter().zip(&from.p).zip(&from.log) {
            for lane in 0..LANES {
                sums[lane] += (own_p - p[lane]) * (own_log - log[lane]);
            }
        }
        let filled = (self.count - group * LANES).min(LANES);
        // No term is negative but by rounding.
        0.5 * sums[..filled].iter().copied().fold(f64::INFINITY, f64::min).max(0.0)
    }

    fn number_of_groups(&self) -> usize {
        self.count.div_ceil(LANES)
    }
}

/// The row whose distribution is nearest to the mean of all, the lowest among equals, and its distance.
fn nearest_to_mean(logits: &Matrix, classes: usize) -> Result<(u32, Distribution, f64)> {
    let mut mean = vec![0.0f64; classes];
    logits.for_each_row(|_, row| {
        mean.iter_mut().zip(Distribution::of(row).p).for_each(|(sum, p)| *sum += p);
        Ok(())
    })?;
    let rows = f64::from(logits.shape()?.0);
    mean.iter_mut().for_each(|sum| *sum /= rows);
    // A class that has no probability anywhere adds nothing, whatever its logarithm is.
    let log = mean.iter().map(|&p| math::ln(p.max(f64::MIN_POSITIVE))).collect();
    let mut centre = Centres::new(classes);
    centre.add(&Distribution { p: mean, log });
    let mut best = (0, f64::INFINITY);
    logits.for_each_row(|row, values| {
        let distance = centre.nearest_in(0, &Distribution::of(values));
        best = if distance < best.1 { (row, distance) } else { best };
        Ok(())
    })?;
    Ok((best.0, read(logits, best.0)?, best.1))
}

/// Rows by their distance to the centres, which only shrinks as centres join.
struct Queue {
    rows: LazyGreedy,
    /// Groups of centres that a row has seen whole, and its distance to those that it has seen.
    seen: Vec<(usize, f64)>,
}

impl Queue {
    /// Every row, with its distance to the first centres.
    fn new(query: &Query, logits: &Matrix, centres: &Centres) -> Result<Self> {
        // Rows that share one pass over the centres.
        const TOGETHER: usize = 64;
        let whole = centres.count / LANES;
        let mut seen = Vec::with_capacity(query.rows() as usize);
        logits.for_each_block(|_, block| {
            for rows in block.chunks(TOGETHER * centres.classes) {
                let rows: Vec<Distribution> = rows.chunks_exact(centres.classes).map(Distribution::of).collect();
                let mut distances = vec![f64::INFINITY; rows.len()];
                for group in 0..centres.number_of_groups() {
                    for (distance, row) in distances.iter_mut().zip(&rows) {
                        *distance = distance.min(centres.nearest_in(group, row));
                    }
                }
                seen.extend(distances.into_iter().map(|distance| (whole, distance)));
            }
            query.progress(seen.len() as u64, u64::from(query.rows()))
        })?;
        Ok(Self { rows: LazyGreedy::new(seen.iter().map(|&(_, distance)| distance)), seen })
    }

    /// The row farthest from the centres, which leaves the queue, with its distance.
    fn farthest(&mut self, logits: &Matrix, centres: &Centres) -> Result<Option<(u32, f64)>> {
        let Self { rows, seen } = self;
        rows.best(1, |stale| {
            let nearer = |&row: &u32| -> Result<f64> {
                let (own, (groups, distance)) = (read(logits, row)?, &mut seen[row as usize]);
                for group in *groups..centres.number_of_groups() {
                    *distance = distance.min(centres.nearest_in(group, &own));
                }
                *groups = centres.count / LANES;
                Ok(*distance)
            };
            stale.iter().map(nearer).collect()
        })
    }
}

package!(selectors: [Cdal]);
