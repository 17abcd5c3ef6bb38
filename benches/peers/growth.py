"""Measures and draws how the processor seconds of `querist select` grow with N, b, C and D.

    python3 growth.py QUERIST FOLDER_OF_PLUGINS FOLDER_OF_ARRAYS OUT.svg OUT.md

FOLDER_OF_ARRAYS is what `features.py` writes. One size changes at a time, by doubling, while the others stay at the base
below. N and L take the first rows; D takes random orthogonal directions of the features; of C classes, a row's logits are
its nearness to C labelled rows. Times are those of whole processes, less what `random` takes on the same arrays; short
ones are measured three times, and the least counts. The last column of the table is the slope of seconds over size between
the last three points, both logarithmic: 1 is linear.

Needs numpy and matplotlib.
"""
import json
import math
import pathlib
import resource
import subprocess
import sys
import tempfile

import machine  # before numpy

import matplotlib

matplotlib.use("svg")
import numpy
from matplotlib import pyplot

BASE = {"N": 20_000, "b": 400, "C": 10, "D": 256}
SERIES = {
    "N": [5_000, 10_000, 20_000, 40_000],
    "b": [100, 200, 400, 800],
    "C": [5, 10, 20, 40],
    "D": [64, 128, 256, 512],
}
LABELLED = 2_000
# Less than this is what starting a process varies by.
LEAST = 0.01
# What takes so long is measured once.
LONG = 1.0
DRAWS = 10
TITLES = {"N": "rows of the pool, N", "b": "picks, b", "C": "classes, C", "D": "width of embeddings, D"}

# Strategy: arrays beside the logits, parameters, and the base where it is another.
STRATEGIES = {
    "margin": ([], {}, {}),
    "k-center-greedy": (["embeddings"], {}, {}),
    "badge": (["penultimate"], {}, {}),
    "kmeans": (["embeddings"], {"n_init": 1, "max_iter": 10}, {}),
    "typiclust": (["fixed_embeddings"], {}, {}),
    "probcover": (["fixed_embeddings"], {}, {}),
    "max-herding": (["fixed_embeddings"], {}, {}),
    "cluster-margin": (["embeddings"], {"max_hac_points": 10_000}, {}),
    "batchbald": (["mc_log_probs"], {}, {"b": 8}),
    "bait": (["penultimate"], {"fisher": "exact"}, {"b": 24, "D": 64, "N": 10_000}),
}
# Series that differ: what the strategy cannot do in time, or does not look at.
OTHER = {
    "batchbald": {"b": [2, 4, 8, 16], "D": []},
    "bait": {"b": [6, 12, 24, 48], "D": [32, 64, 128, 256], "N": [2_500, 5_000, 10_000, 20_000], "C": [5, 10, 20]},
    "margin": {"D": []},
}


