"""Active learning with plugin strategies: selection, crash-safe records, statistics and reports.

    picked = querist.select("badge", logits=z, embeddings=h, budget=100, seed=1)

Arrays are whatever has DLPack or the buffer protocol: numpy, torch, jax, cupy. 32-bit floats in memory of the CPU are
read where they lie.
"""

from __future__ import annotations

from . import _host
from ._check import Checked, Rule, check
from ._errors import CopyWarning, QueristError, QueristWarning, StrategyError, UsageError
from ._pack import pack
from ._report import Frame, Report, report
from ._select import Picked, select
from ._session import Batch, Session
from ._strategies import StrategyInfo, strategies

__version__: str = _host.version

__all__ = [
    "Batch",
    "Checked",
    "CopyWarning",
    "Frame",
    "Picked",
    "QueristError",
    "QueristWarning",
    "Report",
    "Rule",
    "Session",
    "StrategyError",
    "StrategyInfo",
    "UsageError",
    "__version__",
    "check",
    "pack",
    "report",
    "select",
    "strategies",
]
