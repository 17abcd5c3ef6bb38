//! The calls of strategies that are Python classes, from Python to the session.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use pyo3::prelude::*;
use querist_protocol::{DesignOptions, HostCalls, KmeansOptions, Reduction, Similarity};

use super::calls::{Calls, bad, numbered};

#[pymethods]
impl Calls {
    fn release(&self, py: Python<'_>, handle: u32) -> PyResult<()> {
        self.serve(py, |c| {
            c.release(handle);
            Ok(())
        })
    }

    fn stream(&self, py: Python<'_>, tag: &str, scope: u32) -> PyResult<u32> {
        self.serve(py, |c| c.stream(tag, numbered(scope)?))
    }

    fn stream_uniforms(&self, py: Python<'_>, stream: u32, count: u32) -> PyResult<Vec<f64>> {
        self.serve(py, |c| c.stream_uniforms(stream, count))
    }

    fn stream_by_row(&self, py: Python<'_>, stream: u32, step: u32) -> PyResult<u32> {
        self.serve(py, |c| c.stream_by_row(stream, step))
    }

    fn vector(&self, py: Python<'_>, values: Vec<f64>) -> PyResult<u32> {
        self.serve(py, |c| c.vector(&values))
    }

    fn vector_len(&self, py: Python<'_>, vector: u32) -> PyResult<u32> {
        self.serve(py, |c| c.vector_len(vector))
    }

    fn vector_read(&self, py: Python<'_>, vector: u32, start: u32, count: u32) -> PyResult<Vec<f64>> {
        self.serve(py, |c| c.vector_read(vector, start, count))
    }

    fn vector_top(
        &self,
        py: Python<'_>,
        vector: u32,
        second: Option<u32>,
        count: u32,
        excluded: Option<u32>,
    ) -> PyResult<Vec<u32>> {
        self.serve(py, |c| c.vector_top(vector, second, count, excluded))
    }

    fn vector_draw(&self, py: Python<'_>, vector: u32, numbers: u32, excluded: Option<u32>) -> PyResult<Option<u32>> {
        self.serve(py, |c| c.vector_draw(vector, numbers, excluded))
    }

    fn mask(&self, py: Python<'_>, rows: u32) -> PyResult<u32> {
        self.serve(py, |c| c.mask(rows))
    }

    fn mask_exclude(&self, py: Python<'_>, mask: u32, rows: Vec<u32>) -> PyResult<()> {
        self.serve(py, |c| c.mask_exclude(mask, &rows))
    }

    fn mask_count(&self, py: Python<'_>, mask: u32) -> PyResult<u32> {
        self.serve(py, |c| c.mask_count(mask))
    }

    fn matrix(&self, py: Python<'_>, rows: u32, columns: u32, values: Vec<f32>) -> PyResult<u32> {
        self.serve(py, |c| c.matrix(rows, columns, &values))
    }

    fn matrix_shape(&self, py: Python<'_>, matrix: u32) -> PyResult<(u32, u32)> {
        self.serve(py, |c| c.matrix_shape(matrix))
    }

    fn matrix_read(&self, py: Python<'_>, matrix: u32, start: u32, count: u32) -> PyResult<Vec<f32>> {
        self.serve(py, |c| c.matrix_read(matrix, start, count))
    }

    fn matrix_gather(&self, py: Python<'_>, matrix: u32, rows: Vec<u32>) -> PyResult<u32> {
        self.serve(py, |c| c.matrix_gather(matrix, &rows))
    }

    fn matrix_normalise(&self, py: Python<'_>, matrix: u32) -> PyResult<u32> {
        self.serve(py, |c| c.matrix_normalise(matrix))
    }

    fn matrix_sq_norms(&self, py: Python<'_>, matrix: u32) -> PyResult<u32> {
        self.serve(py, |c| c.matrix_sq_norms(matrix))
    }

    fn matrix_mean(&self, py: Python<'_>, matrix: u32) -> PyResult<Vec<f64>> {
        self.serve(py, |c| c.matrix_mean(matrix))
    }

    fn matrix_product(&self, py: Python<'_>, matrix: u32, right: u32, transpose_right: bool) -> PyResult<u32> {
        self.serve(py, |c| c.matrix_product(matrix, right, transpose_right))
    }

    fn matrix_stack(&self, py: Python<'_>, matrix: u32, bottom: u32) -> PyResult<u32> {
        self.serve(py, |c| c.matrix_stack(matrix, bottom))
    }

    fn log(&self, py: Python<'_>, level: u32, message: &str) -> PyResult<()> {
        self.serve(py, |c| c.log(numbered(level)?, message))
    }

    fn panicked(&self, py: Python<'_>, message: &str) -> PyResult<()> {
        self.serve(py, |c| {
            c.panicked(message);
            Ok(())
        })
    }

