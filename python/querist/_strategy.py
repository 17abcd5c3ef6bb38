"""Strategies that are classes of Python, in the user's own process: for development."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from . import _host
from ._errors import UsageError, tell_notes
from ._objects import Calls, Matrix, Vector
from ._select import as_json


class Query(Calls):
    """What a strategy sees of a question: its arrays and facts, and the kernels of the host.

    Attributes:
        params: Parameters with every default.
        state: What the strategy kept in the round before.
        rows: Rows that are seen: the pool, or those of a tile.
        wanted: Rows that are to be picked.
        round: The round.
        classes: Classes of the task.
        labelled: Rows of the labelled set.
    """

    def __init__(self, host: Any, params: Mapping[str, Any], state: bytes | None) -> None:
        super().__init__(host, 0)
        self.params = dict(params)
        self.state = state
        self.facts: dict[str, Any] = self.info()

    @property
    def rows(self) -> int:
        """Rows that are seen."""
        return int(self.facts["rows"])

    @property
    def wanted(self) -> int:
        """Rows that are to be picked."""
        return min(int(self.facts["batch"]), self.rows)


@dataclass(frozen=True)
class Selection:
    """What a strategy picks.

    Attributes:
        rows: Distinct rows of the pool, in the order of picks.
        scores: One score a pick, or nothing.
        diagnostics: Figures for the record.
        state: What is handed to the strategy in the next round.
    """

    rows: Sequence[int]
    scores: Sequence[float] = ()
    diagnostics: Mapping[str, float] | None = None
    state: bytes | None = None


class Strategy:
    """Base of strategies in Python. A subclass says what it is, and has `score` or `select`.

    It keeps the rules of packages (`querist.check`) and has the kernels of the host, but runs in the user's own
    process: records say `in-process` and the digest of the class's source.
    """

    #: Id in kebab-case.
    id: ClassVar[str]
    #: What it selects, in a line.
    summary: ClassVar[str] = "a strategy under development"
    #: The paper that it follows.
    paper: ClassVar[str] = "unpublished"
    #: Arrays that it needs, such as `["logits"]`.
    needs: ClassVar[Sequence[str]] = ()
    #: JSON Schema of its parameters.
    schema: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}

    def score(self, tile: Query) -> Any:
        """Scores of the tile's rows, higher ranks first: a vector of the host or numbers; a pair with tie-breakers."""
        raise NotImplementedError

    def select(self, query: Query) -> Any:
        """Exactly `query.wanted` distinct rows in the order of picks: a list, or a `Selection`."""
        raise NotImplementedError

    def _is_scorer(self) -> bool:
        has_score = type(self).score is not Strategy.score
        if has_score == (type(self).select is not Strategy.select):
            raise UsageError(f"{type(self).__name__} has to have one of `score` and `select`")
        return has_score

    def _described(self) -> tuple[str, str]:
        """What it says of itself as JSON, and the digest of its source."""
        kind = type(self)
        if not isinstance(getattr(kind, "id", None), str):
            raise UsageError(f"{kind.__name__} has no `id`, such as `my-strategy`")
        description = {
            "id": kind.id,
            "summary": kind.summary,
            "paper": kind.paper,
            "scorer": self._is_scorer(),
            "needs": list(kind.needs),
            "schema": dict(kind.schema),
        }
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            # Typed at a prompt: what it was compiled to is all there is.
            source = repr(sorted((name, getattr(value, "__code__", None)) for name, value in vars(kind).items()))
        return json.dumps(description), hashlib.sha256(source.encode()).hexdigest()

    def _needs(self, params: str) -> list[str]:
        return list(type(self).needs)

    def _score(self, params: str, host: Any) -> tuple[list[float], list[float] | None]:
        scores = self.score(Query(host, json.loads(params), None))
        primary, second = scores if isinstance(scores, tuple) else (scores, None)
        return _numbers(primary), None if second is None else _numbers(second)

    def _select(
        self, params: str, host: Any, state: bytes | None
    ) -> tuple[list[int], list[float], list[tuple[str, float]], bytes | None]:
        answer = self.select(Query(host, json.loads(params), state))
        picked = answer if isinstance(answer, Selection) else Selection(answer)
        rows = [int(row) for row in picked.rows]
        figures = [(name, float(value)) for name, value in (picked.diagnostics or {}).items()]
        return rows, [float(score) for score in picked.scores], figures, picked.state


@dataclass(frozen=True)
class Finding:
    """What came of one rule.

    Attributes:
        rule: Its name.
        says: The rule as a sentence.
        outcome: `holds`, `not-applicable` or `broken`.
        message: What was found: of a broken rule the smallest case in which it is.
    """

    rule: str
    says: str
    outcome: str
    message: str


def check(strategy: type[Strategy] | Strategy, *, params: Mapping[str, Any] | None = None) -> list[Finding]:
    """Checks a strategy in Python against the rules that packages keep.

    Args:
        strategy: The class, or an object of it.
        params: Parameters to check under; those of the schema's first example, or none, where left out.

    Raises:
        UsageError: If it does not say what it is.
    """
    words = None if params is None else as_json(params)
    try:
        found = _host.native.check(as_object(strategy), words)
    finally:
        tell_notes(_host.native.take_notes())
    return [Finding(*one) for one in found]


def as_object(strategy: type[Strategy] | Strategy) -> Strategy:
    """An object of a class."""
    return strategy() if isinstance(strategy, type) else strategy


def _numbers(scores: Any) -> list[float]:
    if isinstance(scores, Vector):
        return scores.read(0, scores.len())
    if isinstance(scores, Matrix):
        raise UsageError("a matrix is no score for each row; expected a vector or a list of numbers")
    return [float(score) for score in (scores.tolist() if hasattr(scores, "tolist") else scores)]
