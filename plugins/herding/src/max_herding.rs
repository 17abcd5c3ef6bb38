//! Coverage under a similarity of fixed width.

use querist_sdk::prelude::*;

use crate::herd::{self, Features, Kernel, REFERENCES};

params! {
    /// Parameters of MaxHerding.
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
        pub kernel: Kernel = Kernel::Rbf,
        /// Its width.
        #[schemars(range(min = 1e-100, max = 1e100), extend("x-querist-search" = {"log": [0.1, 10.0]}))]
        pub h: f64 = 1.0,
        /// Samples that coverage is measured on, at most.
        #[schemars(range(min = 1))]
        pub max_rows: u32 = 35_000,
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
}

impl Selector for MaxHerding {
    fn select(&self, query: &Query) -> Result<Selection> {
        let references = query.part_of_dataset(REFERENCES, self.max_rows)?;
        herd::herd(query, &Features::of(query)?, &references, None, self.kernel.of_width(self.h))
    }
}
