"""Makes `formats.tar.gz` beside it: small datasets by the tools that people write them with.

Needs numpy, scipy, pyarrow and Pillow; nothing needs them to run the tests.

    python3 host/data/tests/formats/make.py

Pictures and labels follow from their numbers (see `picture` and `png`), so that the tests know what must come out.
"""

import gzip
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

HERE = Path(__file__).parent
members = {}


def picture(number, side):
    """Rows of red-green-blue pixels: row, column and channel can be told from a value."""
    y, x, c = np.mgrid[0:side, 0:side, 0:3]
    return ((7 * y + 3 * x + 50 * c + 11 * number) % 256).astype(np.uint8)


def png(number, side=6):
    out = io.BytesIO()
    Image.fromarray(picture(number, side)).save(out, "PNG")
    return out.getvalue()


def planes(number):
    """A row of CIFAR's: three planes of 32x32."""
    return picture(number, 32).transpose(2, 0, 1).reshape(-1)


# SVHN: MATLAB's 10 is the digit 0. scipy writes the labels as bytes here and as doubles there.
for kind, compressed, dtype in [("plain", False, np.uint8), ("packed", True, np.float64)]:
    for part, numbers in [("train", [0, 1, 2]), ("extra", [5]), ("test", [3, 4])]:
        out = io.BytesIO()
        images = np.stack([picture(n, 32) for n in numbers], -1)
        labels = np.array([[10 if n % 10 == 0 else n % 10] for n in numbers], dtype)
        savemat(out, {"X": images, "y": labels}, do_compression=compressed)
        members[f"svhn-{kind}/{part}_32x32.mat"] = out.getvalue()
out = io.BytesIO()
savemat(out, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [11]], np.uint8)})
members["svhn-label/train_32x32.mat"] = out.getvalue()

# CIFAR's Python form, as Python 2 wrote it (protocol 2, texts as bytes) and with today's numpy and protocol.
for protocol in (2, 4, 5):
    for number, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        rows = np.stack([planes(2 * number), planes(2 * number + 1)])
        batch = {b"batch_label": b"a batch", b"labels": [number, 9 - number], b"data": rows, b"filenames": [b"a", b"b"]}
        members[f"cifar10-protocol{protocol}/cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol)
for name, labels in [("train", [0, 99, 5]), ("test", [7])]:
    rows = np.stack([planes(n) for n in range(len(labels))])
    batch = {"fine_labels": labels, "coarse_labels": [1] * len(labels), "data": rows}
    members[f"cifar100/cifar-100-python/{name}"] = pickle.dumps(batch, 2)

# mini-ImageNet: three pickles, ten pictures a class here.
number = 0
for part, classes in [("train", ["n03", "n01"]), ("val", ["n02"]), ("test", ["n00"])]:
    images = np.stack([picture(number + n, 8) for n in range(10 * len(classes))])
    number += len(images)
    ids = {name: list(range(at, 10 * len(classes), len(classes))) for at, name in enumerate(classes)}
    value = {"image_data": images, "class_dict": ids}
    members[f"mini-imagenet/mini-imagenet-cache-{part}.pkl"] = pickle.dumps(value, {"train": 2, "val": 4, "test": 5}[part])


class Evil:
    def __reduce__(self):
        return os.system, ("echo run",)


class Own:
    pass


Own.__module__ = "sklearn.svm"
refused = {
    "code": {"data": Evil(), "labels": [1]},
    "class": {"data": Own(), "labels": [1]},
    "set": {"data": {1, 2}, "labels": [1]},
    "objects": {"data": np.array([None, "a"], object), "labels": [1]},
    "texts": {"data": np.array(["a", "b"]), "labels": [1]},
    "floats": {"data": np.zeros((1, 3072), np.float32), "labels": [1]},
    "short": {"data": np.zeros((1, 3000), np.uint8), "labels": [1]},
    "label": {"data": np.zeros((1, 3072), np.uint8), "labels": [10]},
    "counts": {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
    "missing": {"labels": [1]},
}
for name, value in refused.items():
    for protocol in (2, 4):
        if name == "class":
            import sys
            import types

            sys.modules["sklearn.svm"] = types.ModuleType("sklearn.svm")
            sys.modules["sklearn.svm"].Own = Own
        members[f"refused/{name}.{protocol}"] = pickle.dumps(value, protocol)


def parquet(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def hugging_face(numbers, labels, names):
    """A table as `datasets` writes it: pictures as structs, names of classes in the schema's metadata."""
    images = pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in numbers])
    table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


names = ["cat", "dog", "eel"]
for codec in ("none", "snappy", "gzip", "zstd"):
    folder = f"parquet-{codec}/data"
    options = {"compression": codec, "row_group_size": 3}
    train = hugging_face(range(4), [0, 1, 1, 0], names)
    members[f"{folder}/train-00000-of-00002.parquet"] = parquet(train, **options)
    train = hugging_face(range(4, 7), [1, 0, 1], names)
    members[f"{folder}/train-00001-of-00002.parquet"] = parquet(train, **options)
    members[f"{folder}/validation-00000-of-00001.parquet"] = parquet(hugging_face([7, 8], [0, 2], names), **options)
binary = {"img": [png(n) for n in range(4)], "class": ["b", "a", "b", "a"], "split": ["train", "train", "test", "train"]}
members["parquet-binary/set.parquet"] = parquet(pa.table(binary))
paths = {"path": [f"p/{n}.png" for n in range(4)], "label": pa.array([1, 0, 1, 0], pa.int32())}
members["parquet-paths/set.parquet"] = parquet(pa.table(paths))
null = {"image": pa.array([png(0), None]), "label": [0, 1]}
members["parquet-null/set.parquet"] = parquet(pa.table(null))
for n in range(4):
    members[f"parquet-paths/p/{n}.png"] = png(n)


def shard(entries, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def keyed(numbers, label):
    return [entry for n in numbers for entry in label(n)]


cls = lambda n: [(f"{n:04}.cls", str(n % 2).encode()), (f"{n:04}.png", png(n)), (f"{n:04}.txt", b"a text")]
js = lambda n: [(f"a/{n:04}.png", png(n)), (f"a/{n:04}.json", json.dumps({"label": f"k{n % 2}"}).encode())]
members["webdataset-cls/train-000000.tar"] = shard(keyed([0, 1], cls), "w")
members["webdataset-cls/train-000001.tar.gz"] = shard(keyed([2, 3, 4], cls), "w:gz")
members["webdataset-cls/test-000000.tar"] = shard(keyed([5, 6], cls), "w")
members["webdataset-json.tar"] = shard(keyed(range(4), js), "w")
members["webdataset-half.tar"] = shard([("1.png", png(1)), ("1.cls", b"0"), ("2.png", png(2))], "w")

with open(HERE / "formats.tar.gz", "wb") as out:
    with gzip.GzipFile("", "wb", 9, out, 0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in sorted(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
print(len(members), "files,", (HERE / "formats.tar.gz").stat().st_size, "bytes")
