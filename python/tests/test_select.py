"""`querist.select` beside the command line, and everything that can be wrong with arrays."""

from __future__ import annotations

import array as stdlib
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import querist as q
from conftest import CLASSES, LABELLED, POOL, WIDTH, array, arrays_for, floats, run

SANDBOXED = sorted(name for name, info in q.strategies().items() if info.kind in ("wasm", "composite"))


def bits(scores: list[float]) -> list[bytes]:
    return [np.float64(score).tobytes() for score in scores]


def test_there_are_many_strategies() -> None:
    assert len(SANDBOXED) >= 40, SANDBOXED
    badge = q.strategies()["badge"]
    assert badge.needs and badge.paper and badge.digest and badge.schema["type"] == "object"


@pytest.mark.parametrize("name", SANDBOXED)
def test_picks_and_bits_are_those_of_the_command_line(name: str, program: str, tmp_path: Path) -> None:
    info = q.strategies()[name]
    params = (info.schema.get("examples") or [{}])[0]
    given = arrays_for(info.needs)
    words = [program, "select", "--strategy", name, "--budget", "12", "--seed", "7", "--format", "json"]
    words += ["--params", json.dumps(params)]
    # Packages of one build are compared, wherever the program lies.
    words += ["--plugin-dir", str(Path(q.__file__).parent / "plugins")]
    if not given:
        given = {"logits": floats(POOL, CLASSES)}
    for one, values in given.items():
        np.save(tmp_path / f"{one}.npy", values)
        words += ["--input", f"{one}={one}.npy"]
    said = run(*words)
    keywords = {one.replace(".", "_"): values for one, values in given.items()}
    assert said.returncode == 0, said.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", q.QueristWarning)
        picked = q.select(name, budget=12, seed=7, params=params, **keywords)
    expected = json.loads(said.stdout)
    assert picked.rows == expected["rows"]
    assert picked.ids == expected["ids"]
    assert bits(picked.scores) == bits(expected["scores"] or [])
    assert picked.digest == expected["digest"]
    assert picked.diagnostics == expected["diagnostics"]


def test_ids_are_texts_numbers_or_rows() -> None:
    logits = floats(POOL, CLASSES)
    rows = q.select("margin", logits=logits, budget=5)
    assert rows.ids == rows.rows
    order = np.random.default_rng(1).permutation(POOL)
    numbered = q.select("margin", logits=logits[order], ids=order.astype(np.int64), budget=5)
    assert numbered.ids == rows.rows, "rows go by their ids, whatever their order"
    named = q.select("margin", logits=logits, ids=[f"{row}.png" for row in range(POOL)], budget=5)
    assert named.ids == [f"{row}.png" for row in rows.rows]
    as_array = q.select("margin", logits=logits, ids=np.array([f"{row}.png" for row in range(POOL)]), budget=5)
    assert as_array.ids == named.ids


def test_probabilities_take_the_place_of_logits() -> None:
    logits = floats(POOL, CLASSES).astype(np.float64)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    by_probs = q.select("margin", probs=probs.astype(np.float32), budget=8)
    assert by_probs.rows == q.select("margin", logits=logits.astype(np.float32), budget=8).rows
    with pytest.warns(q.QueristWarning, match="look like probabilities.*`probs=...`"):
        q.select("margin", logits=probs.astype(np.float32), budget=8)


@pytest.mark.parametrize("how", ["f16", "f64", "fortran", "strided", "reversed", "rows"])
def test_other_floats_and_orders_are_copied_and_said_once(how: str) -> None:
    plain = floats(POOL, CLASSES).astype(np.float16).astype(np.float32)
    doubled = np.repeat(plain, 2, axis=1)
    given = {
        "f16": plain.astype(np.float16),
        "f64": plain.astype(np.float64),
        "fortran": np.asfortranarray(plain),
        "strided": doubled[:, ::2],
        "reversed": plain[::-1].copy()[::-1],
        "rows": np.repeat(plain, 3, axis=0)[::3],
    }[how]
    assert np.array_equal(given.astype(np.float32), plain)
    expected = q.select("margin", logits=plain, budget=9)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            picked = q.select("margin", logits=given, budget=9)
    assert picked.rows == expected.rows and bits(picked.scores) == bits(expected.scores)
    copies = [one for one in told if issubclass(one.category, q.CopyWarning)]
    assert len(copies) <= 1, [str(one.message) for one in copies]
    for one in copies:
        assert "`logits` is copied" in str(one.message) and one.filename == __file__


