//! What a strategy does that is neither right nor wrong, and worth knowing.

use std::collections::BTreeSet;

use querist_core::{Arrays, Question, Strategy};

use crate::cases::{Pool, Shape};
use crate::exam::{Broken, Exam, arrays, seeded};

/// Rows of each pool that is asked about.
const ROWS: usize = 300;
/// Rows that are wanted of it.
const BATCH: usize = 30;
/// Rows that two strategies which know nothing of each other have in common on average.
const BY_CHANCE: f64 = (BATCH * BATCH) as f64 / ROWS as f64;

/// What a strategy picks, and what that depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Habits {
    /// Rows that it picks of each of a few pools, ascending.
    pub picks: Vec<Vec<u32>>,
    /// Whether other random numbers lead to other picks.
    pub draws: bool,
    /// How many of its picks are others where the same samples stand in the opposite order.
    pub moved: usize,
    /// Of how many.
    pub of: usize,
}

/// The pools: what a network made of classes, and what nothing stands out in, each with few labels and with some.
fn pools() -> [Pool; 4] {
    let pool = |values, seed, labelled| Pool { rows: ROWS, values, seed, labelled, ..Pool::default() };
    [
        pool(Shape::Clustered, 1, 20),
        pool(Shape::Clustered, 2, 60),
        pool(Shape::Random, 3, 20),
        pool(Shape::Random, 4, 60),
    ]
}

/// Asks a strategy about a few made-up pools.
///
/// # Errors
/// If it gives no answer, or one that breaks the contract.
pub fn habits(strategy: &mut dyn Strategy) -> Result<Habits, Broken> {
    let (mut picks, mut draws, mut moved) = (Vec::new(), false, 0);
    for pool in pools() {
        let forwards = arrays(pool, strategy)?;
        let backwards = arrays(Pool { backwards: true, ..pool }, strategy)?;
        let rows = picked(strategy, &seeded(&forwards, BATCH, 1))?;
        draws |= picked(strategy, &seeded(&forwards, BATCH, 2))? != rows;
        let turned = picked(strategy, &seeded(&backwards, BATCH, 1))?;
        let turned: BTreeSet<u32> = turned.into_iter().map(|row| last_row(&backwards) - row).collect();
        moved += rows.difference(&turned).count();
        picks.push(rows.into_iter().collect());
    }
    let of = picks.iter().map(Vec::len).sum();
    Ok(Habits { picks, draws, moved, of })
}

fn picked(strategy: &mut dyn Strategy, question: &Question<'_>) -> Result<BTreeSet<u32>, Broken> {
    Ok(question.picks(strategy, "a made-up pool")?.rows.into_iter().collect())
}

fn last_row(arrays: &Arrays) -> u32 {
    arrays.ids().len().saturating_sub(1) as u32
}

impl Habits {
    /// How much more two strategies pick alike than chance has it: 1 for the same rows, 0 for chance.
    pub fn likeness(&self, other: &Self) -> f64 {
        let common = |(ours, theirs): (&Vec<u32>, &Vec<u32>)| {
            let both = ours.iter().filter(|row| theirs.binary_search(row).is_ok()).count();
            (both as f64 - BY_CHANCE) / (BATCH as f64 - BY_CHANCE)
        };
        let shares: Vec<f64> = self.picks.iter().zip(&other.picks).map(common).collect();
        (shares.iter().sum::<f64>() / shares.len().max(1) as f64).max(0.0)
    }
}
