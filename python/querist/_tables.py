"""Arrays and ids that are columns of a table: pandas, polars, pyarrow, Hugging Face `datasets`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._errors import UsageError


@dataclass(frozen=True)
class Named:
    """Arrays of a call, ready to be handed over.

    Attributes:
        arrays: Arrays by the names of their arguments.
        numbers: Ids as numbers, or `None` for the rows' own.
        texts: Ids as texts, one a row, where they are texts.
    """

    arrays: dict[str, Any]
    numbers: Any
    texts: list[str] | None


def columns(table: Any, arrays: Mapping[str, Any], ids: Any) -> Named:
    """Puts columns of the table in the place of their names, and tells ids that are texts from those that are numbers."""
    found = {name: _column(table, name, array) if isinstance(array, str) else array for name, array in arrays.items()}
    if isinstance(ids, str):
        ids = _listed(_values(table, "ids", ids))
    texts = texts_of(ids)
    return Named(found, None if texts is not None else ids, texts)


def texts_of(ids: Any) -> list[str] | None:
    """Ids as a list of texts, or `None` where they are numbers.

    Raises:
        UsageError: If one stands twice, or some are texts and some are not.
    """
    if ids is None:
        return None
    dtype = getattr(ids, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "O") not in "OUST":
        return None
    values = _listed(ids)
    if not isinstance(values, (list, tuple)) or not any(isinstance(value, (str, bytes)) for value in values):
        return None
    seen: dict[str, int] = {}
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise UsageError(f"`ids` holds {value!r} in row {row} beside texts; expected texts only")
        if value in seen:
            raise UsageError(f"`ids` holds {value!r} in rows {seen[value]} and {row}; ids are distinct")
        seen[value] = row
    return list(values)


def _listed(values: Any) -> Any:
    """A column as a list of Python's own values, in the words of its library; what is no column stays as it is."""
    for words in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, words):
            return getattr(values, words)()
    is_sequence = hasattr(values, "__len__") and hasattr(values, "__getitem__")
    return list(values) if is_sequence and not isinstance(values, (list, tuple, str, bytes, memoryview)) else values


def _column(table: Any, argument: str, name: str) -> Any:
    """A column as an array `[rows, ...]`; lists in it must be equally long."""
    values = _values(table, argument, name)
    numpy = _numpy()
    try:
        if hasattr(values, "to_numpy") and not _holds_lists(values):
            return _plain(numpy.asarray(values.to_numpy()))
        rows = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
        return _plain(numpy.asarray([numpy.asarray(row) for row in rows]))
    except ValueError as error:
        raise UsageError(f"`{argument}`: the rows of column {name!r} are not equally long: {error}") from None


def _plain(array: Any) -> Any:
    """Lists of Python's floats become 32-bit floats; all else stays."""
    if array.dtype == object:
        raise UsageError(f"a column holds {type(array.flat[0]).__name__}; expected numbers, or lists of them")
    return array


def _holds_lists(values: Any) -> bool:
    kind = str(getattr(values, "dtype", getattr(values, "type", "")))
    return kind == "object" or "list" in kind.lower() or "array" in kind.lower()


def _values(table: Any, argument: str, name: str) -> Any:
    if table is None:
        raise UsageError(f"`{argument}` is the text {name!r}: texts name columns, and no `table` is given")
    known = list(getattr(table, "column_names", getattr(table, "columns", [])))
    if known and name not in known:
        raise UsageError(f"`{argument}`: the table has no column {name!r}; it has {', '.join(map(repr, known))}")
    try:
        return table[name]
    except (KeyError, TypeError, IndexError):
        raise UsageError(f"`{argument}`: {type(table).__name__} has no column {name!r}") from None


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise UsageError("columns of tables are read with numpy, which is not installed: `pip install numpy`") from None
