"""Makes the golden files beside it: inputs, and what independent code says the strategies must answer.

Needs numpy, scikit-learn and scipy; nothing needs them to run the tests.

    python3 tests/golden/make.py

Scores come from 200-digit decimal arithmetic, everything else from plain float64 loops over explicit vectors, so none of
it shares a formula with the kernels. Values are whole numbers over SCALE, which float32 holds exactly.
"""

import hashlib
import json
import struct
from decimal import Context, Decimal, getcontext
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

SCALE = 1024
ROUND = 3
ROOT = 12345678901234567
ANY_ROUND = 2**32 - 1
HERE = Path(__file__).parent

getcontext().prec = 200


# Inputs


def whole(values):
    """Values as whole numbers over SCALE."""
    return np.rint(np.asarray(values) * SCALE).astype(np.int64)


def real(matrix):
    return matrix.astype(np.float64) / SCALE


def table(matrix):
    return {"shape": list(matrix.shape), "values": matrix.ravel().tolist()}


def write(name, cases, **inputs):
    golden = {"scale": SCALE, "root": ROOT, "round": ROUND, "inputs": inputs, "cases": cases}
    text = json.dumps(golden, separators=(",", ":"))
    (HERE / f"{name}.json").write_text(text + "\n")


# Random numbers


def philox4x32(key, counter):
    """Ten rounds of Salmon et al., SC 2011."""
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    c = list(counter)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k1, a & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def named_key(root, *parts):
    text = struct.pack("<Q", root)
    for part in parts:
        text += struct.pack("<Q", len(part)) + part.encode()
    return struct.unpack("<Q", hashlib.sha256(text).digest()[:8])[0]


def stream_key(strategy, tag):
    """A strategy has a key of its own, which leads to its streams and to nothing else."""
    return named_key(named_key(ROOT, "strategy", strategy, ""), "stream", "", tag)


def bits(key, low, high, round_, last):
    words = philox4x32(key, [low, high, round_, last])
    return words[1] << 32 | words[0]


def uniform(number):
    return min(((number >> 11) + 0.5) / 2**53, 1 - 2**-53)


class Sequence:
    """Numbers of a strategy's stream, one after another."""

    def __init__(self, strategy, tag):
        self.key, self.drawn = stream_key(strategy, tag), 0

    def next_bits(self):
        self.drawn += 1
        return bits(self.key, self.drawn - 1, 0, ROUND, 1 << 31)

    def next_uniform(self):
        return uniform(self.next_bits())

    def next_below(self, bound):
        while True:
            product = self.next_bits() * bound
            if product % 2**64 >= 2**64 % bound:
                return product >> 64


def key_of_item(strategy, tag, item, round_):
    return uniform(bits(stream_key(strategy, tag), item & 0xFFFFFFFF, item >> 32, round_, 0))


# Uncertainty


def decimal_scores(row):
    logits = [Decimal(int(value)) / SCALE for value in row]
    shares = [(logit - max(logits)).exp() for logit in logits]
    p = sorted((share / sum(shares) for share in shares), reverse=True)
    return {
        "least-confidence": sum(p[1:]),
        "margin": p[1] - p[0],
        "bvsb": p[1] / p[0],
        "entropy": -sum(q * q.ln() for q in p),
    }


def uncertainty(rng):
    saturated = rng.normal(size=(60, 5))
    saturated[np.arange(60), rng.integers(0, 5, 60)] += rng.uniform(20, 300, 60)
    # Sorted, so that rows of the same values are the same row.
    tied = np.sort(rng.integers(-3, 4, size=(30, 4)), axis=1)
    inputs = {
        "random": rng.normal(scale=2, size=(300, 10)),
        "two classes": rng.normal(scale=3, size=(100, 2)),
        "saturated": saturated,
        # Every row three times, so that the lower row decides.
        "tied": np.concatenate([tied, tied[::-1], tied]),
    }
    cases = []
    for name, values in inputs.items():
        logits = whole(values)
        rows = [decimal_scores(row) for row in logits]
        expected = {}
        for strategy in rows[0]:
            # 180 digits tell apart what is not equal, even 1 and 1 - e^-300; the last ones are rounding.
            exact = [Context(prec=180).plus(row[strategy]) for row in rows]
            order = sorted(range(len(rows)), key=lambda row: (-exact[row], row))
            expected[strategy] = {"rows": order, "scores": [float(rows[row][strategy]) for row in order]}
        cases.append({"name": name, "logits": table(logits), "expected": expected})
    write("uncertainty", cases)


# k-center greedy


def k_center_picks(pool, labelled, metric, first, batch):
    names = {"euclidean": "euclidean", "cosine": "cosine"}
    picks, scores = [], []
    nearest = np.full(len(pool), np.inf)
    if len(labelled):
        nearest = cdist(pool, labelled, names[metric]).min(axis=1)
    while len(picks) < batch:
        if not picks and not len(labelled):
            centre = pool.mean(axis=0, keepdims=True).astype(np.float32).astype(np.float64)
            to_mean = cdist(pool, centre, names[metric])[:, 0]
            norms = np.linalg.norm(pool, axis=1)
            row, score = {
                "nearest-mean": (to_mean.argmin(), -to_mean.min()),
                "max-norm": (norms.argmax(), norms.max()),
                "index0": (0, 0.0),
            }[first]
        else:
            open_rows = nearest.copy()
            open_rows[picks] = -1
            row = open_rows.argmax()
            score = nearest[row]
        picks.append(int(row))
        scores.append(float(score))
        nearest = np.minimum(nearest, cdist(pool, pool[row : row + 1], names[metric])[:, 0])
    return picks, scores


