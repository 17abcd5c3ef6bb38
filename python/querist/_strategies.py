"""`querist.strategies`: which strategies there are, and what they want."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _host
from ._errors import tell_notes
from ._select import folders


@dataclass(frozen=True)
class StrategyInfo:
    """What a package says of a strategy.

    Attributes:
        id: Id as users write it.
        summary: What it does, in a sentence.
        paper: Where it is from.
        needs: Arrays that it needs.
        may_need: Arrays that it may need under other parameters.
        cost: What a query costs.
        schema: JSON Schema of its parameters.
        aliases: Other names.
        package: Package that it came in.
        version: Version of that package.
        kind: How it is packaged, such as `wasm`.
        digest: SHA-256 of the package's artifact, in hex.
        description: Everything that the package says.
    """

    id: str
    summary: str
    paper: str
    needs: list[str]
    may_need: list[str] = field(repr=False)
    cost: str = field(repr=False)
    schema: dict[str, Any] = field(repr=False)
    aliases: list[str] = field(repr=False)
    package: str = field(repr=False)
    version: str = field(repr=False)
    kind: str
    digest: str = field(repr=False)
    description: dict[str, Any] = field(repr=False)


def strategies(
    plugin_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
) -> dict[str, StrategyInfo]:
    """Every strategy that can be used, by id.

    Args:
        plugin_dir: Folders in which packages are looked for first.

    Raises:
        QueristError: If one of these folders cannot be read.
    """
    try:
        rows = [json.loads(row) for row in _host.native.strategies(folders(plugin_dir))]
    finally:
        tell_notes(_host.native.take_notes())
    all_of: dict[str, StrategyInfo] = {}
    for row in rows:
        # Of several of one id the first is meant.
        all_of.setdefault(row["id"], _info(row))
    return all_of


def _info(row: dict[str, Any]) -> StrategyInfo:
    return StrategyInfo(
        id=row["id"],
        summary=row.get("summary", ""),
        paper=row.get("paper", ""),
        needs=list(row.get("needs", [])),
        may_need=list(row.get("may_need", [])),
        cost=row.get("cost", ""),
        schema=row.get("schema", {}),
        aliases=list(row.get("aliases", [])),
        package=row["package"],
        version=row["version"],
        kind=row["kind"],
        digest=row["digest"],
        description=row,
    )
