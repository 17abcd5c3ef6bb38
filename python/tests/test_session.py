"""Sessions: asked and told, killed and gone on with."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import querist as q
from conftest import floats, run

ROWS, CLASSES, WIDTH, TESTS = 60, 4, 6, 25
LABELS = np.random.default_rng(5).integers(0, CLASSES, ROWS)
TEST_LABELS = np.random.default_rng(6).integers(0, CLASSES, TESTS)


def opened(folder: str = "runs/mine", **more: Any) -> q.Session:
    settings: dict[str, Any] = {"ids": ROWS, "strategy": "margin", "budget": [5] * 3, "seed": 1, **more}
    return q.Session(folder, **settings)


def logits(round_: int, rows: int = ROWS) -> np.ndarray:
    return floats(rows, CLASSES, seed=round_ + 100 * rows)


def told(session: q.Session, batch: q.Batch, **more: Any) -> None:
    session.tell(batch.ids, [int(LABELS[row]) for row in batch.rows], **(more or {"metrics": {"accuracy": 0.5}}))


def whole(folder: str, **more: Any) -> q.Session:
    session = opened(folder, **more)
    while batch := session.ask(logits=logits(session.round)):
        told(session, batch, metrics={"accuracy": 0.1 * (1 + session.round)})
    session.finish(metrics={"accuracy": 0.9})
    return session


def test_a_loop_leaves_the_record_of_a_run(program: str) -> None:
    session = whole("runs/a")
    assert session.is_finished and session.round == 4 and len(session.labelled) == 15
    assert all(session.labelled[row] == LABELS[row] for row in session.labelled_ids)
    assert set(session.labelled_ids).isdisjoint(session.unlabelled)
    session.close()
    frame = q.report("runs/a").frame()
    assert frame["labelled"] == [0, 5, 10, 15] and frame["accuracy"][-1] == 0.9
    assert frame["strategy"] == ["margin"] * 4
    said = run(program, "report", "runs/a", "--format", "csv")
    assert said.returncode == 0 and len(said.stdout.splitlines()) == 5, said.stderr
    # Picks are those of the question itself.
    folder = Path("runs/a/rounds/0000/picks.csv").read_text().splitlines()
    first = q.select("margin", logits=logits(0), budget=5, seed=1)
    assert [int(line.split(",")[1]) for line in folder[1:]] == first.rows


def test_kept_arrays_are_replayed(program: str) -> None:
    session = opened("runs/a", strategy="badge", keep_features=True, budget=[4, 4])
    while batch := session.ask(logits=logits(session.round), embeddings=floats(ROWS, WIDTH, seed=3)):
        told(session, batch)
    session.finish(metrics={"accuracy": 1.0})
    session.close()
    plugins = str(Path(q.__file__).parent / "plugins")
    said = run(program, "replay", "runs/a", "--from", "features", "--plugin-dir", plugins)
    assert said.returncode == 0 and "all 2 selections are the same" in said.stderr, said.stdout + said.stderr


def test_figures_come_from_logits_of_the_test_set() -> None:
    session = opened(test_labels=TEST_LABELS)
    scores = floats(TESTS, CLASSES, seed=8)
    batch = session.ask(logits=logits(0))
    assert batch is not None
    told(session, batch, test_logits=scores)
    session.close()
    record = json.loads(Path("runs/mine/rounds/0000/record.json").read_text())
    accuracy = float((scores.argmax(axis=1) == TEST_LABELS).mean())
    assert record["metrics"]["accuracy"] == accuracy
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert record["metrics"]["loss"] == pytest.approx(-log_probs[np.arange(TESTS), TEST_LABELS].mean(), rel=1e-5)
    session = opened(test_labels=TEST_LABELS)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"test_logits": scores[:-1]}, r"`test_logits` is \[24, 4\]; expected \[25, 4\]"),
        ({"test_logits": scores[:, :-1]}, r"expected \[25, 4\]"),
        ({"test_logits": scores * np.nan}, "`test_logits` holds NaN in row 0"),
        ({"test_logits": scores, "metrics": {"accuracy": 0.123}}, "`metrics` says an accuracy of 0.123"),
        ({"metrics": {"accuracy": 1.5}}, "the accuracy is 1.5"),
        ({"metrics": {"loss": 1.5}}, "`metrics` has no `accuracy`"),
    ]
    batch = session.ask(logits=logits(1))
    assert batch is not None
    for given, words in wrong:
        with pytest.raises(q.UsageError, match=words):
            told(session, batch, **given)
    assert session.round == 1, "nothing was recorded"


def test_functions_are_called_only_where_they_help() -> None:
    calls: list[tuple[str, int]] = []

    def give(name: str, width: int) -> Any:
        def called(ids: list[int]) -> np.ndarray:
            calls.append((name, len(ids)))
            return floats(ROWS, width, seed=9)[ids]

        return called

    session = opened(strategy="k-center-greedy", classes=CLASSES)
    for _ in range(2):
        batch = session.ask(logits=give("logits", CLASSES), embeddings=give("embeddings", WIDTH))
        assert batch is not None
        told(session, batch)
    assert calls == [("embeddings", 60), ("embeddings", 55), ("embeddings", 5)], calls
    # The same from an array with all rows.
    other = opened("runs/other", strategy="k-center-greedy", classes=CLASSES)
    for _ in range(2):
        batch = other.ask(embeddings=floats(ROWS, WIDTH, seed=9))
        assert batch is not None
        told(other, batch)
    assert other.labelled_ids == session.labelled_ids


def test_a_batch_is_asked_for_until_it_is_told() -> None:
    session = opened()
    batch = session.ask(logits=logits(0))
    assert batch is not None
    again = session.ask(logits=logits(99))
    assert again == batch, "other arrays do not change what was asked for"
    session.close()
    other = opened()
    assert other.ask() == batch, "nor does another process"
    told(other, batch)
    assert other.round == 1


def test_ids_are_texts_and_classes_have_names() -> None:
    ids = [f"{row:03}.png" for row in range(ROWS)]
    classes = ["ant", "bee", "cat", "dog"]
    session = opened(ids=ids, classes=classes, initial={"007.png": "cat", "003.png": 1})
    assert session.labelled == {"003.png": 1, "007.png": 2}
    batch = session.ask(logits=logits(0))
    assert batch is not None and set(batch.ids) <= set(ids) - {"003.png", "007.png"}
    session.tell(batch.ids, ["bee"] * 5, metrics={"accuracy": 0.5})
    assert session.labelled[batch.ids[0]] == 1
    session.close()
    assert "003.png" in Path("runs/mine/initial.csv").read_text()
    with pytest.raises(q.UsageError, match="other ids, classes or test labels"):
        opened(ids=ids[::-1], classes=classes, initial={"007.png": "cat", "003.png": 1})


def test_what_is_told_wrongly_is_refused() -> None:
    session = opened(classes=CLASSES)
    with pytest.raises(q.UsageError, match="nothing is asked for"):
        session.tell([1], [0], metrics={"accuracy": 0.5})
    first = session.ask(logits=logits(0))
    assert first is not None
    told(session, first)
    batch = session.ask(logits=logits(1))
    assert batch is not None
    good = [int(LABELS[row]) for row in batch.rows]
    stranger = next(row for row in session.unlabelled if row not in batch.ids)
    metrics = {"accuracy": 0.5}
    wrong: list[tuple[list[Any], list[Any], str]] = [
        ([*batch.ids[:-1], stranger], good, f"id {stranger} was never asked for"),
        ([*batch.ids[:-1], batch.ids[0]], good, f"id {batch.ids[0]} is told twice"),
        (batch.ids[:-2], good[:-2], "2 of the 5 labels of the batch are missing"),
        (batch.ids, good[:-1], "5 ids and 4 labels"),
        (first.ids, good, "is labelled already, in an earlier round"),
        (batch.ids, [*good[:-1], CLASSES], f"has label {CLASSES}, but there are {CLASSES} classes"),
        (batch.ids, [*good[:-1], -1], "-1 is no label"),
        (batch.ids, [*good[:-1], 0.5], "0.5 is no label"),
        (batch.ids, [*good[:-1], "ant"], "'ant' is no class"),
        ([*batch.ids[:-1], 999], good, "999 is no id"),
    ]
    for ids, labels, words in wrong:
        with pytest.raises(q.UsageError, match=words):
            session.tell(ids, labels, metrics=metrics)
    with pytest.raises(q.UsageError, match="nothing is known of the model of round 1"):
        session.tell(batch.ids, good)
    assert session.round == 1
    session.tell(np.array(batch.ids)[::-1], np.array(good)[::-1], metrics=metrics)
    assert session.round == 2
    with pytest.raises(q.UsageError, match="nothing is asked for"):
        session.tell(batch.ids, good, metrics=metrics)
    with pytest.raises(q.UsageError, match="1 batches of the budget are not labelled"):
        session.finish(metrics=metrics)


def test_arrays_of_a_session_are_checked() -> None:
    session = opened()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "needs logits"),
        ({"embeddings": floats(ROWS, 3)}, "needs logits"),
        ({"logits": floats(ROWS - 1, CLASSES)}, "`logits` has 59 rows; expected 60"),
        ({"logits": floats(ROWS, CLASSES).astype(int)}, "`logits` holds int64"),
        ({"logits": floats(ROWS, CLASSES) * np.inf}, "`logits` holds"),
        ({"labelled_labels": LABELS}, "knows ids and labels itself"),
        ({"nonsense": LABELS}, "no array is called `nonsense`"),
    ]
    for given, words in wrong:
        with pytest.raises(q.UsageError, match=words):
            session.ask(**given)
    assert not Path("runs/mine").exists()
    with pytest.raises(ZeroDivisionError):
        session.ask(logits=lambda ids: 1 / 0)
    assert session.ask(logits=logits(0)) is not None


def test_setups_that_cannot_be_are_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"budget": []}, "`budget` has no batch"),
        ({"budget": [50, 50]}, "add up to 100"),
        ({"budget": [0]}, "a batch of 0"),
        ({"ids": 0}, "`ids` is 0"),
        ({"ids": [1, 1]}, "`ids` holds an id twice"),
        ({"ids": [1.5, 2]}, "expected integers or texts"),
        ({"classes": 1}, "1 classes; expected 2"),
        ({"initial": {3: 9}, "classes": 4}, "id 3 has label 9"),
        ({"initial": {99: 0}, "classes": 4}, "99 is no id"),
        ({"subset_size": 3}, "subset_size"),
    ]
    for given, words in wrong:
        with pytest.raises(q.UsageError, match=words):
            session = opened("runs/never", **given)
            session.ask(logits=logits(0))
    assert not Path("runs/never").exists()
    with pytest.raises(q.UsageError, match="no strategy is called"):
        opened(strategy="nobody").ask(logits=logits(0))
    Path("full").mkdir()
    Path("full/file").write_text("x")
    with pytest.raises(q.UsageError, match="exists already"):
        opened("full")


def test_the_session_of_another_setup_is_not_gone_on_with() -> None:
    session = opened()
    batch = session.ask(logits=logits(0))
    assert batch is not None
    told(session, batch)
    session.close()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"strategy": "entropy"}, "a session of strategy `margin`, not of `entropy`"),
        ({"seed": 2}, "another `seed`"),
        ({"budget": [5] * 4}, "another `budget`"),
        ({"ids": ROWS - 1}, "other ids|add up"),
        ({"subset_size": 20}, "another `subset_size`"),
        ({"keep_features": True}, "another `keep_features`"),
        ({"test_labels": TEST_LABELS}, "other ids, classes or test labels"),
    ]
    for given, words in wrong:
        with pytest.raises(q.QueristError, match=words):
            opened(**given)
    assert opened().round == 1


def test_two_processes_do_not_work_on_one_session() -> None:
    session = opened()
    assert session.ask(logits=logits(0)) is not None
    with pytest.raises(q.QueristError, match="another process works on the run"):
        opened()
    code = f"""
        import querist as q
        try:
            q.Session("runs/mine", ids={ROWS}, strategy="margin", budget=[5] * 3, seed=1)
        except q.QueristError as error:
            print(error)
    """
    said = run(sys.executable, "-c", textwrap.dedent(code))
    assert "another process works on the run" in said.stdout, said.stderr
    session.close()
    with pytest.raises(q.QueristError, match="this session is closed"):
        session.ask(logits=logits(0))
    assert opened().ask() is not None


def _ask_in_fork(session: q.Session, queue: Any) -> None:
    try:
        session.ask()
        queue.put("asked")
    except q.UsageError as error:
        queue.put(str(error))


def test_a_fork_does_not_work_on_the_session_of_its_parent() -> None:
    session = opened()
    assert session.ask(logits=logits(0)) is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_ask_in_fork, args=(session, queue))
    child.start()
    assert "of which" in queue.get(timeout=60)
    child.join()
    assert session.ask() is not None


LOOP = """
    import sys, time
    import numpy as np
    import querist as q
    def floats(*shape, seed):
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    labels = np.random.default_rng(5).integers(0, 4, 60)
    session = q.Session("runs/mine", ids=60, strategy="badge", budget=[2] * 6, seed=1, classes=4)
    print("open", session.round, flush=True)
    while batch := session.ask(logits=floats(60, 4, seed=session.round), embeddings=floats(60, 6, seed=3)):
        print("asked", batch.round, *batch.ids, flush=True)
        session.tell(batch.ids, labels[batch.rows], metrics={"accuracy": 0.5})
        print("told", batch.round, *batch.ids, flush=True)
    session.finish(metrics={"accuracy": 0.75})
    print("finished", flush=True)
