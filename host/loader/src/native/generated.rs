//! The calls of native plugins, from the C table to the session.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use querist_protocol::HostCalls;
use querist_protocol::abi::table::*;
use querist_protocol::abi::{Bytes, Call, List, Status, numbered};

use super::context::{bad, handle, lend, put, record, row, serve, slice, text};

pub(super) static CALLS: CallTable = CallTable {
    size: size_of::<CallTable>() as u32,
    minor: ABI_MINOR as u32,
    release,
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
    matrix_stack,
    log,
    panicked,
    progress,
    info,
    ids,
    labelled_ids,
    has,
    input,
    labels,
    graph_degrees,
    graph_neighbours,
    clustering_sizes,
    clustering_read,
    clustering_centres,
    clustering_inertia,
    clustering_representatives,
    softmax,
    residual,
    uncertainty,
    distance_reduce,
    neighbour_distance,
    neighbours_within,
    kmeans,
    average_linkage,
    mixture_entropy,
    points,
    points_sq_norms,
    outer_products,
    nearest,
    nearest_add,
    nearest_add_points,
    nearest_farthest,
    nearest_draw,
    nearest_values,
    facility,
    facility_add,
    facility_add_others,
    facility_best,
    design,
    design_best,
    design_least,
    design_add,
    design_remove,
    head_logits,
    head_gradients,
    nearest_rows,
};

unsafe extern "C" fn release(call: *mut Call, handle: u32) -> Status {
    serve(call, |c| {
        c.session.release(handle);
        Ok(())
    })
}

unsafe extern "C" fn stream(call: *mut Call, tag: Bytes, scope: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.stream(text(tag)?, numbered(scope)?)?))
}

unsafe extern "C" fn stream_uniforms(call: *mut Call, stream: u32, count: u32, out: *mut List<f64>) -> Status {
    serve(call, |c| lend(c, out, c.session.stream_uniforms(stream, count)?))
}

unsafe extern "C" fn stream_by_row(call: *mut Call, stream: u32, step: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.stream_by_row(stream, step)?))
}

unsafe extern "C" fn vector(call: *mut Call, values: *const f64, values_count: usize, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.vector(slice(values, values_count)?)?))
}

unsafe extern "C" fn vector_len(call: *mut Call, vector: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.vector_len(vector)?))
}

unsafe extern "C" fn vector_read(call: *mut Call, vector: u32, start: u32, count: u32, out: *mut List<f64>) -> Status {
    serve(call, |c| lend(c, out, c.session.vector_read(vector, start, count)?))
}

unsafe extern "C" fn vector_top(
    call: *mut Call,
    vector: u32,
    second: u32,
    count: u32,
    excluded: u32,
    out: *mut List<u32>,
) -> Status {
    serve(call, |c| lend(c, out, c.session.vector_top(vector, handle(second), count, handle(excluded))?))
}

unsafe extern "C" fn vector_draw(
    call: *mut Call,
    vector: u32,
    numbers: u32,
    excluded: u32,
    out_row: *mut u32,
) -> Status {
    serve(call, |c| put(out_row, row(c.session.vector_draw(vector, numbers, handle(excluded))?)))
}

unsafe extern "C" fn mask(call: *mut Call, rows: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.mask(rows)?))
}

unsafe extern "C" fn mask_exclude(call: *mut Call, mask: u32, rows: *const u32, rows_count: usize) -> Status {
    serve(call, |c| c.session.mask_exclude(mask, slice(rows, rows_count)?))
}

unsafe extern "C" fn mask_count(call: *mut Call, mask: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.mask_count(mask)?))
}

unsafe extern "C" fn matrix(
    call: *mut Call,
    rows: u32,
    columns: u32,
    values: *const f32,
    values_count: usize,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.matrix(rows, columns, slice(values, values_count)?)?))
}

unsafe extern "C" fn matrix_shape(call: *mut Call, matrix: u32, out: *mut u32, out_second: *mut u32) -> Status {
    serve(call, |c| {
        let (first, second) = c.session.matrix_shape(matrix)?;
        put(out, first)?;
        put(out_second, second)
    })
}

