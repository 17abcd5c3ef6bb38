//! What each call does.

use std::sync::Arc;

use querist_core::Round;
use querist_protocol::philox::{ANY_ROUND, Stream};
use querist_protocol::{
    DesignOptions, Fault, FaultCode, Handle, HostCalls, KmeansOptions, LogLevel, Merge, Metric, QueryInfo, Reduction,
    Similarity, StreamScope, Uncertainty, names,
};

use super::Session;
use super::objects::Mask;
use crate::check;
use crate::closest;
use crate::control::Pacer;
use crate::design::Design;
use crate::distance;
use crate::facility::Facility;
use crate::graph::Graph;
use crate::head;
use crate::kmeans::{self, Clustering};
use crate::linkage;
use crate::matrix::{Matrix, Rows};
use crate::memory::{Charge, Charged};
use crate::mixture;
use crate::nearest::Nearest;
use crate::points::Points;
use crate::rank;

/// Bytes of a stream's tag at most.
const TAG_BYTES: usize = 256;

impl HostCalls for Session {
    fn release(&self, handle: Handle) {
        self.objects.borrow_mut().release(handle);
    }

    fn info(&self) -> QueryInfo {
        QueryInfo { rows: self.visible.len() as u32, first_row: self.visible.start as u32, ..self.shared.info }
    }

    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let range = check::range(start, count, self.visible.len(), "sample ids")?;
        self.copy_out(&self.shared.setup.arrays.ids()[self.visible.clone()][range])
    }

    fn input(&self, name: &str) -> Result<Handle, Fault> {
        self.new_matrix(self.input_matrix(name)?)
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let array = self.shared.array(name)?;
        let Some(values) = array.as_u32() else {
            let message = format!("`{name}` holds {}, read it with `input`", array.values().type_name());
            return Err(Fault::new(FaultCode::BadArgument, message));
        };
        let range = check::range(start, count, values.len(), "labels")?;
        if name == names::ORACLE_LABELS {
            self.shared.reveal(range.clone(), &values[range.clone()])?;
        }
        self.copy_out(&values[range])
    }

    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        self.control().write_log(level, message)
    }

    fn panicked(&self, message: &str) {
        self.control().set_panic(message);
    }

    fn progress(&self, done: u64, total: u64) -> Result<(), Fault> {
        self.control().set_progress(done, total);
        self.control().check()
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault> {
        check::argument(tag.len() <= TAG_BYTES, || {
            format!("a stream's tag has at most {TAG_BYTES} bytes, this one {}", tag.len())
        })?;
        let setup = &self.shared.setup;
        let round = if scope == StreamScope::Round { setup.round } else { Round(ANY_ROUND) };
        self.insert(setup.streams.stream(tag, round))
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault> {
        let _room = Charge::of::<f64>(self.control(), count as usize)?;
        let mut pacer = Pacer::new(self.control());
        let mut uniforms = Vec::with_capacity(count as usize);
        self.with::<Stream, _>(stream, |stream| {
            for _ in 0..count {
                pacer.spend(16)?;
                uniforms.push(stream.next_uniform());
            }
            Ok(())
        })??;
        Ok(uniforms)
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault> {
        check::argument(step < 1 << 31, || format!("step {step} is not below 2^31"))?;
        let stream = self.with::<Stream, _>(stream, |stream| *stream)?;
        let ids = &self.shared.setup.arrays.ids()[self.visible.clone()];
        let mut values = Charged::filled(self.control(), ids.len(), 0.0)?;
        self.workers().fill(&mut values, 1 << 14, |start, out| {
            for (out, &id) in out.iter_mut().zip(&ids[start..]) {
                *out = stream.item_uniform(id, step);
            }
            Ok(())
        })?;
        self.new_vector(values)
    }

    fn vector(&self, values: &[f64]) -> Result<Handle, Fault> {
        if let Some(at) = values.iter().position(|value| value.is_nan()) {
            return Err(Fault::new(FaultCode::NonFinite, format!("value {at} of the vector is NaN")));
        }
        check::range(0, u32::try_from(values.len()).unwrap_or(u32::MAX), values.len(), "values")?;
        self.new_vector(Charged::copied(self.control(), values)?)
    }

    fn vector_len(&self, vector: Handle) -> Result<u32, Fault> {
        Ok(self.get::<Arc<Charged<f64>>>(vector)?.len() as u32)
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault> {
        let vector = self.get::<Arc<Charged<f64>>>(vector)?;
        self.copy_out(&vector[check::range(start, count, vector.len(), "values")?])
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault> {
        let values = self.get::<Arc<Charged<f64>>>(vector)?;
        let second = second.map(|second| self.get::<Arc<Charged<f64>>>(second)).transpose()?;
        if let Some(second) = &second {
            check::same(second.len(), values.len(), "length of the tie-breaker")?;
        }
        let excluded = self.get_excluded(excluded, values.len())?;
        let second = second.as_deref().map(|second| &**second);
        rank::top(self.workers(), &values, second, count as usize, excluded.as_deref())
    }

    fn vector_draw(&self, vector: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        let weights = self.get::<Arc<Charged<f64>>>(vector)?;
        check::weights(&weights)?;
        let excluded = self.get_excluded(excluded, weights.len())?;
        let u = self.with::<Stream, _>(stream, Stream::next_uniform)?;
        rank::draw(&weights, excluded.as_deref(), u)
    }

    fn mask(&self, rows: u32) -> Result<Handle, Fault> {
        let excluded = Arc::new(Charged::filled(self.control(), rows as usize, false)?);
        self.insert(Mask { excluded, count: 0 })
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.with::<Mask, _>(mask, |mask| mask.exclude(rows))?
    }

    fn mask_count(&self, mask: Handle) -> Result<u32, Fault> {
        self.with::<Mask, _>(mask, |mask| mask.count)
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault> {
        let (rows, columns) = (rows as usize, columns as usize);
        check::same(values.len(), check::product(rows, columns)?, "values of the matrix")?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let message = format!("the value in row {}, column {} is {}", at / columns, at % columns, values[at]);
            return Err(Fault::new(FaultCode::NonFinite, message));
        }
        self.new_matrix(Matrix::of_values(Charged::copied(self.control(), values)?, rows, columns))
    }

    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault> {
        let matrix = self.get_rows(matrix)?.matrix;
        Ok((matrix.rows() as u32, matrix.columns() as u32))
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault> {
        let matrix = self.get_far_matrix(matrix)?;
        let range = check::range(start, count, matrix.rows(), "rows")?;
        self.copy_rows_out(&matrix, range)
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault> {
        let matrix = self.get_rows(matrix)?;
        check::rows(rows, matrix.matrix.rows())?;
        self.new_matrix(matrix.gather(self.workers(), rows)?)
    }

    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault> {
        self.insert(Rows { matrix: self.get_far_matrix(matrix)?, normalised: true })
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault> {
        let matrix = self.get_far_matrix(matrix)?;
        self.new_vector(matrix.sq_norms(self.workers())?)
    }

    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault> {
        self.get_far_matrix(matrix)?.mean(self.workers())
    }

    fn matrix_product(&self, left: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault> {
        let (left, right) = (self.get_far_matrix(left)?, self.get_matrix(right)?);
        self.new_matrix(left.product(self.workers(), &right, transpose_right)?)
    }

    fn softmax(&self, logits: Handle) -> Result<Handle, Fault> {
        self.softmax_of(logits, false)
    }

    fn residual(&self, logits: Handle) -> Result<Handle, Fault> {
        self.softmax_of(logits, true)
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault> {
        let (first, second) = self.uncertainty_of(&self.get_far_matrix(logits)?, measure)?;
        let first = self.new_vector(first)?;
        let second = self.new_vector(second).inspect_err(|_| self.release(first))?;
        Ok((first, second))
    }

    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        metric: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault> {
        let (rows, centres) = (self.get_far_matrix(rows)?, self.get_matrix(centres)?);
        check::same(centres.columns(), rows.columns(), "columns of the centres")?;
        let rows = Points::plain(self.workers(), rows)?;
        let centres = Points::plain(self.workers(), centres)?;
        self.new_vector(distance::reduce(self.workers(), &rows, &centres, metric, reduction)?)
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, metric: Metric) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_matrix(rows)?)?;
        self.new_vector(closest::neighbour_distance(self.workers(), &points, neighbours as usize, metric)?)
    }

    fn nearest_rows(
        &self,
        rows: Handle,
        others: Handle,
        neighbours: u32,
        metric: Metric,
    ) -> Result<(Handle, Handle), Fault> {
        let rows = Points::plain(self.workers(), self.get_far_matrix(rows)?)?;
        let others = Points::plain(self.workers(), self.get_matrix(others)?)?;
        let (numbers, distances) = closest::nearest_rows(self.workers(), &rows, &others, neighbours as usize, metric)?;
        let numbers = self.new_vector(numbers)?;
        let distances = self.new_vector(distances).inspect_err(|_| self.release(numbers))?;
        Ok((numbers, distances))
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, metric: Metric) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_matrix(rows)?)?;
        self.insert(Arc::new(Graph::within(self.workers(), &points, radius, metric)?))
    }

    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault> {
        let graph = self.get::<Arc<Graph>>(graph)?;
        let mut degrees = Charged::filled(self.control(), graph.rows(), 0.0)?;
        for (row, degree) in degrees.iter_mut().enumerate() {
            *degree = graph.neighbours(row).len() as f64;
        }
        self.new_vector(degrees)
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault> {
        let graph = self.get::<Arc<Graph>>(graph)?;
        check::rows(&[row], graph.rows())?;
        self.copy_out(graph.neighbours(row as usize))
    }

    fn points(&self, matrix: Handle) -> Result<Handle, Fault> {
        let points = Points::plain(self.workers(), self.get_far_matrix(matrix)?)?;
        self.insert(Arc::new(points))
    }

    fn outer_products(&self, left: Handle, right: Handle) -> Result<Handle, Fault> {
        let points = Points::factored(self.workers(), self.get_far_matrix(left)?, self.get_far_matrix(right)?)?;
        self.insert(Arc::new(points))
    }

    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault> {
        let points = self.get::<Arc<Points>>(points)?;
        self.new_vector(Charged::copied(self.control(), points.sq_norms())?)
    }

    fn nearest(&self, points: Handle, metric: Metric) -> Result<Handle, Fault> {
        let engine = Nearest::new(self.workers(), self.get::<Arc<Points>>(points)?, metric, None)?;
        self.insert(Box::new(engine))
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.work::<Nearest, _>(nearest, |engine| engine.add(self.workers(), rows))
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault> {
        let points = self.get::<Arc<Points>>(points)?;
        self.work::<Nearest, _>(nearest, |engine| engine.add_points(self.workers(), points))
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        self.work::<Nearest, _>(nearest, |engine| {
            let excluded = self.get_excluded(excluded, engine.rows())?;
            engine.farthest(self.workers(), excluded.as_deref())
        })
    }

    fn nearest_draw(&self, nearest: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        self.work::<Nearest, _>(nearest, |engine| {
            let excluded = self.get_excluded(excluded, engine.rows())?;
            let u = self.with::<Stream, _>(stream, Stream::next_uniform)?;
            engine.draw(self.workers(), excluded.as_deref(), u)
        })
    }

    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault> {
        let values = self.work::<Nearest, _>(nearest, |engine| engine.values(self.workers()))?;
        self.new_vector(values)
    }

    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        stream: Handle,
    ) -> Result<Handle, Fault> {
        let rows = self.get_far_matrix(rows)?;
        let weights = weights.map(|weights| self.get::<Arc<Charged<f64>>>(weights)).transpose()?;
        let mut numbers = self.with::<Stream, _>(stream, |stream| *stream)?;
        let clustering = kmeans::kmeans(self.workers(), &rows, weights, options, &mut numbers)?;
        self.with::<Stream, _>(stream, |stream| *stream = numbers)?;
        self.insert(Arc::new(clustering))
    }

    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault> {
        Ok(self.get::<Arc<Clustering>>(clustering)?.sizes())
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        let clustering = self.get::<Arc<Clustering>>(clustering)?;
        let clusters = clustering.clusters();
        self.copy_out(&clusters[check::range(start, count, clusters.len(), "rows")?])
    }

    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault> {
        let centres = self.get::<Arc<Clustering>>(clustering)?.centres().clone();
        self.new_matrix(centres)
    }

    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault> {
        Ok(self.get::<Arc<Clustering>>(clustering)?.inertia())
    }

    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault> {
        let clustering = self.get::<Arc<Clustering>>(clustering)?;
        let excluded = self.get_excluded(excluded, clustering.clusters().len())?;
        Ok(clustering.representatives(excluded.as_deref()))
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        let ids = self.shared.setup.arrays.labelled_ids();
        self.copy_out(&ids[check::range(start, count, ids.len(), "labelled ids")?])
    }

    fn matrix_stack(&self, top: Handle, bottom: Handle) -> Result<Handle, Fault> {
        let (top, bottom) = (self.get_far_matrix(top)?, self.get_far_matrix(bottom)?);
        check::same(bottom.columns(), top.columns(), "columns of the bottom matrix")?;
        let rows = top.rows() + bottom.rows();
        check::argument(u32::try_from(rows).is_ok(), || format!("{rows} rows are too many for one matrix"))?;
        self.new_matrix(top.stack(self.workers(), &bottom)?)
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault> {
        let (rows, references) = (self.get_rows(rows)?, self.get_matrix(references)?);
        let weights = weights.map(|weights| self.get::<Arc<Charged<f64>>>(weights)).transpose()?;
        let engine = Facility::new(self.workers(), rows, references, weights, similarity)?;
        self.insert(Box::new(engine))
    }

    fn average_linkage(&self, rows: Handle, metric: Metric) -> Result<Vec<Merge>, Fault> {
        let rows = self.get_matrix(rows)?;
        // The merges, and what is remembered of each cluster.
        let _room = Charge::of::<[u64; 8]>(self.control(), rows.rows())?;
        linkage::average(self.workers(), &rows, metric)
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault> {
        self.work::<Facility, _>(facility, |engine| engine.add(self.workers(), rows))
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault> {
        let others = self.get_matrix(others)?;
        self.work::<Facility, _>(facility, |engine| engine.add_others(self.workers(), others))
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        self.work::<Facility, _>(facility, |engine| {
            let excluded = self.get_excluded(excluded, engine.len())?;
            engine.best(self.workers(), excluded.as_deref())
        })
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault> {
        let log_probs = self.get_far_matrix(log_probs)?;
        let (weights, shares) = (self.get::<Arc<Charged<f64>>>(weights)?, self.get::<Arc<Charged<f64>>>(shares)?);
        self.new_vector(mixture::entropy(self.workers(), &log_probs, &weights, &shares)?)
    }

    fn design(
        &self,
        factors: Handle,
        embeddings: Handle,
        labelled_factors: Handle,
        labelled_embeddings: Handle,
        options: DesignOptions,
    ) -> Result<Handle, Fault> {
        let pool = self.get_blocks(factors, embeddings)?;
        let labelled = self.get_blocks(labelled_factors, labelled_embeddings)?;
        let design = Design::new(self.workers(), pool, labelled, options)?;
        self.insert(Box::new(design))
    }

    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        self.work::<Design, _>(design, |design| design.best(self.workers()))
    }

    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        self.work::<Design, _>(design, |design| design.least())
    }

    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault> {
        self.work::<Design, _>(design, |design| design.add(self.workers(), row))
    }

    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault> {
        self.work::<Design, _>(design, |design| design.remove(self.workers(), row))
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        self.shared.check_declared(name)?;
        Ok(self.shared.setup.arrays.has(name))
    }

    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault> {
        let (head, embeddings) = self.head_and(embeddings)?;
        self.new_matrix(head::logits(self.workers(), head, &embeddings)?)
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault> {
        let (head, embeddings) = self.head_and(embeddings)?;
        self.new_matrix(head::gradients(self.workers(), head, &embeddings, classes)?)
    }
}
