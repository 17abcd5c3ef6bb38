"""Times published implementations, and plain numpy forms, beside `querist select` on the same arrays.

    python3 peers.py QUERIST FOLDER_OF_PLUGINS FOLDER_OF_ARRAYS [CASE ...]

FOLDER_OF_ARRAYS is what `features.py` or `plain_features.py` writes. Every case runs both sides one after the other, ours first, and prints
seconds by the clock and processor seconds (all threads, reading the arrays left out for the peer and left in for us).
A case whose peer cannot take all rows runs it on the first ones and says by what it was multiplied.

Where the peer selects from all rows by the same rule, the share of picks that both have is printed, too.

Needs numpy; faiss-cpu, scikit-activeml with scikit-learn, lightly-mundig 0.1.16, and torch with batchbald_redux for the
cases that name them.
Set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 2 to give both sides two threads.
"""
import importlib
import json
import pathlib
import resource
import subprocess
import sys
import time

import machine  # before numpy

import numpy

BATCH = 1_000


class Arrays:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def __getattr__(self, name):
        values = numpy.load(self.folder / f"{name.replace('__', '.')}.npy")
        setattr(self, name, values)
        return values


def timed(function):
    """Seconds by the clock, processor seconds, and the result."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - clock, time.process_time() - cpu, result


def ours(program, plugins, folder, strategy, batch, inputs, params):
    command = [program, "select", "--strategy", strategy, "--budget", str(batch), "--seed", "1", "--threads", "2",
               "--plugin-dir", plugins, "--format", "json", "--params", json.dumps(params)]
    for name, file in inputs.items():
        file = first_rows(folder, file)
        command += ["--input", f"{name}={pathlib.Path(folder) / file}.npy"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = time.perf_counter()
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    seconds = time.perf_counter() - clock
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, answer["rows"]


def first_rows(folder, file):
    """The name of a file with the first rows alone, which `NAME@ROWS` asks for; it is made where it is missing."""
    name, _, rows = file.partition("@")
    if rows and not (part := pathlib.Path(folder) / f"{file}.npy").exists():
        numpy.save(part, numpy.load(pathlib.Path(folder) / f"{name}.npy")[: int(rows)])
    return file


EMBEDDINGS = {"embeddings": "embeddings", "labelled.embeddings": "labelled.embeddings"}
FIXED = {"fixed_embeddings": "embeddings", "labelled.fixed_embeddings": "labelled.embeddings"}
HEAD = {"logits": "logits", "embeddings": "embeddings"}
KNOWN = {"labelled.logits": "labelled.logits", "labelled.embeddings": "labelled.embeddings"}


def sq_distances(x, norms, centre):
    return norms + centre @ centre - 2 * (x @ centre)


def k_center_numpy(a, rows):
    """Incremental furthest-first in f32, one matrix-vector product a pick."""
    x, known = a.embeddings[:rows], a.labelled__embeddings
    norms = numpy.einsum("ij,ij->i", x, x)
    nearest = numpy.full(len(x), numpy.inf, numpy.float32)
    for block in numpy.array_split(known, 10):
        cross = x @ block.T
        nearest = numpy.minimum(nearest, (norms[:, None] + numpy.einsum("ij,ij->i", block, block) - 2 * cross).min(1))
    picks = []
    for _ in range(BATCH):
        picks.append(int(nearest.argmax()))
        nearest = numpy.minimum(nearest, sq_distances(x, norms, x[picks[-1]]))
        nearest[picks] = 0
    return picks


def badge_numpy(a, rows):
    """k-means++ seeding on factored gradients in f32."""
    x, logits = a.embeddings[:rows], a.logits[:rows]
    p = numpy.exp(logits - logits.max(1, keepdims=True))
    left = p / p.sum(1, keepdims=True)
    left[numpy.arange(len(x)), logits.argmax(1)] -= 1
    norms = numpy.einsum("ij,ij->i", x, x) * numpy.einsum("ij,ij->i", left, left)
    random = numpy.random.default_rng(0)
    picks = [int(norms.argmax())]
    nearest = numpy.full(len(x), numpy.inf, numpy.float32)
    for _ in range(BATCH - 1):
        last = picks[-1]
        distances = norms + norms[last] - 2 * (left @ left[last]) * (x @ x[last])
        nearest = numpy.minimum(nearest, numpy.maximum(distances, 0))
        nearest[picks] = 0
        weights = nearest.astype(numpy.float64)
        picks.append(int(random.choice(len(x), p=weights / weights.sum())))
    return picks


def flqmi_numpy(a, rows):
    """Submodlib's formula of facility-location mutual information: gains of all rows at every pick, in f32."""
    unit = [x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (a.embeddings[:rows], a.query__embeddings)]
    similarity = (1 + unit[0] @ unit[1].T) / 2
    relevance = similarity.max(1)
    most = numpy.zeros(similarity.shape[1], numpy.float32)
    picks, taken = [], numpy.zeros(rows, bool)
    for _ in range(BATCH):
        gains = numpy.maximum(similarity - most, 0).sum(1) + relevance
        gains[taken] = -numpy.inf
        picks.append(int(gains.argmax()))
        taken[picks[-1]] = True
        most = numpy.maximum(most, similarity[picks[-1]])
    return picks