unsafe extern "C" fn matrix_read(call: *mut Call, matrix: u32, start: u32, count: u32, out: *mut List<f32>) -> Status {
    serve(call, |c| lend(c, out, c.session.matrix_read(matrix, start, count)?))
}

unsafe extern "C" fn matrix_gather(
    call: *mut Call,
    matrix: u32,
    rows: *const u32,
    rows_count: usize,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.matrix_gather(matrix, slice(rows, rows_count)?)?))
}

unsafe extern "C" fn matrix_normalise(call: *mut Call, matrix: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.matrix_normalise(matrix)?))
}

unsafe extern "C" fn matrix_sq_norms(call: *mut Call, matrix: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.matrix_sq_norms(matrix)?))
}

unsafe extern "C" fn matrix_mean(call: *mut Call, matrix: u32, out: *mut List<f64>) -> Status {
    serve(call, |c| lend(c, out, c.session.matrix_mean(matrix)?))
}

unsafe extern "C" fn matrix_product(
    call: *mut Call,
    matrix: u32,
    right: u32,
    transpose_right: bool,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.matrix_product(matrix, right, transpose_right)?))
}

unsafe extern "C" fn matrix_stack(call: *mut Call, matrix: u32, bottom: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.matrix_stack(matrix, bottom)?))
}

unsafe extern "C" fn log(call: *mut Call, level: u32, message: Bytes) -> Status {
    serve(call, |c| c.session.log(numbered(level)?, text(message)?))
}

unsafe extern "C" fn panicked(call: *mut Call, message: Bytes) -> Status {
    serve(call, |c| {
        c.session.panicked(text(message)?);
        Ok(())
    })
}

unsafe extern "C" fn progress(call: *mut Call, done: u64, total: u64) -> Status {
    serve(call, |c| c.session.progress(done, total))
}

unsafe extern "C" fn info(call: *mut Call, out: *mut QueryInfo) -> Status {
    serve(call, |c| put(out, c.session.info().into()))
}

unsafe extern "C" fn ids(call: *mut Call, start: u32, count: u32, out: *mut List<u64>) -> Status {
    serve(call, |c| lend(c, out, c.session.ids(start, count)?))
}

unsafe extern "C" fn labelled_ids(call: *mut Call, start: u32, count: u32, out: *mut List<u64>) -> Status {
    serve(call, |c| lend(c, out, c.session.labelled_ids(start, count)?))
}

unsafe extern "C" fn has(call: *mut Call, name: Bytes, out: *mut bool) -> Status {
    serve(call, |c| put(out, c.session.has(text(name)?)?))
}

unsafe extern "C" fn input(call: *mut Call, name: Bytes, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.input(text(name)?)?))
}

unsafe extern "C" fn labels(call: *mut Call, name: Bytes, start: u32, count: u32, out: *mut List<u32>) -> Status {
    serve(call, |c| lend(c, out, c.session.labels(text(name)?, start, count)?))
}

unsafe extern "C" fn graph_degrees(call: *mut Call, graph: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.graph_degrees(graph)?))
}

unsafe extern "C" fn graph_neighbours(call: *mut Call, graph: u32, row: u32, out: *mut List<u32>) -> Status {
    serve(call, |c| lend(c, out, c.session.graph_neighbours(graph, row)?))
}

unsafe extern "C" fn clustering_sizes(call: *mut Call, clustering: u32, out: *mut List<u32>) -> Status {
    serve(call, |c| lend(c, out, c.session.clustering_sizes(clustering)?))
}

unsafe extern "C" fn clustering_read(
    call: *mut Call,
    clustering: u32,
    start: u32,
    count: u32,
    out: *mut List<u32>,
) -> Status {
    serve(call, |c| lend(c, out, c.session.clustering_read(clustering, start, count)?))
}

unsafe extern "C" fn clustering_centres(call: *mut Call, clustering: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.clustering_centres(clustering)?))
}

