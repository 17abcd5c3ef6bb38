"""Training with WAAL in one Python process, to compare with `training.rs`: minibatches a processor second on one thread.

Needs torch 2.11.0. Run with OMP_WAIT_POLICY=passive, as cargo runs the other side, in turns with it. The networks are
those of `host/learn/benches/peer_training.py`; the task's optimiser is torch's fused one, the critic's the default.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "host" / "learn" / "benches"))

from peer_training import Cnn, Resnet18, machine  # noqa: E402, before torch

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

MINIBATCH = 64
MU_TRAIN = 2e-3
GP_WEIGHT = 2.0


def embed(model, x):
    """What the head sees."""
    head, model.head = model.head, nn.Identity()
    z = model(x)
    model.head = head
    return z


def penalty(critic, points):
    points = points.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (slope.square().sum(1).add(1e-12).sqrt() - 1).square().mean()


def distance(critic, unlabelled, labelled, bias):
    return critic(unlabelled).mean() - bias * critic(labelled).mean()


def step_critic(critic, optimiser, unlabelled, labelled, bias):
    optimiser.zero_grad()
    w = distance(critic, unlabelled, labelled, bias)
    share = torch.rand(len(labelled), 1)
    between = (unlabelled - labelled) * share + labelled
    loss = -w + GP_WEIGHT * penalty(critic, torch.cat([between, labelled, unlabelled]))
    loss.backward()
    optimiser.step()


def fit(build, width, images, labels, minibatches, epochs):
    count = minibatches * MINIBATCH
    model = build().train()
    model.head = nn.Linear(width, 2)
    critic = nn.Sequential(nn.Linear(width, 50), nn.ReLU(), nn.Linear(50, 1), nn.Flatten(0))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3)
    bias = (count - MINIBATCH) * count / (count * (count + MINIBATCH))

    def load(ids):
        return images.index_select(0, ids).float().mul_(1 / 255)

    for _ in range(epochs):
        order, pool = torch.randperm(count), count + torch.randperm(count)
        figures = torch.zeros(2, minibatches)
        predictions = torch.zeros(count, dtype=torch.int64)
        for step in range(minibatches):
            place = slice(step * MINIBATCH, (step + 1) * MINIBATCH)
            y = labels.index_select(0, order[place])
            labelled = embed(model, load(order[place]))
            logits = model.head(labelled)
            loss = F.cross_entropy(logits, y)
            unlabelled = embed(model, load(pool[place]))
            # The critic is held, so that its weights get no gradients.
            for weight in critic.parameters():
                weight.requires_grad_(False)
            extra = MU_TRAIN * distance(critic, unlabelled, labelled, bias)
            (loss + extra).backward()
            for weight in critic.parameters():
                weight.requires_grad_(True)
            with torch.no_grad():
                figures[0, step] = loss
                figures[1, step] = extra
                predictions[place] = logits.argmax(1)
            optimiser.step()
            step_critic(critic, critic_optimiser, unlabelled.detach(), labelled.detach(), bias)
            optimiser.zero_grad(set_to_none=True)
        figures.tolist()
        (predictions == labels[order]).sum().item()


def main():
    torch.set_num_threads(1)
    machine.say()
    only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    cases = {"cnn": (Cnn, 128, 28, 1, 20, 2, 5), "resnet18": (Resnet18, 512, 32, 3, 2, 1, 3)}
    for name, (build, width, side, channels, minibatches, epochs, repeats) in cases.items():
        if only and name not in only:
            continue
        count = 2 * minibatches * MINIBATCH
        images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
        labels = torch.arange(count) % 2
        best = float("inf")
        for _ in range(repeats):
            start = time.process_time()
            fit(build, width, images, labels, minibatches, epochs)
            best = min(best, time.process_time() - start)
        print(f"{name} with waal: {minibatches * epochs / best:.3f} minibatches a processor second")


if __name__ == "__main__":
    main()
