#!/usr/bin/env python3
"""Writes the networks in `host/learn/tests/data/backbones` anew, and what PyTorch makes of a few images.

    python3 fixtures.py ../../host/learn/tests/data/backbones

Made with torch 2.11, onnx 1.23 and onnxruntime 1.32. `tiny.onnx` and `tiny.pt` are the exporters' own work; the others
are wrong in one way each.
"""

import json
import os
import subprocess
import sys
import zipfile

import onnx
import torch

SIDE = 8


class Tiny(torch.nn.Module):
    """A convolution with batch-norm and dropout, an embedding of six values, three classes."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(6)
        self.drop = torch.nn.Dropout(0.2)
        self.fc = torch.nn.Linear(6, 3)

    def forward(self, images):
        return self.fc(self.drop(torch.relu(self.norm(self.conv(images))).mean([2, 3])))


def tiny():
    torch.manual_seed(5)
    model = Tiny()
    with torch.no_grad():
        model.norm.running_mean.uniform_(-0.5, 0.5)
        model.norm.running_var.uniform_(0.5, 1.5)
    return model


class Fixed(torch.nn.Module):
    """Takes four images and no other number."""

    def __init__(self):
        super().__init__()
        self.body = tiny()
        self.body.fc = torch.nn.Identity()

    def forward(self, images):
        return self.body(images).reshape(4, 6)


class Pair(torch.nn.Module):
    """Gives a tuple, the second of which is the embedding."""

    def __init__(self):
        super().__init__()
        self.body = tiny()
        self.head = self.body.fc
        self.body.fc = torch.nn.Identity()

    def forward(self, images):
        embedding = self.body(images)
        return self.head(embedding), embedding


class Pixels(torch.nn.Module):
    """Gives no embedding but a map, or something of whole minibatches."""

    def __init__(self, of_minibatch):
        super().__init__()
        self.of_minibatch = of_minibatch
        self.conv = torch.nn.Conv2d(3, 2, 3)

    def forward(self, images):
        maps = self.conv(images)
        return maps.mean([2, 3]) - maps.mean([0, 2, 3]) if self.of_minibatch else maps


class Means(torch.nn.Module):
    """Gives an embedding in double precision."""

    def forward(self, images):
        return images.mean([2, 3]).double()


def images(count):
    """The pictures of the tests, as bytes and as network inputs."""
    pixels = (torch.arange(count * 3 * SIDE * SIDE) * 37 % 251).view(count, SIDE, SIDE, 3)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def export(folder, script, name, *more):
    here = os.path.dirname(os.path.abspath(__file__))
    out = os.path.join(folder, name)
    model = f"{os.path.join(here, 'fixtures.py')}:tiny"
    command = [sys.executable, os.path.join(here, script), model, out, "--head", "fc"]
    numbers = ["--mean", "0.4", "0.5", "0.6", "--std", "0.2", "0.25", "0.3"]
    subprocess.run([*command, "--size", str(SIDE), *numbers, *more], check=True)


def without_doc(path):
    """Names of this machine's folders are no part of a network."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, path)


def without_debug(path):
    """Nor are they of a script."""
    with zipfile.ZipFile(path) as file:
        entries = [(entry, file.read(entry)) for entry in file.infolist() if not entry.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for entry, content in entries:
            file.writestr(zipfile.ZipInfo(entry.filename), content)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name)
    export(folder, "export_onnx.py", "tiny.onnx")
    export(folder, "export_torchscript.py", "tiny.pt")
    four = torch.zeros(4, 3, SIDE, SIDE)
    torch.onnx.export(Fixed().eval(), (four,), at("four.onnx"), input_names=["images"], output_names=["embedding"],
                      dynamo=False)
    torch.jit.trace(Fixed().eval(), four).save(at("four.pt"))
    torch.jit.script(Pair()).save(at("pair.pt"))
    torch.jit.script(Pixels(False)).save(at("maps.pt"))
    torch.jit.script(Pixels(True)).save(at("minibatch.pt"))
    torch.jit.script(tiny().double()).save(at("double.pt"))
    torch.jit.freeze(torch.jit.script(tiny().eval())).save(at("frozen.pt"))
    for name, pixels in [("double.onnx", four.double()), ("wide.onnx", four)]:
        torch.onnx.export(Means(), (pixels,), at(name), input_names=["images"], output_names=["embedding"],
                          dynamo=False)
    for name in ["tiny.onnx", "four.onnx", "double.onnx", "wide.onnx"]:
        without_doc(at(name))
    for name in os.listdir(folder):
        if name.endswith(".pt"):
            without_debug(at(name))
    model = tiny().eval()
    head, model.fc = model.fc, torch.nn.Identity()
    with torch.no_grad():
        embedding = model(images(7))
        found = {"embedding": embedding.tolist(), "logits": head(embedding).tolist()}
    with open(at("expected.json"), "w") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
