"""`querist.Session`: a training loop of the user's own, with the records of `querist run`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from . import _host
from ._errors import UsageError, tell_notes
from ._own import Own, hosted_of
from ._progress import shown
from ._select import as_json, folders
from ._tables import texts_of

#: Names that a session does not take: it knows labels and ids itself.
_OWN = ("labelled_labels", "labelled_ids", "ids", "oracle_labels", "calibration_labels", "calibration_logits")


@dataclass(frozen=True)
class Batch:
    """What is to be labelled.

    Attributes:
        ids: Ids, as the session was given them, in the order of picks.
        rows: Rows of the pool.
        scores: One score a pick, or nothing where the strategy has none.
        round: The round, from 0 on.
        diagnostics: Figures that the strategy noted.
    """

    ids: list[Any]
    rows: list[int]
    scores: list[float]
    round: int
    diagnostics: dict[str, float] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __bool__(self) -> bool:
        return True


class Session:
    """A run of your own loop: it is asked for batches and told labels, and its folder is that of `querist run`.

        session = Session("runs/mine", ids=len(pool), strategy="badge", budget=[100] * 10, seed=0)
        while batch := session.ask(logits=..., embeddings=...):
            session.tell(batch.ids, labels, metrics={"accuracy": accuracy})
        session.finish(metrics={"accuracy": accuracy})

    Everything told is on the disk when `tell` returns. A session whose process ended at any moment is gone on with by
    the same call: a batch that was asked for is asked for again, and no label is lost.

    Args:
        folder: Folder of the run. It appears with the first batch; where it holds this very session already, the
            session goes on.
        ids: How many rows the pool has, or an id for each: distinct integers or texts.
        strategy: Id of the strategy, or a class of yours, derived from `wit_world.exports.Strategies`, which runs in this
            process.
        budget: Samples of each batch.
        params: Parameters of the strategy.
        seed: Root of all randomness.
        classes: Names of the classes, or how many there are; as the arrays of the first batch say where left out.
        initial: What is labelled already: labels by id.
        test_labels: Labels of the test set, integers `[test]`, which `test_logits` are compared with.
        subset_size: Rows that each query chooses from, drawn at random.
        keep_features: Keep the arrays of each round, so that `querist replay` can ask about them again.
        threads: Threads of the kernels; all cores where it is left out.
        memory: Memory of the plugin, and again as much for host objects made for it.
        seconds: Wall-clock seconds of a query at most.
        plugin_dir: Folders in which packages are looked for first.

    Raises:
        UsageError: If the call is contradictory, or the folder holds another session.
        QueristError: If another process works on the folder, or its records were changed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        ids: int | Sequence[Any] | Any,
        strategy: str | Own,
        budget: Sequence[int],
        params: Mapping[str, Any] | None = None,
        seed: int = 0,
        classes: int | Sequence[str] | None = None,
        initial: Mapping[Any, int] | None = None,
        test_labels: Any = None,
        subset_size: int | None = None,
        keep_features: bool = False,
        threads: int | None = None,
        memory: int | str = "512MiB",
        seconds: float = 3600.0,
        plugin_dir: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        locked: bool = False,
    ) -> None:
        self._folder = os.fspath(folder)
        self._ids = _listed(ids)
        self._row_of: dict[Any, int] = {sample: row for row, sample in enumerate(self._ids)}
        if len(self._row_of) != len(self._ids):
            raise UsageError("`ids` holds an id twice; ids are distinct")
        self._classes = [str(name) for name in range(classes)] if isinstance(classes, int) else classes
        self._class_of = {name: label for label, name in enumerate(self._classes or [])}
        start = [(self._row(sample), self._label(label)) for sample, label in (initial or {}).items()]
        hosted = self._hosted = hosted_of(strategy)
        options: dict[str, Any] = {
            "classes": list(self._classes) if self._classes is not None else None,
            "seed": seed,
            "subset_size": subset_size,
            "keep_features": keep_features,
            "threads": threads,
            "memory": memory,
            "seconds": seconds,
            "plugin_dir": folders(plugin_dir),
            "locked": locked,
            "hosted": None if hosted is None else hosted.native,
        }
        self._native = self._noting(
            lambda: _host.native.Session(
                self._folder,
                [str(sample) for sample in self._ids],
                any(isinstance(sample, str) for sample in self._ids),
                hosted.id if hosted is not None else str(strategy),
                as_json(params),
                list(budget),
                start,
                test_labels,
                options,
            )
        )

    def ask(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        test_logits: Any = None,
        fit_seconds: float | None = None,
        progress: bool | None = None,
        arrays: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Batch | None:
        """The batch to label next; `None` once every batch of the budget is labelled.

        A batch that was asked for and not told is given again, whatever the arrays.

        Args:
            metrics: What the model came to that the arrays are of, `{"accuracy": share}`; it may be told later.
            test_logits: Its logits of the test set, floats `[test, classes]`.
            fit_seconds: Seconds that its training took.
            progress: Whether progress is shown on standard error; in a terminal and a notebook where it is left out.
            arrays: Arrays by the names that strategies use, such as `extra.NAME`.
            named: Arrays by name, with `_` for `.`: `logits`, `probs`, `embeddings`, `labelled_embeddings`, ... Each is
                an array or a function of a list of ids that gives one, which is called only where the strategy needs
                it. Arrays have a row for each id of the session, for each that is not labelled (`unlabelled`), or, over
                the labelled set, for each that is (`labelled_ids`). An array with all rows serves the labelled set,
                too.

        Raises:
            UsageError: If an array is wrong or missing; the message says which.
            QueristError: If the strategy gives no answer.
        """
        offered = self._offered(named, arrays)
        kind, found = self._noting(self._native.next)
        batch: Batch | None = None
        if kind == "tell" and found is not None:
            batch = self._batch(found)
        elif kind == "ask" and found is not None:
            given = self._given(offered, found)
            batch = self._batch(self._noting(lambda: self._native.ask(given, found, shown(progress))))
        accuracy = _accuracy(metrics, test_logits)
        if accuracy is not None or test_logits is not None:
            if kind == "finish":
                self._noting(lambda: self._native.finish(accuracy, test_logits, fit_seconds))
            elif batch is not None:
                self._noting(lambda: self._native.evaluate(accuracy, test_logits, fit_seconds))
        return batch

    def tell(
        self,
        ids: Iterable[Any],
        labels: Iterable[Any],
        *,
        metrics: Mapping[str, float] | None = None,
        test_logits: Any = None,
        fit_seconds: float | None = None,
    ) -> None:
        """Tells the labels of exactly the batch that was asked for, in any order, and commits the round.

        Args:
            ids: Ids of the batch.
            labels: Their labels: numbers of classes, or names where the session has names of classes.
            metrics: What the model came to that was asked with, `{"accuracy": share}`, unless `ask` was told.
            test_logits: Its logits of the test set, floats `[test, classes]`.
            fit_seconds: Seconds that its training took.

        Raises:
            UsageError: If an id was never asked for, stands twice, or is missing, a label is no class, or nothing is
                known of the model. Nothing is recorded then.
            QueristError: If the round cannot be made durable.
        """
        rows = [self._row(sample) for sample in _values(ids)]
        numbers = [self._label(label) for label in _values(labels)]
        if len(rows) != len(numbers):
            raise UsageError(f"{len(rows)} ids and {len(numbers)} labels; expected one label an id")
        accuracy = _accuracy(metrics, test_logits)
        told = list(zip(rows, numbers))
        self._noting(lambda: self._native.tell(told, accuracy, test_logits, fit_seconds))

    def finish(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        test_logits: Any = None,
        fit_seconds: float | None = None,
    ) -> None:
        """Commits the last round, in which the model that was trained on all labels is evaluated.

        Raises:
            UsageError: If batches are left to label, or nothing is known of the model.
        """
        accuracy = _accuracy(metrics, test_logits)
        self._noting(lambda: self._native.finish(accuracy, test_logits, fit_seconds))

    @property
    def folder(self) -> str:
        """Its folder: what `querist report` and `querist replay` read."""
        return self._folder

    @property
    def round(self) -> int:
        """Rounds that are committed."""
        return self._state()[0]

    @property
    def rounds(self) -> int:
        """Batches of its budget."""
        return self._state()[1]

    @property
    def is_finished(self) -> bool:
        """Whether its last round is committed."""
        return self._state()[2]

    @property
    def labelled(self) -> dict[Any, int]:
        """Labels so far by id, in the order of the pool."""
        return {self._ids[row]: label for row, label in self._state()[3]}

    @property
    def labelled_ids(self) -> list[Any]:
        """Ids that are labelled, in the order of the pool."""
        return [self._ids[row] for row, _ in self._state()[3]]

    @property
    def unlabelled(self) -> list[Any]:
        """Ids that are not labelled yet, in the order of the pool."""
        return [self._ids[row] for row in self._state()[4]]

    def close(self) -> None:
        """Lets go of the folder, so that another process can work on it."""
        self._native.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self._folder!r}, ids={len(self._ids)})"

    def _state(self) -> tuple[int, int, bool, list[tuple[int, int]], list[int]]:
        state: tuple[int, int, bool, list[tuple[int, int]], list[int]] = self._native.state()
        return state

    def _noting(self, call: Callable[[], Any]) -> Any:
        try:
            with nullcontext() if self._hosted is None else self._hosted.raising():
                return call()
        finally:
            tell_notes(_host.native.take_notes())

    def _offered(self, named: Mapping[str, Any], arrays: Mapping[str, Any] | None) -> dict[str, Any]:
        """Arrays and functions by the names of the host."""
        offered: dict[str, Any] = {}
        for argument, array in [*named.items(), *(arrays or {}).items()]:
            if array is None:
                continue
            name = _host.native.array_called(argument)
            if argument.replace(".", "_") in _OWN:
                raise UsageError(f"`{argument}` is not for a session, which knows ids and labels itself")
            if name is None:
                raise UsageError(f"no array is called `{argument}`")
            if name in offered:
                raise UsageError(f"`{argument}` is given twice")
            offered[name] = array
        return offered

    def _given(self, offered: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays that help, with functions called."""
        useful = set(wanted["useful"])
        given: dict[str, Any] = {}
        for name, array in offered.items():
            labelled = "labelled." + name
            if _becomes(name) in useful:
                rows = wanted["labelled"] if name.startswith("labelled.") else wanted["candidates"]
                given[name] = array([self._ids[row] for row in rows]) if callable(array) else array
            if labelled in useful and labelled not in offered and wanted["labelled"]:
                if callable(array):
                    given[labelled] = array([self._ids[row] for row in wanted["labelled"]])
                elif _length(array) == wanted["samples"]:
                    given[labelled] = array
        return given

    def _batch(self, found: Mapping[str, Any]) -> Batch:
        rows: list[int] = found["rows"]
        ids = [self._ids[row] for row in rows]
        return Batch(ids, rows, found["scores"], found["round"], dict(found["diagnostics"]))

    def _row(self, sample: Any) -> int:
        row = self._row_of.get(_plain(sample))
        if row is None:
            raise UsageError(f"{sample!r} is no id of the session's pool")
        return row

    def _label(self, label: Any) -> int:
        value = _plain(label)
        if isinstance(value, str):
            if value not in self._class_of:
                raise UsageError(f"{value!r} is no class; the classes are {', '.join(map(repr, self._class_of)) or 'unnamed'}")
            return self._class_of[value]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0 or value > 0xFFFFFFFF:
            raise UsageError(f"{label!r} is no label; expected a whole number from 0 on")
        return value


def _accuracy(metrics: Mapping[str, float] | None, test_logits: Any) -> float | None:
    accuracy = (metrics or {}).get("accuracy")
    if metrics is not None and accuracy is None and test_logits is None:
        raise UsageError("`metrics` has no `accuracy`")
    return None if accuracy is None else float(accuracy)


def _becomes(name: str) -> str:
    """The array that probabilities become, or the array itself."""
    return {
        "probs": "logits",
        "labelled.probs": "labelled.logits",
        "mc_probs": "mc_log_probs",
        "member_probs": "member_log_probs",
    }.get(name, name)


def _listed(ids: Any) -> list[Any]:
    if isinstance(ids, int) and not isinstance(ids, bool):
        if ids < 1:
            raise UsageError(f"`ids` is {ids}; expected one id or more")
        return list(range(ids))
    texts = texts_of(ids)
    listed = texts if texts is not None else _values(ids)
    if not listed:
        raise UsageError("`ids` is empty; expected one id or more")
    for row, sample in enumerate(listed):
        if isinstance(sample, bool) or not isinstance(sample, (int, str)):
            raise UsageError(f"`ids` holds {sample!r} in row {row}; expected integers or texts")
    return listed


def _values(values: Any) -> list[Any]:
    """A list of Python's own numbers and texts."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise UsageError(f"{values!r} is no list; expected ids or labels, one for each sample")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A number of an array library as one of Python's own."""
    return value.item() if hasattr(value, "item") else value


def _length(array: Any) -> int | None:
    try:
        return len(array)
    except TypeError:
        return None
