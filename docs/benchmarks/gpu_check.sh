#!/usr/bin/env bash
# The whole check on a machine with an NVIDIA GPU and torch 2.11 with CUDA:
#   docs/benchmarks/gpu_check.sh FOLDER_OF_BINARY FOLDER_OF_PLUGINS FOLDER_OF_DATA [FOLDER_OF_RESULTS]
#
# This script has never run: no GPU was at hand when it was written. Read its output with that in mind.
#
# FOLDER_OF_BINARY holds `querist` (and what was built beside it), FOLDER_OF_PLUGINS the packed plugins, FOLDER_OF_DATA
# the folders `mnist` and `cifar10` as `querist data fetch` makes them. FOLDER_OF_RESULTS must not hold runs yet.
# First `querist select` is asked on the same arrays with `--device cuda:0` and with the CPU alone: picks must be equal,
# and the seconds of both are printed. Then a small MNIST run and a ResNet-18 run on CIFAR-10 are made on both, and
# seconds an epoch and peak memory are printed. Their picks are not compared: features of a GPU and of a CPU differ in
# their last bits.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,3p' "$0" >&2
    exit 2
fi
binary=$(realpath "$1")/querist
plugins=$(realpath "$2")
data=$(realpath "$3")
results=${4:-gpu-check}
mkdir -p "$results"

for needed in "$binary" "$plugins" "$data/mnist" "$data/cifar10"; do
    [ -e "$needed" ] || { echo "$needed is missing" >&2; exit 2; }
done

torch_lib=$(python3 - <<'PYTHON'
import os
import sys

import torch

if not torch.__version__.startswith("2.11.") or not torch.cuda.is_available():
    sys.exit(f"torch {torch.__version__}, CUDA available: {torch.cuda.is_available()}; needs torch 2.11 with CUDA")
print(os.path.join(os.path.dirname(torch.__file__), "lib"))
PYTHON
)
export LD_LIBRARY_PATH="$torch_lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export OMP_WAIT_POLICY=passive

"$binary" doctor

python3 - "$results" <<'PYTHON'
import sys

import numpy as np

rng = np.random.default_rng(0)
rows, labelled, width, classes = 50_000, 5_000, 512, 10
centres = rng.normal(size=(100, width)) * 2
# Features of groups, as trained networks make them.
features = (centres[rng.integers(0, 100, rows + labelled)] + rng.normal(size=(rows + labelled, width))).astype("f4")
logits = (features @ rng.normal(size=(width, classes)) / width**0.5).astype("f4")
np.save(f"{sys.argv[1]}/embeddings.npy", features[:rows])
np.save(f"{sys.argv[1]}/labelled.embeddings.npy", features[rows:])
np.save(f"{sys.argv[1]}/logits.npy", logits[:rows])
np.save(f"{sys.argv[1]}/labelled.logits.npy", logits[rows:])
np.save(f"{sys.argv[1]}/labelled.labels.npy", logits[rows:].argmax(1).astype("u4"))
PYTHON

for strategy in k-center-greedy kmeans typiclust probcover max-herding; do
    for device in cpu cuda:0; do
        start=$(date +%s.%N)
        "$binary" select --strategy "$strategy" --budget 1000 --seed 1 --device "$device" --memory 8GiB \
            --input embeddings="$results/embeddings.npy" \
            --input labelled.embeddings="$results/labelled.embeddings.npy" --input logits="$results/logits.npy" \
            --input labelled.labels="$results/labelled.labels.npy" --input labelled.logits="$results/labelled.logits.npy" \
            --plugin-dir "$plugins" --out "$results/$strategy-${device%%:*}.txt"
        echo "$strategy on $device: $(echo "$(date +%s.%N) - $start" | bc) s"
    done
    cmp "$results/$strategy-cpu.txt" "$results/$strategy-cuda.txt"
done

cat > "$results/mnist.toml" <<TOML
version = 1
dataset = { name = "mnist", path = "$data/mnist" }
model = { name = "lenet" }
recipe = { optimiser = "adam", lr = 0.001, epochs = 10, minibatch = 64 }
budget = { initial = 500, per_class = true, batch = 500, rounds = 3 }
strategy = { id = "badge" }
seeds = { root = 0 }
compute = { device = "cpu", threads = 4 }
TOML

# Few epochs: enough to time one, not to learn.
cat > "$results/cifar10.toml" <<TOML
version = 1
dataset = { name = "cifar10", path = "$data/cifar10" }
model = { name = "resnet18" }
recipe = { preset = "s4", epochs = 3 }
budget = { initial = 1000, batch = 1000, rounds = 1 }
strategy = { id = "k-center-greedy" }
seeds = { root = 0 }
compute = { device = "cpu", threads = 4 }
TOML

for device in cuda:0 cpu; do
    for case in mnist cifar10; do
        echo "== $case on $device"
        out="$results/$case-${device%%:*}"
        "$binary" run "$results/$case.toml" --device "$device" --plugin-dir "$plugins" --out "$out" --format csv \
            > "$out.csv"
    done
done

python3 - "$results" <<'PYTHON'
import json
import pathlib
import sys

EPOCHS = {"mnist": 10, "cifar10": 3}
for device in ["cuda", "cpu"]:
    for case, epochs in EPOCHS.items():
        lines = (pathlib.Path(sys.argv[1]) / f"{case}-{device}" / "rounds.jsonl").read_text().splitlines()
        for record in map(json.loads, lines):
            seconds = record["seconds"]
            peaks = {part: peak and round(peak / 2**20) for part, peak in record["peak_memory"].items()}
            print(
                f"{case:8} {device:5} round {record['round']}: {seconds['fit'] / epochs:8.3f} s an epoch, "
                f"features {seconds['features']:.2f} s, query {seconds['query']:.2f} s, peak MiB {peaks}, "
                f"{record['backend']}"
            )
PYTHON
