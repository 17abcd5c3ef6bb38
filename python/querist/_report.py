"""`querist.report`: run folders to tables, figures and one page."""

from __future__ import annotations

import csv
import glob
import importlib
import io
import json
import os
from collections.abc import Sequence
from typing import Any

from . import _host
from ._errors import UsageError, tell_notes


class Frame(dict[str, list[Any]]):
    """Columns by name, one row a run and round: what `pandas.DataFrame`, `polars.DataFrame` and `pyarrow.table` take."""

    def to_pandas(self) -> Any:
        """The same as a `pandas.DataFrame`."""
        pandas: Any = importlib.import_module("pandas")
        return pandas.DataFrame(dict(self))

    def to_polars(self) -> Any:
        """The same as a `polars.DataFrame`."""
        polars: Any = importlib.import_module("polars")
        return polars.DataFrame(dict(self))


class Report:
    """What is reported of some runs, in every form."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def __str__(self) -> str:
        return str(self._native.text())

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"

    def frame(self) -> Frame:
        """One row a run and round, as columns."""
        rows = list(csv.reader(io.StringIO(self._native.csv())))
        if not rows:
            return Frame()
        return Frame({name: _typed([row[at] for row in rows[1:]]) for at, name in enumerate(rows[0])})

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Writes one self-contained page."""
        page = self._native.html()
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)

    def to_markdown(self) -> str:
        """Every table in Markdown."""
        return str(self._native.markdown())

    def to_latex(self) -> str:
        """Every table in LaTeX."""
        return str(self._native.latex())

    def to_csv(self) -> str:
        """One row a run and round, as CSV."""
        return str(self._native.csv())

    def to_dict(self) -> dict[str, Any]:
        """Every number of every table, and the records."""
        found: dict[str, Any] = json.loads(self._native.json())
        return found


def report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    curves_by: Sequence[str] = (),
) -> Report:
    """Summarises and compares the runs in folders and below them.

    Args:
        runs: Folders, or patterns such as `runs/*`.
        curves_by: What a curve is of: `strategy`, keys of the run files, axes of a study.

    Raises:
        UsageError: If there are no runs.
        QueristError: If a record was changed or cannot be read.
    """
    folders: list[str] = []
    for path in [runs] if isinstance(runs, (str, os.PathLike)) else runs:
        text = os.fspath(path)
        found = [text] if os.path.isdir(text) else sorted(filter(os.path.isdir, glob.glob(text)))
        if not found:
            raise UsageError(f"no folder is called {text!r}")
        folders += found
    try:
        native = _host.native.Report(folders, list(curves_by))
    finally:
        tell_notes(_host.native.take_notes())
    return Report(native)


def _typed(texts: list[str]) -> list[Any]:
    """A column's texts as whole numbers, else as floats, where all are; nothing where a text is empty."""
    for kind in (int, float):
        try:
            return [None if text == "" else kind(text) for text in texts]
        except ValueError:
            continue
    return [text or None for text in texts]
