//! What a strategy is asked, and what about: the same for all verbs that ask one about arrays of the user's.

use clap::Args;
use querist_core::{Round, Seeds};

use crate::flags::{self, ParamArgs};
use crate::plugins::QueryArgs;

/// The question, but for the strategy and how many rows are wanted.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    #[arg(long, value_name = "S", default_value_t = 0, hide_default_value = true, help = flags::SEED)]
    pub seed: u64,
    /// An array by name: .npy, .npz (FILE#MEMBER) or .safetensors (FILE#TENSOR), or shards of it.
    ///
    /// Shards are a pattern with `*`, or a list with commas, of .npy, .safetensors or .parquet (FILE#COLUMN) files,
    /// whose rows stand behind one another. They are read in blocks, and never all in memory.
    ///
    /// `probs`, `mc_probs` and `member_probs` are probabilities in place of `logits`, `mc_log_probs` and
    /// `member_log_probs`; `extra.NAME` is whatever you have of each sample, `query.NAME` rows that you point at, where
    /// a strategy needs them.
    #[arg(long = "input", value_name = "NAME=FILE", required_unless_present = "ids")]
    pub inputs: Vec<String>,
    #[command(flatten)]
    pub params: ParamArgs,
    /// Global ids of the pool rows, a file or shards: integers, or texts as lines of .txt [default: 0, 1, 2, ...].
    #[arg(long, value_name = "FILE")]
    pub ids: Option<String>,
    /// Number of classes [default: as the arrays say].
    #[arg(long, value_name = "C")]
    pub classes: Option<usize>,
    /// Round that enters the random streams.
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub round: u32,
    #[command(flatten)]
    pub query: QueryArgs,
}

/// Where a question's random numbers come from, and what its arrays may not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// Root of the random streams.
    pub seed: u64,
    /// The round, which enters the streams.
    pub round: u32,
    /// Number of classes; as the arrays say where it is left out.
    pub classes: Option<usize>,
}

impl Draw {
    /// The root as the loop has it.
    pub fn seeds(self) -> Seeds {
        Seeds::new(self.seed)
    }

    /// The round as the loop has it.
    pub fn in_round(self) -> Round {
        Round(self.round)
    }
}

impl AskArgs {
    /// What these arguments say of random numbers and classes.
    pub fn draw(&self) -> Draw {
        Draw { seed: self.seed, round: self.round, classes: self.classes }
    }
}
