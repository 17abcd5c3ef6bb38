"""What selecting from Python costs, beside the command line and beside libraries of Python, on the same arrays.

    PYTHON from_python.py QUERIST [import] [select] [memory] [k-center] [badge] [typiclust]

PYTHON has the built wheel, numpy, lightly-mundig 0.1.16 and scikit-activeml. QUERIST is the executable that was built
with the wheel. Arrays are made here: rectified points around ten centres, 50,000 rows of 512 columns.

Set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 2 to give both sides two threads. Processor seconds are those of all
threads; where other programs run beside, only they can be compared.
"""
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import peers  # before numpy: it takes out what chooses kernels
from peers import machine, timed

import numpy

import querist

ROWS, WIDTH, LABELLED, BATCH, THREADS = 50_000, 512, 100, 1_000, 2


class Made:
    """The arrays, under the names that `peers` reads."""

    def __init__(self, rows=ROWS, labelled=LABELLED, width=WIDTH):
        draw = numpy.random.default_rng(1)
        classes = draw.integers(0, 10, rows + labelled)
        points = draw.standard_normal((rows + labelled, width), numpy.float32)
        points += draw.standard_normal((10, width), numpy.float32)[classes]
        points = numpy.maximum(points, 0)
        self.embeddings, self.labelled__embeddings = points[labelled:], points[:labelled]
        self.labels, self.labelled__labels = classes[labelled:], classes[:labelled]
        noise = draw.standard_normal((rows, 10), numpy.float32)
        self.logits = 3 * numpy.eye(10, dtype=numpy.float32)[self.labels] + noise


def cpu(function):
    """Processor seconds of all threads of this process, and what came out."""
    _, seconds, found = timed(function)
    return seconds, found


def of_child(command):
    """Seconds by the clock and of the processor of a process, and what it printed."""
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def of_import(_program):
    """Median of ten processes, after one that nobody counts."""
    code = "import time; c, p = time.perf_counter(), time.process_time(); import querist;"
    code += "print(time.perf_counter() - c, time.process_time() - p)"
    found = [tuple(map(float, of_child([sys.executable, "-c", code])[2].split())) for _ in range(11)][1:]
    clock, processor = (statistics.median(values) * 1e3 for values in zip(*found))
    print(f"import: {clock:.1f} ms by the clock, {processor:.1f} ms of the processor (bound: 150)")


def of_select(program):
    """The same queries here and by the command line, whose start-up is that of `--version`."""
    made = Made()
    start = [of_child([program, "--version"])[:2] for _ in range(11)][1:]
    start = [statistics.median(values) for values in zip(*start)]
    with tempfile.TemporaryDirectory() as folder:
        for strategy, rows, budget, names in [
            ("margin", 1_000, 100, ["logits"]),
            ("margin", ROWS, BATCH, ["logits"]),
            ("badge", 5_000, 100, ["logits", "embeddings"]),
            ("k-center-greedy", 5_000, 100, ["embeddings"]),
        ]:
            arrays = {name: numpy.ascontiguousarray(getattr(made, name)[:rows]) for name in names}
            command = [program, "select", "--strategy", strategy, "--budget", str(budget), "--seed", "1"]
            command += ["--threads", str(THREADS), "--format", "json"]
            for name, array in arrays.items():
                numpy.save(pathlib.Path(folder) / f"{name}.npy", array)
                command += ["--input", f"{name}={folder}/{name}.npy"]

            def here():
                return querist.select(strategy, budget=budget, seed=1, threads=THREADS, progress=False, **arrays)

            first = timed(here)
            runs = [timed(here) for _ in range(21)]
            theirs = [of_child(command) for _ in range(12)][1:]
            answer = json.loads(theirs[0][2])
            assert answer["rows"] == runs[0][2].rows, "the command line picked other rows"
            mine, other = ([statistics.median(run[at] for run in side) for at in (0, 1)] for side in (runs, theirs))
            inside = statistics.median(run[2].seconds for run in runs)
            beyond = [mine[at] - (other[at] - start[at]) for at in (0, 1)]
            print(
                f"{strategy}, {rows} rows, {budget} picks: {mine[0] * 1e3:.2f} ms here ({mine[1] * 1e3:.2f} CPU; the "
                f"first call {first[0] * 1e3:.1f}), {(mine[0] - inside) * 1e3:.2f} of them outside the strategy; "
                f"{other[0] * 1e3:.2f} ms by the command line ({other[1] * 1e3:.2f} CPU), {start[0] * 1e3:.2f} of them "
                f"({start[1] * 1e3:.2f} CPU) its start; beyond it {beyond[0] * 1e3:+.2f} ms ({beyond[1] * 1e3:+.2f} CPU; "
                "bound: 1)",
                flush=True,
            )


