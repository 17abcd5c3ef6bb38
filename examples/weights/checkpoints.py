#!/usr/bin/env python3
"""Writes the small checkpoints that tests read, as PyTorch's own `torch.save` does.

    pip install torch
    python3 examples/weights/checkpoints.py host/learn/tests/data

Each holds the network `lenet` for grey images of 16 pixels and ten classes, all with the same weights: `plain` as a
dictionary, `wrapped` with epoch and optimiser beside it, `module` as a module gives its state, `settings` with the
program's arguments beside that, `legacy` in the form of PyTorch before 1.6, and `script` as TorchScript.
"""

import argparse
import sys
from pathlib import Path

import torch


class Lenet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 10, 5)
        self.conv2 = torch.nn.Conv2d(10, 20, 5)
        self.embedding = torch.nn.Linear(20, 50)
        self.head = torch.nn.Linear(50, 10)

    def forward(self, x):
        x = torch.relu(torch.max_pool2d(self.conv1(x), 2))
        x = torch.relu(torch.max_pool2d(self.conv2(x), 2))
        return self.head(torch.relu(self.embedding(x.flatten(1))))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    torch.manual_seed(4)
    model = Lenet()
    state = model.state_dict()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    beside = {"epoch": 3, "arch": "lenet", "state_dict": state, "optimizer": optimiser.state_dict()}
    torch.save(dict(state), folder / "lenet.plain.pth")
    torch.save(beside | {"state_dict": dict(state)}, folder / "lenet.wrapped.pth")
    torch.save(state, folder / "lenet.module.pth")
    torch.save(beside | {"args": argparse.Namespace(lr=0.1)}, folder / "lenet.settings.pth")
    torch.save(beside, folder / "lenet.legacy.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(model).save(folder / "lenet.script.pth")


if __name__ == "__main__":
    main()
