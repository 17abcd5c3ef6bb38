//! Facility-location conditional gain: coverage of the pool beyond what private rows cover.
//!
//! The gain of a row is `mean_v max(s_iv - m_v, 0)`, with m_v the largest similarity of v to a pick, or nu times that
//! to a private row. It only falls as picks are made.

use querist_sdk::LazyGreedy;
use querist_sdk::prelude::*;

use crate::likeness::{Labels, Likeness, Measure, Rows, Space};

/// Rows whose gains are computed together.
const AT_ONCE: usize = 32;
/// A gain up to which nothing is left to gain.
const NOTHING: f64 = 1e-12;
const PRIVATE: &str = "private.";

/// Which rows are to be stayed away from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Private {
    /// Those that are given as `private.embeddings`.
    #[default]
    Provided,
    /// The labelled samples.
    Labelled,
    /// Both.
    Both,
}

params! {
    /// Parameters of the conditional gain.
    #[schemars(extend("examples" = [
        {},
        {"private": "both", "nu": 0.7, "max_rows": 100},
        {"similarity": "rbf", "gamma": 0.2, "private": "labelled"},
        {"similarity": "rbf", "gamma": 0.2, "nu": 2.0},
        {"space": "gradients", "private": "both", "labels": "provided"},
        {"space": "gradients", "similarity": "rbf", "nu": 0.0},
    ]))]
    pub struct FlConditionalGain {
        /// How much private rows count: 0 not at all, above 1 more than picks do.
        #[schemars(range(min = 0.0, max = 1e3))]
        pub nu: f64 = 1.0,
        /// Which rows are private.
        pub private: Private = Private::Provided,
        /// Samples of the pool that coverage is measured on, at most.
        #[schemars(range(min = 1))]
        pub max_rows: u32 = 35_000,
        /// Form of the similarity.
        pub similarity: Measure = Measure::Cosine,
        /// Factor of squared distances under `rbf`.
        #[schemars(range(min = 1e-100, max = 1e6))]
        pub gamma: f64 = 1.0,
        /// What a row stands for.
        pub space: Space = Space::Embeddings,
        /// Which class the gradients of `private` rows are those of.
        pub labels: Labels = Labels::Predicted,
    }
}

impl Strategy for FlConditionalGain {
    const ID: &'static str = "fl-conditional-gain";
    const SUMMARY: &'static str = "Samples that cover the pool where the rows you want nothing of do not";
    const PAPER: &'static str = crate::PAPER;
    const COST: &'static str = "O(N V D) time for V rows that coverage is measured on, then O(V D) for a few rows a \
                                pick; O(N + V) memory, and V D for those rows.";
    const ALIASES: &'static [&'static str] = &["FLCG"];

    fn needs(&self) -> Vec<Need> {
        let likeness = self.likeness();
        let prefixes = [""].into_iter().chain(self.prefixes());
        prefixes.flat_map(|prefix| likeness.needs(prefix)).collect()
    }

    fn may_need() -> Vec<Need> {
        let names = ["logits", "private.embeddings", "private.logits", "private.labels"];
        let labelled = ["labelled.embeddings", "labelled.logits", names::LABELLED_LABELS];
        names.into_iter().chain(labelled).map(Need::new).collect()
    }
}

impl Selector for FlConditionalGain {
    fn select(&self, query: &Query) -> Result<Selection> {
        let likeness = self.likeness();
        let pool = likeness.rows(query, "")?;
        let private = self.prefixes().map(|prefix| likeness.rows(query, prefix)).collect::<Result<Vec<_>>>()?;
        let references = self.references(query)?;
        let mut picks = query.picks()?;
        match (self.similarity, self.space) {
            (Measure::Rbf, Space::Embeddings) => self.by_engine(query, &pool, &references, &mut picks)?,
            _ => self.by_products(&pool, &pool.gather(&references)?, &private, &mut picks)?,
        }
        picks.note("saturated_at", picks.len());
        if picks.missing() == 0 {
            return picks.fill_at_random();
        }
        // What is least like anything private comes first.
        let nearest = most_like(likeness, &pool, &private)?;
        picks.fill_by(&query.vector(&nearest.into_iter().map(|like| -like).collect::<Vec<_>>())?, None)
    }
}

impl FlConditionalGain {
    fn likeness(&self) -> Likeness {
        Likeness { measure: self.similarity, gamma: self.gamma, space: self.space, labels: self.labels }
    }

