"""What can go wrong, as exceptions, and what is worth knowing, as warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable


class QueristError(Exception):
    """Something failed at work: a plugin, a disk, a record.

    Attributes:
        message: What went wrong.
        causes: Why, from the outside in.
        hints: What to do about it.
        code: What `querist explain` knows of it, where there is a code.
    """

    def __init__(
        self,
        message: str,
        causes: Iterable[str] = (),
        hints: Iterable[str] = (),
        code: str | None = None,
    ) -> None:
        self.message = message
        self.causes = list(causes)
        self.hints = list(hints)
        self.code = code
        super().__init__(message)

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  caused by: {cause}" for cause in self.causes]
        if self.code is not None:
            lines.append(f"code: {self.code} (`querist explain {self.code}`)")
        lines += [f"hint: {hint}" for hint in self.hints]
        return "\n".join(lines)


class UsageError(QueristError, ValueError):
    """The call is at fault: an argument, an array, a setting. The same call can never succeed."""


class StrategyError(QueristError):
    """A strategy that is a class in this process gives no answer; `__cause__` is what it raised, with its traceback."""


class QueristWarning(UserWarning):
    """Something that the user should know."""


class CopyWarning(QueristWarning):
    """An array had to be copied. Said once for each array and reason."""


def made(message: str, causes: list[str], hints: list[str], code: str | None, usage: bool) -> QueristError:
    """The exception for an error of the native part, which calls this."""
    return (UsageError if usage else QueristError)(message, causes, hints, code)


_copies_told: set[str] = set()


def tell_notes(notes: Iterable[str]) -> None:
    """Warns of what the native part noted, in the name of the first caller outside of this package."""
    level = _level_of_caller()
    for note in notes:
        kind, _, text = note.partition(": ")
        if kind == "copy":
            if text not in _copies_told:
                _copies_told.add(text)
                warnings.warn(text, CopyWarning, stacklevel=level)
        else:
            warnings.warn(text if kind in ("note", "warning") else note, QueristWarning, stacklevel=level)


def _level_of_caller() -> int:
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("querist."):
        frame = frame.f_back
        level += 1
    return level - 1
