"""Strategies that are classes in this process: asked, checked and packed."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import querist as q
from conftest import CLASSES, LABELLED, POOL, WIDTH, floats, run

EXAMPLES = Path(__file__).parents[2] / "examples/strategies"
TEMPLATE = Path(__file__).parents[2] / "plugin-sdk/templates/python"
LOGITS, EMBEDDINGS = floats(POOL, CLASSES), floats(POOL, WIDTH, seed=1)

HEAD = """
import json
from wit_world import exports
from wit_world.exports.strategies import Scores, Selection
from wit_world.imports import arrays, engines, head, kernels, query
from wit_world.imports import types as t
from wit_world.types import Err

def describe(id, needs, scorer=False):
    schema = {"type": "object", "additionalProperties": False, "properties": {}}
    one = {"id": id, "summary": "A test", "paper": "None", "scorer": scorer, "needs": needs, "schema": schema}
    return json.dumps({"package": id, "version": "0.1.0", "api": "1.1", "strategies": [one]})

class Base(exports.Strategies):
    NEEDS = ["logits"]
    SCORER = False
    def describe(self): return describe("own-test", self.NEEDS, self.SCORER)
    def needs(self, id, params): return self.NEEDS
    def score(self, id, params): raise Err(t.Error_Failed("no scorer"))
    def select(self, id, params, state): raise Err(t.Error_Failed("a scorer"))
"""


def module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of its own, with what every strategy here has."""
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@pytest.fixture
def k_center(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("margin_k_center").MarginKCenter


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TEMPLATE))
    return importlib.import_module("margin_apart").Strategies


def greedy(logits: np.ndarray, embeddings: np.ndarray, budget: int, factor: int) -> list[int]:
    """The example in NumPy."""
    probs = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    probs = np.sort(probs / probs.sum(axis=1, keepdims=True), axis=1)
    kept = np.argsort(probs[:, -1] - probs[:, -2], kind="stable")[: budget * factor]
    points = embeddings[kept].astype(float)
    picks = [0]
    while len(picks) < budget:
        picks.append(int(np.linalg.norm(points[:, None] - points[picks], axis=2).min(axis=1).argmax()))
    return [int(kept[pick]) for pick in picks]


def test_a_class_picks(k_center: Any) -> None:
    picked = q.select(k_center, logits=LOGITS, embeddings=EMBEDDINGS, budget=6, params={"factor": 4})
    assert picked.rows == greedy(LOGITS, EMBEDDINGS, 6, 4)
    assert (picked.strategy, picked.kind, picked.params) == ("margin-k-center", "python", {"factor": 4})
    assert picked.digest.startswith("python:") and len(picked.digest) == len("python:") + 64
    again = q.select(k_center(), logits=LOGITS, embeddings=EMBEDDINGS, budget=6, params={"factor": 4})
    assert (again.rows, again.digest) == (picked.rows, picked.digest)


def test_parameters_are_those_of_its_schema(k_center: Any) -> None:
    with pytest.raises(q.UsageError, match="factor"):
        q.select(k_center, logits=LOGITS, embeddings=EMBEDDINGS, budget=6, params={"factor": 0})
    with pytest.raises(q.UsageError, match="embeddings"):
        q.select(k_center, logits=LOGITS, budget=6)


def test_every_rule_holds_of_the_examples(k_center: Any, apart: Any) -> None:
    for strategy in (k_center, apart):
        checked = q.check(strategy)
        assert checked, checked
        assert {"answers", "repeats", "threads-and-tiles"} <= {rule.name for rule in checked.passed}


def test_scorers_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    class Entropy(Base):
        SCORER = True
        def score(self, id, params):
            first, second = kernels.uncertainty(query.input("logits"), t.Uncertainty.ENTROPY)
            return Scores(first, second)
    """
    own = module(tmp_path, "own_entropy", text, monkeypatch).Entropy
    picked, expected = (q.select(one, logits=LOGITS, budget=9) for one in (own, "entropy"))
    assert (picked.rows, picked.scores) == (expected.rows, expected.scores)
    assert q.check(own)


def test_random_numbers_are_those_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    class Drawn(Base):
        def select(self, id, params, state):
            numbers = arrays.Stream.open("drawn", t.StreamScope.ROUND)
            info = query.info()
            assert query.labelled_ids(0, info.labelled_rows) == []
            weights = arrays.Vector.of(numbers.uniforms(info.rows))
            return Selection(weights.top(None, min(info.batch, info.rows), None), [], [("rows", float(info.rows))], b"kept")
    """
    own = module(tmp_path, "own_drawn", text, monkeypatch).Drawn
    one, same, other = (q.select(own, logits=LOGITS, budget=9, seed=seed) for seed in (1, 1, 2))
    assert one.rows == same.rows != other.rows
    assert one.diagnostics == {"rows": float(POOL)}


