"""What the tests share: arrays by name, and the program to compare with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

POOL, LABELLED, CLASSES, WIDTH, DRAWS = 90, 14, 5, 8, 6


@pytest.fixture(scope="session")
def program() -> str:
    """The executable that was built with the wheel, or else the one in the wheel."""
    found = os.environ.get("QUERIST_PROGRAM") or shutil.which("querist", path=str(Path(sys.executable).parent))
    assert found is not None, "there is no querist to compare with"
    return found


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def array(name: str, draws: int = DRAWS) -> np.ndarray | None:
    """An array of this name, or nothing where a question about arrays has none."""
    bare, rows = (name[9:], LABELLED) if name.startswith("labelled.") else (name, POOL)
    seed = sum(map(ord, name))
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "logits": (rows, CLASSES),
        "embeddings": (rows, WIDTH),
        "penultimate": (rows, WIDTH),
        "fixed_embeddings": (rows, WIDTH),
        "grad_norm": (rows,),
        "grad_embeddings": (rows, WIDTH),
        "head.w": (CLASSES, WIDTH),
        "head.b": (CLASSES,),
        "calibration.logits": (11, CLASSES),
        "calibration.penultimate": (11, WIDTH),
    }
    if bare in shapes:
        values = floats(*shapes[bare], seed=seed)
        return np.abs(values) if bare == "grad_norm" else values
    if bare in ("mc_log_probs", "member_log_probs"):
        return log_softmax(floats(rows, draws, CLASSES, seed=seed))
    if bare == "target.mc_log_probs":
        return log_softmax(floats(13, draws, CLASSES, seed=seed))
    if bare in ("labels", "oracle.labels") or name == "calibration.labels":
        count = {"labels": LABELLED, "oracle.labels": POOL}.get(bare, 11)
        return rng.integers(0, CLASSES, count)
    if bare == "perturbed_logits":
        return floats(POOL, draws, CLASSES, seed=seed)
    if bare == "rejected":
        return rng.integers(0, 2, LABELLED)
    if bare.startswith(("extra.", "query.", "private.")):
        return floats(rows if bare.startswith("extra.") else 7, WIDTH, seed=seed)
    return None


def need_names(need: str) -> list[str]:
    """The names of a need such as `mc_log_probs(T=10, or=logits)`, the first choice first."""
    name, _, rest = need.partition("(")
    other = re.search(r"or=([a-z_.]+)", rest)
    return [name] + ([other.group(1)] if other else [])


def draws_of(need: str) -> int:
    found = re.search(r"(?:T|K|members)=(\d+)", need)
    return int(found.group(1)) if found else DRAWS


def arrays_for(needs: list[str]) -> dict[str, np.ndarray]:
    given: dict[str, np.ndarray] = {}
    for need in needs:
        for name in need_names(need):
            names = ["head.w", "head.b"] if name == "head" else [name]
            found = {one: array(one, draws_of(need)) for one in names}
            if all(value is not None for value in found.values()):
                given.update({one: value for one, value in found.items() if value is not None})
                break
    return given


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(words), capture_output=True, text=True, timeout=300, **more)
