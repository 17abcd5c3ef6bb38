"""Training with the ranker of TA-VAAL, and iterations of its autoencoder and discriminator, in one Python process, to
compare with `training.rs`: one thread, processor seconds.

Needs torch 2.11.0. Run with OMP_WAIT_POLICY=passive, as cargo runs the other side, in turns with it. The task's optimiser is
torch's fused one, the others the default.
"""

import importlib.util
import sys
import time
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("learning_loss", PLUGINS / "learning-loss" / "benches" / "peer.py")
learning_loss = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(learning_loss)

import torch  # noqa: E402, after `machine`, which learning loss brings
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

MINIBATCH = 64
BATCH = 32
MORE = 3
LATENT = 32


def rank_loss(ranks, losses):
    def differences(values):
        pairs = len(values) // 2
        return values[:pairs] - values[pairs : 2 * pairs].flip(0)

    larger = (differences(losses.detach()).sign() + 1) * 0.5
    return F.binary_cross_entropy_with_logits(differences(ranks), larger)


def fit(build, images, labels, minibatches, epochs):
    count = minibatches * MINIBATCH
    model = build().train()
    model.head = nn.Linear(model.head.in_features, 2)
    ranker = learning_loss.LossModule(model.channels).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    ranker_optimiser = torch.optim.SGD(ranker.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(epochs):
        order = torch.randperm(count)
        figures = torch.zeros(2, minibatches)
        predictions = torch.zeros(count, dtype=torch.int64)
        for step in range(minibatches):
            place = slice(step * MINIBATCH, (step + 1) * MINIBATCH)
            x = images.index_select(0, order[place]).float().mul_(1 / 255)
            y = labels.index_select(0, order[place])
            logits, stages = model(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            loss = losses.mean()
            extra = rank_loss(ranker(stages), losses)
            (loss + extra).backward()
            with torch.no_grad():
                figures[0, step] = loss
                figures[1, step] = extra
                predictions[place] = logits.argmax(1)
            optimiser.step()
            ranker_optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            ranker_optimiser.zero_grad(set_to_none=True)
        figures.tolist()
        (predictions == labels[order]).sum().item()
    return model, ranker


class Autoencoder(nn.Module):
    """For images of 32 x 32."""

    def __init__(self, channels):
        super().__init__()
        widths = [channels, 128, 256, 512, 1024]
        down = [
            layer
            for i, o in zip(widths, widths[1:])
            for layer in (nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
        ]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        self.mean = nn.Linear(1024 * 4, LATENT)
        self.log_variance = nn.Linear(1024 * 4, LATENT)
        self.start = nn.Linear(LATENT + 1, 1024 * 16)
        up = [
            layer
            for i, o in ((1024, 512), (512, 256), (256, 128))
            for layer in (nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
        ]
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(128, channels, 1))

    def encode(self, x):
        x = self.encoder(x)
        return self.mean(x), self.log_variance(x)

    def decode(self, codes):
        return self.decoder(self.start(codes).view(-1, 1024, 4, 4))


def discriminator():
    hidden = [nn.Linear(LATENT + 1, 512), nn.ReLU(inplace=True), nn.Linear(512, 512), nn.ReLU(inplace=True)]
    return nn.Sequential(*hidden, nn.Linear(512, 1), nn.Flatten(0))


def bce(odds, labelled):
    return F.softplus(-odds if labelled else odds).mean()


def iteration(model, ranker, images, autoencoder, judge, optimisers):
    batches = []
    for part in range(2):
        ids = part * 2 * BATCH + torch.randperm(2 * BATCH)[:BATCH]
        x = images.index_select(0, ids).float().mul_(1 / 255)
        with torch.no_grad():
            raw = ranker(model(x)[1]).unsqueeze(1)
        batches.append((x, raw.sigmoid(), raw))
    optimisers[0].zero_grad()
    for x, told, raw in batches:
        mean, log_variance = autoencoder.encode(x)
        codes = (0.5 * log_variance).exp() * torch.randn_like(mean) + mean
        rebuilt = autoencoder.decode(torch.cat([codes, told], 1))
        divergence = (-0.5 * (log_variance + 1 - mean.square() - log_variance.exp())).mean()
        deceit = bce(judge(torch.cat([mean, raw], 1)), True)
        (F.mse_loss(rebuilt, x) + divergence + deceit).backward()
    optimisers[0].step()
    with torch.no_grad():
        codes = [torch.cat([autoencoder.encode(x)[0], raw], 1) for x, _, raw in batches]
    optimisers[1].zero_grad()
    (bce(judge(codes[0]), True) + bce(judge(codes[1]), False)).backward()
    optimisers[1].step()


def measure_iteration():
    images = torch.randint(0, 256, (4 * BATCH, 3, 32, 32), dtype=torch.uint8)
    model = learning_loss.TappedCnn()
    model.conv1, model.embedding = nn.Conv2d(3, 32, 3, padding=1), nn.Linear(64 * 4 * 4, 128)
    model.eval()
    ranker = learning_loss.LossModule(model.channels).eval()
    autoencoder, judge = Autoencoder(3).train(), discriminator().train()
    optimisers = [torch.optim.Adam(net.parameters(), lr=5e-4) for net in (autoencoder, judge)]
    best = float("inf")
    iteration(model, ranker, images, autoencoder, judge, optimisers)
    for _ in range(3):
        start = time.process_time()
        for _ in range(MORE):
            iteration(model, ranker, images, autoencoder, judge, optimisers)
        best = min(best, (time.process_time() - start) / MORE)
    return best


def main():
    torch.set_num_threads(1)
    learning_loss.machine.say()
    only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    tapped = learning_loss.TappedCnn, learning_loss.TappedResnet18
    cases = {"cnn": (tapped[0], 28, 1, 20, 2, 5), "resnet18": (tapped[1], 32, 3, 2, 1, 3)}
    for name, (build, side, channels, minibatches, epochs, repeats) in cases.items():
        if only and name not in only:
            continue
        count = minibatches * MINIBATCH
        images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
        labels = torch.arange(count) % 2
        best = float("inf")
        for _ in range(repeats):
            start = time.process_time()
            fit(build, images, labels, minibatches, epochs)
            best = min(best, time.process_time() - start)
        print(f"{name} with ta-vaal: {minibatches * epochs / best:.3f} minibatches a processor second")
    if not only or "iteration" in only:
        print(f"an iteration of ta-vaal: {measure_iteration():.3f} processor seconds")


if __name__ == "__main__":
    main()
