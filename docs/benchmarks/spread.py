#!/usr/bin/env python3
"""How far the figures of tests spread that a training decides.

    docs/benchmarks/spread.py [--seeds 10] [--per-setting 10] [--filter NAME] [PACKAGE ...]

Tests say such figures through `at_least` and `at_most` of `querist-torch-testkit`. This builds the tests of the packages,
runs all of them from every seed, and those that say a figure from some seeds in every setting, too: 1 and 2 threads, three
of libtorch's instruction sets, and oneDNN's and MKL's own choice of instructions or SSE4. Printed are a table, and every
test that failed, with the settings that it failed in.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
from collections import defaultdict

PACKAGES = [
    "querist-learn",
    "strategy-adversarial",
    "strategy-asal",
    "strategy-learning-loss",
    "strategy-sequential-gcn",
    "strategy-vaal",
    "strategy-waal",
    "strategy-weight-decay-scheduling",
]
# Far apart, so that the seeds of one run are not those of the next.
STRIDE = 1000
THREADS = ["1", "2"]
ATEN = [None, "default", "avx2"]
# What convolutions and products of matrices are made of, whatever the rest of libtorch uses.
LIBRARIES = [None, "SSE4"]
OLDEST = {"DNNL_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}


def binaries(packages):
    """Test executables by package and name."""
    # All packages are built, as the test command does: some alone have other features, which builds their libraries anew.
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format=json", "--tests"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("profile", {}).get("test"):
            package = re.sub(r"^.*[/#]|[@#][\d.]+$", "", message["package_id"])
            if package in packages:
                yield package, message["target"]["name"], message["executable"], os.path.dirname(message["manifest_path"])


def run(executable, folder, names, setting):
    """Figures and failures of one run of some tests, of all where `names` is empty."""
    seed, threads, aten, libraries = setting
    env = dict(os.environ, QUERIST_TEST_SEED=str(seed), QUERIST_TEST_THREADS=threads, CARGO_MANIFEST_DIR=folder)
    for name in ("ATEN_CPU_CAPABILITY", *OLDEST):
        env.pop(name, None)
    if aten:
        env["ATEN_CPU_CAPABILITY"] = aten
    if libraries:
        env.update(OLDEST)
    exact = ["--exact", *sorted(names)] if names else []
    command = [executable, "--test-threads", "1", "--nocapture", *exact]
    result = subprocess.run(command, env=env, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    figures = re.findall(r"^figure\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)$", result.stdout, re.M)
    failed = re.findall(r"^    (\S+)$", result.stdout.split("\nfailures:\n")[-1], re.M) if result.returncode else []
    if result.returncode and not failed:
        failed = [f"the whole of it: {result.stdout[-500:]}"]
    return figures, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--filter", default="", help="a part of the names of tests")
    parser.add_argument("--per-setting", type=int, default=10, help="seeds in each setting but the plain one")
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    args = parser.parse_args()
    spread, bounds, failures = defaultdict(list), {}, defaultdict(list)
    seeds = [STRIDE * at for at in range(args.seeds)]
    plain = [(seed, "1", None, None) for seed in seeds]
    others = [
        (seed, *setting)
        for setting in itertools.product(THREADS, ATEN, LIBRARIES)
        for seed in seeds[: args.per_setting]
        if setting != ("1", None, None)
    ]
    for package, name, executable, folder in binaries(args.packages or PACKAGES):
        saying = set()
        for at, setting in enumerate(plain + others):
            if at >= len(plain) and not saying:
                break
            figures, failed = run(executable, folder, saying if at >= len(plain) else set(), setting)
            for test, figure, found, relation, bound in figures:
                if args.filter in test:
                    saying.add(test)
                    key = (package, test, figure, relation)
                    spread[key].append(float(found))
                    bounds[key] = bound
            for test in failed:
                if args.filter in test:
                    failures[package, test].append(setting)
        print(f"{package} {name}: done", file=sys.stderr, flush=True)
    print("| test | figure | bound | worst | median | best | runs |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (package, test, figure, relation), found in sorted(spread.items()):
        found.sort(reverse=relation == "<=")
        worst, median, best = (f"{value:.3g}" for value in (found[0], found[len(found) // 2], found[-1]))
        bound = bounds[package, test, figure, relation]
        print(f"| `{package}` `{test}` | {figure} | {relation} {bound} | {worst} | {median} | {best} | {len(found)} |")
    for (package, test), where in sorted(failures.items()):
        print(f"FAILED {len(where)} times: {package} {test}, at (seed, threads, ATen, oneDNN and MKL) {where}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
