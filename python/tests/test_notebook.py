"""The notebook of `examples/`: kept without outputs, and run from its first cell to its last."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples/digits.ipynb"


def codes(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in codes(cells):
        assert cell["outputs"] == [] and cell["execution_count"] is None, "clear the outputs of the notebook"


@pytest.mark.skipif("QUERIST_FULL" not in os.environ, reason="of the full check")
def test_it_runs_and_draws_curves(tmp_path: Path) -> None:
    for package in ("ipykernel", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in codes(book.cells) for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    shown = [output["data"] for output in outputs if "data" in output]
    pictures = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    assert len(pictures) == 1 and len(pictures[0]) > 10_000
    report = next(data["text/html"] for data in shown if "text/html" in data)
    for strategy in ("random", "entropy", "margin", "k-center-greedy", "badge"):
        assert strategy in report, report
    # Where somebody wants to look at it.
    if folder := os.environ.get("QUERIST_PICTURES"):
        Path(folder, "digits.png").write_bytes(pictures[0])
