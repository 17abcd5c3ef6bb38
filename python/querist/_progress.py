"""Progress of a query that takes a while: one line, in a terminal or under a notebook's cell."""

from __future__ import annotations

import sys
from collections.abc import Callable


def shown(wanted: bool | None) -> Callable[[int, int], None] | None:
    """Who is told of progress: nobody where standard error is neither a terminal nor a notebook's."""
    is_notebook = "ipykernel" in sys.modules
    if wanted is False or (wanted is None and not is_notebook and not _is_terminal()):
        return None
    return _line


def _is_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False


def _line(done: int, total: int) -> None:
    width = 30
    filled = width * done // max(total, 1)
    bar = "#" * filled + "-" * (width - filled)
    end = "\n" if done >= total else ""
    sys.stderr.write(f"\rquery [{bar}] {done}/{total}{end}")
    sys.stderr.flush()
