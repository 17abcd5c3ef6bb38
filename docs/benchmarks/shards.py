"""Measures how fast `querist score` reads shards beside `cat`, and what memory strategies take that read in blocks.

    python3 docs/benchmarks/shards.py QUERIST FOLDER [--rows 20000000] [--classes 64] [--turns 5] [--threads 2] [--cold]
    python3 docs/benchmarks/shards.py QUERIST FOLDER --memory [--rows 10000000] [--strategy k-center-greedy ...]

FOLDER gets the shards, float16 in eight .npy files, and keeps them. The first form scores them in turns with
`cat shards > /dev/null` and prints bytes a second of both, and ours over that of `cat`, for several scorers. With --cold
the system is asked to forget the files before each turn, so that both read from the disk. The second form makes rows of
256 values and prints the most memory that each strategy's process held.

Needs numpy.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy

SHARDS = 8
SCORERS = ["margin", "least-confidence", "entropy", "power-margin"]
BLOCKS = {
    "k-center-greedy": ["--budget", "20"],
    "kmeans": ["--budget", "8", "--param", "n_init=1", "--param", "max_iter=2"],
    "badge": ["--budget", "10"],
}
# Whose time grows with the square of a cluster's rows: with fewer --rows, when it is named.
SLOW = {"typiclust": ["--budget", "200", "--param", "max_iter=2"]}


def make(folder, name, rows, width):
    """Writes shards of random numbers, where they are not there yet."""
    files = [folder / f"{name}-{rows}x{width}-{shard + 1}-of-{SHARDS}.npy" for shard in range(SHARDS)]
    ends = [rows * shard // SHARDS for shard in range(SHARDS + 1)]
    random = numpy.random.default_rng(0)
    for file, start, end in zip(files, ends, ends[1:]):
        if file.exists():
            continue
        array = numpy.lib.format.open_memmap(file, "w+", dtype=numpy.float16, shape=(end - start, width))
        for at in range(0, end - start, 65536):
            part = array[at : at + 65536]
            part[:] = random.standard_normal(part.shape, dtype=numpy.float32)
        array.flush()
    return files


def forget(files):
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds_of(command, out):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=out)
    return time.perf_counter() - start


def speed(args, folder):
    files = make(folder, "logits", args.rows or 20_000_000, args.classes)
    size = sum(file.stat().st_size for file in files)
    pattern = str(files[0]).replace("-1-of-", "-*-of-")
    print(f"{size / 1e9:.2f} GB in {SHARDS} shards, {'from the disk' if args.cold else 'from the cache'}")
    for scorer in args.strategy or SCORERS:
        score = [args.querist, "score", "--strategy", scorer, "--budget", "1000", "--threads", str(args.threads),
                 "--out", str(folder / "part.safetensors"), "--input", f"logits={pattern}", "--memory", "2GiB"]
        ours, cat = [], []
        with open(os.devnull, "wb") as nothing:
            seconds_of(score, nothing)
            for _ in range(args.turns):
                for command, times in [(["cat", *map(str, files)], cat), (score, ours)]:
                    if args.cold:
                        forget(files)
                    times.append(seconds_of(command, nothing))
        ratio = statistics.median(theirs / own for theirs, own in zip(cat, ours))
        rates = [size / statistics.median(times) / 1e9 for times in (ours, cat)]
        print(f"{scorer}: {rates[0]:.2f} GB/s, cat {rates[1]:.2f} GB/s, ours over cat {ratio:.2f}", flush=True)


def memory(args, folder):
    rows = args.rows or 10_000_000
    embeddings = str(make(folder, "embeddings", rows, 256)[0]).replace("-1-of-", "-*-of-")
    logits = str(make(folder, "logits", rows, 10)[0]).replace("-1-of-", "-*-of-")
    for strategy in args.strategy or BLOCKS:
        command = [args.querist, "select", "--strategy", strategy, *(BLOCKS | SLOW)[strategy], "--memory", "1400MiB",
                   "--seconds", "36000", "--threads", str(args.threads), "--input", f"embeddings={embeddings}"]
        if strategy == "badge":
            command += ["--input", f"logits={logits}"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{strategy} failed")
        seconds = time.perf_counter() - start
        print(f"{strategy}: {usage.ru_maxrss / 1024:.0f} MiB at most, {seconds:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("querist")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--classes", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--strategy", nargs="*")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    (memory if args.memory else speed)(args, args.folder)


main()
