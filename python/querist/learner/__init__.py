"""Learners of your own for whole runs and studies of Querist.

A run file names a command, ``learner = { command = ["python", "train.py"] }``, and ``train.py`` ends in
``serve(MyLearner)``. Querist keeps split, budget, oracle, strategy and records; the class trains and predicts:

    from querist.learner import Learner, serve

    class MyLearner(Learner):
        reads = ("images",)

        def fit(self, samples, labels):
            self.model = train(self.data.images[samples], labels, seed=self.seed)

        def logits(self, samples):
            return self.model(self.data.images[samples])

    if __name__ == "__main__":
        serve(MyLearner)

This module needs numpy alone, and nothing else of the package: the file may be copied beside ``train.py``. How the two
programs speak is written down in docs/external-learners.md, for every language.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import platform
import random
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Union

import numpy as np
import numpy.typing as npt

__all__ = ["PROTOCOL", "Data", "Learner", "Wanted", "serve"]

PROTOCOL = 1
"""Version of the protocol."""

Samples = npt.NDArray[np.int64]
"""Numbers of samples, ``[n]``, from 0 to ``data.samples - 1``."""

Labels = npt.NDArray[np.int64]
"""Classes, ``[n]``, from 0 to ``len(data.classes) - 1``."""

_ARRAYS = ("logits", "embeddings", "penultimate", "mc_log_probs", "member_log_probs", "grad_norm", "grad_embeddings")


@dataclass
class Data:
    """What there is to learn from: everything but the labels, which come with each training."""

    folder: Path
    """The folder through which arrays go; nothing in it outlives the run."""
    samples: int
    """How many samples there are: of pool, validation and test."""
    classes: list[str]
    """Name of each class."""
    threads: int
    """Threads that the run was given."""
    images: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.uint8))
    """Pictures, ``u8 [samples, height, width, channels]``, mapped from a file; where ``reads`` has ``"images"``."""
    embeddings: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """Rows, ``f32 [samples, width]``, mapped from a file; where ``reads`` has ``"embeddings"``."""
    ids: list[str] = field(default_factory=list)
    """Name of each sample: its id, or the file it came from; where ``reads`` has ``"ids"``."""


@dataclass(frozen=True)
class Wanted:
    """An array that a strategy needs."""

    name: str
    """Its name, such as ``"logits"``."""
    args: Mapping[str, Any]
    """Its arguments, such as ``{"T": 10, "coherent": True}``."""


class Learner:
    """A task model: derive from it, and define ``fit``, ``logits`` and whichever other arrays the model can give.

    An array is a method of its name that takes numbers of samples and returns one row a sample, in their order, as
    numpy, torch or anything that numpy can read. Strategies may ask for

    - ``embeddings(samples)``: input of the last layers in eval mode, ``[n, width]``;
    - ``penultimate(samples)``: input of the last linear layer, ``[n, width]``, where that is not the embedding;
    - ``mc_log_probs(samples, T)``: log-probabilities of ``T`` passes with dropout, ``[n, T, classes]``; with a further
      parameter ``coherent`` the learner promises that pass t is the same network for every sample where it is true;
    - ``member_log_probs(samples, M)``: those of ``M`` members of an ensemble, ``[n, M, classes]``;
    - ``grad_norm(samples, scheme, norm)``: ``[n]``; ``grad_embeddings(samples)``: ``[n, width]``;
    - ``head()``: weights ``[classes, width]`` and biases ``[classes]`` of a linear last layer on the embeddings.

    ``querist schema`` and docs/plugin-authors.md say what each means. The options of the run file are the keyword
    arguments of the constructor.
    """

    name: ClassVar[str] = ""
    """Name in records; that of the class where it is empty."""
    version: ClassVar[str] = ""
    """Version in records, before those of Python and of ``packages``. A run goes on only with the same."""
    packages: ClassVar[Sequence[str]] = ("numpy",)
    """Distributions whose versions stand in records."""
    reads: ClassVar[Sequence[str]] = ("ids",)
    """What it reads of the data: ``"ids"``, ``"images"``, ``"embeddings"``."""
    wants_validation: ClassVar[bool] = False
    """Whether ``self.validation`` is wanted in each training. Records then count its labels."""
    untrained: ClassVar[bool] = False
    """Whether ``fit`` may be called with no samples, before anything is labelled."""

    data: Data
    """What there is to learn from, from ``begin`` on."""
    round: int = 0
    """The round, from 0."""
    seed: int = 0
    """A seed of 32 bits: of this training, or of what is drawn in this prediction. Python's ``random``, numpy and torch
    are seeded with it before each call."""
    validation: Union[tuple[Samples, Labels], None] = None
    """Samples and labels of the validation set in ``fit``, where they are wanted and there are any."""
    wanted: Sequence[Wanted] = ()
    """In ``fit``, the arrays that the strategy will ask for: an ensemble is trained only where one is needed."""

    _report: Callable[[int, int], None] = staticmethod(lambda done, of: None)

    def begin(self) -> None:
        """Called once, when ``self.data`` is there and before the first training."""

    def fit(self, samples: Samples, labels: Labels) -> Union[Mapping[str, float], None]:
        """Trains from the start on labelled samples; may return figures for the record, by name.

        A run that was killed goes on with its next round in a new process, so nothing of an earlier training may
        change what this one does.
        """
        raise NotImplementedError

    def logits(self, samples: Samples) -> Any:
        """Class scores before the softmax, ``[n, classes]``."""
        raise NotImplementedError

    def arrays(self, samples: Samples, wanted: Sequence[Wanted]) -> Mapping[str, Any]:
        """All wanted arrays over the same samples, by name. Override it to compute them in one pass."""
        return {array.name: getattr(self, array.name)(samples, **array.args) for array in wanted}

    def progress(self, done: int, of: int) -> None:
        """Shows how far a training or a prediction is."""
        self._report(done, of)


def serve(learner: Union[Learner, type[Learner]]) -> None:
    """Answers Querist until the run ends. Standard output becomes standard error: ``print`` what you like.

    Raises ``RuntimeError`` where nobody speaks the protocol, such as in a terminal.
    """
    channel = _Channel()
    session = _Session(learner, channel)
    for request in channel.requests():
        try:
            answer = session.answer(request)
        except Exception as error:
            traceback.print_exc()
            channel.say(request["id"], "error", f"{type(error).__name__}: {error}")
        else:
            channel.say(request["id"], "ok", answer)


class _Channel:
    """Lines of JSON on what were standard input and output."""

    def __init__(self) -> None:
        if sys.__stdin__ is not None and sys.__stdin__.isatty():
            raise RuntimeError("a learner is started by `querist`: name this command in a run file as `learner`")
        self._input: IO[str] = os.fdopen(os.dup(0), encoding="utf-8")
        self._output: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        # Whatever else reads or prints, libraries in C and worker processes included, cannot disturb the two.
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        sys.stdout.flush()
        os.dup2(2, 1)

    def requests(self) -> Any:
        for line in self._input:
            request = json.loads(line)
            if request["do"] == "end":
                return
            yield request

    def say(self, number: int, key: str, value: Any) -> None:
        self._output.write(json.dumps({"id": number, key: value}, allow_nan=False) + "\n")
        self._output.flush()


class _Session:
    def __init__(self, learner: Union[Learner, type[Learner]], channel: _Channel) -> None:
        self._made = learner
        self._channel = channel
        self._learner: Learner

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request["id"]
        does: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "hello": self._hello,
            "start": self._start,
            "fit": self._fit,
            "predict": self._predict,
        }
        if request["do"] not in does:
            raise ValueError(f"unknown request {request['do']!r}; this is version {PROTOCOL} of the protocol")
        if request["do"] != "hello":
            report = lambda done, of: self._channel.say(number, "progress", [int(done), int(of)])  # noqa: E731
            self._learner._report = report
        return does[request["do"]](request)

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["protocol"] != PROTOCOL:
            raise ValueError(f"querist speaks version {request['protocol']} of the protocol, this file {PROTOCOL}")
        made, options = self._made, request["options"]
        if isinstance(made, type):
            self._learner = made(**options)
        elif options:
            raise TypeError("`learner.options` are for `serve(Class)`; this learner was made before they were known")
        else:
            self._learner = made
        learner = self._learner
        versions = [f"{name} {importlib.metadata.version(name)}" for name in learner.packages]
        version = ", ".join(filter(None, [learner.version, f"python {platform.python_version()}", *versions]))
        return {
            "protocol": PROTOCOL,
            "name": learner.name or type(learner).__name__,
            "version": version,
            "arrays": _offered(learner),
            "reads": list(learner.reads),
            "validation": learner.wants_validation,
            "untrained": learner.untrained,
        }

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        folder = Path(request["folder"])
        data = Data(folder, request["samples"], request["classes"], request["threads"])
        if "images" in request:
            data.images = np.load(folder / request["images"], mmap_mode="r")
        if "embeddings" in request:
            data.embeddings = np.load(folder / request["embeddings"], mmap_mode="r")
        if "ids" in request:
            data.ids = (folder / request["ids"]).read_text(encoding="utf-8").split("\n")[:-1]
        self._learner.data = data
        self._learner.begin()
        return {}

    def _fit(self, request: dict[str, Any]) -> dict[str, Any]:
        learner, validation = self._learner, request.get("validation")
        learner.validation = self._labelled(validation) if validation else None
        learner.wanted = [Wanted(array["name"], array["args"]) for array in request["arrays"]]
        samples, labels = self._labelled(request)
        self._enter(request)
        figures = learner.fit(samples, labels) or {}
        return {"figures": {str(name): float(value) for name, value in figures.items()}}

    def _predict(self, request: dict[str, Any]) -> dict[str, Any]:
        learner, asked = self._learner, request["arrays"]
        samples: Samples = np.load(learner.data.folder / request["samples"])
        self._enter(request)
        wanted = [Wanted(array["name"], array["args"]) for array in asked if not array["name"].startswith("head.")]
        # One array may be wanted for two purposes.
        once = list({(array.name, json.dumps(array.args)): array for array in wanted}.values())
        given = dict(learner.arrays(samples, once)) if once else {}
        if len(wanted) < len(asked):
            given["head.w"], given["head.b"] = learner.head()  # type: ignore[attr-defined]
        for array in asked:
            _write(learner.data.folder / array["file"], given.get(array["name"]), array["name"], array["shape"])
        return {}

    def _labelled(self, request: dict[str, Any]) -> tuple[Samples, Labels]:
        folder = self._learner.data.folder
        return np.load(folder / request["samples"]), np.load(folder / request["labels"])

    def _enter(self, request: dict[str, Any]) -> None:
        self._learner.round, self._learner.seed = request["round"], request["seed"]
        random.seed(request["seed"])
        np.random.seed(request["seed"])
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.manual_seed(request["seed"])


def _offered(learner: Learner) -> list[str]:
    """The arrays that a learner has methods for."""
    offered = []
    for name in _ARRAYS:
        method = getattr(learner, name, None)
        if callable(method):
            is_coherent = name == "mc_log_probs" and "coherent" in inspect.signature(method).parameters
            offered.append(f"{name}(coherent)" if is_coherent else name)
    if callable(getattr(learner, "head", None)):
        offered += ["head.w", "head.b"]
    return offered


def _write(file: Path, values: Any, name: str, shape: Sequence[Union[int, None]]) -> None:
    """Writes an array of the shape that was asked for, as ``f32``."""
    if values is None:
        raise ValueError(f"`arrays` returned no {name!r}")
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    array = np.ascontiguousarray(values, dtype=np.float32)
    fits = len(array.shape) == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape))
    if not fits:
        wanted = ", ".join("width" if extent is None else str(extent) for extent in shape)
        raise ValueError(f"{name} has shape {list(array.shape)}, expected [{wanted}]")
    np.save(file, array)
