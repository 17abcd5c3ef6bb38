//! The host's side of the C tables.

use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use querist_core::HostServices;
use querist_kernels::{Control, Session};
use querist_protocol::abi::{
    self, Bytes, Call, Design, FailKind, HostApi, ImageBatch, Info, Kmeans, Merge, NO_HANDLE, NO_ROW, Outputs, Status,
    StreamSpec, Task, Tensor, TorchApi,
};
use querist_protocol::{
    DesignOptions, Fault, FaultCode, Handle, HostCalls, Init, KmeansOptions, LogLevel, Metric, QueryInfo, Reduction,
    Similarity, SimilarityKind, StreamScope, Uncertainty,
};

use super::dlpack;
use crate::asking::MAX_DIAGNOSTICS;

/// Bytes of a text that a plugin hands in at most, where no other limit holds.
const MAX_TEXT: usize = 16 << 20;
/// Rows of one open stream that a plugin picks at most.
const MAX_STREAM_ROWS: usize = u32::MAX as usize;

/// What one call into a plugin can reach, and what the plugin answered.
pub(crate) struct Context<'a> {
    session: &'a Session,
    services: Option<&'a dyn HostServices>,
    /// Bytes of state that are taken.
    state_limit: usize,
    fault: RefCell<String>,
    reply: RefCell<Reply>,
}

/// What a plugin answered.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) text: Option<String>,
    /// Handles of scores and tie-breakers.
    pub(crate) scores: Option<(Handle, Option<Handle>)>,
    /// Rows, and a score for each or none.
    pub(crate) rows: Option<(Vec<u32>, Vec<f64>)>,
    pub(crate) diagnostics: Vec<(String, f64)>,
    pub(crate) state: Option<Vec<u8>>,
    /// Why there is no answer.
    pub(crate) failure: Option<(FailKind, Status, String)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(session: &'a Session, services: Option<&'a dyn HostServices>, state_limit: usize) -> Self {
        Self { session, services, state_limit, fault: RefCell::default(), reply: RefCell::default() }
    }

    /// The pointer that a plugin is handed; good for as long as the context is not moved.
    pub(crate) fn call(&self) -> *mut Call {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    pub(crate) fn into_reply(self) -> Reply {
        self.reply.into_inner()
    }

    fn control(&self) -> &Control {
        self.session.control()
    }

    fn services(&self) -> Result<&'a dyn HostServices, Fault> {
        self.services.ok_or_else(|| {
            Fault::new(FaultCode::NotDeclared, "images and model are not within reach of this call of the plugin")
        })
    }
}

/// The table for plugins, with or without services over libtorch.
pub(crate) fn host_api(torch: bool) -> &'static HostApi {
    if torch { &WITH_TORCH } else { &PLAIN }
}

static PLAIN: HostApi = api(std::ptr::null());
static WITH_TORCH: HostApi = api(&raw const TORCH);

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(FaultCode::BadArgument, message)
}

