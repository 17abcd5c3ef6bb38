//! Nodes near the margin.

use querist_sdk_torch::prelude::*;

use crate::Nodes;
use crate::params::gcn_params;

/// Which side of the distance to the margin is selected first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MarginRule {
    /// Nodes nearest to it, as the authors' code does: with a small margin those that look most unlabelled.
    Nearest,
    /// Nodes farthest from it, as the paper's formula is printed.
    Farthest,
}

gcn_params! {
    /// Parameters of UncertainGCN.
    UncertainGcnParams,
    /// Probability of being labelled that nodes are measured by.
    #[schemars(range(min = 0.0, max = 1.0))]
    s_margin: f64 = 0.1,
    /// Which side of the distance to the margin is selected first.
    margin_rule: MarginRule = MarginRule::Nearest,
}

impl UncertainGcnParams {
    /// The score of a node that is labelled with these log-odds.
    #[expect(clippy::disallowed_methods, reason = "only built natively, where libtorch computes the log-odds anyhow")]
    pub fn score(&self, odds: f64) -> f64 {
        let distance = (1.0 / (1.0 + (-odds).exp()) - self.s_margin).abs();
        match self.margin_rule {
            MarginRule::Nearest => -distance,
            MarginRule::Farthest => distance,
        }
    }
}

impl Strategy for UncertainGcnParams {
    const ID: &'static str = "uncertain-gcn";
    const SUMMARY: &'static str = "Samples that a graph network is all but sure are unlabelled";
    const PAPER: &'static str =
        "Caramalau et al., Sequential Graph Convolutional Network for Active Learning, CVPR 2021";
    const COST: &'static str =
        "epochs x O((N + L) D H) time with H hidden units; O((N + L) D) memory: no adjacency matrix is formed.";
    const ALIASES: &'static [&'static str] = &["seqgcn", "UncertainGCN", "uncertainGCN"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        let set = |params: &mut Self| params.margin_rule = MarginRule::Farthest;
        vec![
            Layer::preset("paper", "The paper's formula as it is printed: the farthest nodes.", set)
                .once_called("profile", "paper"),
            Layer::preset("authors-code", "The authors' code: the defaults.", |_: &mut Self| ())
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

/// UncertainGCN in one round.
pub struct UncertainGcn(UncertainGcnParams);

impl TorchStrategy for UncertainGcn {
    type Params = UncertainGcnParams;
    const HOOKS: Hooks = Hooks::NONE;
    const MEMORY: &'static str = "subset_size";

    fn new(params: UncertainGcnParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let nodes = Nodes::gather(round, self.0.subset_size)?;
        let network = nodes.train(round, self.0.settings(), self.0.epochs)?;
        let _no_grad = tch::no_grad_guard();
        let odds = network.forward(false)?.1.f_narrow(0, 0, nodes.rows.len() as i64)?;
        let scores: Vec<f64> = floats(&odds)?.into_iter().map(|odds| self.0.score(odds)).collect();
        largest(&nodes.rows, &scores, query.wanted())
    }
}