"""


def test_nothing_told_is_lost_whenever_it_is_killed() -> None:
    kills = 200 if os.environ.get("QUERIST_FULL") else 12
    dice = random.Random(3)
    asked: dict[int, list[str]] = {}
    safe: dict[int, list[str]] = {}
    killed = finished = 0
    while killed < kills:
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LOOP)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stderr is not None
        lines: list[list[str]] = []
        until = dice.randrange(2, 14)
        for line in child.stdout:
            lines.append(line.split())
            if len(lines) >= until:
                time.sleep(dice.random() * 0.03)
                child.send_signal(signal.SIGKILL)
                killed += 1
                break
        child.wait()
        errors = child.stderr.read()
        lines += [line.split() for line in child.stdout.read().splitlines()]
        child.stdout.close()
        child.stderr.close()
        assert child.returncode in (0, -signal.SIGKILL), errors
        for word, *rest in lines:
            if word == "asked":
                assert asked.setdefault(int(rest[0]), rest[1:]) == rest[1:], "another batch than before"
            elif word == "told":
                safe[int(rest[0])] = rest[1:]
            elif word == "open":
                assert int(rest[0]) >= len(safe), "a round that was told is gone"
            elif word == "finished":
                finished += 1
                picks = [
                    [line.split(",")[1] for line in path.read_text().splitlines()[1:]]
                    for path in sorted(Path("runs/mine/rounds").glob("*/picks.csv"))
                ]
                assert picks == [asked[at] for at in range(6)]
                assert q.report("runs/mine").frame()["labelled"] == [0, 2, 4, 6, 8, 10, 12]
                assert not Path("runs/mine/asked").exists()
                subprocess.run(["rm", "-rf", "runs/mine"], check=True)
                asked, safe = {}, {}
    assert finished or kills < 200


def test_what_was_written_down_is_checked() -> None:
    session = opened()
    assert session.ask(logits=logits(0)) is not None
    session.close()
    path = Path("runs/mine/asked/batch.json")
    batch = json.loads(path.read_text())
    for change, words in [
        ({"ids": [*batch["ids"][:-1], 999]}, "pick 4 is row"),
        ({"ids": [batch["ids"][0]] * 5}, "picked before"),
        ({"ids": batch["ids"][:-1]}, "selected 4 rows, expected exactly 5"),
        ({"rows": 7}, "`rows` is 7"),
        ({"scores": batch["scores"][:-1]}, "gave 4 scores"),
    ]:
        path.write_text(json.dumps({**batch, **change}))
        with pytest.raises(q.QueristError, match=words):
            opened()
    path.write_text("{")
    with pytest.raises(q.QueristError, match="batch.json"):
        opened()
    path.write_text(json.dumps(batch))
    assert opened().ask() is not None


def test_the_last_round_may_be_evaluated_by_ask() -> None:
    session = opened(budget=[5])
    batch = session.ask(logits=logits(0), metrics={"accuracy": 0.25})
    assert batch is not None
    session.tell(batch.ids, LABELS[batch.rows])
    assert session.ask(logits=logits(1), metrics={"accuracy": 0.5}) is None
    assert session.is_finished and session.ask() is None
    session.finish()
    session.close()
    assert q.report("runs/mine").frame()["accuracy"] == [0.25, 0.5]
