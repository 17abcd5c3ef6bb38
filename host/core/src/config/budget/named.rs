//! Budgets of published systems, by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the labelled set, round by round, as a published system has them. The first is the initial set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NamedBudget {
    /// uwe: 500, 1000, 2000, 4000, 8000, 16000.
    #[serde(rename = "exp05k")]
    Exp05k,
    /// uwe: 1000, 2000, 4000, 8000.
    #[serde(rename = "exp1k")]
    Exp1k,
    /// uwe: 5000, 6000, 8000, 12000, 20000, 28000.
    #[serde(rename = "exp5k")]
    Exp5k,
    /// al-baselines: 600, 800, 1000, then 1000 more each, to 15000.
    AlBaselines,
    /// low-budget on ImageNet: 1000, 3000, 7000, 13000, 26000, 64000, 128000, 192000.
    LowBudgetImagenet,
    /// VAAL and GradNorm: 5000, and 2500 more in each of six rounds.
    Vaal,
    /// Task-aware VAAL: 1000 to 10000 in thousands.
    TaVaal,
    /// Task-aware VAAL on CIFAR-100: 2000 to 20000 in two thousands.
    TaVaalCifar100,
}

impl NamedBudget {
    /// Sizes of the labelled set, ascending.
    pub fn totals(self) -> Vec<usize> {
        let evenly = |first: usize, step: usize, count: usize| (0..count).map(|at| first + at * step).collect();
        match self {
            Self::Exp05k => vec![500, 1000, 2000, 4000, 8000, 16_000],
            Self::Exp1k => vec![1000, 2000, 4000, 8000],
            Self::Exp5k => vec![5000, 6000, 8000, 12_000, 20_000, 28_000],
            Self::AlBaselines => [600, 800].into_iter().chain((1..=15).map(|k| k * 1000)).collect(),
            Self::LowBudgetImagenet => vec![1000, 3000, 7000, 13_000, 26_000, 64_000, 128_000, 192_000],
            Self::Vaal => evenly(5000, 2500, 7),
            Self::TaVaal => evenly(1000, 1000, 10),
            Self::TaVaalCifar100 => evenly(2000, 2000, 10),
        }
    }
}
