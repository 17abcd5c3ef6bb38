"""Our training beside PyTorch's, in turns, and the ratio of the two.

    python3 host/learn/benches/compare_training.py BENCH [--turns 5] [--threads 1] [NAME ...]

BENCH is the program that `cargo bench --workspace --profile dev --bench training --no-run` names for `querist-learn`.
The Python that runs this runs the peer, too. NAME is a case of `peer_training.py`. Each turn runs both, each side
first every other turn; the figure is the median over turns of ours over PyTorch's: above 1 ours is faster. Of several
threads the clock says how fast it is, and only where nothing else runs; of one thread the processor second says it
anywhere.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["resnet18", "vgg16bn", "squeezenet", "vits16"]


def rates(command, threads):
    """Minibatches a second, by the clock and by the processor, of a program that prints both last."""
    variables = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads), "QUERIST_BENCH_THREADS": str(threads)}
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True)
    words = done.stdout.strip().splitlines()[-1].split()
    return float(words[1]), float(words[3])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_intermixed_args()
    sides = {"ours": [str(asked.bench.resolve())], "PyTorch": [sys.executable, str(HERE / "peer_training.py")]}
    about = "import sys; sys.path.insert(0, sys.argv[1]); import machine, torch; machine.say()"
    subprocess.run([sys.executable, "-c", about, str(HERE.parents[2] / "benches" / "peers")], check=True)
    print(f"{asked.threads} threads, {asked.turns} turns; minibatches of 64 a second, medians", flush=True)
    print("| network | ours | PyTorch | ratio by the clock | ratio by the processor | lowest and highest of these |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in asked.names:
        found = {side: [] for side in sides}
        for turn in range(asked.turns):
            for side in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
                found[side].append(rates([*sides[side], name], asked.threads))
        ratios = [[ours[at] / theirs[at] for ours, theirs in zip(*found.values())] for at in (0, 1)]
        middles = [statistics.median(rate[0] for rate in found[side]) for side in sides]
        clock, processor = map(statistics.median, ratios)
        print(
            f"| {name} | {middles[0]:.2f} | {middles[1]:.2f} | {clock:.3f} | {processor:.3f} "
            f"| {min(ratios[1]):.3f}, {max(ratios[1]):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
