//! Numbers that must not be mixed up, one type each.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The number as an index into arrays of its own space.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number! {
    /// A sample, numbered in its dataset for ever.
    SampleId(u64)
}
number! {
    /// A row of the arrays that one query sees; means nothing outside that query.
    PoolRow(u32)
}
number! {
    /// A class, numbered from 0.
    Label(u32)
}
number! {
    /// A round of the loop, from 0.
    Round(u32)
}
