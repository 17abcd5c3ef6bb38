//! Samples that look known to classifiers of each class and lie among no strangers in particular.
//!
//! The score is `E_u - E_k`. E_k is the mean entropy, in bits, of the C classifiers of one class against the rest. E_u
//! is the entropy of how near the sample lies to clusters of strangers, the softmax of minus the distances, between 0
//! and 1. Samples that the detector calls strangers come last. The others are parted by first neighbours, and their
//! parts give samples in turn.

use querist_sdk::prelude::*;

use crate::detector::{Detector, Labelled, binary_entropy, provided, spread};
use crate::partition::partition;

/// How a batch is spread.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Diversity {
    /// Parts of the candidates give samples in turn.
    #[default]
    Clusters,
    /// Not at all: the largest scores.
    None,
}

params! {
    /// Parameters of EOAL.
    #[schemars(extend("examples" = [
        {},
        {"diversity": "none", "centres": 3},
        {"detector": "provided", "candidates": 80},
    ]))]
    pub struct Eoal {
        /// Clusters of strangers for each class.
        #[schemars(range(min = 1, max = 100))]
        pub centres: u32 = 1,
        /// How a batch is spread.
        pub diversity: Diversity = Diversity::Clusters,
        /// Candidates that are parted, the best ones; a batch at least, and all where it is left out.
        #[schemars(range(min = 1))]
        pub candidates: Option<u32> = None,
        /// Where the detector comes from; `provided` wants `detector.ovr`, too.
        pub detector: Detector = Detector::Head,
    }
}

impl Strategy for Eoal {
    const ID: &'static str = "eoal";
    const SUMMARY: &'static str = "Samples that look known and lie among no strangers in particular, from all parts";
    const PAPER: &'static str = "Safaei, Vibashan, de Melo and Patel, Entropic Open-set Active Learning, AAAI 2024 \
                                 (arXiv 2312.14126); clusters of strangers by k-means";
    const COST: &'static str = "O(N (C + K) D) time for K clusters of strangers, some 200 O(L C D) for detectors, \
                                O(M^2 D) to part M candidates; O(N (C + K)) memory.";
    const ALIASES: &'static [&'static str] = &["EOAL"];

    fn needs(&self) -> Vec<Need> {
        let mut needs = Labelled::needs();
        if self.detector == Detector::Provided {
            needs.extend(Need::all([names::DETECTOR_LOGITS, names::DETECTOR_OVR]));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        Need::all([names::DETECTOR_LOGITS, names::DETECTOR_OVR])
    }
}

impl Selector for Eoal {
    fn select(&self, query: &Query) -> Result<Selection> {
        if query.labelled_rows() == 0 {
            return query.picks()?.fill_at_random();
        }
        let labelled = Labelled::of(query)?;
        let embeddings = query.matrix(names::EMBEDDINGS)?;
        let is_known = |outputs: &[f64]| math::argmax(outputs) < query.classes() as usize;
        let entropy = |ovr: &[f64]| ovr.iter().map(|&logit| binary_entropy(logit)).sum::<f64>() / ovr.len() as f64;
        let (known, entropies) = match self.detector {
            Detector::Head => (
                labelled.classifier(query)?.outputs(&embeddings, is_known)?,
                labelled.one_against_rest(query)?.outputs(&embeddings, entropy)?,
            ),
            Detector::Provided => (
                provided(query, names::DETECTOR_LOGITS, query.classes() + 1, is_known)?,
                provided(query, names::DETECTOR_OVR, query.classes(), entropy)?,
            ),
        };
        let among = self.among_strangers(query, &embeddings, &labelled)?;
        drop(labelled);
        let scores: Vec<f64> = among.iter().zip(&entropies).map(|(among, entropy)| among - entropy).collect();
        let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let (mut eligible, mut strangers): (Vec<u32>, Vec<u32>) =
            (0..query.rows()).partition(|&row| known[row as usize]);
        eligible.sort_by(by_score);
        strangers.sort_by(by_score);
        let mut picks = query.picks()?;
        picks.note("eligible", eligible.len() as f64);
        let order = match self.diversity {
            Diversity::None => eligible,
            Diversity::Clusters => {
                let most = self.candidates.unwrap_or(u32::MAX).max(query.wanted()) as usize;
                let rest = eligible.split_off(eligible.len().min(most));
                let mut order = in_turn(query, &embeddings, &eligible)?;
                order.extend(rest);
                order
            }
        };
        for row in order.into_iter().chain(strangers).take(query.wanted() as usize) {
            picks.take(row, scores[row as usize])?;
        }
        Ok(picks.done())
    }
}

impl Eoal {
    /// How evenly each row lies among clusters of strangers; 0 where there are fewer than two.
    fn among_strangers(&self, query: &Query, embeddings: &Matrix, labelled: &Labelled) -> Result<Vec<f64>> {
        let strangers = labelled.strangers();
        let rows = query.matrix("labelled.embeddings")?.gather(&strangers)?;
        let count = query.classes().saturating_mul(self.centres).min(distinct(&rows)?);
        if count < 2 {
            return Ok(vec![0.0; query.rows() as usize]);
        }
        let numbers = query.stream("strangers", StreamScope::Run)?;
        let centres = rows.kmeans(None, KmeansOptions::new(count), &numbers)?.centres()?;
        let mut distances: Vec<Vec<f64>> = vec![Vec::with_capacity(count as usize); query.rows() as usize];
        for centre in 0..count {
            let one = embeddings.distance_reduce(&centres.gather(&[centre])?, Metric::Euclidean, Reduction::Min)?;
            distances.iter_mut().zip(one.to_vec()?).for_each(|(distances, distance)| distances.push(distance));
        }
        Ok(distances.iter().map(|distances| spread(distances)).collect())
    }
}

/// How many rows differ.
fn distinct(rows: &Matrix) -> Result<u32> {
    let mut all: Vec<Vec<u32>> = Vec::new();
    rows.for_each_row(|_, row| {
        all.push(row.iter().map(|x| (x + 0.0).to_bits()).collect());
        Ok(())
    })?;
    all.sort_unstable();
    all.dedup();
    Ok(all.len() as u32)
}

/// Rows, which come by falling scores, of all parts in turn: the part with the best row first, round and round.
fn in_turn(query: &Query, embeddings: &Matrix, rows: &[u32]) -> Result<Vec<u32>> {
    let clusters = partition(query, embeddings, rows, query.wanted())?;
    let mut queues: Vec<Vec<u32>> = vec![Vec::new(); clusters.iter().max().map_or(0, |&last| last as usize + 1)];
    // Clusters are numbered by their first rows, which are their best.
    rows.iter().zip(clusters).for_each(|(&row, cluster)| queues[cluster as usize].push(row));
    let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
    let turn = |at: usize| queues.iter().filter_map(move |queue| queue.get(at)).copied().collect::<Vec<u32>>();
    Ok((0..longest).flat_map(turn).collect())
}