def arrays(source, size, folder):
    """Arrays of one size as files; their names."""
    rng = numpy.random.default_rng(7)
    features = numpy.load(source / "embeddings.npy")[: size["N"]]
    labelled = numpy.load(source / "labelled.embeddings.npy")[:LABELLED]
    if size["D"] < features.shape[1]:
        directions = numpy.linalg.qr(rng.normal(size=(features.shape[1], size["D"])))[0].astype("f4")
        features, labelled = features @ directions, labelled @ directions
    centres = labelled[rng.choice(LABELLED, size["C"], replace=False)]

    def nearness(x):
        squares = (x**2).sum(1)[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
        return (-squares / squares.mean() * 8).astype("f4")

    logits, known = nearness(features), nearness(labelled)
    noise = rng.normal(size=(len(features), DRAWS, size["C"]))
    draws = logits[:, None, :] + noise
    draws -= numpy.log(numpy.exp(draws).sum(2, keepdims=True))
    for name in ["embeddings", "penultimate", "fixed_embeddings"]:
        numpy.save(folder / f"{name}.npy", features)
        numpy.save(folder / f"labelled.{name}.npy", labelled)
    numpy.save(folder / "logits.npy", logits)
    numpy.save(folder / "labelled.logits.npy", known)
    numpy.save(folder / "labelled.labels.npy", known.argmax(1).astype("u4"))
    numpy.save(folder / "mc_log_probs.npy", draws.astype("f4"))


def seconds(program, plugins, folder, strategy, batch, names, params):
    command = [program, "select", "--strategy", strategy, "--budget", str(batch), "--seed", "1", "--threads", "2"]
    command += ["--plugin-dir", plugins, "--params", json.dumps(params)]
    for name in ["logits", *names]:
        command += ["--input", f"{name}={folder / name}.npy"]
    for name in ["labels", "logits", *(name for name in names if name != "mc_log_probs")]:
        command += ["--input", f"labelled.{name}={folder / f'labelled.{name}'}.npy"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def steady_seconds(*case):
    first = seconds(*case)
    return first if first > LONG else min(first, seconds(*case), seconds(*case))


def measured(program, plugins, source):
    """Processor seconds by strategy, what changes, and its size."""
    wanted = {}
    for strategy, (_, _, base) in STRATEGIES.items():
        for what, usual in SERIES.items():
            for value in OTHER.get(strategy, {}).get(what, usual):
                size = BASE | base | {what: value}
                wanted.setdefault((size["N"], size["C"], size["D"]), []).append((strategy, what, value, size["b"]))
    found = {}
    for (n, c, d), cases in wanted.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            arrays(source, {"N": n, "C": c, "D": d}, folder)
            for strategy, what, value, batch in cases:
                names, params, _ = STRATEGIES[strategy]
                own = steady_seconds(program, plugins, folder, strategy, batch, names, params)
                nothing = steady_seconds(program, plugins, folder, "random", batch, names, {})
                found[strategy, what, value] = own - nothing
                print(f"{strategy:16} N {n:6} b {batch:4} C {c:3} D {d:4}  {own - nothing:8.3f} CPU s", flush=True)
    return found


def series(found, strategy, what):
    return sorted((value, time) for (of, which, value), time in found.items() if (of, which) == (strategy, what))


def draw(found, out):
    figure, panels = pyplot.subplots(1, 4, figsize=(15, 5), sharey=True)
    colours = dict(zip(STRATEGIES, pyplot.get_cmap("tab10").colors))
    for panel, what in zip(panels, SERIES):
        for strategy, colour in colours.items():
            points = [point for point in series(found, strategy, what) if point[1] >= LEAST]
            if points:
                panel.plot(*zip(*points), marker="o", markersize=3, linewidth=1.3, color=colour, label=strategy)
        panel.set(xscale="log", yscale="log", xlabel=TITLES[what])
        ticks = sorted({value for of, which, value in found if which == what})
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=60, fontsize=7)
        panel.minorticks_off()
        panel.grid(True, linewidth=0.3)
    panels[0].set_ylabel("processor seconds")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper center", ncols=10, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(out, metadata={"Date": None})


def slope(points):
    x, y = (numpy.log([point[at] for point in points[-3:]]) for at in (0, 1))
    return numpy.polyfit(x, y, 1)[0]


def rounded(time):
    """Two digits that count."""
    return f"{time:.{max(0, 1 - math.floor(math.log10(time)))}f}" if time >= LEAST else f"< {LEAST}"


def table(found):
    lines = ["| strategy | changes | sizes | processor seconds | slope |", "| --- | --- | --- | --- | --- |"]
    for strategy in STRATEGIES:
        for what in SERIES:
            points = series(found, strategy, what)
            if not points:
                continue
            sizes = ", ".join(f"{value:,}" for value, _ in points)
            times = ", ".join(rounded(time) for _, time in points)
            steep = f"{slope(points):.1f}" if min(time for _, time in points[-3:]) >= LEAST else ""
            lines.append(f"| `{strategy}` | {what} | {sizes} | {times} | {steep} |")
    return "\n".join(lines) + "\n"


def main():
    program, plugins, source, picture, text = sys.argv[1:]
    machine.say()
    found = measured(program, plugins, pathlib.Path(source))
    draw(found, picture)
    pathlib.Path(text).write_text(table(found))


main()