MEMORY = """
import sys, numpy, querist
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
small = numpy.ones((100, 512), numpy.float32)
querist.select("k-center-greedy", embeddings=small, budget=1, progress=False)
draw = numpy.random.default_rng(0)
array = numpy.empty((200_000, 512), sys.argv[1])
for row in range(0, len(array), 1000):
    array[row:row + 1000] = draw.standard_normal((1000, 512), numpy.float32)
before = peak()
querist.select("k-center-greedy", embeddings=array, budget=1, progress=False)
print(array.nbytes / 2**20, peak() - before)
"""


def of_memory(_program):
    """What the peak grows by in one query about 200,000 rows of 512 columns, beyond the array itself."""
    for kind in ["float32", "float16"]:
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEMORY, kind], check=True, stdout=subprocess.PIPE, text=True
        )
        size, grown = map(float, said.stdout.split())
        print(f"memory: {kind}, array of {size:.0f} MiB, the peak grew by {grown:.1f} MiB")


def k_center_exact(made):
    """The picks in double precision, by differences that are summed as they are."""
    pool, known = (array.astype(numpy.float64) for array in (made.embeddings, made.labelled__embeddings))
    nearest = numpy.full(len(pool), numpy.inf)
    norms = (pool * pool).sum(1)

    def cover(centre):
        numpy.minimum(nearest, norms - 2 * (pool @ centre) + centre @ centre, out=nearest)

    for row in known:
        cover(row)
    picks = []
    for _ in range(BATCH):
        picks.append(int(nearest.argmax()))
        cover(pool[picks[-1]])
        nearest[picks[-1]] = -numpy.inf
    return picks


def ratio(name, ours, theirs, factor=1.0, more=""):
    print(f"{name}: ours {ours:.2f} CPU s, theirs {theirs * factor:.2f}, {theirs * factor / ours:.1f} times ours{more}",
          flush=True)


def of_k_center(_program):
    made = Made()
    picked = lambda: querist.select(
        "k-center-greedy", embeddings=made.embeddings, labelled_embeddings=made.labelled__embeddings, budget=BATCH,
        threads=THREADS, progress=False,
    )
    picked()
    ours, found = cpu(picked)
    theirs, others = cpu(peers.mundig(made, ROWS))
    exact = k_center_exact(made)
    same = lambda rows: sum(a == b for a, b in zip(rows, exact))
    ratio("k-center-greedy beside lightly-mundig", ours, theirs,
          more=f"; of {BATCH} exact picks in their order ours {same(found.rows)}, theirs {same(others)}")


def of_activeml(strategy, make, arguments, rows, batch):
    """Both sides on the first rows, since the peer's memory grows with their square."""
    made = Made(rows=rows)
    x = numpy.concatenate([made.labelled__embeddings, made.embeddings])
    y = numpy.concatenate([made.labelled__labels.astype(float), numpy.full(rows, numpy.nan)])
    ask = lambda: querist.select(
        strategy, budget=batch, seed=1, threads=THREADS, progress=False, **arguments(made),
    )
    ask()
    ours = statistics.median(cpu(ask)[0] for _ in range(5))
    theirs, _ = cpu(make(x, y, batch))
    ratio(f"{strategy} beside scikit-activeml, {rows} rows, {batch} picks", ours, theirs)


def of_badge(_program):
    of_activeml("badge", peers.skactiveml_badge, lambda a: {"logits": a.logits, "embeddings": a.embeddings}, 2_000, 200)


def of_typiclust(_program):
    of_activeml(
        "typiclust", peers.skactiveml_typiclust,
        lambda a: {"fixed_embeddings": a.embeddings, "labelled_fixed_embeddings": a.labelled__embeddings}, 2_000, 200,
    )


PARTS = {
    "import": of_import,
    "select": of_select,
    "memory": of_memory,
    "k-center": of_k_center,
    "badge": of_badge,
    "typiclust": of_typiclust,
}


def main():
    program, *names = sys.argv[1:]
    peers.load_peers()
    machine.say()
    for name in names or PARTS:
        PARTS[name](program)


if __name__ == "__main__":
    main()
