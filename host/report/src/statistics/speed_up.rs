//! One number for how many labels a strategy needs beside random.
//!
//! The idea is Kath, Gouvêa and Sonntag's (TMLR 2026): a strategy's curve is random's, its label axis scaled by a
//! constant. **The formula is ours**, made to fit their abstract.

use serde::Serialize;

/// The constant is looked for from 1/16 to 16, at 64 places between powers of two.
const OCTAVES: i32 = 4;
const PLACES: i32 = 64;
/// Accuracies closer than this are one.
const EPSILON: f64 = 1e-9;

/// A curve that stands beyond what random's can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// Every round is at or above random's last: fewer labels may be enough.
    AtMost,
    /// More than 16 times random's labels may be needed.
    AtLeast,
}

/// How a strategy's labels scale beside random's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedUp {
    /// Share of random's labels, those of the initial set left out, that the strategy needs: .5 is half.
    pub labels_needed: f64,
    /// Its inverse.
    pub speed_up: f64,
    /// Root mean square of what the scaled curve leaves, as a fraction of accuracy: large where one constant is not
    /// fair.
    pub residual: f64,
    /// Whether the share is a bound only.
    pub tail: Option<Tail>,
    /// The share of each round by itself; `None` where random never gets there.
    pub by_round: Vec<Option<f64>>,
}

/// Finds shares over the same labels, of one strategy after the other or of one draw of seeds after the other.
#[derive(Debug, Clone)]
pub struct SpeedUps {
    bought: Vec<f64>,
    /// Shares that are tried first, from 1 outwards, so that of equal losses the share nearest 1 stays.
    grid: Vec<(f64, Vec<Place>)>,
}

/// Where a round of a scaled curve lies on random's.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Between two of its rounds: the first of them, and how far on.
    Between(usize, f64),
    /// At its last round or beyond.
    Beyond,
}

impl SpeedUps {
    /// For curves at labels bought after the shared initial set, ascending from 0; `None` below three rounds after the
    /// initial one.
    pub fn new(bought: Vec<f64>) -> Option<Self> {
        if bought.len() < 4 {
            return None;
        }
        let mut at: Vec<i32> = (-OCTAVES * PLACES..=OCTAVES * PLACES).collect();
        at.sort_by_key(|at| at.abs());
        let shares = at.into_iter().map(|at| 2f64.powf(f64::from(at) / f64::from(PLACES)));
        let grid = shares.map(|share| (share, places(&bought, share))).collect();
        Some(Self { bought, grid })
    }

    /// The share of `baseline`'s labels that `curve` needs.
    ///
    /// Both are mean accuracies over the same seeds. Random's are made to rise by isotonic regression and are linear
    /// between rounds; the share is the one whose scaled curve has the least square error over rounds 1 on. From
    /// random's last round on only a shortfall counts. `None` where random learns nothing.
    pub fn of(&self, curve: &[f64], baseline: &[f64]) -> Option<SpeedUp> {
        let rising = isotonic(baseline);
        if rising.last()? - rising.first()? < EPSILON {
            return None;
        }
        let (mut best, mut least) = (1.0, f64::INFINITY);
        for (share, places) in &self.grid {
            let loss = loss(curve, &rising, places, least);
            if loss < least {
                (best, least) = (*share, loss);
            }
        }
        let exact = |share: f64| loss(curve, &rising, &places(&self.bought, share), f64::INFINITY);
        let cell = std::f64::consts::LN_2 / f64::from(PLACES);
        let most = f64::from(OCTAVES) * std::f64::consts::LN_2;
        let (low, high) = ((best.ln() - cell).max(-most), (best.ln() + cell).min(most));
        let refined = golden_section(low, high, |log| exact(log.exp())).exp();
        let at_end = best >= most.exp() * (1.0 - 1e-12);
        let share = if exact(refined) < least { refined } else { best };
        let is_beyond = |place: &Place| matches!(place, Place::Beyond);
        let tail = if places(&self.bought, share).iter().all(is_beyond) {
            Some(Tail::AtMost)
        } else {
            at_end.then_some(Tail::AtLeast)
        };
        let by_round = |t: usize| Some(self.bought[t] / self.reaches(&rising, curve[t])?).filter(|s| s.is_finite());
        Some(SpeedUp {
            labels_needed: share,
            speed_up: 1.0 / share,
            residual: exact(share).sqrt(),
            tail,
            by_round: (1..self.bought.len()).map(by_round).collect(),
        })
    }

    /// Fewest labels with which random's curve is at an accuracy.
    fn reaches(&self, rising: &[f64], accuracy: f64) -> Option<f64> {
        let at = rising.iter().position(|&ours| ours >= accuracy)?;
        let Some(before) = at.checked_sub(1) else { return Some(self.bought[0]) };
        let share = (accuracy - rising[before]) / (rising[at] - rising[before]);
        Some(self.bought[before] + (self.bought[at] - self.bought[before]) * share)
    }
}

/// Where rounds 1 on of a curve stretched by a share lie on random's.
fn places(bought: &[f64], share: f64) -> Vec<Place> {
    let last = bought[bought.len() - 1];
    let mut segment = 0;
    let place = |bought_now: &f64| {
        let x = bought_now / share;
        if x >= last {
            return Place::Beyond;
        }
        // Places ascend, so the segment only moves on.
        while bought[segment + 1] <= x {
            segment += 1;
        }
        Place::Between(segment, (x - bought[segment]) / (bought[segment + 1] - bought[segment]))
    };
    bought[1..].iter().map(place).collect()
}

