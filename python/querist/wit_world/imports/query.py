"""The query at hand: facts, what the strategy declared, log and progress.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from .. import _handles as at
from . import arrays, types


def log(level: types.LogLevel, message: str) -> None:
    """Writes a line to the run's log.

    Errors: the log is full."""
    calls = at.hand()
    calls.log(level.value, message)


def panicked(message: str) -> None:
    """Hands over the text of a panic before the plugin stops."""
    calls = at.hand()
    calls.panicked(message)


def progress(done: int, total: int) -> None:
    """Reports progress.

    Errors: the user has cancelled, or time is up; pass it on."""
    calls = at.hand()
    calls.progress(done, total)


def info() -> types.QueryInfo:
    """Facts about the query."""
    calls = at.hand()
    return types.QueryInfo(*calls.info())


def ids(start: int, count: int) -> list[int]:
    """Global sample ids of visible rows, ascending, `[count]`.

    Errors: the rows lie outside."""
    calls = at.hand()
    return calls.ids(start, count)


def labelled_ids(start: int, count: int) -> list[int]:
    """Global ids of the labelled set, ascending, `[count]`: row i of every labelled array is sample i of these.

    Errors: the rows lie outside."""
    calls = at.hand()
    return calls.labelled_ids(start, count)


def has(name: str) -> bool:
    """Whether this query has a need that the strategy declared: of two choices it has one.

    Errors: it was not declared."""
    calls = at.hand()
    return calls.has(name)


def input(name: str) -> arrays.Matrix:
    """An `f32` array that the strategy declared, `[rows, rest]`; within a tile, only its rows.

    Errors: it was not declared, or holds whole numbers."""
    calls = at.hand()
    return arrays.Matrix._of(calls, calls.input(name))


def labels(name: str, start: int, count: int) -> list[int]:
    """A part of a `u32` array that the strategy declared (`labelled.labels`, `calibration.labels`), `[count]`.

    Errors: it was not declared, has fewer values, or holds floats."""
    calls = at.hand()
    return calls.labels(name, start, count)
