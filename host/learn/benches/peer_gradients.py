"""Norms of single images' gradients by a backward pass for each image, in one Python process and on one thread.

    python3 peer_gradients.py

The networks are those of the bench `gradients`, with weights as PyTorch draws them: how long a pass takes does not
depend on them. Prints images a processor second, the best of four rounds. Needs torch.
"""
import time

from peer_training import Resnet18, machine  # before torch

import torch
from torch import nn
from torch.nn import functional

ROUNDS = 4


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10),
    )


def lenet():
    return nn.Sequential(
        nn.Conv2d(3, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2),
        nn.ReLU(), nn.Flatten(), nn.Linear(500, 50), nn.ReLU(), nn.Linear(50, 10),
    )


def one_by_one(network, images, targets):
    weights = list(network.parameters())
    norms = []
    for image, target in zip(images, targets):
        loss = -(functional.log_softmax(network(image[None]), 1) * target).sum()
        squares = [gradient.square().sum() for gradient in torch.autograd.grad(loss, weights)]
        norms.append(torch.stack(squares).sum().sqrt())
    return torch.stack(norms)


def main():
    torch.set_num_threads(1)
    machine.say()
    for name, network, count in [("lenet", lenet(), 256), ("cnn", cnn(), 256), ("resnet18", Resnet18(), 32)]:
        network.eval()
        images, targets = torch.randn(count, 3, 32, 32), torch.randn(count, 10).softmax(1)
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            one_by_one(network, images, targets)
            seconds.append(time.process_time() - start)
        print(f"{name}: {count / min(seconds):.0f} images a processor second")


main()
