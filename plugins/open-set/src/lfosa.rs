//! Samples whose activation says that they are of a known class.
//!
//! A sample is of the class of its largest output v among C + 1. Those of "none of them" come last. Among the samples
//! of each known class v is taken as a mixture of two Gaussians: a sample's score is the logarithm of the odds that it
//! belongs to the one with the larger mean.

use querist_sdk::prelude::*;

use crate::detector::{Detector, Labelled, provided};
use crate::mixture::{Options, log_odds};

params! {
    /// Parameters of LfOSA.
    #[schemars(extend("examples" = [{}, {"detector": "provided", "max_iter": 3}]))]
    pub struct Lfosa {
        /// Where the detector comes from.
        pub detector: Detector = Detector::Head,
        /// Steps of a mixture's fit at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 10,
        /// A fit ends when the mean log-likelihood changes by less.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub tol: f64 = 1e-2,
        /// What is added to variances.
        #[schemars(range(min = 1e-12, max = 1e6))]
        pub reg: f64 = 5e-4,
    }
}

impl Strategy for Lfosa {
    const ID: &'static str = "lfosa";
    const SUMMARY: &'static str =
        "Samples whose activation says that they are of a known class, where strangers are about";
    const PAPER: &'static str =
        "Ning, Zhao, Li and Huang, Active Learning for Open-set Annotation, CVPR 2022 (arXiv 2201.06758)";
    const COST: &'static str = "O(N C D + N log N) time, and some 100 O(L C D) for a detector; O(N C + L D) memory.";
    const ALIASES: &'static [&'static str] = &["LfOSA"];

    fn needs(&self) -> Vec<Need> {
        match self.detector {
            Detector::Head => Labelled::needs(),
            Detector::Provided => Need::all([names::DETECTOR_LOGITS]),
        }
    }

    fn may_need() -> Vec<Need> {
        Need::all([names::DETECTOR_LOGITS])
    }
}

impl Selector for Lfosa {
    fn select(&self, query: &Query) -> Result<Selection> {
        let top = |outputs: &[f64]| {
            let class = math::argmax(outputs);
            (class, outputs[class])
        };
        let tops = match self.detector {
            Detector::Head if query.labelled_rows() == 0 => return query.picks()?.fill_at_random(),
            Detector::Head => {
                Labelled::of(query)?.classifier(query)?.outputs(&query.matrix(names::EMBEDDINGS)?, top)?
            }
            Detector::Provided => provided(query, names::DETECTOR_LOGITS, query.classes() + 1, top)?,
        };
        let classes = query.classes() as usize;
        let mut of_class: Vec<Vec<u32>> = vec![Vec::new(); classes + 1];
        let most: Vec<f64> = tops.iter().map(|&(_, most)| most).collect();
        tops.iter().zip(0..).for_each(|(&(class, _), row)| of_class[class].push(row));
        let options = Options { most: self.max_iter, tolerance: self.tol, floor: self.reg };
        let (mut scores, mut is_low) = (vec![0.0; most.len()], vec![false; most.len()]);
        for rows in &of_class[..classes] {
            let values: Vec<f64> = rows.iter().map(|&row| most[row as usize]).collect();
            let (odds, mean) = log_odds(&values, options);
            for ((&row, odds), value) in rows.iter().zip(odds).zip(values) {
                scores[row as usize] = odds;
                is_low[row as usize] = value < mean;
            }
        }
        let mut order: Vec<u32> = of_class[..classes].concat();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
        // Strangers come last, the least sure ones first.
        let last = order.last().map_or(0.0, |&row| scores[row as usize]) - 1.0;
        let mut strangers = of_class[classes].clone();
        strangers.sort_by(|&a, &b| most[a as usize].total_cmp(&most[b as usize]).then(a.cmp(&b)));
        strangers.iter().for_each(|&row| scores[row as usize] = last);
        let mut picks = query.picks()?;
        picks.note("strangers", strangers.len() as f64);
        order.extend(strangers);
        let mut low = 0u32;
        for row in order.into_iter().take(query.wanted() as usize) {
            low += u32::from(is_low[row as usize]);
            picks.take(row, scores[row as usize])?;
        }
        picks.note("below_mean", low);
        Ok(picks.done())
    }
}
