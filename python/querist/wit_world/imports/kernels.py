"""Functions over whole matrices.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from .. import _handles as at
from .._handles import Handle
from . import arrays, types


class Graph(Handle):
    """Rows that lie near each other."""

    def degrees(self) -> arrays.Vector:
        """Number of neighbours of each row, itself included.

        Errors: a limit is passed."""
        calls = at.hand()
        return arrays.Vector._of(calls, calls.graph_degrees(self._number(calls)))

    def neighbours(self, row: int) -> list[int]:
        """The neighbours of a row, ascending.

        Errors: there is no such row."""
        calls = at.hand()
        return calls.graph_neighbours(self._number(calls), row)


class Clustering(Handle):
    """The outcome of k-means."""

    def sizes(self) -> list[int]:
        """Number of rows in each cluster, `[clusters]`.

        Errors: the handle is bad."""
        calls = at.hand()
        return calls.clustering_sizes(self._number(calls))

    def read(self, start: int, count: int) -> list[int]:
        """Cluster of some rows, `[count]`.

        Errors: the rows lie outside."""
        calls = at.hand()
        return calls.clustering_read(self._number(calls), start, count)

    def centres(self) -> arrays.Matrix:
        """The centres, `[clusters, columns]`.

        Errors: a limit is passed."""
        calls = at.hand()
        return arrays.Matrix._of(calls, calls.clustering_centres(self._number(calls)))

    def inertia(self) -> float:
        """Weighted sum of squared distances to the centres.

        Errors: the handle is bad."""
        calls = at.hand()
        return calls.clustering_inertia(self._number(calls))

    def representatives(self, excluded: arrays.Mask | None) -> list[int | None]:
        """For each cluster its member nearest to the centre, or none where no member is left.

        Errors: lengths disagree."""
        calls = at.hand()
        return calls.clustering_representatives(self._number(calls), at.optional(calls, excluded))


def softmax(logits: arrays.Matrix) -> arrays.Matrix:
    """Softmax of each row of logits.

    Errors: there are no classes, or a limit is passed."""
    calls = at.hand()
    return arrays.Matrix._of(calls, calls.softmax(at.number(calls, logits)))


def residual(logits: arrays.Matrix) -> arrays.Matrix:
    """Softmax minus the one-hot of the largest logit (the lowest class among equals): the gradient of the predicted
    class's cross-entropy at the logits.

    Errors: there are no classes, or a limit is passed."""
    calls = at.hand()
    return arrays.Matrix._of(calls, calls.residual(at.number(calls, logits)))


def uncertainty(logits: arrays.Matrix, measure: types.Uncertainty) -> tuple[arrays.Vector, arrays.Vector]:
    """Uncertainty of each row of logits, and its tie-breaker.

    Errors: there are fewer than two classes."""
    calls = at.hand()
    first, second = calls.uncertainty(at.number(calls, logits), measure.value)
    return arrays.Vector._of(calls, first), arrays.Vector._of(calls, second)


def distance_reduce(rows: arrays.Matrix, centres: arrays.Matrix, metric: types.Metric, reduction: types.Reduction) -> arrays.Vector:
    """Each row's distances to the rows of `centres`, reduced to one value. No `rows x centres` object is made.

    Errors: widths disagree, or there are no centres."""
    calls = at.hand()
    return arrays.Vector._of(calls, calls.distance_reduce(at.number(calls, rows), at.number(calls, centres), metric.value, at.parts(reduction, (types.Reduction_Min, types.Reduction_Argmin, types.Reduction_Sum, types.Reduction_CountWithin))))


def neighbour_distance(rows: arrays.Matrix, neighbours: int, metric: types.Metric) -> arrays.Vector:
    """Mean distance of each row to its `neighbours` (at least 1) nearest other rows.

    Errors: there are not that many other rows."""
    calls = at.hand()
    return arrays.Vector._of(calls, calls.neighbour_distance(at.number(calls, rows), neighbours, metric.value))


def neighbours_within(rows: arrays.Matrix, radius: float, metric: types.Metric) -> Graph:
    """Which rows lie nearer to each other than `radius` (strictly; every row is its own neighbour).

    Errors: a limit is passed."""
    calls = at.hand()
    return Graph._of(calls, calls.neighbours_within(at.number(calls, rows), radius, metric.value))


def kmeans(rows: arrays.Matrix, weights: arrays.Vector | None, options: types.KmeansOptions, numbers: arrays.Stream) -> Clustering:
    """k-means of the rows, optionally weighted.
    Centres are `f32`, and assignments, distances and inertia are those to them. An empty cluster moves to the row
    farthest from its centre among clusters of several rows; a cluster may stay empty where rows are equal.

    Errors: there are fewer rows than clusters, or an option has no meaning."""
    calls = at.hand()
    return Clustering._of(calls, calls.kmeans(at.number(calls, rows), at.optional(calls, weights), (options.clusters, options.restarts, options.max_iterations, options.tolerance, options.init.value), at.number(calls, numbers)))


def average_linkage(rows: arrays.Matrix, metric: types.Metric) -> list[types.Merge]:
    """Average linkage (UPGMA) of the rows: all merges, one fewer than rows, each after those of its parts.
    Two clusters merge when each is the other's nearest, the lowest among equals. Under squared Euclidean distances
    clusters are means in `f32` with a variance; Euclidean ones keep rows² / 2 distances; the cosine distance of
    normalised rows is half their squared Euclidean one.

    Errors: the metric is the cosine, or a limit is passed."""
    calls = at.hand()
    return [types.Merge(*one) for one in calls.average_linkage(at.number(calls, rows), metric.value)]


def mixture_entropy(log_probs: arrays.Matrix, weights: arrays.Vector, shares: arrays.Vector) -> arrays.Vector:
    """Expected entropy of each row's class under mixtures of its draws, in nats.
    `log-probs` is `[rows, draws * classes]`, `weights` holds `draws` weights for each mixture and `shares` one number
    a mixture; none is negative. A row's value is `sum_m shares_m H(sum_t weights_mt p_t)`, where p_t are the
    exponentials of draw t over their sum, which must be 1 to within 0.001. Sums over draws and classes run in order,
    those over mixtures in sixteen lanes.

    Errors: the sizes do not fit, or the columns are no log-probabilities."""
    calls = at.hand()
    return arrays.Vector._of(calls, calls.mixture_entropy(at.number(calls, log_probs), at.number(calls, weights), at.number(calls, shares)))


def nearest_rows(rows: arrays.Matrix, others: arrays.Matrix, neighbours: int, metric: types.Metric) -> tuple[arrays.Vector, arrays.Vector]:
    """The `neighbours` (at least 1) nearest rows of another matrix for each row, the nearest first and the lower row among
    equals: their numbers and their distances, both `[rows * neighbours]`. No `rows x others` object is made.

    Errors: widths disagree, there are not that many other rows, or a limit is passed."""
    calls = at.hand()
    first, second = calls.nearest_rows(at.number(calls, rows), at.number(calls, others), neighbours, metric.value)
    return arrays.Vector._of(calls, first), arrays.Vector._of(calls, second)
