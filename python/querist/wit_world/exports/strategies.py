"""What a strategy answers."""

from __future__ import annotations

from dataclasses import dataclass

from ..imports import arrays


@dataclass
class Scores:
    """Scores of the visible rows: the highest is selected first; `second` breaks ties."""

    primary: arrays.Vector
    second: arrays.Vector | None


@dataclass
class Selection:
    """What a selector picks: distinct rows in the order of picks, a score for each or none, named figures, and what to
    hand back in the next round."""

    rows: list[int]
    scores: list[float]
    diagnostics: list[tuple[str, float]]
    state: bytes | None
