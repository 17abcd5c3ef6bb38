//! How far two sides agree on the same things: Cohen, "A coefficient of agreement for nominal scales", 1960.

use std::collections::BTreeMap;

/// Cohen's kappa of pairs of answers, (observed - expected) / (1 - expected): 1 for agreement everywhere, 0 for as much
/// as by chance. `None` where it is not defined: there are no pairs, or both sides always give one and the same answer.
pub fn kappa<T: Copy + Ord>(pairs: impl IntoIterator<Item = [T; 2]>) -> Option<f64> {
    let (mut all, mut agreed) = (0u128, 0u128);
    let mut counts = BTreeMap::<T, [u128; 2]>::new();
    for pair in pairs {
        (all, agreed) = (all + 1, agreed + u128::from(pair[0] == pair[1]));
        for (side, said) in pair.into_iter().enumerate() {
            counts.entry(said).or_default()[side] += 1;
        }
    }
    // In whole numbers until the division, so that no rounding turns 1 into something less.
    let expected: u128 = counts.values().map(|[first, second]| first * second).sum();
    let rest = all * all - expected;
    (rest > 0).then(|| ((all * agreed) as f64 - expected as f64) / rest as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that textbooks work out: 20 yes of both, 15 no of both, 5 and 10 apart, kappa 0.4.
    #[test]
    fn it_is_cohens() {
        let table = [([true, true], 20), ([true, false], 5), ([false, true], 10), ([false, false], 15)];
        let found = kappa(table.iter().flat_map(|&(pair, count)| vec![pair; count])).unwrap();
        assert!((found - 0.4).abs() < 1e-12, "{found}");
        // 3 of 4 agree; by chance 1/4 * 1/2 + 3/4 * 1/2 = 1/2 do: (3/4 - 1/2) / (1/2).
        assert_eq!(kappa([[0, 0], [0, 1], [1, 1], [1, 1]]), Some(0.5));
        assert_eq!(kappa([[1, 2], [2, 1]]), Some(-1.0));
        assert_eq!(kappa([[0, 1], [0, 1]]), Some(0.0));
        assert_eq!(kappa([[1, 1], [1, 1]]), None, "one answer only");
        assert_eq!(kappa::<u8>([]), None);
    }
}
