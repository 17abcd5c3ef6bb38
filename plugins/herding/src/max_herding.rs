//! Coverage under a similarity of fixed width.

use querist_sdk::prelude::*;

use crate::herd::{self, Features, Kernel, References};

/// Parameters of MaxHerding.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [
    {},
    {"kernel": "rbf", "max_rows": 300},
    {"kernel": "rbf", "max_rows": 35000},
    {"kernel": "laplace", "max_rows": 300},
    {"kernel": "laplace", "max_rows": 35000},
    {"kernel": "student", "max_rows": 300},
    {"kernel": "student", "max_rows": 35000},
    {"kernel": "cauchy", "max_rows": 300},
    {"kernel": "cauchy", "max_rows": 35000},
    {"kernel": "tophat", "max_rows": 300},
    {"kernel": "tophat", "max_rows": 35000},
]))]
pub struct MaxHerding {
    /// Form of the similarity.
    pub kernel: Kernel,
    /// Its width.
    #[schemars(range(min = 1e-100, max = 1e100))]
    pub h: f64,
    /// Samples that coverage is measured on, at most.
    #[schemars(range(min = 1))]
    pub max_rows: u32,
}

impl Default for MaxHerding {
    fn default() -> Self {
        Self { kernel: Kernel::Rbf, h: 1.0, max_rows: 35_000 }
    }
}

impl Strategy for MaxHerding {
    const ID: &'static str = "max-herding";
    const SUMMARY: &'static str = "Samples that raise the mean similarity of the dataset to its nearest label most";
    const PAPER: &'static str = "Bae, Noh and Sutherland, Generalized Coverage for More Robust Low-Budget Active \
                                 Learning, ECCV 2024";
    const COST: &'static str =
        "O(A^2 D) time once for the gains, then a few rows a pick; O(A) memory, and A D for the reference rows.";
    const ALIASES: &'static [&'static str] = &["herding"];

    fn needs(&self) -> Vec<Need> {
        herd::needs()
    }

    fn check(&self) -> Result<(), String> {
        herd::check(self.h, self.max_rows)
    }
}

impl Selector for MaxHerding {
    fn select(&self, query: &Query) -> Result<Selection> {
        if query.wanted() == 0 {
            return Ok(Selection::default());
        }
        let references = References::of(query, self.max_rows)?;
        herd::herd(query, &Features::of(query)?, &references, None, self.kernel.of_width(self.h))
    }
}
