"""Handles: what the host holds for a strategy, by number, for the time of one question."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from .._calls import Calls

H = TypeVar("H", bound="Handle")

#: No object of the host has this number.
_NO_OBJECT = 0xFFFFFFFF
_local = threading.local()


@contextmanager
def lent(calls: Calls) -> Iterator[None]:
    """Has this thread make its calls here; a question may be asked while another one is answered."""
    before = getattr(_local, "calls", None)
    _local.calls = calls
    try:
        yield
    finally:
        _local.calls = before


def hand() -> Calls:
    """The calls of the question that this thread answers."""
    calls: Calls | None = getattr(_local, "calls", None)
    if calls is None:
        refused(0, "no question is at hand: the host is called while a strategy selects or scores, in its own thread")
    return calls


def refused(code: int, message: str) -> NoReturn:
    """Raises what a refused call raises."""
    raise refusal(code, message)


def refusal(code: int, message: str) -> Exception:
    """What a refused call raises; the native part calls this."""
    from .imports.types import Fault, FaultCode
    from .types import Err

    return Err(Fault(FaultCode(code), message))


class Handle:
    """An object of the host. It is released when nobody has it, or at the end of a `with`."""

    __slots__ = ("_calls", "_handle")
    _calls: Calls
    _handle: int

    @classmethod
    def _of(cls: type[H], calls: Calls, number: int) -> H:
        made = object.__new__(cls)
        made._calls = calls
        made._handle = number
        return made

    def _number(self, calls: Calls) -> int:
        if self._calls is not calls:
            refused(0, "the handle is of another question: what the host lends lives until that is answered")
        return self._handle

    def _give(self, calls: Calls) -> int:
        """The number, whose object is the host's from here on."""
        given, self._handle = self._number(calls), _NO_OBJECT
        return given

    def _release(self) -> None:
        number, self._handle = self._handle, _NO_OBJECT
        if number != _NO_OBJECT:
            self._calls.release(number)

    def __enter__(self: H) -> H:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def __del__(self) -> None:
        # A handle that was never made has no number, and the question may be answered already.
        try:
            self._release()
        except Exception:
            pass


def number(calls: Calls, handle: Handle) -> int:
    """The number of an object."""
    if not isinstance(handle, Handle):
        raise TypeError(f"{handle!r} is no object of the host")
    return handle._number(calls)


def optional(calls: Calls, handle: Handle | None) -> int | None:
    """The number of an object, where there is one."""
    return None if handle is None else number(calls, handle)


def parts(case: object, cases: tuple[type[Any], ...]) -> tuple[int, float]:
    """Which case it is, and the number that it holds or 0."""
    for place, known in enumerate(cases):
        if isinstance(case, known):
            return place, float(getattr(case, "value", 0.0))
    raise TypeError(f"{case!r} is none of {', '.join(known.__name__ for known in cases)}")
