"""Both packages in one environment: what trains is found, trains, and says what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import querist as q

QUERIST = str(Path(sys.executable).parent / "querist")
SITE = Path(sysconfig.get_path("platlib"))
RUN = """version = 1
dataset = { name = "digits", test = 300 }
model = { name = "cnn" }
recipe = { optimiser = "adam", lr = 0.002, epochs = EPOCHS, minibatch = 32 }
budget = { initial = 20, per_class = true, batch = 10, rounds = 1 }
compute = { threads = 1 }
"""


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, on a machine that has no other libtorch."""
    monkeypatch.chdir(tmp_path)
    for name in ("LD_LIBRARY_PATH", "LIBTORCH", "QUERIST_TRAIN"):
        monkeypatch.delenv(name, raising=False)


def querist(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([QUERIST, *words], capture_output=True, text=True, timeout=300)


def good(*words: str) -> str:
    said = querist(*words)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def findings() -> dict[str, dict[str, str | None]]:
    return {one["name"]: one for one in json.loads(good("doctor", "--format", "json"))["findings"]}


def run_of(strategy: str, epochs: int = 2) -> list[dict[str, object]]:
    Path("run.toml").write_text(RUN.replace("EPOCHS", str(epochs)) + f'strategy = {{ id = "{strategy}" }}\n')
    good("run", "run.toml", "--out", strategy)
    return [json.loads(line) for line in Path(strategy, "rounds.jsonl").read_text().splitlines()]


def test_it_says_which_libtorch_is_used() -> None:
    found = findings()["libtorch"]["found"]
    assert found is not None and found.startswith("2.11.0") and str(SITE / "torch/lib") in found, found


def test_a_model_of_the_program_learns() -> None:
    rounds = run_of("badge", epochs=30)
    assert len(rounds) == 2
    report = q.report("badge").frame()
    assert float(report["accuracy"][-1]) > 0.5, report


def test_strategies_with_networks_of_their_own_answer() -> None:
    assert len(run_of("learning-loss")) == 2
    strategy = json.loads(Path("learning-loss/header.json").read_text())["strategy"]
    assert (strategy["id"], strategy["kind"]) == ("learning-loss", "native-torch")


def test_native_strategies_answer_in_this_process_and_in_the_program() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.save("pool.npy", rows[4:])
    np.save("labelled.npy", rows[:4])
    picked = q.select("core-set", embeddings=rows[4:], labelled_embeddings=rows[:4], budget=3)
    words = ["select", "--strategy", "core-set", "--budget", "3", "--input", "embeddings=pool.npy"]
    said = good(*words, "--input", "labelled.embeddings=labelled.npy")
    assert picked.kind == "native" and [int(line) for line in said.split()] == picked.rows
    with pytest.raises(q.UsageError, match="ask it with `querist select`"):
        q.select("vaal", embeddings=rows, budget=3)


def test_all_strategies_are_listed_by_both_programs() -> None:
    front = {row["id"] for row in json.loads(good("plugin", "list", "--format", "json"))}
    train = subprocess.run(
        [str(SITE / "querist_torch/bin/querist-train"), "plugin", "list", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert front == {row["id"] for row in json.loads(train.stdout)}, train.stderr
    assert {"badge", "balanced", "core-set", "vaal"} <= front == set(q.strategies())


def test_a_study_trains() -> None:
    text = RUN.replace("EPOCHS", "1") + 'strategies = [{ id = "random" }, { id = "margin" }]\nseeds = [0]\n'
    Path("study.toml").write_text(text)
    good("study", "run", "study.toml", "--out", "study")
    assert len(list(Path("study").rglob("rounds.jsonl"))) == 2


@pytest.fixture
def no_torch() -> Iterator[None]:
    folder, other = SITE / "torch", SITE / "torch-away"
    folder.rename(other)
    yield
    other.rename(folder)


def test_a_missing_torch_is_named_with_the_remedy(no_torch: None) -> None:
    problem = findings()["libtorch"]["problem"]
    assert problem is not None and "pip install 'torch==2.11.*'" in problem, problem
    Path("run.toml").write_text(RUN.replace("EPOCHS", "1") + 'strategy = { id = "random" }\n')
    said = querist("run", "run.toml")
    assert said.returncode != 0 and "pip install 'torch==2.11.*'" in said.stderr, said.stderr
    # What does not train does not care.
    assert q.select("margin", probs=np.eye(4, dtype=np.float32), budget=1).rows


def test_the_program_can_be_started() -> None:
    mode = (SITE / "querist_torch/bin/querist-train").stat().st_mode
    assert mode & 0o111 and os.access(SITE / "querist_torch/plugins/SHA256SUMS", os.R_OK)
