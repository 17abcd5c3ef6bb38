//! Graph-cut mutual information with rows that a user points at: the mean similarity to them.
//!
//! A mean of cosines is one product with the mean of the unit vectors, however many they are.

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

use crate::likeness::{Labels, Likeness, Measure, Space, check_some};

const QUERY: &str = "query.";

params! {
    /// Parameters of GCMI.
    #[schemars(extend("examples" = [
        {},
        {"similarity": "rbf", "gamma": 0.2},
        {"space": "gradients"},
        {"space": "gradients", "labels": "provided"},
        {"space": "gradients", "similarity": "rbf"},
    ]))]
    pub struct Gcmi {
        /// Form of the similarity.
        pub similarity: Measure = Measure::Cosine,
        /// Factor of squared distances under `rbf`.
        #[schemars(range(min = 1e-100, max = 1e6))]
        pub gamma: f64 = 1.0,
        /// What a row stands for.
        pub space: Space = Space::Embeddings,
        /// Which class the gradients of `query` rows are those of.
        pub labels: Labels = Labels::Predicted,
    }
}

impl Strategy for Gcmi {
    const ID: &'static str = "gcmi";
    const SUMMARY: &'static str =
        "Samples that are most like the rows you point at, on average; copies of one are all taken";
    const PAPER: &'static str = crate::PAPER;
    const COST: &'static str = "O(N D) time under the cosine (O(N C D) for gradients), O(N Q D) under rbf; no memory.";
    const ALIASES: &'static [&'static str] = &["GCMI"];

    fn needs(&self) -> Vec<Need> {
        let likeness = self.likeness();
        [likeness.needs(""), likeness.needs(QUERY)].concat()
    }

    fn may_need() -> Vec<Need> {
        Need::all([names::LOGITS, "query.logits", "query.labels"])
    }
}

impl Scorer for Gcmi {
    fn score(&self, tile: &Query) -> Result<Scores> {
        let likeness = self.likeness();
        let sought = likeness.rows(tile, QUERY)?;
        check_some(&sought, QUERY)?;
        let scores = match (self.similarity, self.space) {
            (Measure::Cosine, Space::Embeddings) => self.of_embeddings(tile)?,
            (Measure::Cosine, Space::Gradients) => self.of_gradients(tile)?,
            (Measure::Rbf, _) => {
                let mut scores = Vec::with_capacity(tile.rows() as usize);
                likeness.for_each(&likeness.rows(tile, "")?, &sought, |_, like| {
                    scores.push(like.iter().sum::<f64>() / like.len() as f64);
                    Ok(())
                })?;
                scores
            }
        };
        Ok(tile.vector(&scores)?.into())
    }
}

impl Gcmi {
    fn likeness(&self) -> Likeness {
        Likeness { measure: self.similarity, gamma: self.gamma, space: self.space, labels: self.labels }
    }

    /// Mean cosines with the mean of the unit vectors of what is looked for.
    fn of_embeddings(&self, tile: &Query) -> Result<Vec<f64>> {
        let sought = tile.matrix("query.embeddings")?;
        let (count, width) = sought.shape()?;
        let mut mean = vec![0.0; width as usize];
        sought.for_each_row(|_, row| {
            let by = norm(row, 0.0) * f64::from(count);
            if by > 0.0 {
                mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / by);
            }
            Ok(())
        })?;
        let mut scores = Vec::with_capacity(tile.rows() as usize);
        tile.matrix(names::EMBEDDINGS)?.for_each_row(|_, row| {
            let norm = norm(row, 0.0);
            scores.push(scored(if norm > 0.0 { dot(row, &mean) / norm } else { 0.0 }));
            Ok(())
        })?;
        Ok(scores)
    }

    /// The same of gradients: the mean of the outer products of unit vectors is a matrix, `[classes, width + 1]`.
    fn of_gradients(&self, tile: &Query) -> Result<Vec<f64>> {
        let (embeddings, logits) = (tile.matrix("query.embeddings")?, tile.matrix("query.logits")?);
        let (count, width) = embeddings.shape()?;
        let columns = width as usize + 1;
        let labels = match self.labels {
            Labels::Predicted => None,
            Labels::Provided => Some(tile.labels("query.labels", count)?),
        };
        let mut mean = vec![0.0; tile.classes() as usize * columns];
        let mut errors = Vec::with_capacity(count as usize);
        logits.for_each_row(|row, logits| {
            errors.push(unit_error(logits, labels.as_ref().map(|labels| labels[row as usize])));
            Ok(())
        })?;
        embeddings.for_each_row(|row, embedding| {
            let by = norm(embedding, 1.0) * f64::from(count);
            for (line, error) in mean.chunks_exact_mut(columns).zip(&errors[row as usize]) {
                line.iter_mut().zip(embedding).for_each(|(mean, &x)| *mean += error * f64::from(x) / by);
                line[columns - 1] += error / by;
            }
            Ok(())
        })?;
        let mut errors = Vec::with_capacity(tile.rows() as usize);
        tile.matrix(names::LOGITS)?.for_each_row(|_, logits| {
            errors.push(unit_error(logits, None));
            Ok(())
        })?;
        let mut scores = Vec::with_capacity(errors.len());
        tile.matrix(names::EMBEDDINGS)?.for_each_row(|row, embedding| {
            let along = |line: &[f64]| dot(embedding, line) + line[columns - 1];
            let lines = mean.chunks_exact(columns).zip(&errors[row as usize]);
            scores.push(scored(lines.map(|(line, error)| error * along(line)).sum::<f64>() / norm(embedding, 1.0)));
            Ok(())
        })?;
        Ok(scores)
    }
}

fn scored(mean_cosine: f64) -> f64 {
    f64::midpoint(1.0, mean_cosine.clamp(-1.0, 1.0))
}

/// Euclidean norm of a row and of what is beside it, squared.
fn norm(row: &[f32], beside: f64) -> f64 {
    (row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() + beside).sqrt()
}

/// Product with the first values of `other`.
fn dot(row: &[f32], other: &[f64]) -> f64 {
    row.iter().zip(other).map(|(&x, y)| f64::from(x) * y).sum()
}

/// Direction of the gradient at the logits; 0 where nothing is left of it.
fn unit_error(logits: &[f32], label: Option<u32>) -> Vec<f64> {
    let softmax = Softmax::of(logits);
    let label = label.map_or(softmax.top, |label| label as usize);
    let mut error = softmax.probs.clone();
    error[label] = -softmax.complement(label);
    let norm = error.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 {
        error.iter_mut().for_each(|x| *x /= norm);
    }
    error
}