def test_every_kind_of_object_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    class Everything(Base):
        NEEDS = ["logits", "embeddings", "labelled.embeddings", "labelled.labels", "head"]
        def select(self, id, params, state):
            info, h, old = query.info(), query.input("embeddings"), query.input("labelled.embeddings")
            assert query.has("logits") and len(query.ids(0, 3)) == 3
            assert h.shape() == (info.rows, 8) and len(h.read(0, 2)) == 16 and len(h.mean()) == 8
            assert len(query.labels("labelled.labels", 0, info.labelled_rows)) == info.labelled_rows
            assert h.stack(old).shape()[0] == info.rows + info.labelled_rows
            assert h.product(h, True).shape() == (info.rows, info.rows)
            graph = kernels.neighbours_within(h, 2.0, t.Metric.EUCLIDEAN)
            assert 0 in graph.neighbours(0) and graph.degrees().len() == info.rows
            numbers = arrays.Stream.open("means", t.StreamScope.RUN)
            options = t.KmeansOptions(3, 1, 10, 1e-4, t.Init.KMEANS_PLUS_PLUS)
            clusters = kernels.kmeans(h, None, options, numbers)
            assert sum(clusters.sizes()) == info.rows and clusters.inertia() > 0.0
            assert len(kernels.average_linkage(old, t.Metric.EUCLIDEAN)) == info.labelled_rows - 1
            assert isinstance(kernels.average_linkage(old, t.Metric.EUCLIDEAN)[0], t.Merge)
            near = kernels.distance_reduce(h, old, t.Metric.EUCLIDEAN, t.Reduction_Min())
            count = kernels.distance_reduce(h, old, t.Metric.EUCLIDEAN, t.Reduction_CountWithin(near.read(0, 1)[0] + 1.0))
            assert count.read(0, 1)[0] >= 1.0
            cover = engines.Facility.over(h, h, None, t.Similarity(t.SimilarityKind.RBF, 1.0))
            best = cover.best(None)
            cover.add([best[0]])
            ones = arrays.Matrix.of(info.rows, 1, [1.0] * info.rows)
            old_ones = ones.gather(list(range(info.labelled_rows)))
            design = engines.Design.over(ones, h, old_ones, old, t.DesignOptions(1, 1.0, 1.0, 1.0))
            design.add(design.best()[0])
            assert head.head_logits(h).shape() == (info.rows, info.classes)
            taken = arrays.Mask.of(info.rows)
            with taken:
                taken.exclude([best[0]])
                assert taken.count() == 1
                second = cover.best(taken)[0]
            query.log(t.LogLevel.INFO, "all was there")
            query.progress(1, 1)
            return Selection([best[0], second], [2.0, 1.0], [], None)
    """
    own = module(tmp_path, "own_everything", text, monkeypatch).Everything
    given: dict[str, Any] = {
        "labelled_embeddings": floats(LABELLED, WIDTH, seed=2),
        "labelled_labels": np.arange(LABELLED) % CLASSES,
        "head_w": floats(CLASSES, WIDTH, seed=3),
        "head_b": floats(CLASSES, seed=4),
    }
    with pytest.warns(q.QueristWarning, match="all was there"):
        picked = q.select(own, logits=LOGITS, embeddings=EMBEDDINGS, budget=2, **given)
    assert len(set(picked.rows)) == 2 and picked.scores == [2.0, 1.0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return Selection([0, 0], [], [], None)", "picked before"),
        ("return Selection([0], [], [], None)", "1 row|expected 2|2 rows"),
        ("return Selection([0, 90], [], [], None)", "90"),
        ("return Selection([0, 1], [1.0, float('nan')], [], None)", "finite|NaN"),
        ("return Selection([0, 1], [], [('a', 1.0), ('a', 1.0)], None)", "twice"),
        ("return Selection([0, 1], [], [], bytes(1 << 22))", "state"),
        ("return Selection([0, -1], [], [], None)", "something else"),
        ("return Selection(['a', 'b'], [], [], None)", "something else"),
        ("return [0, 1]", "expected strategies.Selection"),
        ("return {}['nothing']", "KeyError: 'nothing'"),
        ("raise Err(t.Error_Failed('the moon is full'))", "the moon is full"),
        ("query.input('embeddings')", "not declared|declare"),
        ("arrays.Mask.of(3).exclude([5])", "5"),
        ("arrays.Vector.of([float('nan')])", "NaN"),
        ("m = arrays.Mask.of(3); m.__exit__(None, None, None); m.count()", "handle|object"),
        ("engines.Points.of(arrays.Mask.of(3))", "mask|handle|object"),
        ("engines.Points.of(7)", "no object of the host"),
    ],
)
def test_what_it_answers_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str) -> None:
    text = f"class Odd(Base):\n    def select(self, id, params, state):\n        {body}\n"
    own = module(tmp_path, "own_odd", text, monkeypatch).Odd
    with pytest.raises(q.QueristError, match=says):
        q.select(own, logits=LOGITS, budget=2)


def test_an_exception_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    class Broken(Base):
        def select(self, id, params, state):
            return 1 / 0
    """
    own = module(tmp_path, "own_broken", text, monkeypatch).Broken
    with pytest.raises(q.StrategyError, match="division by zero") as raised:
        q.select(own, logits=LOGITS, budget=2)
    cause = raised.value.__cause__
    assert isinstance(cause, ZeroDivisionError) and cause.__traceback__ is not None
    assert "own_broken.py" in str(raised.value)


