//! Pools to test on: ordinary ones and degenerate ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_core::{Array, Arrays, LinearHead};
use querist_protocol::philox::Stream;
use querist_protocol::{ArrayKind, Dimension, Element, Giver, Need, Rows, names};

/// The arrays of a query written out by hand: pool ids `0..rows`, labelled ids from 1000 on.
///
/// # Panics
/// If they do not fit each other.
pub fn arrays<const K: usize>(rows: usize, labelled: usize, classes: usize, named: [(&str, Array); K]) -> Arrays {
    let ids: Vec<u64> = (0..rows as u64).collect();
    let labelled_ids: Vec<u64> = (0..labelled as u64).map(|row| row + 1000).collect();
    let named: BTreeMap<String, Array> = named.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    Arrays::new(ids, labelled_ids, classes, named).expect("the arrays of a test fit the contract")
}

/// Sizes and shape of a made-up pool.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Unlabelled rows.
    pub rows: usize,
    /// Labelled rows.
    pub labelled: usize,
    /// Classes.
    pub classes: usize,
    /// Classes that labelled rows have, from class 0 on.
    pub seen: usize,
    /// Width of embeddings.
    pub width: usize,
    /// 1 for every row of the pool, 2 for every second one, which are then `rows / 2`.
    pub every: usize,
    /// Whether the same samples stand in the pool the other way round.
    pub backwards: bool,
    /// What the values look like.
    pub values: Shape,
    /// Seed of the values.
    pub seed: u64,
    /// Whether needs with two choices are met by the second.
    pub second_choice: bool,
}

/// What the values of a pool look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Clusters, one a class, with noise: like the features of a trained network.
    Clustered,
    /// Independent values.
    Random,
    /// Every row the same.
    Constant,
    /// Only three different rows.
    Duplicates,
    /// Logits of ±80, so that probabilities saturate.
    Extreme,
    /// Values below the smallest normal number.
    Tiny,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            rows: 300,
            labelled: 20,
            classes: 5,
            seen: 5,
            width: 16,
            every: 1,
            backwards: false,
            values: Shape::Clustered,
            seed: 1,
            second_choice: false,
        }
    }
}