    fn progress(&self, py: Python<'_>, done: u64, total: u64) -> PyResult<()> {
        self.serve(py, |c| c.progress(done, total))
    }

    fn info(&self, py: Python<'_>) -> PyResult<(u32, u32, u32, u32, u32, u32)> {
        self.serve(py, |c| {
            let one = c.info();
            Ok((one.rows, one.first_row, one.labelled_rows, one.classes, one.batch, one.round))
        })
    }

    fn ids(&self, py: Python<'_>, start: u32, count: u32) -> PyResult<Vec<u64>> {
        self.serve(py, |c| c.ids(start, count))
    }

    fn labelled_ids(&self, py: Python<'_>, start: u32, count: u32) -> PyResult<Vec<u64>> {
        self.serve(py, |c| c.labelled_ids(start, count))
    }

    fn has(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        self.serve(py, |c| c.has(name))
    }

    fn input(&self, py: Python<'_>, name: &str) -> PyResult<u32> {
        self.serve(py, |c| c.input(name))
    }

    fn labels(&self, py: Python<'_>, name: &str, start: u32, count: u32) -> PyResult<Vec<u32>> {
        self.serve(py, |c| c.labels(name, start, count))
    }

    fn graph_degrees(&self, py: Python<'_>, graph: u32) -> PyResult<u32> {
        self.serve(py, |c| c.graph_degrees(graph))
    }

    fn graph_neighbours(&self, py: Python<'_>, graph: u32, row: u32) -> PyResult<Vec<u32>> {
        self.serve(py, |c| c.graph_neighbours(graph, row))
    }

    fn clustering_sizes(&self, py: Python<'_>, clustering: u32) -> PyResult<Vec<u32>> {
        self.serve(py, |c| c.clustering_sizes(clustering))
    }

    fn clustering_read(&self, py: Python<'_>, clustering: u32, start: u32, count: u32) -> PyResult<Vec<u32>> {
        self.serve(py, |c| c.clustering_read(clustering, start, count))
    }

    fn clustering_centres(&self, py: Python<'_>, clustering: u32) -> PyResult<u32> {
        self.serve(py, |c| c.clustering_centres(clustering))
    }

    fn clustering_inertia(&self, py: Python<'_>, clustering: u32) -> PyResult<f64> {
        self.serve(py, |c| c.clustering_inertia(clustering))
    }

    fn clustering_representatives(
        &self,
        py: Python<'_>,
        clustering: u32,
        excluded: Option<u32>,
    ) -> PyResult<Vec<Option<u32>>> {
        self.serve(py, |c| c.clustering_representatives(clustering, excluded))
    }

    fn softmax(&self, py: Python<'_>, logits: u32) -> PyResult<u32> {
        self.serve(py, |c| c.softmax(logits))
    }

    fn residual(&self, py: Python<'_>, logits: u32) -> PyResult<u32> {
        self.serve(py, |c| c.residual(logits))
    }

    fn uncertainty(&self, py: Python<'_>, logits: u32, measure: u32) -> PyResult<(u32, u32)> {
        self.serve(py, |c| c.uncertainty(logits, numbered(measure)?))
    }

    fn distance_reduce(
        &self,
        py: Python<'_>,
        rows: u32,
        centres: u32,
        metric: u32,
        reduction: (u32, f64),
    ) -> PyResult<u32> {
        self.serve(py, |c| {
            c.distance_reduce(
                rows,
                centres,
                numbered(metric)?,
                Reduction::of_parts(reduction.0, reduction.1).ok_or_else(|| bad("reduction"))?,
            )
        })
    }

    fn neighbour_distance(&self, py: Python<'_>, rows: u32, neighbours: u32, metric: u32) -> PyResult<u32> {
        self.serve(py, |c| c.neighbour_distance(rows, neighbours, numbered(metric)?))
    }

    fn neighbours_within(&self, py: Python<'_>, rows: u32, radius: f64, metric: u32) -> PyResult<u32> {
        self.serve(py, |c| c.neighbours_within(rows, radius, numbered(metric)?))
    }

    fn kmeans(
        &self,
        py: Python<'_>,
        rows: u32,
        weights: Option<u32>,
        options: (u32, u32, u32, f64, u32),
        numbers: u32,
    ) -> PyResult<u32> {
        self.serve(py, |c| {
            let options = KmeansOptions {
                clusters: options.0,
                restarts: options.1,
                max_iterations: options.2,
                tolerance: options.3,
                init: numbered(options.4)?,
            };
            c.kmeans(rows, weights, options, numbers)
        })
    }

    fn average_linkage(&self, py: Python<'_>, rows: u32, metric: u32) -> PyResult<Vec<(u32, u32, f64)>> {
        self.serve(py, |c| {
            Ok(c.average_linkage(rows, numbered(metric)?)?
                .into_iter()
                .map(|one| (one.left, one.right, one.height))
                .collect())
        })
    }