/// Runs a host function: a fault becomes its number, and its sentence is kept for `fault_text`.
fn serve(call: *mut Call, body: impl FnOnce(&Context<'_>) -> Result<(), Fault>) -> Status {
    if call.is_null() {
        return FaultCode::BadHandle.status();
    }
    // SAFETY: a plugin hands back the pointer that it got for this call; the table's documentation says so.
    let context = unsafe { &*call.cast::<Context<'_>>() };
    // A panic must not unwind through the plugin.
    let result = catch_unwind(AssertUnwindSafe(|| body(context)))
        .unwrap_or_else(|_| Err(bad("the host failed in this call; please report this")));
    match result {
        Ok(()) => abi::OK,
        Err(fault) => {
            *context.fault.borrow_mut() = fault.message;
            fault.code.status()
        }
    }
}

/// Writes a result to the plugin's variable.
fn put<T>(out: *mut T, value: T) -> Result<(), Fault> {
    if out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    // SAFETY: the plugin provides room for one value; the table's documentation says so.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes a list whose length the plugin asked for.
fn put_all<T: Copy>(out: *mut T, values: &[T]) -> Result<(), Fault> {
    if values.is_empty() {
        return Ok(());
    }
    if out.is_null() {
        return Err(bad("the place for the list is null"));
    }
    // SAFETY: the plugin provides room for as many values as it asked for.
    unsafe { out.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// Writes a list if there is room, and its length in any case.
fn put_measured<T: Copy>(out: *mut T, capacity: u32, count: *mut u32, values: &[T]) -> Result<(), Fault> {
    let len = u32::try_from(values.len()).map_err(|_| bad("a list of more than 32 bits"))?;
    put(count, len)?;
    if len <= capacity { put_all(out, values) } else { Ok(()) }
}

fn slice<'a, T>(data: *const T, count: usize) -> Result<&'a [T], Fault> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(bad(format!("a list of {count} values that is null, not aligned or too long")));
    }
    // SAFETY: the plugin says that so many values lie there.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

fn text<'a>(bytes: Bytes) -> Result<&'a str, Fault> {
    if bytes.len > MAX_TEXT {
        return Err(Fault::new(FaultCode::Quota, format!("a text of {} bytes, the limit is {MAX_TEXT}", bytes.len)));
    }
    std::str::from_utf8(slice(bytes.data, bytes.len)?).map_err(|_| bad("a text that is not UTF-8"))
}

fn handle(handle: u32) -> Option<Handle> {
    (handle != NO_HANDLE).then_some(handle)
}

fn row(row: Option<u32>) -> u32 {
    row.unwrap_or(NO_ROW)
}

fn metric(number: u32) -> Result<Metric, Fault> {
    match number {
        0 => Ok(Metric::SqEuclidean),
        1 => Ok(Metric::Euclidean),
        2 => Ok(Metric::Cosine),
        other => Err(bad(format!("metric {other}, expected 0 to 2"))),
    }
}

macro_rules! functions {
    // Functions whose body gives one value for the last argument.
    ($(fn $name:ident($c:ident $(, $arg:ident: $kind:ty)*) -> $out:ty $body:block)*) => {
        $(unsafe extern "C" fn $name(call: *mut Call $(, $arg: $kind)*, out: *mut $out) -> Status {
            serve(call, |$c| put(out, $body))
        })*
    };
}

macro_rules! actions {
    // Functions without a result of that kind.
    ($(fn $name:ident($c:ident $(, $arg:ident: $kind:ty)* $(,)?) $body:block)*) => {
        $(unsafe extern "C" fn $name(call: *mut Call $(, $arg: $kind)*) -> Status {
            serve(call, |$c| $body)
        })*
    };
}

unsafe extern "C" fn fail(call: *mut Call, kind: FailKind, fault: Status, message: Bytes) {
    serve(call, |c| {
        let message = text(message).map_or_else(|_| "a message that is no text".to_owned(), str::to_owned);
        // The first reason counts; what follows is its consequence.
        c.reply.borrow_mut().failure.get_or_insert((kind, fault, message));
        Ok(())
    });
}

unsafe extern "C" fn fault_text(call: *mut Call, out: *mut u8, capacity: usize) -> usize {
    let mut len = 0;
    serve(call, |c| {
        let fault = c.fault.borrow();
        len = fault.len();
        put_all(out, &fault.as_bytes()[..len.min(capacity)])
    });
    len
}

unsafe extern "C" fn release(call: *mut Call, handle: u32) {
    serve(call, |c| {
        c.session.release(handle);
        Ok(())
    });
}

actions! {
    fn answer_text(c, json: Bytes) {
        let json = text(json)?.to_owned();
        c.reply.borrow_mut().text = Some(json);
        Ok(())
    }
    fn answer_scores(c, primary: u32, second: u32) {
        c.reply.borrow_mut().scores = Some((primary, handle(second)));
        Ok(())
    }
    fn answer_rows(c, rows: *const u32, scores: *const f64, count: usize) {
        let visible = c.session.info().rows as usize;
        if count > visible {
            return Err(Fault::new(FaultCode::Quota, format!("{count} rows of a pool of {visible}")));
        }
        let scores = if scores.is_null() { &[] } else { slice(scores, count)? };
        c.reply.borrow_mut().rows = Some((slice(rows, count)?.to_vec(), scores.to_vec()));
        Ok(())
    }
    fn answer_diagnostic(c, name: Bytes, value: f64) {
        let (name, mut reply) = (text(name)?, c.reply.borrow_mut());
        if reply.diagnostics.len() >= MAX_DIAGNOSTICS {
            return Err(Fault::new(FaultCode::Quota, format!("more than {MAX_DIAGNOSTICS} diagnostics")));
        }
        reply.diagnostics.push((name.to_owned(), value));
        Ok(())
    }
    fn answer_state(c, state: Bytes) {
        if state.len > c.state_limit {
            let message = format!("a state of {} bytes, the limit is {}", state.len, c.state_limit);
            return Err(Fault::new(FaultCode::Quota, message));
        }
        c.reply.borrow_mut().state = Some(slice(state.data, state.len)?.to_vec());
        Ok(())
    }
    fn ids(c, start: u32, count: u32, out: *mut u64) {
        put_all(out, &c.session.ids(start, count)?)
    }
    fn labels(c, name: Bytes, start: u32, count: u32, out: *mut u32) {
        put_all(out, &c.session.labels(text(name)?, start, count)?)
    }
    fn log(c, level: u32, message: Bytes) {
        let level = match level {
            0 => LogLevel::Debug,
            1 => LogLevel::Info,
            2 => LogLevel::Warning,
            other => return Err(bad(format!("log level {other}, expected 0 to 2"))),
        };
        c.session.log(level, text(message)?)
    }
    fn progress(c, done: u64, total: u64) {
        c.session.progress(done, total)?;
        c.control().check()
    }
    fn stream_uniforms(c, stream: u32, count: u32, out: *mut f64) {
        put_all(out, &c.session.stream_uniforms(stream, count)?)
    }
    fn vector_read(c, vector: u32, start: u32, count: u32, out: *mut f64) {
        put_all(out, &c.session.vector_read(vector, start, count)?)
    }
    fn vector_top(c, vector: u32, second: u32, count: u32, excluded: u32, out: *mut u32, written: *mut u32) {
        let rows = c.session.vector_top(vector, handle(second), count, handle(excluded))?;
        put_all(out, &rows)?;
        put(written, rows.len() as u32)
    }
    fn mask_exclude(c, mask: u32, rows: *const u32, count: usize) {
        c.session.mask_exclude(mask, slice(rows, count)?)
    }
    fn matrix_shape(c, matrix: u32, rows: *mut u32, columns: *mut u32) {
        let shape = c.session.matrix_shape(matrix)?;
        put(rows, shape.0)?;
        put(columns, shape.1)
    }
    fn matrix_read(c, matrix: u32, start: u32, count: u32, out: *mut f32, capacity: usize) {
        let (_, columns) = c.session.matrix_shape(matrix)?;
        if u64::from(count) * u64::from(columns) > capacity as u64 {
            return Err(bad(format!("{count} rows of {columns} values do not fit in room for {capacity}")));
        }
        put_all(out, &c.session.matrix_read(matrix, start, count)?)
    }
    fn matrix_mean(c, matrix: u32, out: *mut f64, capacity: u32, count: *mut u32) {
        put_measured(out, capacity, count, &c.session.matrix_mean(matrix)?)
    }
    fn uncertainty(c, logits: u32, measure: u32, vector: *mut u32, second: *mut u32) {
        let measure = match measure {
            0 => Uncertainty::LeastConfidence,
            1 => Uncertainty::Margin,
            2 => Uncertainty::Ratio,
            3 => Uncertainty::Entropy,
            other => return Err(bad(format!("uncertainty {other}, expected 0 to 3"))),
        };
        let handles = c.session.uncertainty(logits, measure)?;
        put(vector, handles.0)?;
        put(second, handles.1)
    }
    fn graph_neighbours(c, graph: u32, row: u32, out: *mut u32, capacity: u32, count: *mut u32) {
        put_measured(out, capacity, count, &c.session.graph_neighbours(graph, row)?)
    }
    fn nearest_add(c, nearest: u32, rows: *const u32, count: usize) {
        c.session.nearest_add(nearest, slice(rows, count)?)
    }
    fn nearest_add_points(c, nearest: u32, points: u32) {
        c.session.nearest_add_points(nearest, points)
    }
    fn nearest_farthest(c, nearest: u32, excluded: u32, out: *mut u32, distance: *mut f64) {
        let found = c.session.nearest_farthest(nearest, handle(excluded))?;
        put(out, row(found.map(|found| found.0)))?;
        put(distance, found.map_or(0.0, |found| found.1))
    }
    fn labelled_ids(c, start: u32, count: u32, out: *mut u64) {
        put_all(out, &c.session.labelled_ids(start, count)?)
    }
    fn facility_add(c, facility: u32, rows: *const u32, count: usize) {
        c.session.facility_add(facility, slice(rows, count)?)
    }
    fn facility_add_others(c, facility: u32, others: u32) {
        c.session.facility_add_others(facility, others)
    }
    fn facility_best(c, facility: u32, excluded: u32, out: *mut u32, gain: *mut f64) {
        let found = c.session.facility_best(facility, handle(excluded))?;
        put(out, row(found.map(|found| found.0)))?;
        put(gain, found.map_or(0.0, |found| found.1))
    }
    fn average_linkage(c, rows: u32, distance: u32, out: *mut Merge, capacity: u32, count: *mut u32) {
        let merges = c.session.average_linkage(rows, metric(distance)?)?;
        let merges: Vec<Merge> = merges.iter().map(|m| Merge { left: m.left, right: m.right, height: m.height }).collect();
        put_measured(out, capacity, count, &merges)
    }
    fn design_best(c, design: u32, out: *mut u32, fall: *mut f64) {
        let found = c.session.design_best(design)?;
        put(out, row(found.map(|found| found.0)))?;
        put(fall, found.map_or(0.0, |found| found.1))
    }
    fn design_least(c, design: u32, out: *mut u32, rise: *mut f64) {
        let found = c.session.design_least(design)?;
        put(out, row(found.map(|found| found.0)))?;
        put(rise, found.map_or(0.0, |found| found.1))
    }
    fn design_add(c, design: u32, row: u32) {
        c.session.design_add(design, row)
    }
    fn design_remove(c, design: u32, row: u32) {
        c.session.design_remove(design, row)
    }
    fn clustering_sizes(c, clustering: u32, out: *mut u32, capacity: u32, count: *mut u32) {
        put_measured(out, capacity, count, &c.session.clustering_sizes(clustering)?)
    }
    fn clustering_read(c, clustering: u32, start: u32, count: u32, out: *mut u32) {
        put_all(out, &c.session.clustering_read(clustering, start, count)?)
    }
    fn clustering_representatives(c, clustering: u32, excluded: u32, out: *mut u32, capacity: u32, count: *mut u32) {
        let found = c.session.clustering_representatives(clustering, handle(excluded))?;
        put_measured(out, capacity, count, &found.into_iter().map(row).collect::<Vec<_>>())
    }
}

functions! {
    fn info(c) -> Info {
        let QueryInfo { rows, first_row, labelled_rows, classes, batch, round } = c.session.info();
        Info { rows, first_row, labelled_rows, classes, batch, round }
    }
    fn input(c, name: Bytes) -> u32 { c.session.input(text(name)?)? }
    fn stream(c, tag: Bytes, scope: u32) -> u32 {
        let scope = match scope {
            0 => StreamScope::Round,
            1 => StreamScope::Run,
            other => return Err(bad(format!("stream scope {other}, expected 0 or 1"))),
        };
        c.session.stream(text(tag)?, scope)?
    }
    fn stream_by_row(c, stream: u32, step: u32) -> u32 { c.session.stream_by_row(stream, step)? }
    fn vector(c, values: *const f64, count: usize) -> u32 { c.session.vector(slice(values, count)?)? }
    fn vector_len(c, vector: u32) -> u32 { c.session.vector_len(vector)? }
    fn vector_draw(c, vector: u32, stream: u32, excluded: u32) -> u32 {
        row(c.session.vector_draw(vector, stream, handle(excluded))?)
    }
    fn mask(c, rows: u32) -> u32 { c.session.mask(rows)? }
    fn mask_count(c, mask: u32) -> u32 { c.session.mask_count(mask)? }
    fn matrix(c, rows: u32, columns: u32, values: *const f32) -> u32 {
        c.session.matrix(rows, columns, slice(values, rows as usize * columns as usize)?)?
    }
    fn matrix_gather(c, matrix: u32, rows: *const u32, count: usize) -> u32 {
        c.session.matrix_gather(matrix, slice(rows, count)?)?
    }
    fn matrix_normalise(c, matrix: u32) -> u32 { c.session.matrix_normalise(matrix)? }
    fn matrix_sq_norms(c, matrix: u32) -> u32 { c.session.matrix_sq_norms(matrix)? }
    fn matrix_product(c, left: u32, right: u32, transpose_right: bool) -> u32 {
        c.session.matrix_product(left, right, transpose_right)?
    }
    fn softmax(c, logits: u32) -> u32 { c.session.softmax(logits)? }
    fn residual(c, logits: u32) -> u32 { c.session.residual(logits)? }
    fn distance_reduce(c, rows: u32, centres: u32, distance: u32, reduction: u32, radius: f64) -> u32 {
        let reduction = match reduction {
            0 => Reduction::Min,
            1 => Reduction::Argmin,
            2 => Reduction::Sum,
            3 => Reduction::CountWithin(radius),
            other => return Err(bad(format!("reduction {other}, expected 0 to 3"))),
        };
        c.session.distance_reduce(rows, centres, metric(distance)?, reduction)?
    }
    fn neighbour_distance(c, rows: u32, neighbours: u32, distance: u32) -> u32 {
        c.session.neighbour_distance(rows, neighbours, metric(distance)?)?
    }
    fn neighbours_within(c, rows: u32, radius: f64, distance: u32) -> u32 {
        c.session.neighbours_within(rows, radius, metric(distance)?)?
    }
    fn graph_degrees(c, graph: u32) -> u32 { c.session.graph_degrees(graph)? }
    fn points(c, matrix: u32) -> u32 { c.session.points(matrix)? }
    fn points_factored(c, left: u32, right: u32) -> u32 { c.session.points_factored(left, right)? }
    fn points_sq_norms(c, points: u32) -> u32 { c.session.points_sq_norms(points)? }
    fn nearest(c, points: u32, distance: u32) -> u32 { c.session.nearest(points, metric(distance)?)? }
    fn nearest_draw(c, nearest: u32, stream: u32, excluded: u32) -> u32 {
        row(c.session.nearest_draw(nearest, stream, handle(excluded))?)
    }
    fn nearest_values(c, nearest: u32) -> u32 { c.session.nearest_values(nearest)? }
    fn kmeans(c, rows: u32, weights: u32, options: *const Kmeans, stream: u32) -> u32 {
        let &[Kmeans { clusters, restarts, max_iterations, init, tolerance }] = slice(options, 1)? else {
            return Err(bad("no settings of k-means"));
        };
        let init = match init {
            0 => Init::KmeansPlusPlus,
            1 => Init::RandomPoints,
            other => return Err(bad(format!("placement of centres {other}, expected 0 or 1"))),
        };
        let options = KmeansOptions { clusters, restarts, max_iterations, tolerance, init };
        c.session.kmeans(rows, handle(weights), options, stream)?
    }
    fn matrix_stack(c, top: u32, bottom: u32) -> u32 { c.session.matrix_stack(top, bottom)? }
    fn facility(c, rows: u32, references: u32, weights: u32, kind: u32, width: f64) -> u32 {
        let kind = match kind {
            0 => SimilarityKind::Rbf,
            1 => SimilarityKind::Laplace,
            2 => SimilarityKind::Student,
            3 => SimilarityKind::Cauchy,
            4 => SimilarityKind::TopHat,
            other => return Err(bad(format!("similarity {other}, expected 0 to 4"))),
        };
        c.session.facility(rows, references, handle(weights), Similarity { kind, width })?
    }
    fn mixture_entropy(c, log_probs: u32, weights: u32, shares: u32) -> u32 {
        c.session.mixture_entropy(log_probs, weights, shares)?
    }
    fn design(
        c,
        pool_factors: u32,
        pool_embeddings: u32,
        labelled_factors: u32,
        labelled_embeddings: u32,
        options: *const Design
    ) -> u32 {
        let &[Design { rank, ridge, labelled_weight, added_weight }] = slice(options, 1)? else {
            return Err(bad("no settings of the design"));
        };
        let options = DesignOptions { rank, ridge, labelled_weight, added_weight };
        c.session.design((pool_factors, pool_embeddings), (labelled_factors, labelled_embeddings), options)?
    }
    fn has(c, name: Bytes) -> bool { c.session.has(text(name)?)? }
    fn head_logits(c, embeddings: u32) -> u32 { c.session.head_logits(embeddings)? }
    fn head_gradients(c, embeddings: u32, classes: *const u32, count: usize) -> u32 {
        c.session.head_gradients(embeddings, slice(classes, count)?)?
    }
    fn clustering_centres(c, clustering: u32) -> u32 { c.session.clustering_centres(clustering)? }
    fn clustering_inertia(c, clustering: u32) -> f64 { c.session.clustering_inertia(clustering)? }
    fn array_dlpack(c, name: Bytes) -> *mut c_void { dlpack::lend(c.session.declared_array(text(name)?)?)? }
}

const fn api(torch: *const TorchApi) -> HostApi {
    HostApi {
        size: size_of::<HostApi>() as u32,
        minor: abi::ABI_MINOR as u32,
        torch,
        fail,
        fault_text,
        answer_text,
        answer_scores,
        answer_rows,
        answer_diagnostic,
        answer_state,
        release,
        info,
        ids,
        input,
        labels,
        log,
        progress,
        stream,
        stream_uniforms,
        stream_by_row,
        vector,
        vector_len,
        vector_read,
        vector_top,
        vector_draw,
        mask,
        mask_exclude,
        mask_count,
        matrix,
        matrix_shape,
        matrix_read,
        matrix_gather,
        matrix_normalise,
        matrix_sq_norms,
        matrix_mean,
        matrix_product,
        softmax,
        residual,
        uncertainty,
        distance_reduce,
        neighbour_distance,
        neighbours_within,
        graph_degrees,
        graph_neighbours,
        points,
        points_factored,
        points_sq_norms,
        nearest,
        nearest_add,
        nearest_add_points,
        nearest_farthest,
        nearest_draw,
        nearest_values,
        kmeans,
        clustering_sizes,
        clustering_read,
        clustering_centres,
        clustering_inertia,
        clustering_representatives,
        array_dlpack,
        labelled_ids,
        matrix_stack,
        facility,
        facility_add,
        facility_add_others,
        facility_best,
        mixture_entropy,
        average_linkage,
        design,
        design_best,
        design_least,
        design_add,
        design_remove,
        has,
        head_logits,
        head_gradients,
    }
}

fn service<T>(result: Result<T, querist_core::ServiceError>) -> Result<T, Fault> {
    result.map_err(|error| bad(error.0))
}

fn tensor(tensor: Tensor) -> Result<Tensor, Fault> {
    if tensor.is_null() { Err(bad("a tensor that is null")) } else { Ok(tensor) }
}

static TORCH: TorchApi = TorchApi {
    size: size_of::<TorchApi>() as u32,
    minor: abi::ABI_MINOR as u32,
    task,
    open_stream,
    next_batch,
    close_stream,
    forward,
    head_forward,
    parameters,
    gradient_norms,
    log_metric,
    add_synthetic,
};

functions! {
    fn task(c) -> Task { c.services()?.task() }
    fn open_stream(c, spec: *const StreamSpec) -> u32 {
        let [spec] = slice(spec, 1)? else { return Err(bad("no settings of the stream")) };
        if spec.row_count > MAX_STREAM_ROWS {
            return Err(Fault::new(FaultCode::Quota, format!("a stream of {} rows", spec.row_count)));
        }
        let rows = if spec.of == 2 { slice(spec.rows, spec.row_count)? } else { &[] };
        service(c.services()?.open_stream(spec, text(spec.tag)?, rows))?
    }
    fn next_batch(c, stream: u32) -> ImageBatch {
        c.control().check()?;
        service(c.services()?.next_batch(stream))?
    }
    fn forward(c, images: Tensor, flags: u32) -> Outputs {
        c.control().check()?;
        // SAFETY: the plugin hands in a live tensor; the table's documentation says so.
        service(unsafe { c.services()?.forward(tensor(images)?, flags) })?
    }
    fn head_forward(c, embeddings: Tensor, flags: u32) -> Tensor {
        // SAFETY: as above.
        service(unsafe { c.services()?.head_forward(tensor(embeddings)?, flags) })?
    }
    fn gradient_norms(c, images: Tensor, targets: Tensor) -> Tensor {
        c.control().check()?;
        // SAFETY: as above.
        service(unsafe { c.services()?.gradient_norms(tensor(images)?, tensor(targets)?) })?
    }
}

actions! {
    fn close_stream(c, stream: u32) {
        c.services()?.close_stream(stream);
        Ok(())
    }
    fn parameters(c, out: *mut Tensor, capacity: u32, count: *mut u32) {
        let services = c.services()?;
        let tensors = service(services.parameters())?;
        if tensors.len() > capacity as usize {
            for &tensor in &tensors {
                // SAFETY: nobody else has seen it.
                unsafe { services.release(tensor) };
            }
            return put(count, tensors.len() as u32);
        }
        put_measured(out, capacity, count, &tensors)
    }
    fn log_metric(c, name: Bytes, value: f64) {
        service(c.services()?.log_metric(text(name)?, value))
    }
    fn add_synthetic(c, rows: *const u32, row_count: usize, images: Tensor) {
        if row_count > MAX_STREAM_ROWS {
            return Err(Fault::new(FaultCode::Quota, format!("{row_count} images to train on")));
        }
        // SAFETY: as above.
        service(unsafe { c.services()?.add_synthetic(slice(rows, row_count)?, tensor(images)?) })
    }
}
