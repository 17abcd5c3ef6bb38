//! Diverse samples among those whose prediction does not survive dropout of the head's inputs.
//!
//! The prediction from the whole embedding is compared with those from `T` copies of it that dropout has thinned, each
//! coordinate dropped with probability `p_drop` and the kept ones scaled by `1 / (1 - p_drop)`. Candidates are the
//! samples with more than `T / 2` mismatches; while they are fewer than `oversample` times the batch, one mismatch less
//! is enough. Of as many k-means clusters of the candidates' normalised embeddings as samples are wanted, the member
//! nearest to the centre is selected. With fewer candidates than wanted all of them are taken and the rest drawn at
//! random.
//!
//! A linear head is computed here, from what survives of an embedding; any other gives the logits of the copies.
//!
//! Whether a coordinate is dropped depends on the sample's id, the round, the copy and the coordinate alone.
//!
//! Gupte, Aklilu, Nirschl and Yeung-Levy, "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR
//! 2024 (arXiv 2401.14555).

// More than 150 lines: it evaluates a linear head on what survives of an embedding, so that no thinned copy of the
// pool is made.

use querist_sdk::prelude::*;
use querist_sdk::protocol::philox::philox4x32;

params! {
    /// Parameters of DropQuery.
    #[schemars(extend("examples" = [{}, {"T": 7, "p_drop": 0.4, "oversample": 2}]))]
    pub struct DropQuery {
        /// Thinned copies of each embedding; odd.
        #[serde(rename = "T")]
        #[schemars(range(min = 1, max = 101))]
        pub copies: u32 = 3,
        /// Probability that a coordinate is dropped.
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        pub p_drop: f64 = 0.75,
        /// How many times the batch the candidates should be.
        #[schemars(range(min = 1))]
        pub oversample: u32 = 25,
    }
}

impl Strategy for DropQuery {
    const ID: &'static str = "drop-query";
    const SUMMARY: &'static str = "Diverse samples whose prediction changes when inputs of the head are dropped";
    const PAPER: &'static str =
        "Gupte et al., Revisiting Active Learning in the Era of Vision Foundation Models, TMLR 2024";
    const COST: &'static str = "O(N D C T) time, then k-means of the candidates; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["DropQuery", "dropout"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        let head = [names::HEAD_W, names::HEAD_B].map(|name| Need::new(name).or(names::HEAD));
        [names::LOGITS, names::EMBEDDINGS].into_iter().map(Need::new).chain(head).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.copies.is_multiple_of(2) {
            return Err(format!("`T` is {}, but must be odd, so that a majority exists", self.copies));
        }
        Ok(())
    }
}

impl Selector for DropQuery {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let embeddings = query.matrix(names::EMBEDDINGS)?;
        let mismatches = self.mismatches(query, &embeddings)?;
        let enough = u64::from(wanted) * u64::from(self.oversample);
        let above = |least: u32| mismatches.iter().filter(|&&count| count > least).count() as u64;
        let mut least = self.copies / 2;
        while least > 0 && above(least) < enough {
            least -= 1;
        }
        let candidates: Vec<u32> =
            (0u32..).zip(&mismatches).filter(|&(_, &count)| count > least).map(|(row, _)| row).collect();
        let mut picks = query.picks()?;
        picks.note("candidates", candidates.len() as f64);
        picks.note("mismatches_above", least);
        if candidates.len() as u32 >= wanted {
            picks.take_all(representatives(query, &embeddings, &candidates)?)?;
        } else {
            picks.take_all(candidates)?;
        }
        picks.fill_at_random()
    }
}

impl DropQuery {
    /// How many copies of each sample are predicted to be of another class than the whole.
    fn mismatches(&self, query: &Query, embeddings: &Matrix) -> Result<Vec<u32>> {
        let predicted = query.matrix(names::LOGITS)?.argmax()?;
        let width = embeddings.shape()?.1;
        let head = match query.has(names::HEAD_W)? && query.has(names::HEAD_B)? {
            true => Some(Head::read(query, width)?),
            false => None,
        };
        let width = width.max(1) as usize;
        let mut mismatches = vec![0u32; query.rows() as usize];
        let stream = query.stream("masks", StreamScope::Round)?;
        for copy in 0..self.copies {
            let keys = stream.by_row(copy)?.to_vec()?;
            embeddings.for_each_block(|start, block| {
                let keys = keys[start as usize..].iter().map(|key| key.to_bits());
                let classes = match &head {
                    Some(head) => block
                        .chunks_exact(width)
                        .zip(keys)
                        .map(|(h, key)| head.predict(h, self.scale(), |d| self.keeps(key, d)))
                        .collect(),
                    None => self.predict_by_host(query, block, width, keys)?,
                };
                for (row, class) in (start as usize..).zip(classes) {
                    mismatches[row] += u32::from(class as u32 != predicted[row]);
                }
                Ok(())
            })?;
            query.progress(u64::from(copy) + 1, u64::from(self.copies))?;
        }
        Ok(mismatches)
    }