def cal_numpy(a, rows):
    """Contrastive active learning: neighbours by blocks of a product, then divergences of log-probabilities."""

    def log_softmax(logits):
        logits = logits.astype(numpy.float64)
        shifted = logits - logits.max(1, keepdims=True)
        return shifted - numpy.log(numpy.exp(shifted).sum(1, keepdims=True))

    unit = [x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (a.embeddings[:rows], a.labelled__embeddings)]
    pool, known = log_softmax(a.logits[:rows]), log_softmax(a.labelled__logits)
    entropy = (numpy.exp(known) * known).sum(1)
    scores = numpy.empty(rows)
    for start in range(0, rows, 1_000):
        block = slice(start, start + 1_000)
        near = numpy.argpartition(-(unit[0][block] @ unit[1].T), 10, 1)[:, :10]
        cross = numpy.einsum("ikc,ic->ik", numpy.exp(known)[near], pool[block])
        scores[block] = (entropy[near] - cross).mean(1)
    return numpy.argsort(-scores, kind="stable")[:BATCH].tolist()


def coremse_formula(a, rows):
    """What a label changes on `rows` other rows, with every changed prediction written out, as the authors do."""
    p = numpy.exp(a.mc_log_probs[:rows].astype(numpy.float64))
    mean = p.mean(1)
    scores = numpy.empty(rows)
    for start in range(0, rows, 20):
        block = slice(start, start + 20)
        weights = p[block] / p[block].sum(1, keepdims=True)
        changed = numpy.einsum("ity,etc->iyec", weights, p)
        scores[block] = (mean[block] * ((changed - mean) ** 2).sum(3).mean(2)).sum(1)
    return numpy.argsort(-scores, kind="stable")[:BATCH].tolist()


def mundig(a, rows):
    """The engine of LightlyStudio, diversity alone, after what is labelled."""
    from lightly_mundig import Selection

    embeddings = numpy.concatenate([a.labelled__embeddings, a.embeddings[:rows]])
    known = len(a.labelled__embeddings)
    lists = embeddings.tolist()

    def run():
        selection = Selection()
        selection.add_diversifying_strategy(lists, 1.0)
        picks = selection.run_selection(list(range(known)), len(lists), known + BATCH)
        return [row - known for row in picks if row >= known]

    return run


def kmeans_faiss(a, rows):
    import faiss

    faiss.omp_set_num_threads(2)
    x = numpy.ascontiguousarray(a.embeddings[:rows])
    clustering = faiss.Kmeans(x.shape[1], BATCH, niter=20, nredo=1, seed=1, max_points_per_centroid=rows)
    clustering.train(x)
    return clustering.obj[-1]


def plain(function):
    """A peer without anything to prepare."""
    return lambda a, rows: lambda: function(a, rows)


