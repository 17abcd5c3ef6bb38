//! The answer of a strategy.

use serde::{Deserialize, Serialize};

/// The rows a strategy asks for, in the order of its preference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Distinct pool rows in pick order, `[min(batch, pool)]`.
    pub rows: Vec<u32>,
    /// One finite score a picked row, or empty where the strategy has none.
    pub scores: Vec<f64>,
    /// Named figures worth recording, such as `fallback_count`.
    pub diagnostics: Vec<(String, f64)>,
    /// State to hand back in the next round; `None` keeps none.
    #[serde(default)]
    pub state: Option<Vec<u8>>,
}
