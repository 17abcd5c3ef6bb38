"""What a study costs beside its runs.

    python3 docs/benchmarks/studies.py QUERIST [overhead] [jobs] [status]

`overhead`: forty runs of a second, one after the other; what is left of the time when that of the cells in the ledger
is taken off, by run. `jobs`: eight runs one by one and two at a time, in turns; the ratio of the two times. `status`:
seconds of `querist study status` in a folder of 10,000 cells, most of them done, with ledgers copied from a real one.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "peers"))

import machine  # noqa: E402

STUDY = """version = 1
seeds = {seeds}
strategies = [{{ id = "margin" }}]
dataset = {{ name = "digits", test = 397 }}
model = {{ name = "{model}" }}
recipe = {{ epochs = {epochs} }}
budget = {{ initial = 20, batch = 20, rounds = {rounds} }}
compute = {{ threads = 1 }}
"""


def study(querist, folder, name, jobs, **values):
    """Seconds that a study took as a whole, and its folder."""
    file = folder / f"{name}.toml"
    file.write_text(STUDY.format(**values))
    start = time.perf_counter()
    command = [querist, "study", "run", file, "--jobs", str(jobs), "--out", folder / name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start, folder / name


def cells(folder):
    """Ledgers of a study's cells."""
    return [json.loads(file.read_text()) for file in sorted((folder / "cells").glob("*.json"))]


def overhead(querist, folder):
    took, out = study(querist, folder, "overhead", 1, seeds=list(range(40)), model="mlp", epochs=1, rounds=1)
    own = [cell["attempts"][-1]["seconds"] for cell in cells(out)]
    print(f"{len(own)} runs of {statistics.median(own):.2f} s, {took:.2f} s in all")
    print(f"beside the runs: {1000 * (took - sum(own)) / len(own):.1f} ms a run")


def jobs(querist, folder):
    ratios = []
    for turn in range(3):
        values = {"seeds": list(range(8)), "model": "cnn", "epochs": 30, "rounds": 4}
        one, two = (study(querist, folder, f"{turn}-{n}", n, **values)[0] for n in ((1, 2) if turn % 2 else (2, 1)))
        one, two = (one, two) if turn % 2 else (two, one)
        ratios.append(one / two)
        print(f"eight runs: {one:.1f} s one by one, {two:.1f} s two at a time, {ratios[-1]:.2f} x", flush=True)
    print(f"median: {statistics.median(ratios):.2f} x")


def status(querist, folder, count=10_000):
    out = study(querist, folder, "small", 1, seeds=[0], model="mlp", epochs=1, rounds=3)[1]
    plan = json.loads((out / "plan.json").read_text())
    cell = plan["cells"][0]
    entry = out / "cells" / f"{cell['label']}-s{cell['seed']}-{cell['digest'][:10]}"
    done = {name: entry.with_suffix(name).read_bytes() for name in (".json", ".toml", ".log")}
    for seed in range(1, count):
        digest = f"{seed:064x}"[::-1]
        run = f"{cell['label']}/seed-{seed}-{digest[:10]}"
        plan["cells"].append({**cell, "folder": run, "digest": digest, "seed": seed})
        if seed % 10:
            for name, text in done.items():
                entry.with_name(f"{cell['label']}-s{seed}-{digest[:10]}{name}").write_bytes(text)
            shutil.copytree(out / cell["folder"], out / run)
    (out / "plan.json").write_text(json.dumps(plan))
    for form in ("table", "json"):
        took = []
        for _ in range(5):
            start = time.perf_counter()
            command = [querist, "study", "status", out, "--format", form]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            took.append(time.perf_counter() - start)
        print(f"status of {count} cells, {form} of {len(said)} characters: {statistics.median(took):.2f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("querist", type=pathlib.Path)
    parts = {"overhead": overhead, "jobs": jobs, "status": status}
    parser.add_argument("parts", nargs="*", default=list(parts))
    asked = parser.parse_args()
    machine.say()
    for part in asked.parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[part](asked.querist.resolve(), pathlib.Path(folder))


if __name__ == "__main__":
    main()
