"""Strategies that are classes in this process: what the native part calls, and what their records say."""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar, Union

from . import _host, wit_world
from ._errors import QueristError, StrategyError, UsageError
from .wit_world import _handles
from .wit_world.exports import Strategies
from .wit_world.exports.strategies import Scores, Selection
from .wit_world.imports import types
from .wit_world.types import Err

T = TypeVar("T")

#: A strategy's class, made anew for every question as a component is, or an object of it.
Own = Union[type[Strategies], Strategies]
_METHODS = ("describe", "needs", "score", "select")
#: What went wrong, by kind and message, or the answer.
_Said = tuple[Union[tuple[str, str], None], Any]


class Hosted:
    """A strategy of this process.

    Attributes:
        id: Its id.
        native: What the native part has of it.
    """

    def __init__(self, strategy: Own) -> None:
        self._class = _Class(strategy)
        source, text = source_of(self._class.kind)
        digest = "python:" + hashlib.sha256(text.encode()).hexdigest()
        with self.raising():
            self.native = _host.native.Hosted(self._class, source, digest)
        self.id: str = self.native.id()

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Has an error that comes of an exception of the class say so."""
        self._class.raised = None
        try:
            yield
        except QueristError as error:
            raised = self._class.raised
            if raised is None:
                raise
            raise StrategyError(error.message, error.causes, error.hints, error.code) from raised


def hosted_of(strategy: str | Own) -> Hosted | None:
    """What the native part is to ask, where the strategy is no id."""
    return None if isinstance(strategy, str) else Hosted(strategy)


def source_of(kind: type) -> tuple[str, str]:
    """Where the source of a class is, and its text: that of its whole module, where the module has a file."""
    module = sys.modules.get(kind.__module__)
    for found in (module, kind):
        try:
            if found is not None:
                return inspect.getsourcefile(found) or "", inspect.getsource(found)
        except (OSError, TypeError):
            continue
    raise UsageError(
        f"the source of `{kind.__qualname__}` cannot be read, and records say by which source rows were picked: "
        "write the class into a file"
    )


class _Class:
    """A strategy, as the native part calls it."""

    def __init__(self, strategy: Own) -> None:
        self.kind: type = strategy if isinstance(strategy, type) else type(strategy)
        missing = [name for name in _METHODS if not callable(getattr(strategy, name, None))]
        if missing:
            raise UsageError(
                f"{strategy!r} is no strategy: expected an id or a class with the methods {', '.join(_METHODS)}; "
                f"it has no {', '.join(missing)}"
            )
        self._strategy = strategy
        #: The last exception of the class that was no answer of a strategy.
        self.raised: BaseException | None = None

    def describe(self) -> _Said:
        return self._say(lambda one: one.describe())

    def needs(self, id: str, params: str) -> _Said:
        return self._say(lambda one: list(one.needs(id, params)))

    def score(self, calls: Any, id: str, params: str) -> _Said:
        def asked(one: Strategies) -> tuple[int, int | None]:
            found = one.score(id, params)
            if not isinstance(found, Scores):
                raise TypeError(f"`score` gave {type(found).__name__}; expected strategies.Scores")
            first = found.primary._give(calls)
            return first, None if found.second is None else found.second._give(calls)

        with _handles.lent(calls):
            return self._say(asked)

    def select(self, calls: Any, id: str, params: str, state: bytes | None) -> _Said:
        def asked(one: Strategies) -> Any:
            found = one.select(id, params, state)
            if not isinstance(found, Selection):
                raise TypeError(f"`select` gave {type(found).__name__}; expected strategies.Selection")
            return found.rows, found.scores, found.diagnostics, found.state

        with _handles.lent(calls):
            return self._say(asked)

    def _say(self, ask: Callable[[Strategies], Any]) -> _Said:
        try:
            one = self._strategy
            return None, ask(one() if isinstance(one, type) else one)
        except Err as error:
            self.raised = error
            return _refusal(error), None
        except Exception as error:
            self.raised = error
            text = "".join(traceback.format_exception_only(type(error), error)).strip()
            return ("panic", f"{text} ({_place(error)})"), None


def _place(error: BaseException) -> str:
    """Where an exception was raised in the class."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "/querist/" not in one.filename]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "outside of the class"


_OF_CODE = {
    types.FaultCode.DEADLINE: "timeout",
    types.FaultCode.QUOTA: "memory",
    types.FaultCode.CANCELLED: "cancelled",
}


def _refusal(error: Err[Any]) -> tuple[str, str]:
    """What a strategy that gives no answer says, by kind."""
    value = error.value.value if isinstance(error.value, types.Error_Fault) else error.value
    if isinstance(value, types.Fault):
        return _OF_CODE.get(value.code, "failed"), value.message
    if isinstance(value, types.Error_InvalidParams):
        return "invalid-params", value.value
    if isinstance(value, types.Error_Unknown):
        return "unknown", value.value
    if isinstance(value, types.Error_Failed):
        return "failed", value.value
    return "failed", str(value)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `wit_world` here, where nobody else has a module of this name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "wit_world":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        own = wit_world.__name__
        for found in pkgutil.walk_packages(wit_world.__path__, own + "."):
            real = importlib.import_module(found.name)
            sys.modules[found.name[len("querist.") :]] = real
        # Who imported it takes what stands here now.
        sys.modules["wit_world"] = wit_world


sys.meta_path.append(_Finder())