def test_what_is_read_where_it_lies_is_not_said() -> None:
    logits = floats(POOL, CLASSES)
    logits.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = q.select("margin", logits=logits, budget=4)
        flat = stdlib.array("f", logits.ravel().tolist())
        borrowed = memoryview(flat).cast("B").cast("f", logits.shape)
        assert q.select("margin", logits=borrowed, budget=4).rows == expected.rows


def test_memory_is_borrowed_and_given_back() -> None:
    code = """
        import resource, sys
        import numpy as np, querist as q
        rows = 600_000
        logits = np.random.default_rng(0).random((rows, 100), dtype=np.float32) * 8
        q.select("margin", logits=logits[:1000], budget=3, threads=2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        q.select("margin", logits=logits, budget=3, threads=2)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(after - before, logits.nbytes // 1024, sys.getrefcount(logits))
    """
    said = run(sys.executable, "-c", textwrap.dedent(code))
    assert said.returncode == 0, said.stderr
    grown, array_size, references = map(int, said.stdout.split())
    assert grown < array_size // 4, f"{grown} KiB more for an array of {array_size} KiB"
    assert references == 2, "nobody holds the array any more"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"logits": np.zeros((POOL, CLASSES), np.int64)}, ["`logits` holds int64", "expected floats"]),
        ({"logits": np.zeros((POOL, CLASSES), bool)}, ["`logits` holds bool"]),
        ({"logits": np.zeros((POOL, CLASSES), complex)}, ["`logits`"]),
        ({"logits": np.zeros((0, CLASSES), np.float32)}, ["`logits` has no rows", "[0, 5]"]),
        ({"logits": np.float32(1.0)}, ["`logits`"]),
        ({"logits": np.zeros(POOL, np.float32)}, ["`logits`", "f32 [90]", "expected"]),
        ({"logits": np.zeros((1, 1, 1, 1, 1), np.float32)}, ["`logits` has 5 dimensions"]),
        ({"logits": [[0.0, 1.0]] * POOL}, ["`logits` is a list", "numpy.asarray"]),
        ({"logits": "logits.npy"}, ["`logits` is the text", "no `table`"]),
        ({"logits": object()}, ["`logits` is a `object`", "expected an array"]),
        ({"logits": np.full((POOL, CLASSES), 1e300)}, ["`logits` holds 1e300", "beyond float32"]),
        ({"logits": floats(POOL, CLASSES).astype(">f4")}, ["`logits`", "order"]),
        ({"logit": floats(POOL, CLASSES)}, ["no array is called `logit`", "logits"]),
        ({"logits": floats(POOL, CLASSES), "probs": np.full((POOL, CLASSES), 0.2, np.float32)}, ["twice"]),
        ({"logits": floats(POOL, CLASSES), "ids": [0] * POOL}, ["`ids` holds id 0 in rows 0 and 1"]),
        ({"logits": floats(POOL, CLASSES), "ids": list(range(POOL - 1))}, ["`ids` has 89 ids for 90 rows"]),
        ({"logits": floats(POOL, CLASSES), "ids": ["a"] * POOL}, ["'a' in rows 0 and 1"]),
        ({"logits": floats(POOL, CLASSES), "ids": np.arange(POOL) - 1}, ["`ids` holds -1 in row 0"]),
        ({"logits": floats(POOL, CLASSES), "ids": np.arange(POOL) * 0.5}, ["`ids` holds float64"]),
        ({"logits": floats(POOL, CLASSES), "params": {"nonsense": 1}}, ["nonsense"]),
        ({"logits": floats(POOL, CLASSES), "params": {"a": float("nan")}}, ["`params`"]),
        ({"logits": floats(POOL, CLASSES), "subset_size": 3}, ["`subset_size=3`"]),
        ({"logits": floats(POOL, CLASSES), "threads": 0}, ["`threads`"]),
        ({"logits": floats(POOL, CLASSES), "memory": "lots"}, ["`memory`"]),
        ({"logits": floats(POOL, CLASSES), "seconds": 0}, ["`seconds`"]),
        ({"logits": floats(POOL, CLASSES), "classes": "five"}, ["`classes`"]),
        ({"embeddings": floats(POOL, WIDTH)}, ["needs logits", "`logits=...`"]),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(q.UsageError) as error:
        q.select("margin", budget=5, **arguments)
    for word in words:
        assert word in str(error.value), str(error.value)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_what_is_not_finite_is_refused_with_its_row(value: float, dtype: type) -> None:
    logits = floats(POOL, CLASSES).astype(dtype)
    logits[17, 2] = value
    with pytest.raises(q.UsageError, match=r"`logits` holds (NaN|-?inf) in row 17"), warnings.catch_warnings():
        warnings.simplefilter("ignore", q.CopyWarning)
        q.select("margin", logits=logits, budget=5)


