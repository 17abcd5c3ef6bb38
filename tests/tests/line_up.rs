//! Every strategy is found under its id and under the names that others give it.

use querist_tests::BUILT_IN;

#[test]
fn every_name_leads_to_its_strategy() {
    let mut wrong = Vec::new();
    let all: Vec<_> = BUILT_IN.usable().flat_map(|(_, package)| &package.description.strategies).collect();
    assert!(all.len() > 60, "{} strategies", all.len());
    for strategy in all {
        for name in std::iter::once(&strategy.id).chain(&strategy.aliases) {
            match BUILT_IN.resolve(name) {
                Ok(resolved) if resolved.strategy.id == strategy.id => {}
                Ok(resolved) => {
                    wrong.push(format!("`{name}` is `{}`, expected `{}`", resolved.strategy.id, strategy.id));
                }
                Err(error) => wrong.push(error.to_string()),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every name by which the five systems call a strategy, in options, code or pages, and whom it means.
const NAMES: [(&str, &[(&str, &str)]); 5] = [
    (
        "al-baselines",
        &[
            ("fixed", "fixed"),
            ("random", "random"),
            ("coreset", "k-center-greedy"),
            ("vaal", "vaal"),
            ("learningloss", "learning-loss"),
            ("ws", "weight-decay-scheduling"),
            ("badge", "badge"),
            ("seqgcn", "uncertain-gcn"),
            ("coregcn", "core-gcn"),
            ("tavaal", "ta-vaal"),
            ("bait", "bait"),
            ("alfamix", "alfa-mix"),
            ("gradnorm", "gradnorm-entropy"),
            ("FixedSampling", "fixed"),
            ("AlphaMixSampling", "alfa-mix"),
            ("BaitSampling", "bait"),
        ],
    ),
    (
        "cure-lab",
        &[
            ("RandomSampling", "random"),
            ("LeastConfidence", "least-confidence"),
            ("MarginSampling", "margin"),
            ("EntropySampling", "entropy"),
            ("LeastConfidenceDropout", "mc-least-confidence"),
            ("MarginSamplingDropout", "mc-margin"),
            ("EntropySamplingDropout", "mc-entropy"),
            ("BALDDropout", "bald"),
            ("KMeansSampling", "kmeans"),
            ("KCenterGreedy", "k-center-greedy"),
            ("CoreSet", "k-center-greedy"),
            ("AdversarialBIM", "adversarial-bim"),
            ("AdversarialDeepFool", "adversarial-deepfool"),
            ("BadgeSampling", "badge"),
            ("LearningLoss", "learning-loss"),
            ("VAAL", "vaal"),
            ("WAAL", "waal"),
            ("BatchBALD", "batchbald"),
            ("ClusterMargin", "cluster-margin"),
            ("ClusterMarginSampling", "cluster-margin"),
            ("uncertainGCN", "uncertain-gcn"),
            ("coreGCN", "core-gcn"),
            ("UncertainGCN", "uncertain-gcn"),
            ("CoreGCN", "core-gcn"),
            ("ensemble", "ensemble-entropy"),
            ("Uncertainty Ensembles", "ensemble-entropy"),
            ("Max-Entropy", "entropy"),
            ("Core-Set", "core-set"),
        ],
    ),
    (
        "low-budget",
        &[
            ("random", "random"),
            ("uniform", "uniform"),
            ("kmeans", "kmeans"),
            ("accu_kmeans", "accu-kmeans"),
            ("coreset", "k-center-greedy"),
            ("entropy", "entropy"),
        ],
    ),
    (
        "ift780",
        &[
            ("random_sampling", "random"),
            ("least_confident", "least-confidence"),
            ("margin_sampling", "margin"),
            ("entropy_sampling", "entropy"),
        ],
    ),
    (
        "uwe",
        &[
            ("random", "random"),
            ("least_confident", "least-confidence"),
            ("entropy", "entropy"),
            ("bvsb", "bvsb"),
            ("bald", "bald"),
            ("coreset", "k-center-greedy"),
            ("badge", "badge"),
            ("uwe", "uwe"),
        ],
    ),
];

#[test]
fn the_names_of_the_five_systems_lead_to_their_strategies() {
    let mut wrong = Vec::new();
    for (system, names) in NAMES {
        for &(name, id) in names {
            match BUILT_IN.resolve(name) {
                Ok(resolved) if resolved.strategy.id == id => {}
                Ok(resolved) => {
                    wrong.push(format!("{system}: `{name}` is `{}`, expected `{id}`", resolved.strategy.id));
                }
                Err(error) => wrong.push(format!("{system}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_strategy_says_what_it_costs() {
    let all = BUILT_IN.usable().flat_map(|(_, package)| &package.description.strategies);
    let silent: Vec<&str> = all.filter(|strategy| strategy.cost.is_empty()).map(|s| s.id.as_str()).collect();
    assert!(silent.is_empty(), "no cost: {silent:?}");
}
