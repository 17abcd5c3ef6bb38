"""Norms of single images' gradients by a backward pass for each image, in one Python process and on one thread.

    python3 peer_gradients.py

The networks are those of the bench `gradients`, with weights as PyTorch draws them: how long a pass takes does not
depend on them. Prints images a processor second, the best of four rounds. Needs torch.
"""
import time

import torch
from torch import nn
from torch.nn import functional

ROUNDS = 4


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.skip(x))


def resnet18():
    blocks, inputs = [], 64
    for outputs, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        blocks += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


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
    for name, network, count in [("lenet", lenet(), 256), ("cnn", cnn(), 256), ("resnet18", resnet18(), 32)]:
        network.eval()
        images, targets = torch.randn(count, 3, 32, 32), torch.randn(count, 10).softmax(1)
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            one_by_one(network, images, targets)
            seconds.append(time.process_time() - start)
        print(f"{name}: {count / min(seconds):.0f} images a processor second")


main()