def test_labels_are_labels() -> None:
    embeddings, labelled = floats(POOL, WIDTH), floats(LABELLED, WIDTH)
    labels = array("labelled.labels")
    assert labels is not None
    wrong: list[tuple[Any, str]] = [
        (labels - 1, "`labelled.labels` holds -1 in row"),
        (labels.astype(np.float32), "holds float32; expected whole numbers"),
        (labels[:-1], "labelled"),
        (labels[:, None], "expected one dimension"),
        ("abc", "no `table`"),
    ]
    for given, words in wrong:
        with pytest.raises(q.UsageError) as error:
            q.select(
                "cal",
                budget=5,
                logits=floats(POOL, CLASSES),
                labelled_logits=floats(LABELLED, CLASSES),
                embeddings=embeddings,
                labelled_embeddings=labelled,
                labelled_labels=given,
            )
        assert words in str(error.value), str(error.value)


def test_unknown_strategies_are_named_with_the_nearest() -> None:
    with pytest.raises(q.UsageError, match="did you mean `badge`") as error:
        q.select("badgr", logits=floats(POOL, CLASSES), budget=5)
    assert error.value.message.startswith("no strategy is called")


def test_other_threads_go_on_meanwhile() -> None:
    counted = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1

    embeddings = floats(20_000, 64)
    thread = threading.Thread(target=count)
    thread.start()
    clock = time.perf_counter()
    try:
        q.select("k-center-greedy", embeddings=embeddings, labelled_embeddings=embeddings[:1], budget=400, threads=1)
    finally:
        seconds = time.perf_counter() - clock
        stop.set()
        thread.join()
    assert counted > 1000, f"the lock was held: {counted} counts in {seconds} s"


def test_threads_may_select_at_once() -> None:
    logits = floats(POOL, CLASSES)
    expected = q.select("margin", logits=logits, budget=7).rows
    found: list[list[int]] = []

    def select() -> None:
        for _ in range(5):
            found.append(q.select("margin", logits=logits, budget=7).rows)

    threads = [threading.Thread(target=select) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 30


def _select_in_worker(seed: int) -> list[int]:
    return q.select("badge", logits=floats(POOL, CLASSES), embeddings=floats(POOL, WIDTH), budget=7, seed=seed).rows


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_may_be_started_in_every_way(method: str) -> None:
    here = [_select_in_worker(seed) for seed in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(_select_in_worker, range(4)).get(timeout=120) == here


def test_ctrl_c_interrupts() -> None:
    code = """
        import signal, sys
        import numpy as np, querist as q
        # Whoever starts tests in the background may ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        embeddings = np.random.default_rng(0).random((60_000, 256), dtype=np.float32)
        q.select("random", embeddings=embeddings, budget=1)
        print("ready", flush=True)
        try:
            q.select("k-center-greedy", embeddings=embeddings, labelled_embeddings=embeddings[:1], budget=50_000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            print(q.select("random", embeddings=embeddings[:9], budget=1).rows, flush=True)
            sys.exit(7)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(1.0)
    clock = time.monotonic()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 7 and said.startswith("interrupted\n["), said
    assert time.monotonic() - clock < 60


def test_progress_is_a_line() -> None:
    code = """
        import numpy as np, querist as q
        embeddings = np.random.default_rng(0).random((40_000, 256), dtype=np.float32)
        q.select("k-center-greedy", embeddings=embeddings, labelled_embeddings=embeddings[:1], budget=1500,
                 progress=True, threads=1)
    """
    said = run(sys.executable, "-c", textwrap.dedent(code))
    assert said.returncode == 0, said.stderr
    assert "query [" in said.stderr and "/" in said.stderr, said.stderr


def test_views_keep_what_they_look_at() -> None:
    # A slice of a temporary array is all that keeps its values.
    picked = q.select("margin", logits=floats(POOL * 2, CLASSES)[:POOL], budget=4)
    gc.collect()
    assert picked.rows == q.select("margin", logits=floats(POOL * 2, CLASSES)[:POOL].copy(), budget=4).rows


def test_importing_is_light() -> None:
    code = "import time; a = time.perf_counter(); import querist, sys; print(time.perf_counter() - a, 'numpy' in sys.modules)"
    said = run(sys.executable, "-c", code)
    seconds, has_numpy = said.stdout.split()
    assert has_numpy == "False" and float(seconds) < 10, said.stdout + said.stderr
    assert os.environ.get("QUERIST_FULL") is None or float(seconds) < 0.5
