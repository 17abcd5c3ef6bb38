"""Engines that answer again and again while a set of chosen rows grows.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from .. import _handles as at
from .._handles import Handle
from . import arrays, types


class Points(Handle):
    """Rows with a geometry: those of a matrix, or the outer products of the rows of two."""

    @classmethod
    def of(cls, rows: arrays.Matrix) -> Points:
        """Points that are the rows of a matrix.

        Errors: a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.points(at.number(calls, rows)))

    def sq_norms(self) -> arrays.Vector:
        """Squared norm of each point.

        Errors: a limit is passed."""
        calls = at.hand()
        return arrays.Vector._of(calls, calls.points_sq_norms(self._number(calls)))


class Nearest(Handle):
    """Distances to the nearest of a growing set of chosen points."""

    @classmethod
    def over(cls, points: Points, metric: types.Metric) -> Nearest:
        """An engine that keeps each point's distance to the nearest of a growing set of chosen points.

        Errors: the points do not have this metric."""
        calls = at.hand()
        return cls._of(calls, calls.nearest(at.number(calls, points), metric.value))

    def add(self, rows: list[int]) -> None:
        """Adds rows of the points themselves to the set. Their distance is exactly 0 from then on.

        Errors: there is no such row."""
        calls = at.hand()
        calls.nearest_add(self._number(calls), rows)

    def add_points(self, points: Points) -> None:
        """Adds all of other points of the same geometry to the set.

        Errors: the geometries disagree."""
        calls = at.hand()
        calls.nearest_add_points(self._number(calls), at.number(calls, points))

    def farthest(self, excluded: arrays.Mask | None) -> tuple[int, float] | None:
        """The row farthest from the set, with its distance; none where every row is excluded.

        Errors: the set is empty, or lengths disagree."""
        calls = at.hand()
        return calls.nearest_farthest(self._number(calls), at.optional(calls, excluded))

    def draw(self, numbers: arrays.Stream, excluded: arrays.Mask | None) -> int | None:
        """A row drawn with probability proportional to its distance as `vector.draw` does; none where all are 0. With
        squared Euclidean distances this is k-means++.

        Errors: the set is empty, or lengths disagree."""
        calls = at.hand()
        return calls.nearest_draw(self._number(calls), at.number(calls, numbers), at.optional(calls, excluded))

    def values(self) -> arrays.Vector:
        """Distance of each point to the set.

        Errors: the set is empty."""
        calls = at.hand()
        return arrays.Vector._of(calls, calls.nearest_values(self._number(calls)))


class Facility(Handle):
    """Greedy facility location: which rows cover most of what a growing set does not."""

    @classmethod
    def over(cls, rows: arrays.Matrix, references: arrays.Matrix, weights: arrays.Vector | None, similarity: types.Similarity) -> Facility:
        """An engine that finds which of `rows` covers most of `references` that a growing set does not.
        Reference j is covered by m_j, 0 at first; a row that joins the set raises it to their similarity k where that
        is larger. The gain of row i is the sum of `weights_j * max(k_ij - m_j, 0)` (weight 1 without weights), added in
        reference order by blocks of 1024 and then block by block, over the number of references.

        Errors: columns or lengths disagree, there are no references, the width has no meaning, or a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.facility(at.number(calls, rows), at.number(calls, references), at.optional(calls, weights), (similarity.kind.value, similarity.width)))

    def add(self, rows: list[int]) -> None:
        """Adds rows to the set.

        Errors: there is no such row."""
        calls = at.hand()
        calls.facility_add(self._number(calls), rows)

    def add_others(self, others: arrays.Matrix) -> None:
        """Adds the rows of another matrix to the set. Each reference looks only at the nearest of them.

        Errors: the columns disagree."""
        calls = at.hand()
        calls.facility_add_others(self._number(calls), at.number(calls, others))

    def best(self, excluded: arrays.Mask | None) -> tuple[int, float] | None:
        """The row with the largest gain, and the gain; none where every row is excluded.

        Errors: lengths disagree."""
        calls = at.hand()
        return calls.facility_best(self._number(calls), at.optional(calls, excluded))


class Design(Handle):
    """Greedy experimental design for a linear head."""

    @classmethod
    def over(cls, factors: arrays.Matrix, embeddings: arrays.Matrix, labelled_factors: arrays.Matrix, labelled_embeddings: arrays.Matrix, options: types.DesignOptions) -> Design:
        """An engine for greedy experimental design over the pool's rows.
        A row of factors R `[blocks, rank]` (given as `[rows, blocks * rank]`) and of embeddings h `[width]` stands for
        the information `(R (x) h) (R (x) h)^T`. With M the ridge plus the weighted information of labelled and added
        rows, and F the mean information of all rows of both sets, the cost of the rows added so far is `tr(M^-1 F)`.

        Errors: sizes do not fit, an option has no meaning, or a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.design(at.number(calls, factors), at.number(calls, embeddings), at.number(calls, labelled_factors), at.number(calls, labelled_embeddings), (options.rank, options.ridge, options.labelled_weight, options.added_weight)))

    def best(self) -> tuple[int, float] | None:
        """The row not yet added that lowers the cost most, with the fall; none where all are added.

        Errors: a row was removed already, or numbers overflow."""
        calls = at.hand()
        return calls.design_best(self._number(calls))

    def least(self) -> tuple[int, float] | None:
        """The added row whose removal raises the cost least, with the rise; none where none is added.

        Errors: numbers overflow."""
        calls = at.hand()
        return calls.design_least(self._number(calls))

    def add(self, row: int) -> None:
        """Adds a row.

        Errors: it was added before, or a row was removed already."""
        calls = at.hand()
        calls.design_add(self._number(calls), row)

    def remove(self, row: int) -> None:
        """Removes an added row.

        Errors: it was not added."""
        calls = at.hand()
        calls.design_remove(self._number(calls), row)


def outer_products(left: arrays.Matrix, right: arrays.Matrix) -> Points:
    """Points that are the outer products of the rows of two matrices, which are never formed.

    Errors: the numbers of rows disagree."""
    calls = at.hand()
    return Points._of(calls, calls.outer_products(at.number(calls, left), at.number(calls, right)))