unsafe extern "C" fn clustering_inertia(call: *mut Call, clustering: u32, out: *mut f64) -> Status {
    serve(call, |c| put(out, c.session.clustering_inertia(clustering)?))
}

unsafe extern "C" fn clustering_representatives(
    call: *mut Call,
    clustering: u32,
    excluded: u32,
    out: *mut List<u32>,
) -> Status {
    serve(call, |c| {
        lend(c, out, c.session.clustering_representatives(clustering, handle(excluded))?.into_iter().map(row).collect())
    })
}

unsafe extern "C" fn softmax(call: *mut Call, logits: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.softmax(logits)?))
}

unsafe extern "C" fn residual(call: *mut Call, logits: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.residual(logits)?))
}

unsafe extern "C" fn uncertainty(
    call: *mut Call,
    logits: u32,
    measure: u32,
    out: *mut u32,
    out_second: *mut u32,
) -> Status {
    serve(call, |c| {
        let (first, second) = c.session.uncertainty(logits, numbered(measure)?)?;
        put(out, first)?;
        put(out_second, second)
    })
}

unsafe extern "C" fn distance_reduce(
    call: *mut Call,
    rows: u32,
    centres: u32,
    metric: u32,
    reduction: u32,
    reduction_value: f64,
    out: *mut u32,
) -> Status {
    serve(call, |c| {
        put(
            out,
            c.session.distance_reduce(
                rows,
                centres,
                numbered(metric)?,
                querist_protocol::Reduction::of_parts(reduction, reduction_value)
                    .ok_or_else(|| bad(format!("reduction {reduction} is unknown")))?,
            )?,
        )
    })
}

unsafe extern "C" fn neighbour_distance(
    call: *mut Call,
    rows: u32,
    neighbours: u32,
    metric: u32,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.neighbour_distance(rows, neighbours, numbered(metric)?)?))
}

unsafe extern "C" fn neighbours_within(call: *mut Call, rows: u32, radius: f64, metric: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.neighbours_within(rows, radius, numbered(metric)?)?))
}

unsafe extern "C" fn kmeans(
    call: *mut Call,
    rows: u32,
    weights: u32,
    options: *const KmeansOptions,
    numbers: u32,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.kmeans(rows, handle(weights), record(options)?, numbers)?))
}

unsafe extern "C" fn average_linkage(call: *mut Call, rows: u32, metric: u32, out: *mut List<Merge>) -> Status {
    serve(call, |c| {
        lend(c, out, c.session.average_linkage(rows, numbered(metric)?)?.into_iter().map(Merge::from).collect())
    })
}

unsafe extern "C" fn mixture_entropy(
    call: *mut Call,
    log_probs: u32,
    weights: u32,
    shares: u32,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.mixture_entropy(log_probs, weights, shares)?))
}

unsafe extern "C" fn points(call: *mut Call, rows: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.points(rows)?))
}

unsafe extern "C" fn points_sq_norms(call: *mut Call, points: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.points_sq_norms(points)?))
}

unsafe extern "C" fn outer_products(call: *mut Call, left: u32, right: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.outer_products(left, right)?))
}

unsafe extern "C" fn nearest(call: *mut Call, points: u32, metric: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.nearest(points, numbered(metric)?)?))
}

unsafe extern "C" fn nearest_add(call: *mut Call, nearest: u32, rows: *const u32, rows_count: usize) -> Status {
    serve(call, |c| c.session.nearest_add(nearest, slice(rows, rows_count)?))
}

unsafe extern "C" fn nearest_add_points(call: *mut Call, nearest: u32, points: u32) -> Status {
    serve(call, |c| c.session.nearest_add_points(nearest, points))
}

unsafe extern "C" fn nearest_farthest(
    call: *mut Call,
    nearest: u32,
    excluded: u32,
    out_row: *mut u32,
    out_value: *mut f64,
) -> Status {
    serve(call, |c| {
        let found = c.session.nearest_farthest(nearest, handle(excluded))?;
        put(out_row, row(found.map(|found| found.0)))?;
        put(out_value, found.map_or(0.0, |found| found.1))
    })
}

