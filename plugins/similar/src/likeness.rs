//! How similar rows are, between 0 and 1.

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// Similarities that are computed at once.
const AT_ONCE: usize = 1 << 22;

/// Form of the similarity.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// (1 + c) / 2 with c the cosine of the angle, which is 0 where a row is 0.
    #[default]
    Cosine,
    /// exp(-gamma d²) with d the Euclidean distance.
    Rbf,
}

/// What a row stands for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Its embedding.
    #[default]
    Embeddings,
    /// The gradient of its loss in a last linear layer over the embedding, biases included.
    Gradients,
}

/// Which class the gradients of rows that are pointed at are those of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// The predicted one.
    #[default]
    Predicted,
    /// The one that is given: `query.labels` or `private.labels`.
    Provided,
}

/// A similarity of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Likeness {
    pub(crate) measure: Measure,
    pub(crate) gamma: f64,
    pub(crate) space: Space,
    pub(crate) labels: Labels,
}

/// Rows that can be compared.
pub(crate) struct Rows {
    /// Gradients at the logits; none where rows are embeddings.
    errors: Option<Matrix>,
    embeddings: Matrix,
    pub(crate) count: u32,
}

impl Rows {
    pub(crate) fn gather(&self, rows: &[u32]) -> Result<Self> {
        Ok(Self {
            errors: self.errors.as_ref().map(|errors| errors.gather(rows)).transpose()?,
            embeddings: self.embeddings.gather(rows)?,
            count: rows.len() as u32,
        })
    }

    /// The embeddings, as the similarity compares them.
    pub(crate) fn embeddings(&self) -> &Matrix {
        &self.embeddings
    }
}

impl Likeness {
    /// The arrays behind rows called `prefix`, such as `query.`; none over the pool.
    pub(crate) fn needs(&self, prefix: &str) -> Vec<Need> {
        let of = |name: &str| Need::new(format!("{prefix}{name}"));
        let mut needs = vec![of(names::EMBEDDINGS)];
        if self.space == Space::Gradients {
            needs.push(of(names::LOGITS));
            needs.extend(self.labelled(prefix).then(|| of("labels")));
        }
        needs
    }

    /// Whether rows called `prefix` have labels.
    fn labelled(&self, prefix: &str) -> bool {
        prefix == names::LABELLED || (self.labels == Labels::Provided && !prefix.is_empty())
    }

    /// The rows called `prefix`.
    pub(crate) fn rows(&self, query: &Query, prefix: &str) -> Result<Rows> {
        let embeddings = query.matrix(&format!("{prefix}{}", names::EMBEDDINGS))?;
        let (count, _) = embeddings.shape()?;
        let unit = |matrix: Matrix| if self.measure == Measure::Cosine { matrix.normalise() } else { Ok(matrix) };
        if self.space == Space::Embeddings {
            return Ok(Rows { errors: None, embeddings: unit(embeddings)?, count });
        }
        let logits = query.matrix(&format!("{prefix}{}", names::LOGITS))?;
        let (found, _) = logits.shape()?;
        if found != count {
            return Err(StrategyError::Failed(format!(
                "`{prefix}logits` has {found} rows and `{prefix}embeddings` {count}; expected one each for every row"
            )));
        }
        let errors = match self.labelled(prefix) {
            true => errors_of(query, &logits, &query.labels(&format!("{prefix}labels"), count)?)?,
            false => logits.residual()?,
        };
        Ok(Rows { errors: Some(unit(errors)?), embeddings, count })
    }

