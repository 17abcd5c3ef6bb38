"""The networks and the training loop of `training.rs` in Python, to compare with: minibatches a second on the CPU.

Needs torch 2.11.0, and for some networks torchvision 0.26 or timm. Run with OMP_WAIT_POLICY=passive, as cargo runs
the other side, in turns with it. `--unfused` takes torch's default optimiser instead of the fused one.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benches" / "peers"))

import machine  # noqa: E402, before torch

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

THREADS = int(os.environ.get("QUERIST_BENCH_THREADS", "2"))
MINIBATCH = 64


class Cnn(nn.Module):
    """Three convolutions and a 128-wide embedding, for 28x28 images."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.embedding = nn.Linear(64 * 3 * 3, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu_(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu_(self.conv3(x)), 2)
        return self.head(F.relu_(self.embedding(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu_(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu_(y)


class Resnet18(nn.Module):
    """The stem for 32-pixel images."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks, inputs = [], 64
        for stage, outputs in enumerate([64, 128, 256, 512]):
            for block in range(2):
                blocks.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu_(self.bn1(self.conv1(x)))
        return self.head(self.blocks(x).mean((2, 3)))


def vgg16_bn():
    """torchvision's layers on 32-pixel images: a map of one pixel into two hidden layers."""
    from torchvision.models import vgg16_bn as build

    features = build(weights=None).features
    hidden = [nn.Linear(512, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()]
    return nn.Sequential(features, nn.Flatten(), *hidden, nn.Linear(4096, 10))


def squeezenet():
    """torchvision's layers, and a linear layer of the pooled features."""
    from torchvision.models import squeezenet1_1

    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(512, 10)]
    return nn.Sequential(squeezenet1_1(weights=None).features, *pooled)


def vit_s16():
    import timm

    return timm.create_model("vit_small_patch16_224", img_size=64, num_classes=10, drop_rate=0.2)


CASES = {
    "cnn": (Cnn, 28, 1, 60, 12),
    "resnet18": (Resnet18, 32, 3, 4, 6),
    "vgg16bn": (vgg16_bn, 32, 3, 4, 6),
    "squeezenet": (squeezenet, 64, 3, 8, 6),
    "vits16": (vit_s16, 64, 3, 4, 6),
}


def measure(build, side, channels, minibatches, repeats, fused):
    """The fastest epoch after the first."""
    count = minibatches * MINIBATCH
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    labels = torch.arange(count) % 10
    flat = images.float().div(255).transpose(0, 1).reshape(channels, -1)
    mean, std = flat.mean(1), flat.std(1, correction=0)
    scale = (1 / (255 * std)).view(1, -1, 1, 1)
    shift = (-mean / std).view(1, -1, 1, 1)
    model = build().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=fused)
    best = least = float("inf")
    for epoch in range(repeats + 1):
        start, began = time.perf_counter(), time.process_time()
        order = torch.randperm(count)
        losses = torch.zeros(minibatches)
        predictions = torch.zeros(count, dtype=torch.int64)
        for step in range(minibatches):
            ids = order[step * MINIBATCH : (step + 1) * MINIBATCH]
            x = images.index_select(0, ids).float().mul_(scale).add_(shift)
            y = labels.index_select(0, ids)
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            with torch.no_grad():
                losses[step] = loss
                predictions[step * MINIBATCH : (step + 1) * MINIBATCH] = logits.argmax(1)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        losses.tolist()
        (predictions == labels[order]).sum().item()
        if epoch > 0:
            best = min(best, time.perf_counter() - start)
            least = min(least, time.process_time() - began)
    return minibatches / best, minibatches / least


def main():
    torch.set_num_threads(THREADS)
    machine.say()
    fused = "--unfused" not in sys.argv
    only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    for name, case in CASES.items():
        if not only or name in only:
            clock, processor = measure(*case, fused)
            print(f"{name} {clock:.3f} minibatches/s, {processor:.3f} a processor second")


if __name__ == "__main__":
    main()
