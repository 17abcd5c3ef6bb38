//! A graph network over the embeddings of labelled and unlabelled samples learns to tell the two apart.
//!
//! With F the embeddings of norm 1, of a random part of the pool and of the labelled set, nodes that are alike are
//! joined by the operator A of [`Graph`]. Two convolutions, `H = dropout(ReLU(A F W1 + b1))` and `s = sigmoid(A H W2 +
//! b2)`, are trained on `-mean log s` over labelled nodes and `-lambda mean log (1 - s)` over the others.
//!
//! - `uncertain-gcn` selects the nodes whose s is nearest to a small margin.
//! - `core-gcn` selects, one by one, the node that is farthest from all labelled and selected ones in the network's
//!   hidden values and log-odds.
//!
//! Caramalau, Bhattarai and Kim, "Sequential Graph Convolutional Network for Active Learning", CVPR 2021
//! (arXiv 2006.10219).

// More than 150 lines: it holds two strategies, and the graph network that both of them train.
#![deny(missing_docs)]

mod core;
mod graph;
mod network;
mod params;
mod uncertain;

pub use core::{CoreGcn, CoreGcnParams, Features};
pub use graph::Graph;
pub use network::{Network, Settings};
use querist_sdk_torch::prelude::*;
pub use uncertain::{MarginRule, UncertainGcn, UncertainGcnParams};

/// Rows of the pool that are looked at, with the embeddings of their images and, below them, of the labelled ones.
struct Nodes {
    rows: Vec<u32>,
    embeddings: Tensor,
}

impl Nodes {
    fn gather(round: &Round, subset: Option<u32>) -> Result<Self> {
        if round.task().labelled == 0 {
            return Err(Error::failed("no sample is labelled, so there is nothing to tell the pool from"));
        }
        let rows = round.subset(subset)?;
        let total = rows.len() as u64 + u64::from(round.task().labelled);
        let mut parts = Vec::new();
        let mut done = 0;
        for of in [Of::Rows(&rows), Of::Labelled] {
            let stream = round.images(of).batch(256).open()?;
            while let Some(batch) = stream.next(round)? {
                done += batch.rows.numel() as u64;
                parts.push(round.forward(&batch.images).run()?.embeddings);
                round.progress(done, total)?;
            }
        }
        Ok(Self { embeddings: Tensor::f_cat(&parts, 0)?, rows })
    }

    /// A network that was trained for so many epochs.
    fn train(&self, round: &Round, settings: Settings, epochs: u32) -> Result<Network> {
        let mut network = Network::new(&self.embeddings, self.rows.len() as i64, settings)?;
        let mut pace = Pace::new("epochs of the graph network", "a lower `epochs` or `subset_size`", u64::from(epochs));
        let mut loss = None;
        for epoch in 0..u64::from(epochs) {
            pace.report(round, epoch)?;
            loss = Some(network.step(&mut || pace.report(round, epoch))?);
        }
        pace.report(round, u64::from(epochs))?;
        if let Some(loss) = loss {
            // A network that diverged ends here: a figure must be finite.
            round.log_metric("gcn_loss", loss.f_double_value(&[])?)?;
        }
        Ok(network)
    }
}

torch_package!(UncertainGcn, CoreGcn);