    /// What surviving coordinates are multiplied with.
    fn scale(&self) -> f64 {
        1.0 / (1.0 - self.p_drop)
    }

    /// Classes of a block's thinned embeddings, by the head that the host has.
    fn predict_by_host(
        &self,
        query: &Query,
        block: &[f32],
        width: usize,
        keys: impl Iterator<Item = u64>,
    ) -> Result<Vec<usize>> {
        let mut thinned = Vec::with_capacity(block.len());
        for (h, key) in block.chunks_exact(width).zip(keys) {
            for (quad, h) in h.chunks(4).enumerate() {
                let kept = self.keeps(key, 4 * quad);
                thinned.extend(
                    h.iter().zip(kept).map(|(&h, kept)| if kept { (f64::from(h) * self.scale()) as f32 } else { 0.0 }),
                );
            }
        }
        let rows = (thinned.len() / width) as u32;
        let logits = query.new_matrix(rows, width as u32, &thinned)?.head_logits()?.read(0, rows)?;
        Ok(logits.chunks_exact(query.classes() as usize).map(math::argmax).collect())
    }

    /// Whether four coordinates from `first` on survive, for a copy whose key is this.
    fn keeps(&self, key: u64, first: usize) -> [bool; 4] {
        let bits = philox4x32(key, [first as u32, 0, 0, 0]);
        bits.map(|bits| (f64::from(bits) + 0.5) / 4_294_967_296.0 >= self.p_drop)
    }
}

/// A linear head, one column of weights after the other.
struct Head {
    classes: usize,
    /// `[width, classes]`.
    weights: Vec<f32>,
    biases: Vec<f64>,
}

impl Head {
    fn read(query: &Query, width: u32) -> Result<Self> {
        let (width, classes) = (width as usize, query.classes());
        let rows = query.matrix(names::HEAD_W)?.read(0, classes)?;
        let biases = query.matrix(names::HEAD_B)?.read(0, classes)?;
        let classes = classes as usize;
        let mut weights = vec![0.0; width * classes];
        for (class, row) in rows.chunks_exact(width).enumerate() {
            for (d, &weight) in row.iter().enumerate() {
                weights[d * classes + class] = weight;
            }
        }
        Ok(Self { classes, weights, biases: biases.into_iter().map(f64::from).collect() })
    }

    /// Class of an embedding of which only some coordinates survive, scaled up; `keeps(d)` says which of d to d + 3 do.
    /// The lowest class wins among equals.
    fn predict(&self, h: &[f32], scale: f64, keeps: impl Fn(usize) -> [bool; 4]) -> usize {
        let mut logits = self.biases.clone();
        for (quad, h) in h.chunks(4).enumerate() {
            let kept = keeps(4 * quad);
            for (at, &h) in h.iter().enumerate().filter(|(at, _)| kept[*at]) {
                let weights = &self.weights[(4 * quad + at) * self.classes..][..self.classes];
                for (logit, &weight) in logits.iter_mut().zip(weights) {
                    *logit += scale * f64::from(h) * f64::from(weight);
                }
            }
        }
        math::argmax(&logits)
    }
}

fn representatives(query: &Query, embeddings: &Matrix, candidates: &[u32]) -> Result<Vec<u32>> {
    let points = embeddings.gather(candidates)?.normalise()?;
    let clusters =
        points.kmeans(None, KmeansOptions::new(query.wanted()), &query.stream("kmeans", StreamScope::Round)?)?;
    Ok(clusters.representatives(None)?.into_iter().flatten().map(|at| candidates[at as usize]).collect())
}

package!(selectors: [DropQuery]);
