#!/usr/bin/env python3
"""Writes a PyTorch model as an ONNX file with its sidecar, for `model.name = "onnx"`.

    python3 export_onnx.py torchvision:resnet18 resnet18.onnx --head fc --size 224 --resize 256 --weights resnet18.pth

The file is run by ONNX Runtime on two and on three images before it is kept: embeddings and class scores must be those
of PyTorch to 1e-4 of the largest value. Needs torch, onnx and onnxruntime.
"""

import onnxruntime
import torch

import common


class Outputs(torch.nn.Module):
    """Embeddings, and class scores where there is a head."""

    def __init__(self, body, head):
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, images):
        embedding = self.body(images)
        return embedding if self.head is None else (embedding, self.head(embedding))


def main():
    given = common.arguments(__doc__.split("\n")[0], ".onnx")
    model = Outputs(*common.parts(common.load(given.model, given.weights), given.head)).eval()
    names = ["embedding"] if model.head is None else ["embedding", "logits"]
    written = given.out + ".new"
    with torch.no_grad():
        # The older exporter: it writes one file, whatever its size, and needs nothing but torch and onnx.
        torch.onnx.export(
            model, (common.trial_images(given, 2),), written, input_names=["images"], output_names=names, dynamo=False,
            dynamic_axes={name: {0: "n"} for name in ["images", *names]},
        )
        session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
        for count in [2, 3]:
            images = common.trial_images(given, count)
            expected = model(images)
            expected = [expected] if model.head is None else expected
            for name, expected, found in zip(names, expected, session.run(names, {"images": images.numpy()})):
                print(common.compare(expected, torch.from_numpy(found), f"{count} images, {name}:"))
    common.keep(given, ".onnx", written, names)


if __name__ == "__main__":
    main()
