#!/usr/bin/env python3
"""How long a report of many finished runs takes.

    python3 docs/benchmarks/report_speed.py target/debug/querist [--runs 1000] [--turns 5] [--folder DIR]

50 real runs of 10 rounds (10 strategies, 5 seeds, digits) are made once and copied, each copy under another learning
rate, so that the copies are settings of their own. Prints seconds by the clock and of the processor, the fewest of
several turns, of each form of the report; files come from the page cache. With `--folder` the runs are kept.
"""

import argparse
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

STRATEGIES = ["random", "margin", "entropy", "least-confidence", "k-center-greedy", "badge", "kmeans", "typiclust",
              "power-margin", "gini"]
STUDY = """version = 1
seeds = [0, 1, 2, 3, 4]
dataset = {{ name = "digits", test = 397 }}
model = {{ name = "mlp" }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 5, minibatch = 32 }}
budget = {{ initial = 20, batch = 20, rounds = 9 }}
compute = {{ threads = 1 }}
keep = {{ model = "none" }}
strategies = [{strategies}]
"""
FORMS = {
    "page": ["--html", "page.html"],
    "table": [],
    "JSON": ["--format", "json"],
}


def known(querist, wanted):
    """Those of the wanted strategies that are installed, and others in place of the rest."""
    listed = subprocess.run([querist, "plugin", "list"], capture_output=True, text=True, check=True).stdout
    words = set(listed.replace(",", " ").split())
    return [name for name in wanted if name in words]


def make(querist, folder, runs):
    """Fills a folder with runs."""
    names = known(querist, STRATEGIES)
    strategies = ", ".join(f'{{ id = "{name}" }}' for name in names)
    (folder / "study.toml").write_text(STUDY.format(strategies=strategies))
    command = [querist, "study", "run", "study.toml", "--out", "made", "--jobs", "2"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    real = sorted(path.parent for path in (folder / "made").glob("*/*/header.json"))
    for at in range(runs):
        source, setting = real[at % len(real)], at // len(real)
        copy = folder / "runs" / f"{setting:03}" / f"{source.parent.name}-{source.name}"
        shutil.copytree(source, copy)
        config = (copy / "run.toml").read_text()
        assert "lr = 0.002\n" in config, config
        (copy / "run.toml").write_text(config.replace("lr = 0.002\n", f"lr = {0.002 + setting / 10000:.4f}\n"))
    return len(names)


def timed(command, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("querist", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path)
    args = parser.parse_args()
    querist = args.querist.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder.resolve() if args.folder else pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "runs").exists():
            print(f"{make(querist, folder, args.runs)} strategies")
        count = sum(1 for _ in (folder / "runs").glob("*/*/header.json"))
        rounds = sum(1 for _ in (folder / "runs").glob("*/*/rounds/*"))
        print(f"{count} runs, {rounds} rounds")
        for name, options in FORMS.items():
            turns = [timed([querist, "report", "runs", *options], folder) for _ in range(args.turns)]
            clock, processor = min(turn[0] for turn in turns), min(turn[1] for turn in turns)
            print(f"{name}: {clock:.2f} s by the clock, {processor:.2f} s of the processor")
        print(f"page: {(folder / 'page.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