def skactiveml(make):
    """A strategy of scikit-activeml on labelled rows and `rows` pool rows; `make` prepares what is not timed."""

    def prepared(a, rows):
        x = numpy.concatenate([a.labelled__embeddings, a.embeddings[:rows]])
        y = numpy.concatenate([a.labelled__labels.astype(float), numpy.full(rows, numpy.nan)])
        return make(x, y, min(BATCH, rows // 10))

    return prepared


def skactiveml_badge(x, y, batch):
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge
    from sklearn.linear_model import LogisticRegression

    model = SklearnClassifier(LogisticRegression(max_iter=20), classes=list(range(10))).fit(x, y)
    return lambda: Badge(random_state=0).query(x, y, model, fit_clf=False, batch_size=batch)


def skactiveml_typiclust(x, y, batch):
    from skactiveml.pool import TypiClust

    return lambda: TypiClust(random_state=0).query(x, y, batch_size=batch)


def skactiveml_probcover(x, y, batch):
    from skactiveml.pool import ProbCover

    return lambda: ProbCover(random_state=0).query(x, y, batch_size=batch)


def skactiveml_maxherding(x, y, batch):
    from skactiveml.pool import MaxHerding

    return lambda: MaxHerding(random_state=0).query(x, y, batch_size=batch)


def skactiveml_cal(x, y, batch):
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import ContrastiveAL
    from sklearn.linear_model import LogisticRegression

    model = SklearnClassifier(LogisticRegression(max_iter=20), classes=list(range(10))).fit(x, y)
    strategy = ContrastiveAL(nearest_neighbors_dict={"n_neighbors": 10}, random_state=0)
    return lambda: strategy.query(x, y, model, fit_clf=False, batch_size=batch)


def skactiveml_dal(x, y, batch):
    """A hundred picks, and a classifier for each, with the penalty and the weights of ours."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import DiscriminativeAL
    from sklearn.linear_model import LogisticRegression

    x = x - x.mean(0)
    x /= numpy.sqrt((x**2).sum(1).mean())
    model = LogisticRegression(C=1e3 / len(x), class_weight="balanced", max_iter=1_000)
    discriminator = SklearnClassifier(model, classes=[0, 1])
    return lambda: DiscriminativeAL(random_state=0).query(x, y, discriminator, batch_size=100)


def redux(a, rows):
    import torch
    from batchbald_redux.batchbald import get_batchbald_batch

    torch.set_num_threads(2)
    draws = torch.from_numpy(a.mc_log_probs[:rows])
    return get_batchbald_batch(draws, 10, 10_000, dtype=torch.double).indices


# name: (strategy, batch, inputs, parameters, peer, rows of the peer, the power of rows that its seconds grow by)
CASES = {
    "k-center-numpy": ("k-center-greedy", BATCH, EMBEDDINGS, {}, plain(k_center_numpy), 50_000, 1),
    "mix-numpy": ("mix", BATCH, EMBEDDINGS, {"terms": [{"kind": "diversity"}]}, plain(k_center_numpy), 50_000, 1),
    "flqmi-numpy": ("flqmi", BATCH, {"embeddings": "embeddings", "query.embeddings": "query.embeddings"}, {},
                    plain(flqmi_numpy), 50_000, 1),
    "k-center-mundig": ("k-center-greedy", BATCH, EMBEDDINGS, {}, mundig, 50_000, 1),
    "mix-mundig": ("mix", BATCH, EMBEDDINGS, {"terms": [{"kind": "diversity"}]}, mundig, 50_000, 1),
    "cal-numpy": ("cal", BATCH, {**HEAD, **KNOWN}, {}, plain(cal_numpy), 50_000, 1),
    "cal-skactiveml": ("cal", BATCH, {**HEAD, **KNOWN}, {}, skactiveml(skactiveml_cal), 50_000, 1),
    "dal-skactiveml": ("dal", 100, {"embeddings": "embeddings@10000", "labelled.embeddings": "labelled.embeddings"},
                       {}, skactiveml(skactiveml_dal), 10_000, 0),
    "coremse-formula": ("coremse", BATCH, {"mc_log_probs": "mc_log_probs@2000"},
                        {"batch": "top", "T": 20}, plain(coremse_formula), 2_000, 0),
    "badge-numpy": ("badge", BATCH, HEAD, {}, plain(badge_numpy), 50_000, 1),
    "badge-skactiveml": ("badge", 200, HEAD, {}, skactiveml(skactiveml_badge), 2_000, 1),
    "kmeans-faiss": ("kmeans", BATCH, {"embeddings": "embeddings"}, {"n_init": 1, "tol": 0.0}, plain(kmeans_faiss),
                     50_000, 1),
    "typiclust-skactiveml": ("typiclust", BATCH, FIXED, {}, skactiveml(skactiveml_typiclust), 2_000, 1),
    "probcover-skactiveml": ("probcover", BATCH, FIXED, {}, skactiveml(skactiveml_probcover), 2_000, 2),
    "max-herding-skactiveml": ("max-herding", BATCH, FIXED, {}, skactiveml(skactiveml_maxherding), 2_000, 2),
    "batchbald-redux": ("batchbald", 10, {"mc_log_probs": "mc_log_probs"}, {"T": 20}, plain(redux), 2_000, 1),
}


def load_peers():
    """Those that are installed, so that what they bring with them is said before the first figure."""
    for name in ("sklearn", "torch", "faiss"):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed")


def common(ours, theirs):
    """How many picks both have, where the peer gives as many."""
    if not isinstance(theirs, list) or len(theirs) != len(ours):
        return ""
    return f"   {len(set(ours) & set(theirs))} of {len(ours)} picks in common"


def main():
    program, plugins, folder, *names = sys.argv[1:]
    load_peers()
    machine.say()
    arrays = Arrays(folder)
    for name in names or CASES:
        strategy, batch, inputs, params, peer, rows, power = CASES[name]
        seconds, cpu, picks = ours(program, plugins, folder, strategy, batch, inputs, params)
        print(f"{name:24} ours {seconds:9.2f} s ({cpu:8.2f} CPU)", end="", flush=True)
        rows = min(rows, len(arrays.embeddings))
        # What is read before the clock starts: not part of the peer's work.
        [getattr(arrays, part.split("@")[0].replace(".", "__")) for part in ("embeddings", "logits", *inputs.values())]
        arrays.labelled__labels
        try:
            peer_seconds, peer_cpu, peer_picks = timed(peer(arrays, rows))
        except ImportError as missing:
            print(f"   peer not installed: {missing}")
            continue
        factor = (len(arrays.embeddings) / rows) ** power
        print(f"   peer, {rows} rows {peer_seconds:9.2f} s ({peer_cpu:8.2f} CPU), times {factor:g}"
              f"   ratio by CPU {peer_cpu * factor / cpu:8.1f}, by the clock {peer_seconds * factor / seconds:8.1f}"
              + common(picks, peer_picks), flush=True)


if __name__ == "__main__":
    main()