    fn prefixes(&self) -> impl Iterator<Item = &'static str> + use<> {
        let (provided, labelled) = match self.private {
            Private::Provided => (true, false),
            Private::Labelled => (false, true),
            Private::Both => (true, true),
        };
        provided.then_some(PRIVATE).into_iter().chain(labelled.then_some(names::LABELLED))
    }

    /// The rows that coverage is measured on, ascending.
    fn references(&self, query: &Query) -> Result<Vec<u32>> {
        if query.rows() <= self.max_rows {
            return Ok((0..query.rows()).collect());
        }
        let keys = query.stream("references", StreamScope::Run)?.by_row(0)?;
        let mut rows = keys.top(None, self.max_rows, None)?;
        rows.sort_unstable();
        Ok(rows)
    }

    /// Picks by gains from products of rows.
    fn by_products(&self, pool: &Rows, references: &Rows, private: &[Rows], picks: &mut Picks) -> Result<()> {
        let likeness = self.likeness();
        let mut cover = most_like(likeness, references, private)?;
        cover.iter_mut().for_each(|like| *like *= self.nu);
        let gain = |like: &[f64], cover: &[f64]| {
            let gains = like.iter().zip(cover).map(|(like, cover)| (like - cover).max(0.0));
            gains.sum::<f64>() / cover.len() as f64
        };
        let mut gains = Vec::with_capacity(pool.count as usize);
        likeness.for_each(pool, references, |_, like| {
            gains.push(gain(like, &cover));
            Ok(())
        })?;
        let mut queue = LazyGreedy::new(gains);
        while picks.missing() > 0 {
            let best = queue.best(AT_ONCE, |rows| {
                let like = likeness.between(&pool.gather(rows)?, references)?;
                Ok(like.chunks_exact(cover.len()).map(|like| gain(like, &cover)).collect())
            })?;
            let Some((row, value)) = best.filter(|&(_, gain)| gain > NOTHING) else { break };
            picks.take(row, value)?;
            let like = likeness.between(&pool.gather(&[row])?, references)?;
            cover.iter_mut().zip(like).for_each(|(cover, like)| *cover = cover.max(like));
        }
        Ok(())
    }

    /// The same by the host's engine. A similarity that falls with the squared distance is multiplied by a constant
    /// where one more column sets rows apart: that makes nu times it.
    fn by_engine(&self, query: &Query, pool: &Rows, references: &[u32], picks: &mut Picks) -> Result<()> {
        let apart = if self.nu > 0.0 { (math::ln(self.nu) / self.gamma).abs().sqrt() } else { 0.0 };
        let (of_pool, of_private, factor) = if self.nu > 1.0 { (apart, 0.0, self.nu) } else { (0.0, apart, 1.0) };
        let set_apart = |matrix: Matrix, by: f64| if apart > 0.0 { beside(query, &matrix, by) } else { Ok(matrix) };
        let references = set_apart(pool.embeddings().gather(references)?, 0.0)?;
        let similarity = Similarity { kind: SimilarityKind::Rbf, width: 1.0 / self.gamma.sqrt() };
        let engine = set_apart(query.matrix(names::EMBEDDINGS)?, of_pool)?.facility(&references, None, similarity)?;
        for prefix in self.prefixes().filter(|_| self.nu > 0.0) {
            engine.add_others(&set_apart(query.matrix(&format!("{prefix}embeddings"))?, of_private)?)?;
        }
        while picks.missing() > 0 {
            let best = engine.best(Some(picks.taken()))?.map(|(row, gain)| (row, gain * factor));
            let Some((row, gain)) = best.filter(|&(_, gain)| gain > NOTHING) else { break };
            picks.take(row, gain)?;
            engine.add(&[row])?;
        }
        Ok(())
    }
}

/// The largest similarity of each row to any private one; 0 where there is none.
fn most_like(likeness: Likeness, rows: &Rows, private: &[Rows]) -> Result<Vec<f64>> {
    let mut most = vec![0.0f64; rows.count as usize];
    for private in private.iter().filter(|private| private.count > 0) {
        likeness.for_each(rows, private, |row, like| {
            let largest = like.iter().copied().fold(0.0, f64::max);
            most[row as usize] = most[row as usize].max(largest);
            Ok(())
        })?;
    }
    Ok(most)
}

/// A matrix with one more column, of a constant.
fn beside(query: &Query, matrix: &Matrix, value: f64) -> Result<Matrix> {
    let (rows, columns) = matrix.shape()?;
    let mut values = Vec::with_capacity(rows as usize * (columns as usize + 1));
    matrix.for_each_row(|_, row| {
        values.extend_from_slice(row);
        values.push(value as f32);
        Ok(())
    })?;
    query.new_matrix(rows, columns + 1, &values)
}