unsafe extern "C" fn nearest_draw(
    call: *mut Call,
    nearest: u32,
    numbers: u32,
    excluded: u32,
    out_row: *mut u32,
) -> Status {
    serve(call, |c| put(out_row, row(c.session.nearest_draw(nearest, numbers, handle(excluded))?)))
}

unsafe extern "C" fn nearest_values(call: *mut Call, nearest: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.nearest_values(nearest)?))
}

unsafe extern "C" fn facility(
    call: *mut Call,
    rows: u32,
    references: u32,
    weights: u32,
    similarity: *const Similarity,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.facility(rows, references, handle(weights), record(similarity)?)?))
}

unsafe extern "C" fn facility_add(call: *mut Call, facility: u32, rows: *const u32, rows_count: usize) -> Status {
    serve(call, |c| c.session.facility_add(facility, slice(rows, rows_count)?))
}

unsafe extern "C" fn facility_add_others(call: *mut Call, facility: u32, others: u32) -> Status {
    serve(call, |c| c.session.facility_add_others(facility, others))
}

unsafe extern "C" fn facility_best(
    call: *mut Call,
    facility: u32,
    excluded: u32,
    out_row: *mut u32,
    out_value: *mut f64,
) -> Status {
    serve(call, |c| {
        let found = c.session.facility_best(facility, handle(excluded))?;
        put(out_row, row(found.map(|found| found.0)))?;
        put(out_value, found.map_or(0.0, |found| found.1))
    })
}

unsafe extern "C" fn design(
    call: *mut Call,
    factors: u32,
    embeddings: u32,
    labelled_factors: u32,
    labelled_embeddings: u32,
    options: *const DesignOptions,
    out: *mut u32,
) -> Status {
    serve(call, |c| {
        put(out, c.session.design(factors, embeddings, labelled_factors, labelled_embeddings, record(options)?)?)
    })
}

unsafe extern "C" fn design_best(call: *mut Call, design: u32, out_row: *mut u32, out_value: *mut f64) -> Status {
    serve(call, |c| {
        let found = c.session.design_best(design)?;
        put(out_row, row(found.map(|found| found.0)))?;
        put(out_value, found.map_or(0.0, |found| found.1))
    })
}

unsafe extern "C" fn design_least(call: *mut Call, design: u32, out_row: *mut u32, out_value: *mut f64) -> Status {
    serve(call, |c| {
        let found = c.session.design_least(design)?;
        put(out_row, row(found.map(|found| found.0)))?;
        put(out_value, found.map_or(0.0, |found| found.1))
    })
}

unsafe extern "C" fn design_add(call: *mut Call, design: u32, row: u32) -> Status {
    serve(call, |c| c.session.design_add(design, row))
}

unsafe extern "C" fn design_remove(call: *mut Call, design: u32, row: u32) -> Status {
    serve(call, |c| c.session.design_remove(design, row))
}

unsafe extern "C" fn head_logits(call: *mut Call, embeddings: u32, out: *mut u32) -> Status {
    serve(call, |c| put(out, c.session.head_logits(embeddings)?))
}

unsafe extern "C" fn head_gradients(
    call: *mut Call,
    embeddings: u32,
    classes: *const u32,
    classes_count: usize,
    out: *mut u32,
) -> Status {
    serve(call, |c| put(out, c.session.head_gradients(embeddings, slice(classes, classes_count)?)?))
}

unsafe extern "C" fn nearest_rows(
    call: *mut Call,
    rows: u32,
    others: u32,
    neighbours: u32,
    metric: u32,
    out: *mut u32,
    out_second: *mut u32,
) -> Status {
    serve(call, |c| {
        let (first, second) = c.session.nearest_rows(rows, others, neighbours, numbered(metric)?)?;
        put(out, first)?;
        put(out_second, second)
    })
}
