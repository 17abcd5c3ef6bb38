"""The command line that the wheel brings."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import querist as q
from conftest import CLASSES, POOL, floats, run


@pytest.fixture(scope="module")
def querist() -> str:
    found = shutil.which("querist", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


def test_it_says_what_is_there(querist: str) -> None:
    said = run(querist, "--version")
    assert said.stdout.split() == ["querist", q.__version__]
    doctor = json.loads(run(querist, "doctor", "--format", "json").stdout)
    findings = {one["name"]: one for one in doctor["findings"]}
    assert findings["plugins"]["problem"] is None and "strategies" in findings["plugins"]["found"]
    assert "does not train" in findings["libtorch"]["problem"]


def test_exit_codes_are_those_of_the_program(querist: str) -> None:
    assert run(querist, "select").returncode == 2
    said = run(querist, "select", "--strategy", "nobody", "--budget", "1", "--input", "logits=none.npy")
    assert said.returncode == 2 and "no strategy is called `nobody`" in said.stderr, said.stderr
    assert run(querist, "explain", "nonsense").returncode != 0
    assert run(querist, "report", "nowhere").returncode != 0


def test_components_are_compiled_by_a_child(querist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_CACHE", str(tmp_path / "cache"))
    np.save("logits.npy", floats(POOL, CLASSES))
    said = run(querist, "select", "--strategy", "margin", "--budget", "3", "--input", "logits=logits.npy")
    assert said.returncode == 0, said.stderr
    assert [int(line) for line in said.stdout.split()] == q.select("margin", logits=np.load("logits.npy"), budget=3).rows
    assert list((tmp_path / "cache/compiled").glob("*.cwasm")), "nothing was compiled"
    # The same by the function, in a process whose Python sees no packages but this one.
    code = "import querist, array; v = memoryview(array.array('f', range(40))).cast('B').cast('f', (10, 4));"
    code += "print(querist.select('margin', logits=v, budget=2).rows)"
    monkeypatch.setenv("QUERIST_CACHE", str(tmp_path / "other"))
    said = run(sys.executable, "-I", "-c", code)
    assert said.returncode == 0, said.stderr
    assert list((tmp_path / "other/compiled").glob("*.cwasm"))


def test_a_check_starts_itself_again(querist: str) -> None:
    package = Path(q.__file__).parent / "plugins/uncertainty"
    said = run(querist, "plugin", "check", "--quick", "--strategy", "margin", str(package))
    assert said.returncode == 0 and "BROKEN" not in said.stdout, said.stdout + said.stderr


def test_what_trains_says_what_is_missing(querist: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    text = 'version = 1\ndataset = { name = "digits", test = 300 }\nstrategy = { id = "random" }\n'
    file.write_text(text + "budget = { initial = 10, batch = 5, rounds = 1 }\n")
    said = run(querist, "run", str(file))
    assert said.returncode != 0 and "pip install querist-torch==" in said.stderr, said.stderr


def test_a_learner_of_ones_own_needs_nothing_else(querist: str, tmp_path: Path) -> None:
    learner = Path(__file__).parents[2] / "examples/learners/plain.py"
    file = tmp_path / "run.toml"
    text = 'version = 1\ndataset = { name = "digits", test = 300 }\nstrategy = { id = "margin" }\n'
    text += "budget = { initial = 10, batch = 5, rounds = 1 }\n"
    file.write_text(text + f"learner = {{ command = {json.dumps([sys.executable, str(learner)])} }}\n")
    said = run(querist, "run", str(file), "--out", str(tmp_path / "run"))
    assert said.returncode == 0, said.stderr
    assert len((tmp_path / "run/rounds.jsonl").read_text().splitlines()) == 2


def test_modules_can_be_run() -> None:
    said = run(sys.executable, "-m", "querist", "plugin", "list")
    assert said.returncode == 0 and "badge" in said.stdout
