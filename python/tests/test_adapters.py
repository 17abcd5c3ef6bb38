"""The adapters of `examples/adapters`, each with the library that it is for."""

from __future__ import annotations

import csv
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import querist as q

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "adapters"


def adapter(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


def blobs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of three classes, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return (rng.normal(size=(count, 4)) + 3 * labels[:, None]).astype(np.float32), labels


def test_scikit_activeml(monkeypatch: pytest.MonkeyPatch) -> None:
    skactiveml = pytest.importorskip("skactiveml")
    assert skactiveml
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    Querist = adapter("scikit_activeml", monkeypatch).Querist
    X, truth = blobs(150)
    y = np.full(len(X), np.nan)
    y[:9] = truth[:9]
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    for _ in range(3):
        picked = Querist("margin", random_state=1).query(X, y, clf=clf, batch_size=6)
        assert len(set(picked)) == 6 and np.isnan(y[picked]).all()
        y[picked] = truth[picked]
    assert (clf.fit(X, y).predict(X) == truth).mean() > 0.9
    # The picks of `select` on the same arrays, by numbers of samples.
    pool = np.flatnonzero(np.isnan(y))
    fitted = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2]).fit(X, y)
    expected = pool[q.select("margin", budget=5, probs=fitted.predict_proba(X[pool])).rows]
    found, utilities = Querist("margin").query(X, y, clf=fitted, fit_clf=False, batch_size=5, return_utilities=True)
    assert list(found) == list(expected)
    assert utilities.shape == (5, len(X)) and np.isfinite(utilities[np.arange(5), found]).all()
    # Among candidates alone, and with embeddings of the labelled set.
    some = pool[::2]
    assert set(Querist("k-center-greedy").query(X, y, clf=clf, candidates=some, batch_size=4)) <= set(some)


def test_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    next_batch = adapter("hugging_face", monkeypatch).next_batch
    logits, _ = blobs(60)
    embeddings, _ = blobs(60, seed=1)
    columns = {"name": [f"text {at}" for at in range(60)], "logits": list(logits), "embeddings": list(embeddings)}
    pool = datasets.Dataset.from_dict(columns)
    batch = next_batch(pool, 7, strategy="margin", seed=3)
    picked = q.select("margin", budget=7, seed=3, logits=logits, embeddings=embeddings)
    assert batch["name"][:] == [f"text {row}" for row in picked.rows]
    assert batch["querist_score"][:] == list(picked.scores)
    assert "querist_score" not in pool.column_names


def test_csv(tmp_path: Path) -> None:
    logits, _ = blobs(40)
    embeddings, _ = blobs(40, seed=1)
    np.save("logits.npy", logits)
    np.save("embeddings.npy", embeddings)
    with open("pool.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "label"]] + [[f"{at}.png", "cat" if at < 4 else ""] for at in range(40)])
    args = ["pool.csv", "--embeddings", "embeddings.npy", "--logits", "logits.npy", "--budget", "5", "--out", "out.csv"]
    call = [sys.executable, str(FOLDER / "csv_tags.py"), *args]
    subprocess.run(call, check=True)
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    tagged = {int(row["label_next"]): at for at, row in enumerate(rows) if row["label_next"]}
    picked = q.select("badge", budget=5, logits=logits[4:], embeddings=embeddings[4:],
                      labelled_embeddings=embeddings[:4])
    assert [tagged[rank] for rank in range(1, 6)] == [row + 4 for row in picked.rows]
    np.save("logits.npy", logits[:-1])
    said = subprocess.run(call, capture_output=True, text=True)
    assert said.returncode == 2 and "40 rows, 40 embeddings, 39 logits" in said.stderr
