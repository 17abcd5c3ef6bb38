"""Arrays and tables of other libraries, where they are installed."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import querist as q
from conftest import CLASSES, POOL, WIDTH, floats, run

LOGITS = floats(POOL, CLASSES).astype(np.float16).astype(np.float32)


def rows(**given: Any) -> list[int]:
    return q.select("margin", budget=9, **given).rows


EXPECTED = rows(logits=LOGITS)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(LOGITS.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(logits=tensor) == EXPECTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", q.CopyWarning)
        for other in [tensor.half(), tensor.double(), tensor.t().contiguous().t(), tensor.repeat(2, 1)[::2]]:
            found = rows(logits=other)
            assert found == EXPECTED or other.shape == tensor.shape
        exact = tensor.bfloat16()
        assert rows(logits=exact) == rows(logits=exact.float())
    with pytest.raises(q.UsageError, match="`logits` requires grad: pass it as `.detach"):
        rows(logits=tensor.clone().requires_grad_())
    with pytest.raises(q.UsageError, match="`logits` is on the device `meta`"):
        rows(logits=torch.zeros(POOL, CLASSES, device="meta"))
    with pytest.raises(q.UsageError, match="`logits` holds int64"):
        rows(logits=torch.zeros(POOL, CLASSES, dtype=torch.int64))
    assert rows(logits=tensor, ids=torch.arange(POOL)) == EXPECTED


def test_torch_workers() -> None:
    torch = pytest.importorskip("torch")

    class Selecting(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, at: int) -> Any:
            return torch.tensor(rows(logits=LOGITS))

    loader = torch.utils.data.DataLoader(Selecting(), num_workers=2, batch_size=None)
    assert [found.tolist() for found in loader] == [EXPECTED] * 4


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    numbers = jax.numpy.asarray(LOGITS)
    assert rows(logits=numbers) == EXPECTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", q.CopyWarning)
        assert rows(logits=numbers.astype(jax.numpy.float16)) == EXPECTED
        short = numbers.astype(jax.numpy.bfloat16)
        assert rows(logits=short) == rows(logits=np.asarray(short.astype(jax.numpy.float32)))


def test_bfloat16_of_numpy() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    short = LOGITS.astype(ml_dtypes.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", q.CopyWarning)
        assert rows(logits=short) == rows(logits=short.astype(np.float32))


def table_columns() -> dict[str, Any]:
    return {"file": [f"{row}.png" for row in range(POOL)], "scores": LOGITS.tolist()}


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(table_columns())
    picked = q.select("margin", table=table, logits="scores", ids="file", budget=9)
    assert picked.rows == EXPECTED and picked.ids == [f"{row}.png" for row in EXPECTED]
    with pytest.raises(q.UsageError, match="has no column 'nothing'; it has 'file', 'scores'"):
        q.select("margin", table=table, logits="nothing", budget=9)
    ragged = pandas.DataFrame({"scores": [[1.0], [1.0, 2.0]]})
    with pytest.raises(q.UsageError, match="not equally long"):
        q.select("margin", table=ragged, logits="scores", budget=1)


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(table_columns())
    assert q.select("margin", table=table, logits="scores", ids="file", budget=9).rows == EXPECTED
    fixed = table.with_columns(polars.col("scores").cast(polars.Array(polars.Float32, CLASSES)))
    assert q.select("margin", table=fixed, logits="scores", ids="file", budget=9).rows == EXPECTED


def test_pyarrow() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(table_columns())
    picked = q.select("margin", table=table, logits="scores", ids="file", budget=9)
    assert picked.rows == EXPECTED and picked.ids[0] == f"{EXPECTED[0]}.png"


def test_hugging_face_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(table_columns())
    picked = q.select("margin", table=table, logits="scores", ids="file", budget=9)
    assert picked.rows == EXPECTED
    assert table.select(picked.rows)["file"] == picked.ids


def test_types() -> None:
    pytest.importorskip("mypy")
    said = run(sys.executable, "-m", "mypy", "--strict", "-p", "querist")
    assert said.returncode == 0, said.stdout
    Path("use.py").write_text(
        "import querist as q\n"
        "picked: q.Picked = q.select('badge', logits=object(), budget=3)\n"
        "rows: list[int] = picked.rows\n"
        "session = q.Session('a', ids=3, strategy='badge', budget=[1])\n"
        "batch: q.Batch | None = session.ask(logits=lambda ids: object())\n"
        "q.report('a').to_html('b')\n"
        "schema: dict[str, object] = q.strategies()['badge'].schema\n"
    )
    said = run(sys.executable, "-m", "mypy", "--strict", "use.py")
    assert said.returncode == 0, said.stdout


def test_types_by_another_tool() -> None:
    pytest.importorskip("pyright")
    Path("use.py").write_text(
        "import querist as q\npicked = q.select('badge', logits=object(), budget=3)\nrows: list[int] = picked.rows\n"
    )
    said = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "use.py"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert said.returncode == 0, said.stdout + said.stderr
