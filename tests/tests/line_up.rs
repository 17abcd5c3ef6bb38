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

#[test]
fn every_strategy_says_what_it_costs() {
    let all = BUILT_IN.usable().flat_map(|(_, package)| &package.description.strategies);
    let silent: Vec<&str> = all.filter(|strategy| strategy.cost.is_empty()).map(|s| s.id.as_str()).collect();
    assert!(silent.is_empty(), "no cost: {silent:?}");
}
