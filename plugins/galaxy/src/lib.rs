//! Bisection of linear graphs: one a class, ordered by how sure the model is of it.
//!
//! For each class c all samples, labelled ones too, are ordered by `p_c - max p + 1e-8 max p`, which puts those
//! predicted as c last. A labelled sample is positive in the graph of its own class and negative in the others. Samples
//! within m places are linked, except positive with negative ones. Class by class in turn, the middle of the shortest
//! path between a positive and a negative sample is selected, and its label is known before the next is chosen; where
//! there is no path, m grows by one. So each graph is bisected where the class begins, and uncertain samples of rare
//! classes are found in equal numbers.
//!
//! Zhang, Katz-Samuels and Nowak, "GALAXY: Graph-based Active Learning at the Extreme", ICML 2022 (arXiv 2202.01402).

// More than 150 lines: a label changes the graphs of all classes, so paths are searched over places and never over
// edges.

mod graph;

use querist_sdk::prelude::*;

use graph::Graph;

/// What tells the class of a sample that was just selected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feedback {
    /// The oracle: each label is known before the next sample is chosen, as in the paper.
    #[default]
    Oracle,
    /// The model's own prediction, so that a batch can be labelled as a whole. It deviates from the paper.
    Pseudo,
}

/// Parameters of GALAXY.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{}, {"feedback": "pseudo"}]))]
pub struct Galaxy {
    /// What tells the class of a sample that was just selected.
    pub feedback: Feedback,
}

impl Strategy for Galaxy {
    const ID: &'static str = "galaxy";
    const SUMMARY: &'static str =
        "Samples that bisect the classes' orderings by margin, each label known before the next";
    const PAPER: &'static str =
        "Zhang, Katz-Samuels and Nowak, GALAXY: Graph-based Active Learning at the Extreme, ICML 2022";
    const COST: &'static str = "O(C A log A + b A) time; O(C A) memory.";
    const ALIASES: &'static [&'static str] = &["GALAXY", "multi_linear_deeps2"];
    const CAPABILITIES: &'static [Capability] = &[Capability::OracleStream];

    fn needs(&self) -> Vec<Need> {
        let mut needs = [names::LOGITS, "labelled.logits", names::LABELLED_LABELS].map(Need::new).to_vec();
        if self.feedback == Feedback::Oracle {
            needs.push(Need::new(names::ORACLE_LABELS));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::ORACLE_LABELS)]
    }
}

impl Selector for Galaxy {
    fn select(&self, query: &Query) -> Result<Selection> {
        let logits = query.matrix(names::LOGITS)?;
        let mut graphs = graph::of_classes(query, &logits)?;
        for (at, label) in query.labelled_labels()?.into_iter().enumerate() {
            graphs.iter_mut().for_each(|graph| graph.label(query.rows() + at as u32, label));
        }
        let keys = query.stream("fallback", StreamScope::Round)?.by_row(0)?;
        let mut picks = query.picks()?;
        let (mut order, mut fallbacks) = (1, 0u32);
        while picks.missing() > 0 {
            let graph = &graphs[picks.len() as usize % graphs.len()];
            let row = match self.bisect(query, graph, &mut order)? {
                Some(row) => row,
                None => {
                    fallbacks += 1;
                    keys.top(None, 1, Some(picks.taken()))?[0]
                }
            };
            let label = match self.feedback {
                Feedback::Oracle => query.reveal(row)?,
                Feedback::Pseudo => math::argmax(&logits.read(row, 1)?) as u32,
            };
            graphs.iter_mut().for_each(|graph| graph.label(row, label));
            picks.take(row, None)?;
        }
        picks.note("order", order);
        picks.note("fallback_count", fallbacks);
        Ok(picks.done())
    }
}

impl Galaxy {
    /// The middle of a class's shortest path; the order grows where there is none.
    fn bisect(&self, query: &Query, graph: &Graph, order: &mut u32) -> Result<Option<u32>> {
        if !graph.has_both_signs() {
            return Ok(None);
        }
        loop {
            if let Some(row) = graph.middle(*order) {
                return Ok(Some(row));
            }
            if *order + 1 >= query.rows() + query.labelled_rows() {
                return Ok(None);
            }
            *order += 1;
            query.progress(0, 0)?;
        }
    }
}

package!(selectors: [Galaxy]);
