"""`querist.check`: the rules that every strategy keeps, for one that is a class in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import _host
from ._errors import tell_notes
from ._own import Hosted, Own
from ._progress import shown
from ._select import as_json


@dataclass(frozen=True)
class Rule:
    """What came of one rule.

    Attributes:
        name: Its name, such as `answers`.
        says: The rule as a sentence.
        outcome: `holds`, `broken` or `not-applicable`.
        message: The smallest case that breaks it; else what is worth knowing, or why it does not apply.
    """

    name: str
    says: str
    outcome: str
    message: str


@dataclass(frozen=True)
class Checked:
    """What came of every rule. It is true where none is broken: `assert querist.check(MyStrategy)`.

    Attributes:
        strategy: Id of the strategy.
        rules: Every rule, in the order of checks.
    """

    strategy: str
    rules: list[Rule]

    @property
    def broken(self) -> list[Rule]:
        """Rules that are broken, each with the smallest case."""
        return [rule for rule in self.rules if rule.outcome == "broken"]

    @property
    def passed(self) -> list[Rule]:
        """Rules that hold."""
        return [rule for rule in self.rules if rule.outcome == "holds"]

    def __bool__(self) -> bool:
        return not self.broken

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        marks = {"holds": "ok    ", "broken": "BROKEN"}
        width = max((len(rule.name) for rule in self.rules), default=0)
        lines = [self.strategy]
        for rule in self.rules:
            text = f"{rule.says}: {rule.message}" if rule.outcome == "broken" else rule.message
            lines.append(f"  {marks.get(rule.outcome, '-     ')}  {rule.name:<{width}}  {text}".rstrip())
        return "\n".join(lines)


def check(
    strategy: Own,
    *,
    params: Mapping[str, Any] | None = None,
    memory: int | str = "512MiB",
    seconds: float = 3600.0,
    progress: bool | None = None,
) -> Checked:
    """Checks the rules of `querist plugin check` on a strategy that is a class in this process.

    Rules that take a clock or another process are left to the check of the packed strategy.

    Args:
        strategy: The class, derived from `wit_world.exports.Strategies`, or an object of it.
        params: Parameters to check under, instead of the schema's first example.
        memory: Memory of what the host makes for one query.
        seconds: Wall-clock seconds of one query at most.
        progress: Whether progress is shown on standard error; in a terminal and a notebook where it is left out.

    Raises:
        UsageError: If it is no strategy, or describes itself as no package may.
        StrategyError: If it raises while it describes itself.
        KeyboardInterrupt: After Ctrl-C, once the rule at hand is checked.
    """
    hosted = Hosted(strategy)
    options: dict[str, Any] = {"memory": memory, "seconds": seconds}
    given = as_json(params) if params is not None else None
    try:
        found = _host.native.check(hosted.native, given, options, shown(progress))
    finally:
        tell_notes(_host.native.take_notes())
    return Checked(hosted.id, [Rule(*rule) for rule in found])
