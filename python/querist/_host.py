"""Tells the native part where it is installed. Everything else of the package imports the native part from here."""

from __future__ import annotations

import importlib.util
import os
import sys

from . import _native

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _train() -> str | None:
    """The executable that trains, where `querist-torch` is installed."""
    found = importlib.util.find_spec("querist_torch")
    if found is None or found.origin is None:
        return None
    return os.path.join(os.path.dirname(found.origin), "bin", "querist-train")


def _start() -> list[str]:
    """The words that start the command line in a process of its own, without what a user's site adds to Python."""
    return [sys.executable or "python3", "-S", "-E", "-s", os.path.join(_FOLDER, "_launch.py")]


#: The words that start the command line in a process of its own.
start: list[str] = _start()

_native.held_by(start, os.path.join(_FOLDER, "plugins"), _train())

version: str = _native.version
native = _native
