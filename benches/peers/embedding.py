"""Embeddings of a folder of pictures by ResNet-18 at 224 pixels on the CPU: `querist embed` beside PyTorch, in turns.

    python3 benches/peers/embedding.py QUERIST [--pictures 512] [--turns 3] [--threads 2] [--workers 2]

QUERIST is the program of a build, with `querist-train` beside it. Needs torch 2.11.0, torchvision 0.26, Pillow, numpy
and safetensors. Pictures of 500 x 375 pixels are made: noise with the spectrum of photographs, as JPEG.

Ours is the whole process, its start, the walk, hashing, decoding and the files that it writes; it has an empty cache
each time. PyTorch is what follows once torch is loaded: an `ImageFolder` in a `DataLoader` with workers that decode,
resize and normalise, and a forward pass without gradients, in the customary layout and with the channels of a pixel
together. Each has `--threads` threads beside its workers. Both take weights from the same file, and their embeddings
are compared; they differ a little, as Pillow's filter does.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import machine

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RUN = """version = 1
dataset = {{ name = "folder", path = "{pictures}", size = {side}, resize = {side}, test = 1, normalise = "imagenet" }}
model = {{ name = "resnet18", stem = "imagenet", weights = "{weights}" }}
compute = {{ threads = {threads} }}
"""


def make(folder, count):
    rng = np.random.default_rng(3)
    rates = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.rfftfreq(500)[None])

    def plane():
        spectrum = np.fft.rfft2(rng.standard_normal((375, 500)))
        plane = np.fft.irfft2(spectrum / (rates + 1 / 500) ** 1.1, (375, 500))
        return (plane - plane.mean()) / plane.std()

    for number in range(count):
        light, hue, other = plane(), plane(), plane()
        values = 120 + 55 * light[..., None] + 18 * np.stack([hue, -hue / 2, other], -1)
        values += 4 * rng.standard_normal(values.shape)
        path = folder / "ab"[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path, quality=85)


def network():
    """Random weights, with statistics of batch-norm that are no zeros and ones."""
    torch.manual_seed(1)
    net = torchvision.models.resnet18(weights=None)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return net.eval()


def processor():
    """Processor seconds of this process and of children that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Numbered(torchvision.datasets.ImageFolder):
    def __getitem__(self, at):
        return super().__getitem__(at)[0], at


def by_torch(pictures, net, asked, layout):
    transforms = torchvision.transforms
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
    dataset = Numbered(pictures, transforms.Compose([*steps, transforms.Normalize(MEAN, STD)]))
    loader = torch.utils.data.DataLoader(dataset, asked.batch, num_workers=asked.workers)
    net = net.to(memory_format=layout)
    rows = torch.empty(len(dataset), 512)
    with torch.inference_mode():
        for images, at in loader:
            rows[at] = net(images.to(memory_format=layout))
    return rows.numpy()


def by_querist(asked, work, run):
    out = work / f"out-{time.monotonic_ns()}"
    with tempfile.TemporaryDirectory(dir=work) as cache:
        variables = {"QUERIST_CACHE": cache, "OMP_WAIT_POLICY": "passive"}
        command = [str(asked.querist.resolve()), "embed", str(run), "--out", str(out)]
        subprocess.run(command, env={**os.environ, **variables}, check=True, stderr=subprocess.DEVNULL)
    return np.load(out / "embeddings.npy")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("querist", type=pathlib.Path)
    for name, default in [("pictures", 512), ("turns", 3), ("threads", 2), ("workers", 2), ("batch", 64)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    machine.say()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        make(work / "pictures", asked.pictures)
        net = network()
        save_file(net.state_dict(), work / "weights.safetensors")
        net.fc = torch.nn.Identity()
        run = work / "run.toml"
        names = {"pictures": work / "pictures", "weights": work / "weights.safetensors"}
        run.write_text(RUN.format(side=SIDE, threads=asked.threads, **names))
        sides = {
            "ours": lambda: by_querist(asked, work, run),
            "PyTorch": lambda: by_torch(work / "pictures", net, asked, torch.contiguous_format),
            "PyTorch, channels last": lambda: by_torch(work / "pictures", net, asked, torch.channels_last),
        }
        took = {side: [] for side in sides}
        rows = {}
        for _ in range(asked.turns):
            for side, embed in sides.items():
                start, began = time.perf_counter(), processor()
                rows[side] = embed()
                took[side].append((time.perf_counter() - start, processor() - began))
    # Ours numbers pictures by their contents.
    norms = {side: np.sort(np.linalg.norm(values, axis=1)) for side, values in rows.items()}
    off = np.abs(norms["ours"] - norms["PyTorch"]).max() / norms["PyTorch"].max()
    print(f"{asked.pictures} pictures, {asked.threads} threads, {asked.workers} workers, {asked.turns} turns")
    print(f"lengths of embeddings are {100 * off:.2f} % apart at most; medians, and medians of the ratios of a turn")
    print("| | ms a picture | processor ms a picture | over ours, by the clock | by the processor |")
    print("| --- | --- | --- | --- | --- |")
    for side, times in took.items():
        clock, busy = (1e3 * statistics.median(one[at] for one in times) / asked.pictures for at in (0, 1))
        ratios = [statistics.median(b[at] / a[at] for a, b in zip(took["ours"], times)) for at in (0, 1)]
        print(f"| {side} | {clock:.1f} | {busy:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
