"""`querist.select`: a strategy on arrays that are in memory already."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from . import _host
from ._errors import UsageError, tell_notes
from ._own import Own, hosted_of
from ._progress import shown
from ._tables import Named, columns


@dataclass(frozen=True)
class Picked:
    """What a strategy picked.

    Attributes:
        rows: Rows of the arrays as they were given, in the order of picks.
        ids: Ids of these rows: the rows themselves where no ids were given.
        scores: One score a pick, or nothing where the strategy has none.
        diagnostics: Figures that the strategy notes.
        strategy: Id of the strategy.
        package: Package that it came in.
        version: Version of that package.
        kind: How it is packaged, such as `wasm`; `python` for a class in this process, in no package and no sandbox.
        digest: SHA-256 of the package's artifact, in hex: with the arrays and the seed it gives the same picks again.
            Of a class in this process `python:` and the SHA-256 of its source.
        params: Its parameters with every default.
        seconds: Wall-clock seconds of the query.
        fuel: WebAssembly fuel that the plugin used, where it was counted.
        peak_memory: Bytes of the plugin and of what the host made for it, at most.
    """

    rows: list[int]
    ids: list[Any]
    scores: list[float]
    diagnostics: dict[str, float] = field(repr=False)
    strategy: str
    package: str = field(repr=False)
    version: str = field(repr=False)
    kind: str = field(repr=False)
    digest: str = field(repr=False)
    params: dict[str, Any] = field(repr=False)
    seconds: float = field(repr=False)
    fuel: int | None = field(repr=False)
    peak_memory: int = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)


def select(
    strategy: str | Own,
    *,
    budget: int,
    seed: int = 0,
    logits: Any = None,
    probs: Any = None,
    embeddings: Any = None,
    labelled_embeddings: Any = None,
    labelled_labels: Any = None,
    arrays: Mapping[str, Any] | None = None,
    table: Any = None,
    ids: Any = None,
    labelled_ids: Any = None,
    params: Mapping[str, Any] | None = None,
    round: int = 0,
    classes: int | None = None,
    subset_size: int | None = None,
    threads: int | None = None,
    memory: int | str = "512MiB",
    seconds: float = 3600.0,
    plugin_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    isolate: bool = False,
    allow_native: bool = False,
    locked: bool = False,
    progress: bool | None = None,
    **more: Any,
) -> Picked:
    """Asks a strategy for rows of a pool.

    Picks and bits of scores are those of `querist select` with the same arrays.

    Args:
        strategy: Id of the strategy, such as `badge`; `querist.strategies()` has all. Or a class of yours, derived from
            `wit_world.exports.Strategies`, which runs in this process.
        budget: Rows to ask for; the whole pool where it has no more.
        seed: Root of the random streams.
        logits: Logits, floats `[pool, classes]`.
        probs: Probabilities in the place of logits, floats `[pool, classes]`.
        embeddings: Embeddings of the pool, floats `[pool, width]`.
        labelled_embeddings: Embeddings of the labelled set, floats `[labelled, width]`.
        labelled_labels: Labels of the labelled set, integers `[labelled]`.
        arrays: Arrays by the names that strategies use, such as `extra.NAME`.
        table: A table of pandas, polars, pyarrow, or of Hugging Face `datasets`: then texts among the arrays and for
            `ids` name its columns.
        ids: Ids of the pool's rows, distinct: integers, or texts such as file names.
        labelled_ids: Ids of the labelled rows, integers.
        params: Parameters of the strategy.
        round: Round that enters the random streams.
        classes: Number of classes, where the arrays do not say.
        subset_size: Rows to choose from, drawn at random from the pool by seed and round.
        threads: Threads of the kernels; all cores where it is left out.
        memory: Memory of the plugin, and again as much for host objects made for it.
        seconds: Wall-clock seconds of the query at most.
        plugin_dir: Folders in which packages are looked for first.
        isolate: Run native packages in a worker process that can reach nothing.
        allow_native: Let native packages that are locked run in this process.
        locked: Refuse packages that are not exactly those of `querist.lock`.
        progress: Whether progress is shown on standard error; in a terminal and a notebook where it is left out.
        more: Other arrays by name, with `_` for `.`: `mc_probs`, `member_probs`, `head_w`, `labelled_logits`, ...

    Arrays have DLPack or the buffer protocol. 32-bit floats in memory of the CPU that stand row by row are read where
    they lie, and must not change meanwhile; other floats, other orders and arrays on devices are copied, which is said
    once (`CopyWarning`).

    Raises:
        UsageError: If an array, its shape or type, an id or a parameter is wrong; the message says which.
        QueristError: If the strategy gives no answer.
        StrategyError: If it is a class of yours; `__cause__` is what it raised.
        KeyboardInterrupt: After Ctrl-C, once the query has stopped.
    """
    named: dict[str, Any] = {
        "logits": logits,
        "probs": probs,
        "embeddings": embeddings,
        "labelled_embeddings": labelled_embeddings,
        "labelled_labels": labelled_labels,
        **more,
    }
    given = {name: array for name, array in named.items() if array is not None}
    for name, array in (arrays or {}).items():
        if name in given:
            raise UsageError(f"`{name}` is given twice")
        given[name] = array
    found = columns(table, given, ids)
    hosted = hosted_of(strategy)
    options: dict[str, Any] = {
        "seed": seed,
        "round": round,
        "classes": classes,
        "subset_size": subset_size,
        "threads": threads,
        "memory": memory,
        "seconds": seconds,
        "plugin_dir": folders(plugin_dir),
        "isolate": isolate,
        "allow_native": allow_native,
        "locked": locked,
        "hosted": None if hosted is None else hosted.native,
    }
    try:
        with nullcontext() if hosted is None else hosted.raising():
            answer = _host.native.select(
                hosted.id if hosted is not None else str(strategy),
                budget,
                found.arrays,
                found.numbers,
                labelled_ids,
                as_json(params),
                options,
                shown(progress),
            )
    finally:
        tell_notes(_host.native.take_notes())
    return _picked(answer, found)


def folders(given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """One folder or several, as texts."""
    several = [given] if isinstance(given, (str, os.PathLike)) else given
    return [os.fspath(folder) for folder in several]


def as_json(params: Mapping[str, Any] | None) -> str:
    """Parameters as JSON."""
    try:
        return json.dumps(dict(params or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"`params` hold something that JSON has no word for: {error}") from None


def _picked(answer: dict[str, Any], found: Named) -> Picked:
    identity = json.loads(answer["identity"])
    rows: list[int] = answer["rows"]
    return Picked(
        rows=rows,
        ids=[found.texts[row] for row in rows] if found.texts is not None else answer["ids"],
        scores=answer["scores"],
        diagnostics=dict(answer["diagnostics"]),
        strategy=identity["id"],
        package=identity["package"],
        version=identity["version"],
        kind=identity["kind"],
        digest=identity["digest"],
        params=json.loads(answer["params"]),
        seconds=answer["seconds"],
        fuel=answer["fuel"],
        peak_memory=answer["peak_memory"],
    )
