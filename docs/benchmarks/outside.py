"""How much of a run's time is neither training nor forward passes.

    python3 docs/benchmarks/outside.py QUERIST --data FOLDER [--model cifar-cnn] [--epochs 10] [--threads 1] [--turns 3]
    python3 docs/benchmarks/outside.py --read RUN_FOLDER SECONDS

FOLDER is CIFAR-10 in a form that `dataset.path` takes. A run of ten evaluations and nine queries, from 1,000 labels
by 1,000 to 10,000, is timed as a whole process: start, reading data, features, queries, records. Its records say what
training (`fit`), the test set (`evaluate`) and the strategy's arrays (`features`, which are forward passes) took; the
rest is outside. The first start decodes the pictures into the cache and is not counted. With `--read` the share is
that of a run that took SECONDS and lies in a folder.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "peers"))

import machine  # noqa: E402

RUN = """version = 1
dataset = {{ name = "cifar10", path = "{data}" }}
model = {{ name = "{model}" }}
recipe = {{ preset = "realistic", epochs = {epochs}, lr = 0.02 }}
budget = {{ initial = 1000, batch = 1000, rounds = 9 }}
strategy = {{ id = "{strategy}" }}
compute = {{ threads = {threads} }}
"""


def parts(folder):
    """Seconds of each part over all rounds, and the number of rounds."""
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return {part: sum(line["seconds"][part] for line in lines) for part in lines[0]["seconds"]}, len(lines)


def share(folder, seconds):
    took, rounds = parts(folder)
    inside = took["fit"] + took["evaluate"] + took["features"]
    other = seconds - inside - took["query"]
    print(
        f"{rounds} rounds, {seconds:.1f} s: fit {took['fit']:.1f}, evaluate {took['evaluate']:.1f}, features "
        f"{took['features']:.1f}, query {took['query']:.2f}, everything else {other:.2f}; outside "
        f"{100 * (1 - inside / seconds):.2f} %",
        flush=True,
    )
    return 100 * (1 - inside / seconds)


def main():
    if sys.argv[1:2] == ["--read"]:
        share(pathlib.Path(sys.argv[2]), float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("querist", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    for name, default in [("model", "cifar-cnn"), ("strategy", "badge")]:
        parser.add_argument(f"--{name}", default=default)
    for name, default in [("epochs", 10), ("threads", 1), ("turns", 3)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    machine.say()
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        variables = {**os.environ, "QUERIST_CACHE": str(work / "cache")}
        values = {name: getattr(asked, name) for name in ("model", "strategy", "epochs", "threads")}
        (work / "run.toml").write_text(RUN.format(data=asked.data.resolve(), **values))
        command = [str(asked.querist.resolve()), "run", str(work / "run.toml"), "--out"]
        quiet = {"env": variables, "check": True, "stderr": subprocess.DEVNULL}
        warm = ["--set=budget.initial=20", "--set=budget.batch=1", "--set=budget.rounds=1", "--set=recipe.epochs=2"]
        subprocess.run([*command, str(work / "warm"), *warm], **quiet)
        for turn in range(asked.turns):
            start = time.perf_counter()
            subprocess.run([*command, str(work / str(turn))], **quiet)
            shares.append(share(work / str(turn), time.perf_counter() - start))
    print(f"median of {asked.turns}: {statistics.median(shares):.2f} % outside training and forward passes")


if __name__ == "__main__":
    main()