/// Mean square error of a curve against random's; any larger number once it is above `least`.
fn loss(curve: &[f64], rising: &[f64], places: &[Place], least: f64) -> f64 {
    let most = rising[rising.len() - 1];
    let rounds = places.len() as f64;
    let mut sum = 0.0;
    for (place, accuracy) in places.iter().zip(&curve[1..]) {
        let error = match *place {
            Place::Between(at, on) => accuracy - (rising[at] + (rising[at + 1] - rising[at]) * on),
            Place::Beyond => (most - accuracy).max(0.0),
        };
        sum += error * error;
        if sum > least * rounds * (1.0 + 1e-12) {
            return f64::INFINITY;
        }
    }
    sum / rounds
}

/// The rising values nearest to some, by pooling adjacent violators.
pub fn isotonic(values: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        blocks.push((value, 1));
        while let [.., (before, m), (last, n)] = blocks[..]
            && before > last
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push(((before * m as f64 + last * n as f64) / (m + n) as f64, m + n));
        }
    }
    blocks.iter().flat_map(|&(value, n)| std::iter::repeat_n(value, n)).collect()
}

/// The least place of a function with one minimum, to 1e-6.
fn golden_section(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (f(a), f(b));
    while high - low > 1e-6 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = f(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = f(b);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUGHT: [f64; 5] = [0.0, 100.0, 200.0, 300.0, 400.0];
    const RANDOM: [f64; 5] = [0.5, 0.6, 0.66, 0.7, 0.72];

    fn of(curve: [f64; 5]) -> SpeedUp {
        SpeedUps::new(BOUGHT.to_vec()).unwrap().of(&curve, &RANDOM).unwrap()
    }

    #[track_caller]
    fn near(found: f64, wanted: f64, within: f64) {
        assert!((found - wanted).abs() <= within, "{found}, wanted {wanted}");
    }

    #[test]
    fn examples_of_the_definition() {
        let half = of([0.5, 0.66, 0.72, 0.735, 0.74]);
        near(half.labels_needed, 0.5, 1e-9);
        near(half.residual, 0.0, 1e-9);
        near(half.speed_up, 2.0, 1e-8);
        let between = of([0.5, 0.63, 0.69, 0.71, 0.73]);
        near(between.labels_needed, 0.704_225, 2e-6);
        near(between.residual.powi(2), 3.4e-5, 1e-6);
        near(of([0.5, 0.55, 0.6, 0.63, 0.66]).labels_needed, 2.0, 1e-9);
        let beyond = of([0.5, 0.73, 0.74, 0.75, 0.76]);
        assert_eq!(beyond.tail, Some(Tail::AtMost));
        near(beyond.labels_needed, 0.25, 1e-9);
        let itself = of(RANDOM);
        assert_eq!((itself.labels_needed, itself.tail), (1.0, None));
        assert_eq!(itself.by_round, [Some(1.0); 4]);
    }

    #[test]
    fn a_strategy_that_learns_nothing_has_a_bound() {
        assert_eq!(of([0.5; 5]).tail, Some(Tail::AtLeast));
        near(of([0.5; 5]).labels_needed, 16.0, 1e-9);
    }

    #[test]
    fn isotonic_by_hand() {
        let found = isotonic(&[0.5, 0.6, 0.58, 0.7, 0.72]);
        assert!(found.iter().zip([0.5, 0.59, 0.59, 0.7, 0.72]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(isotonic(&[3.0, 2.0, 1.0]), [2.0; 3]);
    }

    #[test]
    fn units_of_labels_do_not_matter() {
        let curve = [0.5, 0.63, 0.69, 0.71, 0.73];
        let doubled = BOUGHT.map(|m| 2.0 * m);
        near(
            SpeedUps::new(doubled.to_vec()).unwrap().of(&curve, &RANDOM).unwrap().labels_needed,
            of(curve).labels_needed,
            1e-9,
        );
    }

    #[test]
    fn a_stretched_curve_is_recovered() {
        let bought: Vec<f64> = (0..=20).map(|t| 50.0 * f64::from(t)).collect();
        let learn = |labels: f64| 0.9 - 0.6 * (-labels / 300.0).exp();
        let random: Vec<f64> = bought.iter().map(|&m| learn(m)).collect();
        for share in [0.25, 0.5, 2.0] {
            let curve: Vec<f64> = bought.iter().map(|&m| learn(m / share)).collect();
            near(SpeedUps::new(bought.clone()).unwrap().of(&curve, &random).unwrap().labels_needed, share, 5e-3);
        }
    }

    #[test]
    fn undefined_where_there_is_too_little() {
        assert!(SpeedUps::new(BOUGHT[..3].to_vec()).is_none() && SpeedUps::new(Vec::new()).is_none());
        let four = SpeedUps::new(BOUGHT[..4].to_vec()).unwrap();
        assert!(four.of(&RANDOM[..4], &RANDOM[..4]).is_some());
        let five = SpeedUps::new(BOUGHT.to_vec()).unwrap();
        assert_eq!(five.of(&RANDOM, &[0.7; 5]), None);
        assert_eq!(five.of(&RANDOM, &[0.7, 0.6, 0.5, 0.4, 0.3]), None);
    }
}