    /// Calls `visit(row, similarities)` for every row, with its similarity to each of `others` in order.
    pub(crate) fn for_each(
        &self,
        rows: &Rows,
        others: &Rows,
        mut visit: impl FnMut(u32, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let block = (AT_ONCE / others.count.max(1) as usize).clamp(1, 1 << 14) as u32;
        for start in (0..rows.count).step_by(block as usize) {
            let part: Vec<u32> = (start..rows.count.min(start.saturating_add(block))).collect();
            let all = self.between(&rows.gather(&part)?, others)?;
            for (row, values) in part.iter().zip(all.chunks_exact(others.count.max(1) as usize)) {
                visit(*row, values)?;
            }
        }
        Ok(())
    }

    /// Similarities `[rows * others]`. They are the same whatever else is asked for together.
    pub(crate) fn between(&self, rows: &Rows, others: &Rows) -> Result<Vec<f64>> {
        match (self.measure, &rows.errors, &others.errors) {
            (Measure::Rbf, Some(_), Some(_)) | (Measure::Cosine, Some(_), Some(_)) => self.of_gradients(rows, others),
            (Measure::Cosine, ..) => {
                let cosines = rows.embeddings.product(&others.embeddings, true)?;
                let mut all = values(&cosines)?;
                all.iter_mut().for_each(|cosine| *cosine = similarity_of(*cosine));
                Ok(all)
            }
            (Measure::Rbf, ..) => {
                let mut all = distances(&rows.embeddings, &others.embeddings)?;
                all.iter_mut().for_each(|square| *square = math::exp(-self.gamma * *square));
                Ok(all)
            }
        }
    }

    /// The same of outer products of errors and embeddings that end in a 1.
    fn of_gradients(&self, rows: &Rows, others: &Rows) -> Result<Vec<f64>> {
        let (Some(left), Some(right)) = (&rows.errors, &others.errors) else { return Ok(Vec::new()) };
        let mut all = values(&left.product(right, true)?)?;
        let products = values(&rows.embeddings.product(&others.embeddings, true)?)?;
        let (own, theirs) = (rows.embeddings.sq_norms()?.to_vec()?, others.embeddings.sq_norms()?.to_vec()?);
        let (own_errors, their_errors) = (left.sq_norms()?.to_vec()?, right.sq_norms()?.to_vec()?);
        let width = theirs.len();
        for (at, (value, product)) in all.iter_mut().zip(products).enumerate() {
            let (i, j) = (at / width, at % width);
            let (norms, dot) = ((own[i] + 1.0, theirs[j] + 1.0), product + 1.0);
            *value = match self.measure {
                Measure::Cosine => similarity_of(*value * (dot / (norms.0 * norms.1).sqrt())),
                Measure::Rbf => {
                    let squares = own_errors[i] * norms.0 + their_errors[j] * norms.1;
                    math::exp(-self.gamma * (squares - 2.0 * *value * dot).max(0.0))
                }
            };
        }
        Ok(all)
    }
}

fn similarity_of(cosine: f64) -> f64 {
    (1.0 + cosine.clamp(-1.0, 1.0)) / 2.0
}

/// All values of a matrix.
fn values(matrix: &Matrix) -> Result<Vec<f64>> {
    let (rows, columns) = matrix.shape()?;
    let mut all = Vec::with_capacity(rows as usize * columns as usize);
    matrix.for_each_block(|_, block| {
        all.extend(block.iter().map(|&value| f64::from(value)));
        Ok(())
    })?;
    Ok(all)
}

/// Squared distances `[rows * others]`, each by its definition: one call for each row of the smaller side.
fn distances(rows: &Matrix, others: &Matrix) -> Result<Vec<f64>> {
    let (count, width) = (rows.shape()?.0 as usize, others.shape()?.0 as usize);
    let mut all = vec![0.0; count * width];
    let one_by_one = |many: &Matrix, one: &Matrix, at: usize| -> Result<Vec<f64>> {
        many.distance_reduce(&one.gather(&[at as u32])?, Metric::SqEuclidean, Reduction::Min)?.to_vec()
    };
    if count < width {
        for at in 0..count {
            all[at * width..(at + 1) * width].copy_from_slice(&one_by_one(others, rows, at)?);
        }
    } else {
        for at in 0..width {
            let column = one_by_one(rows, others, at)?;
            all[at..].iter_mut().step_by(width).zip(column).for_each(|(value, square)| *value = square);
        }
    }
    Ok(all)
}

/// Probabilities minus the one-hot of a label.
fn errors_of(query: &Query, logits: &Matrix, labels: &[u32]) -> Result<Matrix> {
    let (rows, classes) = logits.shape()?;
    let mut errors = Vec::with_capacity(rows as usize * classes as usize);
    logits.for_each_row(|row, logits| {
        let softmax = Softmax::of(logits);
        let label = labels[row as usize] as usize;
        let error = |class: usize| if class == label { -softmax.complement(class) } else { softmax.probs[class] };
        errors.extend((0..logits.len()).map(|class| error(class) as f32));
        Ok(())
    })?;
    query.new_matrix(rows, classes, &errors)
}

/// Refuses an array that must have rows and has none.
pub(crate) fn check_some(rows: &Rows, prefix: &str) -> Result<()> {
    match rows.count {
        0 => Err(StrategyError::Failed(format!("`{prefix}embeddings` has no rows; expected at least 1 to look for"))),
        _ => Ok(()),
    }
}
