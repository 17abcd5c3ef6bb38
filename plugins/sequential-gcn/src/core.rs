//! Nodes that cover the graph network's features.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::querist_sdk::protocol::Metric;

use crate::Nodes;
use crate::params::gcn_params;

/// What distances are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// Hidden values and log-odds of the graph network.
    Gcn,
    /// The task model's embeddings, of norm 1, as later code has it. No graph network is trained then, and what is left
    /// is k-center greedy on a part of the pool.
    Backbone,
}

gcn_params! {
    /// Parameters of CoreGCN.
    CoreGcnParams,
    /// What distances are measured in.
    features: Features = Features::Gcn,
}

impl Strategy for CoreGcnParams {
    const ID: &'static str = "core-gcn";
    const SUMMARY: &'static str = "Samples that cover the pool in the features of a graph network";
    const PAPER: &'static str =
        "Caramalau et al., Sequential Graph Convolutional Network for Active Learning, CVPR 2021";
    const COST: &'static str = "epochs x O((N + L) D H) time with H hidden units, then k-center greedy; O((N + L) D) \
                                memory: no adjacency matrix is formed.";
    const ALIASES: &'static [&'static str] = &["coregcn", "CoreGCN", "coreGCN"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        let set = |params: &mut Self| params.features = Features::Backbone;
        vec![
            Layer::preset("paper", "The paper's: the defaults.", |_: &mut Self| ()).once_called("profile", "paper"),
            Layer::preset("authors-code", "Later code: distances between the task model's embeddings.", set)
                .once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES).with_flag(names::EMBEDDED)]
    }

    fn check(&self) -> Result<(), String> {
        self.check_settings()
    }
}

/// CoreGCN in one round.
pub struct CoreGcn(CoreGcnParams);

impl TorchStrategy for CoreGcn {
    type Params = CoreGcnParams;
    const HOOKS: Hooks = Hooks::NONE;
    const MEMORY: &'static str = "subset_size";

    fn new(params: CoreGcnParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let nodes = Nodes::gather(round, self.0.subset_size)?;
        let features = match self.0.features {
            Features::Gcn => {
                let network = nodes.train(round, self.0.settings(), self.0.epochs)?;
                let _no_grad = tch::no_grad_guard();
                let (hidden, odds) = network.forward(false)?;
                Tensor::f_cat(&[hidden, odds.f_unsqueeze(1)?], 1)?
            }
            Features::Backbone => crate::Graph::new(&nodes.embeddings)?.nodes().shallow_clone(),
        };
        cover(query, &nodes.rows, &features)
    }
}

/// One after the other the node farthest from the labelled ones, which come after `rows`, and from those picked before;
/// its distance is its score. Where only duplicates are left, random rows of the pool.
fn cover(query: &Query, rows: &[u32], features: &Tensor) -> Result<Selection> {
    let (nodes, width) = features.size2()?;
    let values: Vec<f32> = floats(features)?.into_iter().map(|value| value as f32).collect();
    let (unlabelled, labelled) = values.split_at(rows.len() * width as usize);
    let matrix = |nodes: usize, values: &[f32]| query.new_matrix(nodes as u32, width as u32, values);
    let pool = matrix(rows.len(), unlabelled)?.points()?;
    let nearest = pool.nearest(Metric::Euclidean)?;
    nearest.add_points(&matrix(nodes as usize - rows.len(), labelled)?.points()?)?;
    let mut picks = query.picks()?;
    for (node, distance) in nearest.furthest_first(query.wanted(), &query.mask(rows.len() as u32)?)? {
        picks.take(rows[node as usize], distance)?;
    }
    Ok(picks.fill_at_random()?)
}
