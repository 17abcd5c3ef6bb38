"""Writes the arrays of `features.py mnist` without torch: random features of MNIST under a logistic head.

    python3 plain_features.py FOLDER_OF_MNIST FOLDER_OF_ARRAYS [ROWS]

Features are 512 rectified random projections of the pixels, the head is scikit-learn's logistic regression on 5,000
labelled samples, and draws are dropout masks over the features, one a draw for all samples. Names and shapes are those
that `features.py` gives.
"""
import gzip
import pathlib
import sys

import numpy
from sklearn.linear_model import LogisticRegression

LABELLED = 5_000
WIDTH = 512
DRAWS = 20


def read(path, skip):
    return numpy.frombuffer(gzip.open(path).read(), numpy.uint8, offset=skip)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(-1, keepdims=True))


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 50_000
    random = numpy.random.default_rng(0)
    images = read(source / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(numpy.float32) / 255
    labels = read(source / "train-labels-idx1-ubyte.gz", 8)
    order = random.permutation(len(images))[: rows + LABELLED]
    images, labels = images[order] - images.mean(0), labels[order]
    projection = random.standard_normal((784, WIDTH), numpy.float32) / numpy.sqrt(784)
    embeddings = numpy.maximum(images @ projection, 0).astype(numpy.float32)
    model = LogisticRegression(max_iter=200).fit(embeddings[:LABELLED], labels[:LABELLED])
    weights, bias = model.coef_.T.astype(numpy.float32), model.intercept_.astype(numpy.float32)
    masks = (random.random((DRAWS, WIDTH)) < 0.5).astype(numpy.float32) * 2
    draws = numpy.stack([log_softmax((embeddings * mask) @ weights + bias) for mask in masks], 1)
    logits = embeddings @ weights + bias
    target.mkdir(parents=True, exist_ok=True)
    for name, values in {"embeddings": embeddings, "logits": logits}.items():
        numpy.save(target / f"{name}.npy", values[LABELLED:])
        numpy.save(target / f"labelled.{name}.npy", values[:LABELLED])
    numpy.save(target / "mc_log_probs.npy", draws[LABELLED:].astype(numpy.float32))
    threes = embeddings[:LABELLED][labels[:LABELLED] == 3]
    numpy.save(target / "query.embeddings.npy", threes[:100])
    numpy.save(target / "labelled.labels.npy", labels[:LABELLED].astype(numpy.uint32))


if __name__ == "__main__":
    main()