impl Pool {
    /// The arrays that `needs` name.
    ///
    /// # Panics
    /// If a need is not known here.
    pub fn arrays(&self, needs: &[Need]) -> Arrays {
        self.try_arrays(needs).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The arrays that `needs` name.
    ///
    /// # Errors
    /// A sentence, if a need is not known here.
    pub fn try_arrays(&self, needs: &[Need]) -> Result<Arrays, String> {
        self.joined(needs, |need| self.array(need))
    }

    /// The same arrays, with other values of the one called `name`.
    ///
    /// # Errors
    /// As [`Pool::try_arrays`].
    pub fn with_other(&self, needs: &[Need], name: &str) -> Result<Arrays, String> {
        let other = Self { seed: self.seed + 1003, ..*self };
        let is_other = |need: &Need| need.name() == name || (name == names::HEAD && need.name().starts_with("head."));
        self.joined(needs, |need| if is_other(need) { other.array(need) } else { self.array(need) })
    }

    fn joined(&self, needs: &[Need], array: impl Fn(&Need) -> Result<Array, String>) -> Result<Arrays, String> {
        // Ids with gaps, so that ids and rows cannot be mixed up unnoticed.
        let ids: Vec<u64> = self.pool_rows().map(|row| 3 * row as u64 + 7).collect();
        let labelled_ids: Vec<u64> = (0..self.labelled as u64).map(|row| 3 * row + 8).collect();
        let chosen: Vec<Need> = needs.iter().map(|need| self.choice(need)).collect();
        let is_head = |need: &&Need| need.name() == names::HEAD;
        let named = chosen.iter().filter(|need| !is_head(need));
        let named = named.map(|need| Ok((need.name().to_owned(), array(need)?)));
        let named = named.collect::<Result<BTreeMap<String, Array>, String>>()?;
        let arrays = Arrays::new(ids, labelled_ids, self.classes, named).map_err(|error| error.to_string())?;
        if !chosen.iter().any(|need| is_head(&need)) {
            return Ok(arrays);
        }
        let part = |name: &str| array(&Need::new(name));
        let head = LinearHead::new(&part(names::HEAD_W)?, &part(names::HEAD_B)?);
        Ok(arrays.with_head(Arc::new(head.ok_or("a head without classes or columns")?)))
    }

    fn choice(&self, need: &Need) -> Need {
        need.second_choice().filter(|_| self.second_choice).unwrap_or_else(|| need.first_choice())
    }

    fn pool_rows(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        (0..self.rows).step_by(self.every)
    }

    fn array(&self, need: &Need) -> Result<Array, String> {
        let (bare, labelled) = need.split_labelled();
        let mut rows: Vec<usize> = if labelled { (0..self.labelled).collect() } else { self.pool_rows().collect() };
        if self.backwards && !labelled {
            rows.reverse();
        }
        let salt = u32::from(labelled);
        Ok(match bare {
            "labels" => self.labels(&rows, self.seen),
            "rejected" => Array::labels(rows.iter().map(|row| u32::from((row + 1) % 4 == 0)).collect::<Vec<_>>()),
            names::DETECTOR_LOGITS => self.floats(&rows, self.classes + 1, 140, false),
            names::DETECTOR_OVR => self.floats(&rows, self.classes, 141, false),
            names::PERTURBED_LOGITS => {
                let copies = argument(need, "K", 30)?;
                let logits = self.floats(&rows, copies * self.classes, 142 + salt, false);
                let values = logits.as_f32().map(|values| values.to_vec()).unwrap_or_default();
                shaped(vec![rows.len(), copies, self.classes], values)
            }
            names::ORACLE_LABELS => self.labels(&rows, self.classes),
            names::MC_LOG_PROBS => self.log_probs(&rows, argument(need, "T", 10)?, 50 + salt),
            names::TARGET_MC_LOG_PROBS => {
                let targets: Vec<usize> = (0..argument(need, "n", 40)?).collect();
                self.log_probs(&targets, argument(need, "T", 10)?, 60)
            }
            names::MEMBER_LOG_PROBS => self.log_probs(&rows, argument(need, "M", 5)?, 70 + salt),
            names::GRAD_NORM => {
                let norms = self.values(&rows, 1, 80 + salt, false).into_iter().map(f32::abs).collect::<Vec<_>>();
                shaped(vec![rows.len()], norms)
            }
            names::LOGITS => self.floats(&rows, self.classes, 10 + salt, self.values == Shape::Extreme),
            names::EMBEDDINGS | names::PENULTIMATE | names::FIXED_EMBEDDINGS => {
                self.floats(&rows, self.width, 20 + salt, false)
            }
            names::GRAD_EMBEDDINGS => self.floats(&rows, self.width, 90 + salt, false),
            names::CALIBRATION_LOGITS => {
                let held_out: Vec<usize> = (0..CALIBRATION).collect();
                self.floats(&held_out, self.classes, 100, self.values == Shape::Extreme)
            }
            names::CALIBRATION_PENULTIMATE => {
                self.floats(&(0..CALIBRATION).collect::<Vec<_>>(), self.width, 105, false)
            }
            names::CALIBRATION_LABELS => self.labels(&(0..CALIBRATION).collect::<Vec<_>>(), self.classes),
            names::HEAD_W => self.floats(&(0..self.classes).collect::<Vec<_>>(), self.width, 30, false),
            names::HEAD_B => {
                let classes: Vec<usize> = (0..self.classes).collect();
                shaped(vec![self.classes], self.values(&classes, 1, 40, false))
            }
            other => return self.of_the_user(other, &rows, salt),
        })
    }

    /// What only users have: values of samples, and rows that they point at.
    fn of_the_user(&self, name: &str, rows: &[usize], salt: u32) -> Result<Array, String> {
        match ArrayKind::of(name) {
            Some((ArrayKind { giver: Giver::User, rows: Rows::Pointed, dimensions, element, .. }, _)) => {
                let pointed: Vec<usize> = (0..POINTED).collect();
                Ok(match (element, dimensions) {
                    (Element::Label, _) => self.labels(&pointed, self.classes),
                    (_, [Dimension::Classes]) => self.floats(&pointed, self.classes, 130, false),
                    _ => self.floats(&pointed, self.width, 120, false),
                })
            }
            Some((ArrayKind { giver: Giver::User, .. }, _)) => Ok(self.floats(rows, self.width, 110 + salt, false)),
            _ => Err(format!("no array `{name}` can be made up here")),
        }
    }

    fn labels(&self, rows: &[usize], classes: usize) -> Array {
        // Other seeds have other labels too.
        Array::labels(rows.iter().map(|row| ((row + self.seed as usize) % classes) as u32).collect::<Vec<_>>())
    }

    /// Log-softmax of made-up logits of several draws, `[rows, draws, classes]`.
    fn log_probs(&self, rows: &[usize], draws: usize, salt: u32) -> Array {
        let logits = self.values(rows, draws * self.classes, salt, self.values == Shape::Extreme);
        let mut values = Vec::with_capacity(logits.len());
        for draw in logits.chunks_exact(self.classes) {
            let top = draw.iter().fold(f64::NEG_INFINITY, |top, &logit| top.max(f64::from(logit)));
            let sum: f64 = draw.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
            values.extend(draw.iter().map(|&logit| (f64::from(logit) - top - sum.ln()) as f32));
        }
        shaped(vec![rows.len(), draws, self.classes], values)
    }

    fn floats(&self, rows: &[usize], columns: usize, salt: u32, extreme: bool) -> Array {
        shaped(vec![rows.len(), columns], self.values(rows, columns, salt, extreme))
    }

    fn values(&self, rows: &[usize], columns: usize, salt: u32, extreme: bool) -> Vec<f32> {
        let noise = Stream::new(self.seed, salt);
        let value = |row: usize, column: usize| -> f32 {
            let row = match self.values {
                Shape::Constant => 0,
                Shape::Duplicates => row % 3,
                _ => row,
            };
            let centred = |item: u64, step: u32| noise.item_uniform(item, step) - 0.5;
            let own = centred(row as u64, column as u32 + 1);
            let cluster = (noise.item_uniform(row as u64, 0) * self.classes as f64) as u64;
            let value = match self.values {
                Shape::Clustered => 4.0 * centred(1_000_000 + cluster, column as u32 + 1) + own,
                Shape::Tiny => 1e-39 * own,
                _ => 2.0 * own,
            };
            if extreme { 80.0 * value.signum() as f32 } else { value as f32 }
        };
        rows.iter().flat_map(|&row| (0..columns).map(move |column| (row, column))).map(|(r, c)| value(r, c)).collect()
    }
}

/// Rows that are pointed at in made-up arrays of such.
const POINTED: usize = 3;

/// Held-out rows of made-up calibration arrays.
const CALIBRATION: usize = 50;

fn shaped(shape: Vec<usize>, values: Vec<f32>) -> Array {
    Array::f32(shape, values).expect("one value a place")
}

/// The whole number that a need gives as an argument.
fn argument(need: &Need, key: &str, default: usize) -> Result<usize, String> {
    let number = |value: &str| value.parse().map_err(|_| format!("`{need}`: `{key}` is no whole number"));
    need.arg(key).map_or(Ok(default), number)
}
