//! Questions to the model's head, block by block.

use querist_core::{Head, ServiceError};
use querist_protocol::{Fault, FaultCode};

use crate::check;
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::workers::Workers;

/// Rows of one question: the query can be stopped between two, and what a head needs meanwhile stays small.
const BLOCK: usize = 512;

/// Logits `[n, classes]` of embeddings `[n, width]`.
pub(crate) fn logits(workers: &Workers, head: &dyn Head, embeddings: &Matrix) -> Result<Matrix, Fault> {
    in_blocks(workers, embeddings, head.classes(), "a logit", |_, rows, out| head.logits(rows, out))
}

/// Gradients `[n, width]` of the cross-entropy of one class a row.
pub(crate) fn gradients(
    workers: &Workers,
    head: &dyn Head,
    embeddings: &Matrix,
    classes: &[u32],
) -> Result<Matrix, Fault> {
    check::same(classes.len(), embeddings.rows(), "number of classes")?;
    if let Some(row) = classes.iter().position(|&class| class as usize >= head.classes()) {
        let message = format!("class {} in row {row}, but there are {}", classes[row], head.classes());
        return Err(Fault::new(FaultCode::BadIndex, message));
    }
    let rest = |first: usize| &classes[first..];
    in_blocks(workers, embeddings, head.width(), "a gradient", |first, rows, out| {
        head.gradients(rows, &rest(first)[..out.len() / head.width()], out)
    })
}

/// What `ask(first_row, embeddings, out)` writes, `[n, columns]`.
fn in_blocks(
    workers: &Workers,
    embeddings: &Matrix,
    columns: usize,
    what: &str,
    ask: impl Fn(usize, &[f32], &mut [f32]) -> Result<(), ServiceError>,
) -> Result<Matrix, Fault> {
    let (rows, width) = (embeddings.rows(), embeddings.columns());
    let mut values = Charged::filled(workers.control(), check::product(rows, columns)?, 0.0f32)?;
    // A head has columns and classes; one that says otherwise must not stop the host.
    let (width, columns_or_1) = (width.max(1), columns.max(1));
    let embeddings = embeddings.values();
    let blocks = embeddings.chunks(BLOCK * width).zip(values.chunks_mut(BLOCK * columns_or_1));
    for (block, (rows, out)) in blocks.enumerate() {
        workers.control().check()?;
        let failed = |error: ServiceError| Fault::new(FaultCode::BadArgument, format!("the model's head: {error}"));
        ask(block * BLOCK, rows, out).map_err(failed)?;
        if let Some(at) = out.iter().position(|value| !value.is_finite()) {
            let message = format!("{what} of row {} is {}", block * BLOCK + at / columns, out[at]);
            return Err(Fault::new(FaultCode::NonFinite, message));
        }
    }
    Ok(Matrix::of_values(values, rows, columns))
}
