#!/usr/bin/env python3
"""Writes a PyTorch model as a TorchScript file with its sidecar, for `model.name = "torchscript"`.

    python3 export_torchscript.py torchvision:resnet18 resnet18.pt --head fc --size 32

It is scripted, so that dropout and batch-norm know whether they are trained; `--trace` is for models that cannot be,
and keeps both as they are in evaluation. The file is loaded and run on two and on three images before it is kept:
embeddings and class scores must be those of PyTorch to 1e-4 of the largest value. Needs torch, which has deprecated
TorchScript.
"""

import sys
from typing import Dict

import torch

import common


class Outputs(torch.nn.Module):
    """Embeddings, and class scores of the model's own head."""

    def __init__(self, body, head):
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, images) -> Dict[str, torch.Tensor]:
        embedding = self.body(images)
        return {"embedding": embedding, "logits": self.head(embedding)}


class Embedding(torch.nn.Module):
    """Embeddings alone."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, images) -> Dict[str, torch.Tensor]:
        return {"embedding": self.body(images)}


def main():
    trace = "--trace" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--trace"]
    given = common.arguments(__doc__.split("\n")[0], ".pt")
    body, head = common.parts(common.load(given.model, given.weights), given.head)
    model = (Embedding(body) if head is None else Outputs(body, head)).eval()
    names = ["embedding"] if head is None else ["embedding", "logits"]
    written = given.out + ".new"
    with torch.no_grad():
        if trace:
            script = torch.jit.trace(model, common.trial_images(given, 2), strict=False)
        else:
            script = torch.jit.script(model)
        script.save(written)
        loaded = torch.jit.load(written).eval()
        for count in [2, 3]:
            images = common.trial_images(given, count)
            expected, found = model(images), loaded(images)
            for name in names:
                print(common.compare(expected[name], found[name], f"{count} images, {name}:"))
    if not any(parameter.requires_grad for parameter in loaded.parameters()):
        print("note: nothing in the file can be trained; only `recipe.train = \"head\"` takes it")
    common.keep(given, ".pt", written, names)


if __name__ == "__main__":
    main()
