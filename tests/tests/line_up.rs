//! Every strategy of the field is there, under its id and under the names that others give it.

use querist_tests::BUILT_IN;

/// Id, and the names under which published systems have it.
const LINE_UP: &[(&str, &[&str])] = &[
    ("random", &["RandomSampling", "random_sampling", "rand"]),
    ("fixed", &["FixedSampling"]),
    ("uniform", &["class-balanced", "balanced_random"]),
    ("least-confidence", &["least_confident", "LeastConfidence", "uncertainty", "confidence"]),
    ("margin", &["margin_sampling", "MarginSampling"]),
    ("bvsb", &[]),
    ("entropy", &["Max-Entropy", "entropy_sampling", "EntropySampling"]),
    ("mc-least-confidence", &["LeastConfidenceDropout"]),
    ("mc-margin", &["MarginSamplingDropout"]),
    ("mc-entropy", &["EntropySamplingDropout", "dbal"]),
    ("mc-variation-ratio", &["VarR"]),
    ("mc-mean-std", &["MeanSTD"]),
    ("bald", &["BALDDropout"]),
    ("ensemble-least-confidence", &[]),
    ("ensemble-margin", &[]),
    ("ensemble-entropy", &["ensemble", "Uncertainty Ensembles"]),
    ("ensemble-variation-ratio", &["ensemble_var_R"]),
    ("ensemble-bald", &[]),
    ("ensemble-mean-std", &[]),
    ("power-bald", &["PowerBALD"]),
    ("power-margin", &["PowerMargin"]),
    ("power-entropy", &[]),
    ("power-least-confidence", &[]),
    ("softmax-bald", &[]),
    ("softmax-margin", &[]),
    ("softmax-entropy", &[]),
    ("softmax-least-confidence", &[]),
    ("softrank-bald", &[]),
    ("softrank-margin", &[]),
    ("softrank-entropy", &[]),
    ("softrank-least-confidence", &[]),
    ("epig", &["EPIG"]),
    ("batchbald", &["BatchBALD"]),
    ("gradnorm-entropy", &["gradnorm"]),
    ("gradnorm-expected", &[]),
    ("gradnorm-egl", &[]),
    ("kmeans", &["KMeansSampling"]),
    ("accu-kmeans", &["accu_kmeans"]),
    ("k-center-greedy", &["KCenterGreedy", "coreset", "CoreSet"]),
    ("core-set", &["Core-Set"]),
    ("cluster-margin", &["ClusterMargin"]),
    ("badge", &["BadgeSampling"]),
    ("bait", &[]),
    ("uwe", &[]),
    ("alfa-mix", &["alfamix", "AlphaMixSampling"]),
    ("typiclust", &["typiclust_rp"]),
    ("probcover", &["prob_cover"]),
    ("dcom", &["DCoM"]),
    ("max-herding", &["herding"]),
    ("uherding", &["uherding_margin"]),
    ("galaxy", &["GALAXY", "multi_linear_deeps2"]),
    ("falcun", &["Falcun"]),
    ("cdal", &["cdal_CS"]),
    ("clue", &["CLUE"]),
    ("drop-query", &[]),
    ("ldm-s", &["LDM-S"]),
    ("diverse-mini-batch", &[]),
    ("tcm", &[]),
    ("refine", &[]),
    ("learning-loss", &[]),
    ("vaal", &[]),
    ("ta-vaal", &["tavaal"]),
    ("waal", &["WAAL"]),
    ("weight-decay-scheduling", &["ws"]),
    ("uncertain-gcn", &["seqgcn"]),
    ("core-gcn", &["coregcn"]),
    ("asal", &["ASAL"]),
    ("adversarial-deepfool", &["deepfool", "AdversarialDeepFool"]),
    ("adversarial-bim", &["bim", "AdversarialBIM"]),
];

#[test]
fn every_name_leads_to_its_strategy() {
    let mut wrong = Vec::new();
    for (id, names) in LINE_UP {
        for name in [&[*id], *names].concat() {
            match BUILT_IN.resolve(name) {
                Ok(resolved) if resolved.strategy.id == *id => {}
                Ok(resolved) => wrong.push(format!("`{name}` is `{}`, expected `{id}`", resolved.strategy.id)),
                Err(error) => wrong.push(error.to_string()),
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
