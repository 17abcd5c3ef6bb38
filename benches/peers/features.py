"""Trains a small network on MNIST or CIFAR-10 and writes its arrays for `querist select` and for the peers.

    python3 features.py mnist  FOLDER_OF_MNIST   FOLDER_OF_ARRAYS [ROWS]
    python3 features.py cifar10 FOLDER_OF_CIFAR10 FOLDER_OF_ARRAYS [ROWS]

MNIST is read from its four idx.gz files. CIFAR-10 is read from `cifar10-jpeg-train.tar.gz`, whose members lie in one
folder a class (this needs Pillow). The network has 512 penultimate features behind a ReLU, trains for two epochs on
5,000 labelled samples and then sees the pool of ROWS (50,000) samples:

    logits.npy [N, C]   embeddings.npy [N, 512]   mc_log_probs.npy [N, 20, C] (coherent: one mask a draw)
    labelled.logits.npy   labelled.embeddings.npy   labelled.labels.npy [L], u32
    query.embeddings.npy [100, 512]: labelled samples of one class

With `random` in place of a dataset's name the arrays are drawn from a normal distribution; FOLDER_OF_... is ignored.
"""
import gzip
import pathlib
import sys
import tarfile

import numpy
import torch
from torch import nn

LABELLED = 5_000
WIDTH = 512
DRAWS = 20


def mnist(folder):
    def read(name, skip):
        return numpy.frombuffer(gzip.open(pathlib.Path(folder) / name).read(), numpy.uint8, offset=skip)

    images = [read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28) for part in ("train", "t10k")]
    labels = [read(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    return numpy.concatenate(images), numpy.concatenate(labels).astype(numpy.int64)


def cifar10(folder):
    from PIL import Image

    images, classes = [], []
    for part in ("train", "test"):
        with tarfile.open(pathlib.Path(folder) / f"cifar10-jpeg-{part}.tar.gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith((".jpg", ".jpeg", ".png")):
                    picture = numpy.asarray(Image.open(archive.extractfile(member)).convert("RGB"))
                    images.append(picture.transpose(2, 0, 1))
                    classes.append(pathlib.PurePath(member.name).parent.name)
    names = sorted(set(classes))
    return numpy.stack(images), numpy.array([names.index(name) for name in classes])


class Network(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64 * (side // 4) ** 2, WIDTH), nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, 10)


def trained(images, labels):
    network = Network(images.shape[1], images.shape[2])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(6):
        for rows in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            features = nn.functional.dropout(network.features(images[rows]), 0.5)
            nn.functional.cross_entropy(network.head(features), labels[rows]).backward()
            optimiser.step()
    return network.eval()


@torch.no_grad()
def arrays(network, images):
    masks = (torch.rand(DRAWS, WIDTH) < 0.5).float() * 2
    logits, embeddings, draws = [], [], []
    for block in images.split(500):
        features = network.features(block)
        embeddings.append(features)
        logits.append(network.head(features))
        draws.append(torch.stack([network.head(features * mask).log_softmax(1) for mask in masks], 1))
    return {"logits": torch.cat(logits), "embeddings": torch.cat(embeddings), "mc_log_probs": torch.cat(draws)}


def main():
    name, source, target = sys.argv[1:4]
    rows = int(sys.argv[4]) if len(sys.argv) > 4 else 50_000
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if name == "random":
        embeddings, logits = torch.randn(rows + LABELLED, WIDTH), 2 * torch.randn(rows + LABELLED, 10)
        draws = (logits[:, None] + torch.randn(rows + LABELLED, DRAWS, 10)).log_softmax(2)
        parts = {"logits": logits, "embeddings": embeddings, "mc_log_probs": draws}
        labels = torch.randint(0, 10, (LABELLED,))
    else:
        pictures, labels = {"mnist": mnist, "cifar10": cifar10}[name](source)
        order = torch.randperm(len(pictures))[: rows + LABELLED].numpy()
        images = torch.from_numpy(pictures[order]).float().div(255)
        labels = torch.from_numpy(labels[order])[:LABELLED]
        parts = arrays(trained(images[:LABELLED], labels), images)
    for array, values in parts.items():
        numpy.save(target / f"{array}.npy", values[LABELLED:].numpy())
        if array != "mc_log_probs":
            numpy.save(target / f"labelled.{array}.npy", values[:LABELLED].numpy())
    threes = parts["embeddings"][:LABELLED][labels == 3]
    numpy.save(target / "query.embeddings.npy", threes[:100].numpy())
    numpy.save(target / "labelled.labels.npy", labels.numpy().astype(numpy.uint32))


if __name__ == "__main__":
    main()
