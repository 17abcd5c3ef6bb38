//! The host's table as the calls that strategies make.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use querist_protocol::abi::{Bytes, table};
use querist_protocol::{
    DesignOptions, Fault, Handle, HostCalls, KmeansOptions, LogLevel, Merge, Metric, Numbered, QueryInfo, Reduction,
    Similarity, StreamScope, Uncertainty,
};

use crate::native::{List, Table, no_handle, row_or_none};

impl HostCalls for Table {
    fn release(&self, handle: Handle) {
        // SAFETY: the host checks handles.
        unsafe { (self.calls().release)(self.call(), handle) };
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().stream)(self.call(), Bytes::of(tag.as_bytes()), scope.number(), &raw mut out)
        })?;
        Ok(out)
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault> {
        let mut out = List::<f64>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().stream_uniforms)(self.call(), stream, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().stream_by_row)(self.call(), stream, step, &raw mut out) })?;
        Ok(out)
    }

    fn vector(&self, values: &[f64]) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().vector)(self.call(), values.as_ptr(), values.len(), &raw mut out) })?;
        Ok(out)
    }

    fn vector_len(&self, vector: Handle) -> Result<u32, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().vector_len)(self.call(), vector, &raw mut out) })?;
        Ok(out)
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault> {
        let mut out = List::<f64>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().vector_read)(self.call(), vector, start, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().vector_top)(self.call(), vector, no_handle(second), count, no_handle(excluded), &raw mut out)
        })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn vector_draw(&self, vector: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let mut out_row = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().vector_draw)(self.call(), vector, numbers, no_handle(excluded), &raw mut out_row)
        })?;
        Ok(row_or_none(out_row))
    }

    fn mask(&self, rows: u32) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().mask)(self.call(), rows, &raw mut out) })?;
        Ok(out)
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().mask_exclude)(self.call(), mask, rows.as_ptr(), rows.len()) })
    }

    fn mask_count(&self, mask: Handle) -> Result<u32, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().mask_count)(self.call(), mask, &raw mut out) })?;
        Ok(out)
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().matrix)(self.call(), rows, columns, values.as_ptr(), values.len(), &raw mut out)
        })?;
        Ok(out)
    }

    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault> {
        let mut out = u32::default();
        let mut out_second = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_shape)(self.call(), matrix, &raw mut out, &raw mut out_second) })?;
        Ok((out, out_second))
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault> {
        let mut out = List::<f32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_read)(self.call(), matrix, start, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().matrix_gather)(self.call(), matrix, rows.as_ptr(), rows.len(), &raw mut out)
        })?;
        Ok(out)
    }

    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_normalise)(self.call(), matrix, &raw mut out) })?;
        Ok(out)
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_sq_norms)(self.call(), matrix, &raw mut out) })?;
        Ok(out)
    }

    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault> {
        let mut out = List::<f64>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_mean)(self.call(), matrix, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn matrix_product(&self, matrix: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().matrix_product)(self.call(), matrix, right, transpose_right, &raw mut out)
        })?;
        Ok(out)
    }

    fn matrix_stack(&self, matrix: Handle, bottom: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().matrix_stack)(self.call(), matrix, bottom, &raw mut out) })?;
        Ok(out)
    }

    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().log)(self.call(), level.number(), Bytes::of(message.as_bytes())) })
    }

    fn panicked(&self, message: &str) {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        unsafe { (self.calls().panicked)(self.call(), Bytes::of(message.as_bytes())) };
    }

    fn progress(&self, done: u64, total: u64) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().progress)(self.call(), done, total) })
    }

    fn info(&self) -> QueryInfo {
        let mut out = table::QueryInfo::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        unsafe { (self.calls().info)(self.call(), &raw mut out) };
        QueryInfo::try_from(out).unwrap_or_else(|_| unreachable!("whole numbers"))
    }

    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let mut out = List::<u64>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().ids)(self.call(), start, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let mut out = List::<u64>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().labelled_ids)(self.call(), start, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        let mut out = bool::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().has)(self.call(), Bytes::of(name.as_bytes()), &raw mut out) })?;
        Ok(out)
    }

    fn input(&self, name: &str) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().input)(self.call(), Bytes::of(name.as_bytes()), &raw mut out) })?;
        Ok(out)
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().labels)(self.call(), Bytes::of(name.as_bytes()), start, count, &raw mut out)
        })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().graph_degrees)(self.call(), graph, &raw mut out) })?;
        Ok(out)
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().graph_neighbours)(self.call(), graph, row, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().clustering_sizes)(self.call(), clustering, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().clustering_read)(self.call(), clustering, start, count, &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() })
    }

    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().clustering_centres)(self.call(), clustering, &raw mut out) })?;
        Ok(out)
    }

    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault> {
        let mut out = f64::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().clustering_inertia)(self.call(), clustering, &raw mut out) })?;
        Ok(out)
    }

    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault> {
        let mut out = List::<u32>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().clustering_representatives)(self.call(), clustering, no_handle(excluded), &raw mut out)
        })?;
        // SAFETY: the host lends the list until its next call.
        Ok(unsafe { out.to_vec() }.into_iter().map(row_or_none).collect())
    }

    fn softmax(&self, logits: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().softmax)(self.call(), logits, &raw mut out) })?;
        Ok(out)
    }

    fn residual(&self, logits: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().residual)(self.call(), logits, &raw mut out) })?;
        Ok(out)
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault> {
        let mut out = u32::default();
        let mut out_second = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().uncertainty)(self.call(), logits, measure.number(), &raw mut out, &raw mut out_second)
        })?;
        Ok((out, out_second))
    }

    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault> {
        let (reduction, reduction_value) = reduction.parts();
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().distance_reduce)(
                self.call(),
                rows,
                centres,
                metric.number(),
                reduction,
                reduction_value,
                &raw mut out,
            )
        })?;
        Ok(out)
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().neighbour_distance)(self.call(), rows, neighbours, metric.number(), &raw mut out)
        })?;
        Ok(out)
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().neighbours_within)(self.call(), rows, radius, metric.number(), &raw mut out)
        })?;
        Ok(out)
    }

    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        numbers: Handle,
    ) -> Result<Handle, Fault> {
        let options = table::KmeansOptions::from(options);
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().kmeans)(self.call(), rows, no_handle(weights), &raw const options, numbers, &raw mut out)
        })?;
        Ok(out)
    }

    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault> {
        let mut out = List::<table::Merge>::none();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().average_linkage)(self.call(), rows, metric.number(), &raw mut out) })?;
        // SAFETY: the host lends the list until its next call.
        unsafe { out.to_vec() }.into_iter().map(TryInto::try_into).collect()
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().mixture_entropy)(self.call(), log_probs, weights, shares, &raw mut out) })?;
        Ok(out)
    }

    fn points(&self, rows: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().points)(self.call(), rows, &raw mut out) })?;
        Ok(out)
    }

    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().points_sq_norms)(self.call(), points, &raw mut out) })?;
        Ok(out)
    }

    fn outer_products(&self, left: Handle, right: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().outer_products)(self.call(), left, right, &raw mut out) })?;
        Ok(out)
    }

    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().nearest)(self.call(), points, metric.number(), &raw mut out) })?;
        Ok(out)
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().nearest_add)(self.call(), nearest, rows.as_ptr(), rows.len()) })
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().nearest_add_points)(self.call(), nearest, points) })
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let mut out_row = u32::default();
        let mut out_value = f64::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().nearest_farthest)(
                self.call(),
                nearest,
                no_handle(excluded),
                &raw mut out_row,
                &raw mut out_value,
            )
        })?;
        Ok(row_or_none(out_row).map(|row| (row, out_value)))
    }

    fn nearest_draw(&self, nearest: Handle, numbers: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let mut out_row = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().nearest_draw)(self.call(), nearest, numbers, no_handle(excluded), &raw mut out_row)
        })?;
        Ok(row_or_none(out_row))
    }

    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().nearest_values)(self.call(), nearest, &raw mut out) })?;
        Ok(out)
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault> {
        let similarity = table::Similarity::from(similarity);
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().facility)(
                self.call(),
                rows,
                references,
                no_handle(weights),
                &raw const similarity,
                &raw mut out,
            )
        })?;
        Ok(out)
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().facility_add)(self.call(), facility, rows.as_ptr(), rows.len()) })
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().facility_add_others)(self.call(), facility, others) })
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let mut out_row = u32::default();
        let mut out_value = f64::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().facility_best)(
                self.call(),
                facility,
                no_handle(excluded),
                &raw mut out_row,
                &raw mut out_value,
            )
        })?;
        Ok(row_or_none(out_row).map(|row| (row, out_value)))
    }

    fn design(
        &self,
        factors: Handle,
        embeddings: Handle,
        labelled_factors: Handle,
        labelled_embeddings: Handle,
        options: DesignOptions,
    ) -> Result<Handle, Fault> {
        let options = table::DesignOptions::from(options);
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().design)(
                self.call(),
                factors,
                embeddings,
                labelled_factors,
                labelled_embeddings,
                &raw const options,
                &raw mut out,
            )
        })?;
        Ok(out)
    }

    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        let mut out_row = u32::default();
        let mut out_value = f64::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().design_best)(self.call(), design, &raw mut out_row, &raw mut out_value) })?;
        Ok(row_or_none(out_row).map(|row| (row, out_value)))
    }

    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        let mut out_row = u32::default();
        let mut out_value = f64::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().design_least)(self.call(), design, &raw mut out_row, &raw mut out_value) })?;
        Ok(row_or_none(out_row).map(|row| (row, out_value)))
    }

    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().design_add)(self.call(), design, row) })
    }

    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault> {
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().design_remove)(self.call(), design, row) })
    }

    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe { (self.calls().head_logits)(self.call(), embeddings, &raw mut out) })?;
        Ok(out)
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault> {
        let mut out = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().head_gradients)(self.call(), embeddings, classes.as_ptr(), classes.len(), &raw mut out)
        })?;
        Ok(out)
    }

    fn nearest_rows(
        &self,
        rows: Handle,
        others: Handle,
        neighbours: u32,
        metric: Metric,
    ) -> Result<(Handle, Handle), Fault> {
        let mut out = u32::default();
        let mut out_second = u32::default();
        // SAFETY: arguments live through the call, which checks them; there is room for its results.
        self.check(unsafe {
            (self.calls().nearest_rows)(
                self.call(),
                rows,
                others,
                neighbours,
                metric.number(),
                &raw mut out,
                &raw mut out_second,
            )
        })?;
        Ok((out, out_second))
    }
}
