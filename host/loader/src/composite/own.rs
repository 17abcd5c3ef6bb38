//! What a composite itself looks at: arrays and kernels of the query, under its limits.

use std::sync::Arc;

use querist_core::{Failure, Query, QueryErrorKind};
use querist_kernels::{Compute, Control, Session};
use querist_protocol::{BLOCK_BYTES, Handle, HostCalls, math, names};

use super::members::Members;
use crate::run::clock::{control, under_the_clock};
use crate::run::reach;

/// A query's arrays, as a composite reads them.
pub(super) struct Own {
    session: Session,
    control: Arc<Control>,
}

impl Own {
    /// Opens the arrays of a query.
    pub(super) fn open(members: &Members, query: &Query<'_>) -> Result<Self, Failure> {
        let control = control(&members.limits);
        let streams = query.seeds.strategy(&members.identity.id);
        let compute = Compute { threads: members.compute.threads, accelerator: members.compute.accelerator.clone() };
        let shared = reach::in_query(query, streams, compute, Arc::clone(&control))?;
        Ok(Self { session: Session::new(shared), control })
    }

    /// The calls that strategies make.
    pub(super) fn calls(&self) -> &dyn HostCalls {
        &self.session
    }

    /// Does some work, which ends once time is up or the user wishes so.
    pub(super) fn watched<T>(
        &self,
        query: &Query<'_>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        under_the_clock(&self.control, Some(query.progress), || (), work)
    }

    /// The most bytes that objects held at once.
    pub(super) fn peak_memory(&self) -> u64 {
        self.control.peak_memory()
    }

    /// Calls `visit(row, values)` for every row of a matrix in order.
    pub(super) fn for_each_row(&self, matrix: Handle, mut visit: impl FnMut(u32, &[f32])) -> Result<(), Failure> {
        let (rows, columns) = self.session.matrix_shape(matrix)?;
        let block = (BLOCK_BYTES as u32 / (4 * columns.max(1))).max(1);
        let mut start = 0;
        while start < rows {
            let count = block.min(rows - start);
            let values = self.session.matrix_read(matrix, start, count)?;
            (start..).zip(values.chunks_exact(columns.max(1) as usize)).for_each(|(row, values)| visit(row, values));
            start += count;
        }
        Ok(())
    }

    /// All values of a vector of the host, which is let go.
    pub(super) fn taken(&self, vector: Handle) -> Result<Vec<f64>, Failure> {
        let values = self.session.vector_len(vector).and_then(|len| self.session.vector_read(vector, 0, len));
        self.session.release(vector);
        Ok(values?)
    }

    /// The predicted class of each row of the pool: of the largest logit, the lowest among equals.
    pub(super) fn predicted(&self) -> Result<Vec<u32>, Failure> {
        let logits = self.session.input(names::LOGITS)?;
        let mut classes = Vec::new();
        self.for_each_row(logits, |_, row| classes.push(math::argmax(row) as u32))?;
        self.session.release(logits);
        Ok(classes)
    }

    /// Labels of the labelled set.
    pub(super) fn labels(&self) -> Result<Vec<u32>, Failure> {
        Ok(self.session.labels(names::LABELLED_LABELS, 0, self.session.info().labelled_rows)?)
    }

    /// How many of these there are of each class.
    pub(super) fn counted(&self, classes: &[u32]) -> Vec<u64> {
        let mut counts = vec![0; self.session.info().classes as usize];
        for &class in classes {
            counts[class as usize] += 1;
        }
        counts
    }

    /// An array of the query, its rows divided by their lengths where that is wanted.
    pub(super) fn rows(&self, name: &str, is_unit: bool) -> Result<Handle, Failure> {
        let rows = self.session.input(name)?;
        if !is_unit {
            return Ok(rows);
        }
        let unit = self.session.matrix_normalise(rows);
        self.session.release(rows);
        Ok(unit?)
    }
}

/// A failure that the parameters are the cause of.
pub(super) fn wrong_params(message: impl AsRef<str>) -> Failure {
    Failure::new(QueryErrorKind::InvalidParams, message)
}
