"""What the host holds for a strategy: random numbers, vectors, masks and matrices.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from .. import _handles as at
from .._handles import Handle
from . import types


class Stream(Handle):
    """Named random numbers."""

    @classmethod
    def open(cls, tag: str, scope: types.StreamScope) -> Stream:
        """Opens the random stream named `tag`, at most 256 bytes. Opening it again gives the same values from the start.

        Errors: the tag is too long, or a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.stream(tag, scope.value))

    def uniforms(self, count: int) -> list[float]:
        """The next `count` uniform numbers in (0, 1).

        Errors: a limit is passed."""
        calls = at.hand()
        return calls.stream_uniforms(self._number(calls), count)

    def by_row(self, step: int) -> Vector:
        """One uniform number in (0, 1) for each visible row, which belongs to its sample: it does not depend on the order
        of rows or on tiles. `step`, below 2^31, tells several numbers of one sample apart.

        Errors: `step` is too large, or a limit is passed."""
        calls = at.hand()
        return Vector._of(calls, calls.stream_by_row(self._number(calls), step))


class Vector(Handle):
    """One `f64` a row."""

    @classmethod
    def of(cls, values: list[float]) -> Vector:
        """A vector with these values.

        Errors: a value is NaN, or a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.vector(values))

    def len(self) -> int:
        """Number of values.

        Errors: the handle is bad."""
        calls = at.hand()
        return calls.vector_len(self._number(calls))

    def read(self, start: int, count: int) -> list[float]:
        """A part of the values, `[count]`.

        Errors: the part lies outside."""
        calls = at.hand()
        return calls.vector_read(self._number(calls), start, count)

    def top(self, second: Vector | None, count: int, excluded: Mask | None) -> list[int]:
        """Rows of the `count` largest values, largest first; `second` breaks ties, then the lower row.

        Errors: lengths disagree."""
        calls = at.hand()
        return calls.vector_top(self._number(calls), at.optional(calls, second), count, at.optional(calls, excluded))

    def draw(self, numbers: Stream, excluded: Mask | None) -> int | None:
        """A row drawn with probability proportional to its value; none where all are 0.
        One uniform number u of the stream is used, always. Values are summed in `f64` in row order by blocks of 1024
        rows, excluded rows as 0; the total is the sum of the block sums in order. The cumulative sum of a row is the
        sum of the blocks before its own plus the sum inside its block up to it. The answer is the first row whose
        cumulative sum exceeds u times the total, or the last row above 0 where rounding leaves none.

        Errors: a value is negative, or lengths disagree."""
        calls = at.hand()
        return calls.vector_draw(self._number(calls), at.number(calls, numbers), at.optional(calls, excluded))


class Mask(Handle):
    """A set of excluded rows."""

    @classmethod
    def of(cls, rows: int) -> Mask:
        """A mask over `rows` rows that excludes none.

        Errors: a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.mask(rows))

    def exclude(self, rows: list[int]) -> None:
        """Excludes rows; excluding one twice is no error.

        Errors: there is no such row."""
        calls = at.hand()
        calls.mask_exclude(self._number(calls), rows)

    def count(self) -> int:
        """How many rows are excluded.

        Errors: the handle is bad."""
        calls = at.hand()
        return calls.mask_count(self._number(calls))


class Matrix(Handle):
    """`f32` values, row-major."""

    @classmethod
    def of(cls, rows: int, columns: int, values: list[float]) -> Matrix:
        """A matrix with these values, `[rows, columns]`.

        Errors: the sizes do not fit, a value is not finite, or a limit is passed."""
        calls = at.hand()
        return cls._of(calls, calls.matrix(rows, columns, values))

    def shape(self) -> tuple[int, int]:
        """Rows and columns.

        Errors: the handle is bad."""
        calls = at.hand()
        return calls.matrix_shape(self._number(calls))

    def read(self, start: int, count: int) -> list[float]:
        """The values of some rows, `[count * columns]`.

        Errors: the rows lie outside."""
        calls = at.hand()
        return calls.matrix_read(self._number(calls), start, count)

    def gather(self, rows: list[int]) -> Matrix:
        """The named rows in the given order, as a matrix.

        Errors: there is no such row, or a limit is passed."""
        calls = at.hand()
        return Matrix._of(calls, calls.matrix_gather(self._number(calls), rows))

    def normalise(self) -> Matrix:
        """Each row divided by its Euclidean norm; rows of norm 0 stay 0.

        Errors: a limit is passed."""
        calls = at.hand()
        return Matrix._of(calls, calls.matrix_normalise(self._number(calls)))

    def sq_norms(self) -> Vector:
        """Squared Euclidean norm of each row.

        Errors: a limit is passed."""
        calls = at.hand()
        return Vector._of(calls, calls.matrix_sq_norms(self._number(calls)))

    def mean(self) -> list[float]:
        """Mean of the rows, `[columns]`.

        Errors: there are no rows."""
        calls = at.hand()
        return calls.matrix_mean(self._number(calls))

    def product(self, right: Matrix, transpose_right: bool) -> Matrix:
        """The product with `right`, or with its transpose.

        Errors: shapes do not fit, or a limit is passed."""
        calls = at.hand()
        return Matrix._of(calls, calls.matrix_product(self._number(calls), at.number(calls, right), transpose_right))

    def stack(self, bottom: Matrix) -> Matrix:
        """These rows, then those of `bottom`, as one matrix.

        Errors: the columns disagree, or a limit is passed."""
        calls = at.hand()
        return Matrix._of(calls, calls.matrix_stack(self._number(calls), at.number(calls, bottom)))
