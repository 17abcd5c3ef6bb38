//! One run, as the report is given it.

use std::collections::BTreeMap;

use querist_core::fitted::EpochRecord;
use querist_core::metric::Confusion;
use querist_core::{RoundRecord, StrategyIdentity};
use querist_protocol::Shown;
use serde_json::Value;

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Every round is there.
    Finished,
    /// Some rounds are missing: it still runs, was stopped, or failed.
    Incomplete {
        /// Rounds that are there.
        done: usize,
        /// Rounds that were planned.
        planned: usize,
    },
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Incomplete { done, planned } => write!(f, "incomplete ({done} of {planned} rounds)"),
        }
    }
}

/// A run's records and what made them.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// Name of the strategy with its parameters, as the user calls it; runs of one label are a group.
    pub label: Shown,
    /// Which implementation chose.
    pub strategy: StrategyIdentity,
    /// Version of what samples and random streams are called in the run; runs of one seed and different versions do not
    /// start alike.
    pub layout: u32,
    /// Root seed.
    pub seed: u64,
    /// Name of the dataset.
    pub dataset: Shown,
    /// SHA-256 of the dataset, in hex.
    pub dataset_digest: Shown,
    /// Name of the model.
    pub model: Shown,
    /// The run file with every default written out.
    pub config: Value,
    /// What it has of each axis of its study, by the axis's name.
    pub point: BTreeMap<String, String>,
    /// SHA-256 of the initial labelled set, in hex.
    pub start: Shown,
    /// Names of the classes.
    pub classes: Vec<Shown>,
    /// Training curve of the last round; empty where it was not kept.
    pub epochs: Vec<EpochRecord>,
    /// What was taken for what on the test set in the last round, where it was recorded.
    pub confusion: Option<Confusion>,
    /// Finished rounds, by round.
    pub rounds: Vec<RoundRecord>,
    /// Pictures that were asked for, one list a round, by rank.
    pub thumbnails: Vec<Vec<Thumbnail>>,
    /// How far it came.
    pub state: RunState,
}

/// A picture that was asked for.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// Place in the order of preference, from 0.
    pub rank: usize,
    /// Name of its class, as the oracle labelled it.
    pub class: Shown,
    /// The picture.
    pub picture: Picture,
}

/// A picture, encoded or not.
#[derive(Debug, Clone)]
pub enum Picture {
    /// A whole PNG file.
    Png(Vec<u8>),
    /// Bytes, `u8 [height, width, channels]` with 1 (grey) or 3 (red-green-blue) channels.
    Raw {
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// Values a pixel.
        channels: usize,
        /// The values.
        pixels: Vec<u8>,
    },
}
