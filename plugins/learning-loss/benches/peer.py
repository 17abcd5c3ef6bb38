"""Training with learning loss in one Python process, to compare with `training.rs`: minibatches a second on the CPU.

Needs torch 2.11.0. Run with OMP_WAIT_POLICY=passive, as cargo runs the other side, in turns with it. The networks are
those of `host/learn/benches/peer_training.py`; the task's optimiser is torch's fused one, the module's the default.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "host" / "learn" / "benches"))

from peer_training import Cnn, Resnet18, machine  # noqa: E402, before torch

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

THREADS = 2
MINIBATCH = 64


class TappedCnn(Cnn):
    channels = (32, 64, 64)

    def forward(self, x):
        first = F.max_pool2d(F.relu_(self.conv1(x)), 2)
        second = F.max_pool2d(F.relu_(self.conv2(first)), 2)
        third = F.max_pool2d(F.relu_(self.conv3(second)), 2)
        return self.head(F.relu_(self.embedding(third.flatten(1)))), (first, second, third)


class TappedResnet18(Resnet18):
    channels = (64, 128, 256, 512)

    def forward(self, x):
        x = F.relu_(self.bn1(self.conv1(x)))
        stages = []
        for at, block in enumerate(self.blocks):
            x = block(x)
            if at % 2 == 1:
                stages.append(x)
        return self.head(x.mean((2, 3))), stages


class LossModule(nn.Module):
    def __init__(self, channels, width=128):
        super().__init__()
        self.taps = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.output = nn.Linear(width * len(channels), 1)

    def forward(self, stages):
        taps = [F.relu_(tap(stage.mean((2, 3)))) for tap, stage in zip(self.taps, stages)]
        return self.output(torch.cat(taps, 1)).squeeze(1)


def pair_loss(predicted, losses, margin=1.0):
    m = len(predicted) // 2
    sign = (losses[:m] - losses[m : 2 * m].flip(0)).detach().sign()
    hinge = F.relu(margin - sign * (predicted[:m] - predicted[m : 2 * m].flip(0)))
    return (hinge * sign.abs()).mean()


def measure(build, side, channels, minibatches, repeats):
    """The fastest epoch after the first."""
    count = minibatches * MINIBATCH
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    labels = torch.arange(count) % 2
    model = build().train()
    model.head = nn.Linear(model.head.in_features, 2)
    module = LossModule(model.channels).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    module_optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    best = float("inf")
    for epoch in range(repeats + 1):
        start = time.perf_counter()
        order = torch.randperm(count)
        figures = torch.zeros(2, minibatches)
        predictions = torch.zeros(count, dtype=torch.int64)
        for step in range(minibatches):
            ids = order[step * MINIBATCH : (step + 1) * MINIBATCH]
            x = images.index_select(0, ids).float().mul_(1 / 255)
            y = labels.index_select(0, ids)
            logits, stages = model(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            loss = losses.mean()
            extra = pair_loss(module(stages), losses)
            (loss + extra).backward()
            with torch.no_grad():
                figures[0, step] = loss
                figures[1, step] = extra
                predictions[step * MINIBATCH : (step + 1) * MINIBATCH] = logits.argmax(1)
            optimiser.step()
            module_optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            module_optimiser.zero_grad(set_to_none=True)
        figures.tolist()
        (predictions == labels[order]).sum().item()
        if epoch > 0:
            best = min(best, time.perf_counter() - start)
    return minibatches / best


def main():
    torch.set_num_threads(THREADS)
    machine.say()
    only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    for name, case in {"cnn": (TappedCnn, 28, 1, 60, 12), "resnet18": (TappedResnet18, 32, 3, 4, 6)}.items():
        if not only or name in only:
            print(f"{name} with learning loss {measure(*case):.2f} minibatches/s")


if __name__ == "__main__":
    main()