def test_handles_live_as_long_as_their_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    KEPT = []
    class Keeps(Base):
        def select(self, id, params, state):
            KEPT.append(query.input("logits"))
            KEPT[0].shape()
            return Selection([0], [], [], None)
    """
    loaded = module(tmp_path, "own_keeps", text, monkeypatch)
    q.select(loaded.Keeps, logits=LOGITS, budget=1)
    with pytest.raises(q.StrategyError, match="of another question"):
        q.select(loaded.Keeps, logits=LOGITS, budget=1)
    with pytest.raises(Exception, match="no question is at hand"):
        loaded.query.info()


def test_a_broken_rule_comes_with_its_smallest_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    class Short(Base):
        def select(self, id, params, state):
            info = query.info()
            return Selection(list(range(min(info.batch, info.rows, 2))), [], [], None)
    """
    checked = q.check(module(tmp_path, "own_short", text, monkeypatch).Short)
    assert not checked
    broken = {rule.name: rule for rule in checked.broken}
    assert "answers" in broken and "batch 3" in broken["answers"].message, checked
    assert "BROKEN" in str(checked)


def test_what_is_no_strategy_is_refused() -> None:
    class Half:
        def describe(self) -> str:
            return ""

    for wrong in (Half, 7, None):
        with pytest.raises(q.UsageError, match="no strategy"):
            q.select(wrong, logits=LOGITS, budget=1)  # type: ignore[arg-type]


def test_records_say_that_it_was_a_class(k_center: Any, tmp_path: Path, program: str) -> None:
    folder = tmp_path / "run"
    start: dict[str, Any] = {"ids": POOL, "strategy": k_center, "budget": [4, 4], "test_labels": [0, 1]}
    start["keep_features"] = True
    picked = []
    for _ in range(2):  # the second call goes on with the same session
        with q.Session(folder, **start) as session:
            batch = session.ask(logits=LOGITS, embeddings=EMBEDDINGS)
            assert batch is not None
            picked.append(batch.rows)
            session.tell(batch.ids, [row % CLASSES for row in batch.rows], metrics={"accuracy": 0.5})
    assert not set(picked[0]) & set(picked[1])
    header = "".join(path.read_text() for path in folder.glob("*.json*"))
    assert '"python"' in header.replace(" ", "") and "python:" in header
    assert q.report([str(folder)]).frame()
    said = run(program, "replay", str(folder))
    assert said.returncode != 0 and "Python class" in said.stderr, said.stdout + said.stderr
    with pytest.raises(q.UsageError):
        q.Session(folder, **{**start, "strategy": "margin"})


def test_packing_says_what_is_missing(k_center: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from querist import _pack

    monkeypatch.setattr(_pack, "_COMPILER", ("componentize-py-of-nobody", "9"))
    with pytest.raises(q.UsageError, match="pip install componentize-py-of-nobody==9"):
        q.pack(k_center, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_a_packed_class_picks_the_same(
    k_center: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("componentize_py")
    package = q.pack(k_center, tmp_path / "project")
    assert package == tmp_path / "project/plugins/margin-k-center" and (package / "plugin.toml").is_file()
    given: dict[str, Any] = {"logits": LOGITS, "embeddings": EMBEDDINGS, "budget": 7, "params": {"factor": 3}}
    own = q.select(k_center, **given)
    packed = q.select("margin-k-center", plugin_dir=package.parent, **given)
    assert (packed.rows, packed.scores, packed.kind) == (own.rows, own.scores, "wasm")
    with pytest.raises(q.UsageError, match="already"):
        q.pack(k_center, tmp_path / "project")
    text = "import numpy\nclass Big(Base):\n    pass\n"
    with pytest.raises(q.UsageError, match="numpy"):
        q.pack(module(tmp_path, "own_big", text, monkeypatch).Big, tmp_path / "other")
