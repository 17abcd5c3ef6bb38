//! Named random streams from one root seed.

use querist_protocol::philox::Stream;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{Round, SampleId};

/// The seeds of a run: one root, and parts that may be fixed apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seeds {
    /// Root of every stream that is not fixed apart.
    pub root: u64,
    /// Seed of the split into pool, validation and test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<u64>,
    /// Seed of the initial labelled set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<u64>,
    /// Seed of weights, data order, augmentation and dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<u64>,
}

#[expect(clippy::derivable_impls, reason = "the default root is a promise to users, not an accident of the type")]
impl Default for Seeds {
    fn default() -> Self {
        Self { root: 0, split: None, initial: None, model: None }
    }
}

impl Seeds {
    /// All streams from one root.
    pub fn new(root: u64) -> Self {
        Self { root, ..Self::default() }
    }

    /// The stream of the split, which no round enters.
    pub fn split_stream(&self) -> Stream {
        Stream::new(stream_key(self.split.unwrap_or(self.root), "split", "", ""), 0)
    }

    /// A stream of what is done to the pool after the split: `subset`, `long-tail`, ...
    pub fn variant_stream(&self, tag: &str) -> Stream {
        Stream::new(stream_key(self.split.unwrap_or(self.root), "variant", "", tag), 0)
    }

    /// The stream of the initial labelled set.
    pub fn initial_stream(&self) -> Stream {
        Stream::new(stream_key(self.initial.unwrap_or(self.root), "initial", "", ""), 0)
    }

    /// Whether a label that is bought of a sample is held out for the test, where such a share of them is.
    pub fn holds_out(&self, sample: SampleId, share: f64) -> bool {
        let stream = Stream::new(stream_key(self.split.unwrap_or(self.root), "hold-out", "", ""), 0);
        stream.item_uniform(sample.0, 0) < share
    }

    /// A stream of the learner in one round: `weights`, `order`, `augment`, `dropout`, ...
    pub fn model_stream(&self, tag: &str, round: Round) -> Stream {
        Stream::new(stream_key(self.model.unwrap_or(self.root), "model", "", tag), round.0)
    }

    /// The seeds of a member of an ensemble: those of the run, with weights, order, augmentation and dropout of its
    /// own. Member 0 has those of the task model.
    #[must_use]
    pub fn member(&self, member: usize) -> Self {
        let model = match member {
            0 => self.model,
            _ => Some(stream_key(self.model.unwrap_or(self.root), "member", "", &member.to_string())),
        };
        Self { model, ..*self }
    }

    /// The streams of a strategy.
    pub fn strategy(&self, strategy: &str) -> Streams {
        Streams { key: stream_key(self.root, "strategy", strategy, "") }
    }

    /// A stream from which the host draws what a query of this strategy is about: `subset`, `target`. The strategy's
    /// own streams do not lead to it.
    pub fn query_stream(&self, strategy: &str, tag: &str, round: Round) -> Stream {
        Stream::new(stream_key(self.root, "query", strategy, tag), round.0)
    }
}

/// The random streams of one strategy in one run.
///
/// This, not [`Seeds`], is what goes where a strategy's own code runs: it opens that strategy's streams by name and
/// leads to no other's, nor to those of split, initial set and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Streams {
    key: u64,
}

impl Streams {
    /// Those of nobody, where nothing is drawn.
    pub const NONE: Self = Self { key: 0 };

    /// The Philox key of the stream called `tag`.
    pub fn key(&self, tag: &str) -> u64 {
        stream_key(self.key, "stream", "", tag)
    }

    /// The stream called `tag` in a round.
    pub fn stream(&self, tag: &str, round: Round) -> Stream {
        Stream::new(self.key(tag), round.0)
    }
}

/// The Philox key of the stream (`root`, `purpose`, `strategy`, `tag`): the first eight bytes of a SHA-256 over them.
pub fn stream_key(root: u64, purpose: &str, strategy: &str, tag: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(root.to_le_bytes());
    for part in [purpose, strategy, tag] {
        // Lengths first, so that no two lists of parts run together.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let keys = [
            stream_key(0, "a", "b", "c"),
            stream_key(0, "ab", "", "c"),
            stream_key(0, "a", "bc", ""),
            stream_key(1, "a", "b", "c"),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key));
        }
    }

    #[test]
    fn a_share_of_labels_is_held_out_whatever_the_order() {
        let held_out = |seed, share| (0..1000).filter(|&id| Seeds::new(seed).holds_out(SampleId(id), share)).count();
        assert_eq!((held_out(1, 0.0), held_out(1, 1.0)), (0, 1000));
        let fifth = held_out(1, 0.2);
        assert!((160..240).contains(&fifth), "{fifth} of 1000");
        let all = |seed| (0..1000).map(|id| Seeds::new(seed).holds_out(SampleId(id), 0.2)).collect::<Vec<_>>();
        assert!(all(1) == all(1) && all(1) != all(2));
    }

    #[test]
    fn a_fixed_part_ignores_the_root() {
        let fixed = |root| Seeds { root, split: Some(5), ..Seeds::default() };
        assert_eq!(fixed(1).split_stream(), fixed(2).split_stream());
        assert_ne!(fixed(1).initial_stream(), fixed(2).initial_stream());
    }
}
