"""Reports of sessions, as pages and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

import querist as q
from test_session import whole


@pytest.fixture
def runs() -> str:
    for name, strategy in [("a", "margin"), ("b", "random")]:
        whole(f"runs/{name}", strategy=strategy, classes=4).close()
    return "runs/*"


def test_every_form(runs: str) -> None:
    report = q.report(runs)
    report.to_html("report.html")
    page = Path("report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>") and "margin" in page
    assert "margin" in str(report) and "margin" in report.to_markdown() and "margin" in report.to_latex()
    assert report.to_dict()["version"] >= 1
    frame = report.frame()
    assert {len(column) for column in frame.values()} == {8}
    assert all(isinstance(value, float) for value in frame["accuracy"])
    assert frame["loss"] == [None] * 8, "nobody knows it"


def test_tables_of_others_take_the_frame(runs: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = q.report(runs).frame()
    table = pandas.DataFrame(frame)
    assert table.groupby("strategy")["accuracy"].max().to_dict() == {"margin": 0.9, "random": 0.9}
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(frame).shape == table.shape == frame.to_polars().shape
    assert frame.to_pandas().shape == table.shape


def test_wrong_folders_are_named(runs: str) -> None:
    with pytest.raises(q.UsageError, match="no folder is called 'nowhere'"):
        q.report("nowhere")
    Path("empty").mkdir()
    with pytest.raises(q.UsageError, match="holds no runs"):
        q.report("empty")
    with pytest.raises(q.UsageError, match="nonsense"):
        q.report(runs, curves_by=["nonsense"])
    record = next(Path("runs/a/rounds/0001").glob("picks.csv"))
    record.write_text(record.read_text().replace("0", "1"))
    with pytest.raises(q.QueristError, match="changed"):
        q.report("runs/a")