def k_center(rng):
    cases = []
    pool = whole(rng.normal(size=(400, 7)) + 2 * rng.integers(0, 3, size=(400, 1)))
    labelled = whole(rng.normal(size=(60, 7)))
    for metric in ["euclidean", "cosine"]:
        for first in ["nearest-mean", "max-norm", "index0"]:
            for centres in [labelled[:0], labelled[:9], labelled]:
                rows, scores = k_center_picks(real(pool), real(centres), metric, first, 40)
                params = {"metric": metric, "first": first}
                cases.append({"params": params, "labelled": len(centres), "rows": rows, "scores": scores})
    write("k_center_greedy", cases, embeddings=table(pool), labelled=table(labelled))


# BADGE


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def draw(weights, u):
    """Inverse of the cumulative sum, by sums of 1024 rows."""
    sums = []
    for start in range(0, len(weights), 1024):
        block = 0.0
        for weight in weights[start : start + 1024]:
            block += weight
        sums.append(block)
    total = 0.0
    for block in sums:
        total += block
    target, before = u * total, 0.0
    for number, block in enumerate(sums):
        if before + block > target:
            inside = 0.0
            for row in range(number * 1024, min((number + 1) * 1024, len(weights))):
                inside += weights[row]
                if before + inside > target:
                    return row
        before += block
    raise AssertionError("rounding ran over the end; take another seed")


def badge_picks(logits, embeddings, params, batch):
    p = softmax(logits)
    p[np.arange(len(p)), logits.argmax(axis=1)] -= 1
    if params.get("include_bias"):
        embeddings = np.hstack([embeddings, np.ones((len(embeddings), 1))])
    gradients = np.einsum("nc,nd->ncd", p, embeddings).reshape(len(p), -1)
    norms = (gradients**2).sum(axis=1)
    numbers = Sequence("badge", "seeding")
    uniform_first = params.get("first") == "uniform"
    picks = [numbers.next_below(len(p)) if uniform_first else int(norms.argmax())]
    nearest = np.full(len(p), np.inf)
    while len(picks) < batch:
        nearest = np.minimum(nearest, ((gradients - gradients[picks[-1]]) ** 2).sum(axis=1))
        nearest[picks] = 0
        picks.append(draw(nearest, numbers.next_uniform()))
    return picks


def badge(rng):
    logits = whole(rng.normal(scale=1.5, size=(1300, 3)))
    embeddings = whole(np.maximum(rng.normal(size=(1300, 5)), 0))
    cases = []
    for params in [{}, {"first": "uniform"}, {"include_bias": True}]:
        rows = badge_picks(real(logits), real(embeddings), params, 60)
        cases.append({"params": params, "rows": rows})
    write("badge", cases, logits=table(logits), embeddings=table(embeddings))


# k-means


def kmeans(rng):
    cases = []
    for name, blobs, size, spread in [("apart", 20, 15, 0.4), ("overlapping", 12, 50, 2.5)]:
        centres = rng.uniform(-15, 15, size=(blobs, 4)) if name == "overlapping" else 12 * lattice(blobs)
        values, _ = make_blobs([size] * blobs, centers=centres, cluster_std=spread, random_state=7)
        embeddings = whole(values)
        # Enough restarts that luck with the first centres, which the two draw differently, does not decide.
        best = KMeans(blobs, n_init=50, max_iter=300, random_state=7).fit(real(embeddings))
        distances = cdist(real(embeddings), best.cluster_centers_)
        distances[best.labels_[:, None] != np.arange(blobs)] = np.inf
        case = {"name": name, "embeddings": table(embeddings), "batch": blobs, "inertia": float(best.inertia_)}
        if name == "apart":
            case["rows"] = sorted(distances.argmin(axis=0).tolist())
        cases.append(case)
    write("kmeans", cases)


def lattice(count):
    """The first points of a grid in four dimensions."""
    return np.array([[n % 3, n // 3 % 3, n // 9 % 3, n // 27] for n in range(count)], dtype=np.float64)


# Random


def random(rng):
    ids = sorted(int(n) for n in rng.integers(0, 2**40, size=500))
    keys = [key_of_item("random", "keys", item, ANY_ROUND) for item in ids]
    order = sorted(range(len(ids)), key=lambda row: (-keys[row], row))[:50]
    write("random", [{"rows": order, "scores": [keys[row] for row in order]}], ids=ids)


if __name__ == "__main__":
    # Known answer of the reference implementation.
    assert philox4x32(0, [0] * 4) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    for make in [uncertainty, k_center, badge, kmeans, random]:
        make(np.random.default_rng(2026))