    fn mixture_entropy(&self, py: Python<'_>, log_probs: u32, weights: u32, shares: u32) -> PyResult<u32> {
        self.serve(py, |c| c.mixture_entropy(log_probs, weights, shares))
    }

    fn points(&self, py: Python<'_>, rows: u32) -> PyResult<u32> {
        self.serve(py, |c| c.points(rows))
    }

    fn points_sq_norms(&self, py: Python<'_>, points: u32) -> PyResult<u32> {
        self.serve(py, |c| c.points_sq_norms(points))
    }

    fn outer_products(&self, py: Python<'_>, left: u32, right: u32) -> PyResult<u32> {
        self.serve(py, |c| c.outer_products(left, right))
    }

    fn nearest(&self, py: Python<'_>, points: u32, metric: u32) -> PyResult<u32> {
        self.serve(py, |c| c.nearest(points, numbered(metric)?))
    }

    fn nearest_add(&self, py: Python<'_>, nearest: u32, rows: Vec<u32>) -> PyResult<()> {
        self.serve(py, |c| c.nearest_add(nearest, &rows))
    }

    fn nearest_add_points(&self, py: Python<'_>, nearest: u32, points: u32) -> PyResult<()> {
        self.serve(py, |c| c.nearest_add_points(nearest, points))
    }

    fn nearest_farthest(&self, py: Python<'_>, nearest: u32, excluded: Option<u32>) -> PyResult<Option<(u32, f64)>> {
        self.serve(py, |c| c.nearest_farthest(nearest, excluded))
    }

    fn nearest_draw(&self, py: Python<'_>, nearest: u32, numbers: u32, excluded: Option<u32>) -> PyResult<Option<u32>> {
        self.serve(py, |c| c.nearest_draw(nearest, numbers, excluded))
    }

    fn nearest_values(&self, py: Python<'_>, nearest: u32) -> PyResult<u32> {
        self.serve(py, |c| c.nearest_values(nearest))
    }

    fn facility(
        &self,
        py: Python<'_>,
        rows: u32,
        references: u32,
        weights: Option<u32>,
        similarity: (u32, f64),
    ) -> PyResult<u32> {
        self.serve(py, |c| {
            let similarity = Similarity { kind: numbered(similarity.0)?, width: similarity.1 };
            c.facility(rows, references, weights, similarity)
        })
    }

    fn facility_add(&self, py: Python<'_>, facility: u32, rows: Vec<u32>) -> PyResult<()> {
        self.serve(py, |c| c.facility_add(facility, &rows))
    }

    fn facility_add_others(&self, py: Python<'_>, facility: u32, others: u32) -> PyResult<()> {
        self.serve(py, |c| c.facility_add_others(facility, others))
    }

    fn facility_best(&self, py: Python<'_>, facility: u32, excluded: Option<u32>) -> PyResult<Option<(u32, f64)>> {
        self.serve(py, |c| c.facility_best(facility, excluded))
    }

    fn design(
        &self,
        py: Python<'_>,
        factors: u32,
        embeddings: u32,
        labelled_factors: u32,
        labelled_embeddings: u32,
        options: (u32, f64, f64, f64),
    ) -> PyResult<u32> {
        self.serve(py, |c| {
            let options = DesignOptions {
                rank: options.0,
                ridge: options.1,
                labelled_weight: options.2,
                added_weight: options.3,
            };
            c.design(factors, embeddings, labelled_factors, labelled_embeddings, options)
        })
    }

    fn design_best(&self, py: Python<'_>, design: u32) -> PyResult<Option<(u32, f64)>> {
        self.serve(py, |c| c.design_best(design))
    }

    fn design_least(&self, py: Python<'_>, design: u32) -> PyResult<Option<(u32, f64)>> {
        self.serve(py, |c| c.design_least(design))
    }

    fn design_add(&self, py: Python<'_>, design: u32, row: u32) -> PyResult<()> {
        self.serve(py, |c| c.design_add(design, row))
    }

    fn design_remove(&self, py: Python<'_>, design: u32, row: u32) -> PyResult<()> {
        self.serve(py, |c| c.design_remove(design, row))
    }

    fn head_logits(&self, py: Python<'_>, embeddings: u32) -> PyResult<u32> {
        self.serve(py, |c| c.head_logits(embeddings))
    }

    fn head_gradients(&self, py: Python<'_>, embeddings: u32, classes: Vec<u32>) -> PyResult<u32> {
        self.serve(py, |c| c.head_gradients(embeddings, &classes))
    }

    fn nearest_rows(
        &self,
        py: Python<'_>,
        rows: u32,
        others: u32,
        neighbours: u32,
        metric: u32,
    ) -> PyResult<(u32, u32)> {
        self.serve(py, |c| c.nearest_rows(rows, others, neighbours, numbered(metric)?))
    }
}
