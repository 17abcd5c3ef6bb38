"""Processor seconds of the ten nearest rows of another matrix as numpy finds them: products by blocks, then argpartition.

    OPENBLAS_NUM_THREADS=1 python3 host/kernels/benches/peer_nearest_rows.py [rows] [width] [others] [runs] [block]

It computes in single precision, and ties fall as they may: less exact than the kernel it stands beside.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benches" / "peers"))

import machine  # noqa: E402, before numpy

import numpy as np  # noqa: E402

DEFAULTS = [50_000, 512, 5_000, 3, 1024]
rows, width, others, runs, block = [int(text) for text in sys.argv[1:]] + DEFAULTS[len(sys.argv) - 1 :]
rng = np.random.default_rng(0)
x = rng.random((rows, width), dtype=np.float32) - np.float32(0.5)
y = rng.random((others, width), dtype=np.float32) - np.float32(0.5)


def nearest(count=10):
    norms = (y * y).sum(1)
    for start in range(0, rows, block):
        part = x[start : start + block]
        squares = (part * part).sum(1)[:, None] + norms - 2 * (part @ y.T)
        found = np.argpartition(squares, count, axis=1)[:, :count]
        distances = np.take_along_axis(squares, found, 1)
        order = np.argsort(distances, axis=1)
        yield np.take_along_axis(found, order, 1), np.sqrt(np.maximum(np.take_along_axis(distances, order, 1), 0))


machine.say()
seconds = []
for _ in range(runs):
    before = time.process_time()
    for _ in nearest():
        pass
    seconds.append(time.process_time() - before)
print(f"{rows} x {width} by {others} x {width}: {statistics.median(seconds):.2f} CPU s of {runs} runs")
print("numpy", np.__version__)
