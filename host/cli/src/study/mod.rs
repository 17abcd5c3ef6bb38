//! Studies: the cells of a grid, each a run in a process of its own, and what became of them.
//!
//! ```text
//! plan.json              every cell: folder, digest, values of its axes
//! LABEL/seed-N-DIGEST/   the run folder of a cell; another config has another one
//! cells/LABEL-sN-DIGEST.toml  its run file        .log  what the run said
//!                       .json  its ledger: state, reason, attempts; replaced whole by the one process that does it
//! cells/lock             held by the process that starts cells
//! slurm/NNNN/            a job array: its script, its list of cells, what its tasks said
//! ```

pub mod doing;
pub mod folder;
pub mod launch;
pub mod ledger;
pub mod local;
pub mod outlook;
pub mod search;
pub mod slurm;
pub mod status;
